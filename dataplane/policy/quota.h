#pragma once
#include "lib/policy/decide.h"
/*
 * quota.h - what users, groups, agents and all together may use, counted over all workers.
 *
 * Each quota of the state has a pool.  A stream takes a place in each pool that it falls under,
 * and gives it back at its end.  Bytes are counted where they are carried: a worker leases some
 * of the rate at a time, and tells in steps what it carried (route/meter.h), so nothing here is
 * touched for each byte.
 *
 * Bounds     streams: exact.  Bytes in any time t: rate × t + depth × (1 + workers / 4), where depth
 *            is what comes in a tenth of a second, at least 4 KiB.  Bytes of a day: exact but for
 *            QUOTA_STEP at each worker, and what one turn of the loop carries.
 * Day        of the quota's zone.  What was used before this start, and by other relays, is told by
 *            the control plane (quotas_set_others) and counts.
 * Units      bytes, both ways together; milliseconds.
 * Ownership  a pool lives while its quota stands in the state or a stream has a place in it.
 * Threads    any; one short lock where streams open and end, atomics for bytes.
 * Errors     past pools_max quotas the rest cannot be enforced: their streams get OVERLOAD, until there is
 *            room and quotas_tell() is called.
 */
#define QUOTA_STEP 16384            /* carried bytes that a worker tells at a time */

struct quotas;
struct quota_pool;

struct quota_time {
    int64_t wall_ms;
    uint64_t mono_ms;
};

struct quota_refusal {
    struct ulid quota;
    uint64_t wait_ms;               /* until it may fit; 0: not known */
};

MUST_CHECK int quotas_new(size_t pools_max, struct quotas **ret_quotas);
void quotas_free(struct quotas *q);
DEFINE_FREEP(quotas, quotas_free)
/* A new state: pools come, change and go with their records.  Costs nothing where no quota changed. */
void quotas_sync(struct quotas *q, const struct policy *p, const struct quota_time *now);

/* Whether one stream more fits, which the taking may still refuse. */
bool quotas_have_room(struct quotas *q, const struct quota_record *quota, const struct quota_time *now,
                      uint64_t *ret_wait_ms);
/* One stream more in each of the `n` (at most POLICY_QUOTAS_MAX), or in none: REASON_NONE, QUOTA_* with
 * `reterr_refusal`, OVERLOAD.  `ret_pools` has room for n; a quota that the state lost has none. */
enum reason quotas_take(struct quotas *q, const struct quota_record *const *quotas, size_t n,
                        const struct quota_time *now, struct quota_pool **ret_pools, size_t *ret_count,
                        struct quota_refusal *reterr_refusal);
/* The same for a stream that lives already: its places are counted, whatever the limit. */
enum reason quotas_join(struct quotas *q, const struct quota_record *const *quotas, size_t n,
                        struct quota_pool **ret_pools, size_t *ret_count);
/* Whether a stream would join these very pools. */
bool quotas_are(struct quotas *q, const struct quota_record *const *quotas, size_t n,
                struct quota_pool *const *pools, size_t count);
void quotas_put(struct quotas *q, struct quota_pool *const *pools, size_t n);
struct span quota_id(const struct quota_pool *p);

/* Some of what the rate gives, at most `want`; 0: nothing now.  INT64_MAX: there is no rate. */
int64_t quota_lease(struct quota_pool *p, int64_t want, uint64_t mono_ms);
void quota_return(struct quota_pool *p, int64_t bytes);
/* When to ask again after a 0. */
uint32_t quota_lease_wait_ms(const struct quota_pool *p);
/* So much was carried.  `left`: of the day, UINT64_MAX where it has no limit. */
void quota_count(struct quota_pool *p, uint64_t bytes, int64_t wall_ms);
uint64_t quota_day_left(const struct quota_pool *p);
/* Its day's bytes are used up: QUOTA_*; else REASON_NONE. */
enum reason quota_over(struct quota_pool *p, int64_t wall_ms);
/* Changes whenever the living streams of some pool may be over their day, or may be so no longer. */
uint64_t quotas_over_count(const struct quotas *q);

/* Used on the day that began at `day_ms`, but not here since this start. */
void quotas_set_others(struct quotas *q, struct span id, int64_t day_ms, uint64_t bytes);

enum {                              /* limits that refused or held back since it was told last */
    QUOTA_HIT_STREAMS = 1, QUOTA_HIT_STREAMS_PER_S = 2, QUOTA_HIT_BYTES_PER_S = 4, QUOTA_HIT_BYTES_PER_DAY = 8,
};
struct quota_usage {
    struct span id;
    int64_t day_ms, day_end_ms;
    uint64_t bytes;                 /* here, of that day, since this start */
    uint64_t streams;
    unsigned hits;
};
/* Calls `fn` for each pool whose usage changed since the last time, and forgets pools of quotas that
 * are gone; how many were told.  `fn` is called without the lock. */
size_t quotas_tell(struct quotas *q, const struct quota_time *now,
                   void (*fn)(void *ctx, const struct quota_usage *usage), void *ctx);
struct quotas_stats {
    size_t pools;
    uint64_t over_bound;            /* quotas of the state that have no pool */
};
void quotas_get_stats(struct quotas *q, struct quotas_stats *ret_stats);
