#include "controlplane/store/store_internal.h"
#include "controlplane/store/statements.sql.h"
#include "lib/log/log.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static const char *const statement_names[] = {
#define STATEMENT_NAME(name) #name,
    STATEMENTS(STATEMENT_NAME)
#undef STATEMENT_NAME
};

/* Conditions come first; the rest is the machine's or the file's fault. */
static const struct {
    int code, answer;
} error_rows[] = {
    { SQLITE_CONSTRAINT_UNIQUE, STORE_E_EXISTS },
    { SQLITE_CONSTRAINT_PRIMARYKEY, STORE_E_EXISTS },
    { SQLITE_CONSTRAINT_FOREIGNKEY, STORE_E_NO_REF },
    { SQLITE_CONSTRAINT_TRIGGER, STORE_E_NO_REF },      /* ON DELETE RESTRICT says this */
    { SQLITE_CONSTRAINT, -EINVAL },
    { SQLITE_BUSY, -EBUSY },
    { SQLITE_LOCKED, -EBUSY },
    { SQLITE_NOMEM, -ENOMEM },
    { SQLITE_FULL, -ENOSPC },
    { SQLITE_READONLY, -EROFS },
    { SQLITE_CANTOPEN, -ENOENT },
    { SQLITE_CORRUPT, -EUCLEAN },
    { SQLITE_NOTADB, -EUCLEAN },
    { SQLITE_TOOBIG, -EFBIG },
    { SQLITE_INTERRUPT, -EINTR },
};

int db_error(sqlite3 *db, int code, const char *what)
{
    int answer = -EIO;

    for (size_t i = 0; i < ARRAY_LEN(error_rows); i++) {
        if (error_rows[i].code != code && error_rows[i].code != (code & 0xff))
            continue;
        answer = error_rows[i].answer;
        break;
    }
    if (answer < 0)
        LOG(ERROR, "store.failed", N("code", code),
            S("text", db ? sqlite3_errmsg(db) : sqlite3_errstr(code)),
            SP("statement", span_first(span_str(what), 80)));
    return answer;
}

int db_exec(sqlite3 *db, const char *sql)
{
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : db_error(db, code, sql);
}

static int statement_find(struct span name)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (span_eq(name, span_str(statement_names[i])))
            return i;
    return -1;
}

static int prepare_section(struct dbconn *conn, struct span name, struct span sql)
{
    int q = statement_find(name);
    int code;

    if (q < 0 || conn->statements[q]) {
        LOG(ERROR, "store.statement-unknown", SP("name", name));
        return -EINVAL;
    }
    code = sqlite3_prepare_v3(conn->db, sql.p, (int)sql.n, SQLITE_PREPARE_PERSISTENT,
                              &conn->statements[q], NULL);
    return code == SQLITE_OK ? 0 : db_error(conn->db, code, statement_names[q]);
}

/* The text is cut at its "-- name: " lines. */
int dbconn_prepare(struct dbconn *conn)
{
    static const char mark[] = "-- name: ";
    const char *at = strstr(embed_controlplane_store_statements_sql, mark);
    int r;

    while (at) {
        struct span name, rest = span_str(at + sizeof(mark) - 1);
        const char *next = strstr(rest.p, mark);

        if (!span_cut(&rest, '\n', &name) || !rest.p)
            return -EINVAL;
        r = prepare_section(conn, name, span_first(rest, next ? (size_t)(next - rest.p) : rest.n));
        if (r)
            return r;
        at = next;
    }
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (!conn->statements[i])
            return -EINVAL;
    return 0;
}

static int bind_ulid(sqlite3_stmt *stmt, int i, const struct ulid *id)
{
    return sqlite3_bind_text(stmt, i, id->text, ULID_LEN, SQLITE_TRANSIENT);
}

static int bind_one(sqlite3_stmt *stmt, int i, char letter, va_list *args)
{
    struct span s;

    switch (letter) {
    case 't':
        return sqlite3_bind_text(stmt, i, va_arg(*args, const char *), -1, SQLITE_TRANSIENT);
    case 'i':
        return sqlite3_bind_int64(stmt, i, va_arg(*args, int64_t));
    case 'u':
        return bind_ulid(stmt, i, va_arg(*args, const struct ulid *));
    case 's':
        s = va_arg(*args, struct span);
        return sqlite3_bind_text64(stmt, i, s.n ? s.p : "", s.n, SQLITE_TRANSIENT, SQLITE_UTF8);
    case 'b':
        s = va_arg(*args, struct span);
        return sqlite3_bind_blob64(stmt, i, s.n ? s.p : "", s.n, SQLITE_TRANSIENT);
    default:
        return SQLITE_MISUSE;
    }
}

sqlite3_stmt *db_bind(struct store_tx *tx, enum statement q, const char *format, ...)
{
    sqlite3_stmt *stmt = tx->conn->statements[q];
    va_list args;

    sqlite3_reset(stmt);
    va_start(args, format);
    for (int i = 0; format[i]; i++) {
        int code = bind_one(stmt, i + 1, format[i], &args);

        /* A value that cannot be bound is NULL, which NOT NULL columns refuse. */
        if (code != SQLITE_OK)
            sqlite3_bind_null(stmt, i + 1);
    }
    va_end(args);
    return stmt;
}

int db_step(struct store_tx *tx, sqlite3_stmt *row)
{
    int code = sqlite3_step(row);

    if (code == SQLITE_ROW)
        return DB_ROW;
    if (code == SQLITE_DONE)
        return 0;
    return db_error(tx->conn->db, code, sqlite3_sql(row));
}

int db_done(struct store_tx *tx, sqlite3_stmt *row, int64_t *ret_changed)
{
    int r = db_step(tx, row);

    if (!r && ret_changed)
        *ret_changed = sqlite3_changes64(tx->conn->db);
    sqlite3_reset(row);
    sqlite3_clear_bindings(row);
    return r == DB_ROW ? 0 : r;
}

struct span column_span(sqlite3_stmt *row, int column)
{
    const void *p = sqlite3_column_blob(row, column);

    return p ? span_of(p, (size_t)sqlite3_column_bytes(row, column)) : SPAN("");
}

int64_t column_int(sqlite3_stmt *row, int column)
{
    return sqlite3_column_int64(row, column);
}

struct ulid column_ulid(sqlite3_stmt *row, int column)
{
    struct ulid id = { "" };

    column_copy(row, column, id.text, sizeof(id.text));
    return id;
}

void column_copy(sqlite3_stmt *row, int column, char *dst, size_t dst_size)
{
    dst[0] = '\0';
    (void)span_copy(column_span(row, column), dst, dst_size);
}
