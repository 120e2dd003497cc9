#pragma once
#include "lib/policy/record.h"
/*
 * window.h - days and hours of a grant, in its zone, without a zone database.
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
