#include "dataplane/route/route_internal.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include <string.h>

#define TRACE_MAX 63
#define ANSWER_GRACE_MS 2000        /* on the way there and back, beyond the agent's own time */

static const struct route_handlers nobody = { 0 };

static const struct route_handlers *handlers_of(const struct route *r)
{
    return r->handlers ? r->handlers : &nobody;
}

/* --- telling -------------------------------------------------------------------------------- */

static struct report report_of(const struct route *r, enum reason why)
{
    return (struct report){
        .id = &r->id,
        .door = r->door,
        .principal = &r->principal,
        .source = &r->source,
        .host = r->live.standing.target.name,
        .port = r->live.standing.target.port,
        .standing = r->live.standing.grant.text[0] ? &r->live.standing : NULL,
        .agent_name = r->agent_name[0] ? r->agent_name : NULL,
        .opened = r->tried,
        .reason = why,
        .refusal = router_refusal(r->router, why),
        .is_udp = r->is_udp,
        .opened_ms = r->opened_ms,
    };
}

void route_tell_decision(struct route *r, enum reason why, struct span text)
{
    struct report report = report_of(r, why);

    r->is_told = true;
    report.text = text;
    if (why != REASON_NONE)
        metric_add_at(r->router->config.metrics, M_REFUSED, why, 0, 1);
    report_decision(r->router->config.events, &report);
}

void route_tell_door(struct route *r, enum reason why, struct span text)
{
    const struct route_handlers *h = handlers_of(r);

    r->handlers = NULL;
    if (!r->is_told)
        route_tell_decision(r, why, text);
    if (!r->opened_ms && h->on_refused)
        h->on_refused(r->user, r, why, text);
    if (r->opened_ms && h->on_ended)
        h->on_ended(r->user, r, why);
}

/* --- life of a route ------------------------------------------------------------------------- */

void route_uncount(struct route *r)
{
    struct seat *seat = TAKE(r->seat);

    if (!seat)
        return;
    atomic_fetch_sub(&seat->berths[r->router->config.worker].streams, 1);
    seat_unref(seat);
}

void route_count(struct route *r, struct seat *seat)
{
    if (r->seat == seat)
        return;
    route_uncount(r);
    r->seat = seat_ref(seat);
    atomic_fetch_add(&seat->berths[r->router->config.worker].streams, 1);
}

void route_leave_grant(struct route *r)
{
    route_uncount(r);
    route_leave_quotas(r);
    route_tell_breaker(r, BREAKER_UNKNOWN, REASON_NONE);
    live_remove(&r->router->live, &r->live);
}

void route_free(struct route *r)
{
    route_stop_waiting(r);
    loop_defer_cancel(&r->moving);
    route_leave_grant(r);
    if (r->stream) {
        mux_stream_set_user(r->stream, NULL);
        tally_put_stream(r->router->config.tally);
    }
    list_remove(&r->node);
    free(r->trace);
    free(r);
}

static void stop_stream(struct route *r, enum reason why, struct span text)
{
    if (r->cut == REASON_NONE)
        r->cut = why;
    if (pipe_is_on(&r->pipe))
        pipe_cut(&r->pipe, why, text);
    else
        mux_stream_reset(r->stream, why, text, true);
}

void route_end(struct route *r, enum reason why, struct span text)
{
    timer_stop(&r->deadline);
    stop_stream(r, why, text);
    route_tell_door(r, why, text);
}

static void on_unanswered(void *arg)
{
    route_end(arg, REASON_DIAL_TIMEOUT, SPAN("the agent did not answer"));
}

void route_await_answer(struct route *r)
{
    if (loop_defer_is_on(&r->moving))
        return;
    timer_start(r->router->config.loop, &r->deadline, r->router->config.answer_ms + ANSWER_GRACE_MS, on_unanswered,
                r);
}

/* --- the doors' side ------------------------------------------------------------------------- */

static enum reason start(struct route *r, const struct route_request *request)
{
    if (target_parse(request->host, request->port, &r->live.standing.target))
        return route_choose(r);
    span_copy(span_first(request->host, TARGET_NAME_MAX), r->live.standing.target.name, sizeof(r->live.standing.target.name));
    r->live.standing.target.port = request->port;
    return REASON_BAD_REQUEST;
}

enum reason route_open(struct router *router, const struct route_request *request,
                       const struct route_handlers *handlers, void *user, struct route **ret_route)
{
    struct route *r = calloc(1, sizeof(*r));
    enum reason why;

    if (!r)
        return REASON_OVERLOAD;

    r->router = router;
    r->id = random_ulid(wall_ms());
    r->handlers = handlers;
    r->user = user;
    r->door = request->door;
    r->principal = request->principal;
    r->random = random_u64();
    r->source = request->source;
    r->is_udp = request->is_udp;
    r->trace = request->trace.n ? span_dup(span_first(request->trace, TRACE_MAX)) : NULL;
    list_init(&r->waiting);
    list_append(&router->routes, &r->node);

    why = start(r, request);
    if (why != REASON_NONE) {
        route_tell_decision(r, why, SPAN_NONE);
        route_free(r);
        return why;
    }
    *ret_route = r;
    return REASON_NONE;
}

void route_pipe(struct route *r, struct conn *conn, struct span early)
{
    r->is_piped = true;
    pipe_start(&r->pipe, conn, r->stream, REASON_CLIENT_GONE, r->router->config.idle_ms, early);
}

struct mux_stream *route_stream(struct route *r)
{
    return r->stream;
}

size_t route_room(struct route *r, size_t most)
{
    return r->meter ? meter_room(r->meter, most) : most;
}

void route_carried(struct route *r, size_t bytes)
{
    if (r->meter)
        meter_carried(r->meter, bytes);
}

/* A datagram waits for no rate: what is over it is dropped. */
static bool pass_datagram(struct route *r, size_t bytes)
{
    if (r->meter && !meter_fits(r->meter, bytes)) {
        metric_add_at(r->router->config.metrics, M_DATAGRAMS_DROPPED, DROP_quota, 0, 1);
        return false;
    }
    route_carried(r, bytes);
    return true;
}

bool route_send_datagram(struct route *r, struct span bytes)
{
    return pass_datagram(r, bytes.n) && mux_stream_send_datagram(r->stream, bytes) == 0;
}

const struct ulid *route_id(const struct route *r)
{
    return &r->id;
}

static void throw_away(struct mux_stream *stream)
{
    struct span spans[8];
    size_t count;

    while ((count = mux_stream_peek(stream, spans, ARRAY_LEN(spans))) > 0) {
        for (size_t i = 0; i < count; i++)
            mux_stream_consume(stream, spans[i].n);
    }
}

void route_abandon(struct route *r, enum reason why)
{
    r->handlers = NULL;
    if (r->stream) {
        route_end(r, why, SPAN_NONE);
        return;
    }
    route_tell_decision(r, why, SPAN_NONE);
    route_free(r);
}

static void on_release_over(void *arg)
{
    struct route *r = arg;

    mux_stream_reset(r->stream, REASON_CLIENT_GONE, SPAN("the exchange is over"), true);
}

void route_release(struct route *r)
{
    r->handlers = NULL;
    r->is_released = true;
    mux_stream_fin(r->stream);
    throw_away(r->stream);
    timer_start(r->router->config.loop, &r->deadline, ROUTE_RELEASE_MS, on_release_over, r);
}

/* --- the mux's side -------------------------------------------------------------------------- */

static void on_stream_opened(void *user, struct mux_stream *stream, const struct mux_opened *opened)
{
    struct route *r = user;
    struct report report;

    (void)stream;
    if (!r)
        return;
    timer_stop(&r->deadline);
    route_tell_breaker(r, BREAKER_GOOD, REASON_NONE);
    r->opened_ms = wall_now();
    if (r->is_look)
        return;
    metric_add(r->router->config.metrics, M_STREAMS, 1);
    metric_add(r->router->config.metrics, M_STREAMS_OPENED, 1);
    route_tell_decision(r, REASON_NONE, SPAN_NONE);
    report = report_of(r, REASON_NONE);
    report.opened = opened;
    report_opened(r->router->config.events, &report);
    if (handlers_of(r)->on_opened)
        handlers_of(r)->on_opened(r->user, r, &opened->used);
}

/* Comes just before on_stream_refused(). */
static void on_stream_tries(void *user, struct mux_stream *stream, const struct mux_opened *tries)
{
    struct route *r = user;

    (void)stream;
    if (r)
        r->tried = tries;
}

static void on_stream_refused(void *user, struct mux_stream *stream, enum reason why, struct span text)
{
    struct route *r = user;

    (void)stream;
    if (!r)
        return;
    r->cut = why;
    route_tell_breaker(r, breaker_outcome_of(why), why);
    r->router->refusal = (struct quota_refusal){ 0 };
    route_tell_door(r, why, text);  /* on_stream_ended() frees */
    r->tried = NULL;
}

static void on_stream_readable(void *user, struct mux_stream *stream)
{
    struct route *r = user;

    if (!r)
        return;
    if (pipe_is_on(&r->pipe))
        pipe_on_readable(&r->pipe);
    else if (r->is_released)
        throw_away(stream);
    else if (handlers_of(r)->on_readable)
        handlers_of(r)->on_readable(r->user, r);
}

static void on_stream_writable(void *user, struct mux_stream *stream)
{
    struct route *r = user;

    (void)stream;
    if (!r)
        return;
    if (pipe_is_on(&r->pipe))
        pipe_on_writable(&r->pipe);
    else if (handlers_of(r)->on_writable)
        handlers_of(r)->on_writable(r->user, r);
}

static void on_stream_datagram(void *user, struct mux_stream *stream, struct span bytes)
{
    struct route *r = user;

    (void)stream;
    if (r && handlers_of(r)->on_datagram && pass_datagram(r, bytes.n))
        handlers_of(r)->on_datagram(r->user, r, bytes);
}

static void on_stream_reset(void *user, struct mux_stream *stream, enum reason why, struct span text)
{
    struct route *r = user;

    (void)stream;
    (void)text;
    if (!r)
        return;
    if (r->cut == REASON_NONE)
        r->cut = why;
    pipe_on_reset(&r->pipe);
}

static void tell_closed(struct route *r, struct mux_stream *stream, enum reason how)
{
    struct report report = report_of(r, how);
    const struct mux_datagram_counts *datagrams = mux_stream_datagrams(stream);

    report.sent_bytes = mux_stream_sent(stream) + datagrams->sent_bytes;
    report.received_bytes = mux_stream_consumed(stream) + datagrams->received_bytes;
    report.sent_datagrams = datagrams->sent;
    report.received_datagrams = datagrams->received;
    report_closed(r->router->config.events, &report);
    metric_add(r->router->config.metrics, M_STREAMS, -1);
    metric_add_at(r->router->config.metrics, M_STREAMS_ENDED, how, 0, 1);
    metric_add(r->router->config.metrics, M_USER_BYTES, (int64_t)report.sent_bytes);
    metric_add(r->router->config.metrics, M_TARGET_BYTES, (int64_t)report.received_bytes);
}

/* Its link was lost before the agent answered: nothing was carried, so another link, another
 * agent, or the same one when it is back may serve it. */
static bool try_again(struct route *r, enum reason how)
{
    enum reason why;

    if (how != REASON_SESSION_LOST || r->is_look || r->opened_ms || r->cut != REASON_NONE || r->is_retried || !r->handlers)
        return false;

    r->is_retried = true;
    r->stream = NULL;
    timer_stop(&r->deadline);
    route_leave_grant(r);
    why = route_choose(r);
    if (why != REASON_NONE) {
        route_tell_door(r, why, SPAN_NONE);
        route_free(r);
    }
    return true;
}

static void on_stream_ended(void *user, struct mux_stream *stream, enum reason how)
{
    struct route *r = user;

    if (!r)
        return;
    tally_put_stream(r->router->config.tally);
    if (try_again(r, how))
        return;
    if (how != REASON_NONE && r->cut != REASON_NONE)
        how = r->cut;
    pipe_on_ended(&r->pipe, how);
    if (r->opened_ms && !r->is_look)
        tell_closed(r, stream, how);
    else if (!r->opened_ms && how == REASON_NONE)
        how = REASON_SESSION_LOST;
    route_tell_door(r, how, SPAN_NONE);
    r->stream = NULL;
    route_free(r);
}

/* Agents open no streams yet: services come with their own contract. */
static void on_stream_open(void *link_user, struct mux_stream *stream, const struct mux_open *open)
{
    (void)link_user;
    (void)open;
    mux_stream_refuse(stream, REASON_METHOD_NOT_ALLOWED, SPAN("this relay opens streams, agents do not"), NULL);
}

void route_fill_handlers(struct mux_handlers *handlers)
{
    handlers->on_open = on_stream_open;
    handlers->on_opened = on_stream_opened;
    handlers->on_tries = on_stream_tries;
    handlers->on_refused = on_stream_refused;
    handlers->on_readable = on_stream_readable;
    handlers->on_writable = on_stream_writable;
    handlers->on_datagram = on_stream_datagram;
    handlers->on_reset = on_stream_reset;
    route_fill_path_handlers(handlers);
    handlers->on_ended = on_stream_ended;
}
