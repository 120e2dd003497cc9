#include "controlplane/serve.h"
#include "controlplane/audit/keeper.h"
#include "controlplane/controlplane_metrics.h"
#include "controlplane/lists.h"
#include "controlplane/providers.h"
#include "controlplane/publish/publish.h"
#include "controlplane/routes/api.h"
#include "controlplane/routes/hub.h"
#include "controlplane/routes/internal.h"
#include "controlplane/routes/refusals.h"
#include "controlplane/routes/tell.h"
#include "lib/log/log.h"
#include "lib/net/loop.h"
#include "lib/obs/admin.h"
#include "lib/obs/metrics.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define HOUSEKEEPING_MS 60000
#define ABSENCES_MS 5000        /* between looks for relays that no longer report */
#define CHECKPOINT_IDLE_MS 3600000      /* while nothing is written, one says so */
#define LOOK_AGAIN_MS 250       /* on a database of several control planes */
#define ANSWERS_KEPT_MS (24LL * 3600 * 1000)
#define PENALTIES_MAX 100000
#define STATISTICS_KEPT_S (7LL * 24 * 3600 + 3600)

enum { API, INTERNAL, LISTENERS };
static const char *const listener_names[LISTENERS] = { "api", "internal" };

static const char *listener_name(unsigned i)
{
    return listener_names[i];
}

static const struct metric_label metric_by_listener = { "listener", LISTENERS, listener_name };
enum { CONTROLPLANE_METRICS(METRIC_ENUM) CONTROLPLANE_METRIC_COUNT };
static const struct metric_row metric_rows[] = { CONTROLPLANE_METRICS(METRIC_ROW) };

/* Work on the loop's pool, again and again. */
struct chore {
    struct loop *loop;
    struct loop_timer timer;
    uint64_t every_ms;
    void (*work)(void *arg);            /* given the chore */
    void *ctx;
};

struct daemon {
    struct controlplane_config *config;
    const struct serve_arguments *arguments;
    struct place *place;
    struct loop *loop;
    struct publisher *publisher;
    struct api *api;
    struct internal internal;
    struct route internal_rows[INTERNAL_ROUTES], join_row;
    struct buf chain_pem, key_pem;
    _Atomic(struct server *) servers[LISTENERS];
    struct admin *admin;
    struct metrics *metrics;
    struct refusals *refusals;
    struct audit_keeper *keeper;
    struct oidc *oidc;
    struct chore housekeeping, telling, looking, missing, keeping, settling;
    char api_addr[300], public_url[300], *relay_addrs, *api_addrs, *root_pem;
    bool is_draining;
};

/* ---- what rings what ---- */

static void ring(struct daemon *d, int listener, unsigned topic)
{
    struct server *server = atomic_load(&d->servers[listener]);

    if (server)
        server_ring(server, topic);
}

static void on_published(void *ctx)
{
    ring(ctx, INTERNAL, INTERNAL_TOPIC_STATE);
}

static void on_applied(void *ctx)
{
    ring(ctx, API, API_TOPIC_APPLIED);
}

static void on_order(void *ctx)
{
    ring(ctx, INTERNAL, INTERNAL_TOPIC_COMMANDS);
}

static void on_signed_in(void *ctx)
{
    ring(ctx, API, API_TOPIC_SIGN_IN);
}

/* Publication takes some 20 ms: what was written before is in the answer. */
#define POLICY_WAIT_MS 1000

static struct policy *on_policy(void *ctx, const struct store_position *at)
{
    return publisher_policy_at(ctx, at, POLICY_WAIT_MS);
}

/* ---- the admin listener ---- */

static bool on_ready(void *arg, struct buf *ret_why)
{
    struct daemon *d = arg;
    bool is_well = publisher_is_well(d->publisher, ret_why);
    struct store_stats store;

    store_get_stats(d->place->store, &store);
    if (store.is_away)
        buf_put_str(ret_why, "the database cannot be reached\n");
    if (d->is_draining)
        buf_put_str(ret_why, "going down\n");
    return is_well && !store.is_away && !d->is_draining;
}

static void fill_audit(const struct daemon *d, struct metric_slot *slot)
{
    struct audit_keeper_stats s;

    audit_keeper_get_stats(d->keeper, &s);
    metric_set(slot, M_CHECKPOINT, s.newest);
    metric_set(slot, M_CHECKPOINTS, (int64_t)s.signed_count);
    metric_set(slot, M_CHECKPOINT_FAILURES, (int64_t)s.failures);
    metric_set(slot, M_CHECKPOINTS_WAITING, (int64_t)s.waiting);
    metric_set(slot, M_AUDIT_REMOVED, (int64_t)s.removed);
}

static void fill_oidc(struct daemon *d, struct metric_slot *slot)
{
    struct oidc_stats stats;

    oidc_get_stats(d->oidc, &stats);
    metric_set(slot, M_OIDC_ASKS, (int64_t)stats.asks);
    metric_set(slot, M_OIDC_REFUSED, (int64_t)stats.refused);
    metric_set(slot, M_OIDC_UNAVAILABLE, (int64_t)stats.unavailable);
    metric_set(slot, M_OIDC_FETCHES, (int64_t)stats.fetches);
    metric_set(slot, M_OIDC_RUNNING, (int64_t)stats.running);
}

static void fill_metrics(struct daemon *d)
{
    struct store_position at = publisher_position(d->publisher);
    struct metric_slot *slot = metrics_slot(d->metrics, 0);
    struct refusals_stats refusals;
    struct hub_stats listeners;
    struct store_stats store;

    store_get_stats(d->place->store, &store);
    metric_set(slot, M_LEADS, publisher_leads(d->publisher));
    metric_set(slot, M_STORE_AWAY, store.is_away);
    metric_set(slot, M_STORE_LOST, (int64_t)store.lost);
    metric_set(slot, M_STORE_RECONNECTED, (int64_t)store.reconnected);
    metric_set(slot, M_EPOCH, (int64_t)at.epoch);
    metric_set(slot, M_REVISION, (int64_t)at.revision);
    fill_audit(d, slot);
    refusals_get_stats(d->refusals, &refusals);
    metric_set(slot, M_REFUSALS_AUDITED, (int64_t)refusals.written);
    metric_set(slot, M_REFUSALS_OTHERS, (int64_t)refusals.folded);
    metric_set(slot, M_REFUSALS_WAITING, (int64_t)refusals.waiting);
    api_get_listeners(d->api, &listeners);
    metric_set(slot, M_EVENTS_LISTENERS, (int64_t)listeners.listeners);
    metric_set(slot, M_EVENTS_SENT, (int64_t)listeners.sent);
    metric_set(slot, M_EVENTS_SLOW, (int64_t)listeners.slow);
    fill_oidc(d, slot);
    for (unsigned i = 0; i < LISTENERS; i++) {
        struct server *server = atomic_load(&d->servers[i]);
        struct server_stats s = { 0 };

        if (server)
            server_get_stats(server, &s);
        metric_set_at(slot, M_REQUESTS, i, 0, (int64_t)s.requests);
        metric_set_at(slot, M_REFUSED, i, 0, (int64_t)s.refused);
        metric_set_at(slot, M_ERRORS, i, 0, (int64_t)s.errors);
        metric_set_at(slot, M_OVERLOADS, i, 0, (int64_t)s.overloads);
        metric_set_at(slot, M_LATE, i, 0, (int64_t)s.late);
        metric_set_at(slot, M_CONNECTIONS, i, 0, (int64_t)s.connections);
        metric_set_at(slot, M_RUNNING, i, 0, (int64_t)s.running);
        metric_set_at(slot, M_WAITING, i, 0, (int64_t)s.waiting);
        metric_set_at(slot, M_PARKED, i, 0, (int64_t)s.parked);
        for (unsigned reason = 0; reason < REASON_COUNT; reason++)
            metric_set_at(slot, M_PROBLEMS, i, reason, (int64_t)s.by_reason[reason]);
    }
}

static void on_metrics(void *arg, struct buf *out)
{
    struct daemon *d = arg;

    fill_metrics(d);
    metrics_print(d->metrics, out);
    metrics_print_process("adit-controlplane", out);
}

static int start_admin(struct daemon *d, struct buf *reterr)
{
    struct admin_config config = { .is_ready = on_ready, .write_metrics = on_metrics, .arg = d };

    if (!d->config->admin_listen[0])
        return 0;
    if (!endpoint_parse(span_str(d->config->admin_listen), &config.at)) {
        buf_printf(reterr, "admin-listen: %s is not an address and port", d->config->admin_listen);
        return -EINVAL;
    }
    return admin_open(d->loop, &config, &d->admin, reterr);
}

/* ---- chores: on the loop's pool ---- */

static int trim(struct store *store, uint64_t events_kept)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int64_t now_ms = (int64_t)store_now_ms(store);
    int r;

    r = store_begin(store, STORE_WRITE, &tx);
    if (!r)
        r = store_answers_trim(tx, now_ms - ANSWERS_KEPT_MS);
    if (!r)
        r = store_penalties_trim(tx, now_ms - ANSWERS_KEPT_MS, PENALTIES_MAX);
    if (!r)
        r = store_events_trim(tx, events_kept);
    if (!r)
        r = store_statistics_trim(tx, now_ms / 1000 - STATISTICS_KEPT_S);
    return r ? r : store_commit(&tx, NULL);
}

static void keep_house(void *arg)
{
    const struct daemon *d = ((const struct chore *)arg)->ctx;
    int r = trim(d->place->store, (uint64_t)d->config->events_kept);

    if (!r)
        r = api_keep_uses(d->api);
    if (r)
        LOG(WARNING, "housekeeping.failed", N("result", r));
}

static void tell_refusals(struct daemon *d, bool is_last)
{
    int r = refusals_flush(d->refusals, is_last);

    if (r)
        LOG(WARNING, "audit.refusals-failed", N("result", r));
}

static void tell(void *arg)
{
    tell_refusals(((const struct chore *)arg)->ctx, false);
}

static void tell_of_checkpoint(int r)
{
    if (r == AUDIT_KEEPER_E_WRITERS)
        LOG(ERROR, "audit.too-many-writers", S("detail", "no checkpoint names so many control planes: let each keep its data_dir, by which it is known"));
    else if (r)
        LOG(WARNING, "audit.checkpoint-failed", N("result", r));
}

static void keep_audit(void *arg)
{
    const struct daemon *d = ((const struct chore *)arg)->ctx;

    tell_of_checkpoint(audit_keeper_beat(d->keeper, publisher_leads(d->publisher)));
}

/* A relay may have told another control plane what it runs: who waits for that looks again, and so
 * does a relay for orders that were given there. */
static void look_again(void *arg)
{
    on_applied(((const struct chore *)arg)->ctx);
    on_order(((const struct chore *)arg)->ctx);
}

static void settle(void *arg)
{
    struct daemon *d = ((const struct chore *)arg)->ctx;
    bool is_news = false;

    if (api_settle(d->api, &is_news))
        LOG(WARNING, "diagnose.not-settled");
    if (is_news)
        on_applied(d);
}

static void look_for_absences(void *arg)
{
    const struct daemon *d = ((const struct chore *)arg)->ctx;
    int r = tell_absences(d->place->store);

    if (r)
        LOG(WARNING, "events.absences-failed", N("result", r));
}

static void chore_due(void *arg);

static void chore_done(void *arg)
{
    struct chore *chore = arg;

    timer_start(chore->loop, &chore->timer, chore->every_ms, chore_due, chore);
}

static void chore_due(void *arg)
{
    struct chore *chore = arg;

    if (loop_work(chore->loop, chore->work, chore_done, chore))
        chore_done(chore);
}

static void start_chores(struct daemon *d)
{
    d->housekeeping = (struct chore){ .loop = d->loop, .every_ms = HOUSEKEEPING_MS, .work = keep_house, .ctx = d };
    d->telling = (struct chore){ .loop = d->loop, .every_ms = (uint64_t)d->config->audit_refusals_ms,
                                 .work = tell, .ctx = d };
    d->looking = (struct chore){ .loop = d->loop, .every_ms = LOOK_AGAIN_MS, .work = look_again, .ctx = d };
    d->missing = (struct chore){ .loop = d->loop, .every_ms = ABSENCES_MS, .work = look_for_absences, .ctx = d };
    d->keeping = (struct chore){ .loop = d->loop, .every_ms = (uint64_t)d->config->audit_checkpoint_ms,
                                 .work = keep_audit, .ctx = d };
    d->settling = (struct chore){ .loop = d->loop, .every_ms = 1000, .work = settle, .ctx = d };
    chore_done(&d->settling);
    chore_done(&d->housekeeping);
    chore_done(&d->missing);
    chore_done(&d->keeping);
    chore_done(&d->telling);
    if (store_is_shared(d->place->store))
        chore_done(&d->looking);
}

/* ---- signals ---- */

static void on_stop(void *arg, int signo)
{
    struct daemon *d = arg;

    LOG(INFO, "controlplane.stopping", N("signal", signo));
    d->is_draining = true;
    signal(SIGTERM, SIG_DFL);           /* a second one ends at once */
    signal(SIGINT, SIG_DFL);
    loop_stop(d->loop);
}

static void on_hangup(void *arg, int signo)
{
    struct daemon *d = arg;
    AUTO(buf_deinit) struct buf report, err;
    enum log_level level;

    (void)signo;
    buf_init_heap(&report, 8192);
    buf_init_heap(&err, 4096);
    if (option_reload(&controlplane_options, d->arguments->argc, d->arguments->argv, d->config, &report, &err)) {
        LOG(ERROR, "config.not-reloaded", SP("detail", buf_span(&err)));
        return;
    }
    if (log_level_parse(span_str(d->config->log_level), &level))
        log_set_level(level);
    LOG(INFO, "config.reloaded", SP("detail", buf_span(&report)));
}

static int catch_signals(struct daemon *d)
{
    int r;

    r = loop_on_signal(d->loop, SIGTERM, on_stop, d);
    if (!r)
        r = loop_on_signal(d->loop, SIGINT, on_stop, d);
    return r ? r : loop_on_signal(d->loop, SIGHUP, on_hangup, d);
}

/* ---- start ---- */

static int start_publisher(struct daemon *d, struct buf *reterr)
{
    struct publisher_options options = { .store = d->place->store, .keys = d->place->keys,
                                         .ring = on_published, .ring_ctx = d };
    int r;

    r = publisher_start(&options, &d->publisher, reterr);
    if (!r)
        store_on_commit(d->place->store, publisher_wake, d->publisher);
    return r;
}

static int start_keeper(struct daemon *d, struct buf *reterr)
{
    const struct audit_keeper_options options = {
        .store = d->place->store, .key = keyring_audit_key(d->place->keys), .cluster = d->config->cluster,
        .writer = d->place->id.text, .every_ms = (uint64_t)d->config->audit_checkpoint_ms,
        .idle_ms = CHECKPOINT_IDLE_MS, .keep_ms = (uint64_t)d->config->audit_keep_ms,
        .outside = { d->config->audit_file, d->config->audit_syslog },
    };

    return audit_keeper_new(&options, &d->keeper, reterr);
}

static int start_api(struct daemon *d)
{
    struct api_options options = { .store = d->place->store, .audit_key = keyring_audit_key(d->place->keys),
                                   .audit_file = d->config->audit_file, .pac_url = d->config->pac_url, .cluster = d->config->cluster,
                                   .kek = d->place->kek, .policy = on_policy, .policy_now = publisher_policy_now, .policy_ctx = d->publisher,
                                   .listeners_max = (unsigned)d->config->events_listeners_max,
                                   .listeners_per_caller = (unsigned)d->config->events_per_caller_max,
                                   .on_order = on_order, .on_order_ctx = d,
                                   .diagnostics_per_minute = (unsigned)d->config->diagnostics_per_minute,
                                   .diagnostics_kept = (unsigned)d->config->diagnostics_kept,
                                   .extra = &d->join_row, .extra_count = 1,
                                   .totp_roles = lists_roles(d->config->totp_roles),
                                   .sessions_max = (unsigned)d->config->sessions_max };

    options.keys = d->place->keys;
    (void)span_copy(span_str(keyring_pin(d->place->keys)), options.ca_pin, sizeof(options.ca_pin));
    d->relay_addrs = span_dup(span_str(d->config->relay_addrs));
    d->api_addrs = span_dup(span_str(d->config->api_addrs));
    lists_split(d->relay_addrs, options.agent_join_addrs);
    lists_split(d->api_addrs, options.relay_join_addrs);
    if (!options.relay_join_addrs[0]) {
        snprintf(d->api_addr, sizeof(d->api_addr), "https://%.250s", d->config->api_listen);
        options.relay_join_addrs[0] = d->api_addr;
    }
    options.public_url = providers_public_url(d->config, d->public_url, sizeof(d->public_url));
    options.oidc = d->oidc;
    d->internal = (struct internal){ .enrol = { d->place->store, d->place->keys, &d->place->kek,
                                                d->config->agent_certificate_ms / 1000 },
                                     .publisher = d->publisher, .refusals = d->refusals,
                                     .on_applied = on_applied, .ctx = d, .totp_roles = options.totp_roles,
                                     .verified = VERIFIED_INIT };
    d->join_row = internal_join_route(&d->internal);
    return api_new(&options, &d->api);
}

static int start_listener(struct daemon *d, int which, const struct server_options *base, struct buf *reterr)
{
    struct server_options options = *base;
    struct server *server = NULL;
    int r;

    options.name = listener_names[which];
    options.certificate_pem = buf_text(&d->chain_pem);
    options.key_pem = buf_text(&d->key_pem);
    options.threads = (unsigned)d->config->threads;
    options.slow_threads = (unsigned)d->config->slow_threads;
    options.queue_max = (unsigned)d->config->queue_max;
    options.connections_max = (unsigned)d->config->connections_max;
    options.head_ms = (unsigned)d->config->head_ms;
    options.body_ms = (unsigned)d->config->body_ms;
    options.answer_ms = (unsigned)d->config->answer_ms;
    options.streams_max = (unsigned)d->config->events_listeners_max;
    options.per_address_max = (unsigned)d->config->connections_per_address_max;
    r = server_start(&options, &server, reterr);
    if (!r)
        atomic_store(&d->servers[which], server);
    return r;
}

static int start_listeners(struct daemon *d, struct buf *reterr)
{
    struct server_options api = { .listen = d->config->api_listen,
                                  .rate_per_s = (unsigned)d->config->rate_per_s,
                                  .rate_burst = (unsigned)d->config->rate_burst,
                                  .hooks = { d->api, api_authenticate, api_replay, refusals_on_answer,
                                             d->refusals } };
    struct server_options internal = { .listen = d->config->internal_listen,
                                       .hooks = { &d->internal, internal_authenticate, NULL, refusals_on_answer,
                                                  d->refusals } };
    int r;

    d->root_pem = span_dup(keyring_root_pem(d->place->keys));
    r = keyring_issue_own(d->place->keys, &d->place->id, span_str(d->config->hosts), (int64_t)time(NULL),
                          &d->chain_pem, &d->key_pem);
    if (r || !d->root_pem)
        return r ? r : -ENOMEM;
    api.routes = api_routes(d->api, &api.route_count);
    internal.routes = internal_routes(&d->internal, d->internal_rows, &internal.route_count);
    internal.client_ca_pem = d->root_pem;
    r = start_listener(d, API, &api, reterr);
    return r ? r : start_listener(d, INTERNAL, &internal, reterr);
}

static int start_all(struct daemon *d, struct buf *reterr)
{
    const struct refusals_options refusals = { d->place->store, (unsigned)d->config->audit_refusals_max,
                                               (unsigned)d->config->audit_refusals_per_hour };
    int r;

    r = loop_new(&d->loop);
    if (!r)
        r = refusals_new(&refusals, &d->refusals);
    if (!r)
        r = metrics_new(metric_rows, CONTROLPLANE_METRIC_COUNT, 1, &d->metrics);
    if (!r)
        r = start_publisher(d, reterr);
    if (!r)
        r = start_keeper(d, reterr);
    if (!r)
        r = providers_start(d->config, on_signed_in, d, &d->oidc);
    if (!r)
        r = start_api(d);
    if (!r)
        r = start_listeners(d, reterr);
    if (!r)
        r = start_admin(d, reterr);
    return r ? r : catch_signals(d);
}

/* ---- stop: in the opposite order ---- */

static void stop_listener(struct daemon *d, int which)
{
    struct server *server = atomic_exchange(&d->servers[which], NULL);

    if (!server)
        return;
    if (!server_drain(server, (unsigned)d->config->drain_ms))
        LOG(WARNING, "http.cut", S("listener", listener_names[which]));
    server_free(server);
}

/* The last that is written, and the checkpoint over it. */
static void finish_audit(struct daemon *d, bool leads)
{
    if (d->refusals)
        tell_refusals(d, true);
    if (d->keeper)
        tell_of_checkpoint(audit_keeper_finish(d->keeper, leads));
}

static void daemon_deinit(struct daemon *d)
{
    bool leads = d->publisher && publisher_leads(d->publisher);

    if (d->api)
        api_stop(d->api);
    stop_listener(d, API);
    stop_listener(d, INTERNAL);
    oidc_free(d->oidc);
    store_on_commit(d->place->store, NULL, NULL);
    if (d->publisher)
        publisher_free(d->publisher);
    timer_stop(&d->housekeeping.timer);
    timer_stop(&d->telling.timer);
    timer_stop(&d->looking.timer);
    timer_stop(&d->missing.timer);
    timer_stop(&d->keeping.timer);
    timer_stop(&d->settling.timer);
    if (d->admin)
        admin_free(d->admin);
    if (d->metrics)
        metrics_free(d->metrics);
    if (d->loop)
        loop_free(d->loop);
    finish_audit(d, leads);
    if (d->keeper)
        audit_keeper_free(d->keeper);
    if (d->refusals)
        refusals_free(d->refusals);
    if (d->api && api_keep_uses(d->api))
        LOG(WARNING, "housekeeping.failed");
    api_free(d->api);               /* what was refused names its rows */
    free(d->relay_addrs);
    free(d->api_addrs);
    free(d->root_pem);
    if (d->key_pem.data)
        secret_wipe(d->key_pem.data, d->key_pem.room);
    buf_deinit(&d->key_pem);
    buf_deinit(&d->chain_pem);
}

int serve(struct controlplane_config *config, const struct serve_arguments *arguments,
          struct place *place, struct buf *reterr)
{
    AUTO(daemon_deinit) struct daemon d = { .config = config, .arguments = arguments, .place = place };
    int r;

    buf_init_heap(&d.chain_pem, CERT_PEM_MAX);
    buf_init_heap(&d.key_pem, 8192);
    r = start_all(&d, reterr);
    if (r) {
        if (!reterr->len)
            buf_printf(reterr, "%s", strerrordesc_np(r < 0 ? -r : EIO));
        return r < 0 ? r : -EIO;
    }
    start_chores(&d);
    LOG(INFO, "controlplane.ready", S("cluster", config->cluster), S("id", place->id.text),
        S("api", config->api_listen), S("internal", config->internal_listen));
    loop_run(d.loop);
    return 0;
}
