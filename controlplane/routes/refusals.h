#pragma once
#include "controlplane/http/server.h"
#include "controlplane/store/store.h"
/*
 * refusals.h - what was refused, counted in memory until it is written to the audit trail.
 *
 * A row stands for a code, a caller and an operation: one audit event tells how often, from when
 * to when.  Those who have shown who they are have a share of their own, so that strangers, who
 * are counted by source address (IPv6: the /64), push nobody else's rows aside.
 *
 * Bounds     rows_max rows of each share; per_hour events of each share, as many saved up.  What
 *            finds no row, or no leave for an event, is counted by its code alone and told as
 *            the action "others" as soon as there is leave.
 * Cost       noting takes a short lock and touches no database; flushing is one transaction.
 * Ownership  the store is borrowed; refusals_free() forgets what was not flushed.
 * Threads    any.
 */
struct refusals;

struct refusals_options {
    struct store *store;
    unsigned rows_max, per_hour;
};

struct refusal {
    enum reason reason;
    bool is_known;              /* the actor has shown who he is: counted by his id */
    struct span source;         /* what a stranger is counted by */
    struct store_audit event;   /* who, what, trace id; action and object_kind: static strings */
    uint64_t count;             /* 0: once, now */
    int64_t first_ms, last_ms;
};

struct refusals_stats {
    uint64_t written;           /* audit events */
    uint64_t folded;            /* refusals that were counted by their code alone */
    uint64_t waiting;           /* refusals that are not written yet */
};

MUST_CHECK int refusals_new(const struct refusals_options *options, struct refusals **ret_refusals);
void refusals_free(struct refusals *r);
DEFINE_FREEP(refusals, refusals_free)

void refusals_note(struct refusals *r, const struct refusal *what);
/* For server_hooks.refused, with the refusals as context. */
void refusals_on_answer(void *refusals, const struct request *req, const struct response *res);
/* `is_last`: all of it, whatever per_hour says.  What could not be written is kept. */
MUST_CHECK int refusals_flush(struct refusals *r, bool is_last);
void refusals_get_stats(struct refusals *r, struct refusals_stats *ret_stats);
