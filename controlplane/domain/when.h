#pragma once
#include "lib/base/span.h"
/*
 * when.h - moments as text and numbers.
 *
 * Units      milliseconds of Unix time; may be negative.
 * Source     RFC 3339.
 * Threads    pure.
 */
#define WHEN_TEXT_MAX 32

/* "2031-01-31T18:00:00Z", any offset and fraction; false: not a moment of the years 0001 to
 * 9999. */
bool when_parse(struct span text, int64_t *ret_ms);
/* In UTC, to the second (fractions are cut); dst of WHEN_TEXT_MAX bytes. */
const char *when_format(int64_t ms, char *dst);
/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar. */
int64_t when_days(int64_t year, unsigned month, unsigned day);
