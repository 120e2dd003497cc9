#include "dataplane/route/window.h"
#include "lib/base/attr.h"
#include "lib/check/check.h"

static void test_window(void **state)
{
    static const struct {
        const char *it;
        size_t agents;
        uint32_t per_s;
        int64_t want;
    } rows[] = {
        { "is none without agents", 0, 1000, 0 },
        { "is none for an agent alone", 1, 1, 0 },
        { "is what admitting the others takes", 10001, 1000, 10000 },
        { "is shorter where more are admitted", 10001, 5000, 2000 },
        { "has a bound", SIZE_MAX / 1000, 1, WINDOW_MAX_MS },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(window_ms(rows[i].agents, rows[i].per_s), rows[i].want);
    }
}

static void test_news(void **state)
{
    static const struct {
        const char *it;
        int64_t told, now;
        bool want;
    } rows[] = {
        { "is no news as it was", 5000, 5000, false },
        { "is no news below a second", 0, 999, false },
        { "is news from a second on", 0, 1000, true },
        { "is no news before it has doubled", 1000, 2999, false },
        { "is news when it has doubled", 1000, 3000, true },
        { "is no news at half of it", 10000, 5000, false },
        { "is news at a quarter of it", 9000, 2000, true },
        { "is no news when little is left of little", 900, 0, false },
    };
    unsigned told = 0;
    int64_t last = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(window_is_news(rows[i].told, rows[i].now), rows[i].want);
    }

    check_row("is told to the first of 100,000 agents a few times, while they come");
    for (size_t agents = 1; agents <= 100000; agents++) {
        if (!window_is_news(last, window_ms(agents, 1000)))
            continue;
        last = window_ms(agents, 1000);
        told++;
    }
    assert_in_range(told, 4, 8);
    assert_true(last >= window_ms(100000, 1000) / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_window), cmocka_unit_test(test_news) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
