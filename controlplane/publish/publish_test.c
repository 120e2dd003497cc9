#include "controlplane/publish/publish_fixture.h"

static void test_follow(void **state)
{
    struct fixture *f = *state;
    AUTO(relay_deinit) struct relay relay = { .keys = NULL };
    static const struct put more = { "user", USER, "{\"name\":\"ann\",\"active\":false}" };
    static const struct put gone = { "user", USER, "" };

    relay_pull(f, &relay);
    assert_true(relay.at.revision >= 1);
    commit(f, world, ARRAY_LEN(world));
    relay_pull(f, &relay);
    assert_int_equal(relay.snapshots, 1);
    assert_int_equal(relay.deltas, 1);
    assert_non_null(policy_find(relay.policy, RECORD_USER, SPAN(USER)));
    commit(f, &more, 1);
    commit(f, &gone, 1);
    relay_pull(f, &relay);
    assert_int_equal(relay.deltas, 3);
    assert_null(policy_find(relay.policy, RECORD_USER, SPAN(USER)));
    relay_pull(f, &relay);
    assert_int_equal(relay.deltas, 3);          /* nothing new: only the head */
}

static void test_agent_policies(void **state)
{
    static const struct {
        const char *it;
        struct put put;
        bool corp_80, corp_81, socket;
    } rows[] = {
        { "covers the profile", { "setting", "x", "{\"value\":\"1\"}" }, true, false, false },
        { "covers a socket that an override names",
          { "override", RULE, "{\"host\":\"x.corp.example\",\"scope\":\"all\",\"unix\":\"/run/x\"}" },
          true, false, true },
        { "follows the profile's ports",
          { "profile", PROFILE, "{\"name\":\"p1\",\"hosts\":[\"*.corp.example\"],\"ports\":[\"81\"],"
            "\"agentgroup\":\"" GROUP "\"}" }, false, true, false },
        { "follows the group", { "agentgroup", GROUP, "{\"name\":\"g1\",\"mode\":\"priority\",\"members\":[]}" },
          false, false, false },
        { "follows the group back", { "agentgroup", GROUP, "{\"name\":\"g1\",\"mode\":\"priority\","
          "\"members\":[{\"agent\":\"" AGENT "\",\"priority\":1,\"weight\":1,\"enabled\":true}]}" }, false, true, false },
        { "leaves with the profile's group",
          { "profile", PROFILE, "{\"name\":\"p1\",\"hosts\":[\"*.corp.example\"],\"ports\":[\"81\"],"
            "\"agentgroup\":\"" GROUP_2 "\"}" }, false, false, false },
        { "comes back with it",
          { "profile", PROFILE, "{\"name\":\"p1\",\"hosts\":[\"*.corp.example\"],\"ports\":[\"81\"],"
            "\"agentgroup\":\"" GROUP "\"}" }, false, true, false },
        { "is not moved by who else joins the group",
          { "agentgroup", GROUP, "{\"name\":\"g1\",\"mode\":\"priority\",\"members\":[{\"agent\":\"" AGENT
            "\",\"priority\":1,\"weight\":1,\"enabled\":true},{\"agent\":\"" USER
            "\",\"priority\":1,\"weight\":1,\"enabled\":true}]}" }, false, true, false },
        { "follows the switch of a member",
          { "agentgroup", GROUP, "{\"name\":\"g1\",\"mode\":\"priority\",\"members\":[{\"agent\":\"" AGENT
            "\",\"priority\":1,\"weight\":1,\"enabled\":false}]}" }, false, false, false },
        { "follows the switch back",
          { "agentgroup", GROUP, "{\"name\":\"g1\",\"mode\":\"priority\",\"members\":[{\"agent\":\"" AGENT
            "\",\"priority\":1,\"weight\":1,\"enabled\":true}]}" }, false, true, false },
        { "forgets grants that ended", { "grant", GRANT, "{\"subject_kind\":\"user\",\"subject\":\"" USER "\","
          "\"profile\":\"" PROFILE "\",\"end_ms\":1000}" }, false, false, false },
        { "covers all by a grant on the group", { "grant", GRANT, "{\"subject_kind\":\"user\",\"subject\":\"" USER
          "\",\"agentgroup\":\"" GROUP "\"}" }, true, true, false },
        { "forgets grants that are gone", { "grant", GRANT, "" }, false, false, false },
    };
    struct fixture *f = *state;
    AUTO(relay_deinit) struct relay relay = { .keys = NULL };

    commit(f, world, ARRAY_LEN(world));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        commit(f, &rows[i].put, 1);
        relay_pull(f, &relay);
        assert_int_equal(reaches(f, &relay, "w.corp.example", 80), rows[i].corp_80);
        assert_int_equal(reaches(f, &relay, "w.corp.example", 81), rows[i].corp_81);
        assert_int_equal(reaches(f, &relay, "/run/x", 0), rows[i].socket);
    }
    commit(f, &(struct put){ "agent", AGENT, "" }, 1);
    relay_pull(f, &relay);
    assert_null(policy_find(relay.policy, RECORD_AGENTPOLICY, SPAN(AGENT)));
}

/* By the clock alone. */
static void test_expiry(void **state)
{
    struct fixture *f = *state;
    AUTO(relay_deinit) struct relay relay = { .keys = NULL };
    struct store_position before;
    char json[256];

    commit(f, world, ARRAY_LEN(world));
    snprintf(json, sizeof(json), "{\"subject_kind\":\"user\",\"subject\":\"" USER "\",\"profile\":\"" PROFILE
             "\",\"end_ms\":%llu}", (unsigned long long)test_clock() + 60000);
    commit(f, &(struct put){ "grant", GRANT, json }, 1);
    relay_pull(f, &relay);
    assert_true(reaches(f, &relay, "w.corp.example", 80));
    before = publisher_position(f->publisher);
    clock_ahead_ms += 2 * PUBLISH_EXPIRY_MS;
    while (publisher_position(f->publisher).revision == before.revision)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = 1000000 }, NULL);
    relay_pull(f, &relay);
    assert_false(reaches(f, &relay, "w.corp.example", 80));
}

/* After a restart the chain goes on; work that was committed meanwhile is published. */
static void test_restart(void **state)
{
    struct fixture *f = *state;
    AUTO(relay_deinit) struct relay relay = { .keys = NULL };
    struct store_tx *tx = NULL;

    commit(f, world, ARRAY_LEN(world));
    relay_pull(f, &relay);
    close_all(f);
    open_all(f);
    relay_pull(f, &relay);
    assert_int_equal(relay.snapshots, 1);

    store_on_commit(f->store, NULL, NULL);
    publisher_free(f->publisher);
    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_state_put(tx, "grant", SPAN(GRANT), SPAN_NONE), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    keyring_free(f->keys);
    store_close(f->store);
    open_all(f);
    relay_pull(f, &relay);
    assert_int_equal(relay.snapshots, 1);
    assert_null(policy_find(relay.policy, RECORD_GRANT, SPAN(GRANT)));
    assert_false(reaches(f, &relay, "w.corp.example", 80));
}

/* What a newer control plane has put into the database is for relays to judge. */
static void test_newer(void **state)
{
    static const struct put puts[] = {
        { "weather?", USER, "{\"sky\":\"blue\"}" },
        { "user", USER, "{\"name\":\"ann\",\"active\":true}" },
    };
    static const char line[] = "+user " USER " {\"name\":\"ann\",\"active\":true,\"mood\":1}";
    static const struct put gone = { "weather?", USER, "" }, mood = { "user", USER, line + sizeof("+user " USER) };
    struct fixture *f = *state;
    AUTO(relay_deinit) struct relay relay = { .keys = NULL };
    AUTO(buf_deinit) struct buf out;
    bool is_news = false;

    check_row("passes on a kind that is not known here, in a delta, and its removal");
    commit(f, puts, ARRAY_LEN(puts));
    relay_pull(f, &relay);
    assert_non_null(policy_find(relay.policy, RECORD_USER, SPAN(USER)));
    commit(f, &gone, 1);
    relay_pull(f, &relay);
    assert_int_equal(relay.at.skipped, 1);
    check_row("passes on a record with a field that is not known here");
    commit(f, &mood, 1);
    buf_init_heap(&out, 64u << 20);
    assert_int_equal(publisher_answer(f->publisher, (struct store_position){ 0 }, &out, &is_news), 0);
    assert_non_null(memmem(out.data, out.len, line, sizeof(line) - 1));
}

static void test_epoch(void **state)
{
    struct fixture *f = *state;
    AUTO(relay_deinit) struct relay relay = { .keys = NULL };
    struct store_position position = { 0 };
    struct store_tx *tx = NULL;

    commit(f, world, ARRAY_LEN(world));
    relay_pull(f, &relay);
    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_epoch_raise(tx), 0);
    assert_int_equal(store_commit(&tx, &position), 0);
    while (publisher_position(f->publisher).epoch < position.epoch)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = 1000000 }, NULL);
    relay_pull(f, &relay);
    assert_int_equal(relay.snapshots, 2);
    assert_true(relay.at.epoch > 1);
    commit(f, &(struct put){ "user", USER, "" }, 1);
    relay_pull(f, &relay);
    assert_int_equal(relay.snapshots, 2);
    close_all(f);
    open_all(f);
    relay_pull(f, &relay);
    assert_int_equal(relay.snapshots, 2);
}

/* A minute later a change leads to a snapshot, made beside: who begins then needs no deltas, and
 * finds what was put, replaced, removed, and removed and put again since the one before. */
static void test_snapshot(void **state)
{
    struct fixture *f = *state;
    AUTO(relay_deinit) struct relay first = { .keys = NULL };
    bool has_deltas = true;

    commit(f, world, ARRAY_LEN(world));
    relay_pull(f, &first);
    assert_int_equal(first.deltas, 1);
    commit(f, &(struct put){ "grant", GRANT, "" }, 1);
    commit(f, &(struct put){ "user", USER_2, "{\"name\":\"ben\",\"active\":true}" }, 1);
    commit(f, &world[ARRAY_LEN(world) - 1], 1);
    clock_ahead_ms += 2 * PUBLISH_SNAPSHOT_MS;
    commit(f, &(struct put){ "user", USER, "" }, 1);
    for (int tries = 0; has_deltas; tries++) {
        AUTO(relay_deinit) struct relay fresh = { .keys = NULL };

        relay_pull(f, &fresh);
        assert_null(policy_find(fresh.policy, RECORD_USER, SPAN(USER)));
        assert_non_null(policy_find(fresh.policy, RECORD_USER, SPAN(USER_2)));
        assert_non_null(policy_find(fresh.policy, RECORD_GRANT, SPAN(GRANT)));
        assert_true(reaches(f, &fresh, "w.corp.example", 80));
        has_deltas = fresh.deltas > 0;
        assert_true(tries < 10000);
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    relay_pull(f, &first);
    assert_int_equal(first.snapshots, 1);
}

/* Who has written asks for the policy that holds it; who asks for more waits no longer than told. */
static void test_policy_at(void **state)
{
    struct fixture *f = *state;
    struct store_position want = { 0 };
    struct store_tx *tx = NULL;
    struct policy *policy;

    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_state_put(tx, world[0].kind, span_str(world[0].id), span_str(world[0].json)), 0);
    assert_int_equal(store_commit(&tx, &want), 0);
    policy = publisher_policy_at(f->publisher, &want, 60000);
    assert_non_null(policy_find(policy, RECORD_USER, SPAN(USER)));
    policy_unref(policy);
    want.revision += 1000;
    policy = publisher_policy_at(f->publisher, &want, 1);
    assert_non_null(policy_find(policy, RECORD_USER, SPAN(USER)));
    policy_unref(policy);
}

/* A record that no relay could read is not sent, and what it replaced goes. */
static void test_withheld(void **state)
{
    struct fixture *f = *state;
    AUTO(relay_deinit) struct relay relay = { .keys = NULL };
    AUTO(buf_deinit) struct buf why;

    buf_init_heap(&why, 1024);
    commit(f, world, ARRAY_LEN(world));
    commit(f, &(struct put){ "user", USER, "{\"name\":7}" }, 1);
    relay_pull(f, &relay);
    assert_null(policy_find(relay.policy, RECORD_USER, SPAN(USER)));
    assert_true(publisher_is_well(f->publisher, &why));
}

static void test_foreign_keys(void **state)
{
    struct fixture *f = *state;
    struct keyring *keys = NULL;
    struct kek other = f->kek;
    AUTO(buf_deinit) struct buf err;

    buf_init_heap(&err, 1024);
    other.bytes[0] ^= 1;
    assert_int_equal(keyring_load(f->store, "test", &other, &keys, &err), -EBADMSG);
    assert_non_null(strstr(buf_text(&err), "another key file"));
    buf_clear(&err);
    assert_int_equal(keyring_load(f->store, "other", &f->kek, &keys, &err), -EINVAL);
    assert_non_null(strstr(buf_text(&err), "cluster"));
    buf_clear(&err);
    assert_int_equal(keyring_load(f->store, "test", &f->kek, &keys, &err), 0);
    assert_string_equal(keyring_pin(keys), keyring_pin(f->keys));
    keyring_free(keys);
}

#define PUBLISH_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PUBLISH_TEST(test_follow), PUBLISH_TEST(test_agent_policies), PUBLISH_TEST(test_restart),
        PUBLISH_TEST(test_epoch), PUBLISH_TEST(test_newer), PUBLISH_TEST(test_withheld),
        PUBLISH_TEST(test_foreign_keys), PUBLISH_TEST(test_policy_at), PUBLISH_TEST(test_snapshot),
        PUBLISH_TEST(test_expiry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
