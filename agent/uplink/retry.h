#pragma once
#include <stdbool.h>
#include <stdint.h>
/*
 * retry.h - how long after a lost link, or a try that failed, the relay is dialled again.
 *
 * The wait is drawn from 0 up to a ceiling, so that agents never come back in step.  The first
 * ceiling is the window that the relay named (by how many agents it holds); later ones double
 * from there, up to RETRY_MAX_MS, or the window where that is longer; up to RETRY_FEW_MAX_MS where
 * the window says that few come: all are back within 10 s of the end of what went wrong.  While streams wait for
 * the link it is RETRY_LIVING_MAX_MS at the most.  A relay that has too many at its door says how
 * long to stay away: then not sooner, and spread over as much again.
 *
 * Units      milliseconds.     Pure.
 */
#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 30000
#define RETRY_FEW_MAX_MS 8000
#define RETRY_MANY_MS 1000              /* a window from which on they are many: a second's admissions */
#define RETRY_LIVING_MAX_MS 2000
#define RETRY_AFTER_MAX_MS 60000        /* what a relay, or a balancer before it, may ask for */

/* `failures` since the link was last steady. */
uint64_t retry_ceiling_ms(uint32_t failures, uint64_t window_ms, bool has_streams);
/* Up to that ceiling; `after_ms`: what Retry-After said, 0: nothing.  `random`: all 64 bits. */
uint64_t retry_wait_ms(uint64_t ceiling_ms, uint64_t after_ms, bool has_streams, uint64_t random);
