#include "lib/mux/mux_pair_test.h"
#include <stdlib.h>
/*
 * Random transfers between two ends: what is written, taken, reset, stalled, cut into parts
 * and delayed follows from a seed.  ADIT_SEED=n runs that one alone, ADIT_SEEDS=n so many.
 */
#define STREAMS_MAX_TEST 24
#define SEEDS 1500
#define CHAOS_STEPS 400
#define CALM_STEPS 20000

struct prog {                       /* one end of one stream */
    struct mux_stream *s;
    struct prog *peer;
    uint32_t key;
    uint64_t to_send, sent, got;
    bool is_open, is_fin_given, is_stalled, is_ended, has_reset, is_reset_now, at_fin;
    unsigned resets_told;
    enum reason how;
};

static struct world {
    struct pair pair;
    struct prog progs[STREAMS_MAX_TEST][2];
    unsigned opened;
    uint64_t seed;
    bool is_calm, is_cut;
    size_t memory_limit;
} w;

/* How often what happened over all seeds: a test that meets nothing proves nothing. */
static struct { uint64_t complete, reset, lost, refused, frames[128], late; } tally;

/* Each stream has its own stretch of one long random row, so that crossed bytes show. */
#define PATTERN_PERIOD 65521
static unsigned char pattern_row[2 * PATTERN_PERIOD];

static void pattern_init(void)
{
    uint64_t rng = 88172645463325252u;

    for (size_t i = 0; i < PATTERN_PERIOD; i++)
        pattern_row[i] = pattern_row[i + PATTERN_PERIOD] = (unsigned char)(rng_next(&rng) >> 32);
}

/* The next n (at most PATTERN_PERIOD) bytes that `from` sends. */
static const unsigned char *pattern(const struct prog *from, uint64_t offset)
{
    return pattern_row + (from->key * 7919u + offset) % PATTERN_PERIOD;
}

static struct prog *prog_of(struct span uid, int side)
{
    return &w.progs[(unsigned char)uid.p[1]][side];
}

static uint64_t random_total(void)
{
    static const unsigned tops[] = { 1, 10, 1000, 1000, 20000, 20000, 300000, 1500000 };

    return rng_below(&w.pair.rng, tops[rng_below(&w.pair.rng, ARRAY_LEN(tops))]);
}

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    struct mux_opened opened = { .boot_id = SPAN("b") };
    struct prog *prog = prog_of(mux_stream_uid(s), ((struct side *)user)->index);

    (void)open;
    prog->s = s;
    mux_stream_set_user(s, prog);
    if (rng_below(&w.pair.rng, 12) == 0) {
        prog->has_reset = prog->peer->has_reset = true;
        mux_stream_refuse(s, REASON_DIAL_TIMEOUT, SPAN("no"), NULL);
        tally.refused++;
        return;
    }
    mux_stream_accept(s, &opened);
    prog->is_open = true;
}

static void on_opened(void *user, struct mux_stream *s, const struct mux_opened *opened)
{
    (void)s;
    (void)opened;
    ((struct prog *)user)->is_open = true;
}

static void on_reset(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    struct prog *prog = user;

    (void)s;
    assert_int_not_equal(why, REASON_NONE);
    if (prog->has_reset || prog->resets_told)
        fail_msg("seed %lu: stream %u is told a RESET it did not wait for: " SPAN_FMT, w.seed,
                 prog->key, SPAN_ARG(text));
    prog->resets_told++;
}

static void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    struct prog *prog = user;

    assert_ptr_equal(prog->s, s);
    assert_false(prog->is_ended);
    prog->is_ended = true;
    prog->how = how;
    prog->s = NULL;
}

static const struct mux_handlers handlers = {
    .on_open = on_open, .on_opened = on_opened, .on_reset = on_reset, .on_ended = on_ended,
};

static void open_random(void)
{
    struct side *side = &w.pair.side[rng_below(&w.pair.rng, 2)];
    struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = 1 };
    unsigned index = w.opened;
    struct prog *prog, *peer;
    int r;

    if (index == STREAMS_MAX_TEST)
        return;
    prog = &w.progs[index][side->index];
    peer = &w.progs[index][!side->index];
    open.uid[0] = 1;
    open.uid[1] = (unsigned char)index;
    *prog = (struct prog){ .key = index * 2, .to_send = random_total(), .peer = peer };
    *peer = (struct prog){ .key = index * 2 + 1, .to_send = random_total(), .peer = prog };
    r = mux_stream_open(side->link, &open, index % 3, prog, w.pair.now_ms, &prog->s);
    if (r == 0)
        w.opened++;
    else
        assert_true(r == REASON_OVERLOAD || r == REASON_RELAY_DRAINING);
}

static void write_some(struct prog *prog)
{
    uint64_t left = prog->to_send - prog->sent;
    unsigned char *at;
    size_t n;

    if (!prog->is_open || prog->has_reset || prog->is_fin_given || !prog->s)
        return;
    if (left == 0) {
        mux_stream_fin(prog->s);
        prog->is_fin_given = true;
        return;
    }
    at = mux_stream_reserve(prog->s, &n);
    if (!at)
        return;
    if (n > left)
        n = (size_t)left;
    n = rng_below(&w.pair.rng, 4) ? n : rng_below(&w.pair.rng, (unsigned)n + 1);
    memcpy(at, pattern(prog, prog->sent), n);
    mux_stream_commit(prog->s, n);
    prog->sent += n;
    assert_int_equal(mux_stream_sent(prog->s), prog->sent);
}

static void read_some(struct prog *prog)
{
    struct span spans[3];
    size_t n, most;

    if (!prog->s || prog->is_stalled || prog->has_reset)
        return;
    n = mux_stream_peek(prog->s, spans, 3);
    for (size_t i = 0; i < n; i++) {
        most = rng_below(&w.pair.rng, 3) ? spans[i].n
                                         : 1 + rng_below(&w.pair.rng, (unsigned)spans[i].n);
        if (memcmp(spans[i].p, pattern(prog->peer, prog->got), most))
            fail_msg("seed %lu: stream %u, wrong at byte %lu or soon after", w.seed, prog->key,
                     prog->got);
        prog->got += most;
        mux_stream_consume(prog->s, most);
        if (most < spans[i].n || !prog->s)
            break;
    }
    assert_true(prog->got <= prog->peer->sent);
    if (prog->s && mux_stream_at_fin(prog->s))
        prog->at_fin = true;
}

static void maybe_reset(struct prog *prog)
{
    if (!prog->s || prog->has_reset || w.is_calm || rng_below(&w.pair.rng, 1500))
        return;
    prog->has_reset = true;
    prog->is_reset_now = rng_below(&w.pair.rng, 2);
    mux_stream_reset(prog->s, REASON_TARGET_RESET, SPAN("reset"), prog->is_reset_now);
}

static void act(struct prog *prog)
{
    if (!prog->peer || prog->is_ended)
        return;
    if (w.is_calm)
        prog->is_stalled = false;
    else if (rng_below(&w.pair.rng, 60) == 0)
        prog->is_stalled = !prog->is_stalled;
    write_some(prog);
    read_some(prog);
    maybe_reset(prog);
}

static void check_memory(void)
{
    for (int i = 0; i < 2; i++) {
        const struct mux_stats *stats = mux_stats(w.pair.side[i].mux);

        assert_true(stats->held_bytes <= w.memory_limit);
        assert_true(stats->promised_bytes <= w.memory_limit * MUX_PROMISE_FACTOR);
        assert_int_equal(w.pair.side[i].failed, 0);
    }
}

static void move_links(void)
{
    for (int i = 0; i < 2; i++) {
        struct side *side = &w.pair.side[i];

        if (rng_below(&w.pair.rng, 3) && mux_link_has_output(side->link))
            pair_send(side);
        for (unsigned n = rng_below(&w.pair.rng, 4); n; n--)
            pair_deliver(side);
    }
}

static void step(void)
{
    for (unsigned i = 0; i < w.opened; i++) {
        act(&w.progs[i][0]);
        act(&w.progs[i][1]);
    }
    move_links();
    if (rng_below(&w.pair.rng, 5) == 0) {
        w.pair.now_ms += rng_below(&w.pair.rng, 40);
        (void)mux_link_tick(w.pair.side[0].link, w.pair.now_ms);
        (void)mux_link_tick(w.pair.side[1].link, w.pair.now_ms);
    }
    check_memory();
}

static bool all_ended(void)
{
    return mux_stats(w.pair.side[0].mux)->streams == 0 &&
           mux_stats(w.pair.side[1].mux)->streams == 0;
}

static void check_complete(const struct prog *prog)
{
    assert_int_equal(prog->got, prog->peer->sent);
    assert_int_equal(prog->sent, prog->to_send);
    assert_true(prog->is_fin_given);
}

static void check_end(const struct prog *a, const struct prog *b)
{
    bool is_lost = (a->is_ended && a->how == REASON_SESSION_LOST) ||
                   (b->is_ended && b->how == REASON_SESSION_LOST);

    if (!a->is_ended) {
        assert_null(a->s);                      /* it never heard of the stream */
        return;
    }
    if (!b->is_ended)
        assert_false(a->is_open);
    else if (!is_lost && a->how != b->how)
        fail_msg("seed %lu: stream %u ended %s here and %s there (reset %d/%d now %d/%d fin %d/%d "
                 "told %u/%u)", w.seed, a->key, reason_text(a->how), reason_text(b->how),
                 a->has_reset, b->has_reset, a->is_reset_now, b->is_reset_now, a->is_fin_given,
                 b->is_fin_given, a->resets_told, b->resets_told);
    if (a->how == REASON_NONE && a->is_ended && !a->has_reset && !b->has_reset)
        check_complete(a);
    if (b->has_reset && !b->is_reset_now && !a->has_reset && !is_lost && b->is_open)
        assert_int_equal(a->got, b->sent);
    tally.complete += a->how == REASON_NONE;
    tally.reset += a->how == REASON_TARGET_RESET;
    tally.lost += a->how == REASON_SESSION_LOST;
}

static void cut_link(void)
{
    w.is_cut = true;
    for (int i = 0; i < 2; i++)
        mux_link_free(w.pair.side[i].link);
    for (int i = 0; i < 2000 && !all_ended(); i++) {    /* what was complete may still be taken */
        for (unsigned n = 0; n < w.opened * 2; n++) {
            w.progs[n / 2][n % 2].is_stalled = false;
            read_some(&w.progs[n / 2][n % 2]);
        }
        mux_tick(w.pair.side[0].mux, w.pair.now_ms);
        mux_tick(w.pair.side[1].mux, w.pair.now_ms);
    }
}

static void count_frames(void)
{
    for (int i = 0; i < 2; i++) {
        const struct mux_stats *stats = mux_stats(w.pair.side[i].mux);

        tally.late += stats->late_frames;
        for (size_t t = 0; t < ARRAY_LEN(tally.frames); t++)
            tally.frames[t] += stats->frames_out[t];
    }
}

static void world_init(uint64_t seed)
{
    struct mux_config config = { .random_seed = seed };

    w = (struct world){ .seed = seed };
    w.memory_limit = config.memory_limit = seed % 3 ? 64u << 20 : 2u << 20;
    config.first_window = seed % 5 == 0 ? 16384 : 0;
    pair_init(&w.pair, &config, handlers, seed);
    w.pair.is_split = seed % 2;
    pair_greet(&w.pair);
    if (seed % 4 == 1)
        w.pair.cap_least = w.pair.cap_most = 16384;
    if (seed % 4 == 2)
        w.pair.cap_least = 16384;
    if (seed % 7 == 0) {
        mux_link_set_rate(w.pair.side[0].link, 100000);
        mux_link_set_rate(w.pair.side[1].link, 100000);
    }
}

static void run_seed(uint64_t seed)
{
    unsigned steps = 0;

    world_init(seed);
    while (steps++ < CHAOS_STEPS) {
        if (rng_below(&w.pair.rng, 10) == 0)
            open_random();
        step();
    }
    if (seed % 6 == 3)
        cut_link();
    w.is_calm = true;
    for (steps = 0; !w.is_cut && steps < CALM_STEPS && !all_ended(); steps++)
        step();
    if (!all_ended())
        fail_msg("seed %lu: streams that never end", seed);
    mux_tick(w.pair.side[0].mux, w.pair.now_ms);        /* the last on_ended */
    mux_tick(w.pair.side[1].mux, w.pair.now_ms);
    for (unsigned i = 0; i < w.opened; i++) {
        check_end(&w.progs[i][0], &w.progs[i][1]);
        check_end(&w.progs[i][1], &w.progs[i][0]);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mux_stats(w.pair.side[i].mux)->held_bytes, 0);
        assert_int_equal(mux_stats(w.pair.side[i].mux)->promised_bytes, 0);
    }
    count_frames();
    pair_deinit(&w.pair);
}

static void check_tally(void)
{
    static const uint8_t types[] = {
        FRAME_HELLO, FRAME_PING, FRAME_PONG, FRAME_OPEN, FRAME_OPEN_OK, FRAME_OPEN_ERR,
        FRAME_DATA, FRAME_CREDIT, FRAME_FIN, FRAME_RESET, FRAME_END,
    };

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        check_row(frame_name(types[i]));
        assert_true(tally.frames[types[i]] > 0);
    }
    assert_true(tally.complete && tally.reset && tally.lost && tally.refused && tally.late);
    print_message("complete %lu, reset %lu, lost %lu, refused %lu, late frames %lu\n",
                  tally.complete, tally.reset, tally.lost, tally.refused, tally.late);
}

static void test_random(void **state)
{
    const char *one = getenv("ADIT_SEED"), *many = getenv("ADIT_SEEDS");
    uint64_t seeds = many ? strtoull(many, NULL, 10) : SEEDS;

    (void)state;
    pattern_init();
    if (one) {
        run_seed(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= seeds; seed++)
        run_seed(seed);
    check_tally();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
