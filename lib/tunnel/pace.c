#include "lib/tunnel/pace.h"

#define WINDOW_MS 10000

void pace_measure(struct pace *p, uint32_t lowest_rtt_us, uint32_t rtt_us, uint64_t bytes_per_s,
                  uint64_t now_ms)
{
    p->now_rtt_us = rtt_us;
    if (now_ms >= p->window_ends_ms) {
        p->rtt_us = p->next_rtt_us;
        p->rate = p->next_rate;
        p->next_rtt_us = 0;
        p->next_rate = 0;
        p->window_ends_ms = now_ms + WINDOW_MS;
    }
    if (lowest_rtt_us && (!p->next_rtt_us || lowest_rtt_us < p->next_rtt_us))
        p->next_rtt_us = lowest_rtt_us;
    if (bytes_per_s > p->next_rate)
        p->next_rate = bytes_per_s;
    if (p->next_rtt_us && (!p->rtt_us || p->next_rtt_us < p->rtt_us))
        p->rtt_us = p->next_rtt_us;
    if (p->next_rate > p->rate)
        p->rate = p->next_rate;
}

bool pace_is_near(const struct pace *p)
{
    return p->rtt_us && p->rtt_us <= PACE_NEAR_RTT_US;
}

static size_t most(const struct pace *p)
{
    return pace_is_near(p) ? PACE_NEAR_BUDGET_BYTES : PACE_MAX_BYTES;
}

static bool has_queue(const struct pace *p)
{
    return p->now_rtt_us > (uint64_t)p->rtt_us + p->rtt_us / 8 + PACE_QUEUE_US;
}

size_t pace_budget(const struct pace *p)
{
    uint64_t us = ((uint64_t)p->rtt_us + PACE_EXTRA_US) * (has_queue(p) ? 1 : 2), bytes;

    if (!p->rate)
        return PACE_UNKNOWN_BYTES;
    if (p->rate / 1000 > (uint64_t)PACE_MAX_BYTES * 1000 / us)
        return most(p);
    bytes = p->rate / 1000 * us / 1000;
    if (bytes > most(p))
        return most(p);
    return bytes < PACE_MIN_BYTES ? PACE_MIN_BYTES : (size_t)bytes;
}

bool pace_has_room(const struct pace *p)
{
    return p->unsent < pace_budget(p);
}

void pace_unsent(struct pace *p, size_t bytes)
{
    p->unsent = bytes;
}

/* With what TLS adds to each record. */
void pace_sent(struct pace *p, size_t bytes)
{
    p->unsent += bytes + bytes / 256 + 64;
}

uint32_t pace_wait_ms(const struct pace *p, size_t over)
{
    uint64_t ms = p->rate ? (uint64_t)over * 1000 / p->rate : 1;

    if (ms < 1)
        return 1;
    return ms > 20 ? 20 : (uint32_t)ms;
}
