#include "controlplane/publish/publish.h"
#include "controlplane/publish/rotation.h"
#include "controlplane/store/store_where_fixture.h"
#include "lib/base/hash.h"
#include "lib/crypto/random.h"
#include "lib/state/agentpolicy.h"
#include "lib/state/state.h"
#include <string.h>
#include <time.h>

/* Keys that are rotated while a relay follows. */
#define USER "01ARZ3NDEKTSV4RRFFQ69G5FA1"
#define AGENT "01ARZ3NDEKTSV4RRFFQ69G5FA2"
#define GROUP "01ARZ3NDEKTSV4RRFFQ69G5FA3"
#define OVERLAP_MS 60000

static _Atomic uint64_t ahead_ms;

static uint64_t test_clock(void)
{
    return 1800000000000 + ahead_ms;
}

struct town {
    char dir[64];
    struct kek kek;
    struct store *store;
    struct keyring *keys;
    struct publisher *publisher;
};

static void open_all(struct town *f)
{
    struct store_where where;
    struct store_options *options = store_where(&where, f->dir);
    struct publisher_options publisher = { .beat_ms = 50 };
    AUTO(buf_deinit) struct buf err;

    buf_init_heap(&err, 4096);
    options->now_ms = test_clock;
    assert_int_equal(store_open(options, &f->store, &err), 0);
    assert_int_equal(keyring_load(f->store, "test", &f->kek, &f->keys, &err), 0);
    publisher.store = f->store;
    publisher.keys = f->keys;
    assert_int_equal(publisher_start(&publisher, &f->publisher, &err), 0);
    store_on_commit(f->store, publisher_wake, f->publisher);
}

static void close_all(struct town *f)
{
    store_on_commit(f->store, NULL, NULL);
    publisher_free(f->publisher);
    keyring_free(f->keys);
    store_close(f->store);
}

static int setup(void **state)
{
    static const unsigned char seed[16] = "a seed for tests";
    struct town *f = calloc(1, sizeof(*f));

    hash_seed(seed);
    ahead_ms = 0;
    snprintf(f->dir, sizeof(f->dir), "/tmp/adit-rotate-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    random_bytes(f->kek.bytes, sizeof(f->kek.bytes));
    open_all(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct town *f = *state;

    close_all(f);
    where_remove(f->dir);
    free(f);
    return 0;
}

static void put(struct town *f, const char *kind, const char *id, const char *json)
{
    struct store_position at = { 0 };
    struct store_tx *tx;

    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_state_put(tx, kind, span_str(id), span_str(json)), 0);
    assert_int_equal(store_commit(&tx, &at), 0);
    policy_unref(publisher_policy_at(f->publisher, &at, 20000));
}

static int begin(struct town *f, const char *purpose, int64_t overlap_ms)
{
    struct store_position at = { 0 };
    struct store_tx *tx;
    int r;

    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    r = rotation_begin(tx, f->keys, purpose, overlap_ms);
    if (r) {
        store_rollback(tx);
        return r;
    }
    assert_int_equal(store_commit(&tx, &at), 0);
    policy_unref(publisher_policy_at(f->publisher, &at, 20000));
    return 0;
}

/* Until the state says this serial number. */
static void wait_serial(struct town *f, const char *serial)
{
    for (int i = 0; i < 20000; i++) {
        AUTO(policy_unrefp) struct policy *policy = publisher_policy(f->publisher);

        if (span_eq(policy_setting(policy, "keys"), span_str(serial)))
            return;
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    fail_msg("the serial never became %s", serial);
}

/* ---- a relay ---- */
struct relay {
    struct keyset *keys;
    struct policy *policy;
    struct state_position at;
};

static void relay_ask_keys(struct town *f, struct relay *relay)
{
    struct state_error error = { "" };

    if (relay->keys)
        keyset_unref(relay->keys);
    assert_int_equal(keyset_open_pinned(keyring_keyset(f->keys), "test", keyring_root_pem(f->keys), keyring_pin(f->keys),
                                        &relay->keys, &error), 0);
}

/* 0, or what refuses the first document that is refused. */
static int relay_pull(struct town *f, struct relay *relay)
{
    AUTO(buf_deinit) struct buf out;
    struct state_error error = { "" };
    struct state_head head;
    struct document d;
    struct span rest;
    bool is_news;
    int r;

    buf_init_heap(&out, 64u << 20);
    assert_int_equal(publisher_answer(f->publisher, (struct store_position){ relay->at.epoch, relay->at.revision }, &out,
                                      &is_news), 0);
    rest = buf_span(&out);
    assert_int_equal(document_cut(&rest, &d, &error), 0);
    r = state_head_open(&d, relay->keys, &head, &error);
    while (!r && document_cut(&rest, &d, &error) == 0) {
        struct policy *next = NULL;

        r = state_apply(&d, relay->keys, relay->policy, &relay->at, &next, &relay->at, &error);
        if (r == STATE_E_HAVE)
            r = 0;
        else if (!r) {
            policy_unref(relay->policy);
            relay->policy = next;
        }
    }
    return r;
}

static void relay_deinit(struct relay *relay)
{
    policy_unref(relay->policy);
    if (relay->keys)
        keyset_unref(relay->keys);
}

static const char *policy_key(struct relay *relay)
{
    static struct document d;
    const struct agentpolicy_record *record = RECORD_AS(policy_find(relay->policy, RECORD_AGENTPOLICY, SPAN(AGENT)),
                                                        AGENTPOLICY, agentpolicy_record);
    struct state_error error;
    struct span text;

    assert_non_null(record);
    text = span_str(record->document);
    assert_int_equal(document_cut(&text, &d, &error), 0);
    return d.key_id;
}

static void test_state_key(void **state)
{
    struct town *f = *state;
    AUTO(relay_deinit) struct relay relay = { .at = STATE_POSITION_NONE }, fresh = { .at = STATE_POSITION_NONE };
    char first[32], second[32];

    put(f, "user", USER, "{\"name\":\"ann\",\"active\":true}");
    put(f, "agent", AGENT, "{\"name\":\"a1\",\"active\":true}");
    relay_ask_keys(f, &relay);
    assert_int_equal(relay_pull(f, &relay), 0);
    snprintf(first, sizeof(first), "%s", keyring_state_id(f->keys));
    assert_string_equal(policy_key(&relay), first);

    /* The old key still signs what says that there is another. */
    assert_int_equal(begin(f, "state", OVERLAP_MS), 0);
    assert_int_equal(begin(f, "state", OVERLAP_MS), ROTATION_E_BUSY);
    assert_int_equal(relay_pull(f, &relay), 0);
    assert_true(span_eq(policy_setting(relay.policy, "keys"), SPAN("2")));
    assert_string_equal(keyring_state_id(f->keys), first);
    relay_ask_keys(f, &relay);
    assert_int_equal(keyset_serial(relay.keys), 2);

    /* Then the new one, which who asked knows; agents' policies are signed anew. */
    ahead_ms += ROTATION_LEAD_MS;
    wait_serial(f, "3");
    snprintf(second, sizeof(second), "%s", keyring_state_id(f->keys));
    assert_string_not_equal(first, second);
    assert_true(keyring_knows(f->keys, first));
    for (int i = 0; i < 5000 && strcmp(policy_key(&relay), second) != 0; i++) {
        assert_int_equal(relay_pull(f, &relay), 0);
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    assert_string_equal(policy_key(&relay), second);

    /* And the old one ends. */
    ahead_ms += OVERLAP_MS;
    wait_serial(f, "4");
    assert_false(keyring_knows(f->keys, first));
    assert_int_equal(relay_pull(f, &relay), 0);
    relay_ask_keys(f, &relay);
    assert_int_equal(keyset_serial(relay.keys), 4);
    put(f, "user", USER, "{\"name\":\"ann\",\"active\":false}");
    assert_int_equal(relay_pull(f, &relay), 0);

    /* Nothing of it is needed any more: neither by who is new, nor after a restart. */
    relay_ask_keys(f, &fresh);
    assert_int_equal(relay_pull(f, &fresh), 0);
    assert_int_equal(fresh.at.revision, relay.at.revision);
    close_all(f);
    open_all(f);
    relay_deinit(&fresh);
    fresh = (struct relay){ .at = STATE_POSITION_NONE };
    relay_ask_keys(f, &fresh);
    assert_int_equal(relay_pull(f, &fresh), 0);
    assert_string_equal(keyring_state_id(f->keys), second);
    assert_int_equal(begin(f, "state", 0), 0);
}

/* 1000 names of 200 bytes, all of which the user may reach through the agent. */
static void put_large(struct town *f, unsigned n)
{
    AUTO(buf_deinit) struct buf json;
    char profile[ULID_LEN + 1], grant[ULID_LEN + 1], text[256];

    buf_init_heap(&json, 1 << 20);
    snprintf(profile, sizeof(profile), "01J0000000000000000000000%u", n);
    snprintf(grant, sizeof(grant), "01J0000000000000000000001%u", n);
    buf_printf(&json, "{\"name\":\"large-%u\",\"agentgroup\":\"" GROUP "\",\"hosts\":[", n);
    for (unsigned i = 0; i < 1000; i++)
        buf_printf(&json, "%s\"%055u.%055u.%055u.%u-%u.example\"", i ? "," : "", i, i, i, n, i);
    buf_put_str(&json, "]}");
    put(f, "profile", profile, buf_text(&json));
    snprintf(text, sizeof(text), "{\"subject_kind\":\"user\",\"subject\":\"" USER "\",\"profile\":\"%s\"}", profile);
    put(f, "grant", grant, text);
}

/* An agent whose policy has become too large keeps the one that it had, under the present key. */
static void test_too_large(void **state)
{
    struct town *f = *state;
    AUTO(relay_deinit) struct relay relay = { .at = STATE_POSITION_NONE };
    char first[32];

    put(f, "user", USER, "{\"name\":\"ann\",\"active\":true}");
    put(f, "agent", AGENT, "{\"name\":\"a1\",\"active\":true}");
    put(f, "agentgroup", GROUP, "{\"name\":\"g\",\"mode\":\"priority\",\"members\":[{\"agent\":\"" AGENT "\",\"priority\":1,"
                                "\"weight\":1,\"enabled\":true}]}");
    put_large(f, 1);
    put_large(f, 2);
    snprintf(first, sizeof(first), "%s", keyring_state_id(f->keys));
    assert_int_equal(begin(f, "state", OVERLAP_MS), 0);
    ahead_ms += ROTATION_LEAD_MS;
    wait_serial(f, "3");
    ahead_ms += OVERLAP_MS;
    wait_serial(f, "4");
    assert_false(keyring_knows(f->keys, first));
    relay_ask_keys(f, &relay);
    assert_int_equal(relay_pull(f, &relay), 0);
    assert_string_equal(policy_key(&relay), keyring_state_id(f->keys));
}

static int is_gone(void *ctx, const struct store_key *key)
{
    if (strcmp(key->status, "retired") == 0) {
        assert_int_equal(key->sealed.n, 0);
        ++*(int *)ctx;
    }
    return 0;
}

static void test_credential_key(void **state)
{
    struct town *f = *state;
    const struct keyring_credential *keys;
    unsigned char first[CREDENTIAL_KEY_LEN];
    struct store_tx *tx;
    size_t count;
    int gone = 0;

    keys = keyring_credentials(f->keys, &count);
    assert_int_equal(count, 1);
    memcpy(first, keys[0].key, sizeof(first));
    assert_int_equal(begin(f, "credential", OVERLAP_MS), 0);
    keys = keyring_credentials(f->keys, &count);
    assert_int_equal(count, 2);
    assert_int_equal(keys[0].number, 1);                /* hashes, until relays have the other */
    ahead_ms += ROTATION_LEAD_MS;
    wait_serial(f, "3");
    keys = keyring_credentials(f->keys, &count);
    assert_int_equal(count, 2);
    assert_int_equal(keys[0].number, 2);
    assert_memory_equal(keys[1].key, first, sizeof(first));
    ahead_ms += OVERLAP_MS;
    wait_serial(f, "4");
    keys = keyring_credentials(f->keys, &count);
    assert_int_equal(count, 1);
    assert_int_equal(keys[0].number, 2);
    assert_int_equal(store_begin(f->store, STORE_READ, &tx), 0);
    assert_int_equal(store_keys(tx, "credential", is_gone, &gone), 0);
    store_rollback(tx);
    assert_int_equal(gone, 1);
}

static void restore_from(struct town *f, FILE *file)
{
    struct store_where where;
    struct store_options *options = store_where(&where, f->dir);
    struct store_backup done;
    AUTO(buf_deinit) struct buf err;
    struct store_tx *tx;

    buf_init_heap(&err, 4096);
    options->now_ms = test_clock;
    assert_int_equal(store_open(options, &f->store, &err), 0);
    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_restore(tx, file, &done, &err), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    store_close(f->store);
}

/* Who has a set of keys takes no older one: what is restored must be told under a greater number. */
static void test_restore(void **state)
{
    struct town *f = *state;
    AUTO(relay_deinit) struct relay relay = { .at = STATE_POSITION_NONE };
    struct store_backup done;
    struct store_tx *tx;
    uint64_t newest;
    char first[32];
    FILE *file = tmpfile();

    assert_non_null(file);
    assert_int_equal(store_begin(f->store, STORE_READ, &tx), 0);
    assert_int_equal(store_backup(tx, file, &done), 0);
    store_rollback(tx);
    rewind(file);
    snprintf(first, sizeof(first), "%s", keyring_state_id(f->keys));
    assert_int_equal(begin(f, "state", OVERLAP_MS), 0);
    ahead_ms += ROTATION_LEAD_MS;
    wait_serial(f, "3");
    ahead_ms += OVERLAP_MS;
    wait_serial(f, "4");
    relay_ask_keys(f, &relay);
    assert_int_equal(relay_pull(f, &relay), 0);
    newest = keyset_serial(relay.keys);

    close_all(f);
    where_remove(f->dir);
    snprintf(f->dir, sizeof(f->dir), "/tmp/adit-rotate-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    restore_from(f, file);
    fclose(file);
    open_all(f);
    assert_string_equal(keyring_state_id(f->keys), first);
    relay_ask_keys(f, &relay);
    assert_true(keyset_serial(relay.keys) > newest);
    newest = keyset_serial(relay.keys);
    assert_int_equal(relay_pull(f, &relay), 0);
    assert_true(span_eq(policy_setting(relay.policy, "keys"), span_str(keyring_serial(f->keys))));

    /* Once: a restart is no restore. */
    close_all(f);
    open_all(f);
    relay_ask_keys(f, &relay);
    assert_int_equal(keyset_serial(relay.keys), newest);
    assert_int_equal(begin(f, "state", OVERLAP_MS), 0);
    relay_ask_keys(f, &relay);
    assert_int_equal(keyset_serial(relay.keys), newest + 1);
}

#define TEST(fn_) cmocka_unit_test_setup_teardown(fn_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = { TEST(test_state_key), TEST(test_credential_key), TEST(test_restore),
                                         TEST(test_too_large) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
