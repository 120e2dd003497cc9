#include "lib/mux/sim_left_test.h"
#include <errno.h>
#include <stdlib.h>
/*
 * Streams that outlive their links: programs at an entry and a target side write, take, stall,
 * half-close and reset while the lanes between them fail in every way that sim_lanes_test.h
 * knows, and somebody puts in frames that no honest peer would send (sim_hostile_test.h).  All
 * follows from a seed.  ADIT_SEED=n runs that one alone and tells what was put in, ADIT_SEEDS=n
 * so many, from ADIT_SEED_FIRST=n on; ADIT_STARVED: where allocations fail.
 *
 * Holds: each byte once and in order; nobody says complete while a byte is missing; both ends
 * agree how a stream ended, or one says session-lost; memory within the budget; every stream
 * ends, those that are read also while others are not.
 */
#define SEEDS 4000
#define CHAOS_STEPS 300
#define CALM_MS 180000
#define STUBBORN_MS 600000          /* 1,000 bytes a round trip, where memory is full */
#define GRACE_MS 60000

static uint64_t random_total(void)
{
    static const unsigned tops[] = { 1, 10, 1000, 20000, 20000, 100000, 600000 };

    return below(tops[below(ARRAY_LEN(tops))]);
}

/* --- what the mux says -------------------------------------------------------------------- */
/* A HELLO of an older start may come last, over a slow lane: its counter says so. */
static void meet_entry(struct span body)
{
    unsigned boot = 0;

    for (size_t i = 1; i < body.n; i++)
        boot = boot * 10 + (unsigned)(body.p[i] - '0');
    if (boot < sim.entry_seen)
        return;
    sim.entry_seen = boot;
    mux_abandon_entry(sim.mux[TARGET], SPAN("relay"), body, REASON_AGENT_RESTARTED);
}

static void on_hello(void *user, struct mux_link *l, struct span body)
{
    struct lane *lane = user;

    if (l == lane->link[lane->acceptor]) {
        mux_link_accept(l, sim.now_ms);
        return;
    }
    if (!lane->group)
        meet_entry(body);
    if (mux_link_hello(l, span_str(sim.boot_id[node_of(lane, !lane->acceptor)]))) {
        assert_true(sim.is_starved);
        lane->has_failed[!lane->acceptor] = true;
    }
}

static void on_failed(void *user, struct mux_link *l, enum reason why, const char *text)
{
    struct lane *lane = user;

    if (why == REASON_PROTOCOL_ERROR && !lane->is_tricked)
        fail_msg("seed %lu: a link fails: %s", sim.seed, text);
    lane->has_failed[l == lane->link[TARGET]] = true;
}

static void answer(struct prog *prog)
{
    struct mux_opened how = { .boot_id = span_str(sim.boot_id[TARGET]) };

    prog->answer_ms = 0;
    if (one_in(12)) {
        faults[FAULT_REFUSED]++;
        prog->is_refused = true;
        mux_stream_refuse(prog->s, REASON_DIAL_TIMEOUT, SPAN("no"), NULL);
        return;
    }
    prog->is_open = prog->was_opened = true;
    mux_stream_accept(prog->s, &how);
}

/* It ended for want of memory, so another OPEN may come where its answer was never heard. */
static bool is_out_of_memory(const struct prog *prog)
{
    return sim.is_starved && prog->is_ended && prog->how == REASON_OVERLOAD;
}

/* The process that had it is gone.  An OPEN that stuck on its way to a holder while the stream was
 * answered over a later path finds the next process, which cannot know: nobody is behind it any
 * more, and its DETACH follows it. */
static bool may_be_new(const struct prog *prog, const struct mux_open *open)
{
    const struct prog *peer = prog->peer;

    return (prog->is_gone && sim.holders && open->path < peer->opened_path) ||
           ((prog->is_gone || is_out_of_memory(prog)) && !peer->is_open);
}

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    struct prog *prog;

    (void)user;
    if (open->kind == MUX_KIND_PROBE && is_deaf())
        return;
    if (open->kind == MUX_KIND_PROBE) {
        mux_stream_accept(s, &(struct mux_opened){ .boot_id = SPAN("b") });
        mux_stream_fin(s);
        return;
    }
    prog = &progs[open->uid[1]][TARGET];
    if (prog->was_opened && !prog->is_harmed && !may_be_new(prog, open))
        fail_msg("seed %lu: stream %u is dialled twice", sim.seed, prog->key);
    *prog = (struct prog){ .key = prog->key, .end = TARGET, .to_send = prog->to_send,
                           .peer = prog->peer, .s = s, .is_harmed = prog->is_harmed };
    mux_stream_set_user(s, prog);
    if (one_in(3)) {
        faults[FAULT_LATE_ANSWER]++;
        prog->answer_ms = sim.now_ms + 1 + below(3000);
    } else {
        answer(prog);
    }
}

static void on_opened(void *user, struct mux_stream *s, const struct mux_opened *how)
{
    struct prog *prog = user;

    assert_false(prog->is_open);
    prog->opened_path = mux_stream_path(s);
    assert_true(span_copy(how->boot_id, prog->boot_id, sizeof(prog->boot_id)));
    prog->is_open = true;
}

static void on_reset(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    struct prog *prog = user;

    (void)s;
    if (!prog || prog->is_harmed || prog->peer->is_harmed || (sim.is_starved && why == REASON_OVERLOAD))
        return;
    if (prog->has_reset || (!prog->peer->has_reset && why != REASON_AGENT_RESTARTED))
        fail_msg("seed %lu: stream %u is told a RESET that nobody sent: %s " SPAN_FMT, sim.seed,
                 prog->key, reason_text(why), SPAN_ARG(text));
}

static void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    struct prog *prog = user;

    if (!prog)
        return;                     /* of a probe */
    assert_ptr_equal(prog->s, s);
    assert_false(prog->is_ended);
    if (how == REASON_NONE && !prog->has_reset && !prog->is_harmed &&
        (prog->got != prog->peer->sent || !prog->peer->is_fin_given))
        fail_msg("seed %lu: stream %u ends complete with %lu of %lu bytes", sim.seed, prog->key,
                 prog->got, prog->peer->sent);
    if (prog->has_reset && sim.now_ms - prog->reset_ms >= MUX_SETTLE_MS)
        prog->is_reset_now = true;  /* it does not wait for its bytes longer than that */
    prog->is_ended = true;
    prog->how = how;
    prog->s = NULL;
}

static void classify(const struct mux_stream *s)
{
    int end = s->is_entry ? ENTRY : TARGET;

    if (s->fin_acked)
        replay[end].fin++;
    else if (s->tx_sent == s->tx_end)
        replay[end].none++;
    else if (s->tx_sent == 0)
        replay[end].all++;
    else
        replay[end].some++;
}

static void on_moved(void *user, struct mux_stream *s)
{
    const struct prog *prog = user;

    if (prog->is_forged)
        fail_msg("seed %lu: stream %u moved without a proof", sim.seed, prog->key);
    tally.moved++;
    classify(s);
}

static void on_want_path(void *user, struct mux_stream *s)
{
    struct lane *lane = lane_random_open();
    struct prog *prog = user;
    bool is_other;
    int r;

    if (!lane || sim.is_playing)
        return;                     /* it is asked for again */
    if (mux_of(lane, ENTRY) != s->mux) {
        prog->wants_other = true;
        return;
    }
    is_other = prog->is_open && lane_boot(lane) && strcmp(lane_boot(lane), prog->boot_id) != 0;
    if (is_other && one_in(2)) {
        mux_stream_abandon(s, REASON_AGENT_RESTARTED);
        return;
    }
    faults[FAULT_OLD_BOOT] += is_other;
    if (sim.is_harsh && !prog->is_forged && one_in(50)) {
        faults[FAULT_FORGED]++;             /* a thief knows the uid, not the secret */
        s->secret[0] ^= 1;
        prog->is_forged = true;
        r = mux_stream_attach(s, lane->link[ENTRY], span_str(prog->boot_id), sim.now_ms);
    } else {
        r = mux_stream_attach(s, lane->link[ENTRY], span_str(prog->boot_id), sim.now_ms);
    }
    assert_true(r == 0 || mux_link_state(lane->link[ENTRY]) == MUX_LINK_DRAINING || (r == -ENOMEM && sim.is_starved));
}

static const struct mux_handlers switch_handlers = {
    .on_hello = on_hello, .on_failed = on_failed, .on_route = on_route, .on_hop_ended = on_hop_ended,
};

static const struct mux_handlers handlers = {
    .on_hello = on_hello, .on_failed = on_failed, .on_open = on_open, .on_opened = on_opened,
    .on_reset = on_reset, .on_ended = on_ended, .on_want_path = on_want_path,
    .on_moved = on_moved, .on_proof = on_proof,
};

/* --- what programs do ----------------------------------------------------------------------- */
static void open_random(void)
{
    struct lane *lane = lane_random_open();
    struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = 1,
                             .grace_ms = GRACE_MS, .entry = SPAN("relay"),
                             .principal = opened % 2 ? SPAN("a") : SPAN("b") };
    struct prog *prog, *peer;
    int r;

    if (!lane || opened == PROGS_MAX)
        return;
    prog = &progs[opened][ENTRY];
    peer = &progs[opened][TARGET];
    open.uid[0] = 1;
    open.uid[1] = (unsigned char)opened;
    open.boot_id = span_str(sim.boot_id[ENTRY]);
    for (int i = 0; i < MUX_SECRET_LEN; i++)
        open.secret[i] = (unsigned char)rnd();
    *prog = (struct prog){ .key = opened * 2, .end = ENTRY, .to_send = random_total(),
                           .peer = peer };
    *peer = (struct prog){ .key = opened * 2 + 1, .end = TARGET, .to_send = random_total(),
                           .peer = prog };
    r = mux_stream_open(lane->link[ENTRY], &open, opened % 3, prog, sim.now_ms, &prog->s);
    if (r == 0)
        opened++;
    else
        assert_true(r == REASON_OVERLOAD || r == REASON_LINK_RENEW || (r == -ENOMEM && sim.is_starved));
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
    n = n > left ? (size_t)left : n;
    n = one_in(4) ? below((unsigned)n + 1) : n;
    memcpy(at, pattern(prog, prog->sent), n);
    mux_stream_commit(prog->s, n);
    prog->sent += n;
    sim.has_moved |= n > 0;
    assert_int_equal(mux_stream_sent(prog->s), prog->sent);
}

static void read_some(struct prog *prog)
{
    struct span spans[3];
    size_t count, n;

    if (!prog->s || prog->is_stalled || prog->has_reset)
        return;
    count = mux_stream_peek(prog->s, spans, 3);
    for (size_t i = 0; i < count && prog->s; i++) {
        n = one_in(3) ? 1 + below((unsigned)spans[i].n) : spans[i].n;
        if (memcmp(spans[i].p, pattern(prog->peer, prog->got), n))
            fail_msg("seed %lu: stream %u, wrong at byte %lu or soon after", sim.seed, prog->key,
                     prog->got);
        prog->got += n;
        sim.has_moved = true;
        mux_stream_consume(prog->s, n);
        if (n < spans[i].n)
            break;
    }
    assert_true(prog->got <= prog->peer->sent);
}

static void maybe_reset(struct prog *prog)
{
    if (!prog->s || prog->has_reset || sim.is_calm || !one_in(700) ||
        (prog->end == TARGET && !prog->is_open))
        return;
    faults[prog->end ? FAULT_RESET_BY_TARGET : FAULT_RESET_BY_ENTRY]++;
    prog->has_reset = true;
    prog->reset_ms = sim.now_ms;
    prog->is_reset_now = one_in(2);
    mux_stream_reset(prog->s, prog->end ? REASON_TARGET_RESET : REASON_CLIENT_GONE,
                     SPAN("reset"), prog->is_reset_now);
}

/* To the entry's other mux, from a living path too. */
static void hand_over(struct prog *prog)
{
    struct mux *other = prog->s->mux == sim.twin ? sim.mux[ENTRY] : sim.twin;

    prog->wants_other = false;
    if (!other || sim.is_starved || !mux_stream_take_out(prog->s))
        return;
    assert_null(mux_stream_link(prog->s));      /* the old mux and its links may be another thread's */
    assert_int_equal(mux_stream_put_in(other, prog->s, sim.now_ms), 0);
    faults[FAULT_HANDOVER]++;
}

/* Memory went with the streams that were handed over; a program asks it back where it is free, else
 * its share would be for ever what chance has left of it. */
static void share_memory(void)
{
    struct mux *m = sim.mux[ENTRY];
    size_t half;

    if (!sim.twin)
        return;
    half = (m->config.memory_limit + sim.twin->config.memory_limit) / 2;
    if (mux_stats(m)->held_bytes > half || mux_stats(sim.twin)->held_bytes > half)
        return;
    mux_set_memory_limit(m, half);
    mux_set_memory_limit(sim.twin, half);
}

static void maybe_move(struct prog *prog)
{
    struct lane *lane;

    if (prog->end != ENTRY || !prog->s || !prog->is_open || !one_in(200))
        return;
    lane = lane_random_open();
    if (!lane || !lane_boot(lane) || strcmp(lane_boot(lane), prog->boot_id) != 0)
        return;
    if (mux_of(lane, ENTRY) != prog->s->mux) {
        hand_over(prog);
        return;
    }
    if (mux_stream_attach(prog->s, lane->link[ENTRY], span_str(prog->boot_id), sim.now_ms) == 0)
        faults[FAULT_MOVE]++;
}

static void act(struct prog *prog)
{
    if (!prog->s)
        return;
    if (sim.is_calm) {
        prog->is_stalled = prog->is_stalled && sim.is_stubborn;
    } else if (one_in(60)) {
        faults[FAULT_STALLED_END]++;
        prog->is_stalled = !prog->is_stalled;
    }
    if (prog->answer_ms && (prog->answer_ms <= sim.now_ms || one_in(300)))
        answer(prog);
    write_some(prog);
    read_some(prog);
    maybe_reset(prog);
    maybe_move(prog);
    if (prog->s && prog->wants_other)
        hand_over(prog);
}

static void restart(int end)
{
    faults[end ? FAULT_TARGET_RESTART : FAULT_ENTRY_RESTART]++;
    for (unsigned i = 0; i < opened; i++)
        progs[i][end].is_gone = progs[i][end].s != NULL || progs[i][end].is_gone;
    end_stop(end);
    end_start(end);
}

static void check_memory(void)
{
    for (int end = 0; end < 2; end++) {
        size_t held = mux_stats(sim.mux[end])->held_bytes, limit = sim.config[end].memory_limit;

        if (end == ENTRY && sim.twin) {     /* what was handed over is over the limit of one, not of both */
            held += mux_stats(sim.twin)->held_bytes;
            limit *= 2;
        }
        assert_true(held <= limit);
        if (held * 10 >= limit * 9)
            faults[FAULT_PRESSURE]++;
    }
}

/* --- a run ------------------------------------------------------------------------------------ */
static void step(void)
{
    sim.has_moved = false;
    for (unsigned i = 0; i < opened; i++) {
        act(&progs[i][0]);
        act(&progs[i][1]);
    }
    lanes_step();
    if (sim.is_calm)
        share_memory();
    check_memory();
    check_holders();
    check_proofs();
    if (!sim.has_moved)
        sim.now_ms += 5 + below(sim.is_calm ? 200 : 40);
    else
        sim.now_ms += one_in(2) ? below(8) : 0;
}

/* Programs that stand still go on doing so until all others are through. */
static void outlast_the_stubborn(void)
{
    uint64_t until = sim.now_ms + STUBBORN_MS;

    while (sim.now_ms < until && has_read_one())
        step();
    if (has_read_one())
        fail_left("streams that are read wait for those that are not");
    for (int end = 0; end < 2; end++)
        faults[FAULT_STUBBORN] += mux_stats(sim.mux[end])->held_bytes * 2 > sim.config[end].memory_limit;
    sim.is_stubborn = false;
}

static void sim_init(uint64_t seed, bool is_starved)
{
    sim = (struct sim){ .now_ms = 1000, .seed = seed, .on = handlers, .switch_on = switch_handlers, .watch = watch,
                        .rng = seed * 2654435761u + 88172645463325252u };
    memset(progs, 0, sizeof(progs));
    opened = 0;
    for (int i = 0; i < 8; i++)
        (void)rnd();
    for (int i = 0; i < LANES_MAX; i++) {
        list_init(&sim.lanes[i].in[0]);
        list_init(&sim.lanes[i].in[1]);
    }
    sim.is_starved = is_starved;
    choose_lanes();
    sim.is_harsh = one_in(5) || is_starved;
    sim.is_hostile = one_in(3) && !is_starved;
    sim.has_twin = one_in(3) && !is_starved;
    sim.is_stubborn = one_in(3);
    sim.delay_ms = one_in(2) ? below(60) : 0;
    for (int end = 0; end < 2; end++) {
        sim.config[end] = (struct mux_config){
            .is_accepting = end == ENTRY, .mac = sim_mac, .random_seed = seed,
            .memory_limit = one_in(4) ? 300000 : one_in(4) ? 70000 + below(60000) : 32u << 20,
            .first_window = one_in(5) ? 16384 : 0,
        };
        if (end == ENTRY)
            proofs_choose(&sim.config[end]);
        end_start(end);
    }
    for (unsigned i = 0; i < sim.holders; i++)
        holder_start(i);
}

/* The stream that was broken is no longer one whose ends must agree. */
static void harm(struct mux_stream *s)
{
    struct prog *prog = s->user;

    prog->is_harmed = prog->peer->is_harmed = true;
}

static void harm_key(unsigned key)
{
    progs[key][ENTRY].is_harmed = progs[key][TARGET].is_harmed = true;
}

static void chaos(void)
{
    unsigned every = 15 + below(100);

    for (int i = 0; i < CHAOS_STEPS; i++) {
        if (one_in(12))
            open_random();
        if (one_in(every))
            lane_fault();
        if (sim.is_harsh && one_in(150))
            restart((int)below(2));
        if (sim.is_hostile && one_in(6))
            hostile_step(harm);
        chaos_at_holders(harm_key);
        chaos_of_proofs();
        starve();
        step();
    }
}

/* Probes go on until the programs' streams are over: among many lanes one is always under way. */
static void end_all(void)
{
    uint64_t until = sim.now_ms + CALM_MS;

    while (sim.now_ms < until && has_any())
        step();
    if (has_any())
        fail_left("streams that never end");
    proofs_stop();
    for (until = sim.now_ms + CALM_MS; sim.now_ms < until && !all_ended();)
        step();
    if (!all_ended() && !(have_streams_ended() && are_hops_harmed()))
        fail_left("streams, probes or hops that never end");
    step();
}

static void run_seed(uint64_t seed, bool is_starved)
{
    sim_init(seed, is_starved);
    chaos();
    check_alloc_fail(0);
    sim.is_calm = true;
    for (int i = 0; i < LANES_MAX; i++)
        sim.lanes[i].stalled_until_ms = 0;
    outlast_the_stubborn();
    end_all();
    if (sim.twin) {
        assert_int_equal(mux_stats(sim.twin)->held_bytes, 0);
        assert_int_equal(mux_stats(sim.twin)->promised_bytes, 0);
    }
    for (unsigned i = 0; i < opened; i++)
        check_stream(&progs[i][ENTRY], &progs[i][TARGET]);
    for (unsigned i = 0; i < sim.holders; i++)
        holder_stop(i);
    for (int end = 0; end < 2; end++) {
        assert_int_equal(mux_stats(sim.mux[end])->held_bytes, 0);
        assert_int_equal(mux_stats(sim.mux[end])->promised_bytes, 0);
        end_stop(end);
    }
    for (int i = 0; i < LANES_MAX; i++) {
        drop_messages(&sim.lanes[i].in[0]);
        drop_messages(&sim.lanes[i].in[1]);
    }
}

static void test_sim(void **state)
{
    const char *one = getenv("ADIT_SEED");
    uint64_t first = number("ADIT_SEED_FIRST", 1), last = first + number("ADIT_SEEDS", SEEDS) - 1;

    (void)state;
    pattern_init();
    if (one) {
        run_seed(strtoull(one, NULL, 10), getenv("ADIT_STARVED") != NULL);
        sim.seed = 0;
        return;
    }
    for (uint64_t seed = first; seed <= last; seed++)
        run_seed(seed, false);
    for (uint64_t seed = first; seed <= first + (last - first) / 4; seed++)
        run_seed(seed, true);
    sim.seed = 0;
    check_tally();
}

static int say_how_to_repeat(void **state)
{
    (void)state;
    if (sim.seed)
        print_message("to repeat: %sADIT_SEED=%lu build/lib/mux/mux_sim_test\n",
                      sim.is_starved ? "ADIT_STARVED=1 " : "", sim.seed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_teardown(test_sim, say_how_to_repeat) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
