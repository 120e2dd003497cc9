#pragma once
#include "lib/base/ulid.h"
/*
 * closure.h - all that can be reached in a graph of groups, with its depth.
 *
 * Shape      breadth first over what `next` tells; each id once.
 * Limits     CLOSURE_DEPTH_MAX steps, CLOSURE_IDS_MAX ids: beyond, a named condition.
 * Ownership  the closure owns its ids: closure_deinit().
 * Errors     CLOSURE_E_DEPTH, CLOSURE_E_SIZE; what `next` answers (< 0), -ENOMEM.
 * Threads    pure but for the callback.
 */
#define CLOSURE_DEPTH_MAX 8
#define CLOSURE_IDS_MAX 10000

enum { CLOSURE_E_DEPTH = 1, CLOSURE_E_SIZE };

struct closure {
    struct ulid *ids;
    size_t count, room;
    unsigned depth;             /* steps from the start to the farthest */
};

/* Tells every neighbour of `id` to closure_add(). */
typedef int (*closure_next_fn)(void *ctx, const struct ulid *id, struct closure *c);

/* The start is not among the ids, unless the graph leads back to it. */
MUST_CHECK int closure_walk(const struct ulid *start, closure_next_fn next, void *ctx,
                            struct closure *ret_closure);
MUST_CHECK int closure_add(struct closure *c, const struct ulid *id);
bool closure_has(const struct closure *c, const struct ulid *id);
void closure_deinit(struct closure *c);
