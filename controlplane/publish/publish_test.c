#include "controlplane/publish/publish_internal.h"
#include "controlplane/store/store_where_fixture.h"
#include "lib/check/check.h"
#include "lib/crypto/random.h"
#include "lib/state/agentpolicy.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define AGENT "01ARZ3NDEKTSV4RRFFQ69G5FA1"
#define GROUP "01ARZ3NDEKTSV4RRFFQ69G5FG1"
#define PROFILE "01ARZ3NDEKTSV4RRFFQ69G5FP1"
#define GRANT "01ARZ3NDEKTSV4RRFFQ69G5FR1"
#define USER "01ARZ3NDEKTSV4RRFFQ69G5FV1"
#define RULE "01ARZ3NDEKTSV4RRFFQ69G5FD1"

#define USER_2 "01ARZ3NDEKTSV4RRFFQ69G5FV2"
#define GROUP_2 "01ARZ3NDEKTSV4RRFFQ69G5FG2"

static _Atomic uint64_t clock_ahead_ms;

static uint64_t test_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + clock_ahead_ms;
}

struct fixture {
    char dir[64];
    struct kek kek;
    struct store *store;
    struct keyring *keys;
    struct publisher *publisher;
    unsigned beat_ms;
};

static void open_all(struct fixture *f)
{
    struct store_where where;
    struct store_options *options = store_where(&where, f->dir);
    struct publisher_options publisher = { .beat_ms = f->beat_ms };
    AUTO(buf_deinit) struct buf err;

    buf_init_heap(&err, 4096);
    options->readers = 2;
    options->now_ms = test_clock;
    assert_int_equal(store_open(options, &f->store, &err), 0);
    assert_int_equal(keyring_load(f->store, "test", &f->kek, &f->keys, &err), 0);
    publisher.store = f->store;
    publisher.keys = f->keys;
    assert_int_equal(publisher_start(&publisher, &f->publisher, &err), 0);
    store_on_commit(f->store, publisher_wake, f->publisher);
}

static void close_all(struct fixture *f)
{
    store_on_commit(f->store, NULL, NULL);
    publisher_free(f->publisher);
    keyring_free(f->keys);
    store_close(f->store);
}

static int setup_with(void **state, unsigned beat_ms)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->beat_ms = beat_ms;
    snprintf(f->dir, sizeof(f->dir), "/tmp/adit-publish-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    random_bytes(f->kek.bytes, sizeof(f->kek.bytes));
    open_all(f);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, 100);
}

/* Who leads is not put off because the machine is slow. */
static int setup_slow(void **state)
{
    return setup_with(state, 5000);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close_all(f);
    where_remove(f->dir);
    free(f);
    return 0;
}

struct put {
    const char *kind, *id, *json;
};

/* Commits, and waits until that is published. */
static void commit(struct fixture *f, const struct put *puts, size_t n)
{
    struct store_position want = { 0 }, have;
    struct store_tx *tx = NULL;

    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(store_state_put(tx, puts[i].kind, span_str(puts[i].id), span_str(puts[i].json)), 0);
    assert_int_equal(store_commit(&tx, &want), 0);
    do {
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = 1000000 }, NULL);
        have = publisher_position(f->publisher);
    } while (have.revision < want.revision);
}

/* What a relay does with an answer. */
struct relay {
    struct keyset *keys;
    struct policy *policy;
    struct state_position at;
    struct state_head head;
    int snapshots, deltas;
};

static void relay_pull(struct fixture *f, struct relay *relay)
{
    AUTO(buf_deinit) struct buf out;
    struct state_error error = { "" };
    struct span rest;
    struct document d;
    struct state_head head;
    bool is_news = false;

    if (!relay->keys) {
        relay->at = STATE_POSITION_NONE;
        assert_int_equal(keyset_open_pinned(keyring_keyset(f->keys), "test", keyring_root_pem(f->keys),
                                            keyring_pin(f->keys), &relay->keys, &error), 0);
    }
    buf_init_heap(&out, 64u << 20);
    assert_int_equal(publisher_answer(f->publisher, (struct store_position){ relay->at.epoch,
                                      relay->at.revision }, &out, &is_news), 0);
    rest = buf_span(&out);
    assert_int_equal(document_cut(&rest, &d, &error), 0);
    assert_int_equal(state_head_open(&d, relay->keys, &head, &error), 0);
    assert_int_equal(state_head_check(&relay->head, &head, &error), 0);
    relay->head = head;
    while (document_cut(&rest, &d, &error) == 0) {
        struct policy *next = NULL;
        int r;

        relay->snapshots += d.kind == DOCUMENT_SNAPSHOT;
        relay->deltas += d.kind == DOCUMENT_DELTA;
        r = state_apply(&d, relay->keys, relay->policy, &relay->at, &next, &relay->at, &error);
        if (r == STATE_E_HAVE)
            continue;
        if (r)
            print_message("%s\n", error.text);
        assert_int_equal(r, 0);
        policy_unref(relay->policy);
        relay->policy = next;
    }
    assert_int_equal(relay->at.revision, head.revision);
    assert_string_equal(relay->at.digest, head.digest);
}

static void relay_deinit(struct relay *relay)
{
    policy_unref(relay->policy);
    if (relay->keys)
        keyset_unref(relay->keys);
}

static const struct put world[] = {
    { "user", USER, "{\"name\":\"ann\",\"active\":true}" },
    { "agent", AGENT, "{\"name\":\"a1\",\"active\":true}" },
    { "agentgroup", GROUP, "{\"name\":\"g1\",\"mode\":\"priority\",\"members\":[{\"agent\":\"" AGENT "\",\"priority\":1,\"weight\":1,\"enabled\":true}]}" },
    { "profile", PROFILE, "{\"name\":\"p1\",\"hosts\":[\"*.corp.example\"],\"ports\":[\"80\"],"
      "\"allow_special\":true,\"agentgroup\":\"" GROUP "\"}" },
    { "grant", GRANT, "{\"subject_kind\":\"user\",\"subject\":\"" USER "\",\"profile\":\"" PROFILE "\"}" },
};

static bool reaches(struct fixture *f, struct relay *relay, const char *name, uint16_t port)
{
    const struct agentpolicy_record *record;
    AUTO(agent_reach_freep) struct agent_reach *reach = NULL;
    struct agentpolicy_header header = { 0 };
    struct state_error error = { "" };
    struct target t;
    struct addr a = addr_v4(10, 0, 0, 1);

    (void)f;
    record = RECORD_AS(policy_find(relay->policy, RECORD_AGENTPOLICY, SPAN(AGENT)), AGENTPOLICY, agentpolicy_record);
    assert_non_null(record);
    assert_int_equal(agentpolicy_open(span_str(record->document), relay->keys, AGENT, NULL, &header,
                                      &reach, &error), 0);
    if (name[0] == '/')
        return agent_reach_allows_unix(reach, span_str(name));
    assert_true(target_parse(span_str(name), port, &t));
    return agent_reach_allows(reach, &t, &a, NULL);
}

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

#define PUBLISH_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define SLOW_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_slow, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PUBLISH_TEST(test_follow), PUBLISH_TEST(test_agent_policies), PUBLISH_TEST(test_restart),
        PUBLISH_TEST(test_epoch), PUBLISH_TEST(test_newer), PUBLISH_TEST(test_withheld),
        PUBLISH_TEST(test_foreign_keys), PUBLISH_TEST(test_policy_at), PUBLISH_TEST(test_snapshot),
        PUBLISH_TEST(test_expiry),
        SLOW_TEST(test_two), SLOW_TEST(test_two_epochs), PUBLISH_TEST(test_other_server),
        PUBLISH_TEST(test_hung),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
