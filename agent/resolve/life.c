#include "agent/resolve/life.h"

#define S UINT64_C(1000)
#define AHEAD_LEAST_S 2         /* what lives shorter is asked for when it has ended */

enum life_stage life_stage(const struct life *l, uint64_t now_ms)
{
    if (now_ms < l->fresh_until_ms && l->is_negative)
        return LIFE_NEGATIVE;
    if (now_ms < l->fresh_until_ms)
        return now_ms < l->ahead_from_ms ? LIFE_FRESH : LIFE_AHEAD;
    return now_ms < l->stale_until_ms ? LIFE_STALE : LIFE_NONE;
}

bool life_may_ask(const struct life *l, uint64_t now_ms)
{
    return now_ms >= l->ask_from_ms;
}

void life_answered(struct life *l, const struct life_config *c, uint32_t ttl_s, uint64_t now_ms)
{
    uint64_t fresh_s = ttl_s < c->fresh_max_s ? ttl_s : c->fresh_max_s;

    *l = (struct life){
        .fresh_until_ms = now_ms + fresh_s * S,
        .ahead_from_ms = now_ms + (fresh_s < AHEAD_LEAST_S ? fresh_s * S : fresh_s * S * 3 / 4),
        .stale_until_ms = now_ms + (fresh_s + c->stale_max_s) * S,
    };
}

void life_denied(struct life *l, const struct life_config *c, uint64_t now_ms)
{
    *l = (struct life){ .is_negative = true, .fresh_until_ms = now_ms + c->negative_s * S };
}

bool life_failed(struct life *l, const struct life_config *c, uint64_t now_ms)
{
    if (l->is_negative || now_ms >= l->stale_until_ms) {
        life_denied(l, c, now_ms);
        return false;
    }
    l->ask_from_ms = now_ms + c->negative_s * S;
    return true;
}
