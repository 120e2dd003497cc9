#include "dataplane/route/elsewhere.h"
#include "lib/check/check.h"
#include "lib/policy/base_fixture.h"
#include <stdio.h>

#define OWN 200

static struct policy *with_relay(struct policy *p, unsigned n, const char *address, const char *zone, bool is_active)
{
    struct relay_record *relay = MAKE(RELAY, relay_record, n);

    snprintf(relay->address, sizeof(relay->address), "%s", address);
    snprintf(relay->zone, sizeof(relay->zone), "%s", zone);
    relay->is_active = is_active;
    return with(p, relay);
}

static const char *first(const struct mux_goaway *g)
{
    return g->elsewhere_count ? g->elsewhere[0].p : "none";
}

static void test_who_is_named(void **state)
{
    static const struct { const char *it, *address, *zone; bool is_active; unsigned n; const char *want; } rows[] = {
        { "names no relay but the others", "own.x:1", "a", true, OWN, "none" },
        { "names another one", "r.x:1", "b", true, OWN + 1, "r.x:1" },
        { "names none that was taken away", "r.x:1", "a", false, OWN + 1, "none" },
        { "names none without an address", "", "a", true, OWN + 1, "none" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct policy *p = with_relay(base_world(), rows[i].n, rows[i].address, rows[i].zone, rows[i].is_active);
        struct mux_goaway g = { .why = REASON_RELAY_DRAINING };
        const struct ulid own = uid(OWN);

        check_row(rows[i].it);
        elsewhere_find(p, &own, "a", &g);
        assert_string_equal(first(&g), rows[i].want);
        policy_unref(p);
    }
}

static void test_who_comes_first(void **state)
{
    struct policy *p = base_world();
    unsigned seen = 0;

    (void)state;
    for (unsigned i = 1; i <= 12; i++) {
        char address[32];

        snprintf(address, sizeof(address), "r%u.x:7443", i);
        p = with_relay(p, OWN + i, address, i <= 2 ? "near" : "far", true);
    }
    for (unsigned n = 0; n < 12; n++) {
        const struct ulid own = uid(300 + n);
        struct mux_goaway g = { .why = REASON_RELAY_DRAINING };
        unsigned last = 0;

        elsewhere_find(p, &own, "near", &g);
        assert_int_equal(g.elsewhere_count, MUX_ELSEWHERE_MAX);
        for (size_t i = 0; i < g.elsewhere_count; i++) {
            assert_int_equal(sscanf(g.elsewhere[i].p, "r%u.x", &last), 1);
            assert_true((last <= 2) == (i < 2));
        }
        seen |= 1u << last;
    }
    assert_true(seen & (seen - 1));     /* not the same ones each time */
    policy_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_named),
        cmocka_unit_test(test_who_comes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
