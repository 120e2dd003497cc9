#include "dataplane/policy/live.h"
#include "lib/check/check.h"
#include "lib/policy/base_fixture.h"
#include <stdio.h>

struct stream {
    struct live_entry entry;
    enum reason cut;
    unsigned cuts;
};

struct set {
    struct live live;
    struct tally *tally;
    struct view *view;
    struct freshness freshness;
    struct policy *policy;
};

static void on_cut(void *user, struct live_entry *entry, enum reason why)
{
    struct set *s = user;
    struct stream *stream = container_of(entry, struct stream, entry);

    stream->cut = why;
    stream->cuts++;
    live_remove(&s->live, entry);
}

static void set_view(struct set *s)
{
    const struct state_position position = { .epoch = 1 };
    const struct credential_keys keys = { .count = 0 };

    if (s->view)
        view_unref(s->view);
    s->view = view_new(s->policy, &position, &keys);
    assert_non_null(s->view);
}

static void set_open(struct set *s)
{
    *s = (struct set){ .policy = base_world() };
    atomic_init(&s->freshness.heard_ms, 1000);
    atomic_init(&s->freshness.max_ms, 86400000);
    assert_int_equal(tally_new(10000, 1 << 20, &s->tally), 0);
    live_init(&s->live, s->tally, 10000, on_cut, s);
    set_view(s);
}

static void set_close(struct set *s)
{
    live_deinit(&s->live);
    tally_free(s->tally);
    view_unref(s->view);
    policy_unref(s->policy);
}

/* ann's db.x:5432 as stream number n, decided at `now_ms`. */
static int add(struct set *s, struct stream *stream, unsigned n, int64_t now_ms)
{
    struct policy_question q = question(ANN, "db.x", 5432);
    const struct ulid id = uid(n);
    struct policy_decision d;

    q.now_ms = now_ms;
    assert_int_equal(policy_decide(s->policy, &q, &d), REASON_NONE);
    *stream = (struct stream){ .cut = REASON_COUNT };
    policy_stand(&d, &q, NULL, id.text, &stream->entry.standing);
    return live_add(&s->live, &stream->entry, s->view, now_ms);
}

static unsigned sweep_all(struct set *s, int64_t now_ms, uint64_t mono_now_ms)
{
    unsigned calls = 1;

    live_want_sweep(&s->live);
    while (live_sweep(&s->live, s->view, &s->freshness, now_ms, mono_now_ms))
        calls++;
    return calls;
}

static struct policy *same(struct policy *p) { return p; }

static void test_sweep(void **state)
{
    static const struct {
        const char *it;
        struct policy *(*change)(struct policy *p);
        bool is_cut;
    } rows[] = {
        { "stays when nothing changed", same, false },
        { "is cut without its user", no_user, true },
        { "is cut when its user is off", off_user, true },
        { "is cut without its grant", no_grant, true },
        { "is cut without its profile", no_profile, true },
        { "is cut without its agents", no_agents, true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stream stream;
        struct set s;

        check_row(rows[i].it);
        set_open(&s);
        assert_int_equal(add(&s, &stream, 1000, NOW_MS), 0);
        s.policy = rows[i].change(s.policy);
        set_view(&s);
        sweep_all(&s, NOW_MS + 1, 2000);
        assert_int_equal(stream.cuts, rows[i].is_cut);
        assert_int_equal(tally_grant_streams(s.tally, &stream.entry.standing.grant), !rows[i].is_cut);
        live_remove(&s.live, &stream.entry);
        live_remove(&s.live, &stream.entry);        /* once more does nothing */
        set_close(&s);
    }
}

static void test_time(void **state)
{
    struct stream streams[2];
    struct grant_record *g = make_grant(GR, SUBJECT_USER, ANN, P_EXACT, 0);
    struct set s;

    (void)state;
    check_row("knows when time alone ends a grant, and cuts then");
    set_open(&s);
    assert_true(live_next_ms(&s.live) == INT64_MAX);
    assert_int_equal(add(&s, &streams[0], 1000, NOW_MS), 0);
    assert_true(live_next_ms(&s.live) == INT64_MAX);
    g->end_ms = NOW_MS + 5000;
    s.policy = with(s.policy, g);
    set_view(&s);
    assert_int_equal(add(&s, &streams[1], 1001, NOW_MS), 0);
    assert_true(live_next_ms(&s.live) == NOW_MS + 5000);
    sweep_all(&s, NOW_MS, 2000);
    assert_true(live_next_ms(&s.live) == NOW_MS + 5000);
    assert_int_equal(streams[0].cuts + streams[1].cuts, 0);
    sweep_all(&s, NOW_MS + 4999, 2000);
    assert_int_equal(streams[0].cuts + streams[1].cuts, 0);
    sweep_all(&s, NOW_MS + 5000, 2000);
    assert_int_equal(streams[0].cut, REASON_GRANT_EXPIRED);
    assert_int_equal(streams[1].cut, REASON_GRANT_EXPIRED);
    assert_true(live_next_ms(&s.live) == INT64_MAX);
    assert_int_equal(s.live.cuts, 2);
    set_close(&s);
}

static void test_stale(void **state)
{
    struct stream streams[2];
    struct set s;

    (void)state;
    check_row("is cut when its profile's word is too old, and only then");
    set_open(&s);
    assert_int_equal(add(&s, &streams[0], 1000, NOW_MS), 0);
    assert_int_equal(add(&s, &streams[1], 1001, NOW_MS), 0);
    streams[1].entry.max_stale_ms = 60000;
    sweep_all(&s, NOW_MS, 1000 + 60000);
    assert_int_equal(streams[1].cuts, 0);
    sweep_all(&s, NOW_MS, 1000 + 60001);
    assert_int_equal(streams[1].cut, REASON_STALE_CONFIG);
    assert_int_equal(streams[0].cuts, 0);
    live_remove(&s.live, &streams[0].entry);
    set_close(&s);
}

static void test_refused(void **state)
{
    struct stream first, second;
    struct set s;

    (void)state;
    check_row("takes a uid once, and no more streams than it may");
    set_open(&s);
    s.live.by_uid.cap = 1;
    assert_int_equal(add(&s, &first, 1000, NOW_MS), 0);
    assert_int_equal(add(&s, &second, 1001, NOW_MS), -ENOSPC);
    assert_int_equal(tally_grant_streams(s.tally, &first.entry.standing.grant), 1);
    s.live.by_uid.cap = 2;
    assert_int_equal(add(&s, &second, 1000, NOW_MS), -EEXIST);
    assert_int_equal(tally_grant_streams(s.tally, &first.entry.standing.grant), 1);
    live_remove(&s.live, &second.entry);            /* never in: does nothing */
    assert_int_equal(tally_grant_streams(s.tally, &first.entry.standing.grant), 1);
    live_remove(&s.live, &first.entry);
    set_close(&s);
}

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* Thousands come and go while sweeps are under way; each is asked, none twice in a sweep. */
static void test_many(void **state)
{
    enum { STREAMS = 3000, ROUNDS = 20000 };
    struct stream *all = calloc(STREAMS, sizeof(*all));
    bool *is_in = calloc(STREAMS, sizeof(*is_in));
    uint64_t x = 88172645463325252u, count = 0;
    struct ulid grant = uid(GR);
    struct set s;

    (void)state;
    check_row("keeps its counts through thousands of streams that come and go");
    set_open(&s);
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned n = (unsigned)(next_random(&x) % STREAMS);

        if (is_in[n])
            live_remove(&s.live, &all[n].entry);
        else
            assert_int_equal(add(&s, &all[n], 10000 + n, NOW_MS), 0);
        is_in[n] = !is_in[n];
        count += is_in[n] ? 1u : (uint64_t)-1;
        assert_int_equal(tally_grant_streams(s.tally, &grant), count);
        if (i % 97 == 0)
            live_want_sweep(&s.live);
        if (i % 13 == 0)
            (void)live_sweep(&s.live, s.view, &s.freshness, NOW_MS, 2000);
    }
    assert_int_equal(s.live.cuts, 0);
    assert_true(sweep_all(&s, NOW_MS, 2000) <= count / LIVE_SLICE + 2);

    check_row("cuts every one of thousands, each once");
    s.policy = no_grant(s.policy);
    set_view(&s);
    sweep_all(&s, NOW_MS, 2000);
    assert_int_equal(s.live.cuts, count);
    for (unsigned n = 0; n < STREAMS; n++)
        assert_int_equal(all[n].cuts, is_in[n]);
    assert_true(list_is_empty(&s.live.entries));
    set_close(&s);
    free(all);
    free(is_in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep), cmocka_unit_test(test_time), cmocka_unit_test(test_stale),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
