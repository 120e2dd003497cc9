#pragma once
#include "controlplane/http/server.h"
#include "controlplane/publish/publish.h"
#include "controlplane/routes/enrol.h"
#include "controlplane/routes/refusals.h"
#include "controlplane/routes/verified.h"
/*
 * internal.h - what relays ask (schema/internal.md), and joining, as routes.
 *
 * Ownership  what the options point to outlives it.
 * Threads    hooks and handlers: any.
 */
/* To be rung when something was published; when a relay is to be ordered something. */
enum { INTERNAL_TOPIC_STATE = 0, INTERNAL_TOPIC_COMMANDS = 1 };

#define INTERNAL_POLL_MS 5000
/* And a tenth more, at times. */
#define INTERNAL_STREAMS_KEPT 10000
#define INTERNAL_DECISIONS_KEPT 50000

struct internal {
    struct enrol enrol;
    struct publisher *publisher;
    struct refusals *refusals;          /* whom relays refuse; NULL: not noted */
    void (*on_applied)(void *ctx);      /* a relay reported a revision */
    void *ctx;
    unsigned totp_roles;                /* of whom a second factor is required, which a door cannot ask for */
    struct verified verified;           /* VERIFIED_INIT */
    uint64_t untrimmed_streams, untrimmed_decisions;    /* guarded by the one write transaction */
};

/* For the internal listener; each row's ctx is the struct internal. */
const struct route *internal_routes(struct internal *internal, struct route *rows, size_t *count);
#define INTERNAL_ROUTES 9
/* POST /api/v1/join, for the API's table. */
struct route internal_join_route(struct internal *internal);
/* Mutual TLS: a certificate of kind relay whose id stands in the state.  ctx: the struct. */
bool internal_authenticate(void *internal, struct request *req, struct response *res);
