#pragma once
#include "dataplane/sync/control.h"
#include "lib/base/addr.h"
/*
 * events.h - what workers have to tell the control plane: kept, sent in batches, at least once.
 *
 * Types and their data are in schema/internal.md.  What workers add is gathered for a moment,
 * written to a spool on disk (spool.h), and sent from there: what was not delivered outlives
 * the process.  While the disk takes nothing, events wait in memory and are sent from there.
 * Past the bounds the oldest go, counted.
 *
 * What the relay itself refuses is counted first (refused.h) and told every refused_ms.
 *
 * Units      bytes of JSON.
 * Threads    events_add, events_refused: any (one short lock for each event; none is on the way of a byte).
 *            The rest: the control loop.
 */
#define EVENTS_MAX 65536                        /* in memory */
#define EVENTS_BYTES_MAX ((size_t)32 << 20)
#define EVENTS_DATA_MAX ((size_t)65536)
#define EVENTS_BATCH_MAX 1000

struct events;

struct events_config {
    struct control *control;
    const char *dir;                            /* of the spool; copied */
    size_t spool_bytes;
    struct ulid boot_id;                        /* goes with each event */
    unsigned refused_max;                       /* callers told apart; 0: 256 */
    uint64_t refused_ms;                        /* 0: 2,000 */
};

/* -errno: the directory cannot be used. */
MUST_CHECK int events_new(const struct events_config *config, struct events **ret_events);
void events_free(struct events *e);             /* what was not delivered stays on disk */
DEFINE_FREEP(events, events_free)
/* `data`: a JSON object, copied.  Dropped (and counted) when there is no memory, or when it is
 * longer than EVENTS_DATA_MAX. */
void events_add(struct events *e, const char *type, const struct ulid *id, struct span data);
/* The beginning of a stream, and its end while the beginning still waits to be sent: both are then
 * one event, stream.passed, with the members of both.  False: it does not; its end is told alone.
 * `data`: an object with at least one member, none of them of the beginning. */
void events_stream_opened(struct events *e, const struct ulid *id, struct span data);
bool events_stream_passed(struct events *e, const struct ulid *id, struct span data);
/* Counts a refusal that no other event tells of.  `place`: "tunnel" or a door's name.
 * `agent`: who has proven to be it, or NULL. */
void events_refused(struct events *e, const char *place, enum reason why, const struct ulid *agent,
                    const struct addr *source);
/* Tells them now: the relay stops. */
void events_tell_refused(struct events *e);
uint64_t events_refused_others(const struct events *e);
uint64_t events_dropped(const struct events *e);
size_t events_waiting(const struct events *e);
size_t events_spooled_bytes(const struct events *e);
