#include "controlplane/http/server_internal.h"
#include "lib/crypto/digest.h"

#include <stdio.h>
#include <string.h>

/* In the order that server.h promises; each answers false with a problem set. */

static bool check_rate_of(struct exchange *x, struct span name)
{
    unsigned wait_s = rate_take(&x->server->rates, name, monotonic_us() / 1000);

    if (!wait_s)
        return true;
    x->res.problem.retry_after_s = wait_s;
    response_problem(&x->res, REASON_RATE_LIMITED, "%s", "");
    return false;
}

static bool check_address_rate(struct exchange *x)
{
    struct addr source = addr_source(&x->req.peer);
    char text[ADDR_TEXT_MAX];

    return check_rate_of(x, span_str(addr_format(&source, text)));
}

static bool check_principal(struct exchange *x)
{
    const struct server_hooks *hooks = &x->server->options.hooks;

    if (x->req.route->flags & ROUTE_PUBLIC)
        return true;
    if (!hooks->authenticate || !hooks->authenticate(hooks->ctx, &x->req, &x->res)) {
        if (x->res.problem.reason == REASON_NONE)
            response_problem(&x->res, REASON_UNAUTHENTICATED, "%s", "");
        return false;
    }
    return check_rate_of(x, span_str(x->req.principal.id));
}

static bool check_right(struct exchange *x)
{
    const struct route *route = x->req.route;

    if (route->flags & ROUTE_PUBLIC)
        return true;
    if (!(x->req.principal.roles & route->roles)) {
        response_problem(&x->res, REASON_FORBIDDEN, "your role does not allow %s", route->operation);
        return false;
    }
    if (route->scope && !principal_has_scope(&x->req.principal, route->scope)) {
        response_problem(&x->res, REASON_FORBIDDEN, "the token's scopes do not hold %s", route->scope);
        return false;
    }
    return true;
}

/* "application/json; charset=utf-8" is application/json. */
static bool has_type(struct span content_type, const char *wanted)
{
    struct span type;

    return span_cut(&content_type, ';', &type) && span_eq_nocase(span_trim(type), span_str(wanted));
}

static bool check_media_type(struct exchange *x)
{
    const struct route *route = x->req.route;
    bool is_patch = strcmp(route->method, "PATCH") == 0;

    if (!route->body_max)
        return true;
    if (!x->body.len) {
        if (!(route->flags & ROUTE_OPTIONAL_BODY))
            response_problem(&x->res, REASON_BAD_REQUEST, "this operation takes a body");
        return x->res.problem.reason == REASON_NONE;
    }
    if (route->flags & ROUTE_ANY_TYPE || has_type(x->req.content_type, "application/json") ||
        (is_patch && has_type(x->req.content_type, "application/merge-patch+json")))
        return true;
    response_problem(&x->res, REASON_UNSUPPORTED_MEDIA_TYPE, "%s", "");
    return false;
}

/* Two requests under one key at the same time: the second may try again. */
static bool take_in_flight(struct exchange *x)
{
    struct server *server = x->server;
    bool is_free = true;

    pthread_mutex_lock(&server->lock);
    LIST_EACH(&server->in_flight, node) {
        const struct request *other = &container_of(node, struct exchange, running)->req;

        if (span_eq(other->idempotency_key, x->req.idempotency_key) &&
            strcmp(other->principal.id, x->req.principal.id) == 0 && other->route == x->req.route)
            is_free = false;
    }
    if (is_free)
        list_append(&server->in_flight, &x->running);
    pthread_mutex_unlock(&server->lock);
    return is_free;
}

static bool key_is_valid(struct span key)
{
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] <= ' ' || key.p[i] > '~')
            return false;
    return key.n <= 128;
}

static bool check_idempotency(struct exchange *x)
{
    const struct server_hooks *hooks = &x->server->options.hooks;
    struct span key = request_header(&x->req, "Idempotency-Key");

    if (!key.n || !(x->req.route->flags & ROUTE_IDEMPOTENT))
        return true;
    if (!key_is_valid(key)) {
        response_problem(&x->res, REASON_BAD_REQUEST,
                         "Idempotency-Key takes 1 to 128 printable characters without spaces");
        return false;
    }
    x->req.idempotency_key = key;
    sha256_hex(x->req.body, x->req.body_hash);
    if (!take_in_flight(x)) {
        x->res.problem.retry_after_s = 1;
        response_problem(&x->res, REASON_CONFLICT, "the request with this Idempotency-Key still runs");
        return false;
    }
    return !hooks->replay || !hooks->replay(hooks->ctx, &x->req, &x->res);
}

bool exchange_check(struct exchange *x)
{
    static bool (*const checks[])(struct exchange *x) = {
        check_address_rate, check_principal,         check_right,
        check_media_type,   exchange_check_queries,  check_idempotency,
    };

    for (size_t i = 0; i < ARRAY_LEN(checks); i++)
        if (!checks[i](x))
            return false;
    return true;
}
