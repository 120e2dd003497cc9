#include "lib/mux/mux_pair_test.h"
/*
 * When a link is believed in: probe streams, doubt, and proof again.  Side 0 opens streams and proves
 * its link, side 1 answers.
 */
enum { EVERY_MS = 300000, REST_MS = 60000, USE_MS = 3000, STEP_MS = 20 };

static struct {
    struct mux_stream *s[2];
    enum mux_proof proof;           /* as told last */
    unsigned told[3];               /* how often, by what */
    uint64_t told_ms;
    uint64_t *now_ms;
    bool is_talkative;              /* side 1 sends a byte on a probe */
} seen;

static void say(struct mux_stream *s)
{
    size_t n;
    unsigned char *at = mux_stream_reserve(s, &n);

    assert_true(at && n);
    *at = 'x';
    mux_stream_commit(s, 1);
}

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    const struct mux_opened opened = { .boot_id = SPAN("boot") };

    (void)user;
    mux_stream_accept(s, &opened);
    if (open->kind != MUX_KIND_PROBE) {
        seen.s[1] = s;
        return;
    }
    if (seen.is_talkative)
        say(s);
    mux_stream_fin(s);
}

static void on_proof(void *user, struct mux_link *l, enum mux_proof proof)
{
    (void)user;
    assert_int_equal(mux_link_proof(l), proof);
    seen.proof = proof;
    seen.told[proof]++;
    seen.told_ms = *seen.now_ms;
}

static void begin(struct pair *p)
{
    const struct mux_handlers on = { .on_open = on_open, .on_proof = on_proof };
    const struct mux_config config = { .memory_limit = 8 << 20, .random_seed = 1, .probe_every_ms = EVERY_MS };

    memset(&seen, 0, sizeof(seen));
    seen.proof = MUX_UNPROVED;
    pair_init(p, &config, on, 1);
    p->side[1].mux->config.probe_every_ms = 0;
    p->side[1].link->doubts = 0;
    seen.now_ms = &p->now_ms;
    assert_int_equal(mux_link_proof(p->side[0].link), MUX_UNPROVED);
    pair_greet(p);
}

static const struct mux_stats *stats(const struct pair *p)
{
    return mux_stats(p->side[0].mux);
}

static bool no_frame(const struct frame *f) { (void)f; return false; }
static bool stream_frame_only(const struct frame *f) { return f->type & FRAME_BIT_STREAM; }
static bool not_the_answer(const struct frame *f) { return f->type & FRAME_BIT_STREAM && f->type != FRAME_OPEN_OK; }
static bool any_frame(const struct frame *f) { (void)f; return true; }

static void lose_frames(struct side *to, bool (*is_lost)(const struct frame *))
{
    LIST_EACH(&to->in, node) {
        struct pipe_message *m = container_of(node, struct pipe_message, node);
        struct span rest = span_of(m->bytes, m->len);
        struct frame f;
        size_t kept = 0;

        while (rest.n && frame_read(rest, &f) == 0) {
            size_t len = FRAME_HEADER_LEN + f.payload.n;

            if (!is_lost(&f)) {
                memmove(m->bytes + kept, rest.p, len);
                kept += len;
            }
            rest = span_skip(rest, len);
        }
        m->len = kept;
        if (kept)
            continue;
        list_remove(node);
        free(m);
    }
}

/* As a carrier does it: what time asks for when it is due, or when there was a wake. */
static void turn(struct side *s)
{
    if (s->due_ms > s->pair->now_ms && s->wakes == s->wakes_seen)
        return;
    do {
        s->wakes_seen = s->wakes;
        s->due_ms = mux_link_tick(s->link, s->pair->now_ms);
        while (mux_link_has_output(s->link))
            pair_send(s);
    } while (s->wakes != s->wakes_seen);
}

/* Both ends talk for so long; what side 1 says passes through the filter. */
static void run(struct pair *p, uint64_t ms, bool (*is_lost)(const struct frame *))
{
    for (uint64_t until = p->now_ms + ms; p->now_ms < until; p->now_ms += STEP_MS) {
        turn(&p->side[0]);
        turn(&p->side[1]);
        lose_frames(&p->side[0], is_lost);
        while (pair_deliver(&p->side[0]) || pair_deliver(&p->side[1]))
            p->side[0].due_ms = p->side[1].due_ms = 0;
        turn(&p->side[0]);
        turn(&p->side[1]);
    }
}

static void open_one(struct pair *p)
{
    static unsigned char serial;
    const struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = 1, .uid = { 1, ++serial } };

    assert_int_equal(mux_stream_open(p->side[0].link, &open, 1, &seen, p->now_ms, &seen.s[0]), 0);
}

static void test_begins(void **state)
{
    struct pair p;

    (void)state;
    check_row("is not proved until its first probe is answered");
    begin(&p);
    run(&p, 100, stream_frame_only);
    assert_int_equal(stats(&p)->probes, 1);
    assert_true(p.side[0].proved);                  /* PONG alone is not enough */
    assert_int_equal(seen.proof, MUX_UNPROVED);
    pair_deinit(&p);

    begin(&p);
    run(&p, 100, no_frame);
    assert_int_equal(stats(&p)->probes, 1);
    assert_int_equal(seen.proof, MUX_PROVED);
    assert_int_equal(seen.told[MUX_PROVED], 1);
    assert_int_equal(stats(&p)->doubts, 0);
    pair_deinit(&p);
}

static void test_probe_fails(void **state)
{
    struct pair p;
    uint64_t began_ms;

    (void)state;
    check_row("is doubted when a probe is not answered in time, though PONGs come");
    begin(&p);
    began_ms = p.now_ms;
    run(&p, USE_MS + 100, stream_frame_only);
    assert_int_equal(seen.proof, MUX_DOUBTED);
    assert_in_range(seen.told_ms - began_ms, USE_MS, USE_MS + 2 * STEP_MS);
    assert_int_equal(mux_link_state(p.side[0].link), MUX_LINK_OPEN);

    check_row("is probed again, less and less often");
    run(&p, 600000, stream_frame_only);
    assert_in_range(stats(&p)->probes, 9, 17);      /* after 3, 6, 12, 24, 48 s, then each minute */
    assert_int_equal(stats(&p)->doubts, 1);

    check_row("is proved when one of them is answered");
    run(&p, 90000, no_frame);
    assert_int_equal(seen.proof, MUX_PROVED);
    assert_int_equal(seen.told[MUX_PROVED], 1);

    check_row("begins with short pauses when one fails again");
    began_ms = stats(&p)->probes;
    run(&p, EVERY_MS + EVERY_MS / 4 + USE_MS + 4000, stream_frame_only);
    assert_in_range(stats(&p)->probes - began_ms, 2, 7);
    assert_int_equal(stats(&p)->doubts, 2);
    pair_deinit(&p);
}

/* Whoever answers a stream opens streams. */
static void test_proved_by_others(void **state)
{
    struct pair p;

    (void)state;
    check_row("is proved by an answer to any stream");
    begin(&p);
    run(&p, USE_MS + 100, stream_frame_only);
    assert_int_equal(seen.proof, MUX_DOUBTED);
    open_one(&p);
    run(&p, 100, no_frame);
    assert_int_equal(stats(&p)->probes, 1);
    assert_int_equal(seen.proof, MUX_PROVED);
    pair_deinit(&p);
}

static void test_often(void **state)
{
    struct pair p;

    (void)state;
    check_row("is probed every five minutes, a quarter more or less");
    begin(&p);
    run(&p, 100, no_frame);
    run(&p, EVERY_MS - EVERY_MS / 4 - 200, no_frame);
    assert_int_equal(stats(&p)->probes, 1);
    run(&p, EVERY_MS / 2 + 400, no_frame);
    assert_int_equal(stats(&p)->probes, 2);
    run(&p, 20 * (uint64_t)EVERY_MS, no_frame);
    assert_in_range(stats(&p)->probes, 18, 28);
    assert_int_equal(stats(&p)->probes_failed + stats(&p)->doubts, 0);
    pair_deinit(&p);
}

static void test_after_rest(void **state)
{
    struct pair p;

    (void)state;
    check_row("is not probed for a stream soon after another");
    begin(&p);
    run(&p, 100, no_frame);
    open_one(&p);
    run(&p, REST_MS - 1000, no_frame);
    open_one(&p);
    assert_int_equal(stats(&p)->probes, 1);

    check_row("is probed beside the first stream after a rest, and for that one only");
    run(&p, REST_MS + 1000, no_frame);
    open_one(&p);
    open_one(&p);
    assert_int_equal(stats(&p)->probes, 2);
    run(&p, 40, no_frame);
    assert_non_null(mux_stream_link(seen.s[0]));
    assert_int_equal(seen.proof, MUX_PROVED);

    check_row("rests only when no byte moves either");
    for (unsigned i = 0; i < 6; i++) {
        say(seen.s[i % 2]);
        run(&p, REST_MS / 3, no_frame);
    }
    open_one(&p);
    assert_int_equal(stats(&p)->probes, 2);
    pair_deinit(&p);
}

static void test_silence(void **state)
{
    uint64_t last_ms;
    struct pair p;

    (void)state;
    check_row("is doubted when it is in use and silent for three seconds");
    begin(&p);
    run(&p, 20000, no_frame);
    open_one(&p);
    run(&p, 200, no_frame);
    say(seen.s[0]);
    run(&p, 200, no_frame);
    say(seen.s[0]);
    last_ms = p.now_ms;
    run(&p, USE_MS - 400, any_frame);
    assert_int_equal(seen.proof, MUX_PROVED);
    run(&p, 300, any_frame);
    last_ms = seen.told_ms - last_ms;
    assert_int_equal(seen.proof, MUX_DOUBTED);
    assert_in_range(last_ms, USE_MS - 300, USE_MS + 2 * STEP_MS);
    pair_deinit(&p);

    check_row("is lost soon after, when PING is not answered either");
    begin(&p);
    run(&p, 20000, no_frame);
    open_one(&p);                       /* the first use after a rest: PING goes with it */
    run(&p, USE_MS + 1200, any_frame);
    assert_int_equal(p.side[0].failed, 1);
    pair_deinit(&p);
}

/* A late byte proves a link that was not given up yet: PING went out a second after the last one came. */
static void test_heard_again(void **state)
{
    unsigned proved = 0;
    struct pair p;

    (void)state;
    check_row("is proved when it is heard again");
    for (unsigned i = 0; i < 40 && !proved; i++) {
        begin(&p);
        run(&p, 20000 + 40 * i, no_frame);
        open_one(&p);
        run(&p, 40 * i, no_frame);
        for (unsigned j = 0; j < 250 && seen.proof == MUX_PROVED && !p.side[0].failed; j++)
            run(&p, STEP_MS, any_frame);
        if (seen.proof == MUX_DOUBTED && !p.side[0].failed) {
            say(seen.s[1]);
            run(&p, 40, no_frame);
            assert_int_equal(seen.proof, MUX_PROVED);
            proved++;
        }
        pair_deinit(&p);
    }
    assert_true(proved);
}

/* At rest there is a PING in ten seconds; who begins to use the link must not wait for that. */
static void test_use_is_noticed(void **state)
{
    struct pair p;

    (void)state;
    check_row("asks for a PING at once when bytes go out after a rest");
    begin(&p);
    open_one(&p);
    run(&p, 20000, no_frame);
    say(seen.s[0]);
    run(&p, USE_MS + 200, any_frame);
    assert_int_equal(p.side[0].failed, 1);
    pair_deinit(&p);
}

static void test_not_ours(void **state)
{
    struct pair p;

    (void)state;
    check_row("neither probes nor doubts where nobody asked for it");
    begin(&p);
    run(&p, 3 * EVERY_MS, no_frame);
    assert_int_equal(mux_stats(p.side[1].mux)->probes, 0);
    assert_int_equal(mux_link_proof(p.side[1].link), MUX_PROVED);
    assert_int_equal(seen.told[MUX_PROVED], 1);
    pair_deinit(&p);
}

/* A stream more than the mux takes is not opened for a probe either. */
static void test_no_room(void **state)
{
    struct pair p;

    (void)state;
    check_row("is probed when there is room again");
    begin(&p);
    p.side[0].mux->config.streams_max = 0;
    run(&p, 10000, no_frame);
    assert_int_equal(stats(&p)->probes, 0);
    assert_in_range(stats(&p)->overload_refusals, 9, 12);
    assert_int_equal(seen.proof, MUX_UNPROVED);
    p.side[0].mux->config.streams_max = 10;
    run(&p, 1200, no_frame);
    assert_int_equal(stats(&p)->probes, 1);
    assert_int_equal(seen.proof, MUX_PROVED);
    pair_deinit(&p);
}

/* --- each probe has an end ---------------------------------------------------------------- */
static void expect_none_left(const struct pair *p, const char *at)
{
    for (int i = 0; i < 2; i++) {
        const struct mux_stats *has = mux_stats(p->side[i].mux);

        if (has->streams || has->probing || has->held_bytes || has->promised_bytes)
            fail_msg("%s: side %d has %u streams, %zu bytes held", at, i, has->streams, has->held_bytes);
    }
}

static void feed(struct pair *p, int side, uint8_t type, struct span payload)
{
    unsigned char mem[64];
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    frame_put(&b, type, 0, 2, payload);         /* the first probe's id */
    assert_int_equal(mux_link_take(p->side[side].link, buf_span(&b), true, p->now_ms), 0);
}

static void test_end_without_answer(void **state)
{
    struct pair p;

    (void)state;
    check_row("is forgotten without an answer, and few wait for that at a time");
    begin(&p);
    for (unsigned i = 0; i < 600; i++) {
        run(&p, 1000, stream_frame_only);
        assert_in_range(stats(&p)->streams, 0, 6);
    }
    assert_true(stats(&p)->probes > 8);
    p.side[0].mux->config.probe_every_ms = 0;
    run(&p, USE_MS + MUX_SETTLE_MS + 1000, stream_frame_only);
    expect_none_left(&p, "no answer");

    check_row("may be answered after that");
    feed(&p, 0, FRAME_OPEN_OK, SPAN_NONE);
    assert_int_equal(stats(&p)->late_frames, 1);
    assert_int_equal(mux_link_state(p.side[0].link), MUX_LINK_OPEN);
    pair_deinit(&p);
}

static void test_end_after_answer(void **state)
{
    struct pair p;

    (void)state;
    check_row("is reset soon when it was answered and does not end");
    begin(&p);
    run(&p, USE_MS - 200, not_the_answer);
    assert_int_equal(seen.proof, MUX_PROVED);
    assert_non_null(p.side[0].link->probe);
    run(&p, 300, not_the_answer);
    assert_null(p.side[0].link->probe);
    run(&p, MUX_SETTLE_MS + 1000, not_the_answer);
    expect_none_left(&p, "no end");
    assert_int_equal(stats(&p)->probes, 1);
    assert_int_equal(seen.proof, MUX_PROVED);
    pair_deinit(&p);
}

static void test_end_by_detach(void **state)
{
    struct pair p;

    (void)state;
    check_row("ends with DETACH, and the next one follows");
    begin(&p);
    run(&p, 100, stream_frame_only);
    feed(&p, 0, FRAME_DETACH, SPAN("\1\0\10overload"));
    assert_int_equal(stats(&p)->streams, 0);
    run(&p, 1200, no_frame);
    assert_int_equal(stats(&p)->probes, 2);
    assert_int_equal(seen.proof, MUX_PROVED);
    pair_deinit(&p);
}

static void test_end_with_link(void **state)
{
    struct pair p;

    (void)state;
    check_row("ends while the link drains");
    begin(&p);
    run(&p, 100, stream_frame_only);
    pair_goaway(p.side[1].link, REASON_RELAY_DRAINING);
    run(&p, USE_MS + MUX_SETTLE_MS + 1000, stream_frame_only);
    expect_none_left(&p, "GOAWAY");
    assert_int_equal(stats(&p)->probes, 1);
    pair_deinit(&p);

    check_row("ends with the link");
    begin(&p);
    run(&p, 100, stream_frame_only);
    assert_int_equal(stats(&p)->streams, 1);
    assert_int_equal(stats(&p)->probing, 1);
    assert_int_equal(mux_stats(p.side[1].mux)->probing, 1);
    mux_link_free(p.side[0].link);
    assert_int_equal(stats(&p)->streams, 0);
    pair_deinit(&p);

    check_row("is the last on a link whose ids are used up");
    begin(&p);
    p.side[0].link->next_id = 0xfffffffeu - 2 * MUX_IDS_LEFT;
    run(&p, 3 * EVERY_MS, no_frame);
    assert_in_range(stats(&p)->probes, 1, 2);
    assert_int_equal(mux_link_state(p.side[0].link), MUX_LINK_DRAINING);
    expect_none_left(&p, "ids");
    pair_deinit(&p);
}

/* Nobody would ever take them. */
static void test_bytes(void **state)
{
    struct pair p;

    (void)state;
    check_row("is reset when bytes come on it, and they are not kept");
    begin(&p);
    seen.is_talkative = true;
    run(&p, 1000, no_frame);
    expect_none_left(&p, "bytes to the entry");
    assert_int_equal(stats(&p)->protocol_errors, 1);
    assert_int_equal(seen.proof, MUX_PROVED);
    pair_deinit(&p);

    check_row("is reset by the other end, too");
    begin(&p);
    run(&p, 100, stream_frame_only);
    feed(&p, 1, FRAME_DATA, SPAN("\0\0\0\0\0\0\0\0x"));
    assert_int_equal(mux_stats(p.side[1].mux)->protocol_errors, 1);
    assert_int_equal(mux_stats(p.side[1].mux)->held_bytes, 0);
    p.side[0].mux->config.probe_every_ms = 0;
    run(&p, USE_MS + MUX_SETTLE_MS + 1000, stream_frame_only);
    expect_none_left(&p, "bytes to the target side");
    pair_deinit(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins), cmocka_unit_test(test_probe_fails), cmocka_unit_test(test_proved_by_others),
        cmocka_unit_test(test_often), cmocka_unit_test(test_after_rest), cmocka_unit_test(test_silence),
        cmocka_unit_test(test_heard_again), cmocka_unit_test(test_use_is_noticed), cmocka_unit_test(test_not_ours),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_end_without_answer), cmocka_unit_test(test_end_after_answer),
        cmocka_unit_test(test_end_by_detach), cmocka_unit_test(test_end_with_link), cmocka_unit_test(test_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
