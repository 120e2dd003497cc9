#include "controlplane/store/store_internal.h"
#include "lib/crypto/digest.h"
#include "lib/log/log.h"
#include "migrations/sqlite/0001_initial.sql.h"

#include <errno.h>

/* The whole list, oldest first: a new migration is one more row. */
static const struct migration {
    int64_t number;
    const char *name, *sql;
} migrations[] = {
    { 1, "initial", embed_migrations_sqlite_0001_initial_sql },
};

#define OUR_VERSION (migrations[ARRAY_LEN(migrations) - 1].number)

static const char create_table[] =
    "CREATE TABLE IF NOT EXISTS schema_migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL,"
    " digest TEXT NOT NULL, oldest INTEGER NOT NULL, applied_at INTEGER NOT NULL)";

struct applied {                /* what the database says */
    int64_t newest, oldest_program;
    char digests[ARRAY_LEN(migrations)][SHA256_HEX];
};

/* "-- oldest: N" in the first line: the first program version that can live with it. */
static int64_t oldest_of(const struct migration *m)
{
    struct span text = span_str(m->sql), line;
    uint64_t n;

    if (!span_cut(&text, '\n', &line) || !span_starts(line, SPAN("-- oldest: ")))
        return m->number;
    return span_to_u64(span_skip(line, 11), INT32_MAX, &n) ? (int64_t)n : m->number;
}

static void take_row(sqlite3_stmt *row, struct applied *a)
{
    int64_t number = column_int(row, 0);

    a->newest = number;
    a->oldest_program = column_int(row, 2);
    if (number >= 1 && number <= OUR_VERSION)
        column_copy(row, 1, a->digests[number - 1], SHA256_HEX);
}

static void stmt_finalizep(sqlite3_stmt **stmt)
{
    sqlite3_finalize(*stmt);
}

static int read_applied(sqlite3 *db, struct applied *ret_applied)
{
    AUTO(stmt_finalizep) sqlite3_stmt *stmt = NULL;
    int code;

    code = sqlite3_prepare_v2(db, "SELECT number, digest, oldest FROM schema_migrations ORDER BY number",
                              -1, &stmt, NULL);
    if (code != SQLITE_OK)
        return sqlite3_errcode(db) == SQLITE_ERROR ? 0 : db_error(db, code, "migrations");
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW)
        take_row(stmt, ret_applied);
    return code == SQLITE_DONE ? 0 : db_error(db, code, "migrations");
}

static int check_applied(const struct applied *a, struct buf *reterr)
{
    if (a->newest > OUR_VERSION && a->oldest_program > OUR_VERSION) {
        buf_printf(reterr, "the database is at version %lld and needs a program of version %lld; this "
                   "one is at %lld: install a newer adit-controlplane", (long long)a->newest,
                   (long long)a->oldest_program, (long long)OUR_VERSION);
        return STORE_E_NEWER;
    }
    for (size_t i = 0; i < ARRAY_LEN(migrations); i++) {
        char digest[SHA256_HEX];

        sha256_hex(span_str(migrations[i].sql), digest);
        if (a->digests[i][0] && !span_eq(span_str(digest), span_str(a->digests[i]))) {
            buf_printf(reterr, "migration %04lld_%s was applied with another content: this program and "
                       "the database are of different builds", (long long)migrations[i].number,
                       migrations[i].name);
            return -EUCLEAN;
        }
    }
    return 0;
}

static int record_applied(sqlite3 *db, const struct migration *m)
{
    AUTO(stmt_finalizep) sqlite3_stmt *stmt = NULL;
    char digest[SHA256_HEX];
    int code;

    sha256_hex(span_str(m->sql), digest);
    code = sqlite3_prepare_v2(db, "INSERT INTO schema_migrations VALUES (?1, ?2, ?3, ?4, "
                              "CAST(strftime('%s', 'now') AS INTEGER) * 1000)", -1, &stmt, NULL);
    if (code != SQLITE_OK)
        return db_error(db, code, m->name);
    sqlite3_bind_int64(stmt, 1, m->number);
    sqlite3_bind_text(stmt, 2, m->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, digest, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(stmt, 4, oldest_of(m));
    code = sqlite3_step(stmt);
    return code == SQLITE_DONE ? 0 : db_error(db, code, m->name);
}

static int apply_missing(sqlite3 *db, struct buf *reterr)
{
    struct applied a = { 0 };
    int r;

    r = db_exec(db, create_table);
    if (!r)
        r = read_applied(db, &a);
    if (!r)
        r = check_applied(&a, reterr);
    for (size_t i = 0; !r && i < ARRAY_LEN(migrations); i++) {
        if (migrations[i].number <= a.newest)
            continue;
        r = db_exec(db, migrations[i].sql);
        if (!r)
            r = record_applied(db, &migrations[i]);
        if (!r)
            LOG(INFO, "store.migrated", N("number", migrations[i].number),
                S("name", migrations[i].name));
    }
    return r;
}

/* One exclusive transaction for the check and all that is missing: a second process waits
 * and then finds nothing to do; a kill leaves the database as it was. */
int migrate(sqlite3 *db, struct buf *reterr)
{
    int r;

    r = db_exec(db, "BEGIN EXCLUSIVE");
    if (r)
        return r;
    r = apply_missing(db, reterr);
    if (!r)
        r = db_exec(db, "COMMIT");
    if (r)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

int migrate_plan(sqlite3 *db, struct buf *ret_plan, struct buf *reterr)
{
    struct applied a = { 0 };
    int r;

    r = db ? read_applied(db, &a) : 0;
    if (!r)
        r = check_applied(&a, reterr);
    for (size_t i = 0; !r && i < ARRAY_LEN(migrations); i++)
        if (migrations[i].number > a.newest)
            buf_printf(ret_plan, "%04lld %s\n", (long long)migrations[i].number, migrations[i].name);
    return r;
}
