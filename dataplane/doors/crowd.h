#pragma once
#include "lib/base/addr.h"
#include "lib/base/attr.h"
#include <stdint.h>
/*
 * crowd.h - how many visits a door has, as a whole and from one source, over all workers.
 *
 * Counted when a visit comes and goes: one short lock then, none on the way of a byte.
 *
 * Ownership  a source's count goes with its last visit.
 * Threads    any.
 */
struct crowd;
struct source_count;

MUST_CHECK int crowd_new(uint32_t visits_max, uint32_t per_source_max, struct crowd **ret_crowd);
void crowd_free(struct crowd *c);
DEFINE_FREEP(crowd, crowd_free)
/* False: visits_max are here. */
MUST_CHECK bool crowd_enter(struct crowd *c);
void crowd_leave(struct crowd *c);
/* The same for SOCKS5's UDP associations; false: `max` are here. */
MUST_CHECK bool crowd_enter_association(struct crowd *c, uint32_t max);
void crowd_leave_association(struct crowd *c);
/* NULL: per_source_max are here from there, or no memory. */
struct source_count *crowd_enter_source(struct crowd *c, const struct addr *source);
void crowd_leave_source(struct crowd *c, struct source_count *count);
