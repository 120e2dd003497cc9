#include "dataplane/route/route_internal.h"
#include "lib/base/hash.h"
#include "lib/crypto/random.h"
#include "lib/policy/chosen.h"
#include <stdio.h>
#include <string.h>

/* --- deciding ------------------------------------------------------------------------------- */

struct ask {                        /* what the registry's callbacks need */
    struct router *router;
    uint64_t now_ms;
    bool is_udp;
};

static void look_at_breaker(const struct ask *ask, const struct ulid *agentgroup, const struct target *target,
                            struct agent_live *live)
{
    struct breakers *breakers = ask->router->config.breakers;
    uint64_t left_ms = 0;

    if (ask->is_udp || !breakers)
        return;
    live->is_breaker_open = breakers_is_open(breakers, agentgroup, target, mono_ms(), &left_ms);
    live->breaker_ms = (uint32_t)left_ms;
}

static bool registry_agent(void *context, const struct ulid *agent, const struct ulid *agentgroup,
                           const struct target *target, struct agent_live *ret_live)
{
    const struct ask *ask = context;

    look_at_breaker(ask, agentgroup, target, ret_live);
    return holders_live(&ask->router->holders, agent, ask->now_ms, ret_live);
}

static bool registry_quota(void *context, const struct quota_record *quota, uint64_t *ret_wait_ms)
{
    const struct ask *ask = context;
    const struct quota_time now = meters_now(&ask->router->meters);

    return quotas_have_room(ask->router->config.quotas, quota, &now, ret_wait_ms);
}

static uint64_t registry_grant_streams(void *context, const struct ulid *grant)
{
    const struct ask *ask = context;

    return tally_grant_streams(ask->router->config.tally, grant);
}

/* The agent gets permitted ranges as they are, and resolve-to as texts in `mem`. */
static void open_fill(struct mux_open *open, const struct route *r, const struct policy_decision *d,
                      char mem[MUX_RESOLVE_MAX][ADDR_UNIX_MAX + 8])
{
    const struct router_config *config = &r->router->config;

    *open = (struct mux_open){
        .path = 1,
        .kind = r->is_udp ? MUX_KIND_UDP : MUX_KIND_TCP,
        .host = span_str(r->live.standing.target.name),
        .port = r->live.standing.target.port,
        .allow_special = d->allow_special,
        .answer_ms = config->answer_ms,
        .grace_ms = config->grace_ms,
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

static enum reason open_stream(struct route *r, const struct policy_decision *d, struct seat *seat,
                               struct mux_link *link)
{
    struct router *router = r->router;
    char mem[MUX_RESOLVE_MAX][ADDR_UNIX_MAX + 8];
    enum reason why = route_take_places(r);
    struct mux_open open;
    int e;

    if (why != REASON_NONE)
        return why;
    route_count(r, seat);

    open_fill(&open, r, d, mem);
    memcpy(r->agent_boot, seat->boot_id, sizeof(r->agent_boot));
    e = mux_stream_open(link, &open, owner_of(r), r, loop_now_ms(router->config.loop), &r->stream);
    if (!e)
        return REASON_NONE;
    tally_put_stream(router->config.tally);
    return e < 0 ? REASON_OVERLOAD : (enum reason)e;
}

/* The log-in may be older than the request: of an association, or of one that waited. */
static enum reason stand_on(struct route *r, const struct policy_decision *d, const struct policy_question *q)
{
    const struct policy *p = r->router->view->policy;
    const struct credential_record *credential = policy_credential(p, &r->principal.credential);
    const bool is_chosen = !r->principal.credential.text[0];    /* a password */
    int64_t again_ms;

    if (is_chosen ? !chosen_holds(p, &r->principal.user, r->principal.chosen) : !credential)
        return REASON_CREDENTIAL_REVOKED;
    policy_stand(d, q, credential, r->id.text, &r->live.standing);
    r->live.max_stale_ms = (uint64_t)d->max_staleness_s * 1000;
    r->live.grant_limit = (uint64_t)d->grant->stream_limit;
    span_copy(span_str(d->agent->name), r->agent_name, sizeof(r->agent_name));
    return policy_still_allowed(p, &r->live.standing, q->now_ms, &again_ms);
}

/* False: it stays here. */
static bool go_there(struct route *r, int worker)
{
    if (worker < 0 || r->moves >= ROUTE_MOVES_MAX || !r->handlers || !r->handlers->on_move)
        return false;
    route_move(r, (unsigned)worker);
    return true;
}

/* For whoever tells of it in this turn. */
static void note_refusal(struct router *router, const struct policy_decision *d)
{
    router->refusal = (struct quota_refusal){ .wait_ms = d->wait_ms };
    if (d->quota)
        span_copy(record_id(&d->quota->record), router->refusal.quota.text, sizeof(router->refusal.quota.text));
}

/* REASON_NONE: the stream is being opened, or the route is about to move.  NO_AGENT: worth
 * waiting for. */
static enum reason decide(struct route *r)
{
    struct router *router = r->router;
    uint64_t now_ms = loop_now_ms(router->config.loop);
    struct ask ask = { .router = router, .now_ms = now_ms, .is_udp = r->is_udp };
    const struct policy_registry registry = {
        .context = &ask, .agent = registry_agent, .grant_streams = registry_grant_streams,
        .quota_has_room = router->config.quotas ? registry_quota : NULL,
    };
    const struct policy_question question = {
        .user = r->principal.user,
        .source = r->source,
        .target = r->live.standing.target,
        .now_ms = wall_now(),
        .random = r->random,
        .registry = &registry,
    };
    struct policy_decision decision;
    struct held_agent *held;
    struct mux_link *link;
    struct ulid agent;
    int worker;
    enum reason why = policy_decide(router->view->policy, &question, &decision);

    note_refusal(router, &decision);
    if (why != REASON_NONE)
        return why;
    if (freshness_is_stale(router->config.freshness, mono_ms(), (uint64_t)decision.max_staleness_s * 1000))
        return REASON_STALE_CONFIG;

    if (!ulid_parse(record_id(&decision.agent->record), &agent))
        return REASON_INTERNAL;
    held = holders_find(&router->holders, &agent);
    link = holders_way(&router->holders, held, roster_find(&router->holders.reader, &agent), now_ms, &worker);
    if (link)
        worker = holders_lighter(&router->holders, held, now_ms);
    if (go_there(r, worker))
        return REASON_NONE;
    if (!link)
        return REASON_NO_AGENT;
    why = stand_on(r, &decision, &question);
    return why == REASON_NONE ? open_stream(r, &decision, held->seat, link) : why;
}

/* --- waiting for an agent ------------------------------------------------------------------- */

void route_stop_waiting(struct route *r)
{
    timer_stop(&r->deadline);
    if (!r->is_waiting)
        return;
    r->is_waiting = false;
    list_remove(&r->waiting);
    r->router->waiting_count--;
    metric_add(r->router->config.metrics, M_WAITING, -1);
}

/* An agent that is not there, or about to go, may come back in a moment. */
static bool is_worth_waiting(enum reason why)
{
    return why == REASON_NO_AGENT || why == REASON_AGENT_DRAINING;
}

/* A last look, for the reason that holds now. */
static void on_waited(void *arg)
{
    struct route *r = arg;
    enum reason why = decide(r);

    route_stop_waiting(r);
    if (why == REASON_NONE) {
        route_await_answer(r);
        return;
    }
    route_tell_door(r, why, SPAN_NONE);
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

        if (is_worth_waiting(why))
            continue;
        route_stop_waiting(r);
        if (why == REASON_NONE) {
            route_await_answer(r);
            continue;
        }
        route_tell_door(r, why, SPAN_NONE);
        route_free(r);
    }
}

static enum reason may_open(const struct router *router)
{
    if (router->is_draining)
        return REASON_RELAY_DRAINING;
    if (!router->view)
        return REASON_NOT_READY;
    if (freshness_is_stale(router->config.freshness, mono_ms(), 0))
        return REASON_STALE_CONFIG;
    if (tally_streams(router->config.tally) >= router->config.streams_max)
        return REASON_OVERLOAD;
    return REASON_NONE;
}

enum reason route_choose(struct route *r)
{
    enum reason why = may_open(r->router);

    r->router->refusal = (struct quota_refusal){ 0 };
    if (why == REASON_NONE)
        why = decide(r);
    if (why == REASON_NONE)
        route_await_answer(r);
    if (is_worth_waiting(why) && start_waiting(r))
        return REASON_NONE;
    return why;
}
