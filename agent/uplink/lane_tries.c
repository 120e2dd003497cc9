#include "agent/uplink/lane_tries.h"
#include "agent/uplink/retry.h"

void lane_tries_fail(struct lane_tries *t, uint64_t now_ms, uint64_t after_ms, uint64_t random)
{
    t->wait_ms = t->wait_ms ? 2 * t->wait_ms : LANE_WAIT_MS;
    if (t->wait_ms > LANE_WAIT_MAX_MS)
        t->wait_ms = LANE_WAIT_MAX_MS;
    t->again_ms = now_ms + retry_wait_ms(t->wait_ms, after_ms, false, random);
    t->count = 0;
}

bool lane_tries_take(struct lane_tries *t, uint64_t now_ms, uint64_t random)
{
    if (now_ms < t->again_ms)
        return false;
    if (t->up_ms && now_ms - t->up_ms >= LANE_STEADY_MS)
        *t = (struct lane_tries){ 0 };
    if (t->count >= LANE_TRIES) {
        lane_tries_fail(t, now_ms, 0, random);
        return false;
    }
    t->count++;
    return true;
}

void lane_tries_up(struct lane_tries *t, uint64_t now_ms)
{
    t->up_ms = now_ms;
}

void lane_tries_lost(struct lane_tries *t, uint64_t lived_ms)
{
    if (lived_ms < LANE_STEADY_MS)
        t->up_ms = 0;
}
