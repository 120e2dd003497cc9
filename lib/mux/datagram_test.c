#include "lib/mux/datagram.h"
#include "lib/mux/mux_pair_test.h"
/*
 * Streams of kind udp between two ends: what arrives is whole, what is too much is dropped and
 * counted, and nobody else waits for it.
 */
#define SEEN_MAX 4096

struct seen {
    struct mux_stream *s;
    unsigned count, opened, ended, writable;
    uint32_t lens[SEEN_MAX];
    unsigned char firsts[SEEN_MAX];
    size_t bytes;
    bool is_fin_seen;
    enum reason how;
};

static struct {
    struct pair p;
    struct seen from, to, bulk;     /* entry and target of the datagrams; a stream beside them */
} w;
static char body[MUX_DATAGRAM_MAX + 1];

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    struct mux_opened opened = { .boot_id = SPAN("b") };

    (void)user;
    if (open->port == 1)
        return;                     /* not answered */
    if (open->kind == MUX_KIND_UDP) {
        w.to.s = s;
        mux_stream_set_user(s, &w.to);
    }
    mux_stream_accept(s, &opened);
}

static void on_opened(void *user, struct mux_stream *s, const struct mux_opened *opened)
{
    (void)s;
    (void)opened;
    ((struct seen *)user)->opened++;
}

static void on_datagram(void *user, struct mux_stream *s, struct span bytes)
{
    struct seen *seen = user;

    assert_ptr_equal(seen->s, s);
    for (size_t i = 0; i < bytes.n; i++)
        assert_int_equal(bytes.p[i], bytes.p[0]);
    if (seen->count < SEEN_MAX) {
        seen->lens[seen->count] = (uint32_t)bytes.n;
        seen->firsts[seen->count] = bytes.n ? (unsigned char)bytes.p[0] : 0;
    }
    seen->count++;
    seen->bytes += bytes.n;
}

static void on_readable(void *user, struct mux_stream *s)
{
    struct seen *seen = user;
    struct span span;

    while (mux_stream_peek(s, &span, 1)) {
        if (seen)
            seen->bytes += span.n;
        mux_stream_consume(s, span.n);
    }
    if (seen && mux_stream_at_fin(s)) {
        seen->is_fin_seen = true;
        mux_stream_fin(s);
    }
}

static void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    struct seen *seen = user;

    (void)s;
    if (!seen)
        return;
    seen->s = NULL;
    seen->ended++;
    seen->how = how;
}

static const struct mux_handlers handlers = {
    .on_open = on_open, .on_opened = on_opened, .on_datagram = on_datagram,
    .on_readable = on_readable, .on_ended = on_ended,
};

static struct mux_stream *open_one(struct seen *seen, enum mux_kind kind, uint16_t port, uint64_t owner)
{
    struct mux_open open = { .kind = kind, .host = SPAN("host"), .port = port };

    open.uid[0] = (unsigned char)kind;
    open.uid[1] = (unsigned char)port;
    assert_int_equal(mux_stream_open(w.p.side[0].link, &open, owner, seen, w.p.now_ms, &seen->s), 0);
    return seen->s;
}

static int setup(void **state)
{
    struct mux_config config = { .memory_limit = 4 << 20 };

    (void)state;
    memset(&w, 0, sizeof(w));
    pair_init(&w.p, &config, handlers, 1);
    pair_greet(&w.p);
    open_one(&w.from, MUX_KIND_UDP, 53, 1);
    pair_settle(&w.p);
    assert_int_equal(w.from.opened, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pair_deinit(&w.p);
    return 0;
}

static struct span datagram(size_t n, unsigned char c)
{
    memset(body, c, n);
    return span_of(body, n);
}

static size_t held(int side)
{
    return mux_stats(w.p.side[side].mux)->held_bytes;
}

/* --- what arrives ----------------------------------------------------------------------- */
static void test_sizes(void **state)
{
    static const uint32_t sizes[] = { 0, 1, 2, 512, 1472, 4096, 9000, 16367, MUX_DATAGRAM_MAX };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        check_row("keeps a datagram whole, each way");
        assert_int_equal(mux_stream_send_datagram(w.from.s, datagram(sizes[i], (unsigned char)i)), 0);
        pair_settle(&w.p);
        assert_int_equal(w.to.count, i + 1);
        assert_int_equal(w.to.lens[i], sizes[i]);
        assert_int_equal(w.to.firsts[i], sizes[i] ? i : 0);
        assert_int_equal(mux_stream_send_datagram(w.to.s, datagram(sizes[i], 'r')), 0);
        pair_settle(&w.p);
        assert_int_equal(w.from.count, i + 1);
        assert_int_equal(w.from.lens[i], sizes[i]);
    }
    assert_int_equal(mux_stream_datagrams(w.from.s)->sent, ARRAY_LEN(sizes));
    assert_int_equal(mux_stream_datagrams(w.from.s)->received, ARRAY_LEN(sizes));
    assert_int_equal(mux_stream_datagrams(w.from.s)->sent_bytes, w.to.bytes);
    assert_int_equal(mux_stream_datagrams(w.from.s)->dropped, 0);
    assert_int_equal(mux_stats(w.p.side[0].mux)->datagrams_out, ARRAY_LEN(sizes));
    assert_int_equal(held(0) + held(1), 0);
    assert_int_equal(mux_stats(w.p.side[1].mux)->promised_bytes, 0);
}

static void test_refused(void **state)
{
    struct seen later = { 0 }, bytes = { 0 };

    (void)state;
    check_row("refuses one that no frame holds");
    assert_int_equal(mux_stream_send_datagram(w.from.s, datagram(MUX_DATAGRAM_MAX + 1, 'x')),
                     REASON_TOO_LARGE);
    assert_int_equal(mux_stream_datagrams(w.from.s)->dropped, 1);
    check_row("refuses one before OPEN_OK");
    open_one(&later, MUX_KIND_UDP, 1, 1);
    assert_int_equal(mux_stream_send_datagram(later.s, SPAN("x")), REASON_NOT_READY);
    check_row("refuses one on a stream of bytes");
    open_one(&bytes, MUX_KIND_TCP, 2, 1);
    pair_settle(&w.p);
    assert_int_equal(mux_stream_send_datagram(bytes.s, SPAN("x")), REASON_NOT_READY);
    assert_int_equal(mux_stream_datagrams(bytes.s)->sent, 0);
    check_row("gives no room for bytes on a stream of datagrams");
    assert_null(mux_stream_reserve(w.from.s, &(size_t){ 0 }));
    check_row("refuses one after FIN");
    mux_stream_fin(w.from.s);
    assert_int_equal(mux_stream_send_datagram(w.from.s, SPAN("x")), REASON_NOT_READY);
    mux_stream_set_user(later.s, NULL);
    mux_stream_set_user(bytes.s, NULL);
}

static void test_oldest_go(void **state)
{
    unsigned kept = DATAGRAM_QUEUE_MAX / (1000 + DATAGRAM_COST);

    (void)state;
    check_row("drops the oldest beyond 64 KiB, and counts them");
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(mux_stream_send_datagram(w.from.s, datagram(1000, (unsigned char)i)), 0);
        assert_true(held(0) <= DATAGRAM_QUEUE_MAX);
    }
    pair_settle(&w.p);
    assert_int_equal(w.to.count, kept);
    for (unsigned i = 0; i < kept; i++)
        assert_int_equal(w.to.firsts[i], 200 - kept + i);
    assert_int_equal(mux_stream_datagrams(w.from.s)->dropped, 200 - kept);
    assert_int_equal(mux_stats(w.p.side[0].mux)->datagrams_dropped, 200 - kept);
    assert_int_equal(held(0), 0);
}

static void test_empty_ones_are_bounded(void **state)
{
    (void)state;
    check_row("bounds datagrams without bytes too");
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(mux_stream_send_datagram(w.from.s, SPAN_NONE), 0);
    pair_settle(&w.p);
    assert_int_equal(w.to.count, DATAGRAM_QUEUE_MAX / DATAGRAM_COST);
}

static void test_without_memory(void **state)
{
    struct mux_config config = { .memory_limit = 64 << 10 };
    int r = 0;

    (void)state;
    pair_deinit(&w.p);
    memset(&w, 0, sizeof(w));
    pair_init(&w.p, &config, handlers, 1);
    pair_greet(&w.p);
    open_one(&w.from, MUX_KIND_UDP, 53, 1);
    pair_settle(&w.p);
    check_row("drops what finds no memory");
    for (unsigned i = 0; i < 64 && !r; i++)
        r = mux_stream_send_datagram(w.from.s, datagram(1000, 'm'));
    assert_int_equal(r, REASON_OVERLOAD);
    assert_true(held(0) <= 48 << 10);
}

/* --- ends -------------------------------------------------------------------------------- */
static void test_fin_waits(void **state)
{
    (void)state;
    check_row("says FIN behind what waits, and both ends agree that it was complete");
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(mux_stream_send_datagram(w.from.s, datagram(3000, 'f')), 0);
    mux_stream_fin(w.from.s);
    pair_settle(&w.p);
    assert_int_equal(w.to.count, 20);
    assert_true(w.to.is_fin_seen);
    assert_int_equal(w.from.ended + w.to.ended, 2);
    assert_int_equal(w.from.how, REASON_NONE);
    assert_int_equal(w.to.how, REASON_NONE);
}

static void test_reset_drops(void **state)
{
    (void)state;
    for (int is_now = 0; is_now < 2; is_now++) {
        check_row("drops what waits when it is reset, and when the peer resets");
        if (is_now)
            (void)(teardown(NULL), setup(NULL));
        assert_int_equal(mux_stream_send_datagram(w.from.s, datagram(3000, 'f')), 0);
        assert_int_equal(mux_stream_send_datagram(w.to.s, datagram(3000, 'f')), 0);
        mux_stream_reset(w.from.s, REASON_REVOKED, SPAN_NONE, is_now);
        assert_int_equal(held(0), 0);
        assert_int_equal(mux_stream_send_datagram(w.from.s, SPAN("x")), REASON_NOT_READY);
        pair_settle(&w.p);
        assert_int_equal(held(1), 0);
        assert_int_equal(w.from.count + w.to.count, 0);
        assert_int_equal(w.from.how, REASON_REVOKED);
        assert_int_equal(w.to.how, REASON_REVOKED);
    }
}

static void test_lost_link(void **state)
{
    (void)state;
    check_row("ends with its link, and what waited is gone");
    assert_int_equal(mux_stream_send_datagram(w.from.s, datagram(3000, 'f')), 0);
    mux_link_free(w.p.side[0].link);
    w.p.side[0].link = mux_link_new(w.p.side[0].mux, &w.p.side[0], w.p.now_ms);
    mux_tick(w.p.side[0].mux, w.p.now_ms);
    assert_int_equal(w.from.how, REASON_SESSION_LOST);
    assert_int_equal(held(0), 0);
}

static void mac(const unsigned char secret[MUX_SECRET_LEN], struct span message, unsigned char ret_mac[32])
{
    memcpy(ret_mac, secret, MUX_SECRET_LEN);
    memset(ret_mac + MUX_SECRET_LEN, (int)message.n, 32 - MUX_SECRET_LEN);
}

static void renew_links(void)
{
    for (int i = 0; i < 2; i++) {
        struct side *s = &w.p.side[i];

        mux_link_free(s->link);
        s->link = mux_link_new(s->mux, s, w.p.now_ms);
        assert_non_null(s->link);
    }
    pair_drop_pipe(&w.p);
    pair_greet(&w.p);
}

static void test_moves(void **state)
{
    struct mux_config config = { .memory_limit = 4 << 20, .mac = mac, .boot_id = "b" };
    struct mux_open open = { .kind = MUX_KIND_UDP, .host = SPAN("host"), .port = 53, .grace_ms = 60000 };

    (void)state;
    pair_deinit(&w.p);
    memset(&w, 0, sizeof(w));
    pair_init(&w.p, &config, handlers, 1);
    pair_greet(&w.p);
    assert_int_equal(mux_stream_open(w.p.side[0].link, &open, 1, &w.from, w.p.now_ms, &w.from.s), 0);
    pair_settle(&w.p);

    check_row("loses what was under way when its path is lost, and no more");
    for (int i = 0; i < 3; i++)
        assert_int_equal(mux_stream_send_datagram(w.from.s, datagram(100, 'l')), 0);
    pair_send(&w.p.side[0]);
    for (int i = 0; i < 4; i++)
        assert_int_equal(mux_stream_send_datagram(w.from.s, datagram(100, 'k')), 0);
    assert_int_equal(mux_stream_send_datagram(w.to.s, datagram(100, 'k')), 0);
    renew_links();
    assert_int_equal(mux_stream_send_datagram(w.from.s, datagram(100, 'k')), 0);
    assert_int_equal(mux_stream_attach(w.from.s, w.p.side[0].link, SPAN("b"), w.p.now_ms), 0);
    pair_settle(&w.p);
    assert_int_equal(w.from.ended + w.to.ended, 0);
    assert_int_equal(w.to.count, 5);
    assert_int_equal(w.from.count, 1);
    assert_int_equal(w.to.firsts[0], 'k');
    assert_int_equal(held(0) + held(1), 0);

    check_row("ends complete on its new path");
    assert_int_equal(mux_stream_send_datagram(w.from.s, datagram(100, 'e')), 0);
    mux_stream_fin(w.from.s);
    pair_settle(&w.p);
    assert_int_equal(w.to.count, 6);
    assert_int_equal(w.from.ended + w.to.ended, 2);
    assert_int_equal(w.from.how, REASON_NONE);
    assert_int_equal(w.to.how, REASON_NONE);
}

/* --- what a peer may do --------------------------------------------------------------------- */
static void feed(int side, uint8_t type, uint32_t id, struct span payload)
{
    static unsigned char mem[MUX_MESSAGE_MAX];
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    frame_put(&b, type, 0, id, payload);
    (void)!mux_link_take(w.p.side[side].link, buf_span(&b), true, w.p.now_ms);
}

static void test_faults(void **state)
{
    static const struct { const char *it; uint8_t type; bool is_after_fin; } rows[] = {
        { "resets on DATA", FRAME_DATA, false },
        { "resets on a datagram after FIN", FRAME_DATAGRAM, true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (i)
            (void)(teardown(NULL), setup(NULL));
        check_row(rows[i].it);
        if (rows[i].is_after_fin)
            feed(1, FRAME_FIN, w.to.s->id, SPAN("\0\0\0\0\0\0\0\0"));
        feed(1, rows[i].type, 2, SPAN("\0\0\0\0\0\0\0\0x"));
        pair_settle(&w.p);
        assert_int_equal(w.from.how, REASON_PROTOCOL_ERROR);
        assert_int_equal(w.from.ended, 1);
        assert_int_equal(w.p.side[0].failed + w.p.side[1].failed, 0);
    }
}

static void test_before_the_answer(void **state)
{
    struct seen later = { 0 };

    (void)state;
    check_row("resets on a datagram before OPEN_OK");
    open_one(&later, MUX_KIND_UDP, 1, 1);
    pair_settle(&w.p);
    feed(0, FRAME_DATAGRAM, later.s->id, SPAN("x"));
    pair_settle(&w.p);
    assert_int_equal(later.how, REASON_PROTOCOL_ERROR);
}

static void test_late_ones_pass(void **state)
{
    (void)state;
    check_row("takes any number of late ones");
    mux_stream_reset(w.from.s, REASON_REVOKED, SPAN_NONE, true);
    pair_settle(&w.p);
    for (unsigned i = 0; i < 20000; i++)
        feed(0, FRAME_DATAGRAM, 2, SPAN("x"));
    assert_int_equal(w.p.side[0].failed, 0);
    assert_int_equal(mux_stats(w.p.side[0].mux)->late_frames, 20000);
}

static void test_flood(void **state)
{
    (void)state;
    check_row("drops what comes faster than a link may bring it");
    w.p.now_ms += 1000;
    for (unsigned i = 0; i < DATAGRAMS_MAX + 1000; i++)
        feed(1, FRAME_DATAGRAM, 2, SPAN_NONE);
    assert_int_equal(w.to.count, DATAGRAMS_MAX);
    assert_int_equal(mux_stats(w.p.side[1].mux)->datagrams_dropped, 1000);
    assert_int_equal(w.p.side[1].failed, 0);
    w.p.now_ms += 1000;
    feed(1, FRAME_DATAGRAM, 2, SPAN_NONE);
    assert_int_equal(w.to.count, DATAGRAMS_MAX + 1);
}

/* --- whose turn it is -------------------------------------------------------------------------- */
static void fill(struct mux_stream *s)
{
    unsigned char *at;
    size_t n;

    while ((at = mux_stream_reserve(s, &n))) {
        memset(at, 'b', n);
        mux_stream_commit(s, n);
    }
}

/* What the link takes of each in `messages` of `cap` bytes, both having always more. */
static void share(size_t cap, unsigned messages, size_t *ret_data, size_t *ret_datagrams)
{
    w.p.cap_least = w.p.cap_most = cap;
    for (unsigned i = 0; i < messages; i++) {
        fill(w.bulk.s);
        while (datagram_held(w.from.s) < DATAGRAM_QUEUE_MAX / 2)
            assert_int_equal(mux_stream_send_datagram(w.from.s, datagram(MUX_DATAGRAM_MAX, 'd')), 0);
        pair_send(&w.p.side[0]);
        while (pair_deliver(&w.p.side[1]))
            ;
        pair_send(&w.p.side[1]);
        while (pair_deliver(&w.p.side[0]))
            ;
    }
    *ret_data = mux_stats(w.p.side[0].mux)->bytes_out;
    *ret_datagrams = w.to.bytes;
}

static void test_shares_evenly(void **state)
{
    static const struct { const char *it; uint64_t rate, owner; size_t cap; } rows[] = {
        { "shares a fast link with bytes of another owner", 0, 2, MUX_MESSAGE_MAX },
        { "shares a slow link with bytes of another owner", 200000, 2, 16384 },
        { "shares a slow link with bytes of the same owner", 200000, 1, 16384 },
    };
    size_t data, datagrams;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (i)
            (void)(teardown(NULL), setup(NULL));
        check_row(rows[i].it);
        open_one(&w.bulk, MUX_KIND_TCP, 80, rows[i].owner);
        pair_settle(&w.p);
        mux_link_set_rate(w.p.side[0].link, rows[i].rate);
        share(rows[i].cap, 400, &data, &datagrams);
        assert_true(data > 400000);
        assert_in_range(datagrams, data - data / 5, data + data / 5);
    }
}

static void test_small_messages(void **state)
{
    size_t data, datagrams;

    (void)state;
    check_row("sends the longest while others fill the least message");
    open_one(&w.bulk, MUX_KIND_TCP, 80, 2);
    pair_settle(&w.p);
    share(16384, 200, &data, &datagrams);
    assert_true(data > 500000);
    assert_true(datagrams > 500000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oldest_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_ones_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fin_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_drops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_link, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_before_the_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_ones_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shares_evenly, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_messages, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
