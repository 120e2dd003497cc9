#pragma once
#include "lib/base/reason.h"
#include "lib/net/resolver.h"
/*
 * resolve.h - the agent's names: a bounded cache before the resolver.
 *
 * Fresh answers and failures are kept for as long as the configuration says, an answer at
 * the most for its TTL; one query is in flight for a name, however many ask.
 *
 * Units      seconds of keeping, milliseconds of waiting.
 * Ownership  resolve_free() answers nobody.  A request is dead after its answer or cancel.
 * Threads    its loop's thread.  The answer never comes within resolve_name().
 */
struct resolve;
struct resolve_request;

struct resolve_config {
    struct resolver_config resolver;
    uint32_t names_max;             /* 0: 4,096; the one unused longest goes first */
    uint32_t waiting_max;           /* requests that wait; 0: 4,096 */
    uint32_t fresh_max_s;           /* 0: 30 */
    uint32_t negative_s;            /* 0: 5 */
};

struct resolve_answer {
    enum reason reason;             /* REASON_NONE, REASON_RESOLVE_FAILED */
    const struct addr *addrs;       /* for the call only, in the order to try */
    size_t count;
    const char *source;             /* "dns", "dns-cache" */
    const char *text;               /* of a failure: what the server or library said */
};

struct resolve_stats {
    uint64_t hits, queries, failures, evicted, refused;
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
/* The network changed: nothing that is cached counts any more. */
void resolve_flush(struct resolve *r);
const struct resolve_stats *resolve_stats(const struct resolve *r);
