#include "controlplane/publish/publish_fixture.h"

/* ---- several on one database: PostgreSQL ---- */

static bool leads(const struct fixture *f)
{
    return publisher_leads(f->publisher);
}

static void wait_for(bool (*is_so)(const struct fixture *f), const struct fixture *f)
{
    for (int ms = 0; !is_so(f); ms++) {
        assert_true(ms < 30000);
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
}

static bool is_published(const struct fixture *f)
{
    struct store_position at = publisher_position(f->publisher), want;
    struct store_tx *tx = NULL;

    assert_int_equal(store_begin(f->store, STORE_READ, &tx), 0);
    assert_int_equal(store_position(tx, &want), 0);
    store_rollback(tx);
    return at.epoch == want.epoch && at.revision == want.revision;
}

/* A relay that asks now the one, now the other sees one chain, and heads that only rise. */
static void test_two(void **state)
{
    struct fixture *first = *state, second = *first, third = *first;
    AUTO(relay_deinit) struct relay relay = { .keys = NULL };
    static const struct put more[] = { { "user", USER, "{\"name\":\"ann\",\"active\":false}" },
                                       { "user", USER, "{\"name\":\"ann\",\"active\":true}" } };
    uint64_t term;

    if (!where_is_postgres())
        skip();
    open_all(&second);
    assert_true(leads(first));
    assert_false(leads(&second));
    commit(first, world, ARRAY_LEN(world));
    relay_pull(first, &relay);
    wait_for(is_published, &second);
    for (int i = 0; i < 10; i++) {
        struct fixture *writer = i % 3 ? &second : first;

        commit(writer, &more[i % 2], 1);        /* waits until it is in force there */
        wait_for(is_published, first);
        wait_for(is_published, &second);
        relay_pull(i % 2 ? &second : first, &relay);
    }
    assert_int_equal(relay.snapshots, 1);
    term = relay.head.term;

    /* The one that leads goes; what is written then is published by the other. */
    close_all(first);
    commit(&second, &more[0], 1);
    assert_true(leads(&second));
    relay_pull(&second, &relay);
    assert_true(relay.head.term > term);
    assert_int_equal(relay.snapshots, 1);

    /* One that starts anew follows, and has a snapshot for relays that are new too. */
    open_all(&third);
    wait_for(is_published, &third);
    relay_deinit(&relay);
    relay = (struct relay){ .keys = NULL };
    relay_pull(&third, &relay);
    assert_int_equal(relay.snapshots, 1);
    assert_false(leads(&third));
    close_all(&third);
    close_all(&second);
    open_all(first);                    /* for teardown */
}

/* One that leads and does nothing any more, though its session is there. */
static void test_hung(void **state)
{
    struct fixture *first = *state, second = *first;
    bool is_leader = true, is_new = true;
    struct store_tx *tx = NULL;

    if (!where_is_postgres())
        skip();
    open_all(&second);
    assert_false(leads(&second));
    store_on_commit(first->store, NULL, NULL);
    publisher_free(first->publisher);
    wait_for(leads, &second);
    commit(&second, world, ARRAY_LEN(world));

    /* Its session was ended: it goes on with another, which does not lead. */
    assert_int_equal(store_begin(first->store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_lead(tx, &is_leader, &is_new), 0);
    assert_false(is_leader);
    store_rollback(tx);
    keyring_free(first->keys);
    store_close(first->store);
    close_all(&second);
    open_all(first);                    /* for teardown */
}

/* A raised epoch is followed too. */
static void test_two_epochs(void **state)
{
    struct fixture *first = *state, second = *first;
    AUTO(relay_deinit) struct relay relay = { .keys = NULL };
    struct store_tx *tx = NULL;

    if (!where_is_postgres())
        skip();
    open_all(&second);
    wait_for(is_published, &second);
    relay_pull(&second, &relay);
    assert_int_equal(store_begin(second.store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_epoch_raise(tx), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    wait_for(is_published, first);
    wait_for(is_published, &second);
    relay_pull(&second, &relay);
    assert_true(relay.at.epoch > 1);
    close_all(&second);
}

/* A standby took over: what the process had published may be lost, and published anew as something else. */
static void test_other_server(void **state)
{
    struct fixture *f = *state;
    AUTO(relay_deinit) struct relay relay = { .keys = NULL };
    const struct put mine = { "user", USER, "{\"name\":\"ann\",\"active\":false}" };
    struct store_tx *tx = NULL;
    bool is_other = false;

    if (!where_is_postgres())
        skip();
    commit(f, world, ARRAY_LEN(world));
    close_all(f);
    open_all(f);
    relay_pull(f, &relay);
    assert_int_equal(relay.at.epoch, 1);        /* the same server, though the process is another */

    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_meta_put(tx, "store.server", SPAN("1 00000007")), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    close_all(f);
    open_all(f);
    relay_pull(f, &relay);
    assert_true(relay.at.epoch > 1);
    commit(f, &mine, 1);
    relay_pull(f, &relay);
    assert_int_equal(relay.snapshots, 2);
    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_meet_server(tx, &is_other), 0);
    assert_false(is_other);
    store_rollback(tx);
}

/* Who leads is not put off because the machine is slow. */
static int setup_slow(void **state)
{
    return setup_with(state, test_clock, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_two, setup_slow, teardown),
        cmocka_unit_test_setup_teardown(test_two_epochs, setup_slow, teardown),
        cmocka_unit_test_setup_teardown(test_other_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hung, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
