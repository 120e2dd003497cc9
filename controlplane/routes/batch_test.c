#include "controlplane/routes/api_fixture.h"
#include "controlplane/routes/doc.h"

static struct fix_answer answer;

static void post(struct fix *f, size_t who, const char *path, const char *body)
{
    fix_ask(f, f->users[who].token, "POST", path, FIX_JSON, body, &answer);
}

/* A member of the answer; the operation's id stays in `id`. */
static int64_t number(const char *name, char id[64])
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct json_error error;

    assert_int_equal(json_parse(span_str(answer.body), &v, &error), 0);
    if (id)
        assert_true(span_copy(doc_text(v, "id"), id, 64));
    return doc_int(v, name);
}

static void get(struct fix *f, size_t who, const char *before, const char *id, const char *behind)
{
    char path[160];

    snprintf(path, sizeof(path), "%s%s%s", before, id, behind);
    fix_ask(f, f->users[who].token, "GET", path, NULL, NULL, &answer);
}

static void test_changes_what_the_filter_finds(void **state)
{
    struct fix f;
    char id[64];

    (void)state;
    fix_start(&f);
    post(&f, FIX_ADMIN, "/users/batch?role=user&expected=2", "{\"patch\":{\"description\":\"seen\"}}");
    assert_int_equal(answer.status, 202);
    assert_int_equal(number("done", id), 2);
    get(&f, FIX_ADMIN, "/operations/", id, "/items");
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.body, "\"name\":\"victor\""));
    assert_non_null(strstr(answer.body, "\"outcome\":\"ok\""));
    get(&f, FIX_ADMIN, "/users/", "victor", "");
    assert_non_null(strstr(answer.body, "\"description\":\"seen\""));
    get(&f, FIX_ADMIN, "/users/", "ada", "");
    assert_null(strstr(answer.body, "seen"));
    get(&f, FIX_ADMIN, "/audit-events?action=", "users.update", "");
    assert_non_null(strstr(answer.body, "victor"));
    fix_stop(&f);
}

/* An operator may change users, but not those above him, nor roles. */
static void test_asks_for_each_item(void **state)
{
    struct fix f;
    char id[64];

    (void)state;
    fix_start(&f);
    post(&f, FIX_OPERATOR, "/users/batch?expected=5", "{\"patch\":{\"description\":\"seen\"}}");
    assert_int_equal(answer.status, 202);
    assert_int_equal(number("refused", id), 2);         /* the admin, and himself */
    get(&f, FIX_OPERATOR, "/operations/", id, "/items?outcome=wider-than-own");
    assert_non_null(strstr(answer.body, "\"name\":\"ada\""));
    get(&f, FIX_ADMIN, "/users/", "ada", "");
    assert_null(strstr(answer.body, "seen"));
    get(&f, FIX_ADMIN, "/users/", "uwe", "");
    assert_non_null(strstr(answer.body, "seen"));
    get(&f, FIX_USER, "/operations/", id, "");
    assert_int_equal(answer.status, 404);
    fix_stop(&f);
}

static void test_a_dry_run_changes_nothing(void **state)
{
    struct fix f;
    char id[64];

    (void)state;
    fix_start(&f);
    post(&f, FIX_ADMIN, "/users/batch?expected=5&dry_run=true", "{\"delete\":true,\"cascade\":true}");
    assert_int_equal(answer.status, 202);
    assert_int_equal(number("done", id), 4);            /* not oneself */
    for (size_t i = 0; i < FIX_USERS; i++) {
        get(&f, FIX_ADMIN, "/users/", f.users[i].name, "");
        assert_int_equal(answer.status, 200);
    }
    post(&f, FIX_ADMIN, "/users/batch?expected=1&name=uwe", "{\"delete\":true,\"cascade\":true}");
    assert_int_equal(number("done", id), 1);
    get(&f, FIX_ADMIN, "/users/", "uwe", "");
    assert_int_equal(answer.status, 404);
    fix_stop(&f);
}

static void test_refuses(void **state)
{
    static const struct {
        const char *it, *path, *body;
        size_t who;
        int status;
    } rows[] = {
        { "another count", "/users/batch?expected=3", "{\"delete\":true}", FIX_ADMIN, 409 },
        { "no count", "/users/batch", "{\"delete\":true}", FIX_ADMIN, 422 },
        { "no change", "/users/batch?expected=5", "{}", FIX_ADMIN, 409 },
        { "two changes", "/users/batch?expected=5", "{\"patch\":{},\"delete\":true}", FIX_ADMIN, 409 },
        { "what it does not know", "/users/batch?expected=5", "{\"remove\":true}", FIX_ADMIN, 422 },
        { "a filter that there is not", "/users/batch?expected=5&colour=red", "{\"delete\":true}", FIX_ADMIN, 422 },
        { "one who may not", "/users/batch?expected=5", "{\"delete\":true}", FIX_AUDITOR, 403 },
    };
    struct fix f;

    (void)state;
    fix_start(&f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        post(&f, rows[i].who, rows[i].path, rows[i].body);
        assert_int_equal(answer.status, rows[i].status);
    }
    get(&f, FIX_ADMIN, "/users/", "victor", "");
    assert_int_equal(answer.status, 200);
    fix_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_what_the_filter_finds),
        cmocka_unit_test(test_asks_for_each_item),
        cmocka_unit_test(test_a_dry_run_changes_nothing),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
