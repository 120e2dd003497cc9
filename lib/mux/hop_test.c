#include "lib/mux/holder_peers_test.h"

/* What a hop bears, and how it ends. */

/* --- bounds ----------------------------------------------------------------------------- */
static void expect_both(uint8_t type, enum reason why, const char *it)
{
    struct frame f[2] = { 0 };

    hear(T);
    hear(E);
    if (!nth(E, type, 0, &f[E]) || !nth(T, type, 0, &f[T]))
        fail_msg("%s: not told to both", it);
    if (reason_in(&f[E]) != why || reason_in(&f[T]) != why)
        fail_msg("%s: %s", it, reason_text(reason_in(&f[E])));
    assert_int_equal(mux_holder_stats(w.holder)->hops, 0);
    assert_int_equal(w.failed, 0);
}

static void test_keeps_so_many_unknown_frames(void **state)
{
    static const char body[2000];

    (void)state;
    begin_open(&usual, 1000);
    for (unsigned i = 0; i < 40; i++)
        say(E, 0x7e, 0, 1, span_of(body, sizeof(body)));
    expect_both(FRAME_DETACH, REASON_OVERLOAD, "64 KiB of unknown frames");
    end();
    begin_open(&usual, 1000);
    for (unsigned i = 0; i < HOP_STRANGE_MAX; i++) {
        say(E, 0x7e, 0, 1, SPAN_NONE);
        hear_one(T);
    }
    say(E, 0x7e, 0, 1, SPAN_NONE);
    expect_both(FRAME_DETACH, REASON_OVERLOAD, "more than an end bears");
    end();
}

static void test_ends_a_link_for_its_own_peer(void **state)
{
    static const struct { const char *it; bool is_fault; unsigned most; } rows[] = {
        { "that repeats faults", true, MUX_STREAM_FAULTS_MAX },
        { "that says again and again that the FIN has come", false, MUX_IDLE_FRAMES_MAX },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned n = 0;

        check_row(rows[i].it);
        begin_open(&usual, 1000);
        for (uint32_t id = 3; n < 2 * rows[i].most && !w.failed; id += 2, n++) {
            if (!rows[i].is_fault) {
                say_credit(T, 2, 1000, 0, FRAME_CREDIT_FIN);
                (void)hear_one(E);
                assert_int_equal(count_of(E, FRAME_CREDIT), n == 0);    /* once it is news */
                continue;
            }
            say_open(id, 1000, SPAN_NONE);
            hear(T);
            say_open_ok(id + 1, 1000, 0);
            say(T, FRAME_DATA, 0, id + 1, SPAN_NONE);
            hear(T);
        }
        assert_in_range(n, rows[i].most, rows[i].most + 2);
        assert_int_equal(w.failed, 1);
        assert_int_equal(mux_link_state(w.link[T]), MUX_LINK_CLOSED);
        assert_int_equal(mux_link_state(w.link[E]), MUX_LINK_OPEN);
        end();
    }
}

static void test_passes_what_the_ends_agreed_on(void **state)
{
    (void)state;
    begin(&usual);
    say_open(1, 1000, SPAN_NONE);
    hear(T);
    say_open_ok(2, 1000, 1);
    for (unsigned i = 0; i <= 2 * HOP_STRANGE_MAX; i++) {
        say(T, 0x7e, 0, 2, SPAN_NONE);
        hear_one(E);
    }
    assert_int_equal(mux_holder_stats(w.holder)->hops, 1);
    end();
}

static void test_drops_the_oldest_datagrams(void **state)
{
    unsigned char body[1000] = { 0 };
    struct frame f;
    unsigned first;

    (void)state;
    begin_open(&usual, 0);
    for (unsigned i = 0; i < 100; i++) {
        body[0] = (unsigned char)i;
        say(E, FRAME_DATAGRAM, 0, 1, span_of(body, sizeof(body)));
    }
    say(E, FRAME_FIN, 0, 1, SPAN("\0\0\0\0\0\0\0\0"));
    hear(T);
    first = 100 - count_of(T, FRAME_DATAGRAM);
    assert_int_equal(100 - first, HOP_FRAMES_MAX / (1000 + HOP_FRAME_COST));
    assert_int_equal(mux_holder_stats(w.holder)->datagrams_dropped, first);
    for (unsigned i = 0; nth(T, FRAME_DATAGRAM, i, &f); i++)
        assert_int_equal((unsigned char)f.payload.p[0], first + i);
    assert_true(heard(T, FRAME_FIN).payload.n == 8);
    end();
}

static void test_gives_up_the_path_without_memory(void **state)
{
    struct mux_holder_config config = { .memory_limit = 100000 };

    (void)state;
    begin(&config);
    for (uint32_t id = 1; id < 10; id += 2) {
        say_open(id, 0, SPAN_NONE);
        hear(T);
        say_open_ok(id + 1, 1u << 20, 0);
    }
    hear(E);
    for (uint32_t id = 3; id < 10; id += 2)
        say_data(E, id, 0, 16000, 0);
    assert_int_equal(mux_holder_stats(w.holder)->detaches, 0);
    fill(0, 25000);
    hear(E);
    assert_int_equal(heard(E, FRAME_DETACH).stream, 1);
    assert_int_equal(mux_holder_stats(w.holder)->hops, 5);      /* what waits for T stays */
    assert_int_equal(holder_window(w.holder), HOP_WINDOW_LEAST);
    end();
}

static void test_a_stalled_reader_delays_nobody(void **state)
{
    struct frame f;

    (void)state;
    begin_open(&usual, 200000);
    say_open(3, 1000, SPAN_NONE);
    hear(T);
    say_open_ok(4, 1000, 0);
    hear(E);
    mux_link_set_rate(w.link[T], 1000000);
    fill(0, 200000);                    /* its reader takes nothing: no credit will come */
    (void)hear_one(T);
    say_data(E, 3, 0, 100, 0);
    (void)hear_one(T);                  /* the very next message, though the other waits */
    assert_true(nth(T, FRAME_DATA, 0, &f) && f.stream == 4);
    hear(T);
    assert_int_equal(mux_holder_stats(w.holder)->held_bytes, 0);
    say_data(E, 3, 100, 100, 0);
    (void)hear_one(T);
    assert_int_equal(heard(T, FRAME_DATA).stream, 4);
    end();
}

/* --- faults ------------------------------------------------------------------------------- */
static void gap(void) { say_data(E, 1, 5, 5, 0); }
static void gap_up(void) { say_data(T, 2, 5, 5, 0); }
static void beyond(void) { say_data(E, 1, 1000, 1, 0); }
static void across(void) { say_data(T, 2, 0, 1001, 0); }
static void empty(void) { say_data(E, 1, 0, 0, 0); }
static void credit_beyond(void) { say_credit(T, 2, 2000, 1, 0); }
static void credit_crossed(void) { say_credit(T, 2, 1, 2, 0); }
static void credit_cut(void) { say(E, FRAME_CREDIT, 0, 1, SPAN("short")); }
static void revoked(void) { mux_hop_revoke(w.hop); }

static void test_ends_a_path_or_stream_for_faults(void **state)
{
    static const struct {
        const char *it;
        void (*act)(void);
        uint8_t type;
        enum reason why;
    } rows[] = {
        { "a gap", gap, FRAME_DETACH, REASON_GAP },
        { "a gap of the target side", gap_up, FRAME_DETACH, REASON_GAP },
        { "DATA beyond the limit", beyond, FRAME_RESET, REASON_PROTOCOL_ERROR },
        { "DATA across the limit", across, FRAME_RESET, REASON_PROTOCOL_ERROR },
        { "DATA without bytes", empty, FRAME_RESET, REASON_PROTOCOL_ERROR },
        { "CREDIT for what was not handed on", credit_beyond, FRAME_RESET, REASON_PROTOCOL_ERROR },
        { "CREDIT, limit below received", credit_crossed, FRAME_RESET, REASON_PROTOCOL_ERROR },
        { "CREDIT that is cut", credit_cut, FRAME_RESET, REASON_PROTOCOL_ERROR },
        { "a stream that is no longer allowed", revoked, FRAME_RESET, REASON_REVOKED },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin_open(&usual, 1000);
        w.hop = side_of(container_of(map_find(&w.link[E]->by_id, span_of(&(uint32_t){ 1 }, 4)),
                                     struct leg, by_id))->hop;
        rows[i].act();
        expect_both(rows[i].type, rows[i].why, rows[i].it);
        assert_int_equal(w.why, rows[i].why);
        end();
    }
}

static void test_ends_a_link_for_its_own_peer_only(void **state)
{
    (void)state;
    begin(&usual);
    say_open(1, 1000, SPAN_NONE);
    say(T, FRAME_FIN, 0, 2, SPAN("\0\0\0\0\0\0\0\0"));      /* its OPEN has not left */
    assert_int_equal(w.failed, 1);
    assert_int_equal(mux_link_state(w.link[T]), MUX_LINK_CLOSED);
    hear(E);
    assert_int_equal(heard(E, FRAME_DETACH).stream, 1);
    end();
    begin_open(&usual, 1000);
    say(E, FRAME_END, 0, 1, SPAN_NONE);
    say(E, FRAME_FIN, 0, 1, SPAN("\0\0\0\0\0\0\0\0"));      /* late */
    assert_int_equal(w.failed, 0);
    say(E, FRAME_FIN, 0, 99, SPAN("\0\0\0\0\0\0\0\0"));     /* never opened */
    assert_int_equal(w.failed, 1);
    end();
}

static void test_tells_the_other_side_of_a_lost_link(void **state)
{
    (void)state;
    for (int side = E; side <= T; side++) {
        struct frame f;

        begin_open(&usual, 1000);
        say_data(side, side == E ? 1 : 2, 0, 10, 0);
        mux_link_free(w.link[side]);
        hear(!side);
        f = heard(!side, FRAME_DETACH);
        assert_int_equal(reason_in(&f), REASON_SESSION_LOST);
        assert_int_equal(count_of(!side, FRAME_DATA), 0);
        assert_int_equal(w.ended, 1);
        end();
    }
}

static void test_leaves_a_link_whose_time_is_over(void **state)
{
    (void)state;
    for (int side = E; side <= T; side++) {
        begin_open(&usual, 1000);
        say_data(side, side == E ? 1 : 2, 0, 10, 0);
        mux_link_goaway(w.link[side], &(struct mux_goaway){ .why = REASON_RELAY_DRAINING, .ms_left = 1 });
        mux_link_detach(w.link[side], REASON_RELAY_DRAINING);
        for (int each = E; each <= T; each++) {
            struct frame f;

            hear(each);
            f = heard(each, FRAME_DETACH);
            assert_int_equal(reason_in(&f), REASON_RELAY_DRAINING);
            assert_int_equal(count_of(each, FRAME_RESET), 0);
        }
        assert_int_equal(w.ended, 1);
        end();
    }
}

/* --- beginnings and ends -------------------------------------------------------------------- */
static void test_refuses_what_goes_nowhere(void **state)
{
    static const struct {
        const char *it;
        enum reason refuse;
        bool is_draining, is_full;
        enum reason want;
    } rows[] = {
        { "what the program refuses", REASON_NOT_HERE, false, false, REASON_NOT_HERE },
        { "what goes to a link that drains", REASON_NONE, true, false, REASON_RELAY_DRAINING },
        { "one hop too many", REASON_NONE, false, true, REASON_OVERLOAD },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mux_holder_config config = { .hops_max = rows[i].is_full ? 1 : 2 };
        struct frame f;

        begin_open(&config, 1000);
        w.refuse = rows[i].refuse;
        if (rows[i].is_draining)
            mux_link_goaway(w.link[T], &(struct mux_goaway){ .why = REASON_RELAY_DRAINING });
        say_open(3, 1000, SPAN_NONE);
        hear(E);
        f = heard(E, FRAME_OPEN_ERR);
        assert_int_equal(f.stream, 3);
        if (reason_in(&f) != rows[i].want)
            fail_msg("%s: %s", rows[i].it, reason_text(reason_in(&f)));
        assert_int_equal(mux_holder_stats(w.holder)->hops, 1);
        end();
    }
}

static void test_renews_a_link_whose_ids_come_to_their_end(void **state)
{
    struct frame f;

    (void)state;
    begin(&usual);
    w.link[T]->next_id = 0xfffffffeu - 2 * MUX_IDS_LEFT;
    say_open(1, 1000, SPAN_NONE);
    hear(T);
    assert_int_equal(heard(T, FRAME_OPEN).stream, 0xfffffffeu - 2 * MUX_IDS_LEFT);
    say_open(3, 1000, SPAN_NONE);
    hear(T);
    hear(E);
    f = heard(T, FRAME_GOAWAY);
    assert_int_equal(reason_in(&f), REASON_LINK_RENEW);
    f = heard(E, FRAME_OPEN_ERR);
    assert_int_equal(reason_in(&f), REASON_RELAY_DRAINING);
    end();
}

static void test_forgets_with_the_last_word(void **state)
{
    (void)state;
    begin_open(&usual, 1000);
    say(E, FRAME_END, 0, 1, SPAN_NONE);
    assert_int_equal(w.ended, 0);           /* it has still to be said */
    hear(T);
    assert_int_equal(w.ended, 1);
    end();
    begin_open(&usual, 1000);
    say(E, FRAME_RESET, FRAME_RESET_NOW, 1, SPAN("\0\0\0\0\0\0\0\0\1\0\2ok"));
    hear(T);
    say_credit(T, 2, 1000, 0, FRAME_CREDIT_RESET);
    hear(E);
    assert_int_equal(heard(E, FRAME_CREDIT).flags, FRAME_CREDIT_RESET);
    assert_int_equal(w.ended, 1);
    end();
}

static void test_forgets_a_reset_that_nobody_answers(void **state)
{
    (void)state;
    begin_open(&usual, 1000);
    say(T, FRAME_RESET, 0, 2, SPAN("\0\0\0\0\0\0\0\0\1\0\2ok"));
    hear(E);
    assert_true(mux_link_tick(w.link[E], w.now_ms) <= w.now_ms + MUX_SETTLE_MS);
    for (unsigned s = 0; s <= MUX_SETTLE_MS / 1000; s++) {
        w.now_ms += 1000;
        say(E, FRAME_PONG, 0, 0, SPAN("00000000"));
        say(T, FRAME_PONG, 0, 0, SPAN("00000000"));
        (void)mux_link_tick(w.link[E], w.now_ms);
        (void)mux_link_tick(w.link[T], w.now_ms);
        hear(E);
        hear(T);
    }
    assert_int_equal(w.failed, 0);
    assert_int_equal(w.ended, 1);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_so_many_unknown_frames),
        cmocka_unit_test(test_ends_a_link_for_its_own_peer),
        cmocka_unit_test(test_passes_what_the_ends_agreed_on),
        cmocka_unit_test(test_drops_the_oldest_datagrams),
        cmocka_unit_test(test_gives_up_the_path_without_memory),
        cmocka_unit_test(test_a_stalled_reader_delays_nobody),
        cmocka_unit_test(test_ends_a_path_or_stream_for_faults),
        cmocka_unit_test(test_ends_a_link_for_its_own_peer_only),
        cmocka_unit_test(test_tells_the_other_side_of_a_lost_link),
        cmocka_unit_test(test_leaves_a_link_whose_time_is_over),
        cmocka_unit_test(test_refuses_what_goes_nowhere),
        cmocka_unit_test(test_renews_a_link_whose_ids_come_to_their_end),
        cmocka_unit_test(test_forgets_with_the_last_word),
        cmocka_unit_test(test_forgets_a_reset_that_nobody_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
