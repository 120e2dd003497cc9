#pragma once
#include "dataplane/route/roster.h"
/*
 * balance.h - how many of an agent's bulk streams leave a worker for another one, whose link to
 * that agent carries much less.
 *
 * Each worker judges for itself by what all have told, and gives no more than what it has above
 * the average, and the other has below it: several that give to one do not overdo it, and what
 * was given does not come back.
 *
 * Pure.
 */
#define BALANCE_MOVES_MAX 8             /* of one agent, a second */

struct balance_lane {                   /* a worker's links to the agent */
    bool is_usable;
    uint32_t bulk;                      /* streams that moved much lately */
};

/* 0, or how many and to whom. */
unsigned balance_judge(const struct balance_lane lanes[], unsigned count, unsigned here, unsigned *ret_to);
