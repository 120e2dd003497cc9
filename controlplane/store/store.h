#pragma once
#include "lib/base/buf.h"
#include "lib/base/ulid.h"
#include <stdio.h>
/*
 * store.h - everything the control plane keeps, behind one interface.
 *
 * Every read and write happens inside a transaction.  A write transaction that leaves its
 * scope without store_commit() is rolled back (declare it AUTO(store_rollbackp)).  What
 * store_commit() has answered 0 for survives kill -9 and power loss.
 *
 *     AUTO(store_rollbackp) struct store_tx *tx = NULL;
 *
 *     r = store_begin(store, STORE_WRITE, &tx);
 *     if (r)
 *         return r;
 *     ... store_object_insert(tx, ...), store_state_put(tx, ...), store_audit_append(tx, ...)
 *     r = store_commit(&tx, &position);
 *
 * Shape      objects are rows (kind, id, name) with a JSON document that never holds a
 *            secret; what refers to what, members, secrets and state records have tables
 *            of their own.  Lists come from store_list() for every source.
 * Units      times are Unix milliseconds.
 * Ownership  spans given in are copied by the database; spans handed to callbacks live
 *            for the call; heap results say so.
 * Errors     0; -errno (the database failed: forward it, the transaction is lost; -ENOTCONN:
 *            the server is away, and of a commit nobody knows whether it was done);
 *            the named conditions below, the transaction stays usable.
 * Threads    struct store: any.  A transaction: the thread that began it.  One writer at a
 *            time, first come first served; readers are a bounded pool and see one moment.
 */
enum {                          /* > 0: the caller names and handles it */
    STORE_E_NOT_FOUND = 1,      /* no such row */
    STORE_E_EXISTS,             /* (kind, name) or id is taken */
    STORE_E_STALE,              /* the version is another: somebody wrote in between */
    STORE_E_IN_USE,             /* others refer to it: store_referrers() */
    STORE_E_NO_REF,             /* what it refers to does not exist */
    STORE_E_BUSY,               /* no connection within wait_ms: answer overload */
    STORE_E_BAD_CURSOR,         /* the cursor was not made for this list */
    STORE_E_BAD_FILTER,         /* a filter or sort field that this source cannot use */
    STORE_E_USED_UP,            /* the join token has no uses left */
    STORE_E_NEWER,              /* the database is newer than this program */
};

enum store_mode { STORE_READ, STORE_WRITE };

#define STORE_LIMIT_MAX 500     /* rows of one list */
#define STORE_FILTERS_MAX 16
#define STORE_DOC_MAX (1u << 20)
#define STORE_KIND_MAX 32
#define STORE_NAME_MAX 253

#define STORE_READERS_MAX 64
#define STORE_RECONNECT_MS 250  /* between attempts, when the server is away */

struct store_options {
    const char *path;           /* SQLite: the database file; made 0600 when missing */
    const char *url;            /* postgresql://… as libpq reads it; NULL or empty: SQLite */
    const char *password;       /* for the url, when it is kept elsewhere; NULL or empty: none */
    unsigned readers;           /* read connections, 1..STORE_READERS_MAX; 0: 4.  One more writes. */
    unsigned wait_ms;           /* for a connection or a lock; 0: 5000 */
    unsigned statement_ms;      /* PostgreSQL: for a statement; 0: 30000 */
    const char *writer;         /* this process's audit chain, e.g. the control plane's id */
    uint64_t (*now_ms)(void);   /* NULL: the wall clock */
};

/* Whether it is something that libpq can read as an URL. */
bool store_is_url(const char *text);

struct store;
struct store_tx;

/* Opens and checks the database and applies what migrations are missing, under a lock.
 * -errno or STORE_E_NEWER with a sentence in `reterr`. */
MUST_CHECK int store_open(const struct store_options *options, struct store **ret_store,
                          struct buf *reterr);
/* Writes what store_open() would apply, a line each; nothing is changed. */
MUST_CHECK int store_plan(const struct store_options *options, struct buf *ret_plan, struct buf *reterr);
/* Applies what the migrations left for the time when no older program runs any more: such a one
 * refuses the database afterwards.  `ret_done`: a line each. */
MUST_CHECK int store_finalize(struct store *store, struct buf *ret_done, struct buf *reterr);
/* No transaction may be open. */
void store_close(struct store *store);
DEFINE_FREEP(store, store_close)
/* What the database itself says of its tables: 0, or -EUCLEAN with the findings. */
MUST_CHECK int store_check(struct store *store, struct buf *reterr);
struct store_stats {
    uint64_t lost, reconnected; /* connections to the server */
    bool is_away;               /* it was, at the last begin */
};
void store_get_stats(const struct store *store, struct store_stats *ret_stats);
uint64_t store_now_ms(const struct store *store);
struct ulid store_new_id(const struct store *store);
/* Called (on the committing thread, no lock held) after each commit that took a revision. */
void store_on_commit(struct store *store, void (*fn)(void *ctx), void *ctx);

/* ---- transactions ---- */
struct store_position {         /* of the signed state */
    uint64_t epoch, revision;
};

/* STORE_E_BUSY. */
MUST_CHECK int store_begin(struct store *store, enum store_mode mode, struct store_tx **ret_tx);
/* Ends the transaction in any case (*tx is NULL afterwards); durable when 0.
 * `ret_position` (may be NULL): the revision that it took, or the present one. */
MUST_CHECK int store_commit(struct store_tx **tx, struct store_position *ret_position);
void store_rollback(struct store_tx *tx);
DEFINE_FREEP(store_tx, store_rollback)
struct store *store_of(struct store_tx *tx);
MUST_CHECK int store_position(struct store_tx *tx, struct store_position *ret_position);
/* Whether the transaction has changed the state, and as which revision. */
bool store_has_revision(const struct store_tx *tx, struct store_position *ret_taken);
/* Nested undo for dry runs and batches: everything since the last mark is undone, or stays. */
#define STORE_MARKS_MAX 2               /* one in another; -ENOSPC */
MUST_CHECK int store_mark(struct store_tx *tx);
MUST_CHECK int store_drop_mark(struct store_tx *tx);
MUST_CHECK int store_undo_to_mark(struct store_tx *tx);

/* ---- several control planes on one database ---- */
bool store_is_shared(const struct store *store);        /* others may write too */
/* In a write transaction: whether this process is the one that leads, taking the lead when nobody
 * has it.  It lasts as long as the connection that writes, which the commit stands for: what is
 * committed was committed by the leader.  `ret_is_new`: taken just now. */
MUST_CHECK int store_lead(struct store_tx *tx, bool *ret_leads, bool *ret_is_new);
/* For the one that begins to lead.  `ret_is_other`: a standby took over since, which may lack commits;
 * the epoch was raised. */
MUST_CHECK int store_meet_server(struct store_tx *tx, bool *ret_is_other);
/* Ends the connection of the one that leads: it does nothing, but is not gone. */
MUST_CHECK int store_depose(struct store_tx *tx);

/* ---- objects ---- */
struct store_object {           /* one heap block: store_object_free() */
    struct ulid id;
    char kind[STORE_KIND_MAX + 1];
    char name[STORE_NAME_MAX + 1];      /* "" when it has none */
    int64_t version;            /* 1 at creation; the ETag */
    int64_t created_ms, updated_ms;
    char created_by[ULID_LEN + 1], managed_by[64];
    struct span doc;            /* JSON object text, NUL behind it */
};

struct store_new_object {
    struct ulid id;
    const char *kind;
    struct span name;           /* empty: none */
    struct span doc;
    const char *created_by, *managed_by;        /* NULL: "" */
};

/* STORE_E_EXISTS. */
MUST_CHECK int store_object_insert(struct store_tx *tx, const struct store_new_object *object);
/* STORE_E_NOT_FOUND, STORE_E_STALE (version 0: any), STORE_E_EXISTS (the name).
 * The new version comes back. */
MUST_CHECK int store_object_update(struct store_tx *tx, const char *kind, const struct ulid *id,
                                   int64_t version, struct span name, struct span doc,
                                   int64_t *ret_version);
/* Who manages it; an update goes with it, which counts the version up. */
MUST_CHECK int store_object_manage(struct store_tx *tx, const char *kind, const struct ulid *id,
                                   const char *managed_by);
/* STORE_E_NOT_FOUND, STORE_E_STALE, STORE_E_IN_USE.  Its refs, members and secrets go too. */
MUST_CHECK int store_object_delete(struct store_tx *tx, const char *kind, const struct ulid *id,
                                   int64_t version);
/* STORE_E_NOT_FOUND.  `kind` NULL: any. */
MUST_CHECK int store_object_get(struct store_tx *tx, const char *kind, const struct ulid *id,
                                struct store_object **ret_object);
MUST_CHECK int store_object_find(struct store_tx *tx, const char *kind, struct span name,
                                 struct store_object **ret_object);
void store_object_free(struct store_object *object);
DEFINE_FREEP(store_object, store_object_free)

/* ---- references: from an object's field to an object, which cannot go meanwhile ---- */
/* Replaces the refs of that field.  STORE_E_NO_REF. */
MUST_CHECK int store_refs_set(struct store_tx *tx, const struct ulid *from, const char *field,
                              const struct ulid *to, size_t count);
struct store_referrer {
    struct ulid id;
    const char *kind, *name, *field;
};
typedef int (*store_referrer_fn)(void *ctx, const struct store_referrer *referrer);
/* At most `limit`; a callback's answer other than 0 ends the walk and is given back. */
MUST_CHECK int store_referrers(struct store_tx *tx, const struct ulid *to, size_t limit,
                               store_referrer_fn fn, void *ctx);

/* ---- members ---- */
/* `relation` names the list ("group", "agent-group"); `doc` holds what belongs to the
 * membership (priority, weight, enabled), "{}" when nothing does.  Putting it again
 * replaces the document.  STORE_E_NO_REF. */
MUST_CHECK int store_member_put(struct store_tx *tx, const char *relation, const struct ulid *group,
                                const struct ulid *member, struct span doc, bool *ret_is_new);
MUST_CHECK int store_member_delete(struct store_tx *tx, const char *relation,
                                   const struct ulid *group, const struct ulid *member);
struct store_member {
    struct ulid group, member;
    const char *relation, *group_name, *member_name;
    struct span doc;
    int64_t added_ms;
};
typedef int (*store_member_fn)(void *ctx, const struct store_member *member);
/* In the order of member ids (or group ids), after `after` (NULL: from the start). */
MUST_CHECK int store_members_of(struct store_tx *tx, const char *relation, const struct ulid *group,
                                const struct ulid *after, size_t limit, store_member_fn fn, void *ctx);
MUST_CHECK int store_groups_of(struct store_tx *tx, const char *relation, const struct ulid *member,
                               const struct ulid *after, size_t limit, store_member_fn fn, void *ctx);

/* ---- secrets: never in a document ---- */
#define STORE_SECRET_MAX 1024
#define STORE_FINGERPRINT_MAX 64
struct store_secret {
    struct ulid object;
    unsigned char value[STORE_SECRET_MAX];      /* a hash, or sealed bytes */
    size_t value_len;
    char fingerprint[STORE_FINGERPRINT_MAX + 1];
    int64_t set_ms;
};

MUST_CHECK int store_secret_put(struct store_tx *tx, const struct ulid *object, const char *purpose,
                                struct span value, const char *fingerprint);
/* STORE_E_NOT_FOUND. */
MUST_CHECK int store_secret_get(struct store_tx *tx, const struct ulid *object, const char *purpose,
                                struct store_secret *ret_secret);
/* By value, which must be a hash of the secret. */
MUST_CHECK int store_secret_find(struct store_tx *tx, const char *purpose, struct span value,
                                 struct store_secret *ret_secret);
MUST_CHECK int store_secret_delete(struct store_tx *tx, const struct ulid *object,
                                   const char *purpose);

/* ---- lists ---- */
enum store_source {
    STORE_OBJECTS,              /* of `kind` */
    STORE_AUDIT,                /* audit events: doc as it was chained */
    STORE_DECISIONS,            /* route decisions */
    STORE_STREAMS,              /* streams: open, and closed some minutes ago */
    STORE_OPERATIONS,           /* work on many objects */
    STORE_OPERATION_ITEMS,      /* what became of each */
    STORE_DIAGNOSTICS,          /* diagnoses: under way, and the last that were made */
};

enum store_op {
    STORE_EQ, STORE_NE, STORE_LT, STORE_LE, STORE_GT, STORE_GE,
    STORE_HAS,                  /* the array field holds the value */
    STORE_PREFIX,               /* text begins with */
    STORE_NULL, STORE_SET,      /* absent or null; present */
    STORE_REFERS,               /* store_refs_set() under that field names this id (by index) */
    STORE_MEMBER_OF,            /* field: the relation; text: the group's id */
};

struct store_filter {
    const char *field;          /* "id", "name", "version", "created_at", "updated_at", "created_by",
                                 * "managed_by", or a path in the document: "user_id", "labels.env" */
    enum store_op op;
    enum { STORE_TEXT, STORE_INT, STORE_BOOL } type;
    struct span text;
    int64_t number;             /* INT; BOOL: 0 or 1 */
};

struct store_query {
    enum store_source source;
    const char *kind;           /* STORE_OBJECTS only */
    struct store_filter filters[STORE_FILTERS_MAX];
    size_t filter_count;
    struct span text;           /* q: in the name or anywhere in the document; empty: all */
    const char *sort;           /* a column or document path; NULL: "id" */
    bool is_descending;
    struct span after;          /* the cursor of the page before; empty: the first page */
    size_t limit;               /* 1..STORE_LIMIT_MAX */
};

/* Rows share store_object's shape; the object lives for the call. */
typedef int (*store_row_fn)(void *ctx, const struct store_object *row);
/* `ret_next`: the cursor of the next page, empty at the end.  A row that exists during the
 * whole walk, and whose sort field does not change, is seen exactly once.
 * STORE_E_BAD_CURSOR, STORE_E_BAD_FILTER. */
MUST_CHECK int store_list(struct store_tx *tx, const struct store_query *query, store_row_fn fn,
                          void *ctx, struct buf *ret_next);
/* Every row of the query, page by page (its `after` is not used). */
MUST_CHECK int store_list_all(struct store_tx *tx, const struct store_query *query, store_row_fn fn,
                              void *ctx);
/* How many rows the filters match (cursor and limit do not count). */
MUST_CHECK int store_count(struct store_tx *tx, const struct store_query *query, uint64_t *ret_count);
typedef int (*store_facet_fn)(void *ctx, struct span value, uint64_t count);
/* The most frequent values of a field among the matching rows, at most `limit`. */
MUST_CHECK int store_facet(struct store_tx *tx, const struct store_query *query, const char *field,
                           size_t limit, store_facet_fn fn, void *ctx);

/* ---- audit ---- */
struct store_audit {            /* empty spans and NULL are left out */
    const char *actor_kind;     /* "user", "service-account", "relay", "agent", "system", "anonymous" */
    struct span actor_id, actor_name, token_id, address;
    const char *action;         /* "users.create": the operation */
    const char *object_kind;
    struct span object_id, object_name;
    struct span before, after;  /* JSON without secrets */
    const char *outcome;        /* "ok" or a reason code */
    const char *trace_id;
    uint64_t count;             /* one event for so many occurrences, from first to last; 0: for one */
    int64_t first_ms, last_ms;
};

/* Chains the event in this transaction.  `ret_id` may be NULL. */
MUST_CHECK int store_audit_append(struct store_tx *tx, const struct store_audit *event,
                                  struct ulid *ret_id);
/* STORE_E_NOT_FOUND. */
MUST_CHECK int store_row_get(struct store_tx *tx, enum store_source source, const struct ulid *id,
                             struct store_object **ret_row);
struct store_audit_report {
    uint64_t events, chains;
    uint64_t bad_seq;           /* the first broken link; 0: whole */
    char bad_writer[64];
};
#define STORE_WRITER_MAX 63
#define STORE_HASH_HEX 64
struct store_audit_head {       /* an event of a chain, by its place */
    char writer[STORE_WRITER_MAX + 1], hash[STORE_HASH_HEX + 1];
    int64_t seq;
};
/* Walks every chain: 0 whole, -EUCLEAN broken (the report names the first bad event).
 * `bases`: chains that may begin later than at their first event, but not behind this one, which
 * must be there as it is named; by writer. */
MUST_CHECK int store_audit_verify(struct store_tx *tx, const struct store_audit_head *bases, size_t count,
                                  struct store_audit_report *ret_report);
typedef int (*store_audit_head_fn)(void *ctx, const struct store_audit_head *head);
/* The last event of each chain, by writer. */
MUST_CHECK int store_audit_heads(struct store_tx *tx, store_audit_head_fn fn, void *ctx);
/* Whether that event is there.  STORE_E_NOT_FOUND: it is not, or has another hash. */
MUST_CHECK int store_audit_has(struct store_tx *tx, const struct store_audit_head *head);
/* Removes the oldest events before this one, at most `limit`. */
MUST_CHECK int store_audit_remove(struct store_tx *tx, const struct store_audit_head *before, uint64_t limit,
                                  uint64_t *ret_removed);
struct store_checkpoint {       /* one block of what controlplane/audit signs; spans live for the call */
    int64_t number, at_ms;      /* numbers: 1, 2, … */
    struct span doc, signature;
};
typedef int (*store_checkpoint_fn)(void *ctx, const struct store_checkpoint *checkpoint);
MUST_CHECK int store_checkpoint_put(struct store_tx *tx, const struct store_checkpoint *checkpoint);
/* STORE_E_NOT_FOUND. */
MUST_CHECK int store_checkpoint_get(struct store_tx *tx, int64_t number, store_checkpoint_fn fn, void *ctx);
/* The newest that is older.  STORE_E_NOT_FOUND. */
MUST_CHECK int store_checkpoint_before(struct store_tx *tx, int64_t at_ms, store_checkpoint_fn fn, void *ctx);
/* Those behind number `after`, at most `limit`. */
MUST_CHECK int store_checkpoints(struct store_tx *tx, int64_t after, size_t limit, store_checkpoint_fn fn,
                                 void *ctx);

/* ---- what relays report: bounded rings, not audited ---- */
/* Inserts, or replaces the document with that id (at least once delivery). */
MUST_CHECK int store_record_put(struct store_tx *tx, enum store_source source, const struct ulid *id,
                                struct span doc);
/* Inserts, or leaves the one that is there. */
MUST_CHECK int store_record_add(struct store_tx *tx, enum store_source source, const struct ulid *id,
                                struct span doc);
/* Inserts, or merges `doc` into the document that is there. */
MUST_CHECK int store_record_merge(struct store_tx *tx, enum store_source source, const struct ulid *id,
                                  struct span doc);
/* Keeps the newest `keep` rows.  Streams whose "state" is "open" stay. */
MUST_CHECK int store_records_trim(struct store_tx *tx, enum store_source source, uint64_t keep);
/* The last word of a subject on a topic ("relay.applied", "agent.seen"). */
MUST_CHECK int store_report_put(struct store_tx *tx, const struct ulid *subject, const char *topic,
                                struct span doc);
/* What is not there is no error. */
MUST_CHECK int store_report_delete(struct store_tx *tx, const struct ulid *subject, const char *topic);
MUST_CHECK int store_report_get(struct store_tx *tx, const struct ulid *subject, const char *topic,
                                struct buf *ret_doc, int64_t *ret_at_ms);       /* STORE_E_NOT_FOUND */
typedef int (*store_report_fn)(void *ctx, const struct ulid *subject, struct span doc, int64_t at_ms);
MUST_CHECK int store_reports(struct store_tx *tx, const char *topic, store_report_fn fn, void *ctx);

/* ---- signed state: records, and the outbox that publication reads ---- */
/* Sets (json not empty) or removes (empty) a record.  The same content again changes
 * nothing; otherwise the transaction takes the next revision, once. */
MUST_CHECK int store_state_put(struct store_tx *tx, const char *kind, struct span id, struct span json);
struct store_change {
    uint64_t revision;
    const char *kind;
    struct span id, json;       /* json.p NULL: removed */
};
typedef int (*store_change_fn)(void *ctx, const struct store_change *change);
/* Every record, by kind and id. */
MUST_CHECK int store_state_each(struct store_tx *tx, store_change_fn fn, void *ctx);
/* What changed after `revision`, the last word for each record, in the order of kind and id.
 * STORE_E_NOT_FOUND: changes after `revision` are no longer kept whole. */
MUST_CHECK int store_state_changes(struct store_tx *tx, uint64_t revision, store_change_fn fn,
                                   void *ctx);
MUST_CHECK int store_state_trim(struct store_tx *tx, uint64_t up_to_revision);
struct store_publication {      /* a signed delta, as relays get it */
    uint64_t epoch, revision, after;
    char digest[65];
    struct span document;
};
MUST_CHECK int store_publication_put(struct store_tx *tx, const struct store_publication *publication);
typedef int (*store_publication_fn)(void *ctx, const struct store_publication *publication);
/* The newest first, at most `limit`. */
MUST_CHECK int store_publications(struct store_tx *tx, size_t limit, store_publication_fn fn, void *ctx);
/* Keeps the newest `keep`. */
MUST_CHECK int store_publications_trim(struct store_tx *tx, size_t keep);
/* After a restore or a fail-over: the only way that a revision becomes smaller. */
MUST_CHECK int store_epoch_raise(struct store_tx *tx);

/* ---- backup: lines of JSON, the same for every database ---- */
struct store_backup {
    uint64_t rows;
    struct store_position position;
};
/* All that is kept, as of one moment; sealed keys stay sealed. */
MUST_CHECK int store_backup(struct store_tx *tx, FILE *out, struct store_backup *ret_backup);
/* Into a database without data (STORE_E_EXISTS); `in` is read twice.  The epoch is raised beyond
 * what relays have seen.  -EBADMSG: not whole; with a sentence.  STORE_E_NEWER. */
MUST_CHECK int store_restore(struct store_tx *tx, FILE *in, struct store_backup *ret_backup, struct buf *reterr);

/* ---- idempotency: answers kept for 24 h ---- */
struct store_answer {
    unsigned status;
    char body_hash[65];         /* of the request: another one means another request */
    char location[256];
    char etag[64];
    struct buf body;            /* without secrets; buf_deinit() */
};
/* STORE_E_NOT_FOUND. */
MUST_CHECK int store_answer_get(struct store_tx *tx, struct span principal, struct span key,
                                const char *operation, struct store_answer *ret_answer);
/* In the transaction of the change itself. */
MUST_CHECK int store_answer_put(struct store_tx *tx, struct span principal, struct span key,
                                const char *operation, const struct store_answer *answer);
MUST_CHECK int store_answers_trim(struct store_tx *tx, int64_t before_ms);

/* ---- log-in penalties: by account and by source; survive a restart ---- */
struct store_penalty {
    int64_t failures, until_ms;
};
MUST_CHECK int store_penalty_get(struct store_tx *tx, struct span key, struct store_penalty *ret_penalty);
MUST_CHECK int store_penalty_put(struct store_tx *tx, struct span key, struct store_penalty penalty);
/* Forgets what ended before, and the oldest beyond `keep`. */
MUST_CHECK int store_penalties_trim(struct store_tx *tx, int64_t before_ms, uint64_t keep);

/* ---- keys: sealed by the caller ---- */
struct store_key {              /* spans live for the callback */
    const char *purpose;        /* "ca.root", "ca.agent", "state", "credential" */
    int64_t number;             /* grows with each rotation */
    const char *status;         /* "active", "next", "retiring", "retired" */
    struct span public_part;    /* PEM or hex; empty for symmetric keys */
    struct span sealed;
    int64_t created_ms;
};
typedef int (*store_key_fn)(void *ctx, const struct store_key *key);
MUST_CHECK int store_key_put(struct store_tx *tx, const struct store_key *key);    /* STORE_E_EXISTS */
MUST_CHECK int store_key_set_status(struct store_tx *tx, const char *purpose, int64_t number,
                                    const char *status);
/* Retired: its sealed part goes. */
MUST_CHECK int store_key_retire(struct store_tx *tx, const char *purpose, int64_t number);
/* By purpose and number; purpose NULL: all. */
MUST_CHECK int store_keys(struct store_tx *tx, const char *purpose, store_key_fn fn, void *ctx);

/* ---- enrolment ---- */
#define STORE_JOIN_REPEAT_MS (10 * 60 * 1000)
/* Counts a use of a join token.  The same CSR again within STORE_JOIN_REPEAT_MS counts
 * nothing: `ret_answer` is what store_join_answer() kept and `ret_is_repeat` is true.
 * STORE_E_USED_UP.  STORE_JOIN_ANY (renewals): older ones are forgotten. */
#define STORE_JOIN_ANY UINT64_MAX
MUST_CHECK int store_join_use(struct store_tx *tx, const struct ulid *token, struct span csr_hash,
                              uint64_t max_uses, bool *ret_is_repeat, struct buf *ret_answer);
MUST_CHECK int store_join_answer(struct store_tx *tx, const struct ulid *token, struct span csr_hash,
                                 struct span answer);
MUST_CHECK int store_join_uses(struct store_tx *tx, const struct ulid *token, uint64_t *ret_uses);
struct store_certificate {
    struct ulid subject;
    char kind[16];              /* "agent", "relay", "control" */
    int64_t generation;         /* 1 at joining, one more at each renewal */
    char fingerprint[65];       /* SHA-256 of the DER, hex */
    char key_hash[65];          /* SHA-256 of the public key, hex */
    int64_t not_after_ms, issued_ms;
};
MUST_CHECK int store_certificate_put(struct store_tx *tx, const struct store_certificate *certificate);
MUST_CHECK int store_certificate_last(struct store_tx *tx, const struct ulid *subject,
                                      struct store_certificate *ret_certificate);

/* ---- what listeners are told of: numbered without gaps in the order of commits ---- */
struct store_event {
    int64_t number, at_ms;      /* the store's */
    struct span topic, kind, object, owner;     /* owner: a user's id; empty: nobody's */
    struct span doc;            /* JSON */
};
MUST_CHECK int store_event_add(struct store_tx *tx, const struct store_event *event);
typedef int (*store_event_fn)(void *ctx, const struct store_event *event);
/* Those after `after`, oldest first, at most `limit`. */
MUST_CHECK int store_events(struct store_tx *tx, int64_t after, size_t limit, store_event_fn fn, void *ctx);
/* The numbers of the oldest and the newest that are kept; 0: there are none. */
MUST_CHECK int store_events_bounds(struct store_tx *tx, int64_t *ret_oldest, int64_t *ret_newest);
/* Keeps the newest `keep`, at least one. */
MUST_CHECK int store_events_trim(struct store_tx *tx, uint64_t keep);

/* ---- statistics: what went through the relays, in minutes and in hours ---- */
enum store_dimension {
    STORE_BY_NOTHING, STORE_BY_REASON, STORE_BY_PRINCIPAL, STORE_BY_AGENT, STORE_BY_DESTINATION,
    STORE_BY_QUOTA, STORE_DIMENSIONS
};
#define STORE_MINUTE_S 60
#define STORE_HOUR_S 3600
/* Principals, agents, destinations and quotas of a minute or an hour that have counts of their own. */
#define STORE_MINUTE_KEYS 10
#define STORE_HOUR_KEYS 100

struct store_counts {
    int64_t opened, refused, broken, bytes_out, bytes_in;
    int64_t error;              /* what may be missing of opened + refused + MiB, at most */
    int64_t last_ms;
};
void store_counts_add(struct store_counts *to, const struct store_counts *more);
struct store_counted {
    struct span key;            /* each once; empty: by nothing */
    struct store_counts counts;
};
/* Adds to the minute and the hour of `at_ms`.  A key that finds no room takes the place of the one with
 * the least weight (opened + refused + MiB), whose counts go to the others, which have the key ""
 * (space-saving: whoever has more than 1/KEYS of an hour's weight is there). */
MUST_CHECK int store_statistics_add(struct store_tx *tx, enum store_dimension dimension, int64_t at_ms,
                                    const struct store_counted *items, size_t count);
typedef int (*store_point_fn)(void *ctx, int64_t at_s, const struct store_counts *counts);
/* Of one key, in steps; without those where nothing happened.  Times: Unix seconds. */
MUST_CHECK int store_statistics_points(struct store_tx *tx, unsigned width_s, enum store_dimension dimension,
                                       struct span key, int64_t from_s, int64_t to_s, int64_t step_s,
                                       store_point_fn fn, void *ctx);
typedef int (*store_sum_fn)(void *ctx, struct span key, const struct store_counts *counts);
/* Of each key. */
MUST_CHECK int store_statistics_sums(struct store_tx *tx, unsigned width_s, enum store_dimension dimension,
                                     int64_t from_s, int64_t to_s, store_sum_fn fn, void *ctx);
MUST_CHECK int store_statistics_trim(struct store_tx *tx, int64_t before_s);

/* ---- small settings of the installation ---- */
MUST_CHECK int store_meta_get(struct store_tx *tx, const char *key, struct buf *ret_value);
MUST_CHECK int store_meta_put(struct store_tx *tx, const char *key, struct span value);
