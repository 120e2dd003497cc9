#include "agent/uplink/lane_rule.h"
#include "lib/base/attr.h"
#include "lib/check/check.h"

#define RATE 1000000
#define MS 500

static struct lane_load load_of(unsigned links, uint64_t per_s, uint32_t bulk)
{
    return (struct lane_load){ .links = links, .links_max = 4, .bytes = per_s * MS / 1000, .ms = MS, .bulk = bulk };
}

static void test_rows(void **state)
{
    static const struct {
        const char *it;
        unsigned links, links_max;
        uint64_t per_s;
        uint32_t bulk;
        unsigned measures;
        enum lane_wish want;        /* of the last measure */
    } rows[] = {
        { "keeps one link at rest", 1, 4, 0, 0, 100, LANE_KEEP },
        { "keeps one link for a single measure", 1, 4, RATE, 4, 1, LANE_KEEP },
        { "opens one for the second in a row", 1, 4, RATE, 4, 2, LANE_OPEN },
        { "keeps it where the rate is too low", 1, 4, RATE - 2, 16, 100, LANE_KEEP },
        { "keeps it where too few streams are bulk", 1, 4, 100 * RATE, 3, 100, LANE_KEEP },
        { "opens a third for more", 2, 4, 2 * RATE, 6, 2, LANE_OPEN },
        { "does not where each carries less", 2, 4, 2 * RATE - 2, 16, 100, LANE_KEEP },
        { "never goes beyond the most", 2, 2, 100 * RATE, 64, 100, LANE_KEEP },
        { "opens none where the relay has one worker", 1, 1, 100 * RATE, 64, 100, LANE_KEEP },
        { "keeps two at half of what opened them", 2, 4, RATE / 2, 4, 100, LANE_KEEP },
        { "keeps two for a while when all is over", 2, 4, 0, 0, 20, LANE_KEEP },
        { "closes one after the rest", 2, 4, 0, 0, 21, LANE_CLOSE },
        { "closes one at a time", 3, 4, 0, 0, 22, LANE_KEEP },
        { "closes the next after a rest of its own", 3, 4, 0, 0, 41, LANE_CLOSE },
        { "closes one that has no bulk stream", 2, 4, 100 * RATE, 1, 21, LANE_CLOSE },
        { "bears a measure of no time", 1, 4, 0, 4, 1, LANE_KEEP },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lane_rule r = { .rate = RATE, .rest_ms = 10000 };
        struct lane_load now = load_of(rows[i].links, rows[i].per_s, rows[i].bulk);
        enum lane_wish wish = LANE_KEEP;

        now.links_max = rows[i].links_max;
        check_row(rows[i].it);
        for (unsigned n = 0; n < rows[i].measures; n++)
            wish = lane_rule_judge(&r, &now, 1000 + n * MS);
        assert_int_equal(wish, rows[i].want);
    }
}

static void test_calm_begins_anew(void **state)
{
    struct lane_rule r = { .rate = RATE, .rest_ms = 1000 };
    struct lane_load rest = load_of(2, 0, 0), busy = load_of(2, 2 * RATE, 4);

    (void)state;
    check_row("counts the rest from the last load on");
    assert_int_equal(lane_rule_judge(&r, &rest, 1000), LANE_KEEP);
    assert_int_equal(lane_rule_judge(&r, &busy, 1900), LANE_KEEP);
    assert_int_equal(lane_rule_judge(&r, &rest, 2100), LANE_KEEP);
    assert_int_equal(lane_rule_judge(&r, &rest, 3000), LANE_KEEP);
    assert_int_equal(lane_rule_judge(&r, &rest, 3100), LANE_CLOSE);

    check_row("counts busy measures in a row only");
    rest = load_of(1, 0, 0);
    busy = load_of(1, RATE, 4);
    assert_int_equal(lane_rule_judge(&r, &busy, 4000), LANE_KEEP);
    assert_int_equal(lane_rule_judge(&r, &rest, 4500), LANE_KEEP);
    assert_int_equal(lane_rule_judge(&r, &busy, 5000), LANE_KEEP);
    assert_int_equal(lane_rule_judge(&r, &busy, 5500), LANE_OPEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_calm_begins_anew) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
