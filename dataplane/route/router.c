#include "dataplane/route/route_internal.h"
#include "lib/crypto/digest.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include "lib/policy/chosen.h"
#include <stdio.h>
#include <errno.h>
#include <string.h>

#define TICK_MAX_MS 1000
#define AGENTS_MAX 100000
#define STALE_LOOK_MS 10000         /* an age from which the clock has to be watched */

/* --- logging in ------------------------------------------------------------------------------ */

static void put_principal(const struct user_record *user, struct principal *ret_principal)
{
    memset(ret_principal, 0, sizeof(*ret_principal));
    span_copy(record_id(&user->record), ret_principal->user.text, sizeof(ret_principal->user.text));
    span_copy(span_str(user->name), ret_principal->user_name, sizeof(ret_principal->user_name));
}

/* A chosen password that the control plane has said is right. */
static enum reason login_by_password(struct router *router, struct span user_name, struct span secret,
                                     const struct addr *source, struct principal *ret_principal)
{
    const struct policy *p = router->view->policy;
    const struct user_record *user;
    enum reason why;
    struct span which;
    struct ulid id;

    if (!router->config.passwords || !chosen_user(p, user_name, &user, &which) || !ulid_parse(record_id(&user->record), &id) ||
        !passwords_know(router->config.passwords, &id, which, secret, mono_ms()))
        return REASON_AUTH_FAILED;
    why = chosen_admit(p, user, source, wall_now());
    if (why != REASON_NONE)
        return why;
    put_principal(user, ret_principal);
    ret_principal->chosen = chosen_mark(which);
    return REASON_NONE;
}

enum reason router_login(struct router *router, struct span user_name, struct span secret,
                         const struct addr *source, struct principal *ret_principal)
{
    const struct credential_record *credential;
    const struct user_record *user;
    enum reason why;

    if (!router->view)
        return REASON_NOT_READY;
    why = view_authenticate(router->view, user_name, secret, source, wall_now(), &user, &credential);
    if (why == REASON_AUTH_FAILED)
        return login_by_password(router, user_name, secret, source, ret_principal);
    if (why != REASON_NONE)
        return why;

    put_principal(user, ret_principal);
    span_copy(record_id(&credential->record), ret_principal->credential.text,
              sizeof(ret_principal->credential.text));
    return REASON_NONE;
}

void router_tell_refused(struct router *router, const char *door, const struct addr *source, enum reason why)
{
    if (router->config.events)
        events_refused(router->config.events, door, why, NULL, source);
}

void router_tell_login_refused(struct router *router, const char *door, struct span user_name,
                               const struct addr *source, enum reason why)
{
    struct ulid id = random_ulid(wall_ms());
    struct principal who = { .user_name = "" };
    struct report report = { .id = &id, .door = door, .principal = &who, .source = source, .host = "",
                             .reason = why };

    metric_add_at(router->config.metrics, M_REFUSED, why, 0, 1);
    if (!tally_may_tell(router->config.tally, mono_ms() / 1000)) {
        router_tell_refused(router, door, source, why);
        return;
    }
    span_copy(span_first(user_name, sizeof(who.user_name) - 1), who.user_name, sizeof(who.user_name));
    report_decision(router->config.events, &report);
}

void router_tell_pac(struct router *router, const struct ulid *link, const struct ulid *user,
                     const struct addr *source)
{
    struct ulid id = random_ulid(wall_ms());
    char data[256], from[ADDR_TEXT_MAX];
    int n = snprintf(data, sizeof(data), "{\"link\":\"%s\",\"source\":\"%s\"}", link->text,
                     addr_format(source, from));

    LOG(INFO, "pac.served", S("link", link->text), S("user", user->text), S("source", from));
    metric_add(router->config.metrics, M_PAC_SERVED, 1);
    if (router->config.events)
        events_add(router->config.events, "pac.served", &id, span_of(data, (size_t)n));
}

/* --- access that ends ------------------------------------------------------------------------ */

static void on_cut(void *user, struct live_entry *entry, enum reason why)
{
    struct router *router = user;
    struct route *r = container_of(entry, struct route, live);

    metric_add_at(router->config.metrics, M_CUT, why, 0, 1);
    LOG(WARNING, "stream.cut", S("stream", r->id.text), S("user", r->principal.user_name), R("reason", why));
    route_leave_grant(r);
    route_end(r, why, SPAN_NONE);
}

static enum reason on_stays(void *user, struct live_entry *entry)
{
    (void)user;
    return route_look_at_quotas(container_of(entry, struct route, live));
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
    uint64_t over = router->config.quotas ? quotas_over_count(router->config.quotas) : 0;

    mux_tick(router->mux, loop_now_ms(router->config.loop));     /* for streams whose link is gone */
    if (left_ms <= 0 || is_aging || over != router->over_seen)
        sweep_now(router);
    router->over_seen = over;
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

void router_look_at_roster(struct router *router)
{
    holders_evict_replaced(&router->holders);
    holders_drop_told(&router->holders);
    router_agent_up(router);
}

const struct view *router_view(const struct router *router)
{
    return router->view;
}

void router_drain(struct router *router)
{
    router->is_draining = true;
}

bool router_is_draining(const struct router *router)
{
    return router->is_draining;
}

/* What the decision made last left behind is of no other refusal. */
const struct quota_refusal *router_refusal(const struct router *router, enum reason why)
{
    static const enum reason reasons[] = {
        REASON_QUOTA_USER, REASON_QUOTA_GROUP, REASON_QUOTA_AGENT, REASON_QUOTA_ALL, REASON_BREAKER_OPEN,
    };

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i] == why)
            return &router->refusal;
    }
    return NULL;
}

uint64_t router_retry_ms(const struct router *router, enum reason why)
{
    const struct quota_refusal *refusal = router_refusal(router, why);

    return refusal ? refusal->wait_ms : 0;
}

uint32_t router_streams(const struct router *router)
{
    const struct mux_stats *stats = mux_stats(router->mux);

    return stats->streams - stats->probing;
}

void router_cut_all(struct router *router, enum reason why)
{
    router->is_over = true;
    LIST_EACH(&router->routes, node) {
        struct route *r = container_of(node, struct route, node);

        if (r->stream)
            route_end(r, why, SPAN_NONE);
    }
}

/* --- making it ------------------------------------------------------------------------------- */

static void prove(const unsigned char secret[MUX_SECRET_LEN], struct span message, unsigned char ret_mac[32])
{
    hmac_sha256(span_of(secret, MUX_SECRET_LEN), message, ret_mac);
}

static int make_mux(struct router *router)
{
    struct mux_handlers handlers = { 0 };
    const struct mux_config config = {
        .is_accepting = true,
        .memory_limit = router->config.memory_limit,
        .streams_max = router->config.streams_max,
        .random_seed = random_u64(),
        .mac = prove,
        .probe_every_ms = router->config.proof.probe_every_ms,
        .probe_rest_ms = router->config.proof.probe_rest_ms,
        .proof_use_ms = router->config.proof.use_ms,
    };

    route_fill_handlers(&handlers);
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
    list_init(&router->asks.list);
    e = make_mux(router);
    if (e)
        return e;

    holders_init(&router->holders, config->roster, config->worker, AGENTS_MAX);
    live_init(&router->live, config->tally, config->streams_max, on_cut, router);
    router->live.on_stays = on_stays;
    meters_init(&router->meters, config->loop, config->quotas);
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
    meters_deinit(&router->meters);
    asks_deinit(&router->asks);
    holders_deinit(&router->holders);
    if (router->view)
        view_unref(router->view);
    free(router);
}

struct mux *router_mux(const struct router *router)
{
    return router->mux;
}

struct loop *router_loop(const struct router *router)
{
    return router->config.loop;
}

struct holders *router_holders(struct router *router)
{
    return &router->holders;
}
