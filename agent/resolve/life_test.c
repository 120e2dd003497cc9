#include "agent/resolve/life.h"
#include "lib/check/check.h"
#include "lib/base/attr.h"

#define T0 UINT64_C(1000000)    /* of the clock of the tests */

static const struct life_config config = { .fresh_max_s = 30, .stale_max_s = 600, .negative_s = 5 };

static void test_stages(void **state)
{
    static const struct {
        const char *it;
        uint32_t ttl_s;
        uint64_t after_ms;
        enum life_stage want;
    } rows[] = {
        { "is fresh at once", 20, 0, LIFE_FRESH },
        { "is fresh for three quarters of its TTL", 20, 14999, LIFE_FRESH },
        { "is asked for ahead of its end then", 20, 15000, LIFE_AHEAD },
        { "counts to the last millisecond of its TTL", 20, 19999, LIFE_AHEAD },
        { "is stale then", 20, 20000, LIFE_STALE },
        { "is stale for its time", 20, 619999, LIFE_STALE },
        { "is nothing after it", 20, 620000, LIFE_NONE },
        { "is fresh no longer than the bound, whatever the TTL", 86400, 29999, LIFE_AHEAD },
        { "is stale at the bound", 86400, 30000, LIFE_STALE },
        { "is nothing long after, whatever the TTL", UINT32_MAX, 630000, LIFE_NONE },
        { "is not fresh at all with a TTL of 0", 0, 0, LIFE_STALE },
        { "is not asked for ahead when it lives for a second", 1, 999, LIFE_FRESH },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct life l = { .is_negative = true };

        check_row(rows[i].it);
        life_answered(&l, &config, rows[i].ttl_s, T0);
        assert_int_equal(life_stage(&l, T0 + rows[i].after_ms), rows[i].want);
        assert_true(life_may_ask(&l, T0));
    }
    check_row("is nothing before anything was asked");
    assert_int_equal(life_stage(&(struct life){ 0 }, T0), LIFE_NONE);
}

static void test_denied(void **state)
{
    struct life l = { 0 };

    (void)state;
    check_row("takes no for an answer, over one that was fresh");
    life_answered(&l, &config, 20, T0);
    life_denied(&l, &config, T0 + 1000);
    assert_int_equal(life_stage(&l, T0 + 1000), LIFE_NEGATIVE);
    assert_int_equal(life_stage(&l, T0 + 5999), LIFE_NEGATIVE);
    assert_int_equal(life_stage(&l, T0 + 6000), LIFE_NONE);
}

static void test_failed(void **state)
{
    struct life l = { 0 };

    (void)state;
    check_row("keeps a fresh answer when the server does not answer");
    life_answered(&l, &config, 20, T0);
    assert_true(life_failed(&l, &config, T0 + 16000));
    assert_int_equal(life_stage(&l, T0 + 16000), LIFE_AHEAD);
    assert_int_equal(life_stage(&l, T0 + 20000), LIFE_STALE);

    check_row("does not ask again at once");
    assert_false(life_may_ask(&l, T0 + 16000));
    assert_false(life_may_ask(&l, T0 + 20999));
    assert_true(life_may_ask(&l, T0 + 21000));

    check_row("lengthens nothing by failing");
    assert_true(life_failed(&l, &config, T0 + 619999));
    assert_int_equal(life_stage(&l, T0 + 620000), LIFE_NONE);

    check_row("remembers a failure when nothing is left");
    assert_false(life_failed(&l, &config, T0 + 620000));
    assert_int_equal(life_stage(&l, T0 + 624999), LIFE_NEGATIVE);
    assert_int_equal(life_stage(&l, T0 + 625000), LIFE_NONE);

    check_row("serves nothing stale where that is switched off");
    life_answered(&l, &(struct life_config){ .fresh_max_s = 30, .negative_s = 5 }, 20, T0);
    assert_int_equal(life_stage(&l, T0 + 20000), LIFE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages),
        cmocka_unit_test(test_denied),
        cmocka_unit_test(test_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
