#include "controlplane/store/store_fixture.h"

#define HOUR 3600000LL

static void count(struct store_tx *tx, int64_t at_ms, const char *key, int64_t opened)
{
    struct store_counted item = { span_str(key), { .opened = opened, .last_ms = at_ms } };

    assert_int_equal(store_statistics_add(tx, STORE_BY_DESTINATION, at_ms, &item, 1), 0);
}

#define BATCH 500

/* As many names of one stream each, and a part of the heavy one's. */
static void count_batch(struct store_tx *tx, int64_t from, int64_t heavy)
{
    static char keys[BATCH][32];
    struct store_counted items[BATCH + 1];

    for (int64_t i = 0; i < BATCH; i++) {
        snprintf(keys[i], sizeof(keys[i]), "light%lld", (long long)(from + i));
        items[i] = (struct store_counted){ span_str(keys[i]), { .opened = 1, .last_ms = HOUR } };
    }
    items[BATCH] = (struct store_counted){ SPAN("heavy"), { .opened = heavy, .last_ms = HOUR } };
    assert_int_equal(store_statistics_add(tx, STORE_BY_DESTINATION, HOUR, items, ARRAY_LEN(items)), 0);
}

struct seen {
    int64_t keys, opened, others, heavy, heavy_error;
};

static int on_sum(void *ctx, struct span key, const struct store_counts *counts)
{
    struct seen *seen = ctx;

    seen->opened += counts->opened;
    if (!key.n)
        seen->others = counts->opened;
    else
        seen->keys++;
    if (span_eq(key, SPAN("heavy"))) {
        seen->heavy = counts->opened;
        seen->heavy_error = counts->error;
    }
    return 0;
}

static struct seen sums(struct store_tx *tx, unsigned width_s, int64_t from_s, int64_t to_s)
{
    struct seen seen = { 0 };

    assert_int_equal(store_statistics_sums(tx, width_s, STORE_BY_DESTINATION, from_s, to_s, on_sum, &seen), 0);
    return seen;
}

/* Ten thousand names of one stream each, and one that has more than its share. */
static void test_keeps_who_is_heavy(void **state)
{
    struct store_tx *tx = begin(*state, STORE_WRITE);
    const int64_t heavy = 400, light = 10000;
    struct seen hour, minute;

    for (int64_t i = 0; i < light; i += BATCH)
        count_batch(tx, i, heavy * BATCH / light);
    hour = sums(tx, STORE_HOUR_S, 3600, 7200);
    minute = sums(tx, STORE_MINUTE_S, 3600, 7200);
    assert_int_equal(hour.keys, STORE_HOUR_KEYS);
    assert_int_equal(minute.keys, STORE_MINUTE_KEYS);
    assert_int_equal(hour.opened, light + heavy);       /* nothing is lost: the others have it */
    assert_int_equal(minute.opened, light + heavy);
    assert_true(hour.heavy <= heavy);                   /* never too high … */
    assert_true(hour.heavy + hour.heavy_error >= heavy);        /* … and by no more than that too low */
    assert_true(hour.heavy_error <= (light + heavy) / STORE_HOUR_KEYS);
    store_rollback(tx);
}

struct line {
    int64_t at_s[8], opened[8];
    size_t count;
};

static int on_point(void *ctx, int64_t at_s, const struct store_counts *counts)
{
    struct line *line = ctx;

    assert_true(line->count < ARRAY_LEN(line->at_s));
    line->at_s[line->count] = at_s;
    line->opened[line->count++] = counts->opened;
    return 0;
}

static void test_steps(void **state)
{
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct line line = { .count = 0 };

    count(tx, HOUR + 59999, "a", 1);
    count(tx, HOUR + 60000, "a", 2);
    count(tx, HOUR + 300000, "a", 4);
    count(tx, HOUR + 300000, "b", 8);
    assert_int_equal(store_statistics_points(tx, STORE_MINUTE_S, STORE_BY_DESTINATION, SPAN("a"), 3600, 7200, 300,
                                             on_point, &line), 0);
    assert_int_equal(line.count, 2);
    assert_int_equal(line.at_s[0], 3600);
    assert_int_equal(line.opened[0], 3);
    assert_int_equal(line.at_s[1], 3900);
    assert_int_equal(line.opened[1], 4);
    assert_int_equal(store_statistics_trim(tx, 3900), 0);
    assert_int_equal(sums(tx, STORE_MINUTE_S, 0, 7200).opened, 12);
    assert_int_equal(sums(tx, STORE_HOUR_S, 0, 7200).opened, 0);
    store_rollback(tx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_keeps_who_is_heavy),
        STORE_TEST(test_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
