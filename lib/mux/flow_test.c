#include "lib/mux/mux_pair_test.h"
/*
 * Credit, memory and whose turn it is, over a link with a rate and a delay in fake time.
 * Side 0 opens and sends; side 1 takes what it is told to take.
 */
#define STREAMS 600

struct end {
    struct mux_stream *s;
    uint64_t got, to_send, sent;
    uint64_t asked_ms, slowest_ms;      /* small messages: when the last one left, the worst */
    bool is_stalled, is_refused, is_ended, is_small;
    enum reason how;
};

static struct {
    struct pair p;
    struct end from[STREAMS], to[STREAMS];
    unsigned count;
    uint64_t rate;                      /* bytes a ms, of side 0's link */
    uint64_t budget;
    uint64_t held_most;
} w;

static void read_all(struct end *end)
{
    struct span span;

    while (end->s && !end->is_stalled && mux_stream_peek(end->s, &span, 1)) {
        end->got += span.n;
        mux_stream_consume(end->s, span.n);
        if (end->is_small) {
            uint64_t took = w.p.now_ms - w.from[end - w.to].asked_ms;

            if (took > end->slowest_ms)
                end->slowest_ms = took;
        }
    }
}

static void write_all(struct end *end)
{
    size_t n;

    while (end->s && end->sent < end->to_send) {
        unsigned char *at = mux_stream_reserve(end->s, &n);

        if (!at)
            return;
        if (n > end->to_send - end->sent)
            n = (size_t)(end->to_send - end->sent);
        memset(at, 'f', n);
        mux_stream_commit(end->s, n);
        end->sent += n;
    }
}

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    struct mux_opened opened = { .boot_id = SPAN("b") };
    struct end *end = &w.to[open->port];

    (void)user;
    end->s = s;
    mux_stream_set_user(s, end);
    mux_stream_accept(s, &opened);
}

static void on_opened(void *user, struct mux_stream *s, const struct mux_opened *opened)
{
    (void)s;
    (void)opened;
    write_all(user);
}

static void on_refused(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    (void)s;
    (void)text;
    ((struct end *)user)->is_refused = true;
    assert_int_equal(why, REASON_OVERLOAD);
}

static void on_readable(void *user, struct mux_stream *s)
{
    (void)s;
    read_all(user);
}

static void on_writable(void *user, struct mux_stream *s)
{
    (void)s;
    write_all(user);
}

static void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    struct end *end = user;

    (void)s;
    end->s = NULL;
    end->is_ended = true;
    end->how = how;
}

static const struct mux_handlers handlers = {
    .on_open = on_open, .on_opened = on_opened, .on_refused = on_refused,
    .on_readable = on_readable, .on_writable = on_writable, .on_ended = on_ended,
};

static void begin(size_t memory, uint64_t rate, uint64_t delay_ms)
{
    struct mux_config config = { .memory_limit = memory };

    memset(&w, 0, sizeof(w));
    pair_init(&w.p, &config, handlers, 1);
    pair_greet(&w.p);
    w.p.side[0].mux->config.memory_limit = 1u << 30;    /* the sender is not what is tested */
    w.p.cap_least = w.p.cap_most = 16384;
    w.p.delay_ms = delay_ms;
    w.rate = rate;
    for (int i = 0; i < 2; i++)
        mux_link_set_rate(w.p.side[i].link, rate * 1000);
}

static struct end *open_stream(uint64_t owner, uint64_t to_send)
{
    struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = (uint16_t)w.count };
    struct end *end = &w.from[w.count];

    memcpy(open.uid, &w.count, sizeof(w.count));
    end->to_send = to_send;
    assert_int_equal(mux_stream_open(w.p.side[0].link, &open, owner, end, w.p.now_ms, &end->s), 0);
    w.count++;
    return end;
}

/* One millisecond: what the link's rate lets pass leaves, what is due arrives. */
static void pass_ms(void)
{
    struct side *a = &w.p.side[0], *b = &w.p.side[1];
    const struct mux_stats *stats = mux_stats(b->mux);

    w.p.now_ms++;
    w.budget = w.budget > 16384 ? 16384 : w.budget;
    w.budget += w.rate;
    while (w.budget >= 16384 && mux_link_has_output(a->link)) {
        struct pipe_message *last;

        pair_send(a);
        if (list_is_empty(&b->in))
            break;
        last = container_of(b->in.prev, struct pipe_message, node);
        w.budget -= last->len < w.budget ? last->len : w.budget;
    }
    while (mux_link_has_output(b->link))
        pair_send(b);
    while (pair_deliver(b) | pair_deliver(a))
        ;
    mux_link_tick(a->link, w.p.now_ms);
    mux_link_tick(b->link, w.p.now_ms);
    if (stats->held_bytes > w.held_most)
        w.held_most = stats->held_bytes;
}

static void pass(unsigned ms)
{
    while (ms--)
        pass_ms();
}

static void finish(void)
{
    pair_deinit(&w.p);
    for (unsigned i = 0; i < w.count; i++)
        assert_true(w.from[i].is_ended);
}

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

/* --- memory ---------------------------------------------------------------------------- */
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

/* Programs that write faster than the link sends fill three quarters of the memory and wait;
 * all of them get on when it empties. */
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
    assert_in_range(mux_stats(w.p.side[0].mux)->held_bytes, 600 << 10, 768 << 10);
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
        cmocka_unit_test(test_memory_is_a_bound),
        cmocka_unit_test(test_first_windows_shrink),
        cmocka_unit_test(test_senders_wait_for_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
