#include "controlplane/domain/kind.h"
#include "controlplane/domain/right.h"
#include "lib/check/check.h"
#include <stdio.h>

static void test_wider_than_own(void **state)
{
    static const struct {
        const char *it;
        unsigned actor, role;
        bool covers, may_give;
    } rows[] = {
        { "lets an admin make an admin", ROLE_BIT_ADMIN, ROLE_BIT_ADMIN, true, true },
        { "keeps an operator from admins", ROLE_BIT_OPERATOR, ROLE_BIT_ADMIN, false, false },
        { "lets an operator tend operators, not make them", ROLE_BIT_OPERATOR, ROLE_BIT_OPERATOR,
          true, false },
        { "lets an operator make users", ROLE_BIT_OPERATOR, ROLE_BIT_USER, true, true },
        { "keeps an auditor from operators", ROLE_BIT_AUDITOR, ROLE_BIT_OPERATOR, false, false },
        { "lets an auditor make nobody", ROLE_BIT_AUDITOR, ROLE_BIT_USER, true, false },
        { "lets nobody do nothing", 0, ROLE_BIT_USER, false, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(role_covers(rows[i].actor, rows[i].role), rows[i].covers);
        assert_int_equal(role_may_give(rows[i].actor, rows[i].role), rows[i].may_give);
    }
    check_row(NULL);
}

static bool is_write(const char *operation)
{
    static const char *const verbs[] = { ".create", ".update", ".delete", ".put" };

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (span_ends(span_str(operation), span_str(verbs[i])))
            return true;
    }
    return false;
}

/* What must hold for every row, whatever the table says. */
static void test_table(void **state)
{
    const struct right *right;

    (void)state;
    for (size_t i = 0; (right = right_at(i)); i++) {
        check_row(right->operation);
        assert_ptr_equal(right_find(span_str(right->operation)), right);        /* once */
        assert_false(right->any & ~(unsigned)ROLE_BITS_ALL);
        if (is_write(right->operation))
            assert_false(right->any & (ROLE_BIT_AUDITOR | ROLE_BIT_USER));
        if (right->any & ROLE_BIT_OPERATOR)
            assert_true(right->any & ROLE_BIT_ADMIN);
    }
    check_row(NULL);
}

static void test_every_kind_has_rights(void **state)
{
    static const struct {
        unsigned flag;
        const char *verb;
    } verbs[] = { { 0, "get" }, { 0, "list" }, { KIND_CREATE, "create" }, { KIND_UPDATE, "update" },
                  { KIND_DELETE, "delete" } };

    (void)state;
    for (enum kind_id k = 0; k < KIND_COUNT; k++) {
        for (size_t v = 0; v < ARRAY_LEN(verbs); v++) {
            char operation[64];

            snprintf(operation, sizeof(operation), "%s.%s", kind_at(k)->plural, verbs[v].verb);
            check_row(operation);
            if (!verbs[v].flag || (kind_at(k)->flags & verbs[v].flag))
                assert_non_null(right_find(span_str(operation)));
        }
        assert_int_equal(kind_at(k)->id, k);
        assert_ptr_equal(kind_by_name(span_str(kind_at(k)->name)), kind_at(k));
        assert_ptr_equal(kind_by_plural(span_str(kind_at(k)->plural)), kind_at(k));
    }
    check_row(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wider_than_own),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_every_kind_has_rights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
