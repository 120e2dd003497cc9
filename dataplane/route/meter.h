#pragma once
#include "dataplane/policy/quota.h"
#include "lib/base/list.h"
#include "lib/base/map.h"
#include "lib/net/loop.h"
#include "lib/pipe/pipe.h"
/*
 * meter.h - what one stream carries, held to the rates and counted on the quotas that it is under.
 *
 * Each worker has a share of each quota that its streams use: bytes leased from the pool, and
 * bytes carried that the pool does not know of yet.  Whoever finds the share empty waits in
 * its line, and is told when there is some: one after the other, each for a little, so that a
 * thousand streams on one quota get alike.  No other stream notices.
 *
 * Shape      a worker's meters; a meter for each stream under a quota, none for the others.
 * Ownership  a meter has the stream's places in its pools, and gives them back.
 * Threads    its worker's; between meter_leave() and meter_arrive() nobody's.
 */
struct meters {
    struct loop *loop;
    struct quotas *quotas;          /* NULL: nothing is metered */
    struct map shares;
};

struct meter;

void meters_init(struct meters *m, struct loop *loop, struct quotas *quotas);
void meters_deinit(struct meters *m);           /* after its last meter */
struct quota_time meters_now(const struct meters *m);

/* Takes over the places; also when it fails (-ENOMEM).  `resume` is called when bytes may move again. */
MUST_CHECK int meter_new(struct meters *m, struct quota_pool *const *pools, size_t n,
                         void (*resume)(void *user), void *user, struct meter **ret_meter);
void meter_free(struct meter *m);
/* For a pipe. */
struct pipe_gate *meter_gate(struct meter *m);
/* Bytes that may move now, at most `most`; 0: none, `resume` comes. */
size_t meter_room(struct meter *m, size_t most);
/* Whether so many may move at once; nobody waits.  Less than that left of a day counts as used. */
bool meter_fits(struct meter *m, size_t bytes);
void meter_carried(struct meter *m, size_t bytes);
/* Whether it stands on the pools of these quotas; NULL: on none. */
bool meter_is_on(const struct meter *m, struct quotas *q, const struct quota_record *const *quotas, size_t n);
/* The day's bytes of one of its quotas are used up: QUOTA_*. */
enum reason meter_over(const struct meter *m);
/* A limit may have been raised. */
void meter_kick(struct meter *m);
/* To another worker.  -ENOMEM: it has arrived nowhere; free it. */
void meter_leave(struct meter *m);
MUST_CHECK int meter_arrive(struct meter *m, struct meters *there);
