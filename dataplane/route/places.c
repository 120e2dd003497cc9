#include "dataplane/route/route_internal.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include <errno.h>
/*
 * What a stream takes of limits when it opens, and gives back at its end: of the relay, of its
 * grant, of its quotas; and the breaker of its target, which hears what became of it.
 */

/* --- quotas -------------------------------------------------------------------------------------- */

/* Bytes may move again. */
static void on_resume(void *user)
{
    struct route *r = user;

    if (pipe_is_on(&r->pipe))
        pipe_resume(&r->pipe);
    else if (r->handlers && r->handlers->on_resumed)
        r->handlers->on_resumed(r->user, r);
}

static size_t find_quotas(const struct route *r, const struct quota_record **ret_quotas)
{
    const struct policy *p = r->router->view ? r->router->view->policy : NULL;
    const struct user_record *user = p ? policy_user(p, &r->principal.user) : NULL;

    if (!user || !r->router->config.quotas)
        return 0;
    return policy_quotas(p, user, &r->live.standing.agent, ret_quotas, POLICY_QUOTAS_MAX);
}

/* Takes over the places. */
static int set_meter(struct route *r, struct quota_pool *const *pools, size_t n)
{
    int e = n ? meter_new(&r->router->meters, pools, n, on_resume, r, &r->meter) : 0;

    r->pipe.gate = r->meter ? meter_gate(r->meter) : NULL;
    return e;
}

static enum reason take_quotas(struct route *r)
{
    struct router *router = r->router;
    const struct quota_record *quotas[POLICY_QUOTAS_MAX];
    struct quota_pool *pools[POLICY_QUOTAS_MAX];
    const struct quota_time now = meters_now(&router->meters);
    size_t n = find_quotas(r, quotas);
    enum reason why;

    if (!n)
        return REASON_NONE;
    if (n > POLICY_QUOTAS_MAX)
        return REASON_OVERLOAD;
    why = quotas_take(router->config.quotas, quotas, n, &now, pools, &n, &router->refusal);
    if (why != REASON_NONE)
        return why;
    return set_meter(r, pools, n) ? REASON_OVERLOAD : REASON_NONE;
}

void route_leave_quotas(struct route *r)
{
    r->pipe.gate = NULL;
    meter_free(TAKE(r->meter));
}

/* Those that it falls under now are not those that it stands on: it takes places in these. */
static enum reason change_quotas(struct route *r, const struct quota_record *const *quotas, size_t n)
{
    struct quota_pool *pools[POLICY_QUOTAS_MAX];
    enum reason why = quotas_join(r->router->config.quotas, quotas, n, pools, &n);
    struct meter *before;
    int e;

    if (why != REASON_NONE)
        return why;
    before = TAKE(r->meter);
    e = set_meter(r, pools, n);
    meter_free(before);
    if (e)
        return REASON_OVERLOAD;
    on_resume(r);                       /* it may have waited at one that it left */
    return REASON_NONE;
}

enum reason route_look_at_quotas(struct route *r)
{
    const struct quota_record *quotas[POLICY_QUOTAS_MAX];
    size_t n = find_quotas(r, quotas);
    enum reason why = REASON_NONE;

    if (!n && !r->meter)
        return REASON_NONE;
    if (n > POLICY_QUOTAS_MAX)
        return REASON_OVERLOAD;
    if (!meter_is_on(r->meter, r->router->config.quotas, quotas, n))
        why = change_quotas(r, quotas, n);
    if (why != REASON_NONE || !r->meter)
        return why;
    why = meter_over(r->meter);
    if (why == REASON_NONE)
        meter_kick(r->meter);
    return why;
}

/* --- the target's breaker ------------------------------------------------------------------------ */

/* That a stream of datagrams is open says nothing of its target. */
static enum reason enter_breaker(struct route *r)
{
    struct router *router = r->router;
    const struct policy_standing *s = &r->live.standing;
    uint64_t left_ms = 0;
    enum breaker_pass pass;

    if (r->is_udp || !router->config.breakers)
        return REASON_NONE;
    pass = breakers_enter(router->config.breakers, &s->agentgroup, &s->target, mono_ms(), &left_ms);
    if (pass == BREAKER_REFUSES) {
        router->refusal = (struct quota_refusal){ .wait_ms = left_ms };
        return REASON_BREAKER_OPEN;
    }
    r->is_watched = true;
    r->is_try = pass == BREAKER_TRIES;
    return REASON_NONE;
}

void route_tell_breaker(struct route *r, enum breaker_outcome outcome, enum reason why)
{
    const struct policy_standing *s = &r->live.standing;
    struct breaker_end end = { .tried = r->is_try, .outcome = outcome, .why = why };

    if (!r->is_watched)
        return;
    r->is_watched = r->is_try = false;
    end.now_ms = mono_ms();
    end.wall_ms = wall_now();
    if (outcome == BREAKER_BAD) {
        end.random = random_u64();
        end.id = random_ulid(wall_ms());
    }
    if (breakers_leave(r->router->config.breakers, &s->agentgroup, &s->target, &end))
        LOG(WARNING, "breaker.open", S("breaker", end.id.text), S("agentgroup", s->agentgroup.text),
            S("host", s->target.name), U("port", s->target.port), R("reason", why));
}

/* --- all ------------------------------------------------------------------------------------------- */

enum reason route_take_places(struct route *r)
{
    struct router *router = r->router;
    enum reason why;
    int e;

    if (!tally_take_stream(router->config.tally))
        return REASON_OVERLOAD;
    e = live_add(&router->live, &r->live, router->view, wall_now());
    why = e == -EDQUOT ? REASON_QUOTA_GRANT : e ? REASON_OVERLOAD : take_quotas(r);
    if (why == REASON_NONE)
        why = enter_breaker(r);
    if (why == REASON_NONE)
        return REASON_NONE;
    tally_put_stream(router->config.tally);
    route_leave_grant(r);
    return why;
}
