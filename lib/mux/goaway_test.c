#include "lib/mux/mux_pair_test.h"
/*
 * A link whose time is told: all that GOAWAY says arrives, streams go on, and at the end they are sent
 * away from it and not reset.
 */
static struct {
    struct mux_stream *s[2];
    unsigned ended[2], wants, moved, resets;
    enum reason how[2];
} seen;

static void mac(const unsigned char secret[MUX_SECRET_LEN], struct span message, unsigned char ret_mac[32])
{
    memcpy(ret_mac, secret, MUX_SECRET_LEN);
    memset(ret_mac + MUX_SECRET_LEN, (int)message.n, 32 - MUX_SECRET_LEN);
}

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    const struct mux_opened opened = { .boot_id = SPAN("boot") };

    (void)user;
    (void)open;
    mux_stream_accept(s, &opened);
    seen.s[1] = s;
    mux_stream_set_user(s, &seen.s[1]);
}

static void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    int end = user == &seen.s[1];

    (void)s;
    seen.s[end] = NULL;
    seen.ended[end]++;
    seen.how[end] = how;
}

static void on_reset(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    (void)user;
    (void)s;
    (void)why;
    (void)text;
    seen.resets++;
}

static void on_want_path(void *user, struct mux_stream *s)
{
    (void)user;
    (void)s;
    seen.wants++;
}

static void on_moved(void *user, struct mux_stream *s)
{
    (void)user;
    (void)s;
    seen.moved++;
}

static void start(struct pair *p, uint32_t grace_ms)
{
    const struct mux_handlers on = { .on_open = on_open, .on_ended = on_ended, .on_reset = on_reset,
                                     .on_want_path = on_want_path, .on_moved = on_moved };
    const struct mux_config config = { .memory_limit = 8 << 20, .random_seed = 1, .mac = mac, .boot_id = "boot" };
    const struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = 1, .uid = { 1 },
                                   .grace_ms = grace_ms };

    memset(&seen, 0, sizeof(seen));
    pair_init(p, &config, on, 1);
    pair_greet(p);
    assert_int_equal(mux_stream_open(p->side[0].link, &open, 1, &seen.s[0], p->now_ms, &seen.s[0]), 0);
    pair_settle(p);
    assert_non_null(seen.s[1]);
}

static void say(struct mux_stream *s, const char *text)
{
    size_t n;
    unsigned char *at = mux_stream_reserve(s, &n);

    assert_true(at && n >= strlen(text));
    memcpy(at, text, strlen(text));
    mux_stream_commit(s, strlen(text));
}

static void test_all_of_it_arrives(void **state)
{
    char longest[255];
    struct mux_goaway g = { .why = REASON_RELAY_DRAINING, .text = SPAN("bye"), .ms_left = 30000, .retry_ms = 3000,
                            .scope = MUX_SCOPE_SESSION, .elsewhere_count = MUX_ELSEWHERE_MAX };
    struct pair p;

    (void)state;
    memset(longest, 'r', sizeof(longest));
    for (size_t i = 0; i < MUX_ELSEWHERE_MAX; i++)
        g.elsewhere[i] = span_of(longest, sizeof(longest));
    for (int from = 0; from < 2; from++) {
        start(&p, 60000);
        mux_link_goaway(p.side[from].link, &g);
        pair_settle(&p);
        assert_int_equal(p.side[!from].goaways, 1);
        assert_int_equal(p.side[!from].goaway.why, REASON_RELAY_DRAINING);
        assert_int_equal(p.side[!from].goaway.ms_left, 30000);
        assert_int_equal(p.side[!from].goaway.retry_ms, 3000);
        assert_int_equal(p.side[!from].goaway.scope, MUX_SCOPE_SESSION);
        assert_int_equal(p.side[!from].goaway.elsewhere_count, MUX_ELSEWHERE_MAX);
        assert_memory_equal(p.side[!from].elsewhere, longest, sizeof(longest));
        assert_false(mux_link_may_open(p.side[0].link) || mux_link_may_open(p.side[1].link));
        pair_deinit(&p);
    }
}

/* A second pair of links would be a second session: here the streams come back over a new link each. */
static void greet_anew(struct pair *p)
{
    mux_link_free(p->side[0].link);
    mux_link_free(p->side[1].link);
    pair_drop_pipe(p);
    for (int i = 0; i < 2; i++)
        p->side[i].link = mux_link_new(p->side[i].mux, &p->side[i], p->now_ms);
    pair_greet(p);
}

static void test_streams_are_sent_away(void **state)
{
    static const struct {
        const char *it;
        uint32_t grace_ms;
        unsigned wants, ended;
    } rows[] = {
        { "sends away what may move", 60000, 1, 0 },
        { "leaves the others to the end of the link", 0, 0, 0 },
    };
    struct pair p;

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        int from = (int)(i % 2);

        check_row(rows[i / 2].it);
        start(&p, rows[i / 2].grace_ms);
        mux_link_goaway(p.side[from].link, &(struct mux_goaway){ .why = REASON_RELAY_DRAINING, .ms_left = 100 });
        say(seen.s[0], "before");
        pair_settle(&p);
        say(seen.s[1], "on its way");
        mux_link_detach(p.side[from].link, REASON_RELAY_DRAINING);
        pair_settle(&p);
        assert_int_equal(seen.wants, rows[i / 2].wants);
        assert_int_equal(seen.ended[0] + seen.ended[1], rows[i / 2].ended);
        assert_int_equal(mux_link_stream_count(p.side[0].link), !rows[i / 2].wants);
        assert_int_equal(mux_link_stream_count(p.side[1].link), !rows[i / 2].wants);
        assert_int_equal(seen.resets + p.side[0].failed + p.side[1].failed, 0);
        pair_deinit(&p);
    }
}

static void test_they_go_on_whole(void **state)
{
    struct span got[2];
    struct pair p;

    (void)state;
    start(&p, 60000);
    mux_link_goaway(p.side[1].link, &(struct mux_goaway){ .why = REASON_RELAY_DRAINING, .ms_left = 100 });
    pair_settle(&p);
    say(seen.s[0], "one");
    mux_link_detach(p.side[1].link, REASON_RELAY_DRAINING);
    pair_settle(&p);
    greet_anew(&p);
    assert_int_equal(mux_stream_attach(seen.s[0], p.side[0].link, SPAN("boot"), p.now_ms), 0);
    say(seen.s[0], " and two");
    pair_settle(&p);
    assert_true(seen.moved > 0);
    assert_int_equal(mux_stream_peek(seen.s[1], got, 2), 1);
    assert_true(span_eq(got[0], SPAN("one and two")));
    assert_int_equal(seen.resets, 0);
    pair_deinit(&p);
}

/* What has said its last word needs no other path: that goes out, and both forget it. */
static void test_the_last_word_goes_out(void **state)
{
    struct pair p;

    (void)state;
    start(&p, 60000);
    mux_link_goaway(p.side[0].link, &(struct mux_goaway){ .why = REASON_RELAY_DRAINING, .ms_left = 100 });
    pair_settle(&p);
    mux_stream_reset(seen.s[0], REASON_REVOKED, SPAN_NONE, true);
    mux_link_detach(p.side[0].link, REASON_RELAY_DRAINING);
    pair_settle(&p);
    assert_int_equal(seen.ended[0] + seen.ended[1], 2);
    assert_int_equal(seen.how[1], REASON_REVOKED);
    assert_int_equal(seen.wants, 0);
    pair_deinit(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_it_arrives),
        cmocka_unit_test(test_streams_are_sent_away),
        cmocka_unit_test(test_they_go_on_whole),
        cmocka_unit_test(test_the_last_word_goes_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
