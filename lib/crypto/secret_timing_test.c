#include "lib/base/span.h"
#include "lib/check/check.h"

#include <string.h>
#include <time.h>

/*
 * How long a comparison of secrets takes says nothing about where they differ: 100,000 samples of each
 * of two cases, taken in turns, of texts so long that an early end would show.  The same is measured
 * of a comparison that does end early, so that a measurement that sees nothing is seen itself.
 */
#define SAMPLES 100000
#define LEN 4096
#define LEAST 0.8               /* of the two medians, the smaller of the greater */

typedef bool (*compare_fn)(struct span a, struct span b);

static bool early(struct span a, struct span b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static uint32_t ns_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static double median(uint32_t *samples)
{
    qsort(samples, SAMPLES, sizeof(*samples), by_size);
    return samples[SAMPLES / 2];
}

/* The time where the first byte differs, as a part of that where the last does. */
static double ratio_of(compare_fn compare)
{
    static uint32_t took[2][SAMPLES];
    static char texts[3][LEN];
    static volatile bool is_same;

    memset(texts, 'a', sizeof(texts));
    texts[1][0] = 'b';
    texts[2][LEN - 1] = 'b';
    for (size_t i = 0; i < SAMPLES; i++) {
        for (size_t which = 0; which < 2; which++) {
            uint32_t since = ns_now();

            is_same = compare(span_of(texts[0], LEN), span_of(texts[1 + which], LEN));
            took[which][i] = ns_now() - since;
            assert_false(is_same);
        }
    }
    return median(took[0]) / median(took[1]);
}

static void test_timing(void **state)
{
    double secret, other;

    (void)state;
    secret = ratio_of(span_eq_secret);
    other = ratio_of(early);
    check_row("sees a comparison that ends early");
    assert_true(other < LEAST);
    check_row("sees no difference where secrets are compared");
    assert_true(secret > LEAST && secret < 1 / LEAST);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_timing) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
