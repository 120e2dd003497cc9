#pragma once
#include "controlplane/store/driver.h"
#include "lib/base/list.h"
#include <pthread.h>
#include <stdatomic.h>
/*
 * store_internal.h - connections, prepared statements and their binding; this room only.
 *
 * Statements live in statements.sql under the lower-case name of their row here; all are
 * prepared on every connection when it is opened.
 */
#define STATEMENTS(X)                                                                          \
    X(position_get) X(position_advance) X(position_raise_epoch) X(position_set_trimmed)        \
    X(position_restore) X(server_identity)                                                     \
    X(meta_get) X(meta_put)                                                                    \
    X(object_insert) X(object_update) X(object_version)                                         \
    X(object_delete) X(object_get) X(object_find) X(object_manage)             \
    X(refs_clear) X(refs_add) X(referrers)                                                     \
    X(member_put) X(member_exists) X(member_delete) X(members_of) X(groups_of)                 \
    X(secret_put) X(secret_get) X(secret_find) X(secret_delete)                                \
    X(audit_head) X(audit_append) X(audit_get) X(audit_walk)                                   \
    X(audit_heads) X(audit_hash) X(audit_remove)                                               \
    X(checkpoint_put) X(checkpoint_get) X(checkpoints) X(checkpoint_before)                    \
    X(record_put) X(record_add) X(record_merge)                                                \
    X(record_get) X(records_trim) X(report_put) X(report_delete) X(report_get)         \
    X(reports)                                                                                  \
    X(state_get) X(state_put) X(state_remove) X(state_change) X(state_each) X(state_changes)   \
    X(state_trim) X(publication_put) X(publications) X(publications_trim)                      \
    X(answer_get) X(answer_put) X(answers_trim)                                                \
    X(penalty_get) X(penalty_put) X(penalties_trim)                                            \
    X(key_put) X(key_set_status) X(key_retire) X(keys)                                                       \
    X(join_repeat) X(join_count) X(join_forget) X(join_add) X(join_answer)                     \
    X(certificate_put) X(certificate_last)                                                     \
    X(event_add) X(events) X(events_bounds) X(events_trim)                                     \
    X(statistic_add) X(statistic_insert) X(statistic_rows) X(statistic_delete)                \
    X(statistic_points) X(statistic_sums) X(statistics_trim)

enum statement {
#define STATEMENT_ENUM(name) Q_##name,
    STATEMENTS(STATEMENT_ENUM)
#undef STATEMENT_ENUM
    STATEMENT_COUNT
};

struct dbconn {
    struct list node;
    struct db *db;
    struct stmt *statements[STATEMENT_COUNT];
    bool leads;                 /* store_lead(); ends with the connection */
};

/* A bounded set of connections, handed out in the order of asking. */
struct pool {
    pthread_mutex_t lock;
    struct list idle, waiting;
};

void pool_init(struct pool *pool);
void pool_deinit(struct pool *pool);    /* closes the idle connections: all of them */
void pool_give(struct pool *pool, struct dbconn *conn);
/* NULL after wait_ms. */
struct dbconn *pool_take(struct pool *pool, unsigned wait_ms);

/* Without the statements: dbconn_prepare(), once the tables are there. */
MUST_CHECK int dbconn_open(const struct store_options *options, enum store_mode mode,
                           struct dbconn **ret_conn, struct buf *reterr);
MUST_CHECK int dbconn_prepare(struct dbconn *conn);
void dbconn_close(struct dbconn *conn);
DEFINE_FREEP(dbconn, dbconn_close)

struct store {
    struct store_options options;       /* the texts are its own */
    char *path, *url, *password;
    char writer[64];
    struct pool writers, readers;
    void (*on_commit)(void *ctx);
    void *on_commit_ctx;
    _Atomic uint64_t try_after_ms;      /* on the monotonic clock: no connecting before */
    _Atomic bool is_away;
    _Atomic uint64_t lost, reconnected;
};

struct store_tx {
    struct store *store;
    struct dbconn *conn;
    enum store_mode mode;
    bool has_revision;          /* took the next revision */
    bool had_revision[STORE_MARKS_MAX]; /* has_revision at each mark */
    unsigned marks;
    struct store_position position;     /* valid when has_revision */
};

/* Binds ?1… by one letter each: t const char * (NULL: NULL), s struct span text,
 * b struct span blob, i int64_t, u const struct ulid *.  The statement is reset when the
 * next one is taken of its name.  NULL is never given. */
struct stmt *db_bind(struct store_tx *tx, enum statement q, const char *format, ...);
/* DB_ROW, 0 at the end, or an error (driver.h). */
MUST_CHECK int db_step(struct store_tx *tx, struct stmt *row);
/* One step and the reset: 0, -errno or a condition.  `ret_changed` may be NULL. */
MUST_CHECK int db_done(struct store_tx *tx, struct stmt *row, int64_t *ret_changed);

/* Columns: id, kind, name, version, created, updated, created_by, managed_by, doc. */
#define OBJECT_COLUMNS 9
MUST_CHECK int object_of_row(struct stmt *row, struct store_object **ret_object);

MUST_CHECK int migrate(struct db *db, uint64_t now_ms, struct buf *reterr);
/* What is missing, a line each; `db` NULL: there is no database yet. */
MUST_CHECK int migrate_plan(const struct driver *driver, struct db *db, struct buf *ret_plan,
                            struct buf *reterr);
/* The number of this program's newest. */
int64_t migrations_newest(const struct driver *driver);
MUST_CHECK int migrate_finalize(struct db *db, struct buf *ret_done, struct buf *reterr);

/* Table i of a backup and its columns, with commas; NULL: there are no more. */
const char *backup_columns(size_t i, const char **ret_table);
/* Takes the next revision unless the transaction has one. */
MUST_CHECK int position_take(struct store_tx *tx);
/* What an epoch that is raised now is at least. */
int64_t epoch_by_clock(const struct store *store);
