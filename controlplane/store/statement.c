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

static int statement_find(struct span name)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (span_eq(name, span_str(statement_names[i])))
            return i;
    return -1;
}

/* `head`: the name, then what it is: guarded, or for one driver only. */
static int prepare_section(struct dbconn *conn, struct span head, struct span sql)
{
    const struct driver *driver = conn->db->driver;
    bool is_guarded = false;
    struct span word = SPAN_NONE;
    int q;

    (void)span_cut(&head, ' ', &word);
    q = statement_find(word);
    while (span_cut(&head, ' ', &word)) {
        if (span_eq(word, SPAN("guarded")))
            is_guarded = true;
        else if (!span_eq(word, span_str(driver->name)))
            return 0;
    }
    if (q < 0 || conn->statements[q]) {
        LOG(ERROR, "store.statement-unknown", S("name", q < 0 ? "?" : statement_names[q]));
        return -EINVAL;
    }
    return driver->prepare(conn->db, statement_names[q], sql, is_guarded, &conn->statements[q]);
}

/* The text is cut at its "-- name: " lines. */
int dbconn_prepare(struct dbconn *conn)
{
    static const char mark[] = "-- name: ";
    const char *at = strstr(embed_controlplane_store_statements_sql, mark);
    int r;

    while (at) {
        struct span head, rest = span_str(at + sizeof(mark) - 1);
        const char *next = strstr(rest.p, mark);

        if (!span_cut(&rest, '\n', &head) || !rest.p)
            return -EINVAL;
        r = prepare_section(conn, head, span_first(rest, next ? (size_t)(next - rest.p) : rest.n));
        if (r)
            return r;
        at = next;
    }
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (!conn->statements[i])
            return -EINVAL;
    return 0;
}

static struct value value_next(char letter, va_list *args)
{
    struct value v = { .type = VALUE_TEXT };

    switch (letter) {
    case 't':
        v.text = span_str(va_arg(*args, const char *));
        v.type = v.text.p ? VALUE_TEXT : VALUE_NULL;
        break;
    case 'i':
        v.number = va_arg(*args, int64_t);
        v.type = VALUE_INT;
        break;
    case 'u':
        v.text = ulid_span(va_arg(*args, const struct ulid *));
        break;
    case 'b':
        v.type = VALUE_BLOB;
        v.text = va_arg(*args, struct span);
        break;
    default:
        v.text = va_arg(*args, struct span);
        break;
    }
    return v;
}

struct stmt *db_bind(struct store_tx *tx, enum statement q, const char *format, ...)
{
    struct stmt *stmt = tx->conn->statements[q];
    const struct driver *driver = stmt->db->driver;
    va_list args;

    driver->reset(stmt);
    va_start(args, format);
    for (int i = 0; format[i]; i++) {
        struct value v = value_next(format[i], &args);

        driver->bind(stmt, i + 1, &v);
    }
    va_end(args);
    return stmt;
}

int db_step(struct store_tx *tx, struct stmt *row)
{
    return tx->conn->db->driver->step(row);
}

int db_done(struct store_tx *tx, struct stmt *row, int64_t *ret_changed)
{
    const struct driver *driver = tx->conn->db->driver;
    int r = driver->step(row);

    if (!r && ret_changed)
        *ret_changed = driver->changed(row);
    driver->reset(row);
    return r == DB_ROW ? 0 : r;
}

void stmt_free(struct stmt *stmt)
{
    stmt->db->driver->finalize(stmt);
}

void stmt_resetp(struct stmt **stmt)
{
    if (*stmt)
        (*stmt)->db->driver->reset(*stmt);
}

int db_ask(struct db *db, const char *sql, struct buf *ret_lines)
{
    AUTO(stmt_freep) struct stmt *stmt = NULL;
    int r;

    r = db->driver->prepare(db, NULL, span_str(sql), false, &stmt);
    if (r)
        return r;
    while ((r = db->driver->step(stmt)) == DB_ROW) {
        struct value v = db->driver->column(stmt, 0);

        value_print(&v, ret_lines);
        buf_put_u8(ret_lines, '\n');
    }
    return r ? r : buf_error(ret_lines);
}

/* ---- columns ---- */

void value_print(const struct value *value, struct buf *out)
{
    if (value->type == VALUE_INT)
        buf_put_decimal(out, value->number);
    else if (value->type == VALUE_REAL)
        buf_printf(out, "%.17g", value->real);
    else
        buf_put_span(out, value->text);
}

static struct value column(struct stmt *row, int column)
{
    return row->db->driver->column(row, column);
}

struct span column_span(struct stmt *row, int i)
{
    struct value v = column(row, i);

    return v.text.p ? v.text : SPAN("");
}

int64_t column_int(struct stmt *row, int i)
{
    return column(row, i).number;
}

bool column_is_null(struct stmt *row, int i)
{
    return column(row, i).type == VALUE_NULL;
}

struct ulid column_ulid(struct stmt *row, int i)
{
    struct ulid id = { "" };

    column_copy(row, i, id.text, sizeof(id.text));
    return id;
}

void column_copy(struct stmt *row, int i, char *dst, size_t dst_size)
{
    dst[0] = '\0';
    (void)span_copy(column_span(row, i), dst, dst_size);
}
