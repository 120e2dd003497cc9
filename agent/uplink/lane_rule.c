#include "agent/uplink/lane_rule.h"

static bool is_busy(const struct lane_rule *r, const struct lane_load *now, uint64_t per_s)
{
    return now->links < now->links_max && per_s >= r->rate * now->links && now->bulk >= 2 * (now->links + 1);
}

/* Far below what opened it, so that it does not come and go. */
static bool is_calm(const struct lane_rule *r, const struct lane_load *now, uint64_t per_s)
{
    return now->links > 1 && (per_s < r->rate * (now->links - 1) / 2 || now->bulk < now->links);
}

enum lane_wish lane_rule_judge(struct lane_rule *r, const struct lane_load *now, uint64_t now_ms)
{
    uint64_t per_s = now->ms ? now->bytes * 1000 / now->ms : 0;

    r->busy = is_busy(r, now, per_s) ? r->busy + 1 : 0;
    if (!is_calm(r, now, per_s))
        r->calm_since_ms = 0;
    else if (!r->calm_since_ms)
        r->calm_since_ms = now_ms;
    if (r->busy >= LANE_BUSY_TIMES) {
        r->busy = 0;
        return LANE_OPEN;
    }
    if (!r->calm_since_ms || now_ms - r->calm_since_ms < r->rest_ms)
        return LANE_KEEP;
    r->calm_since_ms = now_ms;      /* one at a time */
    return LANE_CLOSE;
}
