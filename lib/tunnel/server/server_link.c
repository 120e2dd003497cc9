#include "lib/tunnel/server/server_internal.h"

#include "lib/net/socket.h"

#include <openssl/ssl.h>
#include <stdio.h>

#define FINISH_MS 2000
#define MESSAGES_PER_TURN 4     /* 256 KiB, then others have their turn */
#define SERVICES_PER_TURN 8
#define MEASURE_MS 20

static void on_flush(void *arg);

static void wake(struct server_link *k)
{
    loop_defer(k->server->config.loop, &k->flush, on_flush, k);
}

/* --- life ---------------------------------------------------------------------------- */
static void on_reap(struct loop_reap *reap)
{
    free(container_of(reap, struct server_link, reap));
}

void server_link_settled(struct server_link *k)
{
    if (!k->is_counted)
        return;
    k->is_counted = false;
    k->server->stats.handshakes--;
    timer_stop(&k->deadline);
}

/* We hear no more of the connection.  Never called within a callback of libwebsockets. */
static void let_go(struct server_link *k)
{
    struct lws *wsi = TAKE(k->wsi);

    if (!wsi)
        return;
    k->gather = NULL;
    if (k->server->config.tls && lws_get_ssl(wsi))
        SSL_set_msg_callback(lws_get_ssl(wsi), NULL);
    lws_set_opaque_user_data(wsi, NULL);
    if (!k->is_left)
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

void server_link_free(struct server_link *k)
{
    struct tunnel_server *s = k->server;

    server_link_settled(k);
    timer_stop(&k->tick);
    timer_stop(&k->paced);
    timer_stop(&k->deadline);
    loop_defer_cancel(&k->flush);
    loop_defer_cancel(&k->held);
    let_go(k);
    list_remove(&k->node);
    s->stats.links--;
    if (k->tunnel)
        tunnel_ended(TAKE(k->tunnel), k->why, k->text);
    loop_reap(s->config.loop, &k->reap, on_reap);
}

void server_link_gone(struct server_link *k, enum reason why, const char *text)
{
    if (k->is_gone)
        return;
    k->is_gone = true;
    k->why = why;
    snprintf(k->text, sizeof(k->text), "%s", text);
    wake(k);
}

static void on_handshake_late(void *arg)
{
    struct server_link *k = arg;

    k->server->stats.timed_out++;
    if (k->tunnel)
        tunnel_close(k->tunnel, REASON_HELLO_TIMEOUT, "the handshake took too long");
    else
        server_link_gone(k, REASON_HELLO_TIMEOUT, "the handshake took too long");
}

struct server_link *server_link_new(struct tunnel_server *s, const struct endpoint *peer)
{
    struct server_link *k = calloc(1, sizeof(*k));

    if (!k)
        return NULL;
    k->server = s;
    k->peer = *peer;
    k->is_counted = true;
    list_append(&s->links, &k->node);
    s->stats.links++;
    s->stats.handshakes++;
    timer_start(s->config.loop, &k->deadline, s->config.handshake_ms, on_handshake_late, k);
    return k;
}

void server_link_adopted(struct server_link *k, struct lws *wsi)
{
    k->wsi = wsi;
    lws_set_opaque_user_data(wsi, k);
}

/* --- out ----------------------------------------------------------------------------- */
static bool has_budget(struct server_link *k)
{
    int fd = lws_get_socket_fd(k->wsi);
    uint64_t now_ms = loop_now_ms(k->server->config.loop);
    struct socket_path path;

    if (now_ms - k->measured_ms >= MEASURE_MS && socket_path(fd, &path)) {
        k->measured_ms = now_ms;
        pace_measure(&k->pace, path.lowest_rtt_us, path.rtt_us, path.bytes_per_s, now_ms);
        mux_link_set_rate(tunnel_link(k->tunnel), k->pace.rate);
        if (pace_is_near(&k->pace) && !k->is_bounded) {
            k->is_bounded = true;
            socket_bound_input(fd, PACE_NEAR_INPUT_BYTES);
        }
    }
    if (pace_has_room(&k->pace))
        return true;
    pace_unsent(&k->pace, socket_unsent(fd));
    if (pace_has_room(&k->pace))
        return true;
    timer_start(k->server->config.loop, &k->paced,
                pace_wait_ms(&k->pace, k->pace.unsent - pace_budget(&k->pace)), on_flush, k);
    return false;
}

/* False: it went wrong. */
static bool send_message(struct server_link *k)
{
    unsigned char *p = k->server->scratch + LWS_PRE;
    size_t n =
        tunnel_produce(k->tunnel, p, SERVER_MESSAGE_OUT_MAX, loop_now_ms(k->server->config.loop));
    int written, r;

    if (!n)
        return true;
    pace_sent(&k->pace, n);
    if (k->gather)
        gather_begin(k->gather, k->server->records);
    written = lws_write(k->wsi, p, n, LWS_WRITE_BINARY);
    r = k->gather ? gather_end(k->gather) : 0;
    if (written >= (int)n && (!r || r == -EAGAIN))
        return true;
    server_link_gone(k, REASON_SESSION_LOST, "sending failed");
    return false;
}

/* A second write during a partial one would corrupt the stream. */
static bool is_partly_sent(struct server_link *k)
{
    int r = k->gather ? gather_flush(k->gather) : 0;

    if (!r && !lws_partial_buffered(k->wsi))
        return false;
    if (r && r != -EAGAIN)
        server_link_gone(k, REASON_SESSION_LOST, "sending failed");
    else
        lws_callback_on_writable(k->wsi);
    return true;
}

/* False: something will wake us. */
static bool send_messages(struct server_link *k)
{
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        if (is_partly_sent(k))
            return false;
        if (!tunnel_has_output(k->tunnel))
            return true;
        if (!has_budget(k) || !send_message(k))
            return false;
    }
    wake(k);
    return false;
}

static void on_flush(void *arg)
{
    struct server_link *k = arg;

    if (k->is_gone || !k->wsi) {
        server_link_free(k);
        return;
    }
    if (!k->tunnel)
        return;
    if (k->is_counted && tunnel_is_up(k->tunnel)) {
        k->server->stats.up++;
        server_link_settled(k);
    }
    tunnel_tick(k->tunnel, loop_now_ms(k->server->config.loop));
    if (send_messages(k) && k->is_finishing)
        lws_callback_on_writable(k->wsi);       /* closing is done from that callback */
}

bool server_link_writable(struct server_link *k)
{
    unsigned char no_text[1] = { 0 };

    if (k->is_gone || !k->tunnel)
        return true;
    if (!send_messages(k) || !k->is_finishing)
        return true;
    lws_close_reason(k->wsi, LWS_CLOSE_STATUS_NORMAL, no_text, 0);
    k->is_left = true;
    server_link_gone(k, REASON_NONE, "");
    return false;
}

/* --- the tunnel's carrier ------------------------------------------------------------ */
static void want_send(void *carrier)
{
    wake(carrier);
}

static void on_tick(void *arg)
{
    on_flush(arg);
}

static void set_timer(void *carrier, uint64_t at_ms)
{
    struct server_link *k = carrier;
    uint64_t now_ms = loop_now_ms(k->server->config.loop);

    timer_start(k->server->config.loop, &k->tick, at_ms > now_ms ? at_ms - now_ms : 0, on_tick, k);
}

static void on_finish_late(void *arg)
{
    server_link_gone(arg, REASON_NONE, "");
}

static void finish(void *carrier)
{
    struct server_link *k = carrier;

    k->is_finishing = true;
    server_link_settled(k);
    timer_start(k->server->config.loop, &k->deadline, FINISH_MS, on_finish_late, k);
    wake(k);
}

static void drop(void *carrier, enum reason why, const char *text)
{
    server_link_gone(carrier, why, text);
}

static const struct tunnel_carrier carrier = {
    .want_send = want_send, .set_timer = set_timer, .finish = finish, .drop = drop,
};

/* --- in ------------------------------------------------------------------------------ */
static SSL *ssl_of(const struct server_link *k)
{
    return k->server->config.tls ? lws_get_ssl(k->wsi) : NULL;
}

static void on_input_held(void *arg);

/* OpenSSL begins to read a record, or has written one. */
static void on_record(int is_written, int version, int type, const void *p, size_t n, SSL *ssl,
                      void *arg)
{
    struct server_link *k = arg;

    (void)version, (void)p, (void)n, (void)ssl;
    if (is_written || type != SSL3_RT_HEADER)
        return;
    k->records++;
    k->received_before = k->received;
    /* First of what this turn defers: what is held comes before the writes of what came. */
    loop_defer(k->server->config.loop, &k->held, on_input_held, k);
}

static void prepare_ssl(struct server_link *k, SSL *ssl)
{
    SSL_set_read_ahead(ssl, 1);         /* not before: see on_input_held() */
    SSL_set_msg_callback(ssl, on_record);
    SSL_set_msg_callback_arg(ssl, k);
    /* libwebsockets sets it, and then writes one record for each turn of the loop. */
    SSL_clear_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE);
    k->gather = gather_install(ssl, lws_get_socket_fd(k->wsi));
}

bool server_link_opened(struct server_link *k)
{
    const struct tunnel_server_config *c = &k->server->config;
    struct tunnel_config config = {
        .is_accepting = true, .mux = c->mux, .self = c->self, .handlers = c->handlers,
        .user = c->user, .carrier = &carrier, .carrier_arg = k,
    };
    struct identity shown;
    bool has_shown = ssl_of(k) && tls_peer_of(ssl_of(k), &shown);

    k->server->stats.upgraded++;
    if (ssl_of(k))
        prepare_ssl(k, ssl_of(k));
    if (tunnel_new(&config, &k->tunnel))
        return false;
    tunnel_set_shown(k->tunnel, has_shown ? &shown : NULL, &k->peer);
    return tunnel_start(k->tunnel, loop_now_ms(c->loop)) == 0;
}

static void serve(struct server_link *k, short events)
{
    struct lws_pollfd event = { .fd = lws_get_socket_fd(k->wsi), .events = events, .revents = events };

    lws_service_fd(k->server->context, &event);
}

static bool holds_input(const struct server_link *k)
{
    return !k->is_gone && k->wsi && SSL_has_pending(ssl_of(k));
}

/*
 * With read-ahead OpenSSL takes more from the socket than libwebsockets asks it for, and the
 * socket then has nothing to say.  So the connection is served as if it had.
 */
static void on_input_held(void *arg)
{
    struct server_link *k = arg;

    for (int i = 0; i < SERVICES_PER_TURN && holds_input(k); i++) {
        uint64_t records = k->records;

        /* A PING, perhaps: libwebsockets keeps one PONG, and would drop the next. */
        if (k->received == k->received_before)
            serve(k, LWS_POLLOUT);
        if (holds_input(k))
            serve(k, LWS_POLLIN);
        if (k->records == records)
            return;             /* a part of a record: the socket will bring the rest */
    }
    if (holds_input(k))
        loop_defer(k->server->config.loop, &k->held, on_input_held, k);
}

bool server_link_received(struct server_link *k, struct span bytes, bool is_last)
{
    struct loop *loop = k->server->config.loop;

    k->received += bytes.n + 1;
    if (k->is_gone || k->is_finishing || k->is_peer_closing)
        return true;
    k->message_bytes += bytes.n;
    k->empties = bytes.n ? 0 : k->empties + 1;
    if (k->message_bytes > SERVER_MESSAGE_IN_MAX || k->empties > SERVER_EMPTY_MAX) {
        k->server->stats.bad_messages++;
        tunnel_close(k->tunnel, REASON_PROTOCOL_ERROR,
                     k->empties ? "too many messages or parts are empty" : "a message is larger than the limit");
        return true;
    }
    if (is_last)
        k->message_bytes = 0;
    tunnel_take(k->tunnel, bytes, is_last, loop_now_ms(loop));
    wake(k);
    return true;
}
