#include "dataplane/route/flaps.h"
#include "lib/check/check.h"
#include <stdio.h>

#define LINKS 10
#define FAULTS 20
#define BACK_MS 10000

static struct flaps *make(uint32_t links, uint32_t faults, size_t known_max)
{
    const struct flaps_config config = { .links = links, .faults = faults, .back_ms = BACK_MS, .known_max = known_max };
    struct flaps *f = NULL;

    assert_int_equal(flaps_new(&config, &f), 0);
    return f;
}

static struct ulid agent(unsigned n)
{
    struct ulid id;

    snprintf(id.text, sizeof(id.text), "01ARZ3NDEKTSV4RRFFQ6%06u", n);
    return id;
}

/* How many of `n` links in a row, one each step_ms, are let in. */
static unsigned let_in(struct flaps *f, unsigned who, unsigned n, bool has_streams, uint64_t *now_ms, uint64_t step_ms)
{
    struct ulid id = agent(who);
    unsigned in = 0;
    bool is_news;

    for (unsigned i = 0; i < n; i++, *now_ms += step_ms)
        in += flaps_agent(f, &id, has_streams, *now_ms, &is_news) == 0;
    return in;
}

static void test_agents(void **state)
{
    static const struct {
        const char *it;
        uint32_t links;
        unsigned n;
        bool has_streams;
        uint64_t step_ms;
        unsigned want;
    } rows[] = {
        { "lets in as many as may come at once", LINKS, LINKS, false, 0, LINKS },
        { "and not one more", LINKS, LINKS + 1, false, 0, LINKS },
        { "never slows one that comes no faster than they come back", LINKS, 1000, false, BACK_MS / LINKS, 1000 },
        { "slows one that comes twice as fast to that rate", LINKS, 1000, false, BACK_MS / LINKS / 2, 509 },
        { "lets in eight times as many with living streams", LINKS, 10 * LINKS, true, 0, 8 * LINKS },
        { "has no limit where none is set", 0, 1000, false, 0, 1000 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct flaps *f = make(rows[i].links, FAULTS, 100);
        uint64_t now_ms = 1000;

        check_row(rows[i].it);
        assert_in_range(let_in(f, 1, rows[i].n, rows[i].has_streams, &now_ms, rows[i].step_ms),
                        rows[i].want - 1, rows[i].want + 1);
        if (rows[i].step_ms == 0)
            assert_int_equal(let_in(f, 2, 1, false, &now_ms, 0), 1);        /* another is not slowed */
        flaps_free(f);
    }
}

/* A part of a link comes back in 125 ms: whoever knocks between the parts loses none of them. */
static void test_knocking_costs_nothing(void **state)
{
    struct flaps *f = make(LINKS, FAULTS, 100);
    uint64_t now_ms = 1000;

    (void)state;
    assert_int_equal(let_in(f, 1, LINKS, false, &now_ms, 0), LINKS);
    check_row("a link comes back in the same time, however often the agent knocks meanwhile");
    assert_int_equal(let_in(f, 1, 5, false, &now_ms, 249), 0);
    assert_int_equal(let_in(f, 1, 1, false, &now_ms, 0), 1);
    flaps_free(f);
}

static void test_told(void **state)
{
    struct flaps *f = make(LINKS, FAULTS, 100);
    struct ulid id = agent(1);
    uint64_t now_ms = 1000;
    bool is_news;

    (void)state;
    assert_int_equal(let_in(f, 1, LINKS, false, &now_ms, 0), LINKS);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(flaps_agent(f, &id, false, now_ms, &is_news), BACK_MS / LINKS);
        assert_int_equal(is_news, i == 0);
    }
    now_ms += BACK_MS / LINKS;
    assert_int_equal(flaps_agent(f, &id, false, now_ms, &is_news), 0);
    assert_true(flaps_agent(f, &id, false, now_ms, &is_news) > 0 && !is_news);
    now_ms += BACK_MS;                  /* it was calm */
    assert_int_equal(let_in(f, 1, LINKS, false, &now_ms, 0), LINKS);
    assert_true(flaps_agent(f, &id, false, now_ms, &is_news) > 0 && is_news);
    flaps_free(f);
}

static void test_sources(void **state)
{
    const struct addr bad = addr_v4(192, 0, 2, 1), good = addr_v4(192, 0, 2, 2);
    struct flaps *f = make(LINKS, FAULTS, 100);
    struct flaps_stats stats;
    uint64_t now_ms = 1000;
    bool is_news;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(flaps_source(f, &good, now_ms, &is_news), 0);
    flaps_get_stats(f, &stats);
    assert_int_equal(stats.known, 0);
    for (unsigned i = 0; i < FAULTS; i++) {
        assert_int_equal(flaps_source(f, &bad, now_ms, &is_news), 0);
        flaps_charge(f, &bad, now_ms);
    }
    assert_true(flaps_source(f, &bad, now_ms, &is_news) >= BACK_MS / FAULTS && is_news);
    assert_true(flaps_source(f, &bad, now_ms, &is_news) && !is_news);
    assert_int_equal(flaps_source(f, &good, now_ms, &is_news), 0);
    assert_int_equal(flaps_source(f, &bad, now_ms + BACK_MS / FAULTS, &is_news), 0);
    flaps_free(f);
}

static void test_the_table_is_bounded(void **state)
{
    struct flaps *f = make(1, FAULTS, 8);
    struct flaps_stats stats;
    uint64_t now_ms = 1000;

    (void)state;
    for (unsigned who = 0; who < 100; who++) {
        assert_int_equal(let_in(f, 7, 1, false, &now_ms, 0), who == 0);     /* kept: it comes all the time */
        assert_int_equal(let_in(f, 1000 + who, 1, false, &now_ms, 0), 1);
    }
    flaps_get_stats(f, &stats);
    assert_int_equal(stats.known, 8);
    assert_int_equal(stats.forgotten, 101 - 8);
    flaps_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agents),
        cmocka_unit_test(test_knocking_costs_nothing),
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_the_table_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
