#pragma once
#include "agent/dial/dial.h"
#include "agent/resolve/dns_fixture.h"
#include "lib/log/log.h"
#include "lib/pipe/peer_fixture.h"
#include "lib/pipe/wire_fixture.h"
#include <sys/un.h>

/*
 * dial_fixture.h - a dialer with its resolver and DNS, and a relay's end that opens streams to it.
 */

/* A relay's end that opens streams and echoes nothing: it sends a pattern and checks one. */
struct caller {
    struct mux_stream *stream;
    uint64_t sent, got, total;
    unsigned datagrams;
    size_t last_len;
    bool is_opened, is_refused, is_fin, is_ended, is_wrong, is_reset;
    enum reason why, how;
    struct endpoint used;
    char resolved_by[96];
    size_t try_count;
};

struct town {
    struct loop *loop;
    struct wire wire;
    struct dns dns;
    struct resolve *resolve;
    struct acl acl;
    struct dialer *dialer;
    int listening, unix_listening;
    uint16_t port, closed_port;
    int udp;                    /* a target of datagrams */
    uint16_t udp_port;
    struct full full;
    char unix_path[64];
    unsigned next_uid;
};

/* --- the relay's end ---------------------------------------------------------------------------- */

static inline void caller_push(struct caller *c)
{
    while (c->sent < c->total) {
        size_t room;
        unsigned char *dst = mux_stream_reserve(c->stream, &room);

        if (!dst)
            return;
        room = room < c->total - c->sent ? room : (size_t)(c->total - c->sent);
        for (size_t i = 0; i < room; i++)
            dst[i] = peer_byte(5, c->sent + i);
        mux_stream_commit(c->stream, room);
        c->sent += room;
    }
    mux_stream_fin(c->stream);
}

static inline void on_opened(void *user, struct mux_stream *s, const struct mux_opened *opened)
{
    struct caller *c = user;

    (void)s;
    c->is_opened = true;
    c->used = opened->used;
    c->try_count = opened->try_count;
    assert_true(span_copy(opened->resolved_by, c->resolved_by, sizeof(c->resolved_by)));
    if (c->total)
        caller_push(c);
}

static inline void on_refused(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    struct caller *c = user;

    (void)s, (void)text;
    c->is_refused = true;
    c->why = why;
}

static inline void on_readable(void *user, struct mux_stream *s)
{
    struct caller *c = user;
    struct span span;

    while (mux_stream_peek(s, &span, 1)) {
        for (size_t i = 0; i < span.n; i++)
            c->is_wrong |= (unsigned char)span.p[i] != peer_byte(9, c->got + i);
        c->got += span.n;
        mux_stream_consume(s, span.n);
    }
    c->is_fin |= mux_stream_at_fin(s);
}

static inline void on_writable(void *user, struct mux_stream *s)
{
    (void)s;
    caller_push(user);
}

static inline void on_datagram(void *user, struct mux_stream *s, struct span bytes)
{
    struct caller *c = user;

    (void)s;
    for (size_t i = 0; i < bytes.n; i++)
        c->is_wrong |= (unsigned char)bytes.p[i] != (unsigned char)bytes.n;
    c->datagrams++;
    c->last_len = bytes.n;
}

static inline void on_reset(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    struct caller *c = user;

    (void)s, (void)text;
    c->is_reset = true;
    c->why = why;
}

static inline void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    struct caller *c = user;

    (void)s;
    c->is_ended = true;
    c->how = how;
}

static inline bool is_answered(void *arg) { return ((struct caller *)arg)->is_opened || ((struct caller *)arg)->is_ended; }
static inline bool is_ended(void *arg) { return ((struct caller *)arg)->is_ended; }

/* --- the agent ------------------------------------------------------------------------------------ */

static inline void on_open(void *link_user, struct mux_stream *s, const struct mux_open *open)
{
    dialer_on_open(((struct wire_end *)link_user)->program, s, open);
}

static inline void reach_add(struct agent_reach *r, const char *host)
{
    struct reach_rule rule = { .allow_special = true };

    assert_int_equal(host_pattern_parse(span_str(host), &rule.host), 0);
    assert_int_equal(agent_reach_add(r, &rule), 0);
}

static inline struct agent_reach *reach_of(const char *host)
{
    struct agent_reach *r = agent_reach_new();

    reach_add(r, host);
    agent_reach_finish(r);
    return r;
}

static inline struct agent_reach *reach_all(const struct town *t)
{
    struct agent_reach *r = agent_reach_new();
    char socket[80];

    snprintf(socket, sizeof(socket), "unix:%s", t->unix_path);
    reach_add(r, "*");
    reach_add(r, socket);
    agent_reach_finish(r);
    return r;
}

static inline void listen_unix(struct town *t)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    snprintf(t->unix_path, sizeof(t->unix_path), "/tmp/adit-dial-test-%d.sock", getpid());
    memcpy(at.sun_path, t->unix_path, strlen(t->unix_path) + 1);
    unlink(t->unix_path);
    t->unix_listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(t->unix_listening, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(t->unix_listening, 4), 0);
}

static inline void make_acl(struct town *t)
{
    char rule[80];

    assert_int_equal(acl_add_allow(&t->acl, SPAN("*")), 0);
    assert_int_equal(acl_add_deny(&t->acl, SPAN("denied.test")), 0);
    assert_int_equal(acl_add_deny(&t->acl, SPAN("192.0.2.66")), 0);
    snprintf(rule, sizeof(rule), "127.0.0.1:%u,%u,%u,%u", t->port, t->closed_port, t->full.port, t->udp_port);
    assert_int_equal(acl_add_special(&t->acl, span_str(rule)), 0);
    snprintf(rule, sizeof(rule), "unix:%s", t->unix_path);
    assert_int_equal(acl_add_special(&t->acl, span_str(rule)), 0);
}

static inline int udp_listen(uint16_t *ret_port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

/* With datagrams that end after so much silence. */
static inline void town_open_udp(struct town *t, uint32_t udp_idle_ms)
{
    struct mux_handlers relay = {
        .on_opened = on_opened, .on_refused = on_refused, .on_readable = on_readable, .on_writable = on_writable,
        .on_reset = on_reset, .on_ended = on_ended, .on_datagram = on_datagram,
    };
    struct mux_handlers agent = { .on_open = on_open };
    struct resolve_config resolve = { .resolver = { .is_search_off = true, .try_ms = 100 } };
    struct dialer_config config = { .boot_id = SPAN("boot"), .dial_ms = 2500, .udp_idle_ms = udp_idle_ms };

    *t = (struct town){ .next_uid = 1 };
    log_set_level(LOG_ERROR);
    assert_int_equal(loop_new(&t->loop), 0);
    t->listening = tcp_listen(&t->port);
    t->udp = udp_listen(&t->udp_port);
    close(tcp_listen(&t->closed_port));
    full_open(&t->full);
    listen_unix(t);
    make_acl(t);
    dns_open(&t->dns, t->loop);
    resolve.resolver.servers = t->dns.at;
    assert_int_equal(resolve_new(t->loop, &resolve, &t->resolve), 0);
    config.loop = t->loop;
    config.resolve = t->resolve;
    config.acl = &t->acl;
    assert_int_equal(dialer_new(&config, &t->dialer), 0);
    dialer_set_reach(t->dialer, reach_all(t));
    dialer_handlers(&agent);
    wire_open(&t->wire, t->loop, &relay, &agent);
    t->wire.end[1].program = t->dialer;
}

static inline void town_open(struct town *t)
{
    town_open_udp(t, 0);
}

static inline void town_close(struct town *t)
{
    wire_close(&t->wire);
    assert_int_equal(dialer_stats(t->dialer)->live, 0);
    dialer_free(t->dialer);
    assert_int_equal(resolve_stats(t->resolve)->waiting, 0);
    resolve_free(t->resolve);
    dns_close(&t->dns);
    acl_deinit(&t->acl);
    close(t->listening);
    close(t->udp);
    full_close(&t->full);
    close(t->unix_listening);
    unlink(t->unix_path);
    loop_free(t->loop);
}

static inline void call(struct town *t, struct caller *c, struct mux_open open)
{
    open.kind = open.kind ? open.kind : MUX_KIND_TCP;
    memcpy(open.uid, &t->next_uid, sizeof(t->next_uid));
    t->next_uid++;
    memset(open.secret, 3, sizeof(open.secret));
    assert_int_equal(mux_stream_open(t->wire.end[0].link, &open, 1, c, loop_now_ms(t->loop), &c->stream), 0);
}
