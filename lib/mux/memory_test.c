#include "lib/mux/flow_world_test.h"
/*
 * Memory: a bound, and nobody who is read waits for those who are not.
 */

static void test_memory_is_a_bound(void **state)
{
    unsigned refused = 0, alive = 0;

    (void)state;
    begin(4 << 20, 25000, 5);
    for (int i = 0; i < STREAMS; i++)
        w.to[i].is_stalled = true;
    for (int i = 0; i < 500; i++)
        open_stream((uint64_t)i, UINT64_MAX);
    pass(3000);
    assert_true(w.held_most <= 4 << 20);
    for (int i = 0; i < 500; i++) {
        refused += w.from[i].is_refused;
        alive += w.to[i].s != NULL;
    }
    assert_true(refused > 0 && alive > 10);
    for (int i = 0; i < 500; i++) {
        w.to[i].is_stalled = false;
        read_all(&w.to[i]);
    }
    pass(1000);
    open_stream(1, 5000);               /* and a new one is served again */
    pass(1000);
    assert_false(w.from[500].is_refused);
    finish();
}

/* Programs that write faster than the link sends fill most of the memory and wait.  None is left with
 * nothing under way, and all of them get on when it empties. */
static void test_senders_wait_for_memory(void **state)
{
    (void)state;
    begin(256 << 20, 5000, 1);
    for (int i = 0; i < 50; i++)
        open_stream((uint64_t)i, 0);
    pass(20);
    w.p.side[0].mux->config.memory_limit = 1 << 20;
    mux_link_set_rate(w.p.side[0].link, 0);
    for (int i = 0; i < 50; i++) {
        w.from[i].to_send = 400000;
        write_all(&w.from[i]);
    }
    assert_in_range(mux_stats(w.p.side[0].mux)->held_bytes, 600 << 10, 1 << 20);
    for (int i = 0; i < 50; i++)
        assert_in_range(w.from[i].sent, 1, i < 10 ? MUX_BACKLOG_MAX : CHUNK_LARGE_ROOM);
    pass(8000);
    for (int i = 0; i < 50; i++)
        assert_int_equal(w.to[i].got, 400000);
    finish();
}

static void test_first_windows_shrink(void **state)
{
    size_t last = MUX_FIRST_WINDOW, window;

    (void)state;
    begin(1 << 20, 25000, 1);
    for (int i = 0; i < 200; i++) {
        open_stream(1, 0);
        pass(4);
        if (w.from[i].is_refused)
            break;
        window = w.to[i].s->rx_window;
        assert_true(window <= last && window >= MUX_WINDOW_LEAST);
        last = window;
    }
    assert_int_equal(last, MUX_WINDOW_LEAST);
    assert_true(w.from[w.count - 1].is_refused);
    assert_true(mux_stats(w.p.side[1].mux)->promised_bytes <= 4 << 20);
    assert_int_equal(mux_stats(w.p.side[1].mux)->overload_refusals, 1);
    finish();
}

/* Nobody reads them, so they fill what they may; those that begin late stand still with what was kept
 * for streams that hold nothing. */
static void fill_memory(unsigned idle)
{
    for (int i = 1; i < STREAMS; i++)
        w.to[i].is_stalled = true;
    for (unsigned i = 0; i < idle; i++)
        open_stream(100 + i, 0);
    pass(100);
    while (w.count < STREAMS && !w.from[w.count - 1].is_refused) {
        open_stream(w.count, UINT64_MAX);
        pass(20);
    }
    assert_true(w.from[w.count - 1].is_refused);
    for (unsigned i = 1; i <= idle; i++) {
        w.from[i].to_send = UINT64_MAX;
        write_all(&w.from[i]);
    }
    pass(2000);
}

static void test_whoever_is_read_goes_on(void **state)
{
    static const struct { const char *it; unsigned idle; uint64_t least; } rows[] = {
        { "has the last of the memory", 0, 10 << 20 },
        { "has a chunk of its own where even that is used up", 250, 300000 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t before;

        begin(4 << 20, 25000, 2);
        w.grace_ms = 60000;
        open_stream(1, UINT64_MAX);
        fill_memory(rows[i].idle);
        before = w.to[0].got;
        pass(5000);
        if (w.to[0].got - before < rows[i].least)
            fail_msg("it %s: %lu bytes", rows[i].it, w.to[0].got - before);
        assert_true(w.held_most <= 4 << 20);
        for (unsigned n = 0; n < w.count; n++)
            assert_true(w.from[n].is_refused || !w.from[n].is_ended);   /* nothing is killed */
        finish();
    }
}

/* What came and is not read fills the memory: who writes gets on by a chunk for each round trip, and
 * not for each tick. */
static void test_whoever_writes_goes_on(void **state)
{
    (void)state;
    begin(256 << 20, 25000, 2);
    w.grace_ms = 60000;
    for (unsigned i = 0; i < 200; i++) {
        w.from[i].is_stalled = true;
        open_stream(i, 0);
    }
    pass(50);
    w.p.side[0].mux->config.memory_limit = 4 << 20;
    for (unsigned i = 1; i < 200; i++) {
        w.to[i].to_send = UINT64_MAX;
        write_all(&w.to[i]);
    }
    pass(3000);
    assert_true(mux_stats(w.p.side[0].mux)->held_bytes > 2500 << 10);
    w.from[0].to_send = UINT64_MAX;
    write_all(&w.from[0]);
    pass(1000);
    assert_in_range(w.to[0].got, 100000, 10 << 20);
    assert_true(mux_stats(w.p.side[0].mux)->held_bytes <= 4 << 20);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_a_bound),
        cmocka_unit_test(test_first_windows_shrink),
        cmocka_unit_test(test_senders_wait_for_memory),
        cmocka_unit_test(test_whoever_is_read_goes_on),
        cmocka_unit_test(test_whoever_writes_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
