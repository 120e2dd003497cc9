#include "dataplane/worker/worker.h"
#include "dataplane/route/elsewhere.h"
#include "dataplane/route/window.h"
#include "dataplane/worker/lease.h"
#include "dataplane/worker/paused.h"
#include "dataplane/worker/plain.h"
#include "dataplane/worker/slowed.h"
#include "lib/log/log.h"
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define DRAIN_LOOK_MS 20
#define GIVEN_BACK_LEAST (64u << 20)      /* of the relay; less is not worth the look */
#define GAUGES_MS 1000
#define DRAIN_FNS_MAX 8
#define HANDSHAKES_PER_S 1000       /* of the relay */
#define HANDSHAKES_MAX 1000
#define MEMORY_STEPS 16             /* of the relay's memory; what a worker takes or gives at a time */

struct worker {
    struct worker_config config;
    struct tunnel_self self;                /* what HELLO says: the window changes */
    struct loop *loop;
    struct router *router;
    struct gate *gate;
    struct tunnel_server *server;
    struct listener *listener;
    struct plain *plain;            /* NULL: no entrance without TLS */
    struct loop_timer drain_timer, gauges;
    pthread_t thread;
    bool is_running;
    struct {
        void (*fn)(void *user);
        void *user;
    } drain_fns[DRAIN_FNS_MAX];
    size_t drain_fn_count;
    struct drain *drain;            /* NULL: not draining */
    _Atomic(struct view *) coming;  /* posted and not yet taken: the newest alone counts */
    struct mux_stats counted;       /* what the counters hold already */
    uint64_t memory_moved;          /* what lease_memory() has counted, in less out; wraps */
    size_t held_most;               /* since memory was given back last */
    struct tunnel_server_stats handshakes;  /* likewise */
    uint32_t told_links;            /* what the tally has of ours */
    struct lease lease;             /* what the mux may hold */
};

struct drain {
    uint64_t until_ms;
    struct loop *answer_on;
    void (*on_drained)(void *user, const struct worker_receipt *receipt);
    void *user;
    struct worker_receipt receipt;
};

/* --- from outside: posts ----------------------------------------------------------------------- */

struct post {
    struct worker *worker;
    struct drain *drain;
    char *text;
    size_t n;
    uint64_t serial;
};

static void post_free(struct post *p)
{
    free(p->drain);
    free(p->text);
    free(p);
}

/* A full queue is a worker that is stuck: waiting here would stick the control loop too. */
static int post(struct worker *w, struct post *p, void (*fn)(void *arg))
{
    int r;

    if (!p)
        return -ENOMEM;
    p->worker = w;
    r = loop_post(w->loop, fn, p);
    if (r) {
        LOG(ERROR, "worker.stuck", U("worker", w->config.number));
        post_free(p);
    }
    return r;
}

static void take_view(void *arg)
{
    struct worker *w = arg;
    struct view *v = atomic_exchange(&w->coming, NULL);

    if (!v)
        return;
    router_set_view(w->router, v);
    gate_view_changed(w->gate);
}

/* Needs no memory, and if the bell is not heard on_gauges() looks: access that was taken away
 * ends even on a worker that is short of everything. */
void worker_post_view(struct worker *w, struct view *v)
{
    struct view *before = atomic_exchange(&w->coming, v);

    if (before)
        view_unref(before);
    else if (loop_post(w->loop, take_view, w))
        LOG(ERROR, "worker.stuck", U("worker", w->config.number));
}

static void on_keyset(void *arg)
{
    struct post *p = arg;

    gate_set_keyset(p->worker->gate, span_of(p->text, p->n), p->serial);
    post_free(p);
}

void worker_post_keyset(struct worker *w, struct span text, uint64_t serial)
{
    struct post *p = calloc(1, sizeof(*p));

    if (!p)
        return;
    p->text = span_dup(text);
    p->n = p->text ? text.n : 0;
    p->serial = serial;
    (void)post(w, p, on_keyset);    /* comes again with the next answer of the control plane */
}

/* --- draining -------------------------------------------------------------------------------------- */

static void on_drain_answered(void *arg)
{
    struct drain *d = arg;

    d->on_drained(d->user, &d->receipt);
    free(d);
}

static void finish_drain(struct worker *w)
{
    struct drain *d = TAKE(w->drain);

    d->receipt.cut = router_streams(w->router);
    d->receipt.finished = d->receipt.at_start > d->receipt.cut ? d->receipt.at_start - d->receipt.cut : 0;
    router_cut_all(w->router, REASON_RELAY_DRAINING);
    if (loop_post(d->answer_on, on_drain_answered, d))
        free(d);
}

static void on_drain_look(void *arg)
{
    struct worker *w = arg;

    if (!w->drain)
        return;
    if ((tally_streams(w->config.tally) == 0 && router_streams(w->router) == 0) ||
        loop_now_ms(w->loop) >= w->drain->until_ms)
        finish_drain(w);
    else
        timer_start(w->loop, &w->drain_timer, DRAIN_LOOK_MS, on_drain_look, w);
}

/* All links of this relay end; the others that the state knows may have room. */
static void send_away(struct worker *w)
{
    const struct view *view = router_view(w->router);
    struct mux_goaway goaway = { .why = REASON_RELAY_DRAINING, .text = SPAN("the relay stops"), .scope = MUX_SCOPE_SESSION,
                                 .ms_left = (uint32_t)(w->drain->until_ms - loop_now_ms(w->loop)) };

    if (view)
        elsewhere_find(view->policy, &w->self.id, w->self.zone ? w->self.zone : "", &goaway);
    tunnel_server_drain(w->server, &goaway);
    if (w->plain)
        plain_drain(w->plain, &goaway);
}

static void on_drain(void *arg)
{
    struct post *p = arg;
    struct worker *w = p->worker;

    if (w->drain) {                 /* one drain at a time */
        post_free(p);
        return;
    }
    w->drain = TAKE(p->drain);
    w->drain->until_ms += loop_now_ms(w->loop);
    w->drain->receipt.at_start = router_streams(w->router);
    post_free(p);

    router_drain(w->router);
    for (size_t i = 0; i < w->drain_fn_count; i++)
        w->drain_fns[i].fn(w->drain_fns[i].user);
    if (w->listener)
        listener_free(TAKE(w->listener));
    send_away(w);
    on_drain_look(w);
}

int worker_drain(struct worker *w, uint32_t drain_ms, struct loop *loop,
                 void (*on_drained)(void *user, const struct worker_receipt *receipt), void *user)
{
    AUTO(freep) struct drain *d = calloc(1, sizeof(*d));
    struct post *p = calloc(1, sizeof(*p));

    if (!p || !d) {
        free(p);
        return -ENOMEM;
    }
    *d = (struct drain){ .until_ms = drain_ms, .answer_on = loop, .on_drained = on_drained, .user = user };
    p->drain = TAKE(d);
    return post(w, p, on_drain);
}

static void on_hurry(void *arg)
{
    struct post *p = arg;

    if (p->worker->drain) {
        p->worker->drain->until_ms = 0;
        on_drain_look(p->worker);
    }
    post_free(p);
}

void worker_hurry(struct worker *w)
{
    (void)post(w, calloc(1, sizeof(struct post)), on_hurry);    /* whoever hurries asks again */
}

void worker_on_drain(struct worker *w, void (*fn)(void *user), void *user)
{
    if (w->drain_fn_count == DRAIN_FNS_MAX)
        return;
    w->drain_fns[w->drain_fn_count].fn = fn;
    w->drain_fns[w->drain_fn_count++].user = user;
}

/* --- what the mux counts ------------------------------------------------------------------------------ */

static void count_handshakes(struct worker *w)
{
    struct tunnel_server_stats now = *tunnel_server_stats(w->server);
    struct metric_slot *slot = w->config.metrics;

    if (w->plain)
        plain_add_stats(w->plain, &now);
    metric_set(slot, M_HANDSHAKES, now.handshakes);
#define HANDSHAKE_OUTCOME(name) \
    metric_add_at(slot, M_HANDSHAKES_TOTAL, HANDSHAKE_##name, 0, (int64_t)(now.name - w->handshakes.name));
    HANDSHAKE_OUTCOMES(HANDSHAKE_OUTCOME)
#undef HANDSHAKE_OUTCOME
    w->handshakes = now;
}

/* --- shares of what the relay has ------------------------------------------------------------------ */

static void tell_links(struct worker *w)
{
    struct tunnel_server_stats now = *tunnel_server_stats(w->server);
    uint32_t links;

    if (w->plain)
        plain_add_stats(w->plain, &now);
    links = now.links;
    tally_add_links(w->config.tally, (int32_t)(links - w->told_links));
    w->told_links = links;
}

/* A worker alone has it all.  Of several each has a part, and half is for whoever needs it. */
static void lease_first(struct worker *w)
{
    size_t limit = tally_memory_limit(w->config.tally);
    unsigned workers = roster_workers(w->config.roster);

    w->lease.base = workers > 1 ? limit / (2 * workers) : limit;
    w->lease.step = limit / MEMORY_STEPS;
    w->lease.memory = tally_take_memory(w->config.tally, w->lease.base);
}

static void lease_memory(struct worker *w)
{
    const struct mux_stats *now = mux_stats(router_mux(w->router));
    size_t need = now->held_bytes > now->promised_bytes / 4 ? now->held_bytes : now->promised_bytes / 4;
    size_t spare;

    /* With streams that other workers handed over came memory of theirs, and with ours ours went. */
    w->lease.memory += (size_t)(now->memory_in - now->memory_out - w->memory_moved);
    w->memory_moved = now->memory_in - now->memory_out;
    spare = lease_spares(&w->lease, need);
    w->lease.memory += tally_take_memory(w->config.tally, lease_wants(&w->lease, need));
    w->lease.memory -= spare;
    tally_put_memory(w->config.tally, spare);
    mux_set_memory_limit(router_mux(w->router), w->lease.memory);
}

/* What thousands of streams held lies in pieces between what lives: the system gets it only when it
 * is asked to look. */
static void give_memory_back(struct worker *w, size_t held)
{
    if (held > w->held_most)
        w->held_most = held;
    if (w->held_most < GIVEN_BACK_LEAST / roster_workers(w->config.roster) || held > w->held_most / 4)
        return;
    w->held_most = held;
    malloc_trim(0);
}

static void on_gauges(void *arg)
{
    struct worker *w = arg;
    struct metric_slot *slot = w->config.metrics;
    const struct mux_stats *now = mux_stats(router_mux(w->router));

    metric_set(slot, M_HELD_BYTES, (int64_t)now->held_bytes);
    metric_set(slot, M_PROMISED_BYTES, (int64_t)now->promised_bytes);
    metric_add(slot, M_LATE_FRAMES, (int64_t)(now->late_frames - w->counted.late_frames));
    metric_add_at(slot, M_DATAGRAMS_DROPPED, DROP_tunnel, 0,
                  (int64_t)(now->datagrams_dropped - w->counted.datagrams_dropped));
    metric_add(slot, M_OVERLOADS, (int64_t)(now->overload_refusals - w->counted.overload_refusals));
    metric_add(slot, M_PROTOCOL_ERRORS, (int64_t)(now->protocol_errors - w->counted.protocol_errors));
    metric_add(slot, M_PATHS_LOST, (int64_t)(now->paths_lost - w->counted.paths_lost));
    metric_add(slot, M_GRACES_OVER, (int64_t)(now->graces_over - w->counted.graces_over));
    metric_add(slot, M_REPLAYED_BYTES, (int64_t)(now->replayed_bytes - w->counted.replayed_bytes));
    metric_add(slot, M_PROBES, (int64_t)(now->probes - w->counted.probes));
    metric_add(slot, M_PROBES_FAILED, (int64_t)(now->probes_failed - w->counted.probes_failed));
    metric_add(slot, M_LINKS_DOUBTED, (int64_t)(now->doubts - w->counted.doubts));
    w->counted = *now;
    give_memory_back(w, now->held_bytes);
    count_handshakes(w);
    tell_links(w);
    lease_memory(w);
    take_view(w);
    w->self.first_retry_ms = window_ms(roster_count(w->config.roster), w->config.handshakes_per_s);
    gate_tick(w->gate, w->self.first_retry_ms);
    roster_forget(w->config.roster, loop_now_ms(w->loop));
    router_look_at_roster(w->router);
    router_balance(w->router);
    timer_start(w->loop, &w->gauges, GAUGES_MS, on_gauges, w);
}

/* --- making it ------------------------------------------------------------------------------------------ */

static void on_tunnel_accept(void *user, int fd, const struct endpoint *peer)
{
    struct worker *w = user;
    uint32_t wait_ms = source_slowed_ms(w->config.flaps, &w->config.tls_proxies, peer, w->config.metrics);

    tell_links(w);
    if (wait_ms) {
        tunnel_server_put_off(w->server, fd, peer, wait_ms);
    } else if (tally_links(w->config.tally) < w->config.links_max) {
        tunnel_server_adopt(w->server, fd, peer);
    } else {
        metric_add_at(w->config.metrics, M_HANDSHAKES_TOTAL, HANDSHAKE_refused_overload, 0, 1);
        close(fd);
    }
}

/* Another worker changed the roster. */
static void on_bell(void *arg)
{
    struct worker *w = arg;

    router_look_at_roster(w->router);
}

static int make_router(struct worker *w)
{
    const struct worker_config *c = &w->config;
    const struct router_config config = {
        .loop = w->loop,
        .freshness = c->freshness,
        .events = c->events,
        .control = c->control,
        .passwords = c->passwords,
        .roster = c->roster,
        .tally = c->tally,
        .quotas = c->quotas,
        .breakers = c->breakers,
        .worker = c->number,
        .metrics = c->metrics,
        .relay_id = c->self->id.text,
        .boot_id = c->self->boot_id.text,
        .streams_max = c->streams_max,
        .answer_ms = c->answer_ms,
        .idle_ms = c->idle_ms,
        .grace_ms = c->grace_ms,
        .memory_limit = w->lease.memory,
        .proof = c->proof,
    };

    int r = router_new(&config, &w->router);

    if (!r)
        roster_set_router(c->roster, c->number, w->router);
    return r;
}

static int make_gate(struct worker *w)
{
    const struct worker_config *c = &w->config;
    const struct gate_config config = {
        .router = w->router,
        .control = c->control,
        .loop = w->loop,
        .events = c->events,
        .metrics = c->metrics,
        .trust = c->trust,
        .flaps = c->flaps,
        .tls_proxies = c->tls_proxies,
        .freshness = c->freshness,
        .control_away_ms = c->control_away_ms,
        .renew_wait_ms = c->renew_wait_ms,
    };

    return gate_new(&config, &w->gate);
}

static uint32_t share(const struct worker *w, uint32_t all)
{
    unsigned workers = roster_workers(w->config.roster);

    return (all + workers - 1) / workers;
}

/* A Unix socket has one listener only, and so has a port that the kernel chooses; whoever comes
 * there goes where his agent is. */
static bool can_listen(const struct worker *w, const struct endpoint *at)
{
    return w->config.number == 0 || (at->kind == ENDPOINT_IP && at->port);
}

static int make_plain(struct worker *w, const struct tunnel_server_config *server, struct buf *reterr)
{
    struct tunnel_server_config without_tls = *server;
    const struct plain_config config = {
        .at = w->config.plain_listen,
        .proxies = &w->config.tls_proxies,
        .server = &without_tls,
        .metrics = w->config.metrics,
    };

    without_tls.tls = NULL;
    return config.at.kind != ENDPOINT_NONE && can_listen(w, &config.at) ? plain_open(&config, &w->plain, reterr) : 0;
}

static void on_paused(void *user, const struct endpoint *at, int error, bool is_new)
{
    struct worker *w = user;

    tell_paused(w->config.metrics, at, error, is_new);
}

static int make_server(struct worker *w, struct buf *reterr)
{
    const struct worker_config *c = &w->config;
    const struct tunnel_server_config server = {
        .loop = w->loop,
        .mux = router_mux(w->router),
        .tls = c->tunnel_tls,
        .self = &w->self,
        .handlers = &gate_handlers,
        .user = w->gate,
        .links_max = c->links_max,
        .handshakes_per_s = share(w, c->handshakes_per_s),
        .handshakes_max = share(w, HANDSHAKES_MAX),
    };
    const struct listener_config listener = {
        .at = c->tunnel_listen,
        .is_shared = true,
        .on_accept = on_tunnel_accept,
        .on_paused = on_paused,
        .user = w,
    };
    int r = tunnel_server_new(&server, &w->server);

    if (!r && can_listen(w, &c->tunnel_listen))
        r = listener_open(w->loop, &listener, &w->listener, reterr);
    return r ? r : make_plain(w, &server, reterr);
}

/* Where one listener takes all links, a further one would be no other worker's. */
static unsigned workers_with_links(const struct worker_config *config)
{
    const struct endpoint *at = &config->tunnel_listen;

    return at->kind == ENDPOINT_IP && at->port ? roster_workers(config->roster) : 1;
}

int worker_new(const struct worker_config *config, struct worker **ret_worker, struct buf *reterr)
{
    AUTO(worker_freep) struct worker *w = calloc(1, sizeof(*w));
    int r;

    if (!w)
        return -ENOMEM;

    w->config = *config;
    w->config.handshakes_per_s = config->handshakes_per_s ? config->handshakes_per_s : HANDSHAKES_PER_S;
    w->self = *config->self;
    w->self.worker = config->number;
    w->self.workers = workers_with_links(config);
    r = loop_new(&w->loop);
    if (r)
        return r;
    lease_first(w);
    roster_set_bell(config->roster, config->number, w->loop, on_bell, w);
    r = make_router(w);
    if (!r)
        r = make_gate(w);
    if (!r)
        r = make_server(w, reterr);
    if (r)
        return r;
    timer_start(w->loop, &w->gauges, GAUGES_MS, on_gauges, w);
    *ret_worker = TAKE(w);
    return 0;
}

void worker_free(struct worker *w)
{
    struct view *coming = atomic_exchange(&w->coming, NULL);

    roster_set_bell(w->config.roster, w->config.number, NULL, NULL, NULL);
    roster_set_router(w->config.roster, w->config.number, NULL);
    if (coming)
        view_unref(coming);
    timer_stop(&w->gauges);
    timer_stop(&w->drain_timer);
    if (w->listener)
        listener_free(w->listener);
    if (w->server)
        tunnel_server_free(w->server);
    if (w->plain)
        plain_free(w->plain);
    if (w->router)
        router_free(w->router);
    if (w->gate)
        gate_free(w->gate);
    if (w->loop)
        loop_free(w->loop);
    tally_put_memory(w->config.tally, w->lease.memory);
    tally_add_links(w->config.tally, -(int32_t)w->told_links);
    free(w->drain);
    free(w);
}

static void *run(void *arg)
{
    struct worker *w = arg;

    loop_run(w->loop);
    return NULL;
}

/* Signals are for the control loop's thread. */
int worker_start(struct worker *w)
{
    sigset_t all, before;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = -pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->is_running = r == 0;
    return r;
}

void worker_stop(struct worker *w)
{
    if (!w->is_running)
        return;
    loop_stop(w->loop);
    pthread_join(w->thread, NULL);
    w->is_running = false;
}

struct loop *worker_loop(struct worker *w)
{
    return w->loop;
}

struct router *worker_router(struct worker *w)
{
    return w->router;
}

struct endpoint worker_tunnel_endpoint(const struct worker *w)
{
    return listener_endpoint(w->listener);
}
