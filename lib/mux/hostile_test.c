#include "lib/mux/hostile_test.h"
/*
 * Rows: what comes after a greeting and one open stream; what the end does about it.
 */
/* --- one frame, one verdict ------------------------------------------------------------ */
enum verdict { LINK_FAILS, STREAM_RESETS, LATE, NOTHING, REFUSED, ENDS };

struct row {
    const char *it;
    void (*put)(struct buf *);
    enum verdict verdict;
    enum reason why;
    uint64_t want_received;
};

static void data_never(struct buf *b) { put_data(b, 3, 0, 1); }
static void data_our_never(struct buf *b) { put_data(b, 2, 0, 1); }
static void open_even(struct buf *b) { put_open(b, 4, 9, 80, 0); }
static void open_again(struct buf *b) { put_open(b, 1, 9, 80, 0); }
static void open_same_uid(struct buf *b) { put_open(b, 3, 1, 80, 0); }
static void open_invalid(struct buf *b) { frame_put(b, FRAME_OPEN, 0, 3, SPAN_NONE); }
static void hello_again(struct buf *b) { frame_put(b, FRAME_HELLO, 0, 0, SPAN("{}")); }
static void link_unknown(struct buf *b) { frame_put(b, 0x3f, 0, 0, SPAN("x")); }
static void link_critical(struct buf *b) { frame_put(b, 0x80, 0, 0, SPAN_NONE); }
static void stream_unknown(struct buf *b) { frame_put(b, 0x7f, 0, 1, SPAN("x")); }
static void stream_critical(struct buf *b) { frame_put(b, 0xc0, 0, 1, SPAN_NONE); }
static void data_empty(struct buf *b) { put_data(b, 1, 0, 0); }
static void data_gap(struct buf *b) { put_data(b, 1, 1, 1); }
static void data_beyond(struct buf *b) { put_data(b, 1, (256 << 10), 1); }
static void data_to_limit(struct buf *b)
{
    for (uint64_t at = 0; at < 256 << 10; at += 16000)
        put_data(b, 1, at, at + 16000 > 256 << 10 ? (256 << 10) - at : 16000);
}
static void data_past_limit(struct buf *b)
{
    data_to_limit(b);
    put_data(b, 1, (256 << 10) - 1, 2);
}
static void data_twice(struct buf *b) { put_data(b, 1, 0, 10); put_data(b, 1, 0, 10); }
static void data_overlap(struct buf *b) { put_data(b, 1, 0, 10); put_data(b, 1, 5, 10); }
static void data_after_fin(struct buf *b) { frame_fin_put(b, 1, 0); put_data(b, 1, 0, 1); }
static void fin_twice(struct buf *b) { frame_fin_put(b, 1, 0); frame_fin_put(b, 1, 0); }
static void fin_early(struct buf *b) { put_data(b, 1, 0, 9); frame_fin_put(b, 1, 8); }
static void fin_gap(struct buf *b) { frame_fin_put(b, 1, 1); }
static void fin_huge(struct buf *b) { frame_fin_put(b, 1, UINT64_MAX); }
static void fin_cut(struct buf *b) { frame_put(b, FRAME_FIN, 0, 1, SPAN("1234567")); }
static void credit_beyond(struct buf *b) { put_credit(b, 1, 9, 1, 0); }
static void credit_fin(struct buf *b) { put_credit(b, 1, 9, 0, FRAME_CREDIT_FIN); }
static void credit_reset(struct buf *b) { put_credit(b, 1, 9, 0, FRAME_CREDIT_RESET); }
static void credit_most(struct buf *b) { put_credit(b, 1, UINT64_MAX, 0, 0); }
static void credit_lower(struct buf *b) { put_credit(b, 1, 1, 0, 0); put_credit(b, 1, 0, 0, 0); }
static void end_early(struct buf *b) { frame_put(b, FRAME_END, 0, 1, SPAN_NONE); }
static void open_ok_for_theirs(struct buf *b) { frame_put(b, FRAME_OPEN_OK, 0, 1, SPAN_NONE); }
static void open_err_for_theirs(struct buf *b) { frame_put(b, FRAME_OPEN_ERR, 0, 1, SPAN_NONE); }
static void attach_ok(struct buf *b) { frame_put(b, FRAME_ATTACH_OK, 0, 1, SPAN_NONE); }
static void datagram(struct buf *b) { frame_put(b, FRAME_DATAGRAM, 0, 1, SPAN("d")); }
static void detach(struct buf *b) { frame_put(b, FRAME_DETACH, 0, 1, SPAN_NONE); }
static void reset_gap(struct buf *b)
{
    frame_put(b, FRAME_RESET, 0, 1, span_of("\0\0\0\0\0\0\0\1", 8));
}
static void reset_cut(struct buf *b) { frame_put(b, FRAME_RESET, 0, 1, SPAN("1234567")); }
static void reset_then_late(struct buf *b)
{
    frame_put(b, FRAME_RESET, FRAME_RESET_NOW, 1, span_of("\0\0\0\0\0\0\0\0", 8));
    put_data(b, 1, 0, 1);
}
static void notice_gap(struct buf *b)
{
    frame_notice_put(b, &(struct frame_notice){ 1, 1, 9, 4, SPAN("xx") });
}
static void notice_mixed(struct buf *b)
{
    frame_notice_put(b, &(struct frame_notice){ 1, 1, 9, 0, SPAN("xx") });
    frame_notice_put(b, &(struct frame_notice){ 1, 2, 9, 2, SPAN("xx") });
}
static void notice_overlong(struct buf *b)
{
    frame_notice_put(b, &(struct frame_notice){ 1, 1, FRAME_NOTICE_TOTAL_MAX + 1, 0, SPAN("x") });
}
static void ping_short(struct buf *b) { frame_put(b, FRAME_PING, 0, 0, SPAN("1234567")); }
static void pong_short(struct buf *b) { frame_put(b, FRAME_PONG, 0, 0, SPAN("1234567")); }
static void pong_unasked(struct buf *b) { frame_echo_put(b, FRAME_PONG, 12345); }
static void goaway_cut(struct buf *b) { frame_put(b, FRAME_GOAWAY, 0, 0, SPAN("\1\0")); }
static void beyond_message(struct buf *b) { put_data(b, 1, 0, 5); b->len--; }
static void header_alone(struct buf *b) { buf_put(b, "\x43\0\0\x09", 4); }
static void too_long(struct buf *b) { buf_put(b, "\x43\0\x3f\xf1\0\0\0\1", 8); }
static void stream_zero(struct buf *b) { buf_put(b, "\x47\0\0\0\0\0\0\0", 8); }
static void link_on_stream(struct buf *b) { buf_put(b, "\2\0\0\0\0\0\0\1", 8); }

static const struct row rows[] = {
    { "DATA on an id of the peer that was never opened", data_never, LINK_FAILS, PROTOCOL },
    { "DATA on an id of ours that was never opened", data_our_never, LINK_FAILS, PROTOCOL },
    { "OPEN with an id of our kind", open_even, LINK_FAILS, PROTOCOL },
    { "OPEN with an id that does not rise", open_again, LINK_FAILS, PROTOCOL },
    { "OPEN with a uid that is in use", open_same_uid, REFUSED, REASON_STALE_PATH },
    { "OPEN without what has to be there", open_invalid, REFUSED, PROTOCOL },
    { "a second HELLO", hello_again, LINK_FAILS, PROTOCOL },
    { "an unknown link frame", link_unknown, NOTHING, 0 },
    { "an unknown critical link frame", link_critical, LINK_FAILS, PROTOCOL },
    { "an unknown stream frame", stream_unknown, NOTHING, 0 },
    { "an unknown critical stream frame", stream_critical, STREAM_RESETS, PROTOCOL },
    { "DATA without bytes", data_empty, STREAM_RESETS, PROTOCOL },
    { "DATA with a gap", data_gap, STREAM_RESETS, REASON_GAP },
    { "DATA that begins at the limit", data_beyond, STREAM_RESETS, PROTOCOL },
    { "DATA up to the limit", data_to_limit, NOTHING, 0, 256 << 10 },
    { "DATA one byte past the limit", data_past_limit, STREAM_RESETS, PROTOCOL },
    { "DATA that has come before", data_twice, NOTHING, 0, 10 },
    { "DATA that overlaps", data_overlap, NOTHING, 0, 15 },
    { "DATA after FIN", data_after_fin, STREAM_RESETS, PROTOCOL },
    { "FIN twice", fin_twice, STREAM_RESETS, PROTOCOL },
    { "FIN before what came", fin_early, STREAM_RESETS, PROTOCOL },
    { "FIN after a gap", fin_gap, STREAM_RESETS, REASON_GAP },
    { "FIN at the end of counting", fin_huge, STREAM_RESETS, REASON_GAP },
    { "FIN that is cut", fin_cut, STREAM_RESETS, PROTOCOL },
    { "CREDIT for bytes that were not sent", credit_beyond, STREAM_RESETS, PROTOCOL },
    { "CREDIT for a FIN that was not sent", credit_fin, STREAM_RESETS, PROTOCOL },
    { "CREDIT for a RESET that was not sent", credit_reset, NOTHING, 0 },
    { "CREDIT without end", credit_most, NOTHING, 0 },
    { "CREDIT that goes back", credit_lower, NOTHING, 0 },
    { "END before all is settled", end_early, ENDS, PROTOCOL },
    { "OPEN_OK for a stream of the peer's", open_ok_for_theirs, STREAM_RESETS, PROTOCOL },
    { "OPEN_ERR for a stream of the peer's", open_err_for_theirs, STREAM_RESETS, PROTOCOL },
    { "ATTACH_OK that was not asked for", attach_ok, STREAM_RESETS, PROTOCOL },
    { "DATAGRAM on a TCP stream", datagram, STREAM_RESETS, PROTOCOL },
    { "DETACH, with no other path", detach, ENDS, REASON_SESSION_LOST },
    { "RESET after a gap", reset_gap, STREAM_RESETS, REASON_GAP },
    { "RESET that is cut", reset_cut, STREAM_RESETS, PROTOCOL },
    { "DATA after RESET", reset_then_late, ENDS, REASON_INTERNAL },
    { "NOTICE that begins in the middle", notice_gap, LINK_FAILS, PROTOCOL },
    { "NOTICE with another in it", notice_mixed, LINK_FAILS, PROTOCOL },
    { "NOTICE of more than 1 MiB", notice_overlong, LINK_FAILS, PROTOCOL },
    { "PING that is cut", ping_short, LINK_FAILS, PROTOCOL },
    { "PONG that is cut", pong_short, LINK_FAILS, PROTOCOL },
    { "PONG that nobody asked for", pong_unasked, NOTHING, 0 },
    { "GOAWAY with a tag that is cut", goaway_cut, LINK_FAILS, PROTOCOL },
    { "a frame that goes beyond its message", beyond_message, LINK_FAILS, PROTOCOL },
    { "half a header", header_alone, LINK_FAILS, PROTOCOL },
    { "a length above the maximum", too_long, LINK_FAILS, PROTOCOL },
    { "a stream frame on stream 0", stream_zero, LINK_FAILS, PROTOCOL },
    { "a link frame on a stream", link_on_stream, LINK_FAILS, PROTOCOL },
};

static void check_refusal(enum reason why)
{
    struct mux_opened tries;
    struct frame f;
    struct why said_why;

    assert_true(said(FRAME_OPEN_ERR, &f));
    assert_int_equal(f.stream, 3);
    assert_int_equal(refused_decode(f.payload, &said_why, &tries), 0);
    assert_int_equal(said_why.reason, why);
}

static void check_reset(enum reason why)
{
    uint64_t final_offset;
    struct frame f;
    struct why said_why;

    assert_int_equal(w.reset, 1);
    assert_int_equal(w.how, why);
    assert_true(said(FRAME_RESET, &f));
    assert_int_equal(f.flags, FRAME_RESET_NOW);
    assert_int_equal(reset_decode(f.payload, &final_offset, &said_why), 0);
    assert_int_equal(said_why.reason, why);
}

static void check_failed(enum reason why)
{
    struct why said_why;
    struct frame f;

    assert_int_equal(w.failed, 1);
    assert_int_equal(w.why, why);
    assert_true(said(FRAME_GOAWAY, &f));
    assert_int_equal(why_decode(f.payload, &said_why), 0);
    assert_int_equal(said_why.reason, why);
    assert_int_equal(mux_link_take(w.link, SPAN("x"), true, w.now_ms), why);
}

/* After every row but the last kinds a good stream passes. */
static void check_still_good(void)
{
    static unsigned char mem[64 << 10];
    unsigned before = w.opened;
    struct frame f;
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    put_open(&b, 5, 77, 80, 100);
    put_data(&b, 5, 0, 100);
    take(&b);
    produce();
    assert_int_equal(w.opened, before + 1);
    assert_int_equal(w.failed, 0);
    assert_true(said(FRAME_OPEN_OK, &f));
    assert_int_equal(f.stream, 5);
}

static void check_verdict(const struct row *row)
{
    if (row->verdict == LINK_FAILS) {
        check_failed(row->why);
        return;
    }
    if (row->verdict == STREAM_RESETS)
        check_reset(row->why);
    if (row->verdict == REFUSED)
        check_refusal(row->why);
    if (row->verdict == NOTHING) {
        assert_int_equal(w.reset + w.ended, 0);
        assert_true(w.s->tx_limit >= 100000);
        assert_int_equal(w.s->rx_received, w.s->rx.len);
        assert_int_equal(w.s->rx_received, row->want_received);
    }
    if (row->verdict == ENDS) {
        assert_int_equal(w.ended, 1);
        assert_int_equal(w.how, row->why);
    }
    check_still_good();
}

static void test_rows(void **state)
{
    static unsigned char mem[512 << 10];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;

        check_row(rows[i].it);
        begin(8);
        buf_init_fixed(&b, mem, sizeof(mem));
        put_open(&b, 1, 1, 80, 100000);
        take(&b);
        produce();
        buf_clear(&b);
        rows[i].put(&b);
        take(&b);
        produce();
        check_verdict(&rows[i]);
        end();
    }
}

/* --- before the answer, before the greeting ---------------------------------------------- */
static void test_data_before_answer(void **state)
{
    unsigned char mem[2048];
    struct frame f;
    struct buf b;

    (void)state;
    begin(8);
    buf_init_fixed(&b, mem, sizeof(mem));
    put_open(&b, 1, 1, 81, 100);        /* our program does not answer that port */
    put_data(&b, 1, 0, 1);
    take(&b);
    produce();
    assert_true(said(FRAME_OPEN_ERR, &f));
    assert_int_equal(w.how, REASON_PROTOCOL_ERROR);
    end();
}

static void test_stream_before_acceptance(void **state)
{
    struct mux_config config = { .is_accepting = true };
    unsigned char mem[2048];
    struct buf b;

    (void)state;
    for (int has_hello = 0; has_hello < 2; has_hello++) {
        memset(&w, 0, sizeof(w));
        w.mux = mux_new(&config, &handlers);
        w.link = mux_link_new(w.mux, NULL, 0);
        assert_int_equal(mux_link_hello(w.link, SPAN("{}")), 0);
        buf_init_fixed(&b, mem, sizeof(mem));
        if (has_hello)
            frame_put(&b, FRAME_HELLO, 0, 0, SPAN("{}"));
        put_open(&b, 1, 1, 80, 0);
        take(&b);
        assert_int_equal(w.failed, 1);
        assert_int_equal(w.opened, 0);
        mux_free(w.mux);
    }
}

/* Before acceptance a PONG would say "accepted": it waits. */
static void test_no_pong_before_acceptance(void **state)
{
    struct mux_config config = { .is_accepting = true };
    unsigned char mem[128];
    struct frame f;
    struct buf b;

    (void)state;
    memset(&w, 0, sizeof(w));
    w.mux = mux_new(&config, &handlers);
    w.link = mux_link_new(w.mux, NULL, 0);
    assert_int_equal(mux_link_hello(w.link, SPAN("{}")), 0);
    produce();
    buf_init_fixed(&b, mem, sizeof(mem));
    frame_put(&b, FRAME_HELLO, 0, 0, SPAN("{}"));
    frame_echo_put(&b, FRAME_PING, 5);
    take(&b);
    produce();
    assert_int_equal(w.out_len, 0);
    mux_link_accept(w.link, 0);
    produce();
    assert_true(said(FRAME_PONG, &f));
    assert_true(said(FRAME_PING, &f));
    mux_free(w.mux);
}

/* A peer that says it has the FIN, but not all the bytes before it. */
static void test_fin_acknowledged_short(void **state)
{
    unsigned char mem[2048];
    struct buf b;
    size_t n;

    (void)state;
    for (uint64_t received = 9; received <= 10; received++) {
        begin(8);
        buf_init_fixed(&b, mem, sizeof(mem));
        put_open(&b, 1, 1, 80, 100);
        take(&b);
        assert_non_null(mux_stream_reserve(w.s, &n));
        mux_stream_commit(w.s, 10);
        mux_stream_fin(w.s);
        produce();
        buf_clear(&b);
        put_credit(&b, 1, 100, received, FRAME_CREDIT_FIN);
        take(&b);
        assert_int_equal(w.reset, received == 9);
        end();
    }
}

/* A peer that guesses the next id, and speaks on it while our OPEN is still here. */
static void test_answer_before_open_left(void **state)
{
    static const uint8_t types[] = { FRAME_OPEN_OK, FRAME_OPEN_ERR, FRAME_RESET, FRAME_DETACH,
                                     FRAME_CREDIT, FRAME_ATTACH_OK, FRAME_ATTACH_ERR, 0x7e };
    unsigned char mem[512];
    struct buf b;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct mux_open open = an_open(7, 80);
        struct mux_opened opened = { .boot_id = SPAN("b") };
        struct mux_stream *s;

        begin(8);
        assert_int_equal(mux_stream_open(w.link, &open, 1, NULL, w.now_ms, &s), 0);
        w.opened++;
        buf_init_fixed(&b, mem, sizeof(mem));
        if (types[i] == FRAME_OPEN_OK) {
            unsigned char body[256];
            struct buf payload;

            buf_init_fixed(&payload, body, sizeof(body));
            opened_encode(&payload, &opened, 100);
            frame_put(&b, FRAME_OPEN_OK, 0, s->id, buf_span(&payload));
        } else {
            frame_put(&b, types[i], 0, s->id, span_of("\0\0\0\0\0\0\0\0", 8));
        }
        take(&b);
        assert_int_equal(w.failed, 1);
        assert_int_equal(w.why, PROTOCOL);
        produce();
        end();
    }
}

/* Many answers at once, each with bytes behind it: no byte overtakes its OPEN_OK. */
static void test_answers_go_first(void **state)
{
    static unsigned char mem[64 << 10];
    static struct mux_stream *streams[400];
    bool is_answered[801] = { false };
    struct frame f;
    struct buf b;
    size_t n;

    (void)state;
    begin(1000);
    for (uint32_t i = 0; i < 400; i++) {
        buf_init_fixed(&b, mem, sizeof(mem));
        put_open(&b, 1 + 2 * i, (uint8_t)i, 80, 100000);
        memcpy(b.data + FRAME_HEADER_LEN + 3 + 1, &i, sizeof(i));      /* the uid */
        take(&b);
        streams[i] = w.s;
    }
    for (int i = 399; i >= 0; i--) {
        if (mux_stream_reserve(streams[i], &n))
            mux_stream_commit(streams[i], n < 5000 ? n : 5000);
    }
    while ((n = mux_link_produce(w.link, mem, 16384, w.now_ms))) {
        for (struct span rest = span_of(mem, n); rest.n;) {
            assert_int_equal(frame_read(rest, &f), 0);
            rest = span_skip(rest, FRAME_HEADER_LEN + f.payload.n);
            assert_true(f.type != FRAME_DATA || is_answered[f.stream]);
            if (f.type == FRAME_OPEN_OK)
                is_answered[f.stream] = true;
        }
    }
    end();
}

static void test_attach_is_answered(void **state)
{
    struct frame_attach attach = { .uid = SPAN("0123456789abcdef"), .path = 2, .limit = 9,
                                   .proof = SPAN("0123456789abcdef") };
    unsigned char mem[512];
    struct frame f;
    struct why why;
    struct buf b;

    (void)state;
    begin(8);
    buf_init_fixed(&b, mem, sizeof(mem));
    frame_attach_put(&b, FRAME_ATTACH, 1, &attach);
    take(&b);
    produce();
    assert_true(said(FRAME_ATTACH_ERR, &f));
    assert_int_equal(f.stream, 1);
    assert_int_equal(why_decode(f.payload, &why), 0);
    assert_int_equal(why.reason, REASON_UNKNOWN_STREAM);
    buf_clear(&b);
    put_data(&b, 1, 0, 1);                      /* the id is used up now */
    take(&b);
    assert_int_equal(mux_stats(w.mux)->late_frames, 1);
    check_still_good();
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_data_before_answer),
        cmocka_unit_test(test_stream_before_acceptance),
        cmocka_unit_test(test_no_pong_before_acceptance),
        cmocka_unit_test(test_fin_acknowledged_short),
        cmocka_unit_test(test_answer_before_open_left),
        cmocka_unit_test(test_answers_go_first),
        cmocka_unit_test(test_attach_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
