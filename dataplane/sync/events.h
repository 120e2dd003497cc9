#pragma once
#include "dataplane/sync/control.h"
/*
 * events.h - what workers have to tell the control plane: queued, sent in batches, at least once.
 *
 * Types and their data are in schema/internal.md.  While the control plane is away events
 * wait; past the bound the oldest go, counted.
 *
 * Units      bytes of JSON.
 * Threads    events_add: any (one short lock for each event; none is on the way of a byte).
 *            The rest: the control loop.
 */
#define EVENTS_MAX 65536
#define EVENTS_BYTES_MAX ((size_t)32 << 20)
#define EVENTS_BATCH_MAX 1000

struct events;

MUST_CHECK int events_new(struct control *c, struct events **ret_events);
void events_free(struct events *e);
DEFINE_FREEP(events, events_free)
/* `data`: a JSON object, copied.  Dropped (and counted) when there is no memory. */
void events_add(struct events *e, const char *type, const struct ulid *id, struct span data);
uint64_t events_dropped(const struct events *e);
size_t events_waiting(const struct events *e);
