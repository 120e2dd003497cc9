#include "lib/mux/hostile_test.h"
/*
 * What a peer may do so often and no more.
 */
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
static void flood_flags(struct buf *b, unsigned i)
{
    (void)i;
    put_credit(b, 1, 0, 0, FRAME_CREDIT_RESET);
}
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
        { "CREDIT that says nothing new", flood_flags, 9990, 10010, false, PROTOCOL },
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

/* Who is behind a holder must not end the link to it. */
static void test_faults_of_strangers_pass(void **state)
{
    unsigned char mem[1024], payload_mem[512];

    (void)state;
    begin(100);
    mux_link_between_relays(w.link);
    for (unsigned i = 0; i < 10 * MUX_STREAM_FAULTS_MAX; i++) {
        struct mux_open open = an_open((uint8_t)i, 80);
        struct buf b, payload;

        open.uid[1] = (unsigned char)(i >> 8);
        open.hop_count = 1;
        buf_init_fixed(&b, mem, sizeof(mem));
        buf_init_fixed(&payload, payload_mem, sizeof(payload_mem));
        open_encode(&payload, &open, 0);
        frame_put(&b, FRAME_OPEN, 0, 1 + 2 * i, buf_span(&payload));
        put_data(&b, 1 + 2 * i, 5, 0);
        frame_put(&b, FRAME_END, 0, 1 + 2 * i, SPAN_NONE);
        take(&b);
        produce();
        assert_int_equal(w.failed, 0);
    }
    end();
}

/* An agent that says so has nobody behind it: its faults are its own. */
static void test_agents_are_no_holders(void **state)
{
    unsigned char mem[1024], payload_mem[512];

    (void)state;
    begin(100);
    for (unsigned i = 0; i < MUX_STREAM_FAULTS_MAX + 6 && !w.failed; i++) {
        struct mux_open open = an_open((uint8_t)i, 80);
        struct buf b, payload;

        open.hop_count = 1;
        buf_init_fixed(&b, mem, sizeof(mem));
        buf_init_fixed(&payload, payload_mem, sizeof(payload_mem));
        open_encode(&payload, &open, 0);
        frame_put(&b, FRAME_OPEN, 0, 1 + 2 * i, buf_span(&payload));
        put_data(&b, 1 + 2 * i, 5, 0);
        frame_put(&b, FRAME_END, 0, 1 + 2 * i, SPAN_NONE);
        take(&b);
        produce();
    }
    assert_int_equal(w.failed, 1);
    assert_int_equal(w.why, PROTOCOL);
    end();
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
    assert_true(said(FRAME_OPEN_OK, &f));       /* it crossed: it is served */
    buf_clear(&b);
    put_open(&b, 1, 2, 80, 0);
    take(&b);
    assert_int_equal(w.failed, 1);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_faults_of_strangers_pass),
        cmocka_unit_test(test_agents_are_no_holders),
        cmocka_unit_test(test_slow_pings_pass),
        cmocka_unit_test(test_ids_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
