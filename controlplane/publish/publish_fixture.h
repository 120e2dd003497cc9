#pragma once
#include "controlplane/publish/publish_internal.h"
#include "controlplane/store/store_where_fixture.h"
#include "lib/check/check.h"
#include "lib/crypto/random.h"
#include "lib/state/agentpolicy.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>
/*
 * publish_fixture.h - for tests of this room: a store with its publisher, and a relay that follows it.
 */
#define AGENT "01ARZ3NDEKTSV4RRFFQ69G5FA1"
#define GROUP "01ARZ3NDEKTSV4RRFFQ69G5FG1"
#define PROFILE "01ARZ3NDEKTSV4RRFFQ69G5FP1"
#define GRANT "01ARZ3NDEKTSV4RRFFQ69G5FR1"
#define USER "01ARZ3NDEKTSV4RRFFQ69G5FV1"
#define RULE "01ARZ3NDEKTSV4RRFFQ69G5FD1"

#define USER_2 "01ARZ3NDEKTSV4RRFFQ69G5FV2"
#define GROUP_2 "01ARZ3NDEKTSV4RRFFQ69G5FG2"

static _Atomic uint64_t clock_ahead_ms;

static inline uint64_t test_clock(void)
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
    uint64_t (*now_ms)(void);
};

static inline void open_all(struct fixture *f)
{
    struct store_where where;
    struct store_options *options = store_where(&where, f->dir);
    struct publisher_options publisher = { .beat_ms = f->beat_ms };
    AUTO(buf_deinit) struct buf err;

    buf_init_heap(&err, 4096);
    options->readers = 2;
    options->now_ms = f->now_ms;
    assert_int_equal(store_open(options, &f->store, &err), 0);
    assert_int_equal(keyring_load(f->store, "test", &f->kek, &f->keys, &err), 0);
    publisher.store = f->store;
    publisher.keys = f->keys;
    assert_int_equal(publisher_start(&publisher, &f->publisher, &err), 0);
    store_on_commit(f->store, publisher_wake, f->publisher);
}

static inline void close_all(struct fixture *f)
{
    store_on_commit(f->store, NULL, NULL);
    publisher_free(f->publisher);
    keyring_free(f->keys);
    store_close(f->store);
}

static inline int setup_with(void **state, uint64_t (*now_ms)(void), unsigned beat_ms)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->beat_ms = beat_ms;
    f->now_ms = now_ms;
    snprintf(f->dir, sizeof(f->dir), "/tmp/adit-publish-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    random_bytes(f->kek.bytes, sizeof(f->kek.bytes));
    open_all(f);
    *state = f;
    return 0;
}

static inline int setup(void **state)
{
    return setup_with(state, test_clock, 100);
}

static inline int teardown(void **state)
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
static inline void commit(struct fixture *f, const struct put *puts, size_t n)
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

static inline void relay_pull(struct fixture *f, struct relay *relay)
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

static inline void relay_deinit(struct relay *relay)
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

static inline bool reaches(struct fixture *f, struct relay *relay, const char *name, uint16_t port)
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
