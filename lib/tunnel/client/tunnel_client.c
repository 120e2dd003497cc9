#include "lib/tunnel/client/tunnel_client.h"

#include "lib/net/socket.h"
#include "lib/tunnel/pace.h"
#include "lib/ws/client/ws_client.h"
#include "lib/ws/ws.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_IN_MAX (1u << 20)
#define RESOLVE_MS 10000
#define FINISH_MS 2000
#define MESSAGES_PER_TURN 4     /* 256 KiB, then others have their turn */
#define MEASURE_MS 20
#define TEXT_MAX 320

struct client {
    struct loop *loop;
    struct tunnel *tunnel;
    struct ws_client *ws;
    struct resolver_query *query;
    struct resolver_answer found;
    size_t next;                /* of found.addrs */
    char *host;
    uint16_t port;
    const struct proxy *proxy;  /* NULL: it is dialled directly */
    struct tls_ctx *tls;
    uint32_t ready_ms;
    struct loop_task flush;     /* at the end of this turn */
    struct loop_timer tick, paced, finish;
    struct loop_reap reap;
    struct pace pace;
    uint64_t measured_ms;
    bool is_bounded;            /* the peer is near: see pace.h */
    bool is_started, is_finishing, is_gone;     /* gone: the connection has ended */
    enum reason why;
    char text[TEXT_MAX];
};

static void on_flush(void *arg);
static void dial_next(struct client *c);

static void wake(struct client *c)
{
    loop_defer(c->loop, &c->flush, on_flush, c);
}

/* --- the end ------------------------------------------------------------------------- */
static void on_reap(struct loop_reap *reap)
{
    free(container_of(reap, struct client, reap));
}

static void end(struct client *c)
{
    timer_stop(&c->tick);
    timer_stop(&c->paced);
    timer_stop(&c->finish);
    loop_defer_cancel(&c->flush);
    resolver_cancel(TAKE(c->query));
    ws_client_free(TAKE(c->ws));
    tls_ctx_unref(TAKE(c->tls));
    tunnel_ended(TAKE(c->tunnel), c->why, c->text);
    free(TAKE(c->host));
    loop_reap(c->loop, &c->reap, on_reap);
}

/* The connection is gone or never was; on_down comes at the end of the turn. */
static void gone(struct client *c, enum reason why, const char *text)
{
    if (c->is_gone)
        return;
    c->is_gone = true;
    c->why = why;
    if (c->proxy)
        snprintf(c->text, sizeof(c->text), "wss://%s:%u through the proxy %s:%u: %s", c->host, c->port,
                 c->proxy->host, c->proxy->port, text);
    else
        snprintf(c->text, sizeof(c->text), "wss://%s:%u: %s", c->host, c->port, text);
    wake(c);
}

static void on_finish_late(void *arg)
{
    struct client *c = arg;

    c->is_gone = true;
    wake(c);
}

/* What the tunnel wants to say has been said. */
static void close_politely(struct client *c)
{
    if (c->ws)
        ws_client_close(TAKE(c->ws), WS_CLOSE_NORMAL, "");
    end(c);
}

/* --- out ----------------------------------------------------------------------------- */
static bool has_budget(struct client *c)
{
    const struct conn *conn = ws_client_conn(c->ws);
    uint64_t now_ms = loop_now_ms(c->loop);
    struct socket_path path;

    if (now_ms - c->measured_ms >= MEASURE_MS && conn_path(conn, &path)) {
        c->measured_ms = now_ms;
        pace_measure(&c->pace, path.lowest_rtt_us, path.rtt_us, path.bytes_per_s, now_ms);
        mux_link_set_rate(tunnel_link(c->tunnel), c->pace.rate);
        if (pace_is_near(&c->pace) && !c->is_bounded) {
            c->is_bounded = true;
            socket_bound_input(conn_fd(conn), PACE_NEAR_INPUT_BYTES);
        }
    }
    if (pace_has_room(&c->pace))
        return true;
    pace_unsent(&c->pace, conn_unsent(conn));
    if (pace_has_room(&c->pace))
        return true;
    timer_start(c->loop, &c->paced, pace_wait_ms(&c->pace, c->pace.unsent - pace_budget(&c->pace)), on_flush, c);
    return false;
}

/* False: the socket is full or paced, and something will wake us. */
static bool send_messages(struct client *c)
{
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        unsigned char *room;
        size_t n;

        if (!tunnel_has_output(c->tunnel))
            return true;
        if (!has_budget(c))
            return false;
        room = ws_client_reserve(c->ws);
        if (!room)
            return false;
        n = tunnel_produce(c->tunnel, room, WS_CLIENT_MESSAGE_MAX, loop_now_ms(c->loop));
        pace_sent(&c->pace, n);
        ws_client_commit(c->ws, n);
        if (!n || c->is_gone)
            return true;
    }
    wake(c);
    return false;
}

static void on_flush(void *arg)
{
    struct client *c = arg;

    if (c->is_gone) {
        end(c);
        return;
    }
    if (!c->is_started) {
        if (c->is_finishing)
            end(c);
        return;
    }
    tunnel_tick(c->tunnel, loop_now_ms(c->loop));
    if (send_messages(c) && c->is_finishing && !c->is_gone && !ws_client_is_sending(c->ws))
        close_politely(c);
}

/* --- carrier ------------------------------------------------------------------------- */
static void want_send(void *carrier)
{
    wake(carrier);
}

static void on_tick(void *arg)
{
    wake(arg);
}

static void set_timer(void *carrier, uint64_t at_ms)
{
    struct client *c = carrier;
    uint64_t now_ms = loop_now_ms(c->loop);

    timer_start(c->loop, &c->tick, at_ms > now_ms ? at_ms - now_ms : 0, on_tick, c);
}

static void finish(void *carrier)
{
    struct client *c = carrier;

    c->is_finishing = true;
    timer_start(c->loop, &c->finish, FINISH_MS, on_finish_late, c);
    wake(c);
}

static void drop(void *carrier, enum reason why, const char *text)
{
    gone(carrier, why, text);
}

static const struct tunnel_carrier carrier = {
    .want_send = want_send, .set_timer = set_timer, .finish = finish, .drop = drop,
};

/* --- in ------------------------------------------------------------------------------ */
static void on_open(void *user)
{
    struct client *c = user;
    struct endpoint peer = conn_peer(ws_client_conn(c->ws)), local = conn_local(ws_client_conn(c->ws));

    c->is_started = true;
    tunnel_set_local(c->tunnel, &local);
    tunnel_set_shown(c->tunnel, conn_tls_peer(ws_client_conn(c->ws)), &peer);
    if (tunnel_start(c->tunnel, loop_now_ms(c->loop)))
        gone(c, REASON_INTERNAL, "out of memory");
}

static void on_data(void *user, struct span part, bool is_last)
{
    struct client *c = user;

    if (c->is_gone || c->is_finishing)
        return;
    tunnel_take(c->tunnel, part, is_last, loop_now_ms(c->loop));
    wake(c);
}

static void on_writable(void *user)
{
    on_flush(user);
}

/* The network's fault: the next address may do. */
static bool may_go_on(const struct client *c, enum reason why)
{
    return !c->is_started && !c->is_finishing && c->next < c->found.count &&
           (why == REASON_SESSION_LOST || why == REASON_UPLINK_PROXY_UNREACHABLE ||
            why == REASON_UPLINK_PROXY_TIMEOUT);
}

static void on_closed(void *user, enum reason why, const char *text)
{
    struct client *c = user;

    if (!may_go_on(c, why)) {
        tunnel_set_retry_after(c->tunnel, ws_client_retry_after_ms(c->ws));
        gone(c, why, text);
        return;
    }
    ws_client_free(TAKE(c->ws));
    dial_next(c);
}

static const struct ws_client_handlers ws_handlers = {
    .on_open = on_open, .on_data = on_data, .on_writable = on_writable, .on_closed = on_closed,
};

/* --- dialling ------------------------------------------------------------------------ */
static void dial_next(struct client *c)
{
    char authority[300];
    bool is_v6 = strchr(c->host, ':') != NULL;
    struct ws_client_config config = {
        .loop = c->loop,
        .to = { .kind = ENDPOINT_IP, .addr = c->found.addrs[c->next++],
                .port = c->proxy ? c->proxy->port : c->port },
        .conn = {
            .tls = c->tls,
            .server_name = c->host,
            .ready_ms = c->ready_ms,
            .is_abortive = true,
        },
        .is_proxied = c->proxy != NULL,
        .proxy_credentials = c->proxy ? c->proxy->credentials : NULL,
        .authority = authority,
        .path = "/tunnel",
        .protocol = "adit.v1",
        .message_max = MESSAGE_IN_MAX,
    };
    int r;

    snprintf(authority, sizeof(authority), is_v6 ? "[%s]:%u" : "%s:%u", c->host, c->port);
    r = ws_client_dial(&config, &ws_handlers, c, &c->ws);
    if (r)
        gone(c, REASON_SESSION_LOST, strerrordesc_np(-r));
}

static void on_found(void *user, const struct resolver_answer *answer)
{
    struct client *c = user;

    c->query = NULL;
    c->found = *answer;
    if (answer->count)
        dial_next(c);
    else
        gone(c, c->proxy ? REASON_UPLINK_PROXY_UNREACHABLE : REASON_RESOLVE_FAILED, answer->text);
}

static void on_begin(void *arg)
{
    struct client *c = arg;

    if (c->is_finishing) {
        end(c);
        return;
    }
    if (c->found.count)
        dial_next(c);
}

static int begin(struct client *c, struct resolver *resolver)
{
    const char *name = c->proxy ? c->proxy->host : c->host;

    if (addr_parse(span_str(name), &c->found.addrs[0])) {
        c->found.count = 1;
        loop_defer(c->loop, &c->flush, on_begin, c);
        return 0;
    }
    if (!resolver)
        return -EINVAL;
    return resolver_query(resolver, name, RESOLVE_MS, on_found, c, &c->query);
}

int tunnel_dial(const struct tunnel_dial *d, struct tunnel **ret_tunnel)
{
    struct client *c = calloc(1, sizeof(*c));
    struct tunnel_config config = {
        .mux = d->mux, .self = d->self, .login = d->login, .handlers = d->handlers, .user = d->user,
        .carrier = &carrier, .carrier_arg = c,
    };
    int r;

    if (!c)
        return -ENOMEM;
    c->loop = d->loop;
    c->port = d->port;
    c->ready_ms = d->ready_ms;
    c->proxy = d->proxy && proxy_is_for(d->proxy, span_str(d->host), d->port) ? d->proxy : NULL;
    c->tls = d->tls ? tls_ctx_ref(d->tls) : NULL;
    c->host = span_dup(span_str(d->host));
    r = c->host ? tunnel_new(&config, &c->tunnel) : -ENOMEM;
    if (!r)
        r = begin(c, d->resolver);
    if (!r) {
        *ret_tunnel = c->tunnel;
        return 0;
    }
    tunnel_discard(c->tunnel);
    tls_ctx_unref(c->tls);
    free(c->host);
    free(c);
    return r;
}
