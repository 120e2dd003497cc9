#include "dataplane/route/router.h"
#include "dataplane/route/report.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TICK_MAX_MS 1000
#define STALE_LOOK_MS 10000         /* an age from which the clock has to be watched */

struct router {
    struct router_config config;
    struct mux *mux;
    struct holders holders;
    struct live live;
    struct view *view;
    struct list routes;             /* all of them */
    struct list waiting;            /* those that wait for an agent */
    uint32_t waiting_count;
    struct loop_timer tick, sweep;
    uint64_t told_s;                /* second of the last refused log-in that was told */
    uint32_t told;
    bool is_draining;
};

struct route {
    struct list node, waiting;
    struct router *router;
    struct ulid id;
    const struct route_handlers *handlers;      /* NULL: abandoned */
    void *user;
    const char *door;
    struct principal principal;
    struct addr source;
    struct target target;
    char trace[64];
    char agent_name[64];
    struct loop_timer deadline;     /* of waiting; of the end after route_release() */
    struct live_entry live;
    struct mux_stream *stream;      /* NULL: not opened yet */
    struct pipe pipe;
    int64_t opened_ms;              /* 0: not connected */
    enum reason cut;                /* why we ended it, if we did */
    bool is_waiting, is_released;
};

static const struct route_handlers nobody = { 0 };

static const struct route_handlers *handlers_of(const struct route *r)
{
    return r->handlers ? r->handlers : &nobody;
}

static int64_t wall_now(void)
{
    return (int64_t)wall_ms();
}

/* --- telling -------------------------------------------------------------------------------- */

static struct report report_of(const struct route *r, enum reason why)
{
    return (struct report){
        .id = &r->id,
        .door = r->door,
        .principal = &r->principal,
        .source = &r->source,
        .host = r->target.name,
        .port = r->target.port,
        .standing = r->live.standing.grant.text[0] ? &r->live.standing : NULL,
        .agent_name = r->agent_name[0] ? r->agent_name : NULL,
        .reason = why,
        .opened_ms = r->opened_ms,
    };
}

static void tell_decision(const struct route *r, enum reason why, struct span text)
{
    struct report report = report_of(r, why);

    report.text = text;
    if (why != REASON_NONE)
        metric_add_at(r->router->config.metrics, M_REFUSED, why, 0, 1);
    report_decision(r->router->config.events, &report);
}

/* --- life of a route ------------------------------------------------------------------------- */

static void stop_waiting(struct route *r)
{
    timer_stop(&r->deadline);
    if (!r->is_waiting)
        return;
    r->is_waiting = false;
    list_remove(&r->waiting);
    r->router->waiting_count--;
    metric_add(r->router->config.metrics, M_WAITING, -1);
}

static void count_agent(struct route *r, int by)
{
    struct held_agent *a = holders_find(&r->router->holders, &r->live.standing.agent);

    if (a)
        a->streams += (uint32_t)by;
}

static void route_free(struct route *r)
{
    stop_waiting(r);
    if (r->live.count) {
        count_agent(r, -1);
        live_remove(&r->router->live, &r->live);
    }
    if (r->stream)
        mux_stream_set_user(r->stream, NULL);
    list_remove(&r->node);
    free(r);
}

/* Later than route_open(): the door hears of it. */
static void refuse_later(struct route *r, enum reason why, struct span text)
{
    tell_decision(r, why, text);
    if (handlers_of(r)->on_refused)
        handlers_of(r)->on_refused(r->user, r, why, text);
}

/* --- deciding ---------------------------------------------------------------------------------- */

struct ask {                        /* what the registry's callbacks need */
    struct router *router;
    uint64_t now_ms;
};

static bool registry_agent(void *context, const struct ulid *agent, const struct ulid *agentgroup,
                           const struct target *target, struct agent_live *ret_live)
{
    const struct ask *ask = context;

    (void)agentgroup;
    (void)target;
    return holders_live(&ask->router->holders, agent, ask->now_ms, ret_live);
}

static uint64_t registry_grant_streams(void *context, const struct ulid *grant)
{
    const struct ask *ask = context;

    return live_grant_count(&ask->router->live, grant);
}

/* The agent gets permitted ranges as they are, and resolve-to as texts in `mem`. */
static void open_fill(struct mux_open *open, const struct route *r, const struct policy_decision *d,
                      char mem[MUX_RESOLVE_MAX][ADDR_UNIX_MAX + 8])
{
    const struct router_config *config = &r->router->config;

    *open = (struct mux_open){
        .path = 1,
        .kind = MUX_KIND_TCP,
        .host = span_str(r->target.name),
        .port = r->target.port,
        .allow_special = d->allow_special,
        .answer_ms = config->answer_ms,
        .trace = span_str(r->trace),
        .principal = span_str(r->principal.user_name),
        .grant = record_id(&d->grant->record),
        .profile = d->profile ? record_id(&d->profile->record) : SPAN_NONE,
        .entry = span_str(config->relay_id),
        .boot_id = span_str(config->boot_id),
    };
    random_bytes(open->uid, sizeof(open->uid));
    random_bytes(open->secret, sizeof(open->secret));
    memcpy(open->ranges, d->ranges, d->range_count * sizeof(d->ranges[0]));
    open->range_count = d->range_count;

    if (d->override && d->override->unix_path[0]) {
        snprintf(mem[0], sizeof(mem[0]), "unix:%s", d->override->unix_path);
        open->resolve_to[open->resolve_count++] = span_str(mem[0]);
        return;
    }
    for (size_t i = 0; d->override && i < d->override->addr_count && i < MUX_RESOLVE_MAX; i++)
        open->resolve_to[open->resolve_count++] = span_str(addr_format(&d->override->addrs[i], mem[i]));
}

/* Fair sharing is between users: their streams take one turn together. */
static uint64_t owner_of(const struct route *r)
{
    return hash_bytes(ulid_span(&r->principal.user));
}

static enum reason open_stream(struct route *r, const struct policy_decision *d, struct mux_link *link)
{
    struct router *router = r->router;
    char mem[MUX_RESOLVE_MAX][ADDR_UNIX_MAX + 8];
    struct mux_open open;
    int e;

    if (live_add(&router->live, &r->live, router->view, wall_now()))
        return REASON_OVERLOAD;
    count_agent(r, 1);

    open_fill(&open, r, d, mem);
    e = mux_stream_open(link, &open, owner_of(r), r, loop_now_ms(router->config.loop), &r->stream);
    return e < 0 ? REASON_OVERLOAD : (enum reason)e;
}

static void stand_on(struct route *r, const struct policy_decision *d, const struct policy_question *q)
{
    const struct credential_record *credential = policy_credential(r->router->view->policy, &r->principal.credential);

    policy_stand(d, q, credential, r->id.text, &r->live.standing);
    r->live.max_stale_ms = (uint64_t)d->max_staleness_s * 1000;
    span_copy(span_str(d->agent->name), r->agent_name, sizeof(r->agent_name));
}

/* REASON_NONE: the stream is being opened.  NO_AGENT: worth waiting for. */
static enum reason decide(struct route *r)
{
    struct router *router = r->router;
    uint64_t now_ms = loop_now_ms(router->config.loop);
    struct ask ask = { .router = router, .now_ms = now_ms };
    const struct policy_registry registry = {
        .context = &ask, .agent = registry_agent, .grant_streams = registry_grant_streams,
    };
    const struct policy_question question = {
        .user = r->principal.user,
        .source = r->source,
        .target = r->target,
        .now_ms = wall_now(),
        .random = random_u64(),
        .registry = &registry,
    };
    struct policy_decision decision;
    struct held_agent *held;
    struct mux_link *link;
    struct ulid agent;
    enum reason why = policy_decide(router->view->policy, &question, &decision);

    if (why != REASON_NONE)
        return why;
    if (freshness_is_stale(router->config.freshness, mono_ms(), (uint64_t)decision.max_staleness_s * 1000))
        return REASON_STALE_CONFIG;

    if (!ulid_parse(record_id(&decision.agent->record), &agent))
        return REASON_INTERNAL;
    held = holders_find(&router->holders, &agent);
    link = held ? holders_link(held, now_ms) : NULL;
    if (!link)
        return REASON_NO_AGENT;
    stand_on(r, &decision, &question);
    return open_stream(r, &decision, link);
}

/* --- waiting for an agent ------------------------------------------------------------------------ */

static void on_waited(void *arg)
{
    struct route *r = arg;

    stop_waiting(r);
    refuse_later(r, REASON_NO_AGENT, SPAN_NONE);
    route_free(r);
}

static bool start_waiting(struct route *r)
{
    struct router *router = r->router;

    if (router->waiting_count >= ROUTE_WAITING_MAX)
        return false;
    r->is_waiting = true;
    router->waiting_count++;
    metric_add(router->config.metrics, M_WAITING, 1);
    list_append(&router->waiting, &r->waiting);
    timer_start(router->config.loop, &r->deadline, ROUTE_WAIT_MS, on_waited, r);
    return true;
}

void router_agent_up(struct router *router)
{
    LIST_EACH(&router->waiting, node) {
        struct route *r = container_of(node, struct route, waiting);
        enum reason why = decide(r);

        if (why == REASON_NO_AGENT)
            continue;
        stop_waiting(r);
        if (why == REASON_NONE)
            continue;
        refuse_later(r, why, SPAN_NONE);
        route_free(r);
    }
}

/* --- the doors' side -------------------------------------------------------------------------------- */

enum reason router_login(struct router *router, struct span user_name, struct span secret,
                         const struct addr *source, struct principal *ret_principal)
{
    const struct credential_record *credential;
    const struct user_record *user;
    enum reason why;

    if (!router->view)
        return REASON_NOT_READY;
    why = view_authenticate(router->view, user_name, secret, source, wall_now(), &user, &credential);
    if (why != REASON_NONE)
        return why;

    memset(ret_principal, 0, sizeof(*ret_principal));
    span_copy(record_id(&user->record), ret_principal->user.text, sizeof(ret_principal->user.text));
    span_copy(record_id(&credential->record), ret_principal->credential.text,
              sizeof(ret_principal->credential.text));
    span_copy(span_str(user->name), ret_principal->user_name, sizeof(ret_principal->user_name));
    return REASON_NONE;
}

void router_tell_login_refused(struct router *router, const char *door, struct span user_name,
                               const struct addr *source, enum reason why)
{
    uint64_t now_s = mono_ms() / 1000;
    struct ulid id = random_ulid(wall_ms());
    struct principal who = { .user_name = "" };
    struct report report = { .id = &id, .door = door, .principal = &who, .source = source, .host = "",
                             .reason = why };

    metric_add_at(router->config.metrics, M_REFUSED, why, 0, 1);
    if (now_s != router->told_s)
        router->told = 0;
    router->told_s = now_s;
    if (router->told++ >= ROUTER_TOLD_PER_S)
        return;
    span_copy(span_first(user_name, sizeof(who.user_name) - 1), who.user_name, sizeof(who.user_name));
    report_decision(router->config.events, &report);
}

static enum reason may_open(const struct router *router)
{
    if (router->is_draining)
        return REASON_RELAY_DRAINING;
    if (!router->view)
        return REASON_NOT_READY;
    if (freshness_is_stale(router->config.freshness, mono_ms(), 0))
        return REASON_STALE_CONFIG;
    if (mux_stats(router->mux)->streams >= router->config.streams_max)
        return REASON_OVERLOAD;
    return REASON_NONE;
}

static enum reason try_route(struct route *r, const struct route_request *request)
{
    enum reason why = may_open(r->router);

    if (!target_parse(request->host, request->port, &r->target)) {
        span_copy(span_first(request->host, TARGET_NAME_MAX), r->target.name, sizeof(r->target.name));
        r->target.port = request->port;
        return REASON_BAD_REQUEST;
    }
    if (why == REASON_NONE)
        why = decide(r);
    if (why == REASON_NO_AGENT && start_waiting(r))
        return REASON_NONE;
    return why;
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
    r->source = request->source;
    span_copy(span_first(request->trace, sizeof(r->trace) - 1), r->trace, sizeof(r->trace));
    list_init(&r->waiting);
    list_append(&router->routes, &r->node);

    why = try_route(r, request);
    if (why != REASON_NONE) {
        tell_decision(r, why, SPAN_NONE);
        route_free(r);
        return why;
    }
    *ret_route = r;
    return REASON_NONE;
}

void route_pipe(struct route *r, struct conn *conn, struct span early)
{
    pipe_start(&r->pipe, conn, r->stream, REASON_CLIENT_GONE, r->router->config.idle_ms, early);
}

struct mux_stream *route_stream(struct route *r)
{
    return r->stream;
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

static void end_route(struct route *r, enum reason why, struct span text)
{
    if (r->cut == REASON_NONE)
        r->cut = why;
    if (pipe_is_on(&r->pipe))
        pipe_cut(&r->pipe, why, text);
    else
        mux_stream_reset(r->stream, why, text, true);
}

void route_abandon(struct route *r, enum reason why)
{
    r->handlers = NULL;
    if (!r->stream) {
        tell_decision(r, why, SPAN_NONE);
        route_free(r);
        return;
    }
    end_route(r, why, SPAN_NONE);
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

/* --- the mux's side ------------------------------------------------------------------------------------ */

static void on_stream_opened(void *user, struct mux_stream *stream, const struct mux_opened *opened)
{
    struct route *r = user;
    struct report report;

    (void)stream;
    if (!r)
        return;
    r->opened_ms = wall_now();
    metric_add(r->router->config.metrics, M_STREAMS, 1);
    metric_add(r->router->config.metrics, M_STREAMS_OPENED, 1);
    tell_decision(r, REASON_NONE, SPAN_NONE);
    report = report_of(r, REASON_NONE);
    report.opened = opened;
    report_opened(r->router->config.events, &report);
    if (handlers_of(r)->on_opened)
        handlers_of(r)->on_opened(r->user, r);
}

static void on_stream_refused(void *user, struct mux_stream *stream, enum reason why, struct span text)
{
    struct route *r = user;

    (void)stream;
    if (!r)
        return;
    refuse_later(r, why, text);
    r->handlers = NULL;             /* that was the last call; on_stream_ended() frees */
    r->cut = why;
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

    report.sent_bytes = mux_stream_sent(stream);
    report.received_bytes = mux_stream_consumed(stream);
    report_closed(r->router->config.events, &report);
    metric_add(r->router->config.metrics, M_STREAMS, -1);
    metric_add_at(r->router->config.metrics, M_STREAMS_ENDED, how, 0, 1);
    metric_add(r->router->config.metrics, M_USER_BYTES, (int64_t)report.sent_bytes);
    metric_add(r->router->config.metrics, M_TARGET_BYTES, (int64_t)report.received_bytes);
}

static void on_stream_ended(void *user, struct mux_stream *stream, enum reason how)
{
    struct route *r = user;

    if (!r)
        return;
    if (how != REASON_NONE && r->cut != REASON_NONE)
        how = r->cut;
    pipe_on_ended(&r->pipe, how);
    if (r->opened_ms) {
        tell_closed(r, stream, how);
        if (handlers_of(r)->on_ended)
            handlers_of(r)->on_ended(r->user, r, how);
    } else if (r->handlers) {
        refuse_later(r, how == REASON_NONE ? REASON_SESSION_LOST : how, SPAN_NONE);
    }
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

/* --- access that ends ------------------------------------------------------------------------------------ */

static void on_cut(void *user, struct live_entry *entry, enum reason why)
{
    struct router *router = user;
    struct route *r = container_of(entry, struct route, live);

    metric_add_at(router->config.metrics, M_CUT, why, 0, 1);
    LOG(WARNING, "stream.cut", S("stream", r->id.text), S("user", r->principal.user_name), R("reason", why));
    count_agent(r, -1);
    live_remove(&router->live, entry);
    end_route(r, why, SPAN_NONE);
}

static void on_sweep(void *arg)
{
    struct router *router = arg;

    if (router->view && live_sweep(&router->live, router->view, router->config.freshness, wall_now(), mono_ms()))
        timer_start(router->config.loop, &router->sweep, 0, on_sweep, router);
}

static void sweep_now(struct router *router)
{
    live_want_sweep(&router->live);
    timer_start(router->config.loop, &router->sweep, 0, on_sweep, router);
}

static void on_tick(void *arg)
{
    struct router *router = arg;
    int64_t left_ms = live_next_ms(&router->live) - wall_now();
    bool is_aging = freshness_age_ms(router->config.freshness, mono_ms()) > STALE_LOOK_MS;

    mux_tick(router->mux, loop_now_ms(router->config.loop));     /* for streams whose link is gone */
    if (left_ms <= 0 || is_aging)
        sweep_now(router);
    if (left_ms <= 0 || left_ms > TICK_MAX_MS)
        left_ms = TICK_MAX_MS;
    timer_start(router->config.loop, &router->tick, (uint64_t)left_ms, on_tick, router);
}

void router_set_view(struct router *router, struct view *v)
{
    if (router->view)
        view_unref(router->view);
    router->view = v;
    sweep_now(router);
    router_agent_up(router);        /* a grant or a group may have come that lets one in */
}

const struct view *router_view(const struct router *router)
{
    return router->view;
}

void router_drain(struct router *router)
{
    router->is_draining = true;
}

uint32_t router_streams(const struct router *router)
{
    return mux_stats(router->mux)->streams;
}

void router_cut_all(struct router *router, enum reason why)
{
    LIST_EACH(&router->routes, node) {
        struct route *r = container_of(node, struct route, node);

        if (r->stream)
            end_route(r, why, SPAN_NONE);
    }
}

/* --- making it ---------------------------------------------------------------------------------------------- */

static int make_mux(struct router *router)
{
    struct mux_handlers handlers = {
        .on_open = on_stream_open,
        .on_opened = on_stream_opened,
        .on_refused = on_stream_refused,
        .on_readable = on_stream_readable,
        .on_writable = on_stream_writable,
        .on_reset = on_stream_reset,
        .on_ended = on_stream_ended,
    };
    const struct mux_config config = {
        .is_accepting = true,
        .memory_limit = router->config.memory_limit,
        .streams_max = router->config.streams_max,
        .random_seed = random_u64(),
    };

    tunnel_fill_handlers(&handlers);
    router->mux = mux_new(&config, &handlers);
    return router->mux ? 0 : -ENOMEM;
}

int router_new(const struct router_config *config, struct router **ret_router)
{
    AUTO(freep) struct router *router = calloc(1, sizeof(*router));
    int e;

    if (!router)
        return -ENOMEM;

    router->config = *config;
    router->config.answer_ms = config->answer_ms ? config->answer_ms : 10000;
    list_init(&router->routes);
    list_init(&router->waiting);
    e = make_mux(router);
    if (e)
        return e;

    holders_init(&router->holders, 100000);
    live_init(&router->live, config->streams_max, on_cut, router);
    timer_start(config->loop, &router->tick, TICK_MAX_MS, on_tick, router);
    *ret_router = TAKE(router);
    return 0;
}

void router_free(struct router *router)
{
    mux_free(router->mux);
    LIST_EACH(&router->routes, node)
        route_free(container_of(node, struct route, node));
    timer_stop(&router->tick);
    timer_stop(&router->sweep);
    live_deinit(&router->live);
    holders_deinit(&router->holders);
    if (router->view)
        view_unref(router->view);
    free(router);
}

struct mux *router_mux(const struct router *router)
{
    return router->mux;
}

struct holders *router_holders(struct router *router)
{
    return &router->holders;
}
