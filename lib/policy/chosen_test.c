#include "lib/policy/base_fixture.h"
#include "lib/policy/chosen.h"

#include <string.h>

static struct policy *with_setting(struct policy *base, unsigned user, const char *which)
{
    const struct ulid who = uid(user);
    char name[CHOSEN_SETTING_MAX];
    struct record *record = record_new(RECORD_SETTING, span_str(chosen_setting(&who, name)));
    struct policy *p = NULL;

    assert_non_null(record);
    snprintf(container_of(record, struct setting_record, record)->value, 16, "%s", which);
    assert_int_equal(policy_apply(base, &(struct policy_change){ .kind = RECORD_SETTING, .put = record }, 1, &p), 0);
    record_unref(record);
    policy_unref(base);
    return p;
}

static struct policy *nothing(struct policy *p) { return p; }
static struct policy *same(struct policy *p) { return with_setting(p, ANN, "7"); }
static struct policy *another(struct policy *p) { return with_setting(p, ANN, "8"); }
static struct policy *of_another(struct policy *p) { return with_setting(p, BOB, "7"); }

/* Whoever logged in by a password that is his no more opens nothing new, however long ago that was. */
static void test_holds(void **state)
{
    static const struct {
        const char *it;
        struct policy *(*change)(struct policy *p);
        bool want;
    } rows[] = {
        { "holds while it is the user's password", same, true },
        { "ends with another password", another, false },
        { "ends when none is his", nothing, false },
        { "is of one user", of_another, false },
    };
    const struct ulid ann = uid(ANN);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(policy_unrefp) struct policy *p = rows[i].change(base_world());

        check_row(rows[i].it);
        assert_int_equal(chosen_holds(p, &ann, chosen_mark(SPAN("7"))), rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
