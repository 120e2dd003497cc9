#include "lib/mux/flow_world_test.h"
/*
 * Credit, and whose turn it is.
 */

/* --- credit --------------------------------------------------------------------------- */
/* 100 ms there and back, 25 MB/s: one stream fills the link once its window has grown. */
static void test_window_grows_to_the_link(void **state)
{
    uint64_t before;

    (void)state;
    begin(256 << 20, 25000, 50);
    open_stream(1, UINT64_MAX);
    pass(3000);
    before = w.to[0].got;
    pass(1000);
    assert_true(w.to[0].got - before > 25000 * 1000 / 10 * 9);
    assert_true(w.to[0].s->rx_window >= 4 << 20);
    assert_true(w.held_most <= 64 << 10);       /* a reader that keeps up leaves nothing lying */
    finish();
}

/* A reader that never takes all: its window stays as it is. */
static void test_slow_reader_does_not_grow(void **state)
{
    (void)state;
    begin(256 << 20, 25000, 20);
    w.to[0].is_stalled = true;
    open_stream(1, UINT64_MAX);
    for (int i = 0; i < 2000; i++) {
        pass(1);
        if (w.to[0].s && w.to[0].s->rx.len > 1)
            mux_stream_consume(w.to[0].s, w.to[0].s->rx.len - 1);
    }
    assert_true(mux_stream_consumed(w.to[0].s) > 1 << 20);
    assert_int_equal(w.to[0].s->rx_window, MUX_FIRST_WINDOW);
    finish();
}

static void test_stalled_holds_the_first_window(void **state)
{
    (void)state;
    begin(256 << 20, 25000, 50);
    w.to[0].is_stalled = true;
    open_stream(1, UINT64_MAX);
    pass(5000);
    assert_int_equal(w.to[0].s->rx_window, MUX_FIRST_WINDOW);
    assert_true(w.held_most <= MUX_FIRST_WINDOW + 2 * CHUNK_LARGE);
    w.to[0].is_stalled = false;
    read_all(&w.to[0]);
    pass(300);
    assert_true(w.to[0].got > MUX_FIRST_WINDOW);
    finish();
}

static void test_rest_brings_the_window_back(void **state)
{
    (void)state;
    begin(256 << 20, 25000, 50);
    open_stream(1, 20 << 20);
    pass(5000);
    assert_int_equal(w.to[0].got, 20 << 20);
    assert_true(w.to[0].s->rx_window > MUX_FIRST_WINDOW);
    pass(10000);
    w.from[0].to_send += 10;
    write_all(&w.from[0]);
    pass(200);
    assert_int_equal(w.to[0].got, (20 << 20) + 10);
    assert_int_equal(w.to[0].s->rx_window, MUX_FIRST_WINDOW);
    finish();
}

static void test_credit_waits_for_the_tick(void **state)
{
    const struct mux_stats *stats;
    uint64_t before;

    (void)state;
    begin(256 << 20, 25000, 0);
    stats = mux_stats(w.p.side[1].mux);
    open_stream(1, 0);
    pass(5);
    before = stats->frames_out[FRAME_CREDIT];
    for (int i = 0; i < 10; i++) {
        w.from[0].to_send += 100;
        write_all(&w.from[0]);
        pass(4);
    }
    assert_int_equal(stats->frames_out[FRAME_CREDIT], before);
    pass(60);
    assert_int_equal(stats->frames_out[FRAME_CREDIT], before + 1);
    assert_int_equal(mux_stats(w.p.side[0].mux)->held_bytes, 0);
    assert_int_equal(mux_stream_unacked(w.from[0].s), 0);
    finish();
}

static void test_bulk_credit_is_rare(void **state)
{
    uint64_t credits;

    (void)state;
    begin(256 << 20, 25000, 1);
    open_stream(1, 16 << 20);
    pass(2000);
    credits = mux_stats(w.p.side[1].mux)->frames_out[FRAME_CREDIT];
    assert_int_equal(w.to[0].got, 16 << 20);
    assert_in_range(credits, 100, 300);         /* one for each 64 KiB is 256 */
    finish();
}

/* --- whose turn ------------------------------------------------------------------------ */
static void test_stalled_readers_block_nobody(void **state)
{
    (void)state;
    begin(256 << 20, 25000, 5);
    for (int i = 0; i < 50; i++)
        w.to[i].is_stalled = true;
    for (int i = 0; i < 50; i++)
        open_stream(1, UINT64_MAX);
    for (int i = 50; i < 100; i++)
        open_stream(1, 400000);
    pass(3000);
    for (int i = 50; i < 100; i++)
        assert_int_equal(w.to[i].got, 400000);
    for (int i = 0; i < 50; i++)
        assert_int_equal(w.to[i].got, 0);
    finish();
}

static void test_owners_share_evenly(void **state)
{
    uint64_t alone, others = 0;

    (void)state;
    begin(256 << 20, 5000, 1);
    open_stream(1, UINT64_MAX);
    for (int i = 0; i < 9; i++)
        open_stream(2, UINT64_MAX);
    pass(5000);
    alone = w.to[0].got;
    for (int i = 1; i < 10; i++) {
        others += w.to[i].got;
        assert_in_range(w.to[i].got, alone / 9 * 8 / 10, alone / 9 * 12 / 10);
    }
    assert_in_range(others, alone * 9 / 10, alone * 11 / 10);
    finish();
}

/* 1 Mbit/s, full of bulk: small messages pass it. */
static void test_small_messages_go_first(void **state)
{
    (void)state;
    begin(256 << 20, 125, 1);
    for (int i = 0; i < 10; i++)
        open_stream(1, UINT64_MAX);
    w.to[10].is_small = true;
    open_stream(1, 0);
    pass(3000);
    w.to[10].slowest_ms = 0;
    for (int i = 0; i < 20; i++) {
        w.from[10].asked_ms = w.p.now_ms;
        w.from[10].to_send += 200;
        write_all(&w.from[10]);
        pass(500);
    }
    assert_int_equal(w.to[10].got, 4000);
    assert_true(w.to[10].slowest_ms <= 150);
    assert_true(w.to[0].got > 100000);
    finish();
}

/* Streams that pose as small ones get no more than half of the link. */
static void test_small_ones_take_half(void **state)
{
    uint64_t small = 0, bulk;

    (void)state;
    begin(256 << 20, 1000, 1);
    open_stream(1, UINT64_MAX);
    for (int i = 1; i < 400; i++)
        open_stream(2, 0);
    pass(2000);
    bulk = w.to[0].got;
    for (unsigned ms = 0; ms < 10000; ms += 10) {
        for (int i = 1; i < 400; i++) {
            if (mux_stream_unacked(w.from[i].s))
                w.from[i].asked_ms = w.p.now_ms;
            if (w.p.now_ms < w.from[i].asked_ms + MUX_QUICK_MS)
                continue;
            w.from[i].to_send = w.from[i].sent + 4000;
            write_all(&w.from[i]);
        }
        pass(10);
    }
    for (int i = 1; i < 400; i++)
        small += w.to[i].got;
    assert_true(w.to[0].got - bulk >= 10000 * 1000 / 10 * 4);
    assert_true(small >= 10000 * 1000 / 10 * 3);
    finish();
}

/* Others come all the time, more than the link can take: whoever is there gets on. */
static void test_newcomers_wait_their_turn(void **state)
{
    uint64_t before = 0;

    (void)state;
    begin(256 << 20, 1000, 1);
    open_stream(1, UINT64_MAX);
    pass(100);
    for (unsigned i = 0; i < 500; i++) {
        open_stream(10 + i, 6000);
        pass(3);
        if (i == 250)
            before = w.to[0].got;
    }
    assert_true(w.to[0].got > before);
    finish();
}

static void test_frames_are_cut_to_the_rate(void **state)
{
    static const struct { uint64_t rate; size_t most, message; } rows[] = {
        { 0, FRAME_DATA_MAX, MUX_MESSAGE_MAX }, { 100000000, FRAME_DATA_MAX, MUX_MESSAGE_MAX },
        { 500000, 5000, 10000 }, { 1000, 2048, 4096 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned char mem[MUX_MESSAGE_MAX];
        struct frame f;
        size_t n;

        begin(256 << 20, 25000, 0);
        open_stream(1, 0);
        pass(5);
        mux_link_set_rate(w.p.side[0].link, rows[i].rate);
        w.from[0].to_send = 100000;
        write_all(&w.from[0]);
        n = mux_link_produce(w.p.side[0].link, mem, sizeof(mem), w.p.now_ms);
        assert_int_equal(frame_read(span_of(mem, n), &f), 0);
        assert_int_equal(f.type, FRAME_DATA);
        assert_int_equal(f.payload.n - FRAME_OFFSET_LEN, rows[i].most);
        assert_in_range(n, rows[i].message / 2, rows[i].message);
        finish();
    }
}

/* What waits of a stream for the link is bounded, however fast the program writes. */
static void test_backlog_is_bounded(void **state)
{
    (void)state;
    begin(256 << 20, 25000, 0);
    open_stream(1, 0);
    pass(5);
    mux_link_set_rate(w.p.side[0].link, 0);
    w.from[0].to_send = UINT64_MAX;
    write_all(&w.from[0]);
    assert_int_equal(w.from[0].sent, MUX_BACKLOG_MAX);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_grows_to_the_link),
        cmocka_unit_test(test_slow_reader_does_not_grow),
        cmocka_unit_test(test_stalled_holds_the_first_window),
        cmocka_unit_test(test_rest_brings_the_window_back),
        cmocka_unit_test(test_credit_waits_for_the_tick),
        cmocka_unit_test(test_bulk_credit_is_rare),
        cmocka_unit_test(test_stalled_readers_block_nobody),
        cmocka_unit_test(test_owners_share_evenly),
        cmocka_unit_test(test_small_messages_go_first),
        cmocka_unit_test(test_small_ones_take_half),
        cmocka_unit_test(test_newcomers_wait_their_turn),
        cmocka_unit_test(test_frames_are_cut_to_the_rate),
        cmocka_unit_test(test_backlog_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
