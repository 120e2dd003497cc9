#pragma once
#include "lib/policy/record.h"
/*
 * window.h - days and hours of a grant, and days of a quota, in its zone, without a zone database.
 *
 * The record brings the zone's offsets from UTC and when each begins, so the answer is a
 * function of the time alone.
 *
 * Units      Unix milliseconds.
 * Threads    pure.
 */
#define WINDOW_NEVER INT64_MAX

/* Whether the grant's windows hold at `now_ms`; no windows: always.  `ret_again_ms`: from
 * then on the answer may differ. */
bool window_holds(const struct grant_record *g, int64_t now_ms, int64_t *ret_again_ms);

/* The day of the zone that `now_ms` is in: [begin, end).  No offsets: UTC. */
struct window_day {
    int64_t begin_ms, end_ms;
};
struct window_day window_day(const struct zone_offset *offsets, size_t count, int64_t now_ms);
