#pragma once
#include <stdbool.h>
#include <stdint.h>
/*
 * life.h - for how long an answer of the DNS counts.
 *
 *   an answer         fresh for its TTL, at most fresh_max_s; from three quarters of that on a
 *                     use asks anew ahead of its end; then stale for stale_max_s
 *   a negative one    (no such name, no address) replaces what was there, for negative_s
 *   no answer         (time out, refused): what is there stays, and is not asked for again for
 *                     negative_s; where nothing is left it counts as a negative one
 *
 * Shape      pure: the clock comes in as an argument.
 * Units      milliseconds of one monotonic clock; seconds where named _s.
 * Threads    no state.
 * Source     RFC 8767 (serving stale).
 */
struct life_config {
    uint32_t fresh_max_s, stale_max_s, negative_s;
};

struct life {                   /* zeroed: nothing is kept */
    bool is_negative;
    uint64_t fresh_until_ms, ahead_from_ms, stale_until_ms;
    uint64_t ask_from_ms;       /* not before */
};

enum life_stage {
    LIFE_NONE,                  /* nothing that counts */
    LIFE_FRESH,
    LIFE_AHEAD,                 /* fresh, and to be asked for again */
    LIFE_STALE,
    LIFE_NEGATIVE,
    LIFE_STAGE_COUNT
};

enum life_stage life_stage(const struct life *l, uint64_t now_ms);
/* Whether it may be asked for: a failure has not just come. */
bool life_may_ask(const struct life *l, uint64_t now_ms);
void life_answered(struct life *l, const struct life_config *c, uint32_t ttl_s, uint64_t now_ms);
void life_denied(struct life *l, const struct life_config *c, uint64_t now_ms);
/* True: what is kept goes on. */
bool life_failed(struct life *l, const struct life_config *c, uint64_t now_ms);
