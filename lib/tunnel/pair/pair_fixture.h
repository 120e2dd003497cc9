#pragma once
#include "lib/check/check.h"
#include "lib/crypto/random.h"
#include "lib/net/listener.h"
#include "lib/net/socket.h"
#include "lib/net/tls_fixture.h"
#include "lib/tunnel/client/tunnel_client.h"
#include "lib/tunnel/server/tunnel_server.h"
/*
 * pair_fixture.h - a relay's end and an agent's end on one loop, over loopback.
 *
 * The relay opens streams and checks what comes back, the agent echoes.
 */
#define PAIR_STREAMS 4

struct pair;

struct pair_stream {            /* of the relay */
    struct pair *pair;
    struct mux_stream *s;
    uint64_t total, sent, got, seed;
    bool is_opened, is_fin_seen, is_ended, is_wrong;
    enum reason how;
};

struct pair {
    struct loop *loop;
    struct tls_world world;
    struct tls_ctx *server_tls, *client_tls;
    struct listener *listener;
    struct mux *relay, *agent;
    struct tunnel_server *server;
    struct tunnel *up, *dialled;        /* the relay's tunnel, the agent's */
    struct tunnel_self relay_self, agent_self;
    struct tunnel_login login;
    struct tunnel_session session;      /* of the last tunnel that was accepted */
    enum reason verdict;                /* REASON_NONE: accept */
    bool is_verdict_late;
    bool is_agent_up, is_agent_down, is_relay_down;
    bool is_unwanted;                   /* the agent ends it when it has read the relay's HELLO */
    enum reason agent_why, relay_why;
    char agent_text[320];
    unsigned notices;
    char notice[64];
    struct identity shown;
    bool has_shown;
    struct pair_stream streams[PAIR_STREAMS];
    uint16_t port;
    struct resolver *resolver;          /* freed with the rest */
};

/* Byte `at` of the pattern of a stream: crossing streams or offsets shows. */
static inline unsigned char pair_byte(uint64_t seed, uint64_t at)
{
    uint64_t x = (at / 8 + seed) * 0x9e3779b97f4a7c15u;

    x ^= x >> 29;
    return (unsigned char)(x >> (at % 8 * 8));
}

/* --- the agent echoes ---------------------------------------------------------------- */
static void agent_pump(struct mux_stream *s)
{
    struct span spans[8];
    size_t count, room;

    while ((count = mux_stream_peek(s, spans, 8))) {
        unsigned char *to = mux_stream_reserve(s, &room);

        if (!room)
            return;
        if (room > spans[0].n)
            room = spans[0].n;
        memcpy(to, spans[0].p, room);
        mux_stream_commit(s, room);
        mux_stream_consume(s, room);
    }
    if (mux_stream_at_fin(s))
        mux_stream_fin(s);
}

static void agent_on_open(void *link_user, struct mux_stream *s, const struct mux_open *open)
{
    struct mux_opened opened = { .resolved_by = SPAN("literal") };

    (void)link_user, (void)open;
    mux_stream_set_user(s, s);
    mux_stream_accept(s, &opened);
}

static void agent_on_event(void *user, struct mux_stream *s)
{
    (void)user;
    agent_pump(s);
}

/* --- the relay sends and checks ------------------------------------------------------ */
static void relay_push(struct pair_stream *p)
{
    while (p->sent < p->total) {
        size_t room;
        unsigned char *to = mux_stream_reserve(p->s, &room);

        if (!room)
            return;
        if (room > p->total - p->sent)
            room = (size_t)(p->total - p->sent);
        for (size_t i = 0; i < room; i++)
            to[i] = pair_byte(p->seed, p->sent + i);
        mux_stream_commit(p->s, room);
        p->sent += room;
        if (p->sent == p->total)
            mux_stream_fin(p->s);
    }
}

static void relay_on_opened(void *user, struct mux_stream *s, const struct mux_opened *opened)
{
    struct pair_stream *p = user;

    (void)opened;
    p->is_opened = true;
    if (!p->total)
        mux_stream_fin(s);
    relay_push(p);
}

static void relay_on_writable(void *user, struct mux_stream *s)
{
    (void)s;
    relay_push(user);
}

static void relay_on_readable(void *user, struct mux_stream *s)
{
    struct pair_stream *p = user;
    struct span spans[8];
    size_t count;

    while ((count = mux_stream_peek(s, spans, 8)))
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < spans[i].n; j++)
                if ((unsigned char)spans[i].p[j] != pair_byte(p->seed, p->got + j))
                    p->is_wrong = true;
            p->got += spans[i].n;
            mux_stream_consume(s, spans[i].n);
        }
    p->is_fin_seen |= mux_stream_at_fin(s);
}

static void relay_on_ended(void *user, struct mux_stream *s, enum reason how)
{
    struct pair_stream *p = user;

    (void)s;
    if (!p)
        return;
    p->is_ended = true;
    p->how = how;
    p->s = NULL;
}

/* 0, or why the mux does not take it. */
static inline int pair_stream_try(struct pair *p, struct pair_stream *x, uint64_t seed,
                                  uint64_t total)
{
    struct mux_open open = { .kind = MUX_KIND_TCP,
                             .host = SPAN("10.0.0.1"),
                             .port = 80,
                             .answer_ms = 5000,
                             .grace_ms = 1000 };

    *x = (struct pair_stream){ .pair = p, .total = total, .seed = seed };
    random_bytes(open.uid, sizeof(open.uid));
    random_bytes(open.secret, sizeof(open.secret));
    return mux_stream_open(tunnel_link(p->up), &open, seed, x, loop_now_ms(p->loop), &x->s);
}

static inline void pair_stream_open(struct pair *p, unsigned i, uint64_t total)
{
    assert_int_equal(pair_stream_try(p, &p->streams[i], i + 1, total), 0);
}

/* --- tunnels ------------------------------------------------------------------------- */
static void pair_judge(void *arg)
{
    struct pair *p = arg;

    if (p->verdict)
        tunnel_refuse(p->up, p->verdict, "not you");
    else if (tunnel_peer_hello(p->up)->credential != TUNNEL_SESSION || tunnel_check_session(p->up, &p->session))
        tunnel_accept(p->up);
    else
        tunnel_refuse(p->up, REASON_BAD_PROOF, "the proof of the session is wrong");
}

static void relay_on_credential(void *user, struct tunnel *t, const struct tunnel_hello *hello,
                                const struct identity *shown)
{
    struct pair *p = user;

    assert_string_equal(hello->name, "agent");
    p->up = t;
    p->has_shown = shown != NULL;
    if (shown)
        p->shown = *shown;
    if (p->is_verdict_late)
        assert_int_equal(loop_post(p->loop, pair_judge, p), 0);
    else
        pair_judge(p);
}

static void relay_on_up(void *user, struct tunnel *t)
{
    struct pair *p = user;

    p->session = *tunnel_session(t);
}

static void relay_on_down(void *user, struct tunnel *t, enum reason why, const char *text)
{
    struct pair *p = user;

    (void)text;
    p->is_relay_down = true;
    p->relay_why = why;
    if (p->up == t)
        p->up = NULL;
}

static void agent_on_up(void *user, struct tunnel *t)
{
    struct pair *p = user;

    assert_string_equal(tunnel_peer_hello(t)->name, "relay");
    p->is_agent_up = true;
}

static void agent_on_down(void *user, struct tunnel *t, enum reason why, const char *text)
{
    struct pair *p = user;

    assert_ptr_equal(p->dialled, t);
    p->dialled = NULL;
    p->is_agent_down = true;
    p->agent_why = why;
    assert_true(span_copy(span_str(text), p->agent_text, sizeof(p->agent_text)));
}

static void agent_on_notice(void *user, struct tunnel *t, unsigned kind, uint64_t revision,
                            struct span body)
{
    struct pair *p = user;

    (void)t;
    assert_int_equal(kind, TUNNEL_NOTICE_AGENT_POLICY);
    assert_int_equal(revision, 7);
    assert_true(span_copy(body, p->notice, sizeof(p->notice)));
    p->notices++;
}

static const struct tunnel_handlers relay_handlers = {
    .on_credential = relay_on_credential, .on_up = relay_on_up, .on_down = relay_on_down,
};
static inline bool agent_on_greeted(void *user, struct tunnel *t, const struct tunnel_hello *hello)
{
    const struct pair *p = user;

    assert_ptr_equal(t, p->dialled);
    assert_int_equal(hello->workers, 3);
    assert_int_equal(hello->worker, 2);
    return !p->is_unwanted;
}

static const struct tunnel_handlers agent_handlers = {
    .on_greeted = agent_on_greeted,
    .on_up = agent_on_up, .on_down = agent_on_down, .on_notice = agent_on_notice,
};

static void on_accept(void *user, int fd, const struct endpoint *peer)
{
    struct pair *p = user;

    tunnel_server_adopt(p->server, fd, peer);
}

/* --- life ---------------------------------------------------------------------------- */
struct pair_options {
    bool is_plain;
    bool is_other_root;
    enum cert_kind server_kind, client_kind;    /* 0 both: relay and agent */
    uint32_t handshake_ms, hello_ms, links_max, handshakes_max, handshakes_per_s;
};

static inline void pair_make_tls(struct pair *p, const struct pair_options *o)
{
    enum cert_kind server = o->server_kind ? o->server_kind : CERT_RELAY;
    struct tls_world other;

    tls_world_open(&other);
    p->server_tls = tls_world_ctx(o->is_other_root ? &other : &p->world, true, server, 1000,
                                  TLS_KIND(CERT_AGENT), TLS_VERIFY_OPTIONAL);
    p->client_tls = tls_world_ctx(&p->world, false, o->client_kind, 1000, TLS_KIND(CERT_RELAY),
                                  TLS_VERIFY_REQUIRED);
    tls_world_close(&other);
}

static inline void pair_make_muxes(struct pair *p, uint32_t hello_ms)
{
    struct mux_config config = { .memory_limit = 256u << 20, .streams_max = 1000, .random_seed = 1,
                                 .hello_timeout_ms = hello_ms };
    struct mux_handlers relay = {
        .on_opened = relay_on_opened,
        .on_writable = relay_on_writable,
        .on_readable = relay_on_readable,
        .on_ended = relay_on_ended,
    };
    struct mux_handlers agent = {
        .on_open = agent_on_open, .on_readable = agent_on_event, .on_writable = agent_on_event,
    };

    tunnel_fill_handlers(&relay);
    tunnel_fill_handlers(&agent);
    p->agent = mux_new(&config, &agent);
    config.is_accepting = true;
    p->relay = mux_new(&config, &relay);
}

static inline void pair_open(struct pair *p, const struct pair_options *o)
{
    struct listener_config listen = { .on_accept = on_accept, .user = p };
    struct tunnel_server_config server = { 0 };
    unsigned char memory[256];
    struct buf err;

    memset(p, 0, sizeof(*p));
    assert_int_equal(loop_new(&p->loop), 0);
    tls_world_open(&p->world);
    if (!o->is_plain)
        pair_make_tls(p, o);
    pair_make_muxes(p, o->hello_ms);
    p->relay_self = (struct tunnel_self){
        .id = random_ulid(1), .name = "relay", .boot_id = random_ulid(2), .streams_max = 1000,
        .workers = 3, .worker = 2,
    };
    p->agent_self = (struct tunnel_self){
        .id = random_ulid(3), .name = "agent", .boot_id = random_ulid(4), .starts = 1
    };
    p->login.kind = TUNNEL_CERTIFICATE;
    server = (struct tunnel_server_config){
        .loop = p->loop,
        .mux = p->relay,
        .tls = p->server_tls,
        .self = &p->relay_self,
        .handlers = &relay_handlers,
        .user = p,
        .handshake_ms = o->handshake_ms,
        .links_max = o->links_max,
        .handshakes_max = o->handshakes_max,
        .handshakes_per_s = o->handshakes_per_s,
    };
    assert_int_equal(tunnel_server_new(&server, &p->server), 0);
    buf_init_fixed(&err, memory, sizeof(memory));
    assert_true(endpoint_parse(SPAN("127.0.0.1:0"), &listen.at));
    assert_int_equal(listener_open(p->loop, &listen, &p->listener, &err), 0);
    p->port = listener_endpoint(p->listener).port;
}

static inline void pair_dial(struct pair *p)
{
    struct tunnel_dial d = {
        .loop = p->loop,
        .mux = p->agent,
        .host = "127.0.0.1",
        .port = p->port,
        .tls = p->client_tls,
        .ready_ms = 3000,
        .self = &p->agent_self,
        .login = &p->login,
        .handlers = &agent_handlers,
        .user = p,
    };

    p->is_agent_up = p->is_agent_down = p->is_relay_down = false;
    assert_int_equal(tunnel_dial(&d, &p->dialled), 0);
}

static inline bool pair_is_up(void *arg) { return ((struct pair *)arg)->is_agent_up; }
static inline bool pair_is_agent_down(void *arg) { return ((struct pair *)arg)->is_agent_down; }
static inline bool pair_is_relay_down(void *arg) { return ((struct pair *)arg)->is_relay_down; }
static inline bool pair_has_notice(void *arg) { return ((struct pair *)arg)->notices > 0; }

static inline bool pair_are_streams_ended(void *arg)
{
    struct pair *p = arg;

    for (unsigned i = 0; i < PAIR_STREAMS; i++)
        if (p->streams[i].pair && !p->streams[i].is_ended)
            return false;
    return true;
}

static inline void pair_close(struct pair *p)
{
    listener_free(p->listener);
    resolver_free(p->resolver);
    p->is_agent_down = false;
    if (p->dialled)
        tunnel_close(p->dialled, REASON_AGENT_DRAINING, "bye");
    if (p->dialled)
        assert_true(loop_run_until(p->loop, pair_is_agent_down, p, 5000));
    tunnel_server_free(p->server);
    mux_free(p->relay);
    mux_free(p->agent);
    loop_free(p->loop);
    tls_ctx_unref(p->server_tls);
    tls_ctx_unref(p->client_tls);
    tls_world_close(&p->world);
}
