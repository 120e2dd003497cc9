#include "controlplane/routes/api_fixture.h"
#include "controlplane/routes/hub.h"
#include <poll.h>

/* One who listens, over a socket. */
struct ear {
    int fd;
    char text[262144];
    size_t len;
};

static void ear_open(const struct fix *f, struct ear *e, const char *token, const char *path, const char *last)
{
    char head[1024];

    *e = (struct ear){ .fd = fix_connect(f) };
    snprintf(head, sizeof(head), "GET /api/v1%s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\n%s%s%s\r\n",
             path, token, last ? "Last-Event-ID: " : "", last ? last : "", last ? "\r\n" : "");
    assert_true(write(e->fd, head, strlen(head)) == (ssize_t)strlen(head));
}

static void ear_close(struct ear *e)
{
    close(e->fd);
}

/* Until the text is there; false: the other end closed, or 20 s are over. */
static bool hears(struct ear *e, const char *text)
{
    while (!strstr(e->text, text)) {
        ssize_t n = e->len + 1 < sizeof(e->text) ? read(e->fd, e->text + e->len, sizeof(e->text) - 1 - e->len) : 0;

        if (n <= 0)
            return false;
        e->len += (size_t)n;
        e->text[e->len] = 0;
    }
    return true;
}

static void change_user(struct fix *f, size_t which)
{
    static struct fix_answer a;
    char path[128];

    snprintf(path, sizeof(path), "/users/%s", f->users[which].id.text);
    fix_ask(f, f->users[FIX_ADMIN].token, "PATCH", path, FIX_JSON, "{\"description\":\"other\"}", &a);
    assert_int_equal(a.status, 200);
}

static void test_hears_changes_as_they_come(void **state)
{
    static struct ear e;
    struct fix f;

    (void)state;
    fix_start(&f);
    ear_open(&f, &e, f.users[FIX_AUDITOR].token, "/events", NULL);
    assert_true(hears(&e, "event: ready"));
    assert_non_null(strstr(e.text, "text/event-stream"));
    change_user(&f, FIX_VICTIM);
    assert_true(hears(&e, "event: changes"));
    assert_true(hears(&e, f.users[FIX_VICTIM].id.text));
    assert_true(hears(&e, "\"what\":\"changed\""));
    assert_null(strstr(e.text, "other"));       /* the object itself is not told */
    ear_close(&e);
    fix_stop(&f);
}

static void test_hears_what_he_may_see(void **state)
{
    static struct ear e;
    struct fix f;

    (void)state;
    fix_start(&f);
    ear_open(&f, &e, f.users[FIX_USER].token, "/events?topics=changes", NULL);
    assert_true(hears(&e, "event: ready"));
    change_user(&f, FIX_VICTIM);
    change_user(&f, FIX_USER);
    assert_true(hears(&e, f.users[FIX_USER].id.text));
    assert_null(strstr(e.text, f.users[FIX_VICTIM].id.text));
    ear_close(&e);
    fix_stop(&f);
}

static void last_id(const struct ear *e, char *dst, size_t size)
{
    const char *at = NULL, *next = e->text;

    while ((next = strstr(next, "id: ")))
        at = next += 4;
    assert_non_null(at);
    assert_true(span_copy(span_of(at, strcspn(at, "\r\n")), dst, size));
}

static void test_goes_on_where_it_was(void **state)
{
    static struct ear e;
    struct fix f;
    char id[64];

    (void)state;
    fix_start(&f);
    ear_open(&f, &e, f.users[FIX_ADMIN].token, "/events?seconds=0", NULL);
    assert_true(hears(&e, "event: end"));
    last_id(&e, id, sizeof(id));
    ear_close(&e);
    change_user(&f, FIX_USER);
    change_user(&f, FIX_VICTIM);
    ear_open(&f, &e, f.users[FIX_ADMIN].token, "/events?seconds=0", id);
    assert_true(hears(&e, "event: end"));
    assert_non_null(strstr(e.text, f.users[FIX_USER].id.text));
    assert_non_null(strstr(e.text, f.users[FIX_VICTIM].id.text));
    assert_non_null(strstr(e.text, "\"reason\":\"ok\""));
    ear_close(&e);
    fix_stop(&f);
}

static void test_refuses(void **state)
{
    static const struct {
        const char *it, *path, *last;
        int status;
    } rows[] = {
        { "an id of another epoch", "/events", "Last-Event-ID: 9-1\r\n", 410 },
        { "an id that was never given", "/events", "Last-Event-ID: 1-99999\r\n", 410 },
        { "an id that is too old", "/events", "Last-Event-ID: 1-1\r\n", 410 },
        { "what is no id", "/events", "Last-Event-ID: x\r\n", 400 },
        { "an empty id", "/events", "Last-Event-ID:\r\n", 400 },
        { "a topic that there is not", "/events?topics=changes,weather", "", 422 },
        { "an id of an object that is none", "/events?ids=abc", "", 422 },
        { "a time that is none", "/events?seconds=-1", "", 422 },
    };
    static struct fix_answer a;
    struct store_tx *tx;
    struct fix f;

    (void)state;
    fix_start(&f);
    change_user(&f, FIX_USER);
    assert_int_equal(store_begin(f.store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_events_trim(tx, 2), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        fix_ask(&f, f.users[FIX_ADMIN].token, "GET", rows[i].path, rows[i].last, NULL, &a);
        assert_int_equal(a.status, rows[i].status);
    }
    fix_stop(&f);
}

static void test_ends_with_the_token(void **state)
{
    static struct fix_answer a;
    static struct ear e;
    char path[128];
    struct fix f;

    (void)state;
    fix_start(&f);
    ear_open(&f, &e, f.users[FIX_OPERATOR].token, "/events?topics=alarms", NULL);
    assert_true(hears(&e, "event: ready"));
    snprintf(path, sizeof(path), "/api-tokens/%s", f.users[FIX_OPERATOR].token_id.text);
    fix_ask(&f, f.users[FIX_ADMIN].token, "DELETE", path, FIX_JSON, NULL, &a);
    assert_int_equal(a.status, 204);
    assert_true(hears(&e, "event: end"));
    assert_true(hears(&e, "\"reason\":\"unauthenticated\""));
    assert_true(hears(&e, "\r\n0\r\n"));        /* the end of the answer */
    ear_close(&e);
    fix_stop(&f);
}

static void test_has_a_bound(void **state)
{
    static struct fix_answer a;
    static struct ear ears[16];
    struct fix f;

    (void)state;
    fix_start(&f);
    for (size_t i = 0; i < ARRAY_LEN(ears); i++) {
        ear_open(&f, &ears[i], f.users[FIX_USER].token, "/events", NULL);
        assert_true(hears(&ears[i], "event: ready"));
    }
    fix_ask(&f, f.users[FIX_USER].token, "GET", "/events", NULL, NULL, &a);
    assert_int_equal(a.status, 503);
    for (size_t i = 0; i < ARRAY_LEN(ears); i++)
        ear_close(&ears[i]);
    fix_stop(&f);                               /* and nobody who listens keeps it from ending */
}

/* Nothing is read from the socket: what waits grows up to its bound. */
static void test_cuts_who_takes_too_little(void **state)
{
    static struct ear e;
    struct hub_stats stats = { 0 };
    struct store_tx *tx;
    char doc[3900];
    int small = 4096;
    struct fix f;

    (void)state;
    fix_start(&f);
    ear_open(&f, &e, f.users[FIX_ADMIN].token, "/events", NULL);
    assert_true(hears(&e, "event: ready"));
    setsockopt(e.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    memset(doc, 'x', sizeof(doc));
    memcpy(doc, "{\"a\":\"", 6);
    memcpy(doc + sizeof(doc) - 3, "\"}", 3);
    for (int round = 0; round < 600 && !stats.slow; round++) {
        assert_int_equal(store_begin(f.store, STORE_WRITE, &tx), 0);
        for (int i = 0; i < LISTENER_RATE; i++) {
            char object[16];

            snprintf(object, sizeof(object), "O%d", i);
            assert_int_equal(store_event_add(tx, &(struct store_event){
                .topic = SPAN("alarms"), .kind = SPAN("alarm"), .object = span_str(object),
                .owner = SPAN(""), .doc = span_str(doc) }), 0);
        }
        assert_int_equal(store_commit(&tx, NULL), 0);
        poll(NULL, 0, 100);
        api_get_listeners(f.api, &stats);
    }
    assert_int_equal(stats.slow, 1);
    ear_close(&e);
    fix_stop(&f);
}

static void test_hears_of_operations(void **state)
{
    static struct fix_answer a;
    static struct ear own, other;
    struct fix f;

    (void)state;
    fix_start(&f);
    ear_open(&f, &own, f.users[FIX_OPERATOR].token, "/events?topics=operations", NULL);
    ear_open(&f, &other, f.users[FIX_USER].token, "/events", NULL);
    assert_true(hears(&own, "event: ready") && hears(&other, "event: ready"));
    fix_ask(&f, f.users[FIX_OPERATOR].token, "POST", "/users/batch?name=victor&expected=1", FIX_JSON,
            "{\"patch\":{\"description\":\"seen\"}}", &a);
    assert_int_equal(a.status, 202);
    assert_true(hears(&own, "event: operations") && hears(&own, "\"operation\":\"users.batch\""));
    fix_ask(&f, f.users[FIX_ADMIN].token, "PATCH", "/users/uwe", FIX_JSON, "{\"description\":\"last\"}", &a);
    assert_int_equal(a.status, 200);
    assert_true(hears(&other, "event: changes"));
    assert_null(strstr(other.text, "event: operations"));
    ear_close(&own);
    ear_close(&other);
    fix_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hears_of_operations),
        cmocka_unit_test(test_hears_changes_as_they_come),
        cmocka_unit_test(test_hears_what_he_may_see),
        cmocka_unit_test(test_goes_on_where_it_was),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_ends_with_the_token),
        cmocka_unit_test(test_has_a_bound),
        cmocka_unit_test(test_cuts_who_takes_too_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
