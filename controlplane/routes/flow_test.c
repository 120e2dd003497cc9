#include "controlplane/routes/api_fixture.h"

#include <time.h>

/*
 * What the rules of the API are, told as requests and answers: each table is one story over
 * one fresh store, refusals first.
 */
#define ANY "If-Match: *\r\n"
#define V1 "If-Match: \"1\"\r\n"
#define V9 "If-Match: \"9\"\r\n"
#define KEY "Idempotency-Key: one\r\n"
#define JSON_TYPE "Content-Type: application/json\r\n"

struct step {
    const char *it;
    int who;
    const char *method, *path, *more, *body;
    int status;
    const char *has;            /* somewhere in the answer; NULL: anything */
};

static void play(const struct step *steps, size_t count)
{
    static struct fix f;
    static struct fix_answer a;

    fix_start(&f);
    for (size_t i = 0; i < count; i++) {
        const struct step *s = &steps[i];
        char headers[256];

        snprintf(headers, sizeof(headers), "%s%s", JSON_TYPE, s->more ? s->more : "");
        fix_ask(&f, f.users[s->who].token, s->method, s->path, headers, s->body, &a);
        if (a.status != s->status || (s->has && !strstr(a.text, s->has)))
            fail_msg("it %s: wanted %d %s, got: %s", s->it, s->status, s->has ? s->has : "",
                     a.text);
    }
    fix_stop(&f);
}

static void test_versions(void **state)
{
    static const struct step steps[] = {
        { "makes a group", FIX_ADMIN, "POST", "/groups", "", "{\"name\":\"g\"}", 201,
          "ETag: \"1\"" },
        { "wants If-Match", FIX_ADMIN, "PATCH", "/groups/g", "", "{}", 428,
          "precondition-required" },
        { "wants the present version", FIX_ADMIN, "PATCH", "/groups/g", V9, "{}", 412,
          "precondition-failed" },
        { "takes the version that was read", FIX_ADMIN, "PATCH", "/groups/g", V1,
          "{\"description\":\"d\",\"labels\":{\"a\":\"b\",\"c\":\"d\"}}", 200, "ETag: \"2\"" },
        { "takes a label away", FIX_ADMIN, "PATCH", "/groups/g", ANY, "{\"labels\":{\"a\":null}}",
          200, "\"labels\":{\"c\":\"d\"}" },
        { "keeps the name", FIX_ADMIN, "PATCH", "/groups/g", ANY, "{\"name\":\"h\"}", 422,
          "/name" },
        { "refuses a stale deletion", FIX_ADMIN, "DELETE", "/groups/g", V1, NULL, 412, NULL },
        { "deletes", FIX_ADMIN, "DELETE", "/groups/g", ANY, NULL, 204, "Adit-Revision: " },
        { "has forgotten it", FIX_ADMIN, "GET", "/groups/g", "", NULL, 404, "not-found" },
    };

    (void)state;
    play(steps, ARRAY_LEN(steps));
}

static void test_bodies(void **state)
{
    static const struct step steps[] = {
        { "refuses what is no JSON", FIX_ADMIN, "POST", "/groups", "", "{\"name\"", 400,
          "bad-request" },
        { "refuses a key twice", FIX_ADMIN, "POST", "/groups", "",
          "{\"name\":\"a\",\"name\":\"b\"}", 400, NULL },
        { "refuses what is no object", FIX_ADMIN, "POST", "/groups", "", "[]", 422, "invalid" },
        { "names every wrong field", FIX_ADMIN, "POST", "/destination-profiles", "",
          "{\"name\":\"p\",\"hosts\":[\"a.b\",\"A\"],\"ports\":[\"0\"],\"x\":1}", 422, "/hosts/1" },
        { "refuses what the server sets", FIX_ADMIN, "POST", "/groups", "",
          "{\"name\":\"a\",\"created_by\":\"x\"}", 422, "/created_by" },
        { "wants exactly one subject", FIX_ADMIN, "POST", "/grants", "",
          "{\"user\":\"uwe\",\"group\":\"g\"}", 422, "user group" },
        { "finds a reference to nothing a conflict", FIX_ADMIN, "POST", "/locks", "",
          "{\"user\":\"nobody\"}", 409, "/user" },
        { "finds a reversed range a conflict", FIX_ADMIN, "POST", "/destination-profiles", "",
          "{\"name\":\"p\",\"hosts\":[\"a\"],\"ports\":[\"9-8\"],\"agent_group\":\"g\"}", 409,
          "/ports/0" },
        { "takes a name once", FIX_ADMIN, "POST", "/users", "", "{\"name\":\"uwe\"}", 409,
          "conflict" },
        { "refuses an unknown parameter", FIX_ADMIN, "GET", "/users?colour=red", "", NULL, 422,
          "colour" },
        { "refuses a cursor of another list", FIX_ADMIN, "GET", "/users?cursor=abc", "", NULL, 409,
          NULL },
        { "clears host bits", FIX_ADMIN, "POST", "/locks", "", "{\"network\":\"10.1.2.3/8\"}", 201,
          "\"network\":\"10.0.0.0/8\"" },
        { "brings times to UTC", FIX_ADMIN, "POST", "/locks", "",
          "{\"user\":\"uwe\",\"ends_at\":\"2031-01-01T00:30:00+01:00\"}", 201,
          "2030-12-31T23:30:00Z" },
    };

    (void)state;
    play(steps, ARRAY_LEN(steps));
}

static void test_wider_than_own(void **state)
{
    static const struct step steps[] = {
        { "lets no operator make an admin", FIX_OPERATOR, "POST", "/users", "",
          "{\"name\":\"x\",\"role\":\"admin\"}", 403, "wider-than-own" },
        { "lets no operator make an operator", FIX_OPERATOR, "POST", "/users", "",
          "{\"name\":\"x\",\"role\":\"operator\"}", 403, "wider-than-own" },
        { "lets no operator raise himself", FIX_OPERATOR, "PATCH", "/users/olga", ANY,
          "{\"role\":\"admin\"}", 403, "wider-than-own" },
        { "lets no operator reset an admin", FIX_OPERATOR, "PATCH", "/users/ada", ANY,
          "{\"password\":\"a new password\"}", 403, "wider-than-own" },
        { "lets no operator be an admin at the doors", FIX_OPERATOR, "POST", "/proxy-credentials",
          "", "{\"user\":\"ada\"}", 403, "wider-than-own" },
        { "lets no operator be an admin here", FIX_OPERATOR, "POST", "/api-tokens", "",
          "{\"user\":\"ada\"}", 403, "wider-than-own" },
        { "lets no operator lock an admin", FIX_OPERATOR, "POST", "/locks", "",
          "{\"user\":\"ada\"}", 403, "wider-than-own" },
        { "lets no operator delete an admin", FIX_OPERATOR, "DELETE", "/users/ada?cascade=true",
          ANY, NULL, 403, "wider-than-own" },
        { "lets no operator let relays join", FIX_OPERATOR, "POST", "/join-tokens", "",
          "{\"kind\":\"relay\"}", 403, "wider-than-own" },
        { "lets an operator let agents join", FIX_OPERATOR, "POST", "/join-tokens", "", "{}", 201,
          "adit-join-1." },
        { "lets a user make nothing for others", FIX_USER, "POST", "/proxy-credentials", "",
          "{\"user\":\"victor\"}", 403, "forbidden" },
        { "lets a user make his own", FIX_USER, "POST", "/proxy-credentials", "", "{}", 201,
          "\"secret\":\"adp_" },
        { "lets a user change his password", FIX_USER, "PATCH", "/users/uwe", ANY,
          "{\"password\":\"a new password\"}", 200, "password_set_at" },
        { "and nothing else of himself", FIX_USER, "PATCH", "/users/uwe", ANY,
          "{\"description\":\"x\"}", 403, "forbidden" },
        { "shows a user himself alone", FIX_USER, "GET", "/users?count=true", "", NULL, 200,
          "\"count\":1" },
        { "shows an auditor all", FIX_AUDITOR, "GET", "/users?count=true", "", NULL, 200,
          "\"count\":5" },
    };

    (void)state;
    play(steps, ARRAY_LEN(steps));
}

static void test_never_without_an_admin(void **state)
{
    static const struct step steps[] = {
        { "keeps the last admin active", FIX_ADMIN, "PATCH", "/users/ada", ANY,
          "{\"status\":\"disabled\"}", 409, "last-admin" },
        { "keeps his role", FIX_ADMIN, "PATCH", "/users/ada", ANY, "{\"role\":\"user\"}", 409,
          "last-admin" },
        { "keeps him", FIX_ADMIN, "DELETE", "/users/ada?cascade=true", ANY, NULL, 409,
          "last-admin" },
        { "does not count one who is disabled", FIX_ADMIN, "POST", "/users", "",
          "{\"name\":\"second\",\"role\":\"admin\",\"status\":\"disabled\"}", 201, NULL },
        { "still keeps him", FIX_ADMIN, "PATCH", "/users/ada", ANY, "{\"role\":\"user\"}", 409,
          "last-admin" },
        { "counts one who is active", FIX_ADMIN, "PATCH", "/users/second", ANY,
          "{\"status\":\"active\"}", 200, NULL },
        { "lets him go then", FIX_ADMIN, "PATCH", "/users/ada", ANY, "{\"role\":\"user\"}", 200,
          NULL },
        { "and he is one no more", FIX_ADMIN, "GET", "/audit-events", "", NULL, 403, "forbidden" },
    };

    (void)state;
    play(steps, ARRAY_LEN(steps));
}

static void test_repeats(void **state)
{
    static const struct step steps[] = {
        { "makes a token", FIX_ADMIN, "POST", "/api-tokens", KEY, "{\"scopes\":[\"users:read\"]}",
          201, "\"token\":\"adit_" },
        { "refuses the key with another body", FIX_ADMIN, "POST", "/api-tokens", KEY, "{}", 422,
          "idempotency-mismatch" },
        { "and with another query", FIX_ADMIN, "POST", "/api-tokens?dry_run=true", KEY,
          "{\"scopes\":[\"users:read\"]}", 422, "idempotency-mismatch" },
        { "answers the same again", FIX_ADMIN, "POST", "/api-tokens", KEY,
          "{\"scopes\":[\"users:read\"]}", 201, "Idempotency-Replayed: true" },
        { "made one only", FIX_ADMIN, "GET", "/api-tokens?user=ada&count=true", "", NULL, 200,
          "\"count\":2" },
        { "knows another caller's key apart", FIX_OPERATOR, "POST", "/api-tokens", KEY, "{}", 201,
          "\"token\"" },
    };

    (void)state;
    play(steps, ARRAY_LEN(steps));
}

static void test_in_use(void **state)
{
    static const struct step steps[] = {
        { "makes an agent group", FIX_ADMIN, "POST", "/agent-groups", "", "{\"name\":\"ag\"}", 201,
          NULL },
        { "makes a profile", FIX_ADMIN, "POST", "/destination-profiles", "",
          "{\"name\":\"p\",\"hosts\":[\"a.b\"],\"ports\":[\"80\"],\"agent_group\":\"ag\"}", 201,
          NULL },
        { "makes a grant", FIX_ADMIN, "POST", "/grants", "",
          "{\"name\":\"gr\",\"user\":\"uwe\",\"destination_profile\":\"p\"}", 201, NULL },
        { "keeps what is in use", FIX_ADMIN, "DELETE", "/agent-groups/ag", ANY, NULL, 409,
          "\"referrers\":[{" },
        { "shows what would go", FIX_ADMIN, "DELETE", "/agent-groups/ag?cascade=true&dry_run=true",
          ANY, NULL, 200, "\"deleted\":[{\"kind\":\"grant\"" },
        { "took nothing yet", FIX_ADMIN, "GET", "/grants/gr", "", NULL, 200, NULL },
        { "takes all", FIX_ADMIN, "DELETE", "/agent-groups/ag?cascade=true", ANY, NULL, 204, NULL },
        { "took the grant", FIX_ADMIN, "GET", "/grants/gr", "", NULL, 404, NULL },
        { "took the profile", FIX_ADMIN, "GET", "/destination-profiles/p", "", NULL, 404, NULL },
        { "told who and what", FIX_ADMIN, "GET", "/audit-events?action=agent-groups.delete", "",
          NULL, 200, "\"name\":\"ada\"" },
    };

    (void)state;
    play(steps, ARRAY_LEN(steps));
}

static void test_groups(void **state)
{
    static const struct step steps[] = {
        { "makes a", FIX_ADMIN, "POST", "/groups", "", "{\"name\":\"a\"}", 201, NULL },
        { "makes b", FIX_ADMIN, "POST", "/groups", "", "{\"name\":\"b\"}", 201, NULL },
        { "is no member of itself", FIX_ADMIN, "PUT", "/groups/a/members/a", "", NULL, 409,
          "itself" },
        { "puts b into a", FIX_ADMIN, "PUT", "/groups/a/members/b", "", NULL, 201,
          "\"kind\":\"group\"" },
        { "says so the second time", FIX_ADMIN, "PUT", "/groups/a/members/b", "", NULL, 200, NULL },
        { "makes no ring", FIX_ADMIN, "PUT", "/groups/b/members/a", "", NULL, 409, "itself" },
        { "only tries when dry", FIX_ADMIN, "PUT", "/groups/b/members/uwe?dry_run=true", "", NULL,
          200, "dry_run" },
        { "did not do it", FIX_ADMIN, "GET", "/groups/b/members/uwe", "", NULL, 404, NULL },
        { "puts a user in", FIX_ADMIN, "PUT", "/groups/b/members/uwe", "", NULL, 201,
          "\"kind\":\"user\"" },
        { "takes no agent", FIX_ADMIN, "PUT", "/groups/b/members/nobody", "", NULL, 404, NULL },
        { "pages", FIX_ADMIN, "GET", "/groups/b/members?limit=1", "", NULL, 200,
          "\"name\":\"uwe\"" },
        { "takes him out", FIX_ADMIN, "DELETE", "/groups/b/members/uwe", "", NULL, 204, NULL },
        { "cannot twice", FIX_ADMIN, "DELETE", "/groups/b/members/uwe", "", NULL, 404, NULL },
    };

    (void)state;
    play(steps, ARRAY_LEN(steps));
}

/* A token's scopes cut its owner's role; nobody makes one that is wider than his own. */
static void test_scopes(void **state)
{
    static struct fix f;
    static struct fix_answer a;
    char narrow[128] = "";
    const char *at;

    (void)state;
    fix_start(&f);
    fix_ask(&f, f.users[FIX_ADMIN].token, "POST", "/api-tokens", JSON_TYPE,
            "{\"scopes\":[\"*:read\",\"api-tokens:write\"]}", &a);
    assert_int_equal(a.status, 201);
    at = strstr(a.body, "\"token\":\"");
    assert_non_null(at);
    snprintf(narrow, sizeof(narrow), "%.*s", API_TOKEN_LEN, at + strlen("\"token\":\""));
    fix_ask(&f, narrow, "GET", "/users", "", NULL, &a);
    assert_int_equal(a.status, 200);
    fix_ask(&f, narrow, "POST", "/users", JSON_TYPE, "{\"name\":\"x\"}", &a);
    assert_int_equal(a.status, 403);
    fix_ask(&f, narrow, "POST", "/api-tokens", JSON_TYPE, "{\"scopes\":[\"*:*\"]}", &a);
    assert_int_equal(a.status, 403);
    assert_non_null(strstr(a.body, "wider-than-own"));
    fix_ask(&f, narrow, "POST", "/api-tokens", JSON_TYPE, "{\"scopes\":[\"users:read\"]}", &a);
    assert_int_equal(a.status, 201);
    fix_stop(&f);
}

/* Time stands still: who is slowed down still is when a slow machine asks, though the first wait is a second. */
static uint64_t still_ms;

static uint64_t still_clock(void)
{
    return still_ms;
}

static void test_log_in(void **state)
{
    static const struct step steps[] = {
        { "needs a password that is set", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"uwe\",\"password\":\"whatever it is\"}", 401, NULL },
        { "sets one", FIX_ADMIN, "PATCH", "/users/uwe", ANY, "{\"password\":\"right password\"}",
          200, NULL },
        { "takes the right one", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"uwe\",\"password\":\"right password\"}", 201, "\"token\":\"adit_" },
        { "shows the session without its token", FIX_USER, "GET", "/login-sessions", "", NULL, 200,
          "\"source\"" },
        { "refuses a wrong one", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"uwe\",\"password\":\"wrong\"}", 401, "unauthenticated" },
        { "again", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"uwe\",\"password\":\"wrong\"}", 401, NULL },
        { "nobody is like somebody", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"nobody\",\"password\":\"wrong\"}", 401, "unauthenticated" },
        { "and again", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"nobody\",\"password\":\"wrong\"}", 401, NULL },
        { "slows down a stranger", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"nobody\",\"password\":\"wrong\"}", 401, NULL },
        { "and whoever it names beside him", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"ada\",\"password\":\"wrong\"}", 429, "Retry-After: " },
        { "not him who logged in from there", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"uwe\",\"password\":\"right password\"}", 201, NULL },
        { "who wipes out nothing of the stranger's by it", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"nobody\",\"password\":\"wrong\"}", 429, NULL },
        { "counts him by himself", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"uwe\",\"password\":\"wrong\"}", 401, NULL },
        { "twice", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"uwe\",\"password\":\"wrong\"}", 401, NULL },
        { "three times", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"uwe\",\"password\":\"wrong\"}", 401, NULL },
        { "four times", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"uwe\",\"password\":\"wrong\"}", 401, NULL },
        { "slows down him too", FIX_ADMIN, "POST", "/login-sessions", "",
          "{\"user\":\"uwe\",\"password\":\"right password\"}", 429, "Retry-After: " },
        { "disables him", FIX_ADMIN, "PATCH", "/users/uwe", ANY, "{\"status\":\"disabled\"}", 200,
          NULL },
        { "whose token counts no more", FIX_USER, "GET", "/me", "", NULL, 401, "disabled" },
    };

    (void)state;
    still_ms = (uint64_t)time(NULL) * 1000;
    fix_clock = still_clock;
    play(steps, ARRAY_LEN(steps));
    fix_clock = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_wider_than_own),  cmocka_unit_test(test_never_without_an_admin),
        cmocka_unit_test(test_repeats),         cmocka_unit_test(test_in_use),
        cmocka_unit_test(test_groups),          cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_log_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
