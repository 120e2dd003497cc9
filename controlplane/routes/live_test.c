#include "controlplane/routes/live.h"
#include "lib/check/check.h"

static void test_applied(void **state)
{
    static const struct {
        const char *it;
        struct live_relay relays[2];
        size_t count;
        bool want;
    } rows[] = {
        { "has applied where there is no relay", { { .revision = 0 } }, 0, true },
        { "has when the relay runs it", { { .epoch = 1, .revision = 5, .is_connected = true, .is_admitted = true } }, 1, true },
        { "has when the relay runs a later epoch", { { .epoch = 2, .revision = 1, .is_connected = true, .is_admitted = true } }, 1, true },
        { "has not while the relay is behind", { { .epoch = 1, .revision = 4, .is_connected = true, .is_admitted = true } }, 1, false },
        { "does not wait for one that is away while another is there",
          { { .epoch = 1, .revision = 5, .is_connected = true, .is_admitted = true },
            { .epoch = 1, .revision = 4, .is_admitted = true } }, 2, true },
        { "has not while nobody is there to run it",
          { { .epoch = 1, .revision = 4, .is_admitted = true }, { .epoch = 1, .revision = 5, .is_admitted = true } }, 2, false },
        { "has when all ran it before they went away",
          { { .epoch = 1, .revision = 5, .is_admitted = true }, { .epoch = 1, .revision = 6, .is_admitted = true } }, 2, true },
        { "does not wait for relays that count no more",
          { { .epoch = 1, .revision = 4 }, { .epoch = 1, .revision = 3 } }, 2, true },
    };
    const struct store_position position = { .epoch = 1, .revision = 5 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct live_relay relays[2] = { rows[i].relays[0], rows[i].relays[1] };
        const struct live live = { .relays = relays, .relay_count = rows[i].count };

        check_row(rows[i].it);
        assert_int_equal(live_has_applied(&live, &position), rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_applied) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
