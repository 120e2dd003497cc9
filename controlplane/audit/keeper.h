#pragma once
#include "controlplane/audit/outside.h"
/*
 * keeper.h - signs the checkpoints, removes what is older than it is to be kept, sends outside.
 *
 * Threads    audit_keeper_beat(): one at a time; audit_keeper_get_stats(): any.
 * Clocks     what is removed goes by how the checkpoints followed each other, not by the wall clock
 *            alone: from one to the next no more than STEADY_IDLES idle times pass, so that a clock that
 *            jumps ahead removes nothing.  Time that nobody served does not count: things stay longer.
 * Errors     -errno; the store's; of a beat AUDIT_KEEPER_E_WRITERS.
 */
struct audit_keeper;
struct audit_keeper_options {
    struct store *store;
    const struct key *key;
    const char *cluster, *writer;       /* who signs */
    uint64_t every_ms;                  /* no checkpoint is younger than half of it when the next is made */
    uint64_t idle_ms;                   /* while nothing is written, one in that time */
    uint64_t keep_ms;                   /* events; 0: for ever; by the checkpoints' steady clock */
    struct outside_options outside;
};

/* More control planes have written to the audit trail than a checkpoint names: nothing is signed,
 * and nothing removed, any more. */
enum { AUDIT_KEEPER_E_WRITERS = 1 };

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
