#include "dataplane/route/route_internal.h"
#include "lib/log/log.h"
#include <string.h>

/* --- to another worker ------------------------------------------------------------------------ */

static uint32_t deadline_left(const struct route *r)
{
    uint64_t now_ms = loop_now_ms(r->router->config.loop);

    if (!timer_is_on(&r->deadline))
        return 0;
    return r->deadline.due_ms > now_ms ? (uint32_t)(r->deadline.due_ms - now_ms) : 1;
}

void route_leave(struct route *r)
{
    r->left_ms = deadline_left(r);
    timer_stop(&r->deadline);
    list_remove(&r->node);
    if (r->stream) {
        live_lift(&r->router->live, &r->live);
        route_uncount(r);
        pipe_detach(&r->pipe);
        if (r->meter)
            meter_leave(r->meter);
    }
    r->moves++;
}

/* It was not opened yet. */
static void choose_again(struct route *r, enum reason why)
{
    if (why == REASON_NONE)
        why = route_choose(r);
    if (why == REASON_NONE)
        return;
    route_tell_door(r, why, SPAN_NONE);
    route_free(r);
}

/* There was no memory for its stream: the agent will forget it. */
static void lose(struct route *r)
{
    r->stream = NULL;
    tally_put_stream(r->router->config.tally);
    pipe_on_ended(&r->pipe, REASON_OVERLOAD);
    if (r->opened_ms) {
        metric_add(r->router->config.metrics, M_STREAMS, -1);
        metric_add_at(r->router->config.metrics, M_STREAMS_ENDED, REASON_OVERLOAD, 0, 1);
    }
    route_tell_door(r, REASON_OVERLOAD, SPAN_NONE);
    route_free(r);
}

/* What changed while it was under way counts, too. */
static enum reason land(struct route *r, enum reason why)
{
    struct router *router = r->router;
    enum reason standing = REASON_NONE;

    if (!r->live.count)
        return REASON_NONE;         /* cut already: it goes there to say so */
    if (r->meter && meter_arrive(r->meter, &router->meters))
        return REASON_OVERLOAD;
    if (live_land(&router->live, &r->live, router->view, wall_now(), &standing))
        return REASON_OVERLOAD;
    if (standing != REASON_NONE)
        return standing;
    return router->is_over ? REASON_RELAY_DRAINING : why;
}

static void go_on(struct route *r, enum reason why)
{
    struct router *router = r->router;
    bool is_lost = mux_stream_put_in(router->mux, r->stream, loop_now_ms(router->config.loop)) != 0;

    pipe_attach(&r->pipe, router->config.loop);
    if (is_lost) {
        if (r->live.count)
            tally_put_grant(router->config.tally, TAKE(r->live.count));
        lose(r);
        return;
    }
    why = land(r, why);
    if (why == REASON_NONE)
        why = route_look_at_quotas(r);
    if (why == REASON_NONE && pipe_is_on(&r->pipe))
        pipe_resume(&r->pipe);
    if (r->left_ms && why == REASON_NONE)
        timer_start(router->config.loop, &r->deadline, r->left_ms, r->deadline.fn, r->deadline.arg);
    if (why == REASON_NONE)
        return;
    metric_add_at(router->config.metrics, M_CUT, why, 0, 1);
    route_leave_grant(r);
    route_end(r, why, SPAN_NONE);
}

void route_arrive(struct route *r, struct router *router, enum reason why)
{
    r->router = router;
    list_append(&router->routes, &r->node);
    if (r->stream)
        go_on(r, why);
    else
        choose_again(r, why);
}

static void on_arrived(void *arg)
{
    struct route *r = arg;

    route_arrive(r, roster_router(r->router->config.roster, r->move_to), REASON_NONE);
}

/* A route whose connection is its own takes it along; else the door brings both. */
static void on_move(void *arg)
{
    struct route *r = arg;
    struct router *here = r->router, *there = roster_router(here->config.roster, r->move_to);

    bool leaves = r->leaves_path;

    r->leaves_path = false;
    if (r->stream && ((mux_stream_link(r->stream) && !leaves) || !mux_stream_take_out(r->stream)))
        return;                     /* it has found a path meanwhile, or is about to end */
    if (r->handlers && r->handlers->on_move && !r->is_piped) {
        r->handlers->on_move(r->user, r, r->move_to);
        return;
    }
    route_leave(r);
    if (!there || loop_post(there->config.loop, on_arrived, r))
        route_arrive(r, here, REASON_NONE);
}

/* At the turn's end, when no call for its connection is under way any more. */
void route_move(struct route *r, unsigned worker)
{
    r->move_to = worker;
    loop_defer(r->router->config.loop, &r->moving, on_move, r);
}

/* --- paths: the agent's link is gone, or is there again ----------------------------------------- */

/* Whoever is asked again must be the process that has the stream. */
static enum reason is_over(const struct route *r, const struct seat *seat)
{
    if (r->seat && atomic_load(&r->seat->has_left))
        return r->opened_ms ? REASON_AGENT_DRAINING : REASON_SESSION_LOST;
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

/* A link to the agent here, or the worker that has one. */
static struct mux_link *way(struct route *r, const struct seat *seat, uint64_t now_ms, int *ret_worker)
{
    struct holders *h = &r->router->holders;

    return holders_way(h, holders_find(h, &r->live.standing.agent), seat, now_ms, ret_worker);
}

static void on_stream_wants_path(void *user, struct mux_stream *stream)
{
    struct route *r = user;
    uint64_t now_ms = r ? loop_now_ms(r->router->config.loop) : 0;
    struct seat *seat = r ? roster_find(&r->router->holders.reader, &r->live.standing.agent) : NULL;
    int worker = -1;
    struct mux_link *link = r ? way(r, seat, now_ms, &worker) : NULL;
    enum reason why = r ? is_over(r, seat) : REASON_SESSION_LOST;

    if (why == REASON_NONE && worker >= 0) {
        route_move(r, (unsigned)worker);
        return;
    }
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
