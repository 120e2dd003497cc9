#pragma once
#include "controlplane/http/request.h"
/*
 * server.h - one HTTPS listener: routes in, requests through a bounded pool, answers out.
 *
 * The listener's own threads only move bytes.  A whole request is suspended and queued for
 * the pool; beyond the queue's bound it is answered 503 overload.  Long polls are suspended
 * connections with a deadline, never a thread.  Slow handlers (password hashing) have a lane
 * of their own, so that they delay nobody else.
 *
 * Order of the checks: head limits (431, 414), route (404, 405 with Allow), body limit (413),
 * rate (429), authentication (401), role and scope (403), media type (415), Accept (406 is
 * never sent), query names (422), Idempotency-Key in flight (409) or answered (replay).
 *
 * Ownership  routes, their strings and contexts outlive the server.
 * Threads    server_ring() any; the rest the owner's.
 * Errors     -errno, or a sentence in reterr.
 */
struct response;
typedef void (*route_fn)(const struct route *route, struct request *req, struct response *res);

enum {
    ROUTE_PUBLIC = 1,           /* no authentication */
    ROUTE_SLOW = 2,             /* the slow lane */
    ROUTE_IDEMPOTENT = 4,       /* takes Idempotency-Key */
    ROUTE_ANY_QUERY = 8,        /* the handler checks the query names itself */
    ROUTE_ANY_TYPE = 16,        /* any media type of body */
    ROUTE_OPTIONAL_BODY = 32,   /* an empty body is fine */
    ROUTE_LONG_POLL = 64,       /* may response_park() */
};

struct route {
    const char *method;         /* "GET" serves HEAD too */
    const char *path;           /* "/api/v1/users/{id}" */
    const char *operation;      /* "users.get": in logs, audit, OpenAPI */
    const char *scope;          /* "users:read"; NULL: any scope will do */
    unsigned roles;             /* set of ROLE_…: one of them is needed */
    unsigned flags;
    size_t body_max;            /* 0: no body is taken */
    const char *query;          /* names that are known, space-separated; NULL: none */
    unsigned topic;             /* ROUTE_LONG_POLL: which ring wakes it, 0..7 */
    route_fn handler;
    void *ctx;                  /* the room's own: e.g. struct api * */
    const void *data;           /* the row's own: e.g. a descriptor */
};

struct server_hooks {
    void *ctx;
    /* Fills req->principal (and may set res->problem): true to go on. */
    bool (*authenticate)(void *ctx, struct request *req, struct response *res);
    /* A stored answer for req->idempotency_key: true when `res` was filled (or holds the
     * problem: other body).  Keeping answers is the handlers' part. */
    bool (*replay)(void *ctx, struct request *req, struct response *res);
    /* Each answer with a problem, before it is sent; on any thread, and must not wait.  May be NULL. */
    void (*refused)(void *refused_ctx, const struct request *req, const struct response *res);
    void *refused_ctx;
};

struct server_options {
    const char *name;           /* "api", "internal": in logs and metrics */
    const char *listen;         /* "127.0.0.1:8443"; port 0 takes a free one */
    const char *certificate_pem, *key_pem;      /* chain, key; NULL: plain HTTP (tests) */
    const char *client_ca_pem;  /* not NULL: a client certificate is required */
    const struct route *routes;
    size_t route_count;
    struct server_hooks hooks;
    unsigned threads, slow_threads;     /* pool; 0: 4 and 2 */
    unsigned queue_max;         /* waiting requests of a lane; 0: 256 */
    unsigned connections_max;   /* 0: 1000 */
    unsigned per_address_max;   /* connections of one address; 0: 200 */
    unsigned parked_max;        /* 0: half of the connections */
    unsigned streams_max;       /* answers that go on (stream.h); 0: a quarter of the connections */
    unsigned idle_s;            /* 0: 30 */
    unsigned head_ms;           /* handshake and head, or the next head after idle_s; 0: 10,000 */
    unsigned body_ms;           /* a body; 0: 60,000 */
    unsigned answer_ms;         /* for the client to take an answer; 0: 600,000 */
    unsigned rate_per_s, rate_burst;    /* for each principal and address; 0: no limit */
    size_t body_total_max;      /* bodies in memory at once; 0: 64 MiB */
};

struct server_stats {
    uint64_t requests, refused, overloads, errors;      /* errors: 5xx */
    uint64_t late;                                      /* connections ended for being slow */
    uint64_t by_reason[REASON_COUNT];                   /* answers with a problem */
    uint64_t connections, running, waiting, parked, streams;    /* now */
};

struct server;
MUST_CHECK int server_start(const struct server_options *options, struct server **ret_server,
                            struct buf *reterr);
uint16_t server_port(const struct server *server);
/* Wakes the long polls of a topic. */
void server_ring(struct server *server, unsigned topic);
void server_get_stats(struct server *server, struct server_stats *ret_stats);
/* No new requests; those that run are answered, parked ones expire now; at most timeout_ms.
 * True when nothing was cut. */
bool server_drain(struct server *server, unsigned timeout_ms);
void server_free(struct server *server);
DEFINE_FREEP(server, server_free)
