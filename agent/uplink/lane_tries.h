#pragma once
#include <stdbool.h>
#include <stdint.h>
/*
 * lane_tries.h - when a further link to a relay is dialled again.
 *
 * LANE_TRIES in a row, to find a worker without a link of ours, or when one was lost; then, or after
 * a failure, after a wait that doubles each time.  Only a link that stood for LANE_STEADY_MS ends the
 * row: what lets links come up and cuts them at once is not dialled without a rest.
 *
 * Units      milliseconds.     Pure.
 */
#define LANE_TRIES 8
#define LANE_STEADY_MS 1000
#define LANE_WAIT_MS 1000           /* at most; doubled each time, */
#define LANE_WAIT_MAX_MS 160000     /* up to this */

struct lane_tries {
    unsigned count;                 /* in a row */
    uint64_t again_ms, wait_ms;     /* not before; how long it was at most, 0: not at all */
    uint64_t up_ms;                 /* when one came up that was not lost at once; 0: none lately */
};

/* It may be dialled now, and counts.  `random`: all 64 bits. */
bool lane_tries_take(struct lane_tries *t, uint64_t now_ms, uint64_t random);
/* after_ms: what the relay asked for; 0: nothing. */
void lane_tries_fail(struct lane_tries *t, uint64_t now_ms, uint64_t after_ms, uint64_t random);
void lane_tries_up(struct lane_tries *t, uint64_t now_ms);
void lane_tries_lost(struct lane_tries *t, uint64_t lived_ms);
