#include "lib/policy/window.h"
#include "lib/check/check.h"

/* 2026-11-20 is a Friday; 2026-03-29 01:00 UTC the offset of Berlin goes from 1 h to 2 h,
 * 2026-10-25 01:00 UTC back. */
#define UTC(day_, hour_, minute_) (((int64_t)(day_) * 1440 + (hour_) * 60 + (minute_)) * 60000)
enum {
    FRIDAY = 20777, SATURDAY = 20778, SUNDAY = 20779, THURSDAY = 20776, MONDAY = 20780,
    SPRING_SUNDAY = 20541, AUTUMN_SUNDAY = 20751,
};
enum { MON = 1, TUE = 2, WED = 4, THU = 8, FRI = 16, SAT = 32, SUN = 64, WORK = 31 };

static struct zone_offset berlin[] = {
    { 1761440400, 3600 }, { 1774746000, 7200 }, { 1792890000, 3600 },
};
static struct zone_offset utc[] = { { 0, 0 } };

static void test_windows(void **state)
{
    static const struct {
        const char *it;
        struct grant_window window;
        struct zone_offset *offsets;
        size_t n;
        int64_t now_ms;
        bool want;
        int64_t again_ms;
    } rows[] = {
        { "holds within", { WORK, 480, 1080 }, utc, 1, UTC(FRIDAY, 9, 0), true, UTC(FRIDAY, 18, 0) },
        { "holds at its first minute", { WORK, 480, 1080 }, utc, 1, UTC(FRIDAY, 8, 0), true, UTC(FRIDAY, 18, 0) },
        { "ends at its last", { WORK, 480, 1080 }, utc, 1, UTC(FRIDAY, 18, 0), false, UTC(MONDAY, 8, 0) },
        { "waits for its begin", { WORK, 480, 1080 }, utc, 1, UTC(FRIDAY, 7, 59), false, UTC(FRIDAY, 8, 0) },
        { "is closed on other days", { WORK, 480, 1080 }, utc, 1, UTC(SATURDAY, 9, 0), false, UTC(MONDAY, 8, 0) },
        { "goes over midnight", { FRI, 1320, 120 }, utc, 1, UTC(FRIDAY, 23, 0), true, UTC(SATURDAY, 2, 0) },
        { "goes on after midnight", { FRI, 1320, 120 }, utc, 1, UTC(SATURDAY, 1, 59), true, UTC(SATURDAY, 2, 0) },
        { "ends after midnight", { FRI, 1320, 120 }, utc, 1, UTC(SATURDAY, 2, 0), false, UTC(FRIDAY + 7, 22, 0) },
        { "does not hold the night before its day", { FRI, 1320, 120 }, utc, 1, UTC(FRIDAY, 1, 0), false, UTC(FRIDAY, 22, 0) },
        { "is a whole day when both ends are one", { FRI, 600, 600 }, utc, 1, UTC(SATURDAY, 9, 59), true, UTC(SATURDAY, 10, 0) },
        { "reaches midnight", { FRI, 0, 1440 }, utc, 1, UTC(FRIDAY, 23, 59), true, UTC(SATURDAY, 0, 0) },
        { "is in the zone's time in winter", { FRI, 480, 1080 }, berlin, 3, UTC(FRIDAY, 7, 0), true, UTC(FRIDAY, 17, 0) },
        { "knows the zone's summer", { SUN, 480, 1080 }, berlin, 3, UTC(SPRING_SUNDAY, 6, 0), true, UTC(SPRING_SUNDAY, 16, 0) },
        { "asks again when the clocks change", { SUN, 480, 1080 }, berlin, 3, UTC(SPRING_SUNDAY, 0, 30), false, UTC(SPRING_SUNDAY, 1, 0) },
        { "knows the night before", { SUN, 480, 1080 }, berlin, 3, UTC(AUTUMN_SUNDAY, 0, 30), false, UTC(AUTUMN_SUNDAY, 1, 0) },
        { "has the first offset before all", { FRI, 480, 1080 }, berlin, 3, UTC(FRIDAY - 364 * 3, 7, 0), true, UTC(FRIDAY - 364 * 3, 17, 0) },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct grant_window window = rows[i].window;
        struct grant_record g = { .windows = &window, .window_count = 1, .offsets = rows[i].offsets,
                                  .offset_count = rows[i].n };
        int64_t again_ms;

        check_row(rows[i].it);
        assert_int_equal(window_holds(&g, rows[i].now_ms, &again_ms), rows[i].want);
        assert_int_equal(again_ms, rows[i].again_ms);
    }
}

/* Minute by minute over the two changes of the clocks: what was said to be next is never late. */
static void test_again_is_never_late(void **state)
{
    struct grant_window windows[] = { { WORK, 480, 1080 }, { SAT | SUN, 1380, 150 } };
    struct grant_record g = { .windows = windows, .window_count = 2, .offsets = berlin, .offset_count = 3 };
    static const int64_t days[] = { SPRING_SUNDAY, AUTUMN_SUNDAY };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(days); i++) {
        int64_t now_ms = UTC(days[i] - 3, 0, 0), again_ms;
        bool holds = window_holds(&g, now_ms, &again_ms);

        for (; now_ms < UTC(days[i] + 3, 0, 0); now_ms += 60000) {
            int64_t next_ms;
            bool now_holds = window_holds(&g, now_ms, &next_ms);

            assert_true(next_ms > now_ms);
            if (now_ms < again_ms)
                assert_int_equal(now_holds, holds);
            else
                again_ms = next_ms;
            holds = now_holds;
        }
    }
}

static void test_no_windows(void **state)
{
    struct grant_record g = { 0 };
    int64_t again_ms;

    (void)state;
    assert_true(window_holds(&g, 0, &again_ms));
    assert_int_equal(again_ms, WINDOW_NEVER);
}

/* Each day ends where the next one begins, also where clocks change. */
static void test_days(void **state)
{
    static const struct { const char *it; int64_t now_ms, begin_ms, hours; } rows[] = {
        { "has 23 hours in spring", UTC(SPRING_SUNDAY, 12, 0), UTC(SPRING_SUNDAY - 1, 23, 0), 23 },
        { "has 25 hours in autumn", UTC(AUTUMN_SUNDAY, 12, 0), UTC(AUTUMN_SUNDAY - 1, 22, 0), 25 },
        { "begins to the second", UTC(SPRING_SUNDAY, 22, 0), UTC(SPRING_SUNDAY, 22, 0), 24 },
        { "lasts to the millisecond", UTC(SPRING_SUNDAY, 22, 0) - 1, UTC(SPRING_SUNDAY - 1, 23, 0), 23 },
    };
    struct window_day day = window_day(NULL, 0, UTC(3, 5, 0));

    (void)state;
    check_row("is UTC's without offsets");
    assert_true(day.begin_ms == UTC(3, 0, 0) && day.end_ms == UTC(4, 0, 0));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        day = window_day(berlin, 3, rows[i].now_ms);
        assert_int_equal(day.begin_ms, rows[i].begin_ms);
        assert_int_equal(day.end_ms - day.begin_ms, rows[i].hours * 3600000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_again_is_never_late),
        cmocka_unit_test(test_no_windows),
        cmocka_unit_test(test_days),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
