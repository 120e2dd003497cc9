#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * window.h - the time over which agents spread their first retry, when this relay dies under
 * them: as long as admitting all of them takes.
 *
 * Units      milliseconds.     Pure.
 */
#define WINDOW_MAX_MS 3600000       /* schema/tunnel.md */

/* None for an agent alone, 10 s for 10,000 of which 1,000 are admitted a second. */
static inline int64_t window_ms(size_t agents, uint32_t admitted_per_s)
{
    uint64_t ms = agents > 1 ? (uint64_t)(agents - 1) * 1000 / admitted_per_s : 0;

    return ms < WINDOW_MAX_MS ? (int64_t)ms : WINDOW_MAX_MS;
}

/* HELLO said it as it was when the link came up.  Agents hear of it again when it has doubled, or
 * is a quarter of it: a few times each, however many there are. */
static inline bool window_is_news(int64_t told_ms, int64_t now_ms)
{
    return now_ms >= 2 * told_ms + 1000 || 4 * now_ms + 1000 <= told_ms;
}
