#include "controlplane/routes/verified.h"
#include "lib/check/check.h"

#include <stdio.h>

#define NOW 1000000

static const struct span chain[] = { SPAN_INIT("leaf"), SPAN_INIT("issuer") };
static const struct span other[] = { SPAN_INIT("leaf"), SPAN_INIT("another") };

static bool knows(struct verified *v, const struct span parts[2], int64_t now_s)
{
    struct identity found = { .generation = 0 };

    return verified_find(v, parts, 2, now_s, &found) && found.generation == 7;
}

static void test_verified(void **state)
{
    struct verified v = VERIFIED_INIT;
    struct identity identity = { .generation = 7 };

    (void)state;
    check_row("knows nothing at first");
    assert_false(knows(&v, chain, NOW));
    check_row("knows what was added, the whole chain only");
    verified_add(&v, chain, 2, NOW, &identity);
    assert_true(knows(&v, chain, NOW));
    assert_false(knows(&v, other, NOW));
    assert_false(verified_find(&v, chain, 1, NOW, &identity));
    check_row("forgets it in time, and when the clock goes back");
    assert_true(knows(&v, chain, NOW + VERIFIED_S - 1));
    assert_false(knows(&v, chain, NOW + VERIFIED_S));
    assert_false(knows(&v, chain, NOW - 1));
    check_row("knows it again when it is added again");
    verified_add(&v, chain, 2, NOW + VERIFIED_S, &identity);
    assert_true(knows(&v, chain, NOW + VERIFIED_S));
    assert_int_equal(v.next, 1);
}

static void test_bound(void **state)
{
    struct verified v = VERIFIED_INIT;
    struct identity identity = { .generation = 7 };
    char text[16];

    (void)state;
    check_row("forgets the oldest beyond so many");
    verified_add(&v, chain, 2, NOW, &identity);
    for (int i = 0; i < VERIFIED_MAX; i++) {
        struct span parts[2] = { chain[0], span_of(text, (size_t)snprintf(text, sizeof(text), "%d", i)) };

        assert_true(knows(&v, chain, NOW));
        verified_add(&v, parts, 2, NOW, &identity);
        assert_true(knows(&v, parts, NOW));
    }
    assert_false(knows(&v, chain, NOW));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_verified), cmocka_unit_test(test_bound) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
