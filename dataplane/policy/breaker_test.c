#include "dataplane/policy/breaker.h"
#include "lib/policy/base_fixture.h"

enum { FAILURES = 3, COOL_MS = 1000, MOST_MS = 3000 };

static struct breakers *make_breakers(size_t max)
{
    const struct breakers_config config = {
        .failures = FAILURES, .cool_down_ms = COOL_MS, .cool_down_max_ms = MOST_MS, .breakers_max = max,
    };
    struct breakers *b;

    assert_int_equal(breakers_new(&config, &b), 0);
    return b;
}

static enum breaker_pass enter(struct breakers *b, const char *host, uint64_t now_ms)
{
    const struct ulid group = uid(G1);
    const struct target target = to(host, 80);
    uint64_t left_ms = 0, asked_ms = 0;
    bool is_open = breakers_is_open(b, &group, &target, now_ms, &asked_ms);
    enum breaker_pass pass = breakers_enter(b, &group, &target, now_ms, &left_ms);

    assert_int_equal(is_open, pass == BREAKER_REFUSES);
    assert_int_equal(left_ms, asked_ms);
    assert_int_equal(left_ms > 0, is_open);
    return pass;
}

static bool leave(struct breakers *b, const char *host, bool tried, enum breaker_outcome outcome, uint64_t now_ms)
{
    const struct ulid group = uid(G1);
    const struct target target = to(host, 80);

    return breakers_leave(b, &group, &target, &(struct breaker_end){
        .tried = tried, .outcome = outcome, .why = REASON_DIAL_REFUSED, .now_ms = now_ms,
        .random = COOL_MS / 4, .wall_ms = NOW_MS, .id = uid(7),     /* in the middle of the spread, at first */
    });
}

/* One target's life; each row sees what those before it left. */
static void test_life(void **state)
{
    enum { E = 100, GOOD, BAD, LOST };      /* enters; what became of a stream; of the try */
    static const struct { const char *it; uint64_t at_ms; int what; bool tried; int want; } rows[] = {
        { "lets all in", 0, E, 0, BREAKER_CLOSED },
        { "bears a failure", 0, BAD, 0, 0 },
        { "and another", 1, BAD, 0, 0 },
        { "forgets them when one is good", 2, GOOD, 0, 0 },
        { "bears as many again", 3, BAD, 0, 0 },
        { "bears them", 4, BAD, 0, 0 },
        { "counts no one who left", 5, LOST, 0, 0 },
        { "lets in until then", 6, E, 0, BREAKER_CLOSED },
        { "opens at the last", 10, BAD, 0, 1 },
        { "refuses at once", 10, E, 0, BREAKER_REFUSES },
        { "hears no late failure of before", 11, BAD, 0, 0 },
        { "refuses to the end of the pause", 1009, E, 0, BREAKER_REFUSES },
        { "lets one try", 1010, E, 0, BREAKER_TRIES },
        { "and no other meanwhile", 1011, E, 0, BREAKER_REFUSES },
        { "goes back when the try ends without an outcome", 1500, LOST, 1, 0 },
        { "lets the next one try at once", 1500, E, 0, BREAKER_TRIES },
        { "opens again when it fails", 1600, BAD, 1, 1 },
        { "for longer", 1600 + 1500, E, 0, BREAKER_REFUSES },
        { "but not for ever", 1600 + 2600, E, 0, BREAKER_TRIES },
        { "gives a try that is not heard of up", 4200 + BREAKER_TRY_MS - 1, E, 0, BREAKER_REFUSES },
        { "and lets another", 4200 + BREAKER_TRY_MS, E, 0, BREAKER_TRIES },
        { "closes when it is good", 130000, GOOD, 1, 0 },
        { "lets all in again", 130000, E, 0, BREAKER_CLOSED },
        { "counts from nothing", 130001, BAD, 0, 0 },
    };
    struct breakers *b = make_breakers(10);
    struct breakers_stats stats;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        if (rows[i].what == E)
            assert_int_equal(enter(b, "db.x", rows[i].at_ms), rows[i].want);
        else
            assert_int_equal(leave(b, "db.x", rows[i].tried,
                                   rows[i].what == GOOD ? BREAKER_GOOD : rows[i].what == BAD ? BREAKER_BAD : BREAKER_UNKNOWN,
                                   rows[i].at_ms), rows[i].want);
        check_row("touches no other target");
        assert_int_equal(enter(b, "other.x", rows[i].at_ms), BREAKER_CLOSED);
    }
    breakers_get_stats(b, &stats);
    assert_true(stats.opened == 2 && stats.open == 0 && stats.count == 1);
    breakers_free(b);
}

static void test_spread(void **state)
{
    struct breakers *b;
    uint64_t most = 0;

    (void)state;
    check_row("pauses longer each time, to the longest, and a quarter more or less");
    for (unsigned round = 0; round < 2; round++) {
        uint64_t now_ms = 0;

        b = make_breakers(10);
        for (unsigned i = 0; i < 8; i++) {
            const struct ulid group = uid(G1);
            const struct target target = to("db.x", 80);
            uint64_t left_ms = 0, want = COOL_MS << (i < 2 ? i : 2) > MOST_MS ? MOST_MS : COOL_MS << (i < 2 ? i : 2);
            struct breaker_end end = { .tried = i > 0, .outcome = BREAKER_BAD, .why = REASON_DIAL_TIMEOUT,
                                       .now_ms = now_ms, .random = round ? UINT64_MAX : 0, .id = uid(7) };

            for (unsigned k = 0; k < (i ? 1 : FAILURES); k++)
                breakers_leave(b, &group, &target, &end);
            assert_true(breakers_is_open(b, &group, &target, now_ms, &left_ms));
            assert_in_range(left_ms, want * 3 / 4, want * 5 / 4);
            most = left_ms > most ? left_ms : most;
            now_ms += left_ms;
            assert_int_equal(breakers_enter(b, &group, &target, now_ms, &left_ms), BREAKER_TRIES);
        }
        breakers_free(b);
    }
    assert_true(most <= MOST_MS * 5 / 4);
}

static size_t seen;
static struct breaker_row last;

static void see(void *ctx, const struct breaker_row *row)
{
    (void)ctx;
    last = *row;
    seen++;
}

static void test_bound_and_reset(void **state)
{
    struct breakers *b = make_breakers(2);
    struct breakers_stats stats;
    AUTO(policy_unrefp) struct policy *p = policy_new();
    struct cut_record *cut = MAKE(CUT, cut_record, X1);
    const struct ulid id = uid(7);

    (void)state;
    check_row("forgets the one used least lately beyond its bound");
    for (unsigned i = 0; i < FAILURES; i++)
        leave(b, "a.x", false, BREAKER_BAD, 0);
    leave(b, "b.x", false, BREAKER_BAD, 0);
    assert_int_equal(enter(b, "a.x", 1), BREAKER_REFUSES);
    leave(b, "c.x", false, BREAKER_BAD, 0);
    breakers_get_stats(b, &stats);
    assert_true(stats.count == 2 && stats.evicted == 1 && stats.open == 1);
    assert_int_equal(enter(b, "a.x", 1), BREAKER_REFUSES);

    check_row("tells those that are open, and no more than were asked for");
    seen = 0;
    assert_int_equal(breakers_each(b, 10, 5, see, NULL), 1);
    assert_int_equal(seen, 1);
    assert_true(last.port == 80 && last.failures == FAILURES && last.opened_ms == NOW_MS && !last.is_trying);
    assert_int_equal(breakers_each(b, 10, 0, see, NULL), 1);
    assert_int_equal(seen, 1);

    check_row("is closed when the state says so");
    cut->cut_kind = CUT_BREAKER;
    cut->before_ms = 1;
    snprintf(cut->target, sizeof(cut->target), "%s", id.text);
    p = with(p, cut);
    breakers_sync(b, p);
    assert_int_equal(enter(b, "a.x", 1), BREAKER_CLOSED);
    breakers_get_stats(b, &stats);
    assert_true(stats.open == 0 && stats.reset == 1);
    breakers_free(b);
}

static void test_outcomes(void **state)
{
    static const struct { enum reason why; enum breaker_outcome want; } rows[] = {
        { REASON_DIAL_REFUSED, BREAKER_BAD },      { REASON_DIAL_TIMEOUT, BREAKER_BAD },
        { REASON_DIAL_UNREACHABLE, BREAKER_BAD },  { REASON_RESOLVE_FAILED, BREAKER_BAD },
        { REASON_CLIENT_GONE, BREAKER_UNKNOWN },   { REASON_TARGET_FORBIDDEN, BREAKER_UNKNOWN },
        { REASON_OVERLOAD, BREAKER_UNKNOWN },      { REASON_AGENT_DRAINING, BREAKER_UNKNOWN },
        { REASON_ACL_DENIED, BREAKER_UNKNOWN },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(reason_text(rows[i].why));
        assert_int_equal(breaker_outcome_of(rows[i].why), rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life), cmocka_unit_test(test_spread), cmocka_unit_test(test_bound_and_reset),
        cmocka_unit_test(test_outcomes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
