#include "agent/uplink/retry.h"

uint64_t retry_ceiling_ms(uint32_t failures, uint64_t window_ms, bool has_streams)
{
    uint64_t most_ms = window_ms < RETRY_MANY_MS ? RETRY_FEW_MAX_MS : RETRY_MAX_MS;
    uint64_t max_ms = window_ms > most_ms ? window_ms : most_ms;
    uint64_t ceiling_ms = failures && window_ms < RETRY_FIRST_MS ? RETRY_FIRST_MS : window_ms;

    if (has_streams)
        max_ms = RETRY_LIVING_MAX_MS;
    for (uint32_t i = 1; i < failures && ceiling_ms < max_ms; i++)
        ceiling_ms *= 2;
    return ceiling_ms < max_ms ? ceiling_ms : max_ms;
}

uint64_t retry_wait_ms(uint64_t ceiling_ms, uint64_t after_ms, bool has_streams, uint64_t random)
{
    uint64_t most_ms = has_streams ? RETRY_LIVING_MAX_MS : RETRY_AFTER_MAX_MS;

    if (after_ms > most_ms)
        after_ms = most_ms;
    return after_ms + random % ((ceiling_ms > after_ms ? ceiling_ms : after_ms) + 1);
}
