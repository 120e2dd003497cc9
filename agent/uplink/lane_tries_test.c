#include "agent/uplink/lane_tries.h"
#include "lib/base/attr.h"
#include "lib/check/check.h"

#define SECONDS 600

/* A relay, or what is between, that lets each link live so long; what is lost is dialled again at
 * once, and looked for every 10 ms. */
static unsigned dials(bool comes_up, uint64_t lives_ms)
{
    struct lane_tries t = { 0 };
    uint64_t lost_ms = 0;
    unsigned n = 0;

    for (uint64_t now_ms = 1; now_ms < SECONDS * 1000; now_ms += 10) {
        if (now_ms < lost_ms)
            continue;
        if (lost_ms && comes_up)
            lane_tries_lost(&t, lives_ms);
        lost_ms = 0;
        if (!lane_tries_take(&t, now_ms, now_ms * 0x9e3779b97f4a7c15u))
            continue;
        n++;
        lost_ms = now_ms + lives_ms;
        if (comes_up)
            lane_tries_up(&t, now_ms);
    }
    return n;
}

static void test_rows(void **state)
{
    static const struct { const char *it; bool comes_up; uint64_t lives_ms; unsigned least, most; } rows[] = {
        { "looks on for a worker without a link, with rests", false, 10, 4 * LANE_TRIES, 40 * LANE_TRIES },
        { "rests where links come up and are cut at once", true, 10, 4 * LANE_TRIES, 40 * LANE_TRIES },
        { "rests where they are cut soon", true, LANE_STEADY_MS / 2, 4 * LANE_TRIES, 40 * LANE_TRIES },
        { "does not rest after one that stood", true, 2 * LANE_STEADY_MS, SECONDS / 2 - 10, SECONDS / 2 + 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned n = dials(rows[i].comes_up, rows[i].lives_ms);

        check_row(rows[i].it);
        assert_in_range(n, rows[i].least, rows[i].most);
    }
}

static void test_relay_asks(void **state)
{
    struct lane_tries t = { 0 };

    (void)state;
    assert_true(lane_tries_take(&t, 1, 7));
    lane_tries_fail(&t, 1, 5000, 7);
    assert_false(lane_tries_take(&t, 5000, 7));
    assert_true(lane_tries_take(&t, 10001, 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_relay_asks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
