#include "dataplane/route/look.h"
#include "dataplane/route/route_internal.h"
#include "lib/base/hash.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include <string.h>

static bool fill_open(const struct router *router, const struct diagnosis_order *order, struct mux_open *open)
{
    *open = (struct mux_open){
        .path = 1,
        .kind = MUX_KIND_DIAGNOSE,
        .host = span_str(order->host),
        .port = (uint16_t)order->port,
        .allow_special = order->allow_special,
        .answer_ms = (uint32_t)order->timeout_ms,
        .principal = span_str(order->principal),
        .grant = span_str(order->grant),
        .profile = span_str(order->profile),
        .tls_name = span_str(order->tls_name),
        .entry = span_str(router->config.relay_id),
        .boot_id = span_str(router->config.boot_id),
    };
    random_bytes(open->uid, sizeof(open->uid));
    random_bytes(open->secret, sizeof(open->secret));
    for (size_t i = 0; i < order->resolve_to.count; i++)
        open->resolve_to[open->resolve_count++] = span_str(order->resolve_to.items[i]);
    for (size_t i = 0; i < order->ranges.count; i++) {
        if (!cidr_parse(span_str(order->ranges.items[i]), &open->ranges[open->range_count++]))
            return false;
    }
    return true;
}

static struct route *make(struct router *router, const struct diagnosis_order *order,
                          const struct route_handlers *handlers, void *user)
{
    struct route *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->router = router;
    r->id = random_ulid(wall_ms());
    r->handlers = handlers;
    r->user = user;
    r->door = "diagnose";
    r->is_look = r->is_told = true;
    span_copy(span_str(order->principal), r->principal.user_name, sizeof(r->principal.user_name));
    list_init(&r->waiting);
    list_append(&router->routes, &r->node);
    return r;
}

static enum reason open_stream(struct route *r, const struct diagnosis_order *order, struct mux_link *link)
{
    struct router *router = r->router;
    struct mux_open open;
    int e;

    if (!fill_open(router, order, &open))
        return REASON_BAD_REQUEST;
    if (!tally_take_stream(router->config.tally))
        return REASON_OVERLOAD;
    e = mux_stream_open(link, &open, hash_bytes(span_str(order->id)), r, loop_now_ms(router->config.loop), &r->stream);
    if (!e)
        return REASON_NONE;
    tally_put_stream(router->config.tally);
    return e < 0 ? REASON_OVERLOAD : (enum reason)e;
}

static enum reason find_link(struct router *router, const struct diagnosis_order *order, struct mux_link **ret_link)
{
    struct held_agent *held;
    struct ulid agent;
    int elsewhere;

    if (router->is_draining)
        return REASON_RELAY_DRAINING;
    if (!ulid_parse(span_str(order->agent), &agent))
        return REASON_BAD_REQUEST;
    held = holders_find(&router->holders, &agent);
    *ret_link = held ? holders_way(&router->holders, held, NULL, loop_now_ms(router->config.loop), &elsewhere) : NULL;
    if (!*ret_link)
        return REASON_NO_AGENT;
    return tunnel_peer_has(held->lanes[0].tunnel, MUX_FEATURE_DIAGNOSE) ? REASON_NONE : REASON_UNSUPPORTED;
}

enum reason route_look(struct router *router, const struct diagnosis_order *order,
                       const struct route_handlers *handlers, void *user, struct route **ret_route)
{
    struct mux_link *link = NULL;
    enum reason why = find_link(router, order, &link);
    struct route *r;

    if (why != REASON_NONE)
        return why;
    r = make(router, order, handlers, user);
    if (!r)
        return REASON_OVERLOAD;
    why = open_stream(r, order, link);
    if (why != REASON_NONE) {
        route_free(r);
        return why;
    }
    LOG(INFO, "diagnose.passed", S("agent", order->agent), S("principal", order->principal), S("target", order->host),
        N("port", order->port));
    *ret_route = r;
    return REASON_NONE;
}
