#include "controlplane/store/store_internal.h"
#include "lib/crypto/digest.h"
#include "lib/log/log.h"

#include <errno.h>

static const char create_table[] =
    "CREATE TABLE IF NOT EXISTS schema_migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL,"
    " digest TEXT NOT NULL, oldest BIGINT NOT NULL, applied_at BIGINT NOT NULL)";

#define MIGRATIONS_MAX 256

struct applied {                /* what the database says */
    int64_t newest, oldest_program;     /* the greatest of what each migration asks for */
    int64_t oldest[MIGRATIONS_MAX];     /* by number - 1; 0: not applied */
    char digests[MIGRATIONS_MAX][SHA256_HEX];
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

int64_t migrations_newest(const struct driver *driver)
{
    return driver->migrations[driver->migration_count - 1].number;
}

static void take_row(struct stmt *row, struct applied *a)
{
    int64_t number = column_int(row, 0);

    a->newest = number;
    if (column_int(row, 2) > a->oldest_program)
        a->oldest_program = column_int(row, 2);
    if (number < 1 || number > MIGRATIONS_MAX)
        return;
    a->oldest[number - 1] = column_int(row, 2);
    column_copy(row, 1, a->digests[number - 1], SHA256_HEX);
}

static int read_applied(struct db *db, struct applied *ret_applied)
{
    AUTO(stmt_freep) struct stmt *stmt = NULL;
    int r;

    r = db->driver->prepare(db, NULL, SPAN("SELECT number, digest, oldest FROM schema_migrations ORDER BY number"),
                            false, &stmt);
    while (!r && (r = db->driver->step(stmt)) == DB_ROW) {
        take_row(stmt, ret_applied);
        r = 0;
    }
    return r;
}

static int check_applied(const struct driver *driver, const struct applied *a, struct buf *reterr)
{
    if (a->newest > migrations_newest(driver) && a->oldest_program > migrations_newest(driver)) {
        buf_printf(reterr, "the database is at version %lld and needs a program of version %lld; this "
                   "one is at %lld: install a newer adit-controlplane", (long long)a->newest,
                   (long long)a->oldest_program, (long long)migrations_newest(driver));
        return STORE_E_NEWER;
    }
    for (size_t i = 0; i < driver->migration_count; i++) {
        char digest[SHA256_HEX];

        sha256_hex(span_str(driver->migrations[i].sql), digest);
        if (a->digests[i][0] && !span_eq(span_str(digest), span_str(a->digests[i]))) {
            buf_printf(reterr, "migration %04lld_%s was applied with another content: this program and "
                       "the database are of different builds", (long long)driver->migrations[i].number,
                       driver->migrations[i].name);
            return -EUCLEAN;
        }
    }
    return 0;
}

static int record_applied(struct db *db, const struct migration *m, uint64_t now_ms)
{
    AUTO(stmt_freep) struct stmt *stmt = NULL;
    char digest[SHA256_HEX];
    const struct value values[] = {
        { .type = VALUE_INT, .number = m->number }, { .type = VALUE_TEXT, .text = span_str(m->name) },
        { .type = VALUE_TEXT, .text = span_of(digest, SHA256_HEX - 1) }, { .type = VALUE_INT, .number = oldest_of(m) },
        { .type = VALUE_INT, .number = (int64_t)now_ms },
    };
    int r;

    sha256_hex(span_str(m->sql), digest);
    r = db->driver->prepare(db, NULL, SPAN("INSERT INTO schema_migrations VALUES (?1, ?2, ?3, ?4, ?5)"), false, &stmt);
    if (r)
        return r;
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        db->driver->bind(stmt, (int)i + 1, &values[i]);
    return db->driver->step(stmt);
}

static int apply_missing(struct db *db, uint64_t now_ms, struct buf *reterr)
{
    const struct driver *driver = db->driver;
    struct applied a = { 0 };
    int r;

    r = db_exec(db, create_table);
    if (!r)
        r = read_applied(db, &a);
    if (!r)
        r = check_applied(driver, &a, reterr);
    for (size_t i = 0; !r && i < driver->migration_count; i++) {
        if (driver->migrations[i].number <= a.newest)
            continue;
        r = db_exec(db, driver->migrations[i].sql);
        if (!r)
            r = record_applied(db, &driver->migrations[i], now_ms);
        if (!r)
            LOG(INFO, "store.migrated", N("number", driver->migrations[i].number),
                S("name", driver->migrations[i].name));
    }
    return r;
}

/* One exclusive transaction for the check and all that is missing: a second process waits
 * and then finds nothing to do; a kill leaves the database as it was. */
int migrate(struct db *db, uint64_t now_ms, struct buf *reterr)
{
    int r;

    r = db_exec(db, db->driver->begin_migration);
    if (!r)
        r = apply_missing(db, now_ms, reterr);
    if (!r)
        r = db->driver->commit(db);
    db->driver->rollback(db);
    return r;
}

static bool is_finalized(const struct applied *a, const struct migration *m)
{
    return a->oldest[m->number - 1] == m->number;
}

static int read_if_there(struct db *db, struct applied *ret_applied)
{
    AUTO(buf_deinit) struct buf answer;
    int r;

    buf_init_heap(&answer, 64);
    r = db_ask(db, db->driver->has_migrations, &answer);
    return r || !answer.len ? r : read_applied(db, ret_applied);
}

int migrate_plan(const struct driver *driver, struct db *db, struct buf *ret_plan, struct buf *reterr)
{
    struct applied a = { 0 };
    int r;

    r = db ? read_if_there(db, &a) : 0;
    if (!r)
        r = check_applied(driver, &a, reterr);
    for (size_t i = 0; !r && i < driver->migration_count; i++)
        if (driver->migrations[i].number > a.newest)
            buf_printf(ret_plan, "%04lld %s\n", (long long)driver->migrations[i].number, driver->migrations[i].name);
    for (size_t i = 0; !r && i < driver->migration_count; i++)
        if (driver->migrations[i].contracts && !is_finalized(&a, &driver->migrations[i]))
            buf_printf(ret_plan, "%04lld %s: --finalize, once no older program runs\n",
                       (long long)driver->migrations[i].number, driver->migrations[i].name);
    return r;
}

/* Its own version is the oldest from then on. */
static int finalize_one(struct db *db, const struct migration *m)
{
    AUTO(stmt_freep) struct stmt *stmt = NULL;
    const struct value number = { .type = VALUE_INT, .number = m->number };
    int r;

    r = db_exec(db, m->contracts);
    if (!r)
        r = db->driver->prepare(db, NULL, SPAN("UPDATE schema_migrations SET oldest = ?1 WHERE number = ?1"),
                                false, &stmt);
    if (r)
        return r;
    db->driver->bind(stmt, 1, &number);
    return db->driver->step(stmt);
}

static int finalize_all(struct db *db, struct buf *ret_done, struct buf *reterr)
{
    const struct driver *driver = db->driver;
    struct applied a = { 0 };
    int r;

    r = read_applied(db, &a);
    if (!r)
        r = check_applied(driver, &a, reterr);
    for (size_t i = 0; !r && i < driver->migration_count; i++) {
        const struct migration *m = &driver->migrations[i];

        if (!m->contracts || !a.oldest[m->number - 1] || is_finalized(&a, m))
            continue;
        r = finalize_one(db, m);
        if (!r)
            buf_printf(ret_done, "%04lld %s\n", (long long)m->number, m->name);
    }
    return r;
}

int migrate_finalize(struct db *db, struct buf *ret_done, struct buf *reterr)
{
    int r;

    r = db_exec(db, db->driver->begin_migration);
    if (!r)
        r = finalize_all(db, ret_done, reterr);
    if (!r)
        r = db->driver->commit(db);
    db->driver->rollback(db);
    return r;
}
