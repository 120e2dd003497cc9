#include "lib/mux/mux_pair_test.h"

/* --- a program on each end: it counts what it was told --------------------------------- */
struct seen {
    struct mux_stream *s;
    unsigned opened, refused, readable, writable, reset, ended;
    bool is_stalled, resets_when_readable;
    enum reason how, why;
    char got[256];
    size_t got_len;
};

static struct seen entry, target;
static enum { ANSWER_YES, ANSWER_NO, ANSWER_LATER } answer;

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    struct mux_opened opened = { .boot_id = SPAN("boot"), .resolved_by = SPAN("dns") };

    (void)user;
    assert_true(span_eq(open->host, SPAN("intranet.example")));
    assert_int_equal(open->port, 80);
    target.s = s;
    mux_stream_set_user(s, &target);
    if (answer == ANSWER_YES)
        mux_stream_accept(s, &opened);
    if (answer == ANSWER_NO)
        mux_stream_refuse(s, REASON_DIAL_REFUSED, SPAN("nobody there"), NULL);
}

static void on_opened(void *user, struct mux_stream *s, const struct mux_opened *opened)
{
    (void)s;
    assert_true(span_eq(opened->boot_id, SPAN("boot")));
    ((struct seen *)user)->opened++;
}

static void on_refused(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    (void)s;
    assert_true(span_eq(text, SPAN("nobody there")));
    ((struct seen *)user)->refused++;
    ((struct seen *)user)->why = why;
}

static void on_readable(void *user, struct mux_stream *s)
{
    struct seen *seen = user;
    struct span spans[4];
    size_t n;

    seen->readable++;
    if (seen->is_stalled)
        return;
    while ((n = mux_stream_peek(s, spans, 4))) {
        for (size_t i = 0; i < n; i++) {
            assert_true(seen->got_len + spans[i].n <= sizeof(seen->got));
            memcpy(seen->got + seen->got_len, spans[i].p, spans[i].n);
            seen->got_len += spans[i].n;
            mux_stream_consume(s, spans[i].n);
        }
    }
    if (seen->resets_when_readable)
        mux_stream_reset(s, REASON_TARGET_RESET, SPAN_NONE, true);
}

static void on_writable(void *user, struct mux_stream *s)
{
    (void)s;
    ((struct seen *)user)->writable++;
}

static void on_reset(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    (void)s;
    (void)text;
    ((struct seen *)user)->reset++;
    ((struct seen *)user)->why = why;
}

static void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    struct seen *seen = user;

    assert_ptr_equal(seen->s, s);
    assert_int_equal(seen->ended, 0);
    seen->ended++;
    seen->how = how;
}

static const struct mux_handlers handlers = {
    .on_open = on_open, .on_opened = on_opened, .on_refused = on_refused,
    .on_readable = on_readable, .on_writable = on_writable, .on_reset = on_reset,
    .on_ended = on_ended,
};

static struct mux_open an_open(uint8_t id)
{
    struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("intranet.example"), .port = 80,
                             .principal = SPAN("alice") };

    open.uid[0] = id;
    return open;
}

static void start(struct pair *p)
{
    struct mux_config config = { .memory_limit = 8 << 20, .random_seed = 1 };

    entry = target = (struct seen){ 0 };
    answer = ANSWER_YES;
    pair_init(p, &config, handlers, 1);
    pair_greet(p);
}

static int open_one(struct pair *p, uint8_t id)
{
    struct mux_open open = an_open(id);

    return mux_stream_open(p->side[0].link, &open, 7, &entry, p->now_ms, &entry.s);
}

static void say(struct mux_stream *s, const char *text)
{
    size_t n;
    unsigned char *at = mux_stream_reserve(s, &n);

    assert_non_null(at);
    assert_true(n >= strlen(text));
    memcpy(at, text, strlen(text));
    mux_stream_commit(s, strlen(text));
}

static void finish(struct pair *p)
{
    assert_int_equal(mux_stats(p->side[0].mux)->streams, 0);
    assert_int_equal(mux_stats(p->side[1].mux)->streams, 0);
    assert_int_equal(mux_stats(p->side[0].mux)->held_bytes, 0);
    assert_int_equal(mux_stats(p->side[1].mux)->held_bytes, 0);
    assert_int_equal(mux_stats(p->side[0].mux)->promised_bytes, 0);
    assert_int_equal(mux_stats(p->side[1].mux)->promised_bytes, 0);
    pair_deinit(p);
}

static void pair_pass_ms(struct pair *p, uint64_t ms)
{
    p->now_ms += ms;
    for (int i = 0; i < 2; i++)
        (void)mux_link_tick(p->side[i].link, p->now_ms);
    pair_settle(p);
}

static void test_complete(void **state)
{
    struct pair p;

    (void)state;
    start(&p);
    assert_int_equal(open_one(&p, 1), 0);
    pair_settle(&p);
    assert_int_equal(entry.opened, 1);
    say(entry.s, "hello");
    mux_stream_fin(entry.s);
    pair_settle(&p);
    assert_true(mux_stream_at_fin(target.s));
    assert_memory_equal(target.got, "hello", 5);
    say(target.s, "half-closed, still talking");
    pair_settle(&p);
    assert_memory_equal(entry.got, "half-closed, still talking", 26);
    assert_int_equal(target.ended, 0);
    mux_stream_fin(target.s);
    pair_settle(&p);
    assert_int_equal(entry.ended, 1);
    assert_int_equal(target.ended, 1);
    assert_int_equal(entry.how, REASON_NONE);
    assert_int_equal(target.how, REASON_NONE);
    finish(&p);
}

static void test_refused(void **state)
{
    struct pair p;

    (void)state;
    start(&p);
    answer = ANSWER_NO;
    assert_int_equal(open_one(&p, 1), 0);
    pair_settle(&p);
    assert_int_equal(entry.refused, 1);
    assert_int_equal(entry.why, REASON_DIAL_REFUSED);
    assert_int_equal(entry.how, REASON_DIAL_REFUSED);
    assert_int_equal(target.how, REASON_DIAL_REFUSED);
    finish(&p);
}

static void test_reset(void **state)
{
    static const struct {
        const char *it;
        bool by_entry, is_now, before_answer;
        size_t want_got;
    } rows[] = {
        { "the entry, after the bytes", true, false, false, 4 },
        { "the entry, now", true, true, false, 0 },
        { "the entry, before the answer", true, true, true, 0 },
        { "the target, after the bytes", false, false, false, 4 },
        { "the target, now", false, true, false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen *by = rows[i].by_entry ? &entry : &target;
        struct seen *other = rows[i].by_entry ? &target : &entry;
        struct pair p;

        check_row(rows[i].it);
        start(&p);
        answer = rows[i].before_answer ? ANSWER_LATER : ANSWER_YES;
        assert_int_equal(open_one(&p, 1), 0);
        pair_settle(&p);
        if (!rows[i].before_answer)
            say(by->s, "data");
        mux_stream_reset(by->s, REASON_REVOKED, SPAN("go"), rows[i].is_now);
        pair_settle(&p);
        assert_int_equal(other->got_len, rows[i].want_got);
        assert_int_equal(other->reset, 1);
        assert_int_equal(by->reset, 0);
        assert_int_equal(by->ended + other->ended, 2);
        assert_int_equal(entry.how, REASON_REVOKED);
        assert_int_equal(target.how, REASON_REVOKED);
        finish(&p);
    }
}

static void test_reset_now_drops_what_came(void **state)
{
    struct pair p;

    (void)state;
    for (int is_now = 0; is_now < 2; is_now++) {
        start(&p);
        assert_int_equal(open_one(&p, 1), 0);
        pair_settle(&p);
        target.is_stalled = true;
        say(entry.s, "data");
        pair_settle(&p);
        mux_stream_reset(entry.s, REASON_REVOKED, SPAN_NONE, is_now);
        pair_settle(&p);
        assert_int_equal(target.reset, is_now);
        assert_int_equal(target.ended, is_now);
        target.is_stalled = false;
        if (!is_now)
            on_readable(&target, target.s);
        pair_settle(&p);
        assert_int_equal(target.got_len, is_now ? 0 : 4);
        assert_int_equal(target.reset, 1);
        assert_int_equal(target.how, REASON_REVOKED);
        finish(&p);
    }
}

static void test_resets_cross(void **state)
{
    struct pair p;

    (void)state;
    start(&p);
    assert_int_equal(open_one(&p, 1), 0);
    pair_settle(&p);
    mux_stream_reset(entry.s, REASON_CLIENT_GONE, SPAN_NONE, true);
    mux_stream_reset(target.s, REASON_TARGET_RESET, SPAN_NONE, true);
    pair_send(&p.side[0]);
    pair_send(&p.side[1]);
    pair_settle(&p);
    assert_int_equal(entry.how, REASON_CLIENT_GONE);
    assert_int_equal(target.how, REASON_CLIENT_GONE);
    assert_int_equal(entry.reset + target.reset, 0);
    finish(&p);
}

/* Bytes and a RESET come together, and the program resets while it reads the bytes. */
static void test_reset_in_handler(void **state)
{
    struct pair p;

    (void)state;
    start(&p);
    assert_int_equal(open_one(&p, 1), 0);
    pair_settle(&p);
    target.resets_when_readable = true;
    say(entry.s, "data");
    mux_stream_reset(entry.s, REASON_CLIENT_GONE, SPAN_NONE, false);
    pair_settle(&p);
    assert_int_equal(target.reset, 0);
    assert_int_equal(target.ended, 1);
    finish(&p);
}

/* Both FINs are there, but not the word that ours has arrived: that is not complete. */
static void test_lost_before_fin_is_acknowledged(void **state)
{
    struct pair p;

    (void)state;
    start(&p);
    assert_int_equal(open_one(&p, 1), 0);
    pair_settle(&p);
    mux_stream_fin(target.s);
    pair_settle(&p);
    say(entry.s, "lost");
    mux_stream_fin(entry.s);
    pair_send(&p.side[0]);
    mux_link_free(p.side[0].link);
    assert_int_equal(entry.how, REASON_SESSION_LOST);
    pair_deinit(&p);
}

/* The peer reads nothing more: 60 s later the stream is forgotten all the same. */
static void test_reset_unanswered(void **state)
{
    struct pair p;

    (void)state;
    start(&p);
    assert_int_equal(open_one(&p, 1), 0);
    pair_settle(&p);
    mux_stream_reset(entry.s, REASON_REVOKED, SPAN_NONE, true);
    for (int i = 0; i < 61; i++) {
        assert_int_equal(entry.ended, i == 60);
        p.now_ms += 1000;
        assert_int_equal(mux_link_take(p.side[0].link, SPAN("\3\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0"),
                                       true, p.now_ms), 0);
        mux_link_tick(p.side[0].link, p.now_ms);
    }
    assert_int_equal(entry.how, REASON_REVOKED);
    pair_deinit(&p);
}

/* What was agreed on may still be taken when the link is gone, but not when all is freed. */
static void test_complete_outlives_link(void **state)
{
    struct pair p;
    int taken;

    (void)state;
    for (taken = 0; taken < 2; taken++) {
        start(&p);
        assert_int_equal(open_one(&p, 1), 0);
        pair_settle(&p);
        target.is_stalled = true;
        say(entry.s, "kept");
        mux_stream_fin(entry.s);
        mux_stream_fin(target.s);
        pair_settle(&p);
        assert_int_equal(entry.how, REASON_NONE);
        assert_int_equal(entry.ended, 1);
        assert_int_equal(target.ended, 0);
        mux_link_free(p.side[1].link);
        assert_int_equal(target.ended, 0);
        target.is_stalled = false;
        if (taken) {
            on_readable(&target, target.s);
            assert_memory_equal(target.got, "kept", 4);
            mux_tick(p.side[1].mux, p.now_ms);
            assert_int_equal(target.ended, 1);
        }
        pair_deinit(&p);
        assert_int_equal(target.ended, 1);
        /* Bytes that its program never took: its socket must not see a clean end. */
        assert_int_equal(target.how, taken ? REASON_NONE : REASON_SESSION_LOST);
    }
}

static void test_link_lost(void **state)
{
    struct pair p;

    (void)state;
    start(&p);
    assert_int_equal(open_one(&p, 1), 0);
    pair_settle(&p);
    say(entry.s, "gone");
    mux_link_free(p.side[0].link);
    assert_int_equal(entry.how, REASON_SESSION_LOST);
    pair_deinit(&p);
    assert_int_equal(target.how, REASON_SESSION_LOST);
}

static void test_goaway_drains(void **state)
{
    struct pair p;

    (void)state;
    start(&p);
    assert_int_equal(open_one(&p, 1), 0);
    pair_settle(&p);
    pair_goaway(p.side[1].link, REASON_AGENT_DRAINING);
    pair_settle(&p);
    assert_int_equal(p.side[0].goaways, 1);
    assert_int_equal(p.side[0].why, REASON_AGENT_DRAINING);
    assert_int_equal(open_one(&p, 2), REASON_RELAY_DRAINING);
    say(entry.s, "goes on");
    mux_stream_fin(entry.s);
    mux_stream_fin(target.s);
    pair_settle(&p);
    assert_int_equal(entry.how, REASON_NONE);
    assert_memory_equal(target.got, "goes on", 7);
    finish(&p);
}

static void test_open_crosses_goaway(void **state)
{
    struct pair p;

    (void)state;
    start(&p);
    assert_int_equal(open_one(&p, 1), 0);
    pair_goaway(p.side[1].link, REASON_AGENT_DRAINING);
    pair_send(&p.side[0]);
    while (pair_deliver(&p.side[1]))
        ;
    pair_drop_pipe(&p);
    assert_int_equal(target.opened, 0);
    assert_true(mux_link_has_output(p.side[1].link));
    pair_deinit(&p);
    assert_int_equal(entry.how, REASON_SESSION_LOST);
}

static void test_notice(void **state)
{
    static const size_t sizes[] = { 0, 1, 8191, 8192, 8193, 100000, FRAME_NOTICE_TOTAL_MAX };
    unsigned char *body = malloc(FRAME_NOTICE_TOTAL_MAX);
    struct pair p;

    (void)state;
    for (size_t i = 0; i < FRAME_NOTICE_TOTAL_MAX; i++)
        body[i] = (unsigned char)(i * 7);
    start(&p);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        assert_int_equal(mux_link_notice(p.side[0].link, 7, 42, span_of(body, sizes[i])), 0);
        pair_settle(&p);
        assert_int_equal(p.side[1].notices, i + 1);
        assert_int_equal(p.side[1].notice_len, sizes[i]);
    }
    assert_int_equal(mux_link_notice(p.side[0].link, 7, 42,
                                     span_of(body, FRAME_NOTICE_TOTAL_MAX + 1)),
                     REASON_TOO_LARGE);
    free(body);
    finish(&p);
}

static void test_ping(void **state)
{
    struct pair p;

    (void)state;
    start(&p);
    assert_int_equal(p.side[0].proved, 1);      /* accept() sends one */
    for (int i = 0; i < 14; i++)
        pair_pass_ms(&p, 1000);
    assert_int_equal(p.side[0].proved, 2);
    assert_int_equal(p.side[1].proved, 1);
    finish(&p);
}

static void test_silence(void **state)
{
    struct pair p;
    uint64_t due;

    (void)state;
    start(&p);
    assert_int_equal(open_one(&p, 1), 0);
    pair_settle(&p);
    say(entry.s, "into the void");
    pair_send(&p.side[0]);
    pair_drop_pipe(&p);
    for (int i = 0; i < 100 && !p.side[0].failed; i++) {
        due = mux_link_tick(p.side[0].link, p.now_ms);
        if (mux_link_has_output(p.side[0].link))
            pair_send(&p.side[0]);
        pair_drop_pipe(&p);
        if (due != UINT64_MAX && due > p.now_ms)
            p.now_ms = due;
    }
    assert_int_equal(p.side[0].failed, 1);
    assert_int_equal(p.side[0].why, REASON_SESSION_LOST);
    assert_in_range(p.now_ms, 1000 + 3000, 1000 + 4300);
    assert_int_equal(entry.how, REASON_SESSION_LOST);
    pair_deinit(&p);
}

static void test_hello_timeout(void **state)
{
    struct mux_config config = { 0 };
    struct pair p;

    (void)state;
    pair_init(&p, &config, handlers, 1);
    assert_int_equal(mux_link_tick(p.side[1].link, 1000), 11000);
    assert_int_equal(mux_link_tick(p.side[1].link, 10999), 11000);
    mux_link_tick(p.side[1].link, 11000);
    assert_int_equal(p.side[1].why, REASON_HELLO_TIMEOUT);
    assert_int_equal(mux_link_take(p.side[1].link, SPAN("x"), true, 11000), REASON_HELLO_TIMEOUT);
    pair_deinit(&p);
}

static void test_open_needs_acceptance(void **state)
{
    struct mux_config config = { 0 };
    struct pair p;

    (void)state;
    entry = target = (struct seen){ 0 };
    pair_init(&p, &config, handlers, 1);
    assert_int_equal(open_one(&p, 1), REASON_NOT_READY);
    assert_int_equal(mux_link_hello(p.side[1].link, SPAN("{}")), REASON_NOT_READY);
    pair_greet(&p);
    assert_int_equal(p.side[1].accepted, 1);
    assert_int_equal(open_one(&p, 1), 0);
    assert_int_equal(open_one(&p, 1), REASON_CONFLICT);
    pair_deinit(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_link_lost),
        cmocka_unit_test(test_reset_now_drops_what_came),
        cmocka_unit_test(test_resets_cross),
        cmocka_unit_test(test_reset_in_handler),
        cmocka_unit_test(test_lost_before_fin_is_acknowledged),
        cmocka_unit_test(test_reset_unanswered),
        cmocka_unit_test(test_complete_outlives_link),
        cmocka_unit_test(test_goaway_drains),
        cmocka_unit_test(test_open_crosses_goaway),
        cmocka_unit_test(test_notice),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_hello_timeout),
        cmocka_unit_test(test_open_needs_acceptance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
