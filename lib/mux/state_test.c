#include "lib/mux/state.h"
#include "lib/base/attr.h"
#include "lib/check/check.h"

/* Every pair, written down a second time as text: one column for each event
 * of enum stream_event, and the state it leads to. */
static const struct {
    enum stream_state from;
    const char *to[STREAM_EVENT_COUNT];     /* NULL: refused */
} rows[] = {
    /*                    ACCEPT  REFUSE      REFUSED    FIN         PEER_FIN    RESET        PEER_RESET SETTLED    LOST    DRAINED */
    { STREAM_OPENING,   { "open", NULL,       "settled", NULL,       NULL,       "resetting", "broken",  NULL,      "dead", NULL } },
    { STREAM_ASKED,     { "open", "refusing", NULL,      NULL,       NULL,       NULL,        "broken",  NULL,      "dead", NULL } },
    { STREAM_REFUSING,  { NULL,   NULL,       NULL,      NULL,       NULL,       NULL,        "broken",  "settled", "dead", NULL } },
    { STREAM_OPEN,      { NULL,   NULL,       NULL,      "fin-out",  "fin-in",   "resetting", "broken",  NULL,      "dead", NULL } },
    { STREAM_FIN_OUT,   { NULL,   NULL,       NULL,      NULL,       "fin-both", "resetting", "broken",  NULL,      "dead", NULL } },
    { STREAM_FIN_IN,    { NULL,   NULL,       NULL,      "fin-both", NULL,       "resetting", "broken",  NULL,      "dead", NULL } },
    { STREAM_FIN_BOTH,  { NULL,   NULL,       NULL,      NULL,       NULL,       "resetting", "broken",  "settled", "dead", NULL } },
    { STREAM_RESETTING, { NULL,   NULL,       "settled", NULL,       NULL,       NULL,        "broken",  "settled", "dead", NULL } },
    { STREAM_BROKEN,    { NULL,   NULL,       NULL,      NULL,       NULL,       NULL,        NULL,      "settled", "dead", NULL } },
    { STREAM_SETTLED,   { NULL,   NULL,       NULL,      NULL,       NULL,       NULL,        NULL,      NULL,      "dead", "dead" } },
    { STREAM_DEAD,      { NULL,   NULL,       NULL,      NULL,       NULL,       NULL,        NULL,      NULL,      NULL,   NULL } },
};

static void check_pair(enum stream_state from, enum stream_event event, const char *want)
{
    enum stream_state to = STREAM_STATE_COUNT;
    bool is_allowed = stream_state_next(from, event, &to);

    assert_int_equal(is_allowed, want != NULL);
    if (want)
        assert_string_equal(stream_state_name(to), want);
    else
        assert_int_equal(to, STREAM_STATE_COUNT);
}

static void test_every_pair(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LEN(rows), STREAM_STATE_COUNT);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(stream_state_name(rows[i].from));
        assert_int_equal(rows[i].from, i);
        for (unsigned e = 0; e < STREAM_EVENT_COUNT; e++)
            check_pair(rows[i].from, (enum stream_event)e, rows[i].to[e]);
    }
}

/* Every state but the last leads to the last, so nothing waits for ever once its path is gone. */
static void test_all_die(void **state)
{
    (void)state;
    for (enum stream_state s = 0; s < STREAM_DEAD; s++) {
        enum stream_state to;

        assert_true(stream_state_next(s, STREAM_EV_LOST, &to));
        assert_int_equal(to, STREAM_DEAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_all_die),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
