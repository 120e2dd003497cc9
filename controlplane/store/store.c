#include "controlplane/store/store_internal.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

static uint64_t wall_clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const char connection_settings[] =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = FULL;"        /* an answered commit is on the disk */
    "PRAGMA foreign_keys = ON;"
    "PRAGMA cell_size_check = ON;"
    "PRAGMA secure_delete = FAST;"
    "PRAGMA journal_size_limit = 67108864;";

/* Events of relays touch the same indexes again and again: with SQLite's 2 MB a fifth of what
 * they cost was reading pages. */
static const char writer_settings[] = "PRAGMA cache_size = -16384;";

static int dbconn_configure(struct dbconn *conn, bool is_writer, unsigned wait_ms)
{
    int r;

    sqlite3_extended_result_codes(conn->db, 1);
    sqlite3_busy_timeout(conn->db, (int)wait_ms);
    sqlite3_db_config(conn->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    r = db_exec(conn->db, connection_settings);
    if (!r)
        r = db_exec(conn->db, is_writer ? writer_settings : "PRAGMA query_only = ON");
    return r;
}

int dbconn_open(const char *path, bool is_writer, unsigned wait_ms, struct dbconn **ret_conn)
{
    AUTO(dbconn_closep) struct dbconn *conn = calloc(1, sizeof(*conn));
    int code, r;

    if (!conn)
        return -ENOMEM;
    list_init(&conn->node);
    code = sqlite3_open_v2(path, &conn->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return db_error(conn->db, code, path);
    r = dbconn_configure(conn, is_writer, wait_ms);
    if (r)
        return r;
    *ret_conn = TAKE(conn);
    return 0;
}

void dbconn_close(struct dbconn *conn)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(conn->statements[i]);
    sqlite3_close(conn->db);
    free(conn);
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

static int open_connections(struct store *store, const char *path, unsigned readers,
                            struct buf *reterr)
{
    AUTO(dbconn_closep) struct dbconn *writer = NULL;
    int r;

    r = dbconn_open(path, true, store->wait_ms, &writer);
    if (!r)
        r = migrate(writer->db, reterr);
    if (!r)
        r = dbconn_prepare(writer);
    if (r)
        return r;
    pool_give(&store->writers, TAKE(writer));
    for (unsigned i = 0; i < readers; i++) {
        AUTO(dbconn_closep) struct dbconn *reader = NULL;

        r = dbconn_open(path, false, store->wait_ms, &reader);
        if (!r)
            r = dbconn_prepare(reader);
        if (r)
            return r;
        pool_give(&store->readers, TAKE(reader));
    }
    return 0;
}

static struct store *store_new(const struct store_options *options)
{
    struct store *store = calloc(1, sizeof(*store));

    if (!store)
        return NULL;
    pool_init(&store->writers);
    pool_init(&store->readers);
    store->wait_ms = options->wait_ms ? options->wait_ms : 5000;
    store->now_ms = options->now_ms ? options->now_ms : wall_clock_ms;
    snprintf(store->writer, sizeof(store->writer), "%s", options->writer);
    return store;
}

int store_open(const struct store_options *options, struct store **ret_store, struct buf *reterr)
{
    AUTO(store_closep) struct store *store = store_new(options);
    unsigned readers = options->readers ? options->readers : 4;
    int r;

    if (!store)
        return -ENOMEM;
    if (readers > 64)
        return -EINVAL;
    r = touch_private(options->path);
    if (!r)
        r = open_connections(store, options->path, readers, reterr);
    if (r) {
        if (!reterr->len)
            buf_printf(reterr, "%s: %s", options->path, strerrordesc_np(r < 0 ? -r : EIO));
        return r;
    }
    *ret_store = TAKE(store);
    return 0;
}

int store_plan(const char *path, struct buf *ret_plan, struct buf *reterr)
{
    AUTO(dbconn_closep) struct dbconn *conn = NULL;
    int r;

    if (access(path, F_OK))
        return migrate_plan(NULL, ret_plan, reterr);
    r = dbconn_open(path, false, 5000, &conn);
    return r ? r : migrate_plan(conn->db, ret_plan, reterr);
}

void store_close(struct store *store)
{
    pool_deinit(&store->readers);
    pool_deinit(&store->writers);
    free(store);
}

uint64_t store_now_ms(const struct store *store)
{
    return store->now_ms();
}

struct ulid store_new_id(const struct store *store)
{
    return random_ulid(store->now_ms());
}

void store_on_commit(struct store *store, void (*fn)(void *ctx), void *ctx)
{
    store->on_commit = fn;
    store->on_commit_ctx = ctx;
}

/* ---- transactions ---- */

static struct pool *pool_for(struct store *store, enum store_mode mode)
{
    return mode == STORE_WRITE ? &store->writers : &store->readers;
}

int store_begin(struct store *store, enum store_mode mode, struct store_tx **ret_tx)
{
    AUTO(freep) struct store_tx *tx = calloc(1, sizeof(*tx));
    int r;

    if (!tx)
        return -ENOMEM;
    tx->store = store;
    tx->mode = mode;
    tx->conn = pool_take(pool_for(store, mode), store->wait_ms);
    if (!tx->conn)
        return STORE_E_BUSY;
    r = db_exec(tx->conn->db, mode == STORE_WRITE ? "BEGIN IMMEDIATE" : "BEGIN");
    if (r) {
        pool_give(pool_for(store, mode), tx->conn);
        return r == -EBUSY ? STORE_E_BUSY : r;
    }
    *ret_tx = TAKE(tx);
    return 0;
}

static void tx_end(struct store_tx *tx)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_reset(tx->conn->statements[i]);
    if (!sqlite3_get_autocommit(tx->conn->db))
        sqlite3_exec(tx->conn->db, "ROLLBACK", NULL, NULL, NULL);
    pool_give(pool_for(tx->store, tx->mode), tx->conn);
    free(tx);
}

int store_commit(struct store_tx **tx_slot, struct store_position *ret_position)
{
    struct store_tx *tx = TAKE(*tx_slot);
    struct store *store = tx->store;
    bool has_revision = tx->has_revision;
    struct store_position position = { 0 };
    int r;

    r = store_position(tx, &position);
    if (!r)
        r = db_exec(tx->conn->db, "COMMIT");
    tx_end(tx);
    if (r)
        return r;
    if (ret_position)
        *ret_position = position;
    if (has_revision && store->on_commit)
        store->on_commit(store->on_commit_ctx);
    return 0;
}

void store_rollback(struct store_tx *tx)
{
    tx_end(tx);
}

struct store *store_of(struct store_tx *tx)
{
    return tx->store;
}

int store_mark(struct store_tx *tx)
{
    tx->had_revision = tx->has_revision;
    return db_exec(tx->conn->db, "SAVEPOINT mark");
}

int store_undo_to_mark(struct store_tx *tx)
{
    tx->has_revision = tx->had_revision;
    return db_exec(tx->conn->db, "ROLLBACK TO mark; RELEASE mark");
}

static int check_pragma(struct store_tx *tx, const char *sql, struct buf *reterr)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(tx->conn->db, sql, -1, &stmt, NULL);

    while (code == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        struct span finding = column_span(stmt, 0);

        if (!span_eq(finding, SPAN("ok")))
            buf_printf(reterr, SPAN_FMT "\n", SPAN_ARG(finding));
    }
    sqlite3_finalize(stmt);
    return code == SQLITE_OK ? 0 : db_error(tx->conn->db, code, sql);
}

int store_check(struct store *store, struct buf *reterr)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int r;

    r = store_begin(store, STORE_READ, &tx);
    if (!r)
        r = check_pragma(tx, "PRAGMA integrity_check", reterr);
    if (!r)
        r = check_pragma(tx, "PRAGMA foreign_key_check", reterr);
    if (r)
        return r > 0 ? -EBUSY : r;
    return reterr->len ? -EUCLEAN : 0;
}
