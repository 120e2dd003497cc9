#include "agent/dial/dial.h"
#include "agent/resolve/dns_fixture.h"
#include "lib/log/log.h"
#include "lib/pipe/peer_fixture.h"
#include "lib/pipe/wire_fixture.h"
#include <sys/un.h>

/* A relay's end that opens streams and echoes nothing: it sends a pattern and checks one. */
struct caller {
    struct mux_stream *stream;
    uint64_t sent, got, total;
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
    struct full full;
    char unix_path[64];
    unsigned next_uid;
};

/* --- the relay's end ---------------------------------------------------------------------------- */

static void caller_push(struct caller *c)
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

static void on_opened(void *user, struct mux_stream *s, const struct mux_opened *opened)
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

static void on_refused(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    struct caller *c = user;

    (void)s, (void)text;
    c->is_refused = true;
    c->why = why;
}

static void on_readable(void *user, struct mux_stream *s)
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

static void on_writable(void *user, struct mux_stream *s)
{
    (void)s;
    caller_push(user);
}

static void on_reset(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    struct caller *c = user;

    (void)s, (void)text;
    c->is_reset = true;
    c->why = why;
}

static void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    struct caller *c = user;

    (void)s;
    c->is_ended = true;
    c->how = how;
}

static bool is_answered(void *arg) { return ((struct caller *)arg)->is_opened || ((struct caller *)arg)->is_ended; }
static bool is_ended(void *arg) { return ((struct caller *)arg)->is_ended; }

/* --- the agent ------------------------------------------------------------------------------------ */

static void on_open(void *link_user, struct mux_stream *s, const struct mux_open *open)
{
    dialer_on_open(((struct wire_end *)link_user)->program, s, open);
}

static void reach_add(struct agent_reach *r, const char *host)
{
    struct reach_rule rule = { .allow_special = true };

    assert_int_equal(host_pattern_parse(span_str(host), &rule.host), 0);
    assert_int_equal(agent_reach_add(r, &rule), 0);
}

static struct agent_reach *reach_of(const char *host)
{
    struct agent_reach *r = agent_reach_new();

    reach_add(r, host);
    agent_reach_finish(r);
    return r;
}

static struct agent_reach *reach_all(const struct town *t)
{
    struct agent_reach *r = agent_reach_new();
    char socket[80];

    snprintf(socket, sizeof(socket), "unix:%s", t->unix_path);
    reach_add(r, "*");
    reach_add(r, socket);
    agent_reach_finish(r);
    return r;
}

static void listen_unix(struct town *t)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    snprintf(t->unix_path, sizeof(t->unix_path), "/tmp/adit-dial-test-%d.sock", getpid());
    memcpy(at.sun_path, t->unix_path, strlen(t->unix_path) + 1);
    unlink(t->unix_path);
    t->unix_listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(t->unix_listening, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(t->unix_listening, 4), 0);
}

static void make_acl(struct town *t)
{
    char rule[80];

    assert_int_equal(acl_add_allow(&t->acl, SPAN("*")), 0);
    assert_int_equal(acl_add_deny(&t->acl, SPAN("denied.test")), 0);
    assert_int_equal(acl_add_deny(&t->acl, SPAN("192.0.2.66")), 0);
    snprintf(rule, sizeof(rule), "127.0.0.1:%u,%u,%u", t->port, t->closed_port, t->full.port);
    assert_int_equal(acl_add_special(&t->acl, span_str(rule)), 0);
    snprintf(rule, sizeof(rule), "unix:%s", t->unix_path);
    assert_int_equal(acl_add_special(&t->acl, span_str(rule)), 0);
}

static void town_open(struct town *t)
{
    struct mux_handlers relay = {
        .on_opened = on_opened, .on_refused = on_refused, .on_readable = on_readable, .on_writable = on_writable,
        .on_reset = on_reset, .on_ended = on_ended,
    };
    struct mux_handlers agent = { .on_open = on_open };
    struct resolve_config resolve = { .resolver = { .is_search_off = true, .try_ms = 100 } };
    struct dialer_config config = { .boot_id = SPAN("boot"), .dial_ms = 2500 };

    *t = (struct town){ .next_uid = 1 };
    log_set_level(LOG_ERROR);
    assert_int_equal(loop_new(&t->loop), 0);
    t->listening = tcp_listen(&t->port);
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

static void town_close(struct town *t)
{
    wire_close(&t->wire);
    assert_int_equal(dialer_stats(t->dialer)->live, 0);
    dialer_free(t->dialer);
    assert_int_equal(resolve_stats(t->resolve)->waiting, 0);
    resolve_free(t->resolve);
    dns_close(&t->dns);
    acl_deinit(&t->acl);
    close(t->listening);
    full_close(&t->full);
    close(t->unix_listening);
    unlink(t->unix_path);
    loop_free(t->loop);
}

static void call(struct town *t, struct caller *c, struct mux_open open)
{
    open.kind = open.kind ? open.kind : MUX_KIND_TCP;
    memcpy(open.uid, &t->next_uid, sizeof(t->next_uid));
    t->next_uid++;
    memset(open.secret, 3, sizeof(open.secret));
    assert_int_equal(mux_stream_open(t->wire.end[0].link, &open, 1, c, loop_now_ms(t->loop), &c->stream), 0);
}

/* --- what is dialled, and what is not ---------------------------------------------------------------- */

static void test_refused(void **state)
{
    enum { REAL, CLOSED, OTHER };
    static const struct {
        const char *it, *host, *resolve_to;
        int port;
        bool allow_special, is_udp, has_no_policy;
        const char *range;
        enum reason why;
    } rows[] = {
        { "does not dial loopback for a request without allow_special", "127.0.0.1", NULL, REAL, false, false, false, NULL, REASON_TARGET_FORBIDDEN },
        { "does not dial a port of loopback that its file does not list", "127.0.0.1", NULL, OTHER, true, false, false, NULL, REASON_TARGET_FORBIDDEN },
        { "does not dial mapped loopback", "::ffff:127.0.0.1", NULL, OTHER, true, false, false, NULL, REASON_TARGET_FORBIDDEN },
        { "does not dial NAT64 loopback", "64:ff9b::7f00:1", NULL, REAL, false, false, false, NULL, REASON_TARGET_FORBIDDEN },
        { "does not dial the metadata service", "169.254.169.254", NULL, OTHER, true, false, false, NULL, REASON_TARGET_FORBIDDEN },
        { "does not dial what its file denies", "denied.test", NULL, OTHER, true, false, false, NULL, REASON_ACL_DENIED },
        { "does not dial an address that its file denies under a name", "a-66.test", NULL, OTHER, false, false, false, NULL, REASON_ACL_DENIED },
        { "does not dial loopback that a name resolves to by override", "ok.test", "127.0.0.1", OTHER, false, false, false, NULL, REASON_TARGET_FORBIDDEN },
        { "does not dial an address outside the permitted ranges", "127.0.0.1", NULL, REAL, true, false, false, "10.0.0.0/8", REASON_TARGET_FORBIDDEN },
        { "does not dial without a policy of the control plane", "127.0.0.1", NULL, REAL, true, false, true, NULL, REASON_TARGET_FORBIDDEN },
        { "does not take a malformed host", "a..b", NULL, OTHER, true, false, false, NULL, REASON_PROTOCOL_ERROR },
        { "does not take an override that is no address", "ok.test", "bogus", OTHER, true, false, false, NULL, REASON_PROTOCOL_ERROR },
        { "does not dial a socket for a request without allow_special", "ok.test", "unix:", OTHER, false, false, false, NULL, REASON_TARGET_FORBIDDEN },
        { "does not dial a socket that its file does not list", "ok.test", "unix:/run/docker.sock", OTHER, true, false, false, NULL, REASON_COUNT },
        { "tells that nobody listens", "127.0.0.1", NULL, CLOSED, true, false, false, NULL, REASON_DIAL_REFUSED },
        { "tells that there is no such name", "nothing.test", NULL, OTHER, true, false, false, NULL, REASON_RESOLVE_FAILED },
        { "tells that nobody answers for a name in time", "silent.test", NULL, OTHER, true, false, false, NULL, REASON_RESOLVE_FAILED },
        { "carries no datagrams", "127.0.0.1", NULL, REAL, true, true, false, NULL, REASON_METHOD_NOT_ALLOWED },
    };
    struct town t;

    (void)state;
    town_open(&t);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct caller c = { 0 };
        struct mux_open open = {
            .kind = rows[i].is_udp ? MUX_KIND_UDP : MUX_KIND_TCP,
            .host = span_str(rows[i].host),
            .port = rows[i].port == REAL ? t.port : rows[i].port == CLOSED ? t.closed_port : 81,
            .allow_special = rows[i].allow_special,
        };
        char path[80];

        check_row(rows[i].it);
        dialer_set_reach(t.dialer, rows[i].has_no_policy ? NULL : reach_all(&t));
        snprintf(path, sizeof(path), "unix:%s", t.unix_path);
        if (rows[i].resolve_to)
            open.resolve_to[open.resolve_count++] = span_str(strcmp(rows[i].resolve_to, "unix:") ? rows[i].resolve_to : path);
        if (rows[i].range)
            assert_true(cidr_parse(span_str(rows[i].range), &open.ranges[open.range_count++]));
        call(&t, &c, open);
        assert_true(loop_run_until(t.loop, is_ended, &c, 5000));
        assert_true(c.is_refused);
        assert_false(c.is_opened);
        if (rows[i].why != REASON_COUNT)
            assert_int_equal(c.why, rows[i].why);
        else
            assert_true(c.why == REASON_ACL_DENIED || c.why == REASON_TARGET_FORBIDDEN);
    }
    assert_int_equal(dialer_stats(t.dialer)->opened, 0);
    town_close(&t);
}

struct far_end {
    struct peer peer;
    struct town *town;
    int fd;
};

static void accept_one(struct far_end *f, struct town *t, int listening, uint64_t total)
{
    int fd = accept(listening, NULL, NULL);

    assert_true(fd >= 0);
    *f = (struct far_end){ .peer = { .seed = 9, .peer_seed = 5, .total = total }, .town = t };
    peer_adopt(&f->peer, t->loop, fd);
}

static bool is_all_over(void *arg)
{
    return ((struct far_end *)arg)->peer.is_eof;
}

static void test_carries(void **state)
{
    static const struct { const char *it; bool is_unix; const char *host, *resolve_to, *resolved_by; uint64_t up, down; } rows[] = {
        { "carries bytes of a literal", false, "127.0.0.1", NULL, "literal", 300000, 500000 },
        { "carries bytes of a name that was overridden", false, "db.test", "127.0.0.1", "override", 1 << 20, 1 },
        { "carries bytes of a Unix socket", true, "docker.test", "unix:", "override", 70000, 90000 },
        { "carries an end without bytes", false, "127.0.0.1", NULL, "literal", 1, 0 },
    };
    struct town t;

    (void)state;
    town_open(&t);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct caller c = { .total = rows[i].up };
        struct mux_open open = { .host = span_str(rows[i].host), .port = t.port, .allow_special = true };
        struct far_end far;
        char path[80];

        check_row(rows[i].it);
        snprintf(path, sizeof(path), "unix:%s", t.unix_path);
        if (rows[i].resolve_to)
            open.resolve_to[open.resolve_count++] = span_str(rows[i].is_unix ? path : rows[i].resolve_to);
        call(&t, &c, open);
        assert_true(loop_run_until(t.loop, is_answered, &c, 5000));
        assert_true(c.is_opened);
        assert_string_equal(c.resolved_by, rows[i].resolved_by);
        assert_int_equal(c.used.kind, rows[i].is_unix ? ENDPOINT_UNIX : ENDPOINT_IP);
        assert_int_equal(c.try_count, 1);
        accept_one(&far, &t, rows[i].is_unix ? t.unix_listening : t.listening, rows[i].down);
        assert_true(loop_run_until(t.loop, is_ended, &c, 10000));
        assert_true(loop_run_until(t.loop, is_all_over, &far, 5000));
        assert_int_equal(c.how, REASON_NONE);
        assert_int_equal(c.got, rows[i].down);
        assert_int_equal(far.peer.got, rows[i].up);
        assert_false(c.is_wrong || far.peer.is_wrong);
        peer_close(&far.peer);
    }
    town_close(&t);
}

static void test_cut(void **state)
{
    struct caller c = { 0 };
    struct far_end far;
    struct town t;

    (void)state;
    check_row("cuts a stream that a new policy no longer permits");
    town_open(&t);
    call(&t, &c, (struct mux_open){ .host = SPAN("127.0.0.1"), .port = t.port, .allow_special = true });
    assert_true(loop_run_until(t.loop, is_answered, &c, 5000));
    accept_one(&far, &t, t.listening, 0);
    far.peer.keeps_open = true;
    dialer_set_reach(t.dialer, reach_of("127.0.0.1"));
    assert_int_equal(dialer_stats(t.dialer)->live, 1);
    assert_false(c.is_ended);
    dialer_set_reach(t.dialer, reach_of("10.0.0.0/8"));
    assert_true(loop_run_until(t.loop, is_ended, &c, 5000));
    assert_int_equal(c.how, REASON_REVOKED);
    peer_close(&far.peer);

    check_row("dials nothing that a policy which came meanwhile does not permit");
    c = (struct caller){ 0 };
    dialer_set_reach(t.dialer, reach_all(&t));
    call(&t, &c, (struct mux_open){ .host = SPAN("127.0.0.1"), .port = t.full.port, .allow_special = true });
    (void)loop_run_until(t.loop, is_ended, &c, 20);
    dialer_set_reach(t.dialer, NULL);
    full_drain(&t.full);
    assert_true(loop_run_until(t.loop, is_ended, &c, 5000));
    assert_true(c.is_refused);
    assert_int_equal(c.why, REASON_REVOKED);

    check_row("refuses while it drains");
    c = (struct caller){ 0 };
    dialer_set_reach(t.dialer, reach_all(&t));
    dialer_drain(t.dialer);
    call(&t, &c, (struct mux_open){ .host = SPAN("127.0.0.1"), .port = t.port, .allow_special = true });
    assert_true(loop_run_until(t.loop, is_ended, &c, 5000));
    assert_int_equal(c.why, REASON_AGENT_DRAINING);
    town_close(&t);
}

static void test_left(void **state)
{
    static const char *const hosts[] = { "silent.test", "127.0.0.1" };
    struct town t;

    (void)state;
    town_open(&t);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct caller c = { 0 };

        check_row("stops resolving and dialling for a user who left");
        call(&t, &c, (struct mux_open){ .host = span_str(hosts[i]), .port = t.full.port, .allow_special = true });
        (void)loop_run_until(t.loop, is_ended, &c, 30);
        mux_stream_reset(c.stream, REASON_CLIENT_GONE, SPAN_NONE, true);
        assert_true(loop_run_until(t.loop, is_ended, &c, 600));
        assert_int_equal(dialer_stats(t.dialer)->live, 0);
    }
    check_row("stops when the link is lost");
    {
        struct caller c = { 0 };

        call(&t, &c, (struct mux_open){ .host = SPAN("silent.two.test"), .port = 81 });
        (void)loop_run_until(t.loop, is_ended, &c, 30);
        wire_cut(&t.wire);
        assert_true(loop_run_until(t.loop, is_ended, &c, 600));
        assert_int_equal(dialer_stats(t.dialer)->live, 0);
    }
    town_close(&t);
}

static void test_probe(void **state)
{
    struct caller c = { .total = 0 };
    struct town t;

    (void)state;
    check_row("answers a probe, and that is all");
    town_open(&t);
    call(&t, &c, (struct mux_open){ .kind = MUX_KIND_PROBE });
    assert_true(loop_run_until(t.loop, is_answered, &c, 5000));
    assert_true(c.is_opened);
    mux_stream_fin(c.stream);
    assert_true(loop_run_until(t.loop, is_ended, &c, 5000));
    assert_int_equal(c.how, REASON_NONE);
    town_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_carries), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_left), cmocka_unit_test(test_probe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
