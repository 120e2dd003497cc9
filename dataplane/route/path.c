#include "dataplane/route/route_internal.h"
#include "lib/log/log.h"
#include <string.h>

/* --- to another worker ------------------------------------------------------------------------ */

void route_leave(struct route *r)
{
    list_remove(&r->node);
    r->router = NULL;
    r->moves++;
}

void route_arrive(struct route *r, struct router *router, enum reason why)
{
    r->router = router;
    list_append(&router->routes, &r->node);
    if (why == REASON_NONE)
        why = route_choose(r);
    if (why == REASON_NONE)
        return;
    route_tell_door(r, why, SPAN_NONE);
    route_free(r);
}

/* --- paths: the agent's link is gone, or is there again ----------------------------------------- */

/* Whoever is asked again must be the process that has the stream. */
static enum reason is_over(const struct route *r, const struct seat *seat)
{
    if (seat && strcmp(seat->boot_id, r->agent_boot) != 0)
        return REASON_AGENT_RESTARTED;
    return policy_agent_admitted(r->router->view->policy, &r->live.standing.agent, UINT32_MAX, wall_now());
}

/* Before the answer another agent may do as well, when this one does not come back in a moment:
 * on_stream_ended() looks for one. */
static bool is_late(struct route *r, uint64_t now_ms)
{
    if (r->opened_ms)
        return false;
    if (!r->lost_at_ms)
        r->lost_at_ms = now_ms;
    return now_ms - r->lost_at_ms >= ROUTE_WAIT_MS;
}

static void on_stream_wants_path(void *user, struct mux_stream *stream)
{
    struct route *r = user;
    struct held_agent *held = r ? holders_find(&r->router->holders, &r->live.standing.agent) : NULL;
    uint64_t now_ms = r ? loop_now_ms(r->router->config.loop) : 0;
    struct mux_link *link = held ? holders_link(held, now_ms) : NULL;
    struct seat *seat = r ? roster_find(&r->router->holders.reader, &r->live.standing.agent) : NULL;
    enum reason why = r ? is_over(r, seat) : REASON_SESSION_LOST;

    if (why == REASON_NONE && !link && is_late(r, now_ms))
        why = REASON_SESSION_LOST;
    if (why != REASON_NONE)
        mux_stream_abandon(stream, why);
    else if (link && mux_stream_attach(stream, link, span_str(r->agent_boot), now_ms) == 0)
        r->lost_at_ms = 0;                  /* else it is asked for again */
}

static void on_stream_moved(void *user, struct mux_stream *stream)
{
    struct route *r = user;
    struct seat *seat = r ? roster_find(&r->router->holders.reader, &r->live.standing.agent) : NULL;

    if (!r)
        return;
    if (seat)
        route_count(r, seat);
    metric_add(r->router->config.metrics, M_STREAMS_MOVED, 1);
    LOG(INFO, "stream.moved", S("stream", r->id.text), U("path", mux_stream_path(stream)));
}

void router_agent_left(struct router *router, const struct ulid *agent)
{
    LIST_EACH(&router->routes, node) {
        struct route *r = container_of(node, struct route, node);

        if (r->stream && span_eq(ulid_span(&r->live.standing.agent), ulid_span(agent)))
            mux_stream_abandon(r->stream, r->opened_ms ? REASON_AGENT_DRAINING : REASON_SESSION_LOST);
    }
}

void route_fill_path_handlers(struct mux_handlers *handlers)
{
    handlers->on_want_path = on_stream_wants_path;
    handlers->on_moved = on_stream_moved;
}
