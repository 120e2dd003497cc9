#pragma once
#include "lib/base/list.h"
#include "lib/base/map.h"
#include "lib/policy/policy.h"
/*
 * reach_cache.h - which profiles the live grants give to which agent groups, kept up with the
 * changes, so that a change costs what it touches and not a walk over all grants.
 *
 * Shape      grant → pair of (agent group, profile or "all of the group"); a pair counts its
 *            grants; groups list their pairs.
 * Ownership  the cache owns all of it.  After an error it must be filled anew.
 * Threads    one.     Errors  -ENOMEM, -ENOSPC.
 */
#define TOUCHED_MAX 200000

struct touched {                        /* agents whose reach may have changed */
    struct ulid *ids;
    size_t count, room;
};

void touched_deinit(struct touched *t);
MUST_CHECK int touched_add(struct touched *t, const struct ulid *agent);
/* Sorts, and drops what is there twice. */
void touched_settle(struct touched *t);

struct reach_group {
    struct map_node node;               /* by id */
    struct ulid id;
    struct list pairs;
};

struct reach_pair {
    struct map_node node;               /* by key */
    struct list in_group;
    struct reach_group *group;
    struct ulid profile;                /* empty: all that the group's agents reach */
    size_t grants;
    char key[2 * ULID_LEN];
};

struct reach_cache {
    struct map grants, pairs, groups;
};

void reach_cache_init(struct reach_cache *c);
void reach_cache_deinit(struct reach_cache *c);         /* empty again, and usable */
MUST_CHECK int reach_cache_fill(struct reach_cache *c, const struct policy *policy, int64_t now_ms);
/* What the changes do to the cache, and whom they touch.  The changes' ids and records are
 * those that led from `before` to `after`. */
MUST_CHECK int reach_cache_change(struct reach_cache *c, const struct policy *before,
                                  const struct policy *after, const struct policy_change *changes,
                                  size_t n, int64_t now_ms, struct touched *t);
/* Grants that have ended since. */
MUST_CHECK int reach_cache_expire(struct reach_cache *c, const struct policy *policy, int64_t now_ms,
                                  struct touched *t);
