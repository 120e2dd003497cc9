#include "lib/net/listener.h"
#include "lib/net/tls_fixture.h"
#include "lib/ws/conn/ws_conn.h"
#include "lib/ws/server/ws_server.h"

#include <signal.h>
#include <stdio.h>
/*
 * ws_relay.c - the relay's WebSocket as the echoing server that Autobahn's fuzzing client wants.
 *
 * ws_relay [--plain]: listens on some port of 127.0.0.1, says which, and echoes until SIGTERM.
 *
 * lib/ws/server and lib/ws/conn are what a tunnel uses; the suite also wants text, which a
 * tunnel does not take, and messages of 16 MiB.
 */
#define MESSAGE_MAX (32u << 20)

struct message {
    struct list node;
    enum ws_opcode opcode;
    size_t len, at;
    unsigned char data[];
};

struct echo {
    struct server *server;
    struct ws_server *opening;
    struct ws_conn ws;
    struct loop_reap reap;
    struct buf in;
    struct list out;
};

struct server {
    struct loop *loop;
    struct tls_ctx *tls;
};

static void on_reap(struct loop_reap *reap)
{
    free(container_of(reap, struct echo, reap));
}

static void echo_free(struct echo *e)
{
    ws_server_free(TAKE(e->opening));
    ws_conn_deinit(&e->ws);
    while (!list_is_empty(&e->out)) {
        struct message *m = container_of(list_first(&e->out), struct message, node);

        list_remove(&m->node);
        free(m);
    }
    buf_deinit(&e->in);
    loop_reap(e->server->loop, &e->reap, on_reap);
}

/* A message is sent in as many frames as it takes. */
static void send_part(struct echo *e)
{
    static unsigned char memory[WS_HEADER_MAX + WS_CONN_MESSAGE_MAX];
    struct message *m = container_of(list_first(&e->out), struct message, node);
    size_t n = m->len - m->at < WS_CONN_MESSAGE_MAX ? m->len - m->at : WS_CONN_MESSAGE_MAX;
    enum ws_opcode opcode = m->at ? WS_CONTINUATION : m->opcode;
    bool is_last = m->at + n == m->len;

    memcpy(memory + WS_HEADER_MAX, m->data + m->at, n);
    m->at += n;
    if (is_last) {
        list_remove(&m->node);
        free(m);
    }
    ws_conn_send(&e->ws, opcode, is_last, memory + WS_HEADER_MAX, n);
}

static void on_flush(void *arg)
{
    struct echo *e = arg;

    while (ws_conn_is_open(&e->ws) && !list_is_empty(&e->out) && ws_conn_has_room(&e->ws))
        send_part(e);
}

static void on_data(void *user, enum ws_opcode opcode, struct span part, bool is_last)
{
    struct echo *e = user;
    struct message *m;

    buf_put_span(&e->in, part);
    if (!is_last)
        return;
    m = malloc(sizeof(*m) + e->in.len);
    if (!m || buf_error(&e->in))
        abort();
    *m = (struct message){ .opcode = opcode, .len = e->in.len };
    if (m->len)
        memcpy(m->data, e->in.data, m->len);
    list_append(&e->out, &m->node);
    buf_clear(&e->in);
    on_flush(e);
}

static void on_closed(void *user, enum reason why, const char *text)
{
    (void)why, (void)text;
    echo_free(user);
}

static const struct ws_conn_handlers conn_handlers = {
    .on_data = on_data, .on_writable = on_flush, .on_closed = on_closed,
};

static void on_request(void *user, const struct http1_head *head, struct buf *answer)
{
    (void)user, (void)head, (void)answer;
}

static void on_open(void *user, struct conn *conn, struct span early)
{
    static const struct ws_options options = { .message_max = MESSAGE_MAX, .take_text = true, .is_server = true };
    struct echo *e = user;

    ws_conn_init(&e->ws, conn, &options, &conn_handlers, e, early);
    ws_server_free(TAKE(e->opening));
}

static void on_failed(void *user, enum ws_server_failure how)
{
    (void)how;
    echo_free(user);
}

static const struct ws_server_handlers server_handlers = {
    .on_request = on_request, .on_open = on_open, .on_failed = on_failed,
};

static void on_accept(void *user, int fd, const struct endpoint *peer)
{
    struct server *s = user;
    const struct ws_server_config config = { .loop = s->loop, .tls = s->tls, .ready_ms = 10000, .protocol = "adit.v1" };
    struct echo *e = calloc(1, sizeof(*e));

    (void)peer;
    if (!e)
        abort();
    e->server = s;
    buf_init_heap(&e->in, MESSAGE_MAX);
    list_init(&e->out);
    if (ws_server_take(&config, fd, &server_handlers, e, &e->opening))
        abort();
}

static void on_stop(void *arg, int signo)
{
    (void)signo;
    loop_stop(arg);
}

static void run(struct server *server)
{
    struct listener_config config = { .on_accept = on_accept, .user = server };
    struct listener *listener;
    unsigned char text[256];
    struct buf err;

    buf_init_fixed(&err, text, sizeof(text));
    if (!endpoint_parse(SPAN("127.0.0.1:0"), &config.at)
        || listener_open(server->loop, &config, &listener, &err)
        || loop_on_signal(server->loop, SIGTERM, on_stop, server->loop))
        exit(1);
    printf("%u\n", listener_endpoint(listener).port);
    fflush(stdout);
    loop_run(server->loop);
    listener_free(listener);
}

int main(int argc, char **argv)
{
    struct server server = { 0 };
    struct tls_world world;
    bool is_plain = argc == 2 && strcmp(argv[1], "--plain") == 0;

    tls_world_open(&world);
    if (loop_new(&server.loop))
        return 1;
    if (!is_plain)
        server.tls = tls_world_ctx(&world, true, CERT_RELAY, 86400, TLS_KIND(CERT_AGENT), TLS_VERIFY_OPTIONAL);
    run(&server);
    loop_free(server.loop);
    if (server.tls)
        tls_ctx_unref(server.tls);
    tls_world_close(&world);
    return 0;
}
