#include "controlplane/routes/api_fixture.h"

#define PATCHES "Content-Type: application/merge-patch+json\r\nIf-Match: *\r\n"

static struct fix f;
static struct fix_answer answer;

static int ask(size_t who, const char *method, const char *path, const char *body)
{
    fix_ask(&f, f.users[who].token, method, path, strcmp(method, "PATCH") == 0 ? PATCHES : FIX_JSON, body, &answer);
    return answer.status;
}

/* The newest event of an action. */
static const char *event_of(const char *action, char mem[256])
{
    static char id[32];
    const char *at;

    snprintf(mem, 256, "/audit-events?limit=1&action=%s", action);
    assert_int_equal(ask(FIX_ADMIN, "GET", mem, NULL), 200);
    at = strstr(answer.text, "\"id\":\"");
    assert_non_null(at);
    snprintf(id, sizeof(id), "%.26s", at + 6);
    return id;
}

static int revert(size_t who, const char *action, const char *query)
{
    char mem[256], path[256];
    const char *id = event_of(action, mem);

    snprintf(path, sizeof(path), "/audit-events/%s/revert%s", id, query);
    return ask(who, "POST", path, NULL);
}

static void test_revert(void **state)
{
    (void)state;
    fix_start(&f);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/groups", "{\"name\":\"staff\",\"description\":\"one\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}}"), 201);
    check_row("refuses a creation");
    assert_int_equal(revert(FIX_ADMIN, "groups.create", ""), 409);
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/groups/staff", "{\"description\":\"two\",\"labels\":{\"a\":null,\"b\":\"3\",\"c\":\"4\"}}"), 200);
    check_row("says what it would do, and does nothing");
    assert_int_equal(revert(FIX_ADMIN, "groups.update", "?dry_run=true"), 200);
    assert_non_null(strstr(answer.text, "\"reverted\":false,\"fields\":[\"description\",\"labels\"]"));
    assert_int_equal(ask(FIX_ADMIN, "GET", "/groups/staff", NULL), 200);
    assert_non_null(strstr(answer.text, "\"two\""));
    check_row("is no auditor's business, nor a user's");
    assert_int_equal(revert(FIX_AUDITOR, "groups.update", ""), 403);
    assert_int_equal(revert(FIX_USER, "groups.update", ""), 403);
    check_row("puts every field back, keys of maps too");
    assert_int_equal(revert(FIX_OPERATOR, "groups.update", ""), 200);
    assert_int_equal(ask(FIX_ADMIN, "GET", "/groups/staff", NULL), 200);
    assert_non_null(strstr(answer.text, "\"one\""));
    assert_non_null(strstr(answer.text, "\"a\":\"1\""));
    assert_non_null(strstr(answer.text, "\"b\":\"2\""));
    assert_null(strstr(answer.text, "\"c\":"));
    check_row("can itself be taken back");
    assert_int_equal(revert(FIX_ADMIN, "groups.update", ""), 200);
    assert_int_equal(ask(FIX_ADMIN, "GET", "/groups/staff", NULL), 200);
    assert_non_null(strstr(answer.text, "\"two\""));
    fix_stop(&f);
}

static void test_refusals(void **state)
{
    char mem[256], path[256];

    (void)state;
    fix_start(&f);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/groups", "{\"name\":\"staff\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/groups/staff", "{\"description\":\"one\"}"), 200);
    snprintf(path, sizeof(path), "/audit-events/%s/revert", event_of("groups.update", mem));
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/groups/staff", "{\"description\":\"two\"}"), 200);
    check_row("leaves alone what was changed since");
    assert_int_equal(ask(FIX_ADMIN, "POST", path, NULL), 409);
    assert_non_null(strstr(answer.text, "description was changed again since"));
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/uwe", "{\"password\":\"another password\"}"), 200);
    check_row("knows no password of before");
    assert_int_equal(revert(FIX_ADMIN, "users.update", ""), 409);
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/uwe", "{\"role\":\"operator\"}"), 200);
    check_row("gives an operator no more than he might do himself");
    assert_int_equal(revert(FIX_OPERATOR, "users.update", ""), 403);
    assert_int_equal(revert(FIX_ADMIN, "users.update", ""), 200);
    check_row("does not know what is not there");
    assert_int_equal(ask(FIX_ADMIN, "POST", "/audit-events/01ARZ3NDEKTSV4RRFFQ69G5FAV/revert", NULL), 404);
    fix_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_revert), cmocka_unit_test(test_refusals) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
