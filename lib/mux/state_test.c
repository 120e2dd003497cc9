#include "lib/mux/state.h"
#include "lib/base/attr.h"
#include "lib/check/check.h"

/* Every pair, written down a second time: what is allowed, event by event; all others are not. */
static const struct {
    enum stream_state from;
    enum stream_event event;
    const char *to;
} rows[] = {
    { STREAM_OPENING, STREAM_EV_ACCEPT, "open" },
    { STREAM_OPENING, STREAM_EV_REFUSED, "settled" },
    { STREAM_OPENING, STREAM_EV_RESET, "resetting" },
    { STREAM_OPENING, STREAM_EV_PEER_RESET, "broken" },
    { STREAM_OPENING, STREAM_EV_LOST, "dead" },
    { STREAM_ASKED, STREAM_EV_ACCEPT, "open" },
    { STREAM_ASKED, STREAM_EV_REFUSE, "refusing" },
    { STREAM_ASKED, STREAM_EV_PEER_RESET, "broken" },
    { STREAM_ASKED, STREAM_EV_LOST, "dead" },
    { STREAM_REFUSING, STREAM_EV_PEER_RESET, "broken" },
    { STREAM_REFUSING, STREAM_EV_SETTLED, "settled" },
    { STREAM_REFUSING, STREAM_EV_LOST, "dead" },
    { STREAM_OPEN, STREAM_EV_FIN, "fin-out" },
    { STREAM_OPEN, STREAM_EV_PEER_FIN, "fin-in" },
    { STREAM_OPEN, STREAM_EV_RESET, "resetting" },
    { STREAM_OPEN, STREAM_EV_PEER_RESET, "broken" },
    { STREAM_OPEN, STREAM_EV_LOST, "dead" },
    { STREAM_FIN_OUT, STREAM_EV_PEER_FIN, "fin-both" },
    { STREAM_FIN_OUT, STREAM_EV_RESET, "resetting" },
    { STREAM_FIN_OUT, STREAM_EV_PEER_RESET, "broken" },
    { STREAM_FIN_OUT, STREAM_EV_LOST, "dead" },
    { STREAM_FIN_IN, STREAM_EV_FIN, "fin-both" },
    { STREAM_FIN_IN, STREAM_EV_RESET, "resetting" },
    { STREAM_FIN_IN, STREAM_EV_PEER_RESET, "broken" },
    { STREAM_FIN_IN, STREAM_EV_LOST, "dead" },
    { STREAM_FIN_BOTH, STREAM_EV_RESET, "resetting" },
    { STREAM_FIN_BOTH, STREAM_EV_PEER_RESET, "broken" },
    { STREAM_FIN_BOTH, STREAM_EV_SETTLED, "settled" },
    { STREAM_FIN_BOTH, STREAM_EV_LOST, "dead" },
    { STREAM_RESETTING, STREAM_EV_REFUSED, "settled" },
    { STREAM_RESETTING, STREAM_EV_PEER_RESET, "broken" },
    { STREAM_RESETTING, STREAM_EV_SETTLED, "settled" },
    { STREAM_RESETTING, STREAM_EV_LOST, "dead" },
    { STREAM_BROKEN, STREAM_EV_SETTLED, "settled" },
    { STREAM_BROKEN, STREAM_EV_LOST, "dead" },
    { STREAM_SETTLED, STREAM_EV_LOST, "dead" },
    { STREAM_SETTLED, STREAM_EV_DRAINED, "dead" },
};

static const char *wanted(enum stream_state from, enum stream_event event)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].from == from && rows[i].event == event)
            return rows[i].to;
    }
    return NULL;
}

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
    for (unsigned s = 0; s < STREAM_STATE_COUNT; s++) {
        check_row(stream_state_name((enum stream_state)s));
        for (unsigned e = 0; e < STREAM_EVENT_COUNT; e++)
            check_pair((enum stream_state)s, (enum stream_event)e,
                       wanted((enum stream_state)s, (enum stream_event)e));
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
