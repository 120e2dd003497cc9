#include "lib/mux/mux_internal.h"
#include "lib/check/check.h"
/*
 * One end of a link against frames that a peer made up.  Rows: what comes after a greeting
 * and, where it says so, one open stream; what the end does about it.
 */
static struct {
    struct mux *mux;
    struct mux_link *link;
    struct mux_stream *s;           /* the stream that the peer opened, id 1 */
    unsigned failed, ended, reset, opened;
    enum reason why, how;
    uint64_t now_ms;
    unsigned char out[MUX_MESSAGE_MAX];
    size_t out_len;
} w;

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    struct mux_opened opened = { .boot_id = SPAN("b") };

    (void)user;
    w.s = s;
    w.opened++;
    if (open->port == 80)
        mux_stream_accept(s, &opened);
}

static void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    (void)user;
    if (w.s == s)
        w.s = NULL;
    w.ended++;
    w.how = how;
}

static void on_reset(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    (void)user;
    (void)s;
    (void)text;
    w.reset++;
    w.how = why;
}

static void on_failed(void *user, struct mux_link *l, enum reason why, const char *text)
{
    (void)user;
    (void)l;
    (void)text;
    w.failed++;
    w.why = why;
}

static const struct mux_handlers handlers = {
    .on_open = on_open, .on_ended = on_ended, .on_reset = on_reset, .on_failed = on_failed,
};

static void take(const struct buf *b)
{
    assert_int_equal(buf_error(b), 0);
    (void)!mux_link_take(w.link, buf_span(b), true, w.now_ms);
}

/* All that the end says now, into w.out. */
static void produce(void)
{
    size_t n;

    w.out_len = 0;
    while ((n = mux_link_produce(w.link, w.out + w.out_len, sizeof(w.out) - w.out_len, w.now_ms)))
        w.out_len += n;
}

static bool said(uint8_t type, struct frame *ret_frame)
{
    struct span rest = span_of(w.out, w.out_len);
    struct frame f;

    while (rest.n) {
        assert_int_equal(frame_read(rest, &f), 0);
        rest = span_skip(rest, FRAME_HEADER_LEN + f.payload.n);
        if (f.type == type) {
            *ret_frame = f;
            return true;
        }
    }
    return false;
}

static struct mux_open an_open(uint8_t uid, uint16_t port)
{
    struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = port, .path = 1 };

    open.uid[0] = uid;
    return open;
}

static void put_open(struct buf *b, uint32_t id, uint8_t uid, uint16_t port, uint64_t limit)
{
    struct mux_open open = an_open(uid, port);
    unsigned char mem[1024];
    struct buf payload;

    buf_init_fixed(&payload, mem, sizeof(mem));
    open_encode(&payload, &open, limit);
    frame_put(b, FRAME_OPEN, 0, id, buf_span(&payload));
}

static void put_data(struct buf *b, uint32_t id, uint64_t offset, size_t n)
{
    static const char zeros[FRAME_DATA_MAX];

    frame_header_put(b, FRAME_DATA, 0, FRAME_OFFSET_LEN + n, id);
    buf_put_u64(b, offset);
    buf_put(b, zeros, n);
}

static void put_credit(struct buf *b, uint32_t id, uint64_t limit, uint64_t received, uint8_t flags)
{
    frame_credit_put(b, id, (struct frame_credit){ limit, received }, flags);
}

static void begin(uint32_t streams_max)
{
    struct mux_config config = { .is_accepting = true, .memory_limit = 4 << 20,
                                 .streams_max = streams_max };
    unsigned char mem[64];
    struct buf b;

    memset(&w, 0, sizeof(w));
    w.now_ms = 1000;
    w.mux = mux_new(&config, &handlers);
    w.link = mux_link_new(w.mux, NULL, w.now_ms);
    assert_int_equal(mux_link_hello(w.link, SPAN("{}")), 0);
    produce();
    buf_init_fixed(&b, mem, sizeof(mem));
    frame_put(&b, FRAME_HELLO, 0, 0, SPAN("{}"));
    take(&b);
    mux_link_accept(w.link, w.now_ms);
    produce();
}

static void end(void)
{
    mux_free(w.mux);
    assert_int_equal(w.ended, w.opened);
}

/* --- one frame, one verdict ------------------------------------------------------------ */
enum verdict { LINK_FAILS, STREAM_RESETS, LATE, NOTHING, REFUSED, ENDS };

struct row {
    const char *it;
    void (*put)(struct buf *);
    enum verdict verdict;
    enum reason why;
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

#define PROTOCOL REASON_PROTOCOL_ERROR
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
    { "DATA up to the limit", data_to_limit, NOTHING, 0 },
    { "DATA one byte past the limit", data_past_limit, STREAM_RESETS, PROTOCOL },
    { "DATA that has come before", data_twice, NOTHING, 0 },
    { "DATA that overlaps", data_overlap, NOTHING, 0 },
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
    if (row->verdict == NOTHING)
        assert_int_equal(w.reset + w.ended, 0);
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

/* --- floods ------------------------------------------------------------------------------ */
static void flood_ping(struct buf *b, unsigned i) { frame_echo_put(b, FRAME_PING, i); }
static void flood_pong(struct buf *b, unsigned i) { frame_echo_put(b, FRAME_PONG, i + 100); }
static void flood_empty(struct buf *b, unsigned i) { (void)b; (void)i; }
static void flood_unknown(struct buf *b, unsigned i)
{
    (void)i;
    frame_put(b, 0x3e, 0, 0, SPAN_NONE);
}
static void flood_credit(struct buf *b, unsigned i) { (void)i; put_credit(b, 1, 0, 0, 0); }
static void flood_old_data(struct buf *b, unsigned i) { (void)i; put_data(b, 1, 0, 1); }
static void flood_open(struct buf *b, unsigned i) { put_open(b, 3 + 2 * i, (uint8_t)i, 80, 0); }
static void flood_attach(struct buf *b, unsigned i)
{
    frame_put(b, FRAME_ATTACH, 0, 3 + 2 * i, SPAN_NONE);
}
static void flood_faults(struct buf *b, unsigned i)
{
    put_open(b, 3 + 2 * i, (uint8_t)i, 80, 0);
    put_data(b, 3 + 2 * i, 5, 0);
}

static void test_floods(void **state)
{
    static const struct {
        const char *it;
        void (*put)(struct buf *, unsigned);
        unsigned good, bad;             /* so many pass; the link is gone after so many */
        bool may_answer;
        enum reason why;
    } floods[] = {
        { "PING", flood_ping, 64, 66, true, PROTOCOL },
        { "PONG", flood_pong, 9990, 10010, false, PROTOCOL },
        { "empty messages", flood_empty, 9990, 10010, false, PROTOCOL },
        { "unknown frames", flood_unknown, 9990, 10010, false, PROTOCOL },
        { "CREDIT that moves nothing", flood_credit, 9990, 10010, false, PROTOCOL },
        { "DATA that has come before", flood_old_data, 9990, 10010, false, PROTOCOL },
        { "OPEN beyond the streams, unread", flood_open, 4096, 4110, false, REASON_OVERLOAD },
        { "ATTACH, unread", flood_attach, 4096, 4110, false, REASON_OVERLOAD },
        { "streams with faults", flood_faults, 60, 70, true, PROTOCOL },
    };
    unsigned char mem[512];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(floods); i++) {
        struct buf b;

        check_row(floods[i].it);
        begin(floods[i].may_answer ? 100 : 4);
        buf_init_fixed(&b, mem, sizeof(mem));
        put_open(&b, 1, 255, 80, 0);
        put_data(&b, 1, 0, 1);
        take(&b);
        for (unsigned n = 0; n < floods[i].bad; n++) {
            buf_clear(&b);
            floods[i].put(&b, n);
            take(&b);
            if (floods[i].may_answer)
                produce();
            if (n < floods[i].good)
                assert_int_equal(w.failed, 0);
        }
        assert_int_equal(w.failed, 1);
        assert_int_equal(w.why, floods[i].why);
        end();
    }
}

/* The same in the time that they may take passes for ever. */
static void test_slow_pings_pass(void **state)
{
    unsigned char mem[64];
    struct buf b;

    (void)state;
    begin(4);
    for (unsigned i = 0; i < 1000; i++) {
        buf_init_fixed(&b, mem, sizeof(mem));
        flood_ping(&b, i);
        w.now_ms += 63;
        take(&b);
        produce();
    }
    assert_int_equal(w.failed, 0);
    end();
}

/* --- ids run out ------------------------------------------------------------------------- */
static void test_ids_run_out(void **state)
{
    struct mux_open open = an_open(3, 80);
    unsigned char mem[512];
    struct mux_stream *s;
    struct frame f;
    struct why why;
    struct buf b;

    (void)state;
    begin(8);
    w.link->next_id = 0xfffffffeu - 2 * MUX_IDS_LEFT;
    assert_int_equal(mux_stream_open(w.link, &open, 0, NULL, w.now_ms, &s), 0);
    w.opened++;
    open.uid[0]++;
    assert_int_equal(mux_stream_open(w.link, &open, 0, NULL, w.now_ms, &s), REASON_LINK_RENEW);
    assert_int_equal(mux_stream_open(w.link, &open, 0, NULL, w.now_ms, &s), REASON_LINK_RENEW);
    produce();
    assert_true(said(FRAME_GOAWAY, &f));
    assert_int_equal(why_decode(f.payload, &why), 0);
    assert_int_equal(why.reason, REASON_LINK_RENEW);
    end();

    begin(8);
    buf_init_fixed(&b, mem, sizeof(mem));
    put_open(&b, 0xffffffff, 1, 80, 0);         /* the last id there is: none can follow */
    take(&b);
    produce();
    assert_true(said(FRAME_GOAWAY, &f));
    assert_true(said(FRAME_OPEN_ERR, &f));
    buf_clear(&b);
    put_open(&b, 1, 2, 80, 0);
    take(&b);
    assert_int_equal(w.failed, 1);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_data_before_answer),
        cmocka_unit_test(test_stream_before_acceptance),
        cmocka_unit_test(test_no_pong_before_acceptance),
        cmocka_unit_test(test_attach_is_answered),
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_slow_pings_pass),
        cmocka_unit_test(test_ids_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
