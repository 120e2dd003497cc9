#pragma once
#include "controlplane/publish/publish.h"
#include "controlplane/publish/reach_compile.h"
#include "lib/base/list.h"
#include "lib/state/state.h"

#include <pthread.h>
/*
 * publish_internal.h - this room's own: the chain of deltas, and one step of publication.
 */
struct delta {
    struct list node;
    uint64_t epoch, revision, after;
    size_t len;
    char document[];
};

/* Oldest first; each follows the one before.  The lock is the owner's. */
struct chain_of_deltas {
    struct list deltas;
    size_t count, bytes;
};

void deltas_init(struct chain_of_deltas *c);
void deltas_clear(struct chain_of_deltas *c);
MUST_CHECK int deltas_append(struct chain_of_deltas *c, uint64_t epoch, uint64_t revision,
                             uint64_t after, struct span document);
/* Before the oldest. */
MUST_CHECK int deltas_prepend(struct chain_of_deltas *c, uint64_t epoch, uint64_t revision,
                              uint64_t after, struct span document);
/* The deltas that lead on from `revision`, at most `max` bytes (at least one); false: the
 * chain does not reach back to it. */
bool deltas_from(const struct chain_of_deltas *c, uint64_t epoch, uint64_t revision, size_t max,
                 struct buf *out);

/* Records on their way into a delta or snapshot: as lines, and as changes of a policy. */
struct batch {
    struct buf lines;
    struct policy_change *changes;
    size_t count, room;
    size_t line_count;          /* more than `count`: kinds of a newer program are passed on */
    struct ids {
        char text[RECORD_ID_MAX + 1];
    } *ids;                     /* of removed ones: the changes point here */
    bool is_full;               /* a snapshot: nothing is removed */
};

void batch_init(struct batch *b, bool is_full);
void batch_deinit(struct batch *b);
MUST_CHECK int batch_add(void *batch, const struct store_change *change);
MUST_CHECK int batch_apply(struct batch *b, const struct policy *base, struct policy **ret_policy);

struct next_head {              /* as the store has it */
    uint64_t beat;
    struct store_position of;
    char text[4096];
    size_t len;
};

struct publisher {
    struct publisher_options options;
    pthread_t thread;
    pthread_mutex_t lock;       /* all below */
    pthread_cond_t has_work;
    pthread_cond_t has_news;    /* a turn has ended: `at` may have risen */
    bool has_thread, is_stopping, is_rung;
    bool is_leader;             /* as `leads`, for other threads */
    int trouble;                /* of the last step: 0 or -errno */
    char trouble_text[256];
    struct chain_of_deltas deltas;
    struct buf snapshot;        /* signed */
    struct state_position snapshot_at, at;
    struct buf head;            /* signed */
    uint64_t beat;
    struct policy *policy;      /* at `at` */
    uint64_t snapshot_ms, published_ms;
    struct reach_cache reach;   /* of `policy`, when has_reach; the publisher's thread only */
    bool has_reach;
    int64_t expired_ms;         /* when grants that ended were last looked for */
    bool is_resigning;          /* some agent's policy is signed by a key that is to end */
    bool leads;                 /* follow.c; the publisher's thread only */
    bool is_term_kept;          /* the term is in the store */
    uint64_t term;
    struct next_head next;
    int64_t headed_ms;          /* when the leader's head was last seen to change */
    pthread_t snapshot_thread;  /* the publisher's thread joins it */
    bool has_snapshot_thread;
    bool is_snapping;           /* it is at work; under the lock */
};

/* step.c: the publisher's thread only; 0 with `ret_is_news`, or -errno with a text in
 * trouble_text. */
MUST_CHECK int publish_step(struct publisher *p, bool *ret_is_news);
MUST_CHECK int publish_first_step(struct publisher *p, bool is_first, bool *ret_is_news);
MUST_CHECK int publish_load(struct publisher *p);
int publish_errno(struct publisher *p, int r);
bool publish_is_at(const struct publisher *p, const struct store_position *position);
MUST_CHECK int publish_snapshot(const struct publisher *p, struct store_tx *tx,
                                const struct state_position *at, struct buf *out);

/* snapshot.c: whether nobody could begin without another one: it is made in the transaction at hand
 * (publish_snapshot()).  Otherwise one that is due is made on a thread beside, out of the last one and
 * the deltas: no change waits for it. */
bool snapshot_must_be_made(const struct publisher *p, const struct state_position *at);
MUST_CHECK int snapshot_keep_up(struct publisher *p);
void snapshot_join(struct publisher *p);
/* With the lock held. */
void snapshot_put(struct publisher *p, struct buf *document, const struct state_position *at);
/* `documents`: a snapshot, and the deltas that lead from it to `at`. */
MUST_CHECK int snapshot_merge(const struct publisher *p, struct span documents, const struct state_position *at,
                              struct buf *out);

/* keys.c: at the start of each turn: takes rotated keys over, and leads the rotation on. */
MUST_CHECK int publish_keys(struct publisher *p);
/* The keys as this transaction sees them: whoever is told of another generation shall find it. */
MUST_CHECK int publish_fresh(struct publisher *p, struct store_tx *tx);
/* Whether relays still accept the signature of a document. */
bool publish_is_known(const struct publisher *p, struct span document);
/* Some agents whose policies another key than the present one has signed. */
MUST_CHECK int publish_stale(struct publisher *p, const struct policy *policy, struct touched *t);

/* follow.c: on a database of several control planes.  In a write transaction: takes the lead when
 * nobody has it (p->leads), and takes over what others published. */
MUST_CHECK int publish_lead(struct publisher *p, struct store_tx *tx, bool *ret_is_news);
MUST_CHECK int publish_adopt(struct publisher *p, struct store_tx *tx, bool *ret_is_news);
MUST_CHECK int publish_keep_head(struct publisher *p, struct store_tx *tx, const struct state_position *at,
                                 uint64_t beat, const struct buf *head);
/* A turn of one that does not lead; -EAGAIN: it has nothing to serve yet.  `ret_wants_lead`: there
 * is something that nobody has published. */
MUST_CHECK int publish_follow(struct publisher *p, bool *ret_is_news, bool *ret_wants_lead);
MUST_CHECK int publish_peek(struct publisher *p, bool *ret_has_work);
MUST_CHECK int publish_head(struct publisher *p);
