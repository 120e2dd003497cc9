#include "dataplane/sync/control_fixture.h"
#include "lib/log/log.h"
#include <pthread.h>

/* A worker that asks: its loop runs on a thread of its own. */
struct asker {
    struct control *control;
    struct loop *loop;
    pthread_t thread;
    int error;
    unsigned answers, status;
    enum reason reason;
    char body[64];
    _Atomic bool is_done;
};

static void on_answer(void *user, const struct control_answer *answer)
{
    struct asker *a = user;

    a->answers++;
    a->status = answer->status;
    a->reason = answer->reason;
    (void)!span_copy(span_first(answer->body, sizeof(a->body) - 1), a->body, sizeof(a->body));
}

static bool has_answer(void *arg) { return ((struct asker *)arg)->answers > 0; }

static void *ask(void *arg)
{
    struct asker *a = arg;

    a->error = control_ask(a->control, "/internal/v1/join", SPAN("{\"csr\":\"x\"}"), a->loop, on_answer, a);
    if (!a->error)
        (void)loop_run_until(a->loop, has_answer, a, 20000);
    a->is_done = true;
    return NULL;
}

static bool is_done(void *arg) { return ((struct asker *)arg)->is_done; }

static void test_ask(void **state)
{
    static const struct { const char *it; unsigned status; bool is_away; unsigned want; enum reason reason; } rows[] = {
        { "brings an answer to the loop that asked", 200, false, 200, REASON_NONE },
        { "brings a refusal with its reason", 503, false, 503, REASON_OVERLOAD },
        { "tells that nobody answers", 0, true, 0, REASON_CONTROL_UNREACHABLE },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct asker a = { .status = 999 };
        struct plane *plane = malloc(sizeof(*plane));
        struct control_config config;
        struct member *member;
        struct loop *loop;

        check_row(rows[i].it);
        log_set_level(LOG_ERROR);
        assert_int_equal(loop_new(&loop), 0);
        plane_open(plane, loop);
        plane->status = rows[i].status;
        member = realm_member(&plane->realm, CERT_RELAY);
        config = (struct control_config){ .loop = loop, .url = plane->url, .member = member };
        assert_int_equal(control_new(&config, &a.control), 0);
        if (rows[i].is_away)
            plane_leaves(plane);
        assert_int_equal(loop_new(&a.loop), 0);
        assert_int_equal(pthread_create(&a.thread, NULL, ask, &a), 0);
        while (!a.is_done)
            (void)loop_run_until(loop, is_done, &a, 20);
        pthread_join(a.thread, NULL);
        assert_int_equal(a.error, 0);
        assert_int_equal(a.answers, 1);
        assert_int_equal(a.status, rows[i].want);
        assert_int_equal(a.reason, rows[i].reason);
        if (!rows[i].is_away)
            assert_string_equal(plane->body, "{\"csr\":\"x\"}");
        loop_free(a.loop);
        control_free(a.control);
        member_free(member);
        plane_close(plane);
        free(plane);
        loop_free(loop);
    }
}

/* Only a control plane of this cluster is told anything. */
static void test_foreign(void **state)
{
    struct asker a = { .status = 999 };
    struct plane *plane = malloc(sizeof(*plane));
    struct control_config config;
    struct realm other;
    struct member *member;
    struct loop *loop;

    (void)state;
    check_row("says nothing to a server of another cluster");
    assert_int_equal(loop_new(&loop), 0);
    plane_open(plane, loop);
    realm_open(&other, "test");
    member = realm_member(&other, CERT_RELAY);
    config = (struct control_config){ .loop = loop, .url = plane->url, .member = member };
    assert_int_equal(control_new(&config, &a.control), 0);
    assert_int_equal(control_send(a.control, "/internal/v1/events", SPAN("{}"), 1024, 5000, on_answer, &a), 0);
    assert_true(loop_run_until(loop, has_answer, &a, 8000));
    assert_int_equal(a.status, 0);
    assert_int_not_equal(a.reason, REASON_NONE);
    assert_int_equal(plane->posted, 0);
    control_free(a.control);
    member_free(member);
    realm_close(&other);
    plane_close(plane);
    free(plane);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_ask), cmocka_unit_test(test_foreign) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
