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

static void test_unproved(void **state)
{
    const struct ulid id = { "01ARZ3NDEKTSV4RRFFQ69G5FAV" }, other = { "01ARZ3NDEKTSV4RRFFQ69G5FAW" };
    const struct {
        const char *it;
        struct live_agent agents[2];
        int64_t want;
    } rows[] = {
        { "is not where nobody holds it", { { .agent = other, .unproved_since_ms = 7, .is_connected = true } }, 0 },
        { "is since its relay says so", { { .agent = id, .unproved_since_ms = 7, .is_connected = true } }, 7 },
        { "is not while one relay has it proved",
          { { .agent = id, .unproved_since_ms = 7, .is_connected = true }, { .agent = id, .is_connected = true } }, 0 },
        { "is since the last one has not",
          { { .agent = id, .unproved_since_ms = 7, .is_connected = true },
            { .agent = id, .unproved_since_ms = 9, .is_connected = true } }, 9 },
        { "is whatever a relay said that is away",
          { { .agent = id, .unproved_since_ms = 7, .is_connected = true }, { .agent = id } }, 7 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct live_agent agents[2] = { rows[i].agents[0], rows[i].agents[1] };
        const struct live live = { .agents = agents, .agent_count = 2 };

        check_row(rows[i].it);
        assert_int_equal(live_agent_unproved_since(&live, &id), rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_applied), cmocka_unit_test(test_unproved) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
