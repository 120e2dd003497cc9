#pragma once
#include "lib/policy/decide.h"
/*
 * breaker.h - a target that fails again and again is left alone for a while.
 *
 * One breaker for each (agent group, target): closed → open after so many failures in a row
 * that mean the target is bad → after the cool-down one try goes through → its outcome closes
 * it, or opens it again for longer.  A try that ends without an outcome lets the next one
 * through at once, and one that is not heard of for BREAKER_TRY_MS counts as such.  Streams of
 * datagrams are not watched: that one was opened says nothing of its target.
 *
 * Shape      one table for all workers; only targets that failed stand in it.  At its bound the
 *            one used least lately is forgotten: closed.
 * Units      milliseconds, monotonic.
 * Threads    any; one short lock where streams open, and none while no target has failed.
 */
#define BREAKER_TRY_MS 120000

struct breakers;

struct breakers_config {
    uint32_t failures;              /* in a row; 0: none ever opens */
    uint32_t cool_down_ms, cool_down_max_ms;    /* the first; it doubles up to the other, ± a quarter */
    size_t breakers_max;
};

enum breaker_outcome {
    BREAKER_GOOD,                   /* the target answered */
    BREAKER_BAD,                    /* refused, timed out, cannot be reached or resolved */
    BREAKER_UNKNOWN,                /* the client left, the agent was lost, … */
};
/* What an agent's refusal says of the target. */
enum breaker_outcome breaker_outcome_of(enum reason why);

enum breaker_pass { BREAKER_CLOSED, BREAKER_TRIES, BREAKER_REFUSES };

MUST_CHECK int breakers_new(const struct breakers_config *config, struct breakers **ret_breakers);
void breakers_free(struct breakers *b);
DEFINE_FREEP(breakers, breakers_free)
/* Whether a stream would be refused; `ret_left_ms`: for how long (a guess while another one tries). */
bool breakers_is_open(struct breakers *b, const struct ulid *agentgroup, const struct target *target,
                      uint64_t now_ms, uint64_t *ret_left_ms);
/* A stream is opened; unless refused, breakers_leave() follows once. */
enum breaker_pass breakers_enter(struct breakers *b, const struct ulid *agentgroup, const struct target *target,
                                 uint64_t now_ms, uint64_t *ret_left_ms);
/* `tried`: it was BREAKER_TRIES.  `id` names the breaker if this opens one; `random` spreads the end. */
struct breaker_end {
    bool tried;
    enum breaker_outcome outcome;
    enum reason why;
    uint64_t now_ms, random;
    int64_t wall_ms;
    struct ulid id;
};
/* True: this opened it, again or for the first time. */
bool breakers_leave(struct breakers *b, const struct ulid *agentgroup, const struct target *target,
                    const struct breaker_end *end);
/* Those that the state says are to be reset are closed. */
void breakers_sync(struct breakers *b, const struct policy *p);

struct breaker_row {
    const struct ulid *id, *agentgroup;
    const char *host;
    uint16_t port;
    bool is_trying;                 /* a try is under way */
    enum reason why;
    uint32_t failures;              /* in a row */
    int64_t opened_ms;              /* Unix time; first */
    uint64_t left_ms;
};
/* Those that are not closed, at most `max`; how many there are. */
size_t breakers_each(struct breakers *b, uint64_t now_ms, size_t max,
                     void (*fn)(void *ctx, const struct breaker_row *row), void *ctx);
struct breakers_stats {
    size_t count, open;
    uint64_t opened, evicted, reset;
    uint64_t version;               /* of what breakers_each() tells */
};
void breakers_get_stats(struct breakers *b, struct breakers_stats *ret_stats);
