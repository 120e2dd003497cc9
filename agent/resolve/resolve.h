#pragma once
#include "agent/resolve/life.h"
#include "lib/base/reason.h"
#include "lib/net/resolver.h"
/*
 * resolve.h - the agent's names: a bounded cache before the resolver.
 *
 * Fresh, stale and negative answers each have their time (life.h).  A stale one is given when
 * the DNS has not answered stale_wait_ms after it was asked, or has just failed to.  One query is
 * in flight for a name, however many ask; a name that is in use is asked for ahead of its end.
 *
 * Units      seconds of keeping, milliseconds of waiting.
 * Ownership  resolve_free() answers nobody.  A request is dead after its last answer or cancel.
 * Threads    its loop's thread.  The answer never comes within resolve_name().
 */
#define RESOLVE_AHEAD_MAX 64            /* queries that nobody waits for, at a time */

struct resolve;
struct resolve_request;

struct resolve_config {
    struct resolver_config resolver;
    uint32_t names_max;             /* 0: 4,096; the one unused longest goes first */
    uint32_t waiting_max;           /* requests that wait; 0: 4,096 */
    struct life_config life;        /* fresh 0: 30 s, negative 0: 5 s; stale 0: none */
    uint32_t stale_wait_ms;         /* 0: 500 */
};

struct resolve_answer {
    enum reason reason;             /* REASON_NONE, REASON_RESOLVE_FAILED */
    bool is_part;                   /* one more answer comes, with these and perhaps more addresses */
    const struct addr *addrs;       /* for the call only, in the order to try */
    size_t count;
    const char *source;             /* "dns", "dns-cache", "dns-stale" */
    struct endpoint server;         /* who said so; ENDPOINT_NONE: nobody, or /etc/hosts */
    const char *text;               /* of a failure: what the server or library said */
};

/* What became of a request for a name. */
#define RESOLVE_OUTCOMES(X) X(fresh) X(stale) X(negative) X(miss)

struct resolve_stats {
#define RESOLVE_OUTCOME(name) uint64_t name;
    RESOLVE_OUTCOMES(RESOLVE_OUTCOME)
#undef RESOLVE_OUTCOME
    uint64_t queries, ahead, failures, evicted, refused;
    size_t names, waiting;
};

typedef void resolve_fn(void *user, const struct resolve_answer *answer);

MUST_CHECK int resolve_new(struct loop *l, const struct resolve_config *config, struct resolve **ret_resolve);
void resolve_free(struct resolve *r);
DEFINE_FREEP(resolve, resolve_free)
/* `name` is canonical.  -EAGAIN: waiting_max are waiting; -ENOMEM. */
MUST_CHECK int resolve_name(struct resolve *r, const char *name, uint32_t deadline_ms, resolve_fn *fn,
                            void *user, struct resolve_request **ret_request);
void resolve_cancel(struct resolve_request *q);
/* The network changed: nothing that is cached counts any more, the system's DNS servers are read
 * anew, and what is being asked for is asked again. */
void resolve_flush(struct resolve *r);
const struct resolve_stats *resolve_stats(const struct resolve *r);
