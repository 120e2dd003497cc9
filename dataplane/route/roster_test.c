#include "dataplane/route/roster.h"
#include "lib/check/check.h"
#include "lib/policy/world_fixture.h"

static struct tunnel_hello hello_of(unsigned boot, int64_t starts)
{
    struct tunnel_hello hello = { .starts = starts };
    const struct ulid id = uid(boot);

    memcpy(hello.boot_id, id.text, sizeof(hello.boot_id));
    return hello;
}

static enum reason enter(struct roster *r, unsigned worker, unsigned agent, unsigned boot, int64_t starts,
                         bool *ret_was_replaced, struct seat **ret_seat)
{
    const struct identity who = { .kind = CERT_AGENT, .id = uid(agent), .generation = 3 };
    const struct tunnel_hello hello = hello_of(boot, starts);
    const struct tunnel_session session = { .id = uid(500 + worker) };

    return roster_enter(r, worker, &who, &hello, &session, ret_was_replaced, ret_seat);
}

static void on_bell(void *arg)
{
    ++*(unsigned *)arg;
}

static bool has_rung(void *arg)
{
    return *(unsigned *)arg > 0;
}

static void test_links_of_two_workers(void **state)
{
    struct roster_reader reader;
    struct seat *a, *b;
    const struct ulid id = uid(100);
    bool was_replaced;
    struct roster *r;

    (void)state;
    check_row("is here from its first link to its last, whoever has them");
    assert_int_equal(roster_new(2, 10, &r), 0);
    roster_reader_init(&reader, r);
    assert_null(roster_find(&reader, &id));
    assert_int_equal(enter(r, 0, 100, 20, 1, &was_replaced, &a), REASON_NONE);
    assert_int_equal(enter(r, 1, 100, 20, 1, &was_replaced, &b), REASON_NONE);
    assert_ptr_equal(a, b);
    assert_false(was_replaced);
    assert_ptr_equal(roster_find(&reader, &id), a);
    assert_int_equal(roster_count(r), 1);
    assert_false(roster_leave(r, 0, a, false));
    assert_ptr_equal(roster_find(&reader, &id), a);
    assert_true(roster_leave(r, 1, a, false));
    assert_null(roster_find(&reader, &id));
    seat_unref(a);
    seat_unref(b);
    roster_reader_deinit(&reader);
    roster_free(r);
}

static void test_replaced(void **state)
{
    struct seat *old, *new, *none = NULL;
    struct loop *loop;
    unsigned rung = 0;
    bool was_replaced;
    struct roster *r;

    (void)state;
    assert_int_equal(roster_new(2, 10, &r), 0);
    assert_int_equal(loop_new(&loop), 0);
    roster_set_bell(r, 0, loop, on_bell, &rung);
    assert_int_equal(enter(r, 0, 100, 20, 5, &was_replaced, &old), REASON_NONE);

    check_row("refuses an older process at any worker");
    assert_int_equal(enter(r, 1, 100, 21, 4, &was_replaced, &none), REASON_REPLACED);
    assert_null(none);
    assert_false(seat_is_replaced(old));

    check_row("gives a newer one a seat of its own, and rings where the old one has links");
    assert_int_equal(enter(r, 1, 100, 21, 6, &was_replaced, &new), REASON_NONE);
    assert_true(was_replaced && seat_is_replaced(old) && old != new);
    assert_true(loop_run_until(loop, has_rung, &rung, 5000));

    check_row("keeps the newer one when the older one's links go");
    assert_false(roster_leave(r, 0, old, false));
    assert_int_equal(roster_count(r), 1);
    assert_true(roster_leave(r, 1, new, false));
    seat_unref(old);
    seat_unref(new);
    roster_free(r);
    loop_free(loop);
}

static void test_sessions(void **state)
{
    const struct ulid id = uid(100), session = uid(500), stranger = uid(999);
    struct tunnel_session found;
    struct seat *seat, *same = NULL;
    bool was_replaced;
    struct roster *r;

    (void)state;
    check_row("knows a session at every worker, while its agent is here");
    assert_int_equal(roster_new(2, 10, &r), 0);
    assert_int_equal(enter(r, 0, 100, 20, 1, &was_replaced, &seat), REASON_NONE);
    assert_true(roster_session(r, &id, &session, &found, &same));
    assert_ptr_equal(same, seat);
    assert_string_equal(found.id.text, session.text);
    seat_unref(same);
    assert_false(roster_session(r, &id, &stranger, &found, &same));
    assert_true(roster_leave(r, 0, seat, true));
    assert_false(roster_session(r, &id, &session, &found, &same));
    seat_unref(seat);
    roster_free(r);
}

/* Whose last link is gone, and what is known of its session then. */
static void test_gone(void **state)
{
    const struct ulid id = uid(100), session = uid(500), second = uid(501);
    struct tunnel_session found;
    struct seat *seat, *same = NULL;
    bool was_replaced;
    struct roster *r;

    (void)state;
    assert_int_equal(roster_new(2, 2, &r), 0);
    assert_int_equal(enter(r, 0, 100, 20, 1, &was_replaced, &seat), REASON_NONE);
    assert_true(roster_leave(r, 0, seat, false));
    check_row("knows a session for a while after the last link");
    assert_int_equal(roster_gone_count(r), 1);
    roster_forget(r, mono_ms() + ROSTER_GONE_MS - 60000);
    assert_true(roster_session(r, &id, &session, &found, &same));
    assert_ptr_equal(same, seat);
    seat_unref(same);
    seat_unref(seat);

    check_row("knows it again when the process comes back, also by another session");
    assert_int_equal(enter(r, 1, 100, 20, 1, &was_replaced, &seat), REASON_NONE);
    assert_false(was_replaced);
    assert_int_equal(roster_gone_count(r), 0);
    assert_true(roster_session(r, &id, &session, &found, &same));
    assert_ptr_equal(same, seat);
    seat_unref(same);
    assert_true(roster_leave(r, 1, seat, false));
    seat_unref(seat);

    check_row("knows it no longer once another process has come");
    assert_int_equal(enter(r, 1, 100, 21, 2, &was_replaced, &seat), REASON_NONE);
    assert_false(roster_session(r, &id, &session, &found, &same));
    assert_true(roster_leave(r, 1, seat, false));
    seat_unref(seat);

    check_row("forgets it in the end, and the oldest first where there are many");
    for (unsigned agent = 101; agent <= 102; agent++) {
        assert_int_equal(enter(r, 0, agent, 20, 1, &was_replaced, &seat), REASON_NONE);
        assert_true(roster_leave(r, 0, seat, false));
        seat_unref(seat);
    }
    assert_int_equal(roster_gone_count(r), 2);
    assert_false(roster_session(r, &id, &second, &found, &same));
    roster_forget(r, mono_ms() + ROSTER_GONE_MS + 1);
    assert_int_equal(roster_gone_count(r), 0);
    roster_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links_of_two_workers), cmocka_unit_test(test_replaced), cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
