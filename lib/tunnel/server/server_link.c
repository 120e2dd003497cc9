#include "lib/tunnel/server/server_internal.h"

#define PATH "/tunnel"
#define PROTOCOL "adit.v1"

/* --- life ---------------------------------------------------------------------------- */
static void on_reap(struct loop_reap *reap)
{
    free(container_of(reap, struct server_link, reap));
}

/* The handshake is over: the link is judged good, or gone. */
static void settle(struct server_link *k)
{
    if (!k->is_counted)
        return;
    k->is_counted = false;
    k->server->stats.handshakes--;
    timer_stop(&k->deadline);
}

void server_link_free(struct server_link *k)
{
    struct tunnel_server *s = k->server;

    settle(k);
    ws_server_free(TAKE(k->opening));
    list_remove(&k->node);
    s->stats.links--;
    carry_deinit(&k->carry);
    loop_reap(s->config.loop, &k->reap, on_reap);
}

static void on_end(struct carry *c)
{
    struct server_link *k = container_of(c, struct server_link, carry);

    k->server->stats.bad_messages += c->is_open && c->why == REASON_PROTOCOL_ERROR;
    server_link_free(k);
}

static void on_turn(struct carry *c)
{
    struct server_link *k = container_of(c, struct server_link, carry);

    if (!k->is_counted || !c->tunnel)
        return;
    k->server->stats.up += tunnel_is_up(c->tunnel);
    if (tunnel_is_up(c->tunnel) || c->is_finishing)
        settle(k);
}

static const struct carry_handlers carry_handlers = { .on_turn = on_turn, .on_end = on_end };

static void on_handshake_late(void *arg)
{
    struct server_link *k = arg;

    k->server->stats.timed_out++;
    if (k->carry.tunnel)
        tunnel_close(k->carry.tunnel, REASON_HELLO_TIMEOUT, "the handshake took too long");
    else
        carry_gone(&k->carry, REASON_HELLO_TIMEOUT, "the handshake took too long");
}

/* --- opening ------------------------------------------------------------------------- */
/* 503, and when to come again. */
static void put_off(struct server_link *k, struct buf *answer)
{
    unsigned char memory[16];
    struct http1_field fields[2] = { { .name = SPAN("Retry-After") }, { .name = SPAN("Adit-Reason") } };
    struct buf seconds;

    k->server->stats.put_off++;
    buf_init_fixed(&seconds, memory, sizeof(memory));
    buf_put_decimal(&seconds, k->wait_s ? k->wait_s : server_retry_after_s(k->server));
    fields[0].value = buf_span(&seconds);
    fields[1].value = span_str(reason_text(REASON_OVERLOAD));
    http1_write_answer(answer, &(struct http1_answer){
        .status = 503, .set = fields, .set_count = ARRAY_LEN(fields), .close = true,
    });
}

/* Streams wait for it, for as long as their grace lasts: it is let in before those that have time.  Who
 * says so wrongly has no more of it than a place among the few that are looked at. */
static bool goes_first(struct server_link *k, const struct http1_head *head)
{
    struct span value;
    uint64_t streams;

    if (k->wait_s || !http1_find(head, SPAN(TUNNEL_STREAMS_FIELD), &value) || !span_to_u64(value, UINT32_MAX, &streams) || !streams)
        return false;
    k->server->stats.living++;
    return true;
}

static void refuse(struct buf *answer, uint64_t *counter, unsigned status)
{
    (*counter)++;
    http1_write_answer(answer, &(struct http1_answer){ .status = status, .close = true });
}

static void on_request(void *user, const struct http1_head *head, struct buf *answer)
{
    struct server_link *k = user;
    struct tunnel_server *s = k->server;

    if (s->is_draining)
        refuse(answer, &s->stats.refused_overload, 503);
    else if (!span_eq(head->path, SPAN(PATH)))
        refuse(answer, &s->stats.refused_path, 404);
    else if (k->is_put_off && !goes_first(k, head))
        put_off(k, answer);
}

static void on_open(void *user, struct conn *conn, struct span early)
{
    struct server_link *k = user;
    const struct tunnel_server_config *c = &k->server->config;
    struct tunnel_config config = {
        .is_accepting = true, .mux = c->mux, .self = c->self, .handlers = c->handlers,
        .user = c->user, .carrier = &carry_carrier, .carrier_arg = &k->carry,
    };

    k->server->stats.upgraded++;
    ws_server_free(TAKE(k->opening));
    if (tunnel_new(&config, &k->carry.tunnel)) {
        conn_free(conn);
        carry_gone(&k->carry, REASON_OVERLOAD, "out of memory");
        return;
    }
    carry_open(&k->carry, conn, true, &k->peer, early);
}

static void on_failed(void *user, enum ws_server_failure how)
{
    struct server_link *k = user;

    k->server->stats.tls_failed += how == WS_SERVER_TLS;
    k->server->stats.refused_protocol += how == WS_SERVER_REFUSED;
    carry_gone(&k->carry, REASON_SESSION_LOST, "it was not opened");
}

static const struct ws_server_handlers ws_handlers = {
    .on_request = on_request, .on_open = on_open, .on_failed = on_failed,
};

struct server_link *server_link_new(struct tunnel_server *s, int fd, const struct endpoint *peer,
                                    bool is_put_off, uint32_t wait_s)
{
    const struct ws_server_config config = {
        .loop = s->config.loop, .tls = s->config.tls, .ready_ms = s->config.handshake_ms, .protocol = PROTOCOL,
    };
    AUTO(fd_closep) int owned = fd;
    struct server_link *k = calloc(1, sizeof(*k));

    if (!k)
        return NULL;
    k->server = s;
    k->peer = *peer;
    k->is_put_off = is_put_off;
    k->wait_s = wait_s;
    k->is_counted = true;
    carry_init(&k->carry, s->config.loop, &carry_handlers);
    list_append(&s->links, &k->node);
    s->stats.links++;
    s->stats.handshakes++;
    timer_start(s->config.loop, &k->deadline, s->config.handshake_ms, on_handshake_late, k);
    if (ws_server_take(&config, TAKE_FD(owned), &ws_handlers, k, &k->opening))
        carry_gone(&k->carry, REASON_OVERLOAD, "out of memory");
    return k;
}
