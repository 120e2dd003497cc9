#pragma once
#include "dataplane/doors/association.h"
#include "dataplane/doors/crowd.h"
#include "dataplane/worker/worker.h"
#include "lib/net/conn.h"
/*
 * door.h - where users come in: a listener on a worker, and what all protocols share.
 *
 * A visit is one client connection until it is handed to a route or ends.  What came in and
 * what has still to go out are bounded; every phase has a deadline; connections have a cap,
 * for the door and for one source.  From the addresses of trusted proxies a PROXY header is
 * required, and then tells the source.
 *
 * Threads    door_open, door_free: while the worker does not run.  The rest: its thread.
 * Limits     VISIT_IN_MAX bytes in, VISIT_OUT_MAX out, head_ms for a whole request head.
 */
#define VISIT_IN_MAX ((size_t)36 * 1024)        /* a head of 32 KiB and what comes behind it */
#define VISIT_OUT_MAX ((size_t)64 * 1024)
#define VISIT_LINGER_MS 2000
#define DOOR_PROXIES_MAX 64

struct door;
struct visit;

/* What makes a protocol; visits embed in its own state of `state_bytes`. */
struct door_protocol {
    const char *name, *tls_name;    /* "http", "https": in logs, records; static, as routes outlive
                                     * their doors */
    /* There is (more) input: visit_in().  Called again whenever some came. */
    void (*on_input)(struct visit *v);
    /* The client sent its FIN; nothing more comes in. */
    void (*on_end)(struct visit *v);
    /* visit_out() went out whole.  What it writes and flushes goes out after it returned. */
    void (*on_sent)(struct visit *v);
    /* The deadline passed: say so if the protocol can, then visit_close(). */
    void (*on_deadline)(struct visit *v);
    /* The visit ends: let go of routes. */
    void (*on_gone)(struct visit *v);
    size_t state_bytes;
};

struct door_config {
    struct worker *worker;
    const struct door_protocol *protocol;
    struct endpoint at;             /* ENDPOINT_NONE: no listener; who comes here comes from a peer */
    struct tls_ctx *tls;            /* NULL: plain */
    struct cidr proxies[DOOR_PROXIES_MAX];      /* who has to bring a PROXY header */
    size_t proxy_count;
    struct metric_slot *metrics;
    struct crowd *crowd;            /* of this door at all workers; NULL: it has its own, */
    uint32_t visits_max;            /* with these; 0: 10,000 */
    uint32_t visits_per_source_max; /* 0: 1,000 */
    struct door *const *peers;      /* this door at each worker, by number; NULL: there is one only */
    uint32_t head_ms;               /* 0: 10,000 */
    const char *pac_proxies;        /* NULL or empty: the door itself */
    struct udp_limits udp;          /* SOCKS5 only */
};

MUST_CHECK int door_open(const struct door_config *config, struct door **ret_door, struct buf *reterr);
void door_free(struct door *d);
DEFINE_FREEP(door, door_free)
struct endpoint door_endpoint(const struct door *d);

/* --- for protocols ----------------------------------------------------------------------- */
void *visit_state(struct visit *v);             /* zeroed state_bytes */
struct router *visit_router(struct visit *v);
struct loop *visit_loop(struct visit *v);
const char *visit_door_name(const struct visit *v);     /* "http", "https" */
const struct addr *visit_source(const struct visit *v);
/* Where the client's connection came in. */
struct endpoint visit_local(const struct visit *v);
bool visit_is_tls(const struct visit *v);
const struct udp_limits *visit_udp(const struct visit *v);
const char *visit_pac_proxies(const struct visit *v);   /* "": none are configured */
/* Of what is dear: at most so many a second at this door and worker. */
bool visit_take_turn(struct visit *v, uint32_t per_s);
struct crowd *visit_crowd(const struct visit *v);
struct metric_slot *visit_metrics(const struct visit *v);
struct span visit_in(struct visit *v);
void visit_take(struct visit *v, size_t n);     /* the first n bytes of visit_in() are done with */
/* Reads more, or leaves it in the kernel. */
void visit_want_input(struct visit *v, bool is_wanted);
/* Write into it, then visit_flush(). */
struct buf *visit_out(struct visit *v);
void visit_flush(struct visit *v);
bool visit_is_over(const struct visit *v);      /* closing, or gone */
/* Counts and logs a request that never came as far as the router. */
void visit_refused(struct visit *v, enum reason why, const char *detail);
/* The head, or whatever phase, has to be over by then; 0: no deadline. */
void visit_deadline(struct visit *v, uint32_t ms);
uint32_t visit_head_ms(const struct visit *v);
/* Sends what is out, then ends in order; input is thrown away meanwhile. */
void visit_close(struct visit *v);
/* RST. */
void visit_reset(struct visit *v);
/* For struct route_handlers.on_move, where the user is the visit: it goes along. */
void visit_follow(void *visit, struct route *r, unsigned worker);
/* Sends what is out, then the connection belongs to the route, with the input that is left. */
void visit_send_and_hand_over(struct visit *v, struct route *r);
