#pragma once
#include "dataplane/policy/breaker.h"
#include "dataplane/policy/live.h"
#include "dataplane/policy/quota.h"
#include "dataplane/policy/relay_metrics.h"
#include "dataplane/route/holders.h"
#include "dataplane/sync/events.h"
#include "lib/net/conn.h"
#include "lib/pipe/pipe.h"
/*
 * router.h - from a user's request to a stream on an agent's link, and its end.
 *
 * Every door does the same: log in, then route_open() for each request.  The decision is
 * taken once, in here; if no agent is there the request waits a moment for one to come back.
 * What is decided is logged, counted, reported to the control plane, and kept as what the
 * stream stands on: when that falls, by change or by time, the stream is cut.
 *
 * Shape      one router for each worker; a route is one request and, if it succeeds, its
 *            stream.
 * Ownership  a route is the router's.  It is dead after on_refused or on_ended, or after
 *            route_abandon().
 * Threads    the worker's loop.
 */
#define ROUTE_WAIT_MS 2000          /* for an agent to come back */
#define ROUTE_WAITING_MAX 10000     /* at a worker */
#define ROUTE_MOVES_MAX 4           /* from worker to worker, after an agent that moves too */

struct router;
struct route;
struct control;
struct passwords;

struct proof_times {                /* 0: none, or mux.h's and roster.h's own */
    uint32_t probe_every_ms, probe_rest_ms;
    uint32_t use_ms;                /* (how long the last proof counts at rest is the roster's) */
};

struct router_config {
    struct loop *loop;
    struct freshness *freshness;
    struct events *events;          /* NULL: nobody is told */
    struct control *control;        /* either NULL: nobody is asked about chosen passwords */
    struct passwords *passwords;    /* of all workers */
    struct roster *roster;
    struct tally *tally;
    struct quotas *quotas;          /* NULL: nobody has any */
    struct breakers *breakers;      /* NULL: none ever opens */
    unsigned worker;                /* which of the roster's this is */
    struct metric_slot *metrics;
    const char *relay_id, *boot_id;
    uint32_t streams_max;
    uint32_t answer_ms;             /* for an agent to resolve and connect in; 0: 10,000 */
    uint32_t idle_ms;               /* 0: never */
    uint32_t grace_ms;              /* that an agent keeps streams without a link; we 3/4 of it */
    size_t memory_limit;
    struct proof_times proof;
};

struct principal {                  /* who logged in; records may be gone by the next request */
    struct ulid user, credential;   /* no credential: by a chosen password, and that is which */
    uint64_t chosen;
    char user_name[64];
};

struct route_request {
    const char *door;               /* "http", "socks5": static */
    struct principal principal;
    struct addr source;
    struct span host;               /* as asked for: name or literal */
    uint16_t port;
    struct span trace;              /* traceparent, or NONE */
    bool is_udp;                    /* datagrams instead of bytes */
};

struct route_handlers {             /* called on a later turn than route_open() */
    /* Connected, to the address `at`: route_pipe() now, or read and write route_stream() oneself. */
    void (*on_opened)(void *user, struct route *r, const struct endpoint *at);
    /* The last call.  `text`: what the agent said, or empty. */
    void (*on_refused)(void *user, struct route *r, enum reason why, struct span text);
    /* Its agent's link is another worker's: it goes there, and whoever asked for it too.
     * Comes at a turn's end, before on_opened; route_leave(), and route_arrive() there. */
    void (*on_move)(void *user, struct route *r, unsigned worker);
    /* Without a pipe only: */
    void (*on_readable)(void *user, struct route *r);
    void (*on_writable)(void *user, struct route *r);
    void (*on_resumed)(void *user, struct route *r);    /* route_room() gives some again, both ways */
    void (*on_datagram)(void *user, struct route *r, struct span bytes);
    /* The last call, with a pipe too. */
    void (*on_ended)(void *user, struct route *r, enum reason how);
};

MUST_CHECK int router_new(const struct router_config *config, struct router **ret_router);
void router_free(struct router *r);     /* ends what is left */
DEFINE_FREEP(router, router_free)
struct mux *router_mux(const struct router *r);
struct loop *router_loop(const struct router *r);
struct holders *router_holders(struct router *r);
const struct view *router_view(const struct router *r);     /* NULL: none yet */
/* Takes the reference; living streams are asked for again. */
void router_set_view(struct router *r, struct view *v);
/* An agent came up: requests that wait for one look again. */
void router_agent_up(struct router *r);
/* The agent's last link is gone and it will not come back: its streams are over. */
void router_agent_left(struct router *r, const struct ulid *agent);
/* The roster has changed at another worker; to be called now and then all the same. */
void router_look_at_roster(struct router *r);
/* Once a second: an agent's streams are spread over its links. */
void router_balance(struct router *router);
/* The agent is about to close a link: what that carries goes over others. */
void router_link_closes(struct router *router, const struct ulid *agent);
/* Refuses new requests (relay-draining). */
void router_drain(struct router *r);
bool router_is_draining(const struct router *r);
uint32_t router_streams(const struct router *r);
/* Cuts what is left (the drain is over). */
void router_cut_all(struct router *r, enum reason why);

/* REASON_NONE and who it is. */
enum reason router_login(struct router *r, struct span user_name, struct span secret,
                         const struct addr *source, struct principal *ret_principal);
/* A chosen password, which router_login() did not know: the control plane is asked, once for all who show
 * the same.  REASON_NONE: `ask->fn` is called on a later turn, and when it says REASON_NONE router_login()
 * knows the password.  AUTH_FAILED: he has none that is to be asked about; OVERLOAD. */
struct password_ask {               /* zeroed, then fn and user; the caller's, until it was answered */
    struct list node;
    void (*fn)(void *user, enum reason why);
    void *user;
};
enum reason router_password_ask(struct router *r, struct span user_name, struct span secret,
                                const struct addr *source, struct password_ask *ask);
/* Nobody waits for it any more; what was never asked, or was answered, may be forgotten too. */
void router_password_forget(struct password_ask *ask);
/* That a PAC link was used. */
void router_tell_pac(struct router *r, const struct ulid *link, const struct ulid *user, const struct addr *source);
/* Counts, logs and reports a log-in that failed; above TALLY_TOLD_PER_S it counts and is told
 * in sum, so that strangers cannot fill logs and tables. */
void router_tell_login_refused(struct router *r, const char *door, struct span user_name,
                               const struct addr *source, enum reason why);
/* Reports a request that was refused before anybody asked for a target. */
void router_tell_refused(struct router *r, const char *door, const struct addr *source, enum reason why);
/* Of what route_open() just answered, or on_refused() tells: when it is worth another try.  0: not known, or
 * neither QUOTA_* nor BREAKER_OPEN. */
uint64_t router_retry_ms(const struct router *r, enum reason why);
/* REASON_NONE: an answer comes by `handlers`.  Else refused, at once, and nothing follows. */
enum reason route_open(struct router *r, const struct route_request *request,
                       const struct route_handlers *handlers, void *user, struct route **ret_route);
/* In on_move: the route is nobody's until it arrives at the router of that worker, on its
 * thread; `why` refuses it there.  What comes of it is told to the handlers as ever, perhaps in
 * the call. */
void route_leave(struct route *r);
void route_arrive(struct route *r, struct router *router, enum reason why);
/* In on_opened or later: the conn is the route's, and bytes flow until the end. `early`:
 * what the client sent behind its request, copied. */
void route_pipe(struct route *r, struct conn *conn, struct span early);
struct mux_stream *route_stream(struct route *r);
/* Without a pipe: what is read of the stream or written to it is asked for here, and told.  0: not now,
 * on_resumed comes. */
size_t route_room(struct route *r, size_t most);
void route_carried(struct route *r, size_t bytes);
/* is_udp, opened: false: it was dropped. */
bool route_send_datagram(struct route *r, struct span bytes);
/* The exchange is over for the door: our FIN goes, what still comes is thrown away, and a
 * target that does not end within ROUTE_RELEASE_MS is reset.  No handler is called any more. */
#define ROUTE_RELEASE_MS 5000
void route_release(struct route *r);
/* The door has lost interest: no handler is called any more, the stream is reset. */
void route_abandon(struct route *r, enum reason why);
const struct ulid *route_id(const struct route *r);
