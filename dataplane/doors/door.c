#include "dataplane/doors/door.h"
#include "dataplane/doors/proxy_protocol.h"
#include "dataplane/worker/paused.h"
#include "lib/log/log.h"
#include <errno.h>
#include <string.h>

#define READ_BYTES 16384

struct door {
    struct door_config config;
    struct listener *listener;
    struct list visits;
    struct crowd *own;              /* made here; NULL: the config's */
    const char *name;               /* the protocol's */
    uint64_t turns_s;               /* the second that turns are counted of */
    uint32_t turns;
};

struct visit {
    struct list node;
    struct loop_reap reap;
    struct door *door;
    struct conn *conn;
    struct source_count *count;
    struct addr source;
    struct loop_timer deadline;
    struct buf in, out;
    bool needs_proxy_header, has_ended, is_closing, is_gone;
    bool is_input_off, is_flushing;
    struct route *moving;           /* goes to another worker with the visit, or with nobody */
    enum reason refusal;            /* why it could not go */
    uint32_t left_ms;               /* of the deadline, meanwhile */
    max_align_t state[];
};

static void tell_refused(const struct door *d, const struct addr *source, enum reason why, const char *detail)
{
    router_tell_refused(worker_router(d->config.worker), d->name, source, why);
    metric_add_at(d->config.metrics, M_REFUSED, why, 0, 1);
    LOG(INFO, "request.refused", S("door", d->name), R("reason", why), S("detail", detail));
}

/* --- sources: how many visits one address has ------------------------------------------------- */

static bool source_enter(struct visit *v)
{
    v->count = crowd_enter_source(v->door->config.crowd, &v->source);
    return v->count != NULL;
}

static void source_leave(struct visit *v)
{
    crowd_leave_source(v->door->config.crowd, TAKE(v->count));
}

/* --- life of a visit ----------------------------------------------------------------------------- */

static void visit_reap(struct loop_reap *reap)
{
    struct visit *v = container_of(reap, struct visit, reap);

    buf_deinit(&v->in);
    buf_deinit(&v->out);
    free(v);
}

/* Leaves the door; the memory goes at the end of the turn, for we may be in its handler. */
static void visit_leave(struct visit *v)
{
    if (v->is_gone)
        return;
    v->is_gone = true;
    v->door->config.protocol->on_gone(v);
    timer_stop(&v->deadline);
    source_leave(v);
    list_remove(&v->node);
    crowd_leave(v->door->config.crowd);
    metric_add(v->door->config.metrics, M_CONNECTIONS, -1);
    loop_reap(worker_loop(v->door->config.worker), &v->reap, visit_reap);
}

void visit_reset(struct visit *v)
{
    if (v->conn)
        conn_reset(TAKE(v->conn));
    visit_leave(v);
}

static void end_in_order(struct visit *v)
{
    if (v->conn)
        conn_close(TAKE(v->conn));
    visit_leave(v);
}

static void on_deadline(void *arg)
{
    struct visit *v = arg;

    if (v->is_closing)
        end_in_order(v);
    else
        v->door->config.protocol->on_deadline(v);
}

void visit_deadline(struct visit *v, uint32_t ms)
{
    if (ms)
        timer_start(visit_loop(v), &v->deadline, ms, on_deadline, v);
    else
        timer_stop(&v->deadline);
}

static void want(struct visit *v)
{
    bool has_room = v->in.len < VISIT_IN_MAX && !v->is_input_off;
    unsigned events = (!v->has_ended && (has_room || v->is_closing) ? CONN_READ : 0) | (v->out.len ? CONN_WRITE : 0);

    if (conn_wanted(v->conn) != events)
        conn_want(v->conn, events);
}

/* Everything is out: the FIN goes too, and what still comes in is thrown away for a while, so
 * that no RST overtakes the answer. */
static void begin_linger(struct visit *v)
{
    conn_shutdown_write(v->conn);
    visit_deadline(v, VISIT_LINGER_MS);
    if (v->has_ended)
        end_in_order(v);
    else
        want(v);
}

/* True: all of it went out. */
static bool write_out(struct visit *v)
{
    if (buf_error(&v->out)) {       /* more than VISIT_OUT_MAX: a part of it would be a lie */
        visit_reset(v);
        return false;
    }
    while (v->out.len) {
        ssize_t n = conn_write(v->conn, v->out.data, v->out.len);

        if (n == -EAGAIN || n == 0)
            break;
        if (n < 0) {
            visit_reset(v);
            return false;
        }
        buf_shift(&v->out, (size_t)n);
    }
    want(v);
    return v->out.len == 0;
}

/* on_sent() writes more and flushes again: that is the loop's next round, not a call within
 * the call, so that no peer chooses how deep the stack gets. */
void visit_flush(struct visit *v)
{
    if (v->is_flushing || v->is_gone)
        return;

    v->is_flushing = true;
    do {
        if (!write_out(v))
            break;
        if (v->is_closing) {
            begin_linger(v);
            break;
        }
        v->door->config.protocol->on_sent(v);
    } while (!v->is_gone && (v->out.len || v->is_closing));
    v->is_flushing = false;
}

void visit_close(struct visit *v)
{
    if (v->is_gone || v->is_closing)
        return;
    if (!v->conn) {
        visit_leave(v);
        return;
    }
    v->is_closing = true;
    buf_clear(&v->in);
    visit_deadline(v, VISIT_LINGER_MS);
    visit_flush(v);
}

/* --- input ------------------------------------------------------------------------------------------ */

static void on_proxy_header(struct visit *v)
{
    struct proxy_protocol header;
    int r = proxy_protocol_parse(buf_span(&v->in), &header);

    if (r == PROXY_PROTOCOL_E_MORE)
        return;
    if (r) {
        LOG(WARNING, "door.proxy_header", S("door", v->door->name), S("detail", proxy_protocol_error_text(r)));
        visit_reset(v);
        return;
    }
    v->needs_proxy_header = false;
    visit_take(v, header.bytes);
    if (header.source.kind == ENDPOINT_IP) {
        source_leave(v);
        v->source = header.source.addr;
        if (!source_enter(v)) {
            visit_refused(v, REASON_RATE_LIMITED, "too many connections from this address");
            visit_reset(v);
        }
    }
}

static void pass_input(struct visit *v)
{
    if (v->needs_proxy_header)
        on_proxy_header(v);
    if (!v->is_gone && !v->needs_proxy_header && v->in.len)
        v->door->config.protocol->on_input(v);
}

static void on_end(struct visit *v)
{
    v->has_ended = true;
    if (v->is_closing) {
        end_in_order(v);
        return;
    }
    want(v);
    v->door->config.protocol->on_end(v);
}

static void on_readable(void *user)
{
    struct visit *v = user;
    unsigned char bytes[READ_BYTES];
    size_t room = VISIT_IN_MAX - v->in.len;
    ssize_t n = conn_read(v->conn, bytes, v->is_closing || room > sizeof(bytes) ? sizeof(bytes) : room);

    if (n == -EAGAIN)
        return;
    if (n < 0) {
        visit_reset(v);
        return;
    }
    if (n == 0) {
        on_end(v);
        return;
    }
    if (v->is_closing)
        return;
    buf_put(&v->in, bytes, (size_t)n);
    if (buf_error(&v->in)) {
        visit_reset(v);
        return;
    }
    want(v);
    pass_input(v);
}

static void on_writable(void *user)
{
    visit_flush(user);
}

static void on_failed(void *user, int error)
{
    struct visit *v = user;

    LOG(DEBUG, "door.handshake_failed", S("door", v->door->name), E(error));
    conn_free(TAKE(v->conn));
    visit_leave(v);
}

static void on_ready(void *user)
{
    struct visit *v = user;

    want(v);
}

static const struct conn_handlers handlers = {
    .on_ready = on_ready,
    .on_readable = on_readable,
    .on_writable = on_writable,
    .on_failed = on_failed,
};

/* --- for protocols ------------------------------------------------------------------------------------ */

void *visit_state(struct visit *v)
{
    return v->state;
}

struct router *visit_router(struct visit *v)
{
    return worker_router(v->door->config.worker);
}

struct loop *visit_loop(struct visit *v)
{
    return worker_loop(v->door->config.worker);
}

const char *visit_door_name(const struct visit *v)
{
    return v->door->name;
}

const struct addr *visit_source(const struct visit *v)
{
    return &v->source;
}

struct endpoint visit_local(const struct visit *v)
{
    return conn_local(v->conn);
}

bool visit_is_tls(const struct visit *v)
{
    return v->door->config.tls != NULL;
}

const struct udp_limits *visit_udp(const struct visit *v)
{
    return &v->door->config.udp;
}

const char *visit_pac_proxies(const struct visit *v)
{
    return v->door->config.pac_proxies ? v->door->config.pac_proxies : "";
}

bool visit_take_turn(struct visit *v, uint32_t per_s)
{
    struct door *d = v->door;
    uint64_t now_s = loop_now_ms(visit_loop(v)) / 1000;

    if (d->turns_s != now_s)
        d->turns = 0;
    d->turns_s = now_s;
    return d->turns++ < per_s;
}

struct crowd *visit_crowd(const struct visit *v)
{
    return v->door->config.crowd;
}

struct metric_slot *visit_metrics(const struct visit *v)
{
    return v->door->config.metrics;
}

struct span visit_in(struct visit *v)
{
    return buf_span(&v->in);
}

void visit_take(struct visit *v, size_t n)
{
    buf_shift(&v->in, n);
    if (v->conn)
        want(v);
}

void visit_want_input(struct visit *v, bool is_wanted)
{
    v->is_input_off = !is_wanted;
    if (v->conn)
        want(v);
}

struct buf *visit_out(struct visit *v)
{
    return &v->out;
}

bool visit_is_over(const struct visit *v)
{
    return v->is_gone || v->is_closing;
}

void visit_refused(struct visit *v, enum reason why, const char *detail)
{
    tell_refused(v->door, &v->source, why, detail);
}

uint32_t visit_head_ms(const struct visit *v)
{
    return v->door->config.head_ms;
}

/* An answer of a few bytes into an empty socket goes out whole; if it does not, the client is
 * gone or worse, and there is nothing to carry on with. */
void visit_send_and_hand_over(struct visit *v, struct route *r)
{
    ssize_t n = conn_write(v->conn, v->out.data, v->out.len);

    if (n < 0 || (size_t)n != v->out.len) {
        route_abandon(r, REASON_CLIENT_GONE);
        visit_reset(v);
        return;
    }
    conn_want(v->conn, 0);
    route_pipe(r, TAKE(v->conn), buf_span(&v->in));
    visit_leave(v);
}

/* --- to another worker -------------------------------------------------------------------------------- */

/* On that worker's thread: the visit is its door's now. */
static void on_arrived(void *arg)
{
    struct visit *v = arg;
    struct door *d = v->door;
    struct route *r = TAKE(v->moving);
    enum reason why = v->refusal;

    v->refusal = REASON_NONE;
    list_append(&d->visits, &v->node);
    metric_add(d->config.metrics, M_CONNECTIONS, 1);
    if (v->left_ms)
        visit_deadline(v, v->left_ms);
    conn_attach(v->conn, worker_loop(d->config.worker));
    route_arrive(r, worker_router(d->config.worker), why);
}

static uint32_t deadline_left(const struct visit *v)
{
    uint64_t now_ms = loop_now_ms(visit_loop((struct visit *)v));

    if (!timer_is_on(&v->deadline))
        return 0;
    return v->deadline.due_ms > now_ms ? (uint32_t)(v->deadline.due_ms - now_ms) : 1;
}

/* It leaves this thread whole, with what came in and was not taken; nothing here knows it
 * afterwards.  Where its new worker cannot be told it stays, and is refused. */
void visit_follow(void *visit, struct route *r, unsigned worker)
{
    struct visit *v = visit;
    struct door *here = v->door, *there = here->config.peers[worker];

    v->left_ms = deadline_left(v);
    timer_stop(&v->deadline);
    list_remove(&v->node);
    metric_add(here->config.metrics, M_CONNECTIONS, -1);
    conn_detach(v->conn);
    route_leave(r);
    v->moving = r;
    v->door = there;
    if (there && loop_post(worker_loop(there->config.worker), on_arrived, v) == 0)
        return;
    v->door = here;
    v->refusal = REASON_OVERLOAD;
    on_arrived(v);
}

/* --- the door ------------------------------------------------------------------------------------------- */

static bool is_proxy(const struct door *d, const struct endpoint *peer)
{
    for (size_t i = 0; peer->kind == ENDPOINT_IP && i < d->config.proxy_count; i++) {
        if (cidr_has(&d->config.proxies[i], &peer->addr))
            return true;
    }
    return false;
}

static void on_accept(void *user, int fd, const struct endpoint *peer)
{
    struct door *d = user;
    const struct conn_options options = { .tls = d->config.tls, .is_accepted = true, .is_abortive = true };
    bool has_room = crowd_enter(d->config.crowd);
    struct visit *v = has_room ? calloc(1, sizeof(*v) + d->config.protocol->state_bytes) : NULL;

    metric_add(d->config.metrics, M_CONNECTIONS_TOTAL, 1);
    if (!v) {
        if (has_room)
            crowd_leave(d->config.crowd);
        tell_refused(d, &peer->addr, REASON_OVERLOAD, "too many connections");
        close(fd);
        return;
    }
    v->door = d;
    v->source = peer->addr;
    v->needs_proxy_header = is_proxy(d, peer);
    buf_init_heap(&v->in, VISIT_IN_MAX);
    buf_init_heap(&v->out, VISIT_OUT_MAX);
    list_append(&d->visits, &v->node);
    metric_add(d->config.metrics, M_CONNECTIONS, 1);
    visit_deadline(v, d->config.head_ms);

    if (conn_adopt(visit_loop(v), fd, &options, &handlers, v, &v->conn)) {
        v->conn = NULL;
        visit_leave(v);
    } else if (!v->needs_proxy_header && !source_enter(v)) {
        visit_refused(v, REASON_RATE_LIMITED, "too many connections from this address");
        visit_reset(v);
    }
}

static void on_paused(void *user, const struct endpoint *at, int error, bool is_new)
{
    struct door *d = user;

    tell_paused(d->config.metrics, at, error, is_new);
}

/* The drain begins: no new visits; the requests of those that are here are refused by the
 * router. */
static void on_drain(void *user)
{
    struct door *d = user;

    if (d->listener)
        listener_free(TAKE(d->listener));
}

static int make_crowd(struct door *d)
{
    int r;

    if (d->config.crowd)
        return 0;
    r = crowd_new(d->config.visits_max ? d->config.visits_max : 10000,
                  d->config.visits_per_source_max ? d->config.visits_per_source_max : 1000, &d->own);
    d->config.crowd = d->own;
    return r;
}

int door_open(const struct door_config *config, struct door **ret_door, struct buf *reterr)
{
    AUTO(door_freep) struct door *d = calloc(1, sizeof(*d));
    struct listener_config listener = { .at = config->at, .is_shared = true, .is_abortive = true,
                                        .on_accept = on_accept, .on_paused = on_paused };
    int r;

    if (!d)
        return -ENOMEM;
    d->config = *config;
    d->config.head_ms = config->head_ms ? config->head_ms : 10000;
    list_init(&d->visits);
    d->name = config->tls ? config->protocol->tls_name : config->protocol->name;

    r = make_crowd(d);
    listener.user = d;
    if (!r && config->at.kind != ENDPOINT_NONE)
        r = listener_open(worker_loop(config->worker), &listener, &d->listener, reterr);
    if (r)
        return r;
    worker_on_drain(config->worker, on_drain, d);
    *ret_door = TAKE(d);
    return 0;
}

/* Visits are reaped by the loop, which lives longer. */
void door_free(struct door *d)
{
    if (d->listener)
        listener_free(d->listener);
    LIST_EACH(&d->visits, node)
        visit_reset(container_of(node, struct visit, node));
    if (d->own)
        crowd_free(d->own);
    free(d);
}

struct endpoint door_endpoint(const struct door *d)
{
    return listener_endpoint(d->listener);
}
