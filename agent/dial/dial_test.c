#include "agent/dial/dial_fixture.h"

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
        { "sends no datagrams to loopback for a request without allow_special", "127.0.0.1", NULL, REAL, false, true, false, NULL, REASON_TARGET_FORBIDDEN },
        { "sends no datagrams to the metadata service", "169.254.169.254", NULL, OTHER, true, true, false, NULL, REASON_TARGET_FORBIDDEN },
        { "sends no datagrams to a multicast group", "224.0.0.251", NULL, OTHER, true, true, false, NULL, REASON_TARGET_FORBIDDEN },
        { "sends no datagrams to what its file denies", "denied.test", NULL, OTHER, true, true, false, NULL, REASON_ACL_DENIED },
        { "sends no datagrams outside the permitted ranges", "127.0.0.1", NULL, REAL, true, true, false, "10.0.0.0/8", REASON_TARGET_FORBIDDEN },
        { "sends no datagrams to a socket", "ok.test", "unix:", OTHER, true, true, false, NULL, REASON_TARGET_FORBIDDEN },
        { "sends no datagrams to a name that is not there", "nothing.test", NULL, OTHER, true, true, false, NULL, REASON_RESOLVE_FAILED },
        { "tells that nobody listens", "127.0.0.1", NULL, CLOSED, true, false, false, NULL, REASON_DIAL_REFUSED },
        { "tells that there is no such name", "nothing.test", NULL, OTHER, true, false, false, NULL, REASON_RESOLVE_FAILED },
        { "tells that nobody answers for a name in time", "silent.test", NULL, OTHER, true, false, false, NULL, REASON_RESOLVE_FAILED },
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
