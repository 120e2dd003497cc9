#include "agent/dial/dial_fixture.h"

static void ask(struct town *t, struct caller *c, uint16_t port)
{
    *c = (struct caller){ 0 };
    call(t, c, (struct mux_open){ .kind = MUX_KIND_UDP, .host = SPAN("127.0.0.1"), .port = port,
                                  .allow_special = true });
    assert_true(loop_run_until(t->loop, is_answered, c, 5000));
    assert_true(c->is_opened);
    assert_int_equal(c->try_count, 1);
    assert_int_equal(c->used.port, port);
    assert_string_equal(c->resolved_by, "literal");
}

/* Every byte tells the length. */
static void say(struct caller *c, size_t n)
{
    unsigned char bytes[MUX_DATAGRAM_MAX];

    memset(bytes, (int)(n & 0xff), n);
    assert_int_equal(mux_stream_send_datagram(c->stream, span_of(bytes, n)), 0);
}

struct far {
    struct town *town;
    struct sockaddr_in from;
    ssize_t n;
};

static ssize_t take(struct far *to, int flags)
{
    unsigned char bytes[MUX_DATAGRAM_MAX + 1];
    socklen_t len = sizeof(to->from);

    return recvfrom(to->town->udp, bytes, sizeof(bytes), flags, (struct sockaddr *)&to->from, &len);
}

static bool has_come(void *arg)
{
    return take(arg, MSG_PEEK) >= 0;
}

static struct far await(struct town *t)
{
    struct far to = { .town = t };

    assert_true(loop_run_until(t->loop, has_come, &to, 5000));
    to.n = take(&to, 0);
    return to;
}

static void answer(int fd, const struct far *to, size_t n)
{
    static unsigned char bytes[60000];

    memset(bytes, (int)(n & 0xff), n);
    assert_int_equal(sendto(fd, bytes, n, 0, (const struct sockaddr *)&to->from, sizeof(to->from)), n);
}

static unsigned wanted;
static bool has_got(void *arg) { return ((struct caller *)arg)->datagrams >= wanted; }

static void test_carries(void **state)
{
    static const size_t sizes[] = { 0, 1, 512, 1472, 9000, MUX_DATAGRAM_MAX };
    struct caller c;
    struct town t;

    (void)state;
    town_open(&t);
    ask(&t, &c, t.udp_port);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct far to;

        check_row("carries a datagram whole, each way");
        say(&c, sizes[i]);
        to = await(&t);
        assert_int_equal(to.n, sizes[i]);
        answer(t.udp, &to, sizes[i]);
        wanted = (unsigned)i + 1;
        assert_true(loop_run_until(t.loop, has_got, &c, 5000));
        assert_int_equal(c.last_len, sizes[i]);
        assert_false(c.is_wrong);
    }
    assert_int_equal(dialer_stats(t.dialer)->udp.sent, ARRAY_LEN(sizes));
    assert_int_equal(dialer_stats(t.dialer)->udp.received, ARRAY_LEN(sizes));

    check_row("ends complete when the entry says FIN");
    mux_stream_fin(c.stream);
    assert_true(loop_run_until(t.loop, is_ended, &c, 5000));
    assert_int_equal(c.how, REASON_NONE);
    town_close(&t);
}

static void test_does_not_take(void **state)
{
    struct far to;
    struct caller c;
    struct town t;
    uint16_t port;
    int other = udp_listen(&port);

    (void)state;
    check_row("takes nothing from another address, and nothing that no frame holds");
    town_open(&t);
    ask(&t, &c, t.udp_port);
    say(&c, 1);
    to = await(&t);
    answer(other, &to, 7);
    answer(t.udp, &to, 60000);
    answer(t.udp, &to, 9);
    wanted = 1;
    assert_true(loop_run_until(t.loop, has_got, &c, 5000));
    assert_int_equal(c.datagrams, 1);
    assert_int_equal(c.last_len, 9);
    assert_int_equal(dialer_stats(t.dialer)->udp.dropped, 1);
    mux_stream_reset(c.stream, REASON_CLIENT_GONE, SPAN_NONE, true);
    assert_true(loop_run_until(t.loop, is_ended, &c, 5000));
    close(other);
    town_close(&t);
}

static void test_ends(void **state)
{
    struct caller c;
    struct town t;

    (void)state;
    check_row("ends when ICMP says that nobody listens");
    town_open(&t);
    ask(&t, &c, t.closed_port);
    say(&c, 5);
    assert_true(loop_run_until(t.loop, is_ended, &c, 5000));
    assert_int_equal(c.how, REASON_DIAL_REFUSED);

    check_row("ends when a policy comes that no longer permits it");
    ask(&t, &c, t.udp_port);
    dialer_set_reach(t.dialer, reach_of("127.0.0.1"));
    assert_int_equal(dialer_stats(t.dialer)->live, 1);
    dialer_set_reach(t.dialer, reach_of("10.0.0.0/8"));
    assert_true(loop_run_until(t.loop, is_ended, &c, 5000));
    assert_int_equal(c.how, REASON_REVOKED);
    town_close(&t);
}

static void test_idle(void **state)
{
    struct caller c;
    struct town t;

    (void)state;
    check_row("ends after silence, and not before");
    town_open_udp(&t, 1000);
    ask(&t, &c, t.udp_port);
    for (int i = 0; i < 3; i++) {
        say(&c, 5);
        (void)await(&t);
        (void)loop_run_until(t.loop, is_ended, &c, 400);
        assert_false(c.is_ended);
    }
    assert_true(loop_run_until(t.loop, is_ended, &c, 5000));
    assert_int_equal(c.how, REASON_IDLE_TIMEOUT);
    town_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_carries), cmocka_unit_test(test_does_not_take),
        cmocka_unit_test(test_ends), cmocka_unit_test(test_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
