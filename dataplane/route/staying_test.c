#include "dataplane/route/staying.h"
#include "lib/check/check.h"
#include "lib/crypto/cert.h"

enum { START = 1000, AWAY = 15000, WAIT = 90000 };

/* One look after another; then what holds. */
struct look {
    uint64_t at_ms, silence_ms;
};

static void test_judge(void **state)
{
    static const struct {
        const char *it;
        struct look looks[5];
        bool is_held;
        uint64_t now_ms;
        enum staying_verdict want;
    } rows[] = {
        { "lets one who came renew, while all is well", { { 2000, 0 } }, false, 2000, STAYING_AS_IT_IS },
        { "does not take an old state from disk for an absence", { { 1000, UINT64_MAX } }, false, 1000, STAYING_AS_IT_IS },
        { "still listens at the end of the time", { { START + AWAY, UINT64_MAX } }, false, START + AWAY, STAYING_AS_IT_IS },
        { "knows after that time", { { START + AWAY + 1, UINT64_MAX } }, false, START + AWAY + 1, STAYING_HOLD },
        { "bears a silence of that time", { { 50000, AWAY } }, false, 50000, STAYING_AS_IT_IS },
        { "holds after a longer one", { { 50000, AWAY + 1 } }, false, 50000, STAYING_HOLD },
        { "lets nobody more in when it is back", { { 50000, AWAY + 1 }, { 51000, 0 } }, false, 51000, STAYING_AS_IT_IS },
        { "keeps who is held while it is away", { { 50000, AWAY + 1 } }, true, 50000 + 10 * WAIT, STAYING_AS_IT_IS },
        { "keeps who is held until it has heard of it", { { 1000, UINT64_MAX } }, true, 10 * WAIT, STAYING_AS_IT_IS },
        { "gives him time to renew when it is back", { { 50000, AWAY + 1 }, { 60000, 0 } }, true, 60000 + WAIT, STAYING_AS_IT_IS },
        { "ends it then", { { 50000, AWAY + 1 }, { 60000, 0 }, { 60000 + WAIT, 5000 } }, true, 60000 + WAIT + 1, STAYING_END },
        { "counts anew when it was away again", { { 50000, AWAY + 1 }, { 60000, 0 }, { 99000, AWAY + 1 }, { 100000, 0 } },
          true, 100000 + WAIT, STAYING_AS_IT_IS },
        { "ends at once who did not renew while it was there", { { 2000, 0 }, { 500000, 10 } }, true, 500000, STAYING_END },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct staying s;

        check_row(rows[i].it);
        staying_init(&s, AWAY, WAIT, START);
        for (size_t k = 0; k < ARRAY_LEN(rows[i].looks) && rows[i].looks[k].at_ms; k++)
            staying_look(&s, rows[i].looks[k].silence_ms, rows[i].looks[k].at_ms);
        assert_int_equal(staying_judge(&s, rows[i].is_held, rows[i].now_ms), rows[i].want);
    }
}

static void test_end(void **state)
{
    (void)state;
    check_row("bears clocks that differ, and no more");
    assert_false(staying_has_ended(1000, 1000 + CERT_LEEWAY_S));
    assert_true(staying_has_ended(1000, 1000 + CERT_LEEWAY_S + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_judge), cmocka_unit_test(test_end) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
