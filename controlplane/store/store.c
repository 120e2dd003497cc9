#include "controlplane/store/store_internal.h"
#include "lib/crypto/random.h"
#include "lib/crypto/secret.h"
#include "lib/log/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t wall_clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const struct driver *driver_of(const struct store_options *options)
{
    return options->url && options->url[0] ? &postgres_driver : &sqlite_driver;
}

/* ---- connections ---- */

int dbconn_open(const struct store_options *options, enum store_mode mode, struct dbconn **ret_conn,
                struct buf *reterr)
{
    AUTO(dbconn_closep) struct dbconn *conn = calloc(1, sizeof(*conn));
    int r;

    if (!conn)
        return -ENOMEM;
    list_init(&conn->node);
    r = driver_of(options)->open(options, mode, &conn->db, reterr);
    if (!r)
        *ret_conn = TAKE(conn);
    return r;
}

void dbconn_close(struct dbconn *conn)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        stmt_freep(&conn->statements[i]);
    if (conn->db)
        conn->db->driver->close(conn->db);
    free(conn);
}

static int open_connections(struct store *store, struct buf *reterr)
{
    AUTO(dbconn_closep) struct dbconn *writer = NULL;
    int r;

    r = dbconn_open(&store->options, STORE_WRITE, &writer, reterr);
    if (!r)
        r = migrate(writer->db, store_now_ms(store), reterr);
    if (!r)
        r = dbconn_prepare(writer);
    if (r)
        return r;
    pool_give(&store->writers, TAKE(writer));
    for (unsigned i = 0; i < store->options.readers; i++) {
        AUTO(dbconn_closep) struct dbconn *reader = NULL;

        r = dbconn_open(&store->options, STORE_READ, &reader, reterr);
        if (!r)
            r = dbconn_prepare(reader);
        if (r)
            return r;
        pool_give(&store->readers, TAKE(reader));
    }
    return 0;
}

/* Those that come a moment after one that failed are told at once. */
static int conn_replace(struct store *store, enum store_mode mode, struct dbconn **conn)
{
    AUTO(dbconn_closep) struct dbconn *fresh = NULL;
    AUTO(buf_deinit) struct buf why = { 0 };
    int r;

    if (monotonic_ms() < atomic_load(&store->try_after_ms))
        return DB_AWAY;
    buf_init_heap(&why, 4096);
    r = dbconn_open(&store->options, mode, &fresh, &why);
    if (!r)
        r = dbconn_prepare(fresh);
    if (r) {
        if (!store->is_away)
            LOG(WARNING, "store.not-reconnected", SP("text", buf_span(&why)));
        atomic_store(&store->try_after_ms, monotonic_ms() + STORE_RECONNECT_MS);
        return DB_AWAY;
    }
    atomic_fetch_add(&store->reconnected, 1);
    dbconn_close(*conn);
    *conn = TAKE(fresh);
    return 0;
}

/* Begins anew, once, on a connection that was lost while nobody looked. */
static int conn_begin(struct store *store, enum store_mode mode, struct dbconn **conn)
{
    int r = DB_AWAY;

    for (int tries = 0; r == DB_AWAY && tries < 2; tries++) {
        const struct driver *driver = (*conn)->db->driver;

        r = driver->is_lost((*conn)->db) ? conn_replace(store, mode, conn) : 0;
        if (r)
            break;
        r = db_exec((*conn)->db, driver->begin[mode]);
        if (r)
            driver->rollback((*conn)->db);
        if (r == DB_AWAY)
            atomic_fetch_add(&store->lost, 1);
    }
    if (atomic_exchange(&store->is_away, r == DB_AWAY) && r != DB_AWAY)
        LOG(INFO, "store.back", U("lost", store->lost), U("reconnected", store->reconnected));
    return r;
}

/* ---- the store ---- */

static char *own_text(const char *text)
{
    return span_dup(span_str(text ? text : ""));
}

static struct store *store_new(const struct store_options *options)
{
    struct store *store = calloc(1, sizeof(*store));

    if (!store)
        return NULL;
    pool_init(&store->writers);
    pool_init(&store->readers);
    snprintf(store->writer, sizeof(store->writer), "%s", options->writer);
    store->path = own_text(options->path);
    store->url = own_text(options->url);
    store->password = own_text(options->password);
    store->options = (struct store_options){
        .path = store->path, .url = store->url, .password = store->password, .writer = store->writer,
        .readers = options->readers ? options->readers : 4,
        .wait_ms = options->wait_ms ? options->wait_ms : 5000,
        .statement_ms = options->statement_ms ? options->statement_ms : 30000,
        .now_ms = options->now_ms ? options->now_ms : wall_clock_ms,
    };
    if (store->path && store->url && store->password)
        return store;
    store_close(store);
    return NULL;
}

int store_open(const struct store_options *options, struct store **ret_store, struct buf *reterr)
{
    AUTO(store_closep) struct store *store = store_new(options);
    int r;

    if (!store)
        return -ENOMEM;
    if (store->options.readers > STORE_READERS_MAX)
        return -EINVAL;
    r = open_connections(store, reterr);
    if (r) {
        if (!reterr->len)
            buf_printf(reterr, "%s: %s", store->url[0] ? "PostgreSQL" : options->path,
                       strerrordesc_np(r < 0 ? -r : EIO));
        return r;
    }
    *ret_store = TAKE(store);
    return 0;
}

int store_plan(const struct store_options *options, struct buf *ret_plan, struct buf *reterr)
{
    AUTO(store_closep) struct store *store = store_new(options);
    AUTO(dbconn_closep) struct dbconn *conn = NULL;
    int r;

    if (!store)
        return -ENOMEM;
    if (!store->url[0] && access(store->path, F_OK))
        return migrate_plan(driver_of(&store->options), NULL, ret_plan, reterr);
    r = dbconn_open(&store->options, STORE_READ, &conn, reterr);
    return r ? r : migrate_plan(conn->db->driver, conn->db, ret_plan, reterr);
}

int store_finalize(struct store *store, struct buf *ret_done, struct buf *reterr)
{
    struct dbconn *conn = pool_take(&store->writers, store->options.wait_ms);
    int r;

    if (!conn)
        return STORE_E_BUSY;
    r = migrate_finalize(conn->db, ret_done, reterr);
    pool_give(&store->writers, conn);
    return r;
}

void store_close(struct store *store)
{
    pool_deinit(&store->readers);
    pool_deinit(&store->writers);
    free(store->path);
    free(store->url);
    if (store->password)
        secret_wipe(store->password, strlen(store->password));
    free(store->password);
    free(store);
}

uint64_t store_now_ms(const struct store *store)
{
    return store->options.now_ms();
}

struct ulid store_new_id(const struct store *store)
{
    return random_ulid(store->options.now_ms());
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
    tx->conn = pool_take(pool_for(store, mode), store->options.wait_ms);
    if (!tx->conn)
        return STORE_E_BUSY;
    r = conn_begin(store, mode, &tx->conn);
    if (r) {
        pool_give(pool_for(store, mode), tx->conn);
        return r == -EBUSY || r == -EAGAIN ? STORE_E_BUSY : r;
    }
    *ret_tx = TAKE(tx);
    return 0;
}

static void tx_end(struct store_tx *tx)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        stmt_resetp(&tx->conn->statements[i]);
    tx->conn->db->driver->rollback(tx->conn->db);
    if (tx->conn->db->driver->is_lost(tx->conn->db))
        atomic_fetch_add(&tx->store->lost, 1);
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
        r = tx->conn->db->driver->commit(tx->conn->db);
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

bool store_is_shared(const struct store *store)
{
    return driver_of(&store->options)->lead != NULL;
}

int store_lead(struct store_tx *tx, bool *ret_leads, bool *ret_is_new)
{
    AUTO(buf_deinit) struct buf answer;
    struct dbconn *conn = tx->conn;
    bool led = conn->leads || !conn->db->driver->lead;
    int r;

    buf_init_heap(&answer, 64);
    r = led ? 0 : db_ask(conn->db, conn->db->driver->lead, &answer);
    if (r)
        return r;
    conn->leads = led || span_starts(buf_span(&answer), SPAN("1"));
    *ret_leads = conn->leads;
    *ret_is_new = conn->leads && !led;
    return 0;
}

int store_depose(struct store_tx *tx)
{
    AUTO(buf_deinit) struct buf answer;
    const struct driver *driver = tx->conn->db->driver;

    buf_init_heap(&answer, 4096);
    return driver->depose ? db_ask(tx->conn->db, driver->depose, &answer) : 0;
}

int store_mark(struct store_tx *tx)
{
    if (tx->marks == STORE_MARKS_MAX)
        return -ENOSPC;
    tx->had_revision[tx->marks++] = tx->has_revision;
    return db_exec(tx->conn->db, "SAVEPOINT mark");
}

int store_drop_mark(struct store_tx *tx)
{
    if (!tx->marks)
        return -EINVAL;
    tx->marks--;
    return db_exec(tx->conn->db, "RELEASE mark");
}

int store_undo_to_mark(struct store_tx *tx)
{
    if (!tx->marks)
        return -EINVAL;
    tx->has_revision = tx->had_revision[--tx->marks];
    return db_exec(tx->conn->db, "ROLLBACK TO mark; RELEASE mark");
}

void store_get_stats(const struct store *store, struct store_stats *ret_stats)
{
    *ret_stats = (struct store_stats){ .lost = store->lost, .reconnected = store->reconnected,
                                       .is_away = store->is_away };
}

int store_check(struct store *store, struct buf *reterr)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(buf_deinit) struct buf findings;
    struct span rest, line;
    int r;

    buf_init_heap(&findings, 65536);
    r = store_begin(store, STORE_READ, &tx);
    if (!r)
        r = db_ask(tx->conn->db, tx->conn->db->driver->check, &findings);
    if (r)
        return r > 0 ? -EBUSY : r;
    rest = buf_span(&findings);
    while (span_cut(&rest, '\n', &line))
        if (line.n && !span_eq(line, SPAN("ok")))
            buf_printf(reterr, SPAN_FMT "\n", SPAN_ARG(line));
    return reterr->len ? -EUCLEAN : 0;
}
