#include "lib/mux/mux_pair_test.h"
/*
 * How a stream ends that nobody reads, or of which somebody says nonsense when all has been said.
 */
static struct {
    struct mux_stream *s[2];
    unsigned ended[2], reset[2];
    enum reason how[2], why[2];
    bool is_tight;                  /* no path takes bytes */
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

static void on_reset(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    int end = user == &seen.s[1];

    (void)s;
    (void)text;
    seen.reset[end]++;
    seen.why[end] = why;
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
    struct side *side = s->mux->links.next == &s->mux->links
                            ? NULL : container_of(s->mux->links.next, struct mux_link, node)->user;

    (void)user;
    if (side)
        assert_int_equal(mux_stream_attach(s, side->link, SPAN("boot"), side->pair->now_ms), 0);
}

static void lower_the_limit(struct mux_stream *s)
{
    s->tx_limit = s->tx_sent;       /* as on a path that begins with less */
    sched_remove(&s->leg);
}

static void on_moved(void *user, struct mux_stream *s)
{
    (void)user;
    if (seen.is_tight)
        lower_the_limit(s);
}

static void start(struct pair *p, size_t memory)
{
    const struct mux_handlers on = { .on_open = on_open, .on_ended = on_ended, .on_reset = on_reset,
                                     .on_want_path = on_want_path, .on_moved = on_moved };
    const struct mux_config config = { .memory_limit = memory, .random_seed = 1, .mac = mac,
                                       .boot_id = "boot" };
    const struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = 1,
                                   .uid = { 1 }, .grace_ms = 60000 };

    memset(&seen, 0, sizeof(seen));
    pair_init(p, &config, on, 1);
    pair_greet(p);
    assert_int_equal(mux_stream_open(p->side[0].link, &open, 1, &seen.s[0], p->now_ms, &seen.s[0]), 0);
    pair_settle(p);
    assert_non_null(seen.s[1]);
}

/* As much as the stream takes; what was written. */
static size_t fill(struct pair *p, int end)
{
    unsigned char *at;
    size_t n, all = 0;

    while ((at = mux_stream_reserve(seen.s[end], &n))) {
        memset(at, 'x', n);
        mux_stream_commit(seen.s[end], n);
        all += n;
        pair_settle(p);
    }
    return all;
}

static void run(struct pair *p, uint64_t ms)
{
    for (uint64_t until = p->now_ms + ms; p->now_ms < until; p->now_ms += 50) {
        for (int i = 0; i < 2; i++)
            (void)mux_link_tick(p->side[i].link, p->now_ms);
        pair_settle(p);
    }
}

/* The limit is used up, and more than that was written. */
static void fill_beyond(struct pair *p, int end)
{
    size_t n;
    unsigned char *at = mux_stream_reserve(seen.s[end], &n);

    assert_non_null(at);
    memset(at, 'x', 1000);
    mux_stream_commit(seen.s[end], 1000);
    lower_the_limit(seen.s[end]);
    pair_settle(p);
    assert_int_equal(mux_stream_sent(seen.s[end]), seen.s[end]->tx_sent + 1000);
}

static void test_reset_behind_bytes(void **state)
{
    struct pair p;

    (void)state;
    start(&p, 8 << 20);
    fill_beyond(&p, 0);
    mux_stream_reset(seen.s[0], REASON_CLIENT_GONE, SPAN_NONE, false);
    check_row("waits for its bytes a minute long");
    run(&p, 59000);
    assert_int_equal(seen.reset[1] + seen.ended[0], 0);
    check_row("is said without them then");
    run(&p, 2000);
    assert_int_equal(seen.reset[1], 1);
    assert_int_equal(seen.why[1], REASON_CLIENT_GONE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(seen.ended[i], 1);
        assert_int_equal(seen.how[i], REASON_CLIENT_GONE);
    }
    pair_deinit(&p);
}

/* Neither takes bytes any more, and each waits for his own to be taken. */
static void test_resets_behind_bytes(void **state)
{
    struct pair p;

    (void)state;
    check_row("comes to an end where both wait, on new paths too");
    start(&p, 8 << 20);
    for (int i = 0; i < 2; i++) {
        fill_beyond(&p, i);
        mux_stream_reset(seen.s[i], i ? REASON_TARGET_RESET : REASON_CLIENT_GONE, SPAN_NONE, false);
    }
    seen.is_tight = true;
    for (int i = 0; i < 4 && seen.s[0]; i++) {
        run(&p, 25000);
        if (seen.s[0])
            assert_int_equal(mux_stream_attach(seen.s[0], p.side[0].link, SPAN("boot"), p.now_ms), 0);
    }
    assert_int_equal(seen.ended[0], 1);
    assert_int_equal(seen.ended[1], 1);
    assert_int_equal(seen.how[0], seen.how[1]);
    pair_deinit(&p);
}

/* A frame that goes into the last message on its way to the entry. */
static void add_frame(struct pair *p, uint8_t type, struct span payload)
{
    struct list *node = p->side[0].in.prev;
    struct pipe_message *m = container_of(node, struct pipe_message, node);
    struct pipe_message *more = malloc(sizeof(*more) + m->len + 200);
    struct buf out;

    assert_true(node != &p->side[0].in && more);
    list_init(&more->node);
    more->taken = 0;
    more->due_ms = m->due_ms;
    buf_init_fixed(&out, more->bytes, m->len + 200);
    buf_put(&out, m->bytes, m->len);
    frame_put(&out, type, 0, seen.s[0]->id, payload);
    more->len = out.len;
    list_remove(node);
    free(m);
    list_append(&p->side[0].in, &more->node);
}

static void test_nonsense_after_the_end(void **state)
{
    static const unsigned char offset[8] = { 0, 0, 0, 0, 0, 0, 0, 9 };
    const struct { const char *it; uint8_t type; struct span payload; } rows[] = {
        { "ends as agreed when OPEN_OK comes again", FRAME_OPEN_OK, SPAN_NONE },
        { "ends as agreed when a FIN comes after a gap", FRAME_FIN, span_of(offset, 8) },
        { "ends as agreed when a RESET comes after a gap", FRAME_RESET, span_of(offset, 8) },
    };
    struct pair p;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        start(&p, 8 << 20);
        mux_stream_fin(seen.s[0]);
        pair_settle(&p);
        mux_stream_fin(seen.s[1]);
        while (seen.s[0] && !(seen.s[0]->owed & OWE_END)) {      /* the last that the entry needs to hear */
            if (mux_link_has_output(p.side[1].link)) {
                pair_send(&p.side[1]);
                add_frame(&p, rows[i].type, rows[i].payload);
            }
            if (mux_link_has_output(p.side[0].link))
                pair_send(&p.side[0]);
            (void)pair_deliver(&p.side[1]);
            (void)pair_deliver(&p.side[0]);
        }
        pair_drop_pipe(&p);
        for (int end = 0; end < 2; end++)
            mux_link_free(p.side[end].link);
        assert_int_equal(seen.ended[0], 1);
        assert_int_equal(seen.how[0], REASON_NONE);
        pair_deinit(&p);
    }
}

static void test_overrun(void **state)
{
    struct pair p;
    size_t sent;

    (void)state;
    check_row("takes what comes again in small steps, where there was no memory for it");
    start(&p, 8 << 20);
    assert_int_equal(seen.s[1]->rx_window, MUX_FIRST_WINDOW);
    mux_set_memory_limit(p.side[1].mux, 100000);
    sent = fill(&p, 0);
    assert_true(sent > 100000);
    run(&p, 1000);
    assert_true(mux_stats(p.side[1].mux)->paths_lost > 0);
    assert_int_equal(seen.s[1]->rx_window, MUX_WINDOW_LEAST);
    assert_true(seen.s[0]->tx_limit - seen.s[1]->rx_consumed <= 100000);
    pair_deinit(&p);
}

/* All streams of one mux go to another, which has as many of its own. */
static void test_room_goes_along(void **state)
{
    const struct mux_config config = { .memory_limit = 40 * 2 * MUX_SET_ASIDE, .mac = mac, .is_accepting = true,
                                       .first_window = MUX_WINDOW_LEAST, .streams_max = 40 };
    struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = 1, .grace_ms = 60000 };
    const struct mux_handlers none = { 0 };
    struct mux_stream *s[40];
    struct mux *m[2];

    (void)state;
    check_row("brings the room that a stream needs to the mux that it goes to");
    for (int i = 0; i < 2; i++) {
        struct mux_link *l;

        m[i] = mux_new(&config, &none);
        l = mux_link_new(m[i], NULL, 1);
        l->is_hello_seen = l->is_hello_sent = true;
        mux_link_accept(l, 1);
        open.uid[0] = (unsigned char)i;
        for (unsigned n = 0; n < 40; n++) {
            open.uid[1] = (unsigned char)n;
            assert_int_equal(mux_stream_open(l, &open, 1, NULL, 1, &s[n]), 0);
        }
    }
    for (unsigned n = 0; n < 40; n++) {
        assert_true(mux_stream_take_out(s[n]));
        assert_int_equal(mux_stream_put_in(m[0], s[n], 1), 0);
        for (int i = 0; i < 2; i++)
            assert_true(m[i]->stats.streams * MUX_SET_ASIDE <= m[i]->config.memory_limit / 2);
    }
    assert_int_equal(m[0]->config.memory_limit + m[1]->config.memory_limit, 2 * config.memory_limit);
    mux_free(m[0]);
    mux_free(m[1]);
}

static void test_ping_between_relays(void **state)
{
    struct pair p;

    (void)state;
    check_row("asks another relay every second whether it is there, also at rest");
    start(&p, 8 << 20);
    mux_link_between_relays(p.side[0].link);
    run(&p, 20000);
    assert_in_range(mux_stats(p.side[0].mux)->frames_out[FRAME_PING], 15, 30);
    assert_in_range(mux_stats(p.side[1].mux)->frames_out[FRAME_PING], 1, 10);
    pair_deinit(&p);
}

/* The target side hears on which kind of path a stream came, said first or again. */
static void test_hop_count(void **state)
{
    static const struct { const char *it; bool is_first, is_then; } rows[] = {
        { "knows a path through a holder", true, true },
        { "knows when a path does not go through one any more", true, false },
        { "knows when a path goes through one now", false, true },
    };
    struct pair p;

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        bool is_opening = i % 2, is_then = rows[i / 2].is_then;
        struct mux_stream *s;

        check_row(rows[i / 2].it);
        start(&p, 8 << 20);
        p.side[0].link->is_between = rows[i / 2].is_first;
        assert_int_equal(mux_stream_attach(seen.s[0], p.side[0].link, SPAN("boot"), p.now_ms), 0);
        pair_settle(&p);
        assert_int_equal(seen.s[1]->is_held, rows[i / 2].is_first);
        s = seen.s[0];
        if (is_opening) {
            struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = 1, .uid = { 2 },
                                     .grace_ms = 60000 };

            mux_stream_abandon(s, REASON_CLIENT_GONE);
            assert_int_equal(mux_stream_open(p.side[0].link, &open, 1, &seen.s[0], p.now_ms, &seen.s[0]), 0);
            s = seen.s[0];
        }
        p.side[0].link->is_between = is_then;
        assert_int_equal(mux_stream_attach(s, p.side[0].link, SPAN("boot"), p.now_ms), 0);
        pair_settle(&p);
        assert_int_equal(seen.s[1]->is_held, is_then);
        assert_int_equal(s->is_held, is_then);
        pair_deinit(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset_behind_bytes),
        cmocka_unit_test(test_resets_behind_bytes),
        cmocka_unit_test(test_nonsense_after_the_end),
        cmocka_unit_test(test_overrun),
        cmocka_unit_test(test_room_goes_along),
        cmocka_unit_test(test_ping_between_relays),
        cmocka_unit_test(test_hop_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
