#include "controlplane/domain/when.h"
#include "controlplane/routes/api_fixture.h"

/* access/effective: what of the grants is in force now. */
#define WEDNESDAY "2027-01-20T10:00:00Z"

static struct fix fix;
static struct fix_answer answer;
static int64_t clock_ms;

static uint64_t test_clock(void)
{
    return (uint64_t)clock_ms;
}

static int setup(void **state)
{
    *state = NULL;
    assert_true(when_parse(SPAN(WEDNESDAY), &clock_ms));
    fix_clock = test_clock;
    fix_start(&fix);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fix_clock = NULL;
    fix_stop(&fix);
    return 0;
}

static int ask(const char *method, const char *path, const char *body)
{
    fix_ask(&fix, fix.users[FIX_ADMIN].token, method, path, FIX_JSON, body, &answer);
    return answer.status;
}

/* Why the one grant that is found is not in force; "": it is. */
static void check_reason(const char *query, const char *want)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    const struct json_value *item;
    struct span reason = SPAN_NONE;
    struct json_error error;
    char path[128];
    bool is_in_force;

    snprintf(path, sizeof(path), "/access/effective?%s", query);
    assert_int_equal(ask("GET", path, NULL), 200);
    assert_int_equal(json_parse(span_str(answer.body), &v, &error), 0);
    assert_int_equal(json_count(json_get(v, "items")), 1);
    item = json_at(json_get(v, "items"), 0);
    assert_true(json_get_bool(item, "in_force", &is_in_force));
    (void)json_get_str(item, "reason", &reason);
    assert_int_equal(is_in_force, !want[0]);
    assert_true(span_eq(reason, span_str(want)));
}

static void test_in_force(void **state)
{
    static const struct {
        const char *it, *grant;                 /* members of the grant beside its name */
        const char *method, *path, *body;       /* what is done beside; NULL: nothing */
        const char *want;
    } rows[] = {
        { "is in force", "\"user\":\"uwe\"", NULL, NULL, NULL, "" },
        { "is not before it begins", "\"user\":\"uwe\",\"starts_at\":\"2027-02-01T00:00:00Z\"", NULL, NULL, NULL, "grant-not-now" },
        { "is not after its end", "\"user\":\"uwe\",\"ends_at\":\"2027-01-20T09:59:59Z\"", NULL, NULL, NULL, "grant-expired" },
        { "is within its hours", "\"user\":\"uwe\",\"windows\":[{\"days\":[\"wed\"],\"from\":\"09:00\",\"to\":\"11:00\",\"zone\":\"UTC\"}]",
          NULL, NULL, NULL, "" },
        { "is not outside its hours", "\"user\":\"uwe\",\"windows\":[{\"days\":[\"wed\"],\"from\":\"11:00\",\"to\":\"12:00\",\"zone\":\"UTC\"}]",
          NULL, NULL, NULL, "grant-not-now" },
        { "counts hours in their zone", "\"user\":\"uwe\",\"windows\":[{\"days\":[\"wed\"],\"from\":\"11:00\",\"to\":\"12:00\",\"zone\":\"Europe/Berlin\"}]",
          NULL, NULL, NULL, "" },
        { "is not on another day", "\"user\":\"uwe\",\"windows\":[{\"days\":[\"thu\"],\"from\":\"09:00\",\"to\":\"11:00\",\"zone\":\"UTC\"}]",
          NULL, NULL, NULL, "grant-not-now" },
        { "is not while he is locked", "\"user\":\"uwe\"", "POST", "/locks", "{\"name\":\"it\",\"user\":\"uwe\"}", "locked" },
        { "is when the lock is over", "\"user\":\"uwe\"", "POST", "/locks",
          "{\"name\":\"it\",\"user\":\"uwe\",\"ends_at\":\"2027-01-20T09:00:00Z\"}", "" },
        { "is when another is locked", "\"user\":\"uwe\"", "POST", "/locks", "{\"name\":\"it\",\"user\":\"victor\"}", "" },
        { "is not while a group of his is locked", "\"user\":\"uwe\"", "POST", "/locks", "{\"name\":\"it\",\"group\":\"staff\"}", "locked" },
        { "is not while the profile is locked", "\"user\":\"uwe\"", "POST", "/locks",
          "{\"name\":\"it\",\"destination_profile\":\"inner\"}", "locked" },
        { "is not while he is disabled", "\"user\":\"uwe\"", "PATCH", "/users/uwe", "{\"status\":\"disabled\"}", "user-disabled" },
    };

    (void)state;
    assert_int_equal(ask("POST", "/groups", "{\"name\":\"staff\"}"), 201);
    assert_int_equal(ask("PUT", "/groups/staff/members/uwe", "{}"), 201);
    assert_int_equal(ask("POST", "/agent-groups", "{\"name\":\"office\"}"), 201);
    assert_int_equal(ask("POST", "/destination-profiles",
                         "{\"name\":\"inner\",\"hosts\":[\"a.test\"],\"ports\":[\"80\"],\"agent_group\":\"office\"}"), 201);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char body[512];

        check_row(rows[i].it);
        snprintf(body, sizeof(body), "{\"name\":\"it\",\"destination_profile\":\"inner\",%s}", rows[i].grant);
        assert_int_equal(ask("POST", "/grants", body), 201);
        if (rows[i].method)
            assert_true(ask(rows[i].method, rows[i].path, rows[i].body) < 300);
        check_reason("user=uwe", rows[i].want);
        check_reason("user=uwe&host=a.test&port=80", rows[i].want);
        check_reason("host=a.test&port=80", rows[i].want);
        assert_int_equal(ask("DELETE", "/grants/it", NULL), 204);
        (void)ask("DELETE", "/locks/it", NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_in_force, setup, teardown) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
