#include "lib/state/feature.h"
#include "lib/check/check.h"
#include "lib/state/record_codec.h"

#define U1 "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define QUOTA (1u << STATE_FEATURE_QUOTA)
#define CUT_BREAKER_BIT (1u << STATE_FEATURE_CUT_BREAKER)

static const struct { const char *it; enum record_kind kind; const char *json; uint32_t needs; } rows[] = {
    { "needs nothing for what was there from the first", RECORD_GROUP, "{\"name\":\"a\"}", 0 },
    { "needs to know quotas", RECORD_QUOTA, "{\"scope\":\"all\",\"streams\":1}", QUOTA },
    { "needs nothing for a stream that is cut", RECORD_CUT, "{\"kind\":\"stream\",\"target\":\"x\",\"before_ms\":1}", 0 },
    { "needs to know how breakers are reset", RECORD_CUT, "{\"kind\":\"breaker\",\"target\":\"x\",\"before_ms\":1}", CUT_BREAKER_BIT },
};

static struct record *make(size_t row)
{
    struct record *r = NULL;
    struct state_error e = { "" };

    if (record_decode(rows[row].kind, SPAN(U1), span_str(rows[row].json), &r, &e))
        fail_msg("%s", e.text);
    return r;
}

static void test_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(record_unrefp) struct record *r = make(i);

        check_row(rows[i].it);
        assert_int_equal(record_features(r), rows[i].needs);
        assert_int_equal(record_kind_features(r->kind) & rows[i].needs, rows[i].needs);
    }
}

static void test_policies(void **state)
{
    AUTO(policy_unrefp) struct policy *p = policy_new();

    (void)state;
    assert_non_null(p);
    assert_int_equal(policy_features(p), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(policy_unrefp) struct policy *before = TAKE(p);
        AUTO(record_unrefp) struct record *r = make(i);
        const struct policy_change change = { .kind = r->kind, .id = SPAN(U1), .put = r };

        check_row(rows[i].it);
        assert_int_equal(policy_apply(before, &change, 1, &p), 0);
        assert_int_equal(policy_features(p), i == 0 ? 0 : i < 3 ? QUOTA : QUOTA | CUT_BREAKER_BIT);
    }
}

static void test_names(void **state)
{
    (void)state;
    for (enum state_feature i = 0; i < STATE_FEATURE_COUNT; i++)
        assert_int_equal(state_feature_bit(span_str(state_feature_name(i))), 1u << i);
    assert_int_equal(state_feature_bit(SPAN("teleport")), 0);
    assert_int_equal(state_feature_bit(SPAN("")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records), cmocka_unit_test(test_policies), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
