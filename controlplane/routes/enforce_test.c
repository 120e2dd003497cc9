#include "controlplane/publish/publish.h"
#include "controlplane/routes/api_fixture.h"

/* One relay of an older release, and what needs a newer one. */
struct town {
    struct fix fix;
    struct publisher *publisher;
    struct ulid relay;
    struct fix_answer answer;
};

static struct town town;

#define ANY "If-Match: *\r\n"
#define OLD "{\"epoch\":1,\"revision\":1,\"software\":\"adit-relay/0.1\",\"agents\":[],\"streams\":0}"
#define NEW "{\"epoch\":1,\"revision\":1,\"software\":\"adit-relay/0.2\",\"features\":[\"skip\",\"quota\",\"cut-breaker\",\"moon\"]}"
#define REFUSES "{\"epoch\":1,\"revision\":1,\"software\":\"adit-relay/0.1\",\"features\":[\"skip\"],\"refuses\":\"delta 1.9, line 2\"}"

static struct policy *on_policy(void *ctx, const struct store_position *at)
{
    return publisher_policy_at(((struct town *)ctx)->publisher, at, 5000);
}

static void with_policy(struct fix *f, struct api_options *options)
{
    AUTO(buf_deinit) struct buf err;
    struct publisher_options publisher = { .store = f->store, .keys = f->keys };

    buf_init_heap(&err, 4096);
    assert_int_equal(publisher_start(&publisher, &town.publisher, &err), 0);
    store_on_commit(f->store, publisher_wake, town.publisher);
    options->policy = on_policy;
    options->policy_ctx = &town;
}

static int setup(void **state)
{
    struct store_tx *tx;

    *state = NULL;
    fix_start_tuned(&town.fix, with_policy);
    assert_int_equal(store_begin(town.fix.store, STORE_WRITE, &tx), 0);
    town.relay = fix_insert(&town.fix, tx, KIND_RELAY, "edge-1", "{\"status\":\"active\"}", NULL,
                            (struct change_secret){ 0 });
    assert_int_equal(store_commit(&tx, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_on_commit(town.fix.store, NULL, NULL);
    publisher_free(town.publisher);
    fix_stop(&town.fix);
    return 0;
}

static void report(const char *doc)
{
    struct store_tx *tx;

    assert_int_equal(store_begin(town.fix.store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_report_put(tx, &town.relay, "relay.applied", span_str(doc)), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

/* What was committed before is in the policy. */
static void wait_published(void)
{
    struct store_position at;
    struct store_tx *tx;

    assert_int_equal(store_begin(town.fix.store, STORE_READ, &tx), 0);
    assert_int_equal(store_position(tx, &at), 0);
    store_rollback(tx);
    policy_unref(publisher_policy_at(town.publisher, &at, 10000));
}

static void test_story(void **state)
{
    static const struct {
        const char *it, *report, *method, *path, *more, *body;
        int status;
        const char *has, *has_not;
    } rows[] = {
        { "does not wait for the word of a relay that never reported", NULL, "POST", "/quotas", "",
          "{\"name\":\"q0\",\"user\":\"victor\",\"max_streams\":5}", 201, NULL, NULL },
        { "refuses what a relay does not know", OLD, "POST", "/quotas", "",
          "{\"name\":\"q1\",\"user\":\"uwe\",\"max_streams\":5}", 409, "The relay edge-1 (adit-relay/0.1) does not know: quota.",
          "Adit-Revision" },
        { "gives the reason", NULL, "POST", "/quotas", "", "{\"name\":\"q1\",\"user\":\"uwe\",\"max_streams\":5}", 409,
          "\"relay-too-old\"", NULL },
        { "refuses the dry run too", NULL, "POST", "/quotas?dry_run=true", "",
          "{\"name\":\"q1\",\"user\":\"uwe\",\"max_streams\":5}", 409, "relay-too-old", NULL },
        { "has changed nothing", NULL, "GET", "/quotas/q1", "", NULL, 404, NULL, NULL },
        { "refuses a change of one", NULL, "PATCH", "/quotas/q0", ANY, "{\"max_streams\":4}", 409, "relay-too-old", NULL },
        { "refuses it in a declared document", NULL, "PUT", "/config?owner=t", "",
          "{\"quotas\":[{\"name\":\"q2\",\"user\":\"uwe\",\"max_streams\":1}]}", 409, "relay-too-old", NULL },
        { "takes a change that relays do not see", NULL, "PATCH", "/quotas/q0", ANY, "{\"description\":\"d\"}", 200, NULL, NULL },
        { "takes what every relay knows", NULL, "POST", "/groups", "", "{\"name\":\"g\"}", 201, NULL, NULL },
        { "names the relay in the status", NULL, "GET", "/status", "", NULL, 200,
          "cannot enforce: quota", NULL },
        { "with severity", NULL, "GET", "/status", "", NULL, 200, "\"severity\":\"error\",\"reason\":\"relay-too-old\"", NULL },
        { "names it with the revision", NULL, "GET", "/revisions/1", "", NULL, 200, "\"cannot_enforce\":[\"quota\"]", "refuses" },
        { "tells what the relay says", REFUSES, "GET", "/status", "", NULL, 200, "it says: delta 1.9, line 2.", NULL },
        { "tells it with the revision", NULL, "GET", "/revisions/1", "", NULL, 200, "\"refuses\":\"delta 1.9, line 2\"", NULL },
        { "takes what restricts away", NULL, "DELETE", "/quotas/q0", ANY, NULL, 204, NULL, NULL },
        { "says nothing of what is not in force", OLD, "GET", "/status", "", NULL, 200, NULL, "relay-too-old" },
        { "takes it once the relay was upgraded", NEW, "POST", "/quotas", "",
          "{\"name\":\"q3\",\"user\":\"uwe\",\"max_streams\":5}", 201, NULL, NULL },
        { "and says nothing more", NULL, "GET", "/status", "", NULL, 200, NULL, "relay-too-old" },
        { "does not ask for a relay that is disabled", OLD, "PATCH", "/relays/edge-1", ANY, "{\"status\":\"disabled\"}", 200, NULL, NULL },
        { "takes it then", NULL, "POST", "/quotas", "", "{\"name\":\"q4\",\"user\":\"olga\",\"max_streams\":5}", 201, NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char headers[256];

        if (rows[i].report)
            report(rows[i].report);
        wait_published();
        snprintf(headers, sizeof(headers), "Content-Type: application/json\r\n%s", rows[i].more);
        fix_ask(&town.fix, town.fix.users[FIX_ADMIN].token, rows[i].method, rows[i].path, headers, rows[i].body,
                &town.answer);
        if (town.answer.status != rows[i].status || (rows[i].has && !strstr(town.answer.text, rows[i].has)) ||
            (rows[i].has_not && strstr(town.answer.text, rows[i].has_not)))
            fail_msg("it %s: got %s", rows[i].it, town.answer.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_story) };

    return cmocka_run_group_tests(tests, setup, teardown);
}
