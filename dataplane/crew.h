#pragma once
#include "dataplane/config.h"
#include "dataplane/worker/worker.h"
/*
 * crew.h - all workers of the relay, each with the doors on it, as one.
 *
 * Life       crew_new (nothing runs yet), crew_start, crew_drain, crew_stop (joins all),
 *            crew_free.
 * Threads    the control loop's.
 */
struct crew;

struct crew_config {
    const struct relay_config *options;     /* outlives the crew */
    struct tls_ctx *tunnel_tls, *door_tls;
    struct trust trust;
    const struct tunnel_self *self;         /* likewise */
    struct control *control;
    struct events *events;
    struct freshness *freshness;
    struct metrics *metrics;
    unsigned first_slot;                    /* of the metrics; one for each worker from there on */
    unsigned workers;
};

/* How many workers the options ask for: at most one for each CREW_MEMORY_LEAST of memory. */
#define CREW_MEMORY_LEAST ((int64_t)4 << 20)
unsigned crew_size(const struct relay_config *options);

MUST_CHECK int crew_new(const struct crew_config *config, struct crew **ret_crew, struct buf *reterr);
void crew_free(struct crew *c);
DEFINE_FREEP(crew, crew_free)
MUST_CHECK int crew_start(struct crew *c);
void crew_stop(struct crew *c);
struct roster *crew_roster(const struct crew *c);
struct flaps *crew_flaps(const struct crew *c);
struct quotas *crew_quotas(const struct crew *c);
struct breakers *crew_breakers(const struct crew *c);

/* As worker.h has them, for each worker. */
void crew_post_view(struct crew *c, struct view *v);
void crew_post_keyset(struct crew *c, struct span text, uint64_t serial);
/* on_drained comes on `loop`, with all that the workers had, when the last of them is done. */
MUST_CHECK int crew_drain(struct crew *c, uint32_t drain_ms, struct loop *loop,
                          void (*on_drained)(void *user, const struct worker_receipt *receipt), void *user);
void crew_hurry(struct crew *c);
