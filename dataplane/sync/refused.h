#pragma once
#include "lib/base/addr.h"
#include "lib/base/buf.h"
#include "lib/base/reason.h"
#include "lib/base/ulid.h"
/*
 * refused.h - whom the relay itself refused, counted until the control plane is told.
 *
 * A row stands for a place (a door, the tunnels'), a code, and an agent that has shown who it is
 * or a source address (IPv6: the /64).  Strangers may knock as fast as they like: what finds no
 * row is counted by its code alone, in rows that are always there, with the place "others".
 *
 * Bounds     rows_max rows, and one for each code.
 * Threads    any: one short lock for each refusal.
 */
struct refused;

/* The event's type, and where its rows stand in schema/internal.md. */
#define REFUSED_EVENT "refused"
#define REFUSED_DATA_MAX 512
#define REFUSED_PLACE_MAX 15

MUST_CHECK int refused_new(unsigned rows_max, struct refused **ret_refused);
void refused_free(struct refused *r);
DEFINE_FREEP(refused, refused_free)
/* `place`: at most REFUSED_PLACE_MAX bytes.  `agent`: NULL, or who has proven to be it.  True when nothing was counted
 * before: somebody has to come for it. */
bool refused_note(struct refused *r, const char *place, enum reason why, const struct ulid *agent,
                  const struct addr *source, int64_t now_ms);
/* Nobody can come: the next one asks again. */
void refused_leave(struct refused *r);
/* Takes all rows out: `tell` gets the data of one event for each. */
void refused_take(struct refused *r, void (*tell)(void *ctx, struct span data), void *ctx);
/* Refusals that found no row. */
uint64_t refused_others(struct refused *r);
