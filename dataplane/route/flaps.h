#pragma once
#include "lib/base/addr.h"
#include "lib/base/ulid.h"
#include <stdbool.h>
#include <stddef.h>
/*
 * flaps.h - agents whose links come and go again and again, and addresses that bring nothing but
 * faults: how long they have to stay away.
 *
 * Shape      a count for each agent and each address: so much may come at once, and it all comes back
 *            evenly within a time.  Each link of an agent takes one; one that brings streams back which
 *            live here, to the process that has them, an eighth: a bad network is nobody's fault.  An
 *            address is charged for faults alone, so that a NAT or a balancer with thousands of good
 *            agents behind it is not slowed by their number.  Whoever is slowed and comes too soon is
 *            charged nothing more.
 * Units      milliseconds, monotonic.
 * Ownership  counts are the table's; nothing of the caller's is kept.
 * Threads    any: one short lock.
 * Limits     known_max counts; beyond, the one that was touched least lately is forgotten.
 */
struct flaps;

struct flaps_config {
    uint32_t links;             /* of an agent, at once; 0: no limit */
    uint32_t faults;            /* of an address, at once; 0: no limit */
    uint32_t back_ms;           /* in which all of them come back */
    size_t known_max;
};

struct flaps_stats {
    size_t known;
    uint64_t forgotten;
};

MUST_CHECK int flaps_new(const struct flaps_config *config, struct flaps **ret_flaps);
void flaps_free(struct flaps *f);
DEFINE_FREEP(flaps, flaps_free)

/* A link of the agent comes.  0: it may; else how long it has to stay away.  *ret_is_news: it may not,
 * for the first time since it was calm. */
uint32_t flaps_agent(struct flaps *f, const struct ulid *agent, bool has_streams, uint64_t now_ms, bool *ret_is_news);
/* Who comes from there, before anything is known of him: as above, and nothing is charged. */
uint32_t flaps_source(struct flaps *f, const struct addr *source, uint64_t now_ms, bool *ret_is_news);
/* It brought a fault. */
void flaps_charge(struct flaps *f, const struct addr *source, uint64_t now_ms);
void flaps_get_stats(struct flaps *f, struct flaps_stats *ret_stats);
