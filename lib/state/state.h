#pragma once
#include "lib/policy/policy.h"
#include "lib/state/record_codec.h"
/*
 * state.h - the configuration of relays: heads, deltas and snapshots over a policy.
 *
 * A state is known by (epoch, revision).  Deltas form a chain: each names the revision and
 * the digest of the one before.  What is applied was signed for this cluster, is newer, has
 * no gap and is understood; otherwise nothing changes and a text says which rule refused it.
 * Records of kinds that are not known here are skipped where they are marked for it, and counted.
 *
 * Units      milliseconds of Unix time.
 * Ownership  state_apply() gives a policy with one reference.
 * Errors     STATE_E_REJECTED (reason state-rejected to people), STATE_E_TOO_NEW (rejected, and the
 *            reason is relay-too-old), STATE_E_HAVE; -ENOMEM.
 * Threads    pure but for memory.
 * Source     schema/state.md.
 */
#define STATE_FORMAT 1
#define STATE_DIGEST_NONE "0000000000000000000000000000000000000000000000000000000000000000"
#define STATE_DELTA_MAX ((size_t)64 << 20)

enum {
    STATE_E_REJECTED = DOCUMENT_E_REJECTED,
    STATE_E_TOO_NEW = DOCUMENT_E_TOO_NEW,
    STATE_E_HAVE,                       /* that very revision is in force already */
};

struct state_position {
    uint64_t epoch, revision;           /* 0.0: nothing yet */
    char digest[65];                    /* of the last delta; STATE_DIGEST_NONE at 0.0 */
    uint64_t skipped;                   /* records of kinds not known here, since the snapshot */
};

struct state_head {
    uint64_t epoch, revision, beat, term;
    char digest[65];
    int64_t time_ms;                    /* of the control plane when it signed */
};

#define STATE_POSITION_NONE ((struct state_position){ .digest = STATE_DIGEST_NONE })

/* The digest of a document's bytes, hex. */
void state_digest(struct span document_bytes, char ret_digest[65]);

/* Heads. */
MUST_CHECK int state_head_sign(const char *cluster, const struct state_head *head,
                               const struct key *key, struct buf *out);
MUST_CHECK int state_head_open(const struct document *d, const struct keyset *keys,
                               struct state_head *ret_head, struct state_error *reterr);
/* Refuses a head that is older than the newest seen: by (epoch, revision, beat), or of the
 * same revision with another digest. */
MUST_CHECK int state_head_check(const struct state_head *newest, const struct state_head *head,
                                struct state_error *reterr);

/* Deltas and snapshots.  `lines` are record lines (record_codec.h), `count` of them. */
struct state_change {
    uint64_t epoch, revision;
    uint64_t after;                     /* delta: the revision that it follows */
    char digest[65];                    /* delta: of the one before; snapshot: of the last */
    struct span lines;
    size_t count;
};
/* `ret_digest` (of the new delta) may be NULL for snapshots. */
MUST_CHECK int state_delta_sign(const char *cluster, const struct state_change *c,
                                const struct key *key, struct buf *out, char ret_digest[65]);
MUST_CHECK int state_snapshot_sign(const char *cluster, const struct state_change *c,
                                   const struct key *key, struct buf *out);

/* Applies a delta or snapshot to `base` (NULL: empty) at `at`.  On 0 both results are
 * written; otherwise neither is. */
MUST_CHECK int state_apply(const struct document *d, const struct keyset *keys,
                           const struct policy *base, const struct state_position *at,
                           struct policy **ret_policy, struct state_position *ret_position,
                           struct state_error *reterr);
