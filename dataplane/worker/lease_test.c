#include "dataplane/worker/lease.h"
#include "lib/base/attr.h"
#include "lib/check/check.h"

static void test_lease(void **state)
{
    static const struct { const char *it; size_t memory, need, wants, spares; } rows[] = {
        { "rests on its base", 100, 0, 0, 0 },
        { "rests while half of it is enough", 100, 50, 0, 0 },
        { "takes a step", 100, 51, 10, 0 },
        { "takes four when it is short", 100, 76, 40, 0 },
        { "keeps a step while it may need it", 110, 25, 0, 0 },
        { "gives a step back", 110, 24, 0, 10 },
        { "gives nothing of its base", 109, 0, 0, 0 },
        { "asks back what went with streams, though it needs nothing", 30, 0, 70, 0 },
        { "asks back all of it", 0, 0, 100, 0 },
        { "asks for more than is missing when it is short", 90, 90, 40, 0 },
        { "gets all that is missing when a step would do", 30, 16, 70, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct lease l = { .memory = rows[i].memory, .base = 100, .step = 10 };

        check_row(rows[i].it);
        assert_int_equal(lease_wants(&l, rows[i].need), rows[i].wants);
        assert_int_equal(lease_spares(&l, rows[i].need), rows[i].spares);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_lease) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
