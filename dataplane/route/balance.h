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
#define BALANCE_AGENTS_MAX 8            /* looked after at a time for each cause: each costs a walk */
#define BALANCE_MOVES_MAX 8             /* of one agent, a second */

struct balance_lane {                   /* a worker's links to the agent */
    bool is_usable;
    uint32_t bulk;                      /* streams that moved much lately */
};

/* 0, or how many and to whom. */
unsigned balance_judge(const struct balance_lane lanes[], unsigned count, unsigned here, unsigned *ret_to);

/* Whose turn it is, where there are more agents than are looked after at a time: those that close a
 * link do not keep others from being evened out, and who had no turn is first the next time.
 *
 * balance_turns_begin(); then for each agent, in an order that stays, balance_turns_is_now() twice over
 * all of them (is_early false, then true); balance_turns_take() for one that has a cause. */
enum balance_cause { BALANCE_CLOSING, BALANCE_LOAD, BALANCE_CAUSES };

struct balance_turns {
    unsigned first;                     /* place in the order that is first; kept between times */
    unsigned missed;                    /* the first that had no turn; UINT_MAX: all had */
    unsigned taken[BALANCE_CAUSES];
};

void balance_turns_begin(struct balance_turns *t);
/* Whether the one at that place comes in this half of the round. */
bool balance_turns_is_now(const struct balance_turns *t, unsigned place, bool is_early);
bool balance_turns_take(struct balance_turns *t, unsigned place, enum balance_cause cause);
void balance_turns_end(struct balance_turns *t);
