#include "lib/policy/base_fixture.h"
#include "lib/check/alloc.h"

/* Changes as a whole: versions, order, and every way out for want of memory. */

static struct policy *base;

static int set_up(void **state)
{
    (void)state;
    base = base_world();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    policy_unref(base);
    return 0;
}

struct changes {
    struct policy_change items[6];
};

static int apply(void *data)
{
    struct changes *c = data;
    struct policy *next = NULL;
    int r = policy_apply(base, c->items, ARRAY_LEN(c->items), &next);

    policy_unref(next);
    return r;
}

static void test_want_of_memory(void **state)
{
    struct profile_record *plain = make_profile(P_RESOLVED, "172.16.0.0/12", 9000, G1);
    const struct ulid gone = uid(GR + 1), a2 = uid(A2);
    struct changes c = { {
        { .put = &make_user(ANN, "anna", OPS)->record },
        { .put = &plain->record },
        { .put = &make_grant(GR + 9, SUBJECT_GROUP, OPS, P_EXACT, 0)->record },
        { .put = &make_lock(L1, LOCK_AGENT, A1)->record },
        { .kind = RECORD_GRANT, .id = ulid_span(&gone) },
        { .kind = RECORD_AGENT, .id = ulid_span(&a2) },
    } };
    struct policy_question q = { .user = uid(ANN), .source = addr_v4(192, 0, 2, 1),
                                 .target = to("web.x", 80), .now_ms = NOW_MS };
    struct policy_decision d;

    (void)state;
    check_row("changes nothing for want of memory, and leaks nothing");
    check_each_alloc(apply, &c);
    assert_int_equal(policy_decide(base, &q, &d), REASON_NONE);
    for (size_t i = 0; i < ARRAY_LEN(c.items); i++)
        record_unref(c.items[i].put);
}

/* Each order of a profile with match_resolved, without, and its grant. */
static void test_order(void **state)
{
    static const unsigned orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        struct policy *p = policy_ref(base);
        struct policy_question q = { .user = uid(ANN), .source = addr_v4(192, 0, 2, 1),
                                     .target = to("any.where", 7), .now_ms = NOW_MS };
        struct policy_decision d;
        /* Of the two profiles (0 with match_resolved, 2 without) the later one counts. */
        bool is_last = orders[i][2] == 0 || (orders[i][2] == 1 && orders[i][1] == 0);

        check_row("finds a grant by match_resolved in whatever order it came");
        for (size_t j = 0; j < 3; j++) {
            struct profile_record *resolved = make_profile(P_OTHER, "10.0.0.0/8", 7, G1);

            resolved->match_resolved = orders[i][j] != 2;
            p = orders[i][j] == 1 ? with(p, make_grant(GR + 9, SUBJECT_USER, ANN, P_OTHER, 0))
                                  : with(p, resolved);
            if (orders[i][j] == 1)
                record_unref(&resolved->record);
        }
        assert_int_equal(policy_decide(p, &q, &d), is_last ? REASON_NONE : REASON_NO_GRANT);
        p = without(without(p, RECORD_PROFILE, P_OTHER), RECORD_GRANT, GR + 9);
        assert_int_equal(policy_decide(p, &q, &d), REASON_NO_GRANT);
        policy_unref(p);
    }
}

static void test_bad_records(void **state)
{
    struct policy_change c = { .kind = RECORD_PROFILE };
    struct profile_record *glob = make_profile(P_OTHER, "a*b", 0, G1);
    struct policy *next = NULL;

    (void)state;
    check_row("refuses a profile whose hosts could not be searched");
    c.put = &glob->record;
    assert_int_equal(policy_apply(base, &c, 1, &next), -EINVAL);
    assert_null(next);
    record_unref(c.put);
}

static void test_finding(void **state)
{
    struct policy_cursor cursor = { 0 };
    size_t n = 0;

    (void)state;
    assert_non_null(policy_find_name(base, RECORD_USER, SPAN("ann")));
    assert_null(policy_find_name(base, RECORD_GROUP, SPAN("ann")));
    assert_null(policy_find_name(base, RECORD_USER, SPAN("")));
    assert_null(policy_setting(base, "none").p);
    while (policy_next(base, RECORD_GRANT, &cursor))
        n++;
    assert_int_equal(n, policy_count(base, RECORD_GRANT));
    assert_int_equal(n, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_want_of_memory),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_finding),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
