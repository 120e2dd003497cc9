#include "lib/mux/holder_peers_test.h"

/* What goes through a holder, and with which limits. */

/* --- what goes through ------------------------------------------------------------------ */
static void test_passes_frames_on_unread(void **state)
{
    static const struct {
        const char *it;
        int from;
        uint8_t type, flags;
        struct span payload;
    } rows[] = {
        { "FIN down", E, FRAME_FIN, 0, SPAN("\0\0\0\0\0\0\0\0") },
        { "FIN up, unknown flags", T, FRAME_FIN, 0xfe, SPAN("\0\0\0\0\0\0\0\0") },
        { "a malformed FIN", E, FRAME_FIN, 0, SPAN("x") },
        { "RESET with an unknown tag", E, FRAME_RESET, 0x82, SPAN("\0\0\0\0\0\0\0\0\x55\0\2ab") },
        { "RESET, a code of a later release", T, FRAME_RESET, 0, SPAN("\0\0\0\0\0\0\0\0\1\0\3new") },
        { "END", E, FRAME_END, 0x41, SPAN_NONE },
        { "END of the wrong end", T, FRAME_END, 0, SPAN_NONE },
        { "DETACH with its text", T, FRAME_DETACH, 4, SPAN("\1\0\3gap\2\0\1t\x70\0\1?") },
        { "OPEN_ERR", T, FRAME_OPEN_ERR, 0, SPAN("\1\0\3new") },
        { "a DATAGRAM", E, FRAME_DATAGRAM, 0x10, SPAN("datagram") },
        { "an unknown frame", E, 0x7e, 0xff, SPAN("later") },
        { "an unknown critical frame", T, 0xfe, 1, SPAN("later still") },
        { "what is DATA but for the critical bit", T, 0xc3, 0, SPAN("01234567") },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int to = !rows[i].from;
        struct frame f;

        begin_open(&usual, 1000);
        say(rows[i].from, rows[i].type, rows[i].flags, rows[i].from == E ? 1 : 2, rows[i].payload);
        hear(to);
        if (!nth(to, rows[i].type, 0, &f) || !span_eq(f.payload, rows[i].payload) ||
            f.flags != rows[i].flags || f.stream != (to == E ? 1 : 2))
            fail_msg("does not pass on %s", rows[i].it);
        assert_int_equal(w.failed, 0);
        end();
    }
}

static void test_passes_bytes_on_with_their_flags(void **state)
{
    struct frame f;
    struct frame_data d;

    (void)state;
    begin_open(&usual, 100000);
    say_data(E, 1, 0, 10, 0);
    say_data(E, 1, 10, 10, 0x40);
    say_data(E, 1, 20, 10, 0x40);
    say(E, 0x7e, 0, 1, SPAN("between"));
    say_data(E, 1, 25, 10, 0);              /* 5 of them again */
    say(E, FRAME_FIN, 0, 1, SPAN("\0\0\0\0\0\0\0\x23"));
    hear(T);
    assert_int_equal(count_of(T, FRAME_DATA), 3);
    for (unsigned i = 0; i < 3; i++) {
        static const struct { uint8_t flags; uint64_t offset; size_t n; } want[] = {
            { 0, 0, 10 }, { 0x40, 10, 20 }, { 0, 30, 5 },
        };

        assert_true(nth(T, FRAME_DATA, i, &f));
        assert_int_equal(frame_data_read(f.payload, &d), 0);
        assert_int_equal(f.flags, want[i].flags);
        assert_int_equal(d.offset, want[i].offset);
        assert_int_equal(d.bytes.n, want[i].n);
        assert_int_equal((unsigned char)d.bytes.p[3], (uint8_t)((d.offset + 3) * 7));
    }
    assert_true(heard(T, FRAME_FIN).payload.p > f.payload.p);       /* last of all */
    assert_true(heard(T, 0x7e).payload.p < f.payload.p);
    end();
}

static void test_leaves_tags_of_a_later_release_to_the_end(void **state)
{
    struct frame f;

    (void)state;
    begin(&usual);
    say_open(1, 1000, SPAN("\x90\0\3new"));         /* critical: who reads it all may refuse it */
    hear(T);
    f = heard(T, FRAME_OPEN);
    assert_non_null(memmem(f.payload.p, f.payload.n, "\x90\0\3new", 6));
    end();
}

static void test_splits_what_is_too_long_for_the_next_link(void **state)
{
    struct frame f;

    (void)state;
    begin_open(&usual, 100000);
    mux_link_set_rate(w.link[T], 204800);
    say_data(E, 1, 0, 10000, 0);
    hear(T);
    assert_int_equal(count_of(T, FRAME_DATA), 5);
    for (unsigned i = 0; nth(T, FRAME_DATA, i, &f); i++)
        assert_true(f.payload.n <= 2048 + FRAME_OFFSET_LEN);
    assert_true(mux_holder_stats(w.holder)->split > 0);
    end();
}

/* --- limits ----------------------------------------------------------------------------- */
static void test_tells_no_more_than_may_wait(void **state)
{
    static const struct { const char *it; size_t window; uint64_t limit, want; } rows[] = {
        { "a limit below the window", 0, 1000, 1000 },
        { "a limit of the window", 0, HOP_WINDOW, HOP_WINDOW },
        { "a limit above the window", 0, 16u << 20, HOP_WINDOW },
        { "nothing", 0, 0, 0 },
        { "a window of its own", 20000, 1u << 20, 20000 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mux_holder_config config = { .window = rows[i].window };
        struct mux_opened opened;
        struct mux_open open;
        uint64_t limit;

        begin(&config);
        say_open(1, rows[i].limit, SPAN_NONE);
        hear(T);
        assert_int_equal(open_decode(heard(T, FRAME_OPEN).payload, &open, &limit), 0);
        if (limit != rows[i].want)
            fail_msg("%s: OPEN tells %lu", rows[i].it, limit);
        say_open_ok(2, rows[i].limit, 0);
        hear(E);
        assert_int_equal(opened_decode(heard(E, FRAME_OPEN_OK).payload, &opened, &limit), 0);
        if (limit != rows[i].want)
            fail_msg("%s: OPEN_OK tells %lu", rows[i].it, limit);
        end();
    }
}

static void test_begins_an_attached_path_where_the_ends_are(void **state)
{
    static const unsigned char zeros[16];
    struct frame_attach a = { .uid = span_of(zeros, 16), .path = 2, .received = 5000,
                              .limit = 1u << 20, .proof = span_of(zeros, 16), .ticket = SPAN("t") };
    unsigned char mem[256];
    struct buf b;

    (void)state;
    begin(&usual);
    buf_init_fixed(&b, mem, sizeof(mem));
    frame_attach_put(&b, FRAME_ATTACH, 1, &a);
    feed(E, &b);
    hear(T);
    assert_int_equal(frame_attach_read(heard(T, FRAME_ATTACH).payload, &a), 0);
    assert_int_equal(a.limit, 5000 + HOP_WINDOW);
    assert_true(span_eq(a.ticket, SPAN("t")));
    a.received = 70;
    a.limit = 100;
    buf_clear(&b);
    frame_attach_put(&b, FRAME_ATTACH_OK, 2, &a);
    feed(T, &b);
    hear(E);
    assert_int_equal(frame_attach_read(heard(E, FRAME_ATTACH_OK).payload, &a), 0);
    assert_int_equal(a.limit, 100);
    say_data(E, 1, 70, 30, 0);
    say_data(T, 2, 5000, 30, 0);
    hear(T);
    hear(E);
    assert_int_equal(count_of(T, FRAME_DATA) + count_of(E, FRAME_DATA), 2);
    end();
}

static void test_acknowledges_only_what_the_end_has(void **state)
{
    (void)state;
    begin_open(&usual, 1u << 20);
    fill(0, HOP_WINDOW);
    hear(E);
    assert_int_equal(count_of(E, FRAME_CREDIT), 0);     /* all of it waits here */
    hear(T);
    hear(E);
    assert_int_equal(credit_of(E).received, 0);
    assert_int_equal(credit_of(E).limit, 2 * HOP_WINDOW);
    say_credit(T, 2, 1u << 20, 1000, 0);
    hear(E);
    assert_int_equal(credit_of(E).received, 1000);
    say_credit(T, 2, 1u << 20, 1000, 0);                /* nothing new */
    hear(E);
    assert_int_equal(count_of(E, FRAME_CREDIT), 0);
    say_credit(T, 2, 1u << 20, 1000, 0x80);
    say_credit(T, 2, 1u << 20, 2000, FRAME_CREDIT_FIN);
    hear(E);
    assert_int_equal(count_of(E, FRAME_CREDIT), 1);
    assert_int_equal(heard(E, FRAME_CREDIT).flags, 0x80 | FRAME_CREDIT_FIN);
    end();
}

static void test_speaks_to_the_target_side_only_after_the_entry(void **state)
{
    (void)state;
    begin_open(&usual, 1u << 20);
    for (uint64_t at = 0; at < HOP_WINDOW; at += 16384 / 2)
        say_data(T, 2, at, 8192, 0);
    hear(E);
    hear(T);
    assert_int_equal(count_of(T, FRAME_CREDIT), 0);
    say_credit(E, 1, 1u << 20, 10, 0);
    hear(T);
    assert_int_equal(credit_of(T).limit, 2 * HOP_WINDOW);
    end();
}

static void test_holds_back_under_pressure(void **state)
{
    struct mux_holder_config config = { .memory_limit = 1100000 };

    (void)state;
    begin_open(&config, 1u << 20);
    fill(0, HOP_WINDOW);
    assert_int_equal(holder_window(w.holder), HOP_WINDOW);
    for (uint32_t id = 3; id < 20; id += 2)
        say_open(id, 1u << 20, SPAN_NONE);
    assert_int_equal(holder_window(w.holder), HOP_WINDOW_LEAST);
    hear(T);
    say_credit(T, 2, 2u << 20, HOP_WINDOW, 0);
    hear(E);
    assert_int_equal(credit_of(E).limit, HOP_WINDOW + HOP_WINDOW_LEAST);
    assert_true(mux_holder_stats(w.holder)->limits_pressed > 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes_frames_on_unread),
        cmocka_unit_test(test_passes_bytes_on_with_their_flags),
        cmocka_unit_test(test_leaves_tags_of_a_later_release_to_the_end),
        cmocka_unit_test(test_splits_what_is_too_long_for_the_next_link),
        cmocka_unit_test(test_tells_no_more_than_may_wait),
        cmocka_unit_test(test_begins_an_attached_path_where_the_ends_are),
        cmocka_unit_test(test_acknowledges_only_what_the_end_has),
        cmocka_unit_test(test_speaks_to_the_target_side_only_after_the_entry),
        cmocka_unit_test(test_holds_back_under_pressure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
