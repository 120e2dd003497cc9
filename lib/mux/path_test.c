#include "lib/mux/mux_pair_test.h"
/*
 * When a path is lost: who notices, after how long, and what a stream without one ends as.
 */
static struct {
    struct mux_stream *s[2];
    unsigned ended[2], lost;
    enum reason how[2];
} seen;

static void mac(const unsigned char secret[MUX_SECRET_LEN], struct span message,
                unsigned char ret_mac[32])
{
    memcpy(ret_mac, secret, MUX_SECRET_LEN);
    memset(ret_mac + MUX_SECRET_LEN, (int)message.n, 32 - MUX_SECRET_LEN);
}

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    const struct mux_opened opened = { .boot_id = SPAN("boot") };

    (void)user;
    mux_stream_accept(s, &opened);
    if (open->kind == MUX_KIND_PROBE) {
        mux_stream_fin(s);
        return;
    }
    seen.s[1] = s;
    mux_stream_set_user(s, &seen.s[1]);
}

static void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    int end = user == &seen.s[1];

    (void)s;
    if (!user)
        return;                     /* of a probe, at its target side */
    seen.s[end] = NULL;
    seen.ended[end]++;
    seen.how[end] = how;
}

static void on_want_path(void *user, struct mux_stream *s)
{
    (void)user;
    (void)s;
    seen.lost++;
}

static void start(struct pair *p, uint32_t grace_ms)
{
    const struct mux_handlers on = { .on_open = on_open, .on_ended = on_ended,
                                     .on_want_path = on_want_path };
    const struct mux_config config = { .memory_limit = 8 << 20, .random_seed = 1, .mac = mac,
                                       .boot_id = "boot" };
    const struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = 1,
                                   .uid = { 1 }, .grace_ms = grace_ms };

    memset(&seen, 0, sizeof(seen));
    pair_init(p, &config, on, 1);
    pair_greet(p);
    assert_int_equal(mux_stream_open(p->side[0].link, &open, 1, &seen.s[0], p->now_ms, &seen.s[0]), 0);
    pair_settle(p);
    assert_non_null(seen.s[1]);
}

static void say(struct mux_stream *s, size_t bytes)
{
    size_t n;
    unsigned char *at = mux_stream_reserve(s, &n);

    assert_true(at && n >= bytes);
    memset(at, 'x', bytes);
    mux_stream_commit(s, bytes);
}

/* Takes frames out of the messages on their way to `to`. */
static void lose_frames(struct side *to, bool (*is_lost)(const struct frame *))
{
    LIST_EACH(&to->in, node) {
        struct pipe_message *m = container_of(node, struct pipe_message, node);
        struct span rest = span_of(m->bytes, m->len);
        struct frame f;
        size_t kept = 0;

        while (rest.n && frame_read(rest, &f) == 0) {
            size_t len = FRAME_HEADER_LEN + f.payload.n;

            if (!is_lost(&f)) {
                memmove(m->bytes + kept, rest.p, len);
                kept += len;
            }
            rest = span_skip(rest, len);
        }
        m->len = kept;
        if (kept)
            continue;
        list_remove(node);
        free(m);
    }
}

static bool is_credit(const struct frame *f) { return f->type == FRAME_CREDIT; }
static bool is_stream_frame(const struct frame *f) { return f->type & FRAME_BIT_STREAM; }
static bool is_detach(const struct frame *f) { return f->type == FRAME_DETACH; }
static bool is_any(const struct frame *f) { (void)f; return true; }

/* Both ends talk for so long; what side 1 says passes through the filter. */
static void run(struct pair *p, uint64_t ms, bool (*is_lost)(const struct frame *))
{
    for (uint64_t until = p->now_ms + ms; p->now_ms < until; p->now_ms += 20) {
        for (int i = 0; i < 2; i++) {
            struct side *s = &p->side[i];

            (void)mux_link_tick(s->link, p->now_ms);
            while (mux_link_has_output(s->link))
                pair_send(s);
        }
        lose_frames(&p->side[0], is_lost);
        while (pair_deliver(&p->side[0]) || pair_deliver(&p->side[1]))
            ;
    }
}

static void test_probe_is_answered(void **state)
{
    const struct mux_stats *stats;
    struct pair p;

    (void)state;
    start(&p, 60000);
    stats = mux_stats(p.side[0].mux);
    say(seen.s[0], 100);
    run(&p, 9500, is_credit);
    assert_int_equal(stats->probes, 0);
    run(&p, 2000, is_credit);
    assert_int_equal(stats->probes, 1);
    run(&p, 8000, is_credit);
    assert_int_equal(stats->probes, 1);     /* it was answered: not again for ten seconds */
    run(&p, 3000, is_credit);
    assert_int_equal(stats->probes, 2);
    assert_int_equal(stats->probes_failed + stats->paths_lost + seen.lost, 0);
    assert_int_equal(mux_stats(p.side[1].mux)->bytes_in, 100);
    pair_deinit(&p);
}

static void test_probe_fails(void **state)
{
    const struct mux_stats *stats;
    struct pair p;

    (void)state;
    start(&p, 60000);
    stats = mux_stats(p.side[0].mux);
    say(seen.s[0], 100);
    run(&p, 11500, is_stream_frame);
    assert_int_equal(stats->probes, 1);
    assert_int_equal(stats->paths_lost, 0);
    run(&p, 3000, is_stream_frame);
    assert_int_equal(stats->probes_failed, 1);
    assert_true(seen.lost);
    assert_int_equal(seen.ended[0], 0);
    assert_int_equal(mux_link_state(p.side[0].link), MUX_LINK_OPEN);    /* it answers PING */
    assert_int_equal(mux_stats(p.side[1].mux)->paths_lost, 1);          /* by DETACH */
    pair_deinit(&p);
}

static void test_probe_fails_for_one_that_cannot_move(void **state)
{
    struct pair p;

    (void)state;
    start(&p, 0);
    say(seen.s[0], 100);
    run(&p, 15000, is_stream_frame);
    assert_int_equal(mux_stats(p.side[0].mux)->probes_failed, 1);
    assert_int_equal(seen.ended[1], 1);
    assert_int_equal(seen.how[1], REASON_SESSION_LOST);
    pair_deinit(&p);
}

/* Whoever only receives has nothing unacknowledged, and would wait for the PING of a rest. */
static void test_receiver_notices(void **state)
{
    struct pair p;

    (void)state;
    start(&p, 60000);
    say(seen.s[1], 100);
    pair_settle(&p);
    assert_true(mux_stats(p.side[0].mux)->bytes_in > 0);
    run(&p, 4400, is_any);
    assert_int_equal(p.side[0].failed, 1);
    assert_int_equal(p.side[0].why, REASON_SESSION_LOST);
    pair_deinit(&p);
}

/* The program stops while a stream waits: nobody may take that for a clean end. */
static void test_freed_without_a_path(void **state)
{
    struct pair p;

    (void)state;
    start(&p, 60000);
    say(seen.s[0], 100);
    for (int i = 0; i < 2; i++) {
        pair_drop_pipe(&p);
        mux_link_free(p.side[i].link);
        assert_int_equal(seen.ended[i], 0);
        mux_free(p.side[i].mux);
        p.side[i].mux = NULL;
        assert_int_equal(seen.ended[i], 1);
        assert_int_equal(seen.how[i], REASON_SESSION_LOST);
    }
    pair_deinit(&p);
}

/* An entry that moves a stream again and again, does not say so on the old id, and reads nothing. */
static void test_moves_unread(void **state)
{
    struct mux_link *l;
    struct pair p;

    (void)state;
    start(&p, 60000);
    l = p.side[1].link;
    p.side[1].mux->config.streams_max = 8;
    for (unsigned i = 0; i < MUX_REFUSALS_MAX + 20; i++) {
        assert_int_equal(mux_stream_attach(seen.s[0], p.side[0].link, SPAN("boot"), p.now_ms), 0);
        pair_send(&p.side[0]);
        lose_frames(&p.side[1], is_detach);
        while (pair_deliver(&p.side[1]))
            ;
        assert_true(l->refusal_count <= MUX_REFUSALS_MAX + 8);
    }
    assert_int_equal(p.side[1].failed, 1);
    assert_int_equal(p.side[1].why, REASON_OVERLOAD);
    assert_null(mux_stream_link(seen.s[1]));
    pair_deinit(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe_is_answered),
        cmocka_unit_test(test_probe_fails),
        cmocka_unit_test(test_probe_fails_for_one_that_cannot_move),
        cmocka_unit_test(test_receiver_notices),
        cmocka_unit_test(test_freed_without_a_path),
        cmocka_unit_test(test_moves_unread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
