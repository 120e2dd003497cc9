#include "controlplane/store/driver.h"
#include "lib/log/log.h"
#include "migrations/sqlite/0001_initial.sql.h"
#include "migrations/sqlite/0002_events.sql.h"
#include "migrations/sqlite/0003_audit_checkpoints.sql.h"
#include "migrations/sqlite/0004_statistics.sql.h"
#include "migrations/sqlite/0005_join_uses_index.sql.h"

#include <fcntl.h>
#include <sqlite3.h>

struct sqlite_db {
    struct db base;
    sqlite3 *handle;
};

struct sqlite_stmt {
    struct stmt base;
    sqlite3_stmt *handle;
};

static sqlite3 *handle_of(const struct db *db)
{
    return container_of(db, struct sqlite_db, base)->handle;
}

static sqlite3_stmt *stmt_of(const struct stmt *stmt)
{
    return container_of(stmt, struct sqlite_stmt, base)->handle;
}

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

static int failed(sqlite3 *handle, int code, const char *what)
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
            S("text", handle ? sqlite3_errmsg(handle) : sqlite3_errstr(code)),
            SP("statement", span_first(span_str(what), 80)));
    return answer;
}

/* ---- connections ---- */

static const char connection_settings[] =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = FULL;"        /* an answered commit is on the disk */
    "PRAGMA foreign_keys = ON;"
    "PRAGMA cell_size_check = ON;"
    "PRAGMA secure_delete = FAST;"
    "PRAGMA journal_size_limit = 67108864;";

static const char *const mode_settings[] = {
    [STORE_READ] = "PRAGMA query_only = ON",
    /* Events of relays touch the same indexes again and again: with SQLite's 2 MB a fifth of
     * what they cost was reading pages. */
    [STORE_WRITE] = "PRAGMA cache_size = -16384",
};

static int sqlite_exec(struct db *db, const char *sql)
{
    int code = sqlite3_exec(handle_of(db), sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : failed(handle_of(db), code, sql);
}

/* SQLite would make it with the umask's mode. */
static int touch_private(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static void sqlite_close(struct db *db)
{
    struct sqlite_db *s = container_of(db, struct sqlite_db, base);

    sqlite3_close(s->handle);
    free(s);
}

static void sqlite_closep(struct sqlite_db **s)
{
    if (*s)
        sqlite_close(&(*s)->base);
}

static int sqlite_open(const struct store_options *options, enum store_mode mode, struct db **ret_db,
                       struct buf *reterr)
{
    AUTO(sqlite_closep) struct sqlite_db *s = calloc(1, sizeof(*s));
    int code, r;

    (void)reterr;
    if (!s)
        return -ENOMEM;
    s->base.driver = &sqlite_driver;
    r = mode == STORE_WRITE ? touch_private(options->path) : 0;
    if (r)
        return r;
    code = sqlite3_open_v2(options->path, &s->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return failed(s->handle, code, options->path);
    sqlite3_extended_result_codes(s->handle, 1);
    sqlite3_busy_timeout(s->handle, (int)options->wait_ms);
    sqlite3_db_config(s->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    r = sqlite_exec(&s->base, connection_settings);
    if (!r)
        r = sqlite_exec(&s->base, mode_settings[mode]);
    if (!r)
        *ret_db = &TAKE(s)->base;
    return r;
}

static bool sqlite_is_lost(const struct db *db)
{
    (void)db;
    return false;
}

static int sqlite_commit(struct db *db)
{
    return sqlite_exec(db, "COMMIT");
}

static void sqlite_rollback(struct db *db)
{
    if (!sqlite3_get_autocommit(handle_of(db)))
        sqlite3_exec(handle_of(db), "ROLLBACK", NULL, NULL, NULL);
}

/* ---- statements: a refused one leaves the transaction as it was, guarded or not ---- */

static int sqlite_prepare(struct db *db, const char *name, struct span sql, bool is_guarded,
                          struct stmt **ret_stmt)
{
    AUTO(freep) struct sqlite_stmt *s = calloc(1, sizeof(*s));
    int code;

    (void)is_guarded;
    if (!s)
        return -ENOMEM;
    s->base.db = db;
    code = sqlite3_prepare_v3(handle_of(db), sql.p, (int)sql.n, name ? SQLITE_PREPARE_PERSISTENT : 0,
                              &s->handle, NULL);
    if (code != SQLITE_OK)
        return failed(handle_of(db), code, name ? name : "list");
    *ret_stmt = &TAKE(s)->base;
    return 0;
}

static void sqlite_finalize(struct stmt *stmt)
{
    sqlite3_finalize(stmt_of(stmt));
    free(container_of(stmt, struct sqlite_stmt, base));
}

static int bind_value(sqlite3_stmt *stmt, int i, const struct value *v)
{
    const char *text = v->text.n ? v->text.p : "";

    switch (v->type) {
    case VALUE_INT:
    case VALUE_BOOL:
        return sqlite3_bind_int64(stmt, i, v->number);
    case VALUE_REAL:
        return sqlite3_bind_double(stmt, i, v->real);
    case VALUE_BLOB:
        return sqlite3_bind_blob64(stmt, i, text, v->text.n, SQLITE_TRANSIENT);
    case VALUE_TEXT:
    case VALUE_JSON:
    case VALUE_PATH:
        return sqlite3_bind_text64(stmt, i, text, v->text.n, SQLITE_TRANSIENT, SQLITE_UTF8);
    case VALUE_NULL:
    case VALUE_TYPES:
        break;
    }
    return sqlite3_bind_null(stmt, i);
}

/* A value that cannot be bound is NULL, which NOT NULL columns refuse. */
static void sqlite_bind(struct stmt *stmt, int i, const struct value *value)
{
    if (bind_value(stmt_of(stmt), i, value) != SQLITE_OK)
        sqlite3_bind_null(stmt_of(stmt), i);
}

static int sqlite_step(struct stmt *stmt)
{
    int code = sqlite3_step(stmt_of(stmt));

    if (code == SQLITE_ROW)
        return DB_ROW;
    return code == SQLITE_DONE ? 0 : failed(handle_of(stmt->db), code, sqlite3_sql(stmt_of(stmt)));
}

static void sqlite_reset(struct stmt *stmt)
{
    sqlite3_reset(stmt_of(stmt));
    sqlite3_clear_bindings(stmt_of(stmt));
}

static int64_t sqlite_changed(struct stmt *stmt)
{
    return sqlite3_changes64(handle_of(stmt->db));
}

static struct value sqlite_column(struct stmt *stmt, int column)
{
    sqlite3_stmt *s = stmt_of(stmt);
    struct value v = { .type = VALUE_NULL };

    switch (sqlite3_column_type(s, column)) {
    case SQLITE_INTEGER:
        v.type = VALUE_INT;
        v.number = sqlite3_column_int64(s, column);
        break;
    case SQLITE_FLOAT:
        v.type = VALUE_REAL;
        v.real = sqlite3_column_double(s, column);
        break;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
        v.type = sqlite3_column_type(s, column) == SQLITE_TEXT ? VALUE_TEXT : VALUE_BLOB;
        v.text.p = sqlite3_column_blob(s, column);
        v.text.n = (size_t)sqlite3_column_bytes(s, column);
        break;
    default:
        break;
    }
    return v;
}

/* ---- */

static const struct migration migrations[] = {
    { 1, "initial", embed_migrations_sqlite_0001_initial_sql },
    { 2, "events", embed_migrations_sqlite_0002_events_sql },
    { 3, "audit_checkpoints", embed_migrations_sqlite_0003_audit_checkpoints_sql },
    { 4, "statistics", embed_migrations_sqlite_0004_statistics_sql },
    { 5, "join_uses_index", embed_migrations_sqlite_0005_join_uses_index_sql },
};

const struct driver sqlite_driver = {
    .name = "sqlite",
    .dialect = &sqlite_dialect,
    .migrations = migrations,
    .migration_count = ARRAY_LEN(migrations),
    .begin = { [STORE_READ] = "BEGIN", [STORE_WRITE] = "BEGIN IMMEDIATE" },
    .begin_migration = "BEGIN EXCLUSIVE",
    .has_migrations = "SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'",
    .check = "SELECT * FROM pragma_integrity_check UNION ALL "
             "SELECT \"table\" || ': ' || rowid || ' refers to nothing' FROM pragma_foreign_key_check",
    .open = sqlite_open,
    .close = sqlite_close,
    .is_lost = sqlite_is_lost,
    .exec = sqlite_exec,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .prepare = sqlite_prepare,
    .finalize = sqlite_finalize,
    .bind = sqlite_bind,
    .step = sqlite_step,
    .reset = sqlite_reset,
    .changed = sqlite_changed,
    .column = sqlite_column,
};
