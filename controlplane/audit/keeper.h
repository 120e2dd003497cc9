#pragma once
#include "controlplane/audit/outside.h"
/*
 * keeper.h - signs the checkpoints, removes what is older than it is to be kept, sends outside.
 *
 * Threads    audit_keeper_beat(): one at a time; audit_keeper_get_stats(): any.
 * Errors     -errno; the store's.
 */
struct audit_keeper;
struct audit_keeper_options {
    struct store *store;
    const struct key *key;
    const char *cluster, *writer;       /* who signs */
    uint64_t every_ms;                  /* no checkpoint is younger than half of it when the next is made */
    uint64_t idle_ms;                   /* while nothing is written, one in that time */
    uint64_t keep_ms;                   /* events; 0: for ever */
    struct outside_options outside;
};

struct audit_keeper_stats {
    uint64_t signed_count, failures, removed, waiting;
    int64_t newest;                     /* number */
};

MUST_CHECK int audit_keeper_new(const struct audit_keeper_options *options, struct audit_keeper **ret_keeper,
                                struct buf *reterr);
void audit_keeper_free(struct audit_keeper *keeper);
DEFINE_FREEP(audit_keeper, audit_keeper_free)
/* `leads`: this control plane is the one that signs. */
MUST_CHECK int audit_keeper_beat(struct audit_keeper *keeper, bool leads);
/* The last one before the program ends: it does not wait for its time. */
MUST_CHECK int audit_keeper_finish(struct audit_keeper *keeper, bool leads);
void audit_keeper_get_stats(const struct audit_keeper *keeper, struct audit_keeper_stats *ret_stats);
