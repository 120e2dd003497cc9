#include "dataplane/route/passwords.h"
#include "lib/check/check.h"
#include <stdio.h>

#define NOW 1000000

static const struct ulid ann = { "01M7YGJRM8EG8KGM60XFT018PY" }, ben = { "01M7YGJRM8EG8KGM60XFT018PZ" };

static void test_memory(void **state)
{
    AUTO(passwords_freep) struct passwords *p = NULL, *other = NULL;

    (void)state;
    assert_int_equal(passwords_new(&p), 0);
    assert_int_equal(passwords_new(&other), 0);
    assert_false(passwords_know(p, &ann, SPAN("7"), SPAN("horse"), NOW));
    passwords_learn(p, &ann, SPAN("7"), SPAN("horse"), NOW);
    check_row("knows what it was told");
    assert_true(passwords_know(p, &ann, SPAN("7"), SPAN("horse"), NOW));
    check_row("of that user, that password and that setting alone");
    assert_false(passwords_know(p, &ben, SPAN("7"), SPAN("horse"), NOW));
    assert_false(passwords_know(p, &ann, SPAN("8"), SPAN("horse"), NOW));
    assert_false(passwords_know(p, &ann, SPAN("7"), SPAN("horsE"), NOW));
    assert_false(passwords_know(p, &ann, SPAN("7/horse"), SPAN(""), NOW));
    check_row("for its time");
    assert_true(passwords_know(p, &ann, SPAN("7"), SPAN("horse"), NOW + PASSWORDS_KEPT_MS - 1));
    assert_false(passwords_know(p, &ann, SPAN("7"), SPAN("horse"), NOW + PASSWORDS_KEPT_MS));
    check_row("under a key of its own");
    passwords_learn(other, &ann, SPAN("7"), SPAN("horse"), NOW);
    assert_memory_not_equal(p->rows, other->rows, sizeof(p->rows));
}

static void test_bound(void **state)
{
    AUTO(passwords_freep) struct passwords *p = NULL;
    size_t known = 0, most = (size_t)PASSWORDS_SETS * PASSWORDS_WAYS;
    char secret[32];

    (void)state;
    assert_int_equal(passwords_new(&p), 0);
    for (int i = 0; i < 5000; i++) {
        snprintf(secret, sizeof(secret), "secret %d", i);
        passwords_learn(p, &ann, SPAN("7"), span_str(secret), NOW + (uint64_t)i);
    }
    check_row("forgets the oldest, not the newest");
    assert_true(passwords_know(p, &ann, SPAN("7"), span_str(secret), NOW + 5000));
    for (int i = 0; i < 5000; i++) {
        snprintf(secret, sizeof(secret), "secret %d", i);
        known += passwords_know(p, &ann, SPAN("7"), span_str(secret), NOW + 5000);
    }
    assert_true(known <= most && known > most / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_memory), cmocka_unit_test(test_bound) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
