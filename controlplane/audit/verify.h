#pragma once
#include "controlplane/audit/checkpoint.h"
/*
 * verify.h - whether the audit trail is as it was written.
 *
 * Looks at every link of every chain, every checkpoint and its signature, whether each checkpoint's
 * events are there, whether only signed segments were removed, and whether what stands in the file
 * outside stands here too.  Bounded memory.
 *
 * Errors     0: whole.  -EUCLEAN: it is not; the verdict says where.  The store's.
 * Threads    the transaction's.
 */
#define AUDIT_FINDINGS(X)                                                                            \
    X(NONE, "whole", "")                                                                             \
    X(CHAIN, "chain-broken", "an event was changed, removed, put in or moved")                       \
    X(EVENT_MISSING, "event-missing", "an event that this checkpoint names is gone, or another stands there") \
    X(CHECKPOINT_MISSING, "checkpoint-missing", "there is no checkpoint of this number")             \
    X(CHECKPOINT_FORGED, "checkpoint-forged", "this checkpoint was not signed with our key")         \
    X(CHECKPOINT_UNLINKED, "checkpoint-unlinked", "this checkpoint does not follow the one before")  \
    X(OUTSIDE_FORGED, "outside-forged", "this line of the file outside was not signed with our key") \
    X(OUTSIDE_MISSING, "outside-missing", "the file outside has this checkpoint, the database has not") \
    X(OUTSIDE_DIFFERS, "outside-differs", "the file outside has another checkpoint of this number")

enum audit_finding {
#define AUDIT_FINDING_ENUM(name, code, what) AUDIT_##name,
    AUDIT_FINDINGS(AUDIT_FINDING_ENUM)
#undef AUDIT_FINDING_ENUM
    AUDIT_FINDING_COUNT
};

struct audit_verdict {
    struct store_audit_report chains;
    uint64_t checkpoints, outside;      /* looked at */
    uint64_t outside_lost;              /* of those outside, made before a restore that forgot them */
    uint64_t removed;                   /* events that retention has removed, or still may */
    int64_t last_number, last_at_ms;    /* newest checkpoint; 0: none */
    enum audit_finding finding;
    int64_t bad_number;                 /* checkpoint, or line of the file */
};

struct audit_verify_options {
    const struct key *key;
    const char *file;                   /* the one outside; NULL or empty: not looked at */
    uint64_t file_tail;                 /* only so many bytes of its end; 0: all of it */
};

const char *audit_finding_code(enum audit_finding finding);
const char *audit_finding_text(enum audit_finding finding);
MUST_CHECK int audit_verify(struct store_tx *tx, const struct audit_verify_options *options,
                            struct audit_verdict *ret_verdict);
