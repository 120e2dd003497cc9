#pragma once
#include "lib/base/map.h"
#include "lib/base/ulid.h"
#include <pthread.h>
#include <stdatomic.h>
/*
 * tally.h - limits that hold for the relay as a whole, over all its workers.
 *
 * Nothing here is touched on the way of a byte: streams are counted when they open and end,
 * memory is taken in steps by those who look at their need every second.
 *
 * Units      bytes; streams.
 * Ownership  a grant's count goes with its last stream.
 * Threads    any.
 * Limits     exact, but for links: so many more as are accepted in one second.
 */
#define TALLY_TOLD_PER_S 20         /* refused log-ins that are told; the rest is only counted */

struct tally;
struct grant_count;

MUST_CHECK int tally_new(uint32_t streams_max, size_t memory_limit, struct tally **ret_tally);
void tally_free(struct tally *t);
DEFINE_FREEP(tally, tally_free)

/* False: streams_max are there. */
MUST_CHECK bool tally_take_stream(struct tally *t);
void tally_put_stream(struct tally *t);
uint32_t tally_streams(const struct tally *t);

/* One stream more on a grant; `limit` 0: none.  -EDQUOT: it has so many; -ENOMEM, -ENOSPC. */
MUST_CHECK int tally_take_grant(struct tally *t, const struct ulid *grant, uint64_t limit,
                                struct grant_count **ret_count);
void tally_put_grant(struct tally *t, struct grant_count *count);
uint64_t tally_grant_streams(struct tally *t, const struct ulid *grant);

/* Takes up to `n` bytes of the memory that nobody has; how many it were. */
size_t tally_take_memory(struct tally *t, size_t n);
void tally_put_memory(struct tally *t, size_t n);
size_t tally_memory_limit(const struct tally *t);

/* A worker's links, as it tells now and then; all of them. */
void tally_add_links(struct tally *t, int32_t more);
uint32_t tally_links(const struct tally *t);

/* One more refused log-in may be told in this second. */
bool tally_may_tell(struct tally *t, uint64_t now_s);
