#pragma once
#include "dataplane/route/gate.h"
#include "lib/net/listener.h"
#include "lib/tunnel/server/tunnel_server.h"
/*
 * worker.h - one thread of the data plane: its loop, tunnels, router, and the doors on it.
 *
 * Workers share nothing that changes on the way of a byte.  The control loop reaches a
 * worker by posts only: a new view, a key set, drain, stop; another worker by the roster's
 * bell, and by what moves to this one (docs/decisions/workers.md).
 *
 * Life       worker_new (not running: doors and listeners are opened on its loop),
 *            worker_start (the thread), worker_drain, worker_stop (joins), worker_free.
 * Threads    worker_new to worker_start, and worker_free: the control loop's thread, while
 *            the worker does not run.  worker_post_*, worker_drain, worker_stop: any.
 *            worker_loop, worker_router: before the start, or on the worker's thread.
 */
struct worker;

struct worker_config {
    unsigned number;                        /* of roster_workers() */
    struct endpoint tunnel_listen;
    struct tls_ctx *tunnel_tls;
    struct endpoint plain_listen;           /* for TLS proxies alone; ENDPOINT_NONE: none */
    struct tls_proxies tls_proxies;
    struct trust trust;
    const struct tunnel_self *self;         /* outlives the worker */
    struct control *control;
    struct events *events;
    struct freshness *freshness;
    struct roster *roster;                  /* both outlive all workers */
    struct tally *tally;
    struct passwords *passwords;            /* likewise; NULL: chosen passwords are not asked about */
    struct quotas *quotas;                  /* likewise; NULL: none */
    struct breakers *breakers;              /* likewise */
    struct flaps *flaps;                    /* likewise */
    struct metric_slot *metrics;
    uint32_t streams_max, links_max, answer_ms, idle_ms, grace_ms;
    struct proof_times proof;
    uint32_t handshakes_per_s;              /* of all workers; 0: 1,000 */
    uint32_t control_away_ms, renew_wait_ms;    /* gate.h */
};

/* How a drain went, written by the worker before it says that it is over. */
struct worker_receipt {
    uint32_t at_start, finished, cut;
};

MUST_CHECK int worker_new(const struct worker_config *config, struct worker **ret_worker, struct buf *reterr);
void worker_free(struct worker *w);
DEFINE_FREEP(worker, worker_free)
MUST_CHECK int worker_start(struct worker *w);
void worker_stop(struct worker *w);
struct loop *worker_loop(struct worker *w);
struct router *worker_router(struct worker *w);
struct endpoint worker_tunnel_endpoint(const struct worker *w);

/* Called on the worker's thread when a drain begins; doors close their listeners. */
void worker_on_drain(struct worker *w, void (*fn)(void *user), void *user);

/* Takes the reference.  Of several that wait the newest alone is taken up. */
void worker_post_view(struct worker *w, struct view *v);
void worker_post_keyset(struct worker *w, struct span text, uint64_t serial);
/* Living streams have drain_ms; then on_drained is called on `loop` with the receipt.  One
 * drain at a time.  -ENOMEM, -EAGAIN: nobody will be called. */
int worker_drain(struct worker *w, uint32_t drain_ms, struct loop *loop,
                 void (*on_drained)(void *user, const struct worker_receipt *receipt), void *user);
/* What is left of a drain is cut now. */
void worker_hurry(struct worker *w);
