#include "agent/uplink/retry.h"
#include "lib/base/attr.h"
#include "lib/check/check.h"

static void test_ceiling(void **state)
{
    static const struct {
        const char *it;
        uint32_t failures;
        uint64_t window_ms;
        bool has_streams;
        uint64_t want;
    } rows[] = {
        { "dials an only agent's relay at once", 0, 0, false, 0 },
        { "spreads the first try over the window", 0, 10000, false, 10000 },
        { "begins small without a window", 1, 0, false, RETRY_FIRST_MS },
        { "doubles", 3, 0, false, 4 * RETRY_FIRST_MS },
        { "has a bound", 30, 0, false, RETRY_FEW_MAX_MS },
        { "has a wider one where there are many", 30, RETRY_MANY_MS, false, RETRY_MAX_MS },
        { "bears any count", UINT32_MAX, 0, false, RETRY_FEW_MAX_MS },
        { "does not hurry after a try within the window that failed", 1, 10000, false, 10000 },
        { "doubles from the window on", 2, 10000, false, 20000 },
        { "never goes below a window that is longer than the bound", 5, 100000, false, 100000 },
        { "hurries while streams wait", 0, 10000, true, RETRY_LIVING_MAX_MS },
        { "hurries while streams wait, after failures too", 9, 10000, true, RETRY_LIVING_MAX_MS },
        { "does not wait longer for having streams", 1, 0, true, RETRY_FIRST_MS },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(retry_ceiling_ms(rows[i].failures, rows[i].window_ms, rows[i].has_streams), rows[i].want);
    }
}

static void test_wait(void **state)
{
    static const struct {
        const char *it;
        uint64_t ceiling_ms, after_ms;
        bool has_streams;
        uint64_t least, most;
    } rows[] = {
        { "is drawn from 0 up to the ceiling", 10000, 0, false, 0, 10000 },
        { "may be none", 0, 0, false, 0, 0 },
        { "is not shorter than what was asked for, and spread over as much again", 100, 5000, false, 5000, 10000 },
        { "keeps the wider spread of many failures", 30000, 5000, false, 5000, 35000 },
        { "bears any wish", 100, UINT32_MAX, false, RETRY_AFTER_MAX_MS, 2 * RETRY_AFTER_MAX_MS },
        { "does not leave streams alone for long", 100, 30000, true, RETRY_LIVING_MAX_MS, 2 * RETRY_LIVING_MAX_MS },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t spread = rows[i].most - rows[i].least;

        check_row(rows[i].it);
        assert_int_equal(retry_wait_ms(rows[i].ceiling_ms, rows[i].after_ms, rows[i].has_streams, 0), rows[i].least);
        assert_int_equal(retry_wait_ms(rows[i].ceiling_ms, rows[i].after_ms, rows[i].has_streams, spread), rows[i].most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_ceiling), cmocka_unit_test(test_wait) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
