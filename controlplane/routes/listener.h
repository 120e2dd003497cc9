#pragma once
#include "controlplane/routes/tell.h"
/*
 * listener.h - one listener of GET /events: what of it goes out, when, and up to which id.
 *
 * Of each object at most one event a second goes out: the last one, when the second is over.
 * Above LISTENER_RATE a second the rest is told as one summary a second.  The id that goes out
 * says: all up to here was told, or something newer of the same object.  So who comes back with
 * it misses nothing, and may hear something twice.
 *
 * Units      milliseconds of any clock that does not jump.
 * Ownership  listener_deinit().
 * Threads    one at a time; no I/O, no clock.
 */
#define LISTENER_RATE 100
#define LISTENER_TOLD_MAX 256           /* objects within a second */
#define LISTENER_IDS_MAX 100
#define LISTENER_PACE_MS 1000

struct listener_told;
struct listener {
    unsigned topics;            /* set of 1 << TOPIC_… */
    struct ulid ids[LISTENER_IDS_MAX];
    size_t id_count;            /* 0: any object */
    uint64_t epoch;
    int64_t cursor;             /* the last number that was looked at */
    int64_t told_id;            /* the last id that went out */
    struct listener_told *told[LISTENER_TOLD_MAX];
    size_t told_count;
    uint64_t window_ms, window_sent, summary_ms;
    int64_t summary_from, summary_to;   /* 0: nothing to sum up */
    uint64_t summary_counts[TOPIC_COUNT];
    uint64_t sent;
};

void listener_init(struct listener *l, unsigned topics, uint64_t epoch, int64_t cursor);
void listener_deinit(struct listener *l);
/* The next event, in the order of numbers; `is_allowed`: the caller may see it.  -ENOMEM. */
MUST_CHECK int listener_take(struct listener *l, const struct store_event *event, bool is_allowed,
                             uint64_t now_ms, struct buf *out);
/* What is due.  `is_last`: all of it. */
void listener_flush(struct listener *l, uint64_t now_ms, bool is_last, struct buf *out);
/* An event of ours: "ready", "heartbeat", "end". */
void listener_put(struct listener *l, const char *name, struct span json, struct buf *out);
