#include "lib/tunnel/carry/carry.h"

#include "lib/net/socket.h"

#include <stdio.h>

#define MESSAGE_IN_MAX (1u << 20)
#define FINISH_MS 2000
#define MESSAGES_PER_TURN 4     /* 256 KiB, then others have their turn */
#define MEASURE_MS 20

static void on_flush(void *arg);

static void wake(struct carry *c)
{
    loop_defer(c->loop, &c->flush, on_flush, c);
}

void carry_init(struct carry *c, struct loop *loop, const struct carry_handlers *handlers)
{
    c->loop = loop;
    c->handlers = handlers;
}

void carry_gone(struct carry *c, enum reason why, const char *text)
{
    if (c->is_gone)
        return;
    c->is_gone = true;
    c->why = why;
    snprintf(c->text, sizeof(c->text), "%s", text);
    wake(c);
}

void carry_deinit(struct carry *c)
{
    timer_stop(&c->tick);
    timer_stop(&c->paced);
    timer_stop(&c->finish);
    loop_defer_cancel(&c->flush);
    ws_conn_deinit(&c->ws);
    if (c->tunnel)
        tunnel_ended(TAKE(c->tunnel), c->why, c->text);
}

/* --- out ----------------------------------------------------------------------------- */
static void measure(struct carry *c, uint64_t now_ms)
{
    struct socket_path path;

    if (now_ms - c->measured_ms < MEASURE_MS || !conn_path(c->ws.conn, &path))
        return;
    c->measured_ms = now_ms;
    pace_measure(&c->pace, path.lowest_rtt_us, path.rtt_us, path.bytes_per_s, now_ms);
    mux_link_set_rate(tunnel_link(c->tunnel), c->pace.rate);
    if (pace_is_near(&c->pace) && !c->is_bounded) {
        c->is_bounded = true;
        socket_bound_input(conn_fd(c->ws.conn), PACE_NEAR_INPUT_BYTES);
    }
}

static bool has_budget(struct carry *c)
{
    measure(c, loop_now_ms(c->loop));
    if (pace_has_room(&c->pace))
        return true;
    pace_unsent(&c->pace, conn_unsent(c->ws.conn));
    if (pace_has_room(&c->pace))
        return true;
    timer_start(c->loop, &c->paced, pace_wait_ms(&c->pace, c->pace.unsent - pace_budget(&c->pace)),
                on_flush, c);
    return false;
}

/* False: the socket is full or paced, and something will wake us. */
static bool send_messages(struct carry *c)
{
    unsigned char memory[WS_HEADER_MAX + WS_CONN_MESSAGE_MAX], *payload = memory + WS_HEADER_MAX;

    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        size_t n;

        if (!tunnel_has_output(c->tunnel))
            return true;
        if (!ws_conn_has_room(&c->ws) || !has_budget(c))
            return false;
        n = tunnel_produce(c->tunnel, payload, WS_CONN_MESSAGE_MAX, loop_now_ms(c->loop));
        if (!n || c->is_gone)
            return true;
        pace_sent(&c->pace, n);
        ws_conn_send(&c->ws, WS_BINARY, true, payload, n);
        if (c->is_gone)
            return true;
    }
    wake(c);
    return false;
}

/* What the tunnel wants to say has been said. */
static void close_politely(struct carry *c)
{
    ws_conn_close(&c->ws, WS_CLOSE_NORMAL, "");
    c->handlers->on_end(c);
}

static void go_on(struct carry *c)
{
    tunnel_tick(c->tunnel, loop_now_ms(c->loop));
    if (send_messages(c) && c->is_finishing && !c->is_gone && ws_conn_is_sent(&c->ws))
        close_politely(c);
}

static void on_flush(void *arg)
{
    struct carry *c = arg;

    if (c->handlers->on_turn)
        c->handlers->on_turn(c);
    if (c->is_gone || (!c->is_open && c->is_finishing))
        c->handlers->on_end(c);
    else if (c->is_open)
        go_on(c);
}

/* --- the tunnel's carrier ------------------------------------------------------------ */
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
    struct carry *c = carrier;
    uint64_t now_ms = loop_now_ms(c->loop);

    timer_start(c->loop, &c->tick, at_ms > now_ms ? at_ms - now_ms : 0, on_tick, c);
}

static void on_finish_late(void *arg)
{
    carry_gone(arg, REASON_NONE, "");
}

static void finish(void *carrier)
{
    struct carry *c = carrier;

    c->is_finishing = true;
    timer_start(c->loop, &c->finish, FINISH_MS, on_finish_late, c);
    wake(c);
}

static void drop(void *carrier, enum reason why, const char *text)
{
    carry_gone(carrier, why, text);
}

const struct tunnel_carrier carry_carrier = {
    .want_send = want_send, .set_timer = set_timer, .finish = finish, .drop = drop,
};

/* --- in ------------------------------------------------------------------------------ */
static void on_data(void *user, enum ws_opcode opcode, struct span part, bool is_last)
{
    struct carry *c = user;

    (void)opcode;
    if (c->is_gone || c->is_finishing)
        return;
    tunnel_take(c->tunnel, part, is_last, loop_now_ms(c->loop));
    wake(c);
}

static void on_writable(void *user)
{
    on_flush(user);
}

static void on_closed(void *user, enum reason why, const char *text)
{
    carry_gone(user, why, text);
}

static const struct ws_conn_handlers ws_handlers = {
    .on_data = on_data, .on_writable = on_writable, .on_closed = on_closed,
};

void carry_open(struct carry *c, struct conn *conn, bool is_server, const struct endpoint *peer,
                struct span early)
{
    const struct ws_options options = { .message_max = MESSAGE_IN_MAX, .is_server = is_server };

    c->is_open = true;
    tunnel_set_shown(c->tunnel, conn_tls_peer(conn), peer);
    if (tunnel_start(c->tunnel, loop_now_ms(c->loop)))
        carry_gone(c, REASON_INTERNAL, "out of memory");
    ws_conn_init(&c->ws, conn, &options, &ws_handlers, c, early);
}
