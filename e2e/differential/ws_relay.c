#include "lib/net/listener.h"
#include "lib/net/tls_fixture.h"
#include "lib/tunnel/server/server_internal.h"

#include <signal.h>
#include <stdio.h>
/*
 * ws_relay.c - lib/tunnel/server as the echoing server that Autobahn's fuzzing client wants.
 *
 * ws_relay [--plain]: listens on some port of 127.0.0.1, says which, and echoes until SIGTERM.
 *
 * The carrier is the relay's own code, libwebsockets below it; the tunnel above it is the one
 * here, which sends each message back.  A relay takes no text and no message over 1 MiB, sends none
 * over 64 KiB and none that is empty, and the suite wants all of that: so text passes as binary
 * (--wrap lws_frame_is_binary) with libwebsockets' own check of UTF-8, the limit is 32 MiB, and
 * what is sent is made parts of a message (--wrap lws_write).
 */
#undef SERVER_MESSAGE_IN_MAX
#define SERVER_MESSAGE_IN_MAX (32u << 20)
#include "lib/tunnel/server/server_link.c"

struct message {
    struct list node;
    bool is_text;
    size_t len, at;
    unsigned char data[];
};

struct tunnel {
    const struct tunnel_carrier *carrier;
    void *carrier_arg;
    struct buf in;
    struct list out;
};

static bool is_text;            /* the message that is being received */
static int parts;               /* how lws_write() sends what tunnel_produce() gave last */
static bool is_empty;

/* --- between the carrier and libwebsockets ---------------------------------------------- */
int __real_lws_frame_is_binary(struct lws *wsi);
int __wrap_lws_frame_is_binary(struct lws *wsi);
int __real_lws_write(struct lws *wsi, unsigned char *p, size_t n, enum lws_write_protocol how);
int __wrap_lws_write(struct lws *wsi, unsigned char *p, size_t n, enum lws_write_protocol how);
struct lws_context *__real_lws_create_context(const struct lws_context_creation_info *info);
struct lws_context *__wrap_lws_create_context(const struct lws_context_creation_info *info);

int __wrap_lws_frame_is_binary(struct lws *wsi)
{
    is_text = !__real_lws_frame_is_binary(wsi);
    return 1;
}

int __wrap_lws_write(struct lws *wsi, unsigned char *p, size_t n, enum lws_write_protocol how)
{
    int r;

    (void)how;
    r = __real_lws_write(wsi, p, is_empty ? 0 : n, (enum lws_write_protocol)parts);
    return r < 0 ? r : is_empty ? (int)n : r;
}

struct lws_context *__wrap_lws_create_context(const struct lws_context_creation_info *info)
{
    struct lws_context_creation_info with_utf8 = *info;

    with_utf8.options |= LWS_SERVER_OPTION_VALIDATE_UTF8;
    return __real_lws_create_context(&with_utf8);
}

/* --- the tunnel that echoes ------------------------------------------------------------- */
int tunnel_new(const struct tunnel_config *config, struct tunnel **ret_tunnel)
{
    struct tunnel *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOMEM;
    t->carrier = config->carrier;
    t->carrier_arg = config->carrier_arg;
    buf_init_heap(&t->in, SERVER_MESSAGE_IN_MAX);
    list_init(&t->out);
    *ret_tunnel = t;
    return 0;
}

int tunnel_start(struct tunnel *t, uint64_t now_ms)
{
    (void)now_ms;
    t->carrier->want_send(t->carrier_arg);      /* it is up at once */
    return 0;
}

bool tunnel_take(struct tunnel *t, struct span bytes, bool is_last, uint64_t now_ms)
{
    struct message *m;

    (void)now_ms;
    buf_put_span(&t->in, bytes);
    if (!is_last)
        return true;
    m = malloc(sizeof(*m) + t->in.len);
    if (!m || buf_error(&t->in))
        abort();
    m->is_text = is_text;
    m->at = 0;
    m->len = t->in.len;
    memcpy(m->data, t->in.data, m->len);
    list_append(&t->out, &m->node);
    buf_clear(&t->in);
    return true;
}

size_t tunnel_produce(struct tunnel *t, unsigned char *dst, size_t cap, uint64_t now_ms)
{
    struct message *m;
    size_t n;

    (void)now_ms;
    if (list_is_empty(&t->out))
        return 0;
    m = container_of(list_first(&t->out), struct message, node);
    n = m->len - m->at < cap ? m->len - m->at : cap;
    memcpy(dst, m->data + m->at, n);
    parts = m->at ? LWS_WRITE_CONTINUATION : m->is_text ? LWS_WRITE_TEXT : LWS_WRITE_BINARY;
    is_empty = !n;
    m->at += n;
    if (m->at < m->len) {
        parts |= LWS_WRITE_NO_FIN;
    } else {
        list_remove(&m->node);
        free(m);
    }
    return is_empty ? 1 : n;
}

bool tunnel_has_output(const struct tunnel *t)
{
    return !list_is_empty(&t->out);
}

void tunnel_ended(struct tunnel *t, enum reason why, const char *text)
{
    (void)why, (void)text;
    while (!list_is_empty(&t->out)) {
        struct message *m = container_of(list_first(&t->out), struct message, node);

        list_remove(&m->node);
        free(m);
    }
    buf_deinit(&t->in);
    free(t);
}

void tunnel_close(struct tunnel *t, enum reason why, const char *text)
{
    (void)why, (void)text;
    t->carrier->finish(t->carrier_arg);
}

void tunnel_goaway(struct tunnel *t, enum reason why, const char *text, uint32_t ms_left)
{
    (void)t, (void)why, (void)text, (void)ms_left;
}

void tunnel_set_shown(struct tunnel *t, const struct identity *shown, const struct endpoint *peer)
{
    (void)t, (void)shown, (void)peer;
}

void tunnel_tick(struct tunnel *t, uint64_t now_ms)
{
    (void)t, (void)now_ms;
}

bool tunnel_is_up(const struct tunnel *t)
{
    return t != NULL;
}

struct mux_link *tunnel_link(const struct tunnel *t)
{
    (void)t;
    return NULL;
}

void mux_link_set_rate(struct mux_link *l, uint64_t bytes_per_s)
{
    (void)l, (void)bytes_per_s;
}

/* --- the server -------------------------------------------------------------------------- */
static void on_accept(void *user, int fd, const struct endpoint *peer)
{
    tunnel_server_adopt(user, fd, peer);
}

static void on_stop(void *arg, int signo)
{
    (void)signo;
    loop_stop(arg);
}

static void run(struct loop *loop, struct tunnel_server *server)
{
    struct listener_config config = { .on_accept = on_accept, .user = server };
    struct listener *listener;
    unsigned char text[256];
    struct buf err;

    buf_init_fixed(&err, text, sizeof(text));
    if (!endpoint_parse(SPAN("127.0.0.1:0"), &config.at)
        || listener_open(loop, &config, &listener, &err) || loop_on_signal(loop, SIGTERM, on_stop, loop))
        exit(1);
    printf("%u\n", listener_endpoint(listener).port);
    fflush(stdout);
    loop_run(loop);
    listener_free(listener);
}

int main(int argc, char **argv)
{
    struct tunnel_server_config config = { 0 };
    struct tunnel_server *server;
    struct tls_world world;
    bool is_plain = argc == 2 && strcmp(argv[1], "--plain") == 0;

    tls_world_open(&world);
    if (loop_new(&config.loop))
        return 1;
    if (!is_plain)
        config.tls = tls_world_ctx(&world, true, CERT_RELAY, 86400, TLS_KIND(CERT_AGENT),
                                   TLS_VERIFY_OPTIONAL);
    if (tunnel_server_new(&config, &server))
        return 1;
    run(config.loop, server);
    tunnel_server_free(server);
    loop_free(config.loop);
    if (config.tls)
        tls_ctx_unref(config.tls);
    tls_world_close(&world);
    return 0;
}
