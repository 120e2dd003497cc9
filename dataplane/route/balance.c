#include "dataplane/route/balance.h"
#include <limits.h>
#include <string.h>

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Looked for from the next one on, so that not all choose the same. */
static unsigned lightest(const struct balance_lane lanes[], unsigned count, unsigned here)
{
    unsigned best = here;

    for (unsigned i = 1; i < count; i++) {
        unsigned at = (here + i) % count;

        if (lanes[at].is_usable && lanes[at].bulk < lanes[best].bulk)
            best = at;
    }
    return best;
}

unsigned balance_judge(const struct balance_lane lanes[], unsigned count, unsigned here, unsigned *ret_to)
{
    unsigned to = lightest(lanes, count, here), usable = 0;
    uint32_t mine = lanes[here].bulk, theirs = lanes[to].bulk, all = 0, average;

    for (unsigned i = 0; i < count; i++) {
        usable += lanes[i].is_usable;
        all += lanes[i].is_usable ? lanes[i].bulk : 0;
    }
    /* A third more at least, and two. */
    if (to == here || usable < 2 || mine < theirs + 2 || 3 * (uint64_t)mine <= 4 * (uint64_t)theirs)
        return 0;
    average = (all + usable - 1) / usable;
    if (mine <= average || theirs >= average)
        return 0;
    *ret_to = to;
    return least(least(mine - average, average - theirs), BALANCE_MOVES_MAX);
}

void balance_turns_begin(struct balance_turns *t)
{
    t->missed = UINT_MAX;
    memset(t->taken, 0, sizeof(t->taken));
}

bool balance_turns_is_now(const struct balance_turns *t, unsigned place, bool is_early)
{
    return (place < t->first) == is_early;
}

bool balance_turns_take(struct balance_turns *t, unsigned place, enum balance_cause cause)
{
    if (t->taken[cause] < BALANCE_AGENTS_MAX) {
        t->taken[cause]++;
        return true;
    }
    if (t->missed == UINT_MAX)
        t->missed = place;
    return false;
}

void balance_turns_end(struct balance_turns *t)
{
    t->first = t->missed == UINT_MAX ? 0 : t->missed;
}
