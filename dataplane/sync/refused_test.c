#include "dataplane/sync/refused.h"
#include "lib/check/check.h"

#include <stdio.h>

#define ROWS_MAX 3

struct told {
    char text[8192];
    unsigned count;
};

static void tell(void *ctx, struct span data)
{
    struct told *t = ctx;
    size_t n = strlen(t->text);

    snprintf(t->text + n, sizeof(t->text) - n, SPAN_FMT "\n", SPAN_ARG(data));
    t->count++;
}

static struct told take(struct refused *r)
{
    struct told told = { .count = 0 };

    refused_take(r, tell, &told);
    return told;
}

static struct refused *make(void)
{
    struct refused *r = NULL;

    assert_int_equal(refused_new(ROWS_MAX, &r), 0);
    return r;
}

static void test_rows(void **state)
{
    const struct addr here = addr_v4(192, 0, 2, 7), there = addr_v4(192, 0, 2, 8);
    AUTO(refused_freep) struct refused *r = make();
    struct ulid agent;
    struct told told;

    (void)state;
    assert_true(ulid_parse(SPAN("01ARZ3NDEKTSV4RRFFQ69G5FAV"), &agent));
    check_row("tells nothing when there is nothing");
    assert_int_equal(take(r).count, 0);

    check_row("wants somebody to come for the first one, and for no other");
    assert_true(refused_note(r, "http", REASON_BAD_REQUEST, NULL, &here, 100));
    assert_false(refused_note(r, "http", REASON_BAD_REQUEST, NULL, &here, 200));
    assert_false(refused_note(r, "tunnel", REASON_LOCKED, &agent, &here, 300));
    assert_false(refused_note(r, "tunnel", REASON_LOCKED, &agent, &there, 400));

    check_row("counts a stranger by his address, an agent by its id");
    told = take(r);
    assert_int_equal(told.count, 2);
    assert_non_null(strstr(told.text, "{\"place\":\"http\",\"reason\":\"bad-request\",\"source\":\"192.0.2.7\",\"count\":2,"
                                      "\"first_at_ms\":100,\"last_at_ms\":200}"));
    assert_non_null(strstr(told.text, "{\"place\":\"tunnel\",\"reason\":\"locked\",\"agent\":\"01ARZ3NDEKTSV4RRFFQ69G5FAV\","
                                      "\"source\":\"192.0.2.8\",\"count\":2,\"first_at_ms\":300,\"last_at_ms\":400}"));

    check_row("begins anew when it was taken, or when nobody could come");
    assert_int_equal(take(r).count, 0);
    assert_true(refused_note(r, "http", REASON_BAD_REQUEST, NULL, &here, 500));
    refused_leave(r);
    assert_true(refused_note(r, "http", REASON_BAD_REQUEST, NULL, &here, 600));
    assert_non_null(strstr(take(r).text, "\"count\":2,\"first_at_ms\":500,\"last_at_ms\":600"));
}

static void test_bounds(void **state)
{
    AUTO(refused_freep) struct refused *r = make();
    struct told told;

    (void)state;
    check_row("counts by the code alone what finds no row");
    for (unsigned i = 0; i < 200; i++) {
        struct addr from = addr_v4(198, 51, 100, (uint8_t)i);

        (void)refused_note(r, "http", i % 2 ? REASON_BAD_REQUEST : REASON_TOO_LARGE, NULL, &from, i + 1);
    }
    assert_int_equal(refused_others(r), 200 - ROWS_MAX);
    told = take(r);
    assert_int_equal(told.count, ROWS_MAX + 2);
    assert_non_null(strstr(told.text, "{\"place\":\"others\",\"reason\":\"bad-request\",\"count\":99,\"first_at_ms\":4,"
                                      "\"last_at_ms\":200}"));
    assert_non_null(strstr(told.text, "{\"place\":\"others\",\"reason\":\"too-large\",\"count\":98,\"first_at_ms\":5,"));

    check_row("has room again when it was taken");
    assert_int_equal(take(r).count, 0);
    for (unsigned i = 0; i < 200; i++) {        /* all of one /64 */
        struct addr from;

        assert_true(addr_parse(SPAN("2001:db8::"), &from));
        from.ip[15] = (uint8_t)i;
        (void)refused_note(r, "a place with a long name", REASON_TOO_LARGE, NULL, &from, 1);
    }
    told = take(r);
    assert_int_equal(told.count, 1);
    assert_non_null(strstr(told.text, "{\"place\":\"a place with a \",\"reason\":\"too-large\",\"source\":\"2001:db8::c7\","
                                      "\"count\":200,"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_bounds) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
