#include "lib/state/record_codec.h"
#include "lib/check/check.h"

#define U1 "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define U2 "01BX5ZZKBKACTAV9WEVGEMMVRZ"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* What is read and written again is the same text. */
static void test_both_ways(void **state)
{
    static const struct { enum record_kind kind; const char *json; } rows[] = {
        { RECORD_USER, "{\"name\":\"ann\",\"active\":true,\"groups\":[\"" U1 "\",\"" U2 "\"]}" },
        { RECORD_USER, "{\"name\":\"robot\",\"active\":false,\"service\":true}" },
        { RECORD_GROUP, "{\"name\":\"staff\"}" },
        { RECORD_CREDENTIAL, "{\"user\":\"" U1 "\",\"hash\":\"" HASH "\",\"expires_ms\":5,\"sources\":[\"10.0.0.0/8\",\"2001:db8::/32\"]}" },
        { RECORD_AGENT, "{\"name\":\"a\",\"active\":true,\"acl_known\":true,\"generation\":3,\"allow\":[\"*.x:80,443\"],\"deny\":[\"[2001:db8::/32]:22\"],\"special\":[\"unix:/run/x\"]}" },
        { RECORD_AGENTGROUP, "{\"name\":\"g\",\"mode\":\"least-streams\",\"members\":[{\"agent\":\"" U1 "\",\"priority\":1,\"weight\":0,\"enabled\":false}]}" },
        { RECORD_PROFILE, "{\"name\":\"p\",\"hosts\":[\"db.x\",\"*.y\",\"10.0.0.0/8\"],\"ports\":[\"80\",\"8000-8100\"],\"match_resolved\":true,\"allow_special\":true,\"agentgroup\":\"" U2 "\",\"max_staleness_s\":60}" },
        { RECORD_GRANT, "{\"subject_kind\":\"group\",\"subject\":\"" U1 "\",\"profile\":\"" U2 "\",\"start_ms\":1,\"end_ms\":2,\"windows\":[{\"days\":31,\"from_min\":480,\"to_min\":1080}],\"offsets\":[{\"from_s\":0,\"offset_s\":-3600},{\"from_s\":5,\"offset_s\":0}],\"sources\":[\"10.0.0.0/8\"],\"stream_limit\":7}" },
        { RECORD_GRANT, "{\"subject_kind\":\"user\",\"subject\":\"" U1 "\",\"agentgroup\":\"" U2 "\"}" },
        { RECORD_OVERRIDE, "{\"host\":\"*.x\",\"scope\":\"all\",\"addrs\":[\"10.0.0.1\",\"2001:db8::1\"]}" },
        { RECORD_OVERRIDE, "{\"host\":\"demo.x\",\"scope\":\"agent\",\"scope_id\":\"" U1 "\",\"unix\":\"/run/demo.sock\"}" },
        { RECORD_LOCK, "{\"kind\":\"user\",\"target\":\"" U1 "\",\"until_ms\":9,\"reason\":\"a \\\"word\\\"\"}" },
        { RECORD_LOCK, "{\"kind\":\"address\",\"address\":\"192.0.2.0/24\"}" },
        { RECORD_CUT, "{\"kind\":\"stream\",\"target\":\"abc\",\"before_ms\":4}" },
        { RECORD_QUOTA, "{\"scope\":\"group\",\"target\":\"" U1 "\",\"streams\":3,\"streams_per_s\":2,\"burst\":4,\"bytes_per_s\":1099511627776,\"bytes_per_day\":9007199254740992,\"offsets\":[{\"from_s\":0,\"offset_s\":3600}]}" },
        { RECORD_QUOTA, "{\"scope\":\"all\",\"bytes_per_day\":1}" },
        { RECORD_RELAY, "{\"name\":\"r\",\"active\":true,\"address\":\"relay.x:7443\",\"zone\":\"eu-1\"}" },
        { RECORD_AGENTPOLICY, "{\"document\":\"adit/agentpolicy/v1 x\\nline\\n\"}" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(record_unrefp) struct record *r = NULL;
        struct state_error e = { "" };
        char mem[4096];
        struct buf out;

        check_row(rows[i].json);
        buf_init_fixed(&out, mem, sizeof(mem));
        if (record_decode(rows[i].kind, SPAN(U1), span_str(rows[i].json), &r, &e))
            fail_msg("%s", e.text);
        assert_int_equal(record_encode(r, &out), 0);
        assert_string_equal(buf_text(&out), rows[i].json);
    }
}

static void test_refusals(void **state)
{
    static const struct { enum record_kind kind; const char *json, *text; bool is_too_new; } rows[] = {
        { RECORD_USER, "", "the record" },
        { RECORD_USER, "[]", "not an object" },
        { RECORD_USER, "{\"name\":\"a\",\"active\":true", "the record" },
        { RECORD_USER, "{\"name\":\"a\"}", "field active: is missing" },
        { RECORD_USER, "{\"active\":true}", "field name: is missing" },
        { RECORD_USER, "{\"name\":\"A\",\"active\":true}", "field name: must be" },
        { RECORD_USER, "{\"name\":\"\",\"active\":true}", "field name: must be" },
        { RECORD_USER, "{\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"active\":true}", "field name: must be" },
        { RECORD_USER, "{\"name\":\"a\\u0000\",\"active\":true}", "" },
        { RECORD_USER, "{\"name\":1,\"active\":true}", "field name: must be" },
        { RECORD_USER, "{\"name\":\"a\",\"active\":1}", "field active: must be true or false" },
        { RECORD_USER, "{\"name\":\"a\",\"active\":null}", "field active: must be" },
        { RECORD_USER, "{\"name\":\"a\",\"active\":true,\"name\":\"b\"}", "" },
        { RECORD_USER, "{\"name\":\"a\",\"active\":true,\"root\":true}", "field root: is not known here", true },
        { RECORD_USER, "{\"name\":\"a\",\"active\":true,\"groups\":\"" U1 "\"}", "field groups: must be a list" },
        { RECORD_USER, "{\"name\":\"a\",\"active\":true,\"groups\":[\"" U1 "\",\"x\"]}", "field groups/1: must be a ULID" },
        { RECORD_CREDENTIAL, "{\"user\":\"" U1 "\",\"hash\":\"ABC\"}", "field hash: must be" },
        { RECORD_CREDENTIAL, "{\"user\":\"x\",\"hash\":\"" HASH "\"}", "field user: must be a ULID" },
        { RECORD_CREDENTIAL, "{\"user\":\"" U1 "\",\"hash\":\"" HASH "\",\"expires_ms\":-1}", "field expires_ms" },
        { RECORD_CREDENTIAL, "{\"user\":\"" U1 "\",\"hash\":\"" HASH "\",\"expires_ms\":9007199254740993}", "field expires_ms" },
        { RECORD_CREDENTIAL, "{\"user\":\"" U1 "\",\"hash\":\"" HASH "\",\"expires_ms\":1.5}", "field expires_ms" },
        { RECORD_CREDENTIAL, "{\"user\":\"" U1 "\",\"hash\":\"" HASH "\",\"sources\":[\"10.0.0.1/8\"]}", "field sources/0: must be a network" },
        { RECORD_AGENT, "{\"name\":\"a\",\"active\":true,\"deny\":[\"db:0\"]}", "field deny/0" },
        { RECORD_AGENTGROUP, "{\"name\":\"g\",\"mode\":\"best\"}", "field mode: must be one of its names", true },
        { RECORD_AGENTGROUP, "{\"name\":\"g\",\"mode\":\"priority\",\"members\":[{\"agent\":\"" U1 "\"}]}", "field members/0: must be a member" },
        { RECORD_AGENTGROUP, "{\"name\":\"g\",\"mode\":\"priority\",\"members\":[{\"agent\":\"" U1 "\",\"priority\":1,\"weight\":65536,\"enabled\":true}]}", "field members/0" },
        { RECORD_PROFILE, "{\"name\":\"p\",\"hosts\":[]}", "field hosts: must be a list" },
        { RECORD_PROFILE, "{\"name\":\"p\",\"hosts\":[\"a*b\"]}", "field hosts/0: must be a host" },
        { RECORD_PROFILE, "{\"name\":\"p\",\"hosts\":[\"*\"]}", "field hosts/0" },
        { RECORD_PROFILE, "{\"name\":\"p\",\"hosts\":[\"unix:/x\"]}", "field hosts/0" },
        { RECORD_PROFILE, "{\"name\":\"p\",\"hosts\":[\"a.b\"],\"match_resolved\":true}", "field match_resolved: needs" },
        { RECORD_PROFILE, "{\"name\":\"p\",\"hosts\":[\"a.b\"],\"ports\":[\"0\"]}", "field ports/0" },
        { RECORD_GRANT, "{\"subject_kind\":\"user\",\"subject\":\"" U1 "\"}", "field profile: profile or agentgroup" },
        { RECORD_GRANT, "{\"subject_kind\":\"user\",\"subject\":\"" U1 "\",\"agentgroup\":\"" U1 "\",\"start_ms\":2,\"end_ms\":2}", "field end_ms" },
        { RECORD_GRANT, "{\"subject_kind\":\"user\",\"subject\":\"" U1 "\",\"agentgroup\":\"" U1 "\",\"windows\":[{\"days\":1,\"from_min\":0,\"to_min\":1}]}", "field offsets" },
        { RECORD_GRANT, "{\"subject_kind\":\"user\",\"subject\":\"" U1 "\",\"agentgroup\":\"" U1 "\",\"windows\":[{\"days\":0,\"from_min\":0,\"to_min\":1}]}", "field windows/0" },
        { RECORD_GRANT, "{\"subject_kind\":\"user\",\"subject\":\"" U1 "\",\"agentgroup\":\"" U1 "\",\"offsets\":[{\"from_s\":5,\"offset_s\":0},{\"from_s\":5,\"offset_s\":0}]}", "field offsets: from_s" },
        { RECORD_OVERRIDE, "{\"host\":\"a.b\",\"scope\":\"all\"}", "field addrs" },
        { RECORD_OVERRIDE, "{\"host\":\"a.b\",\"scope\":\"all\",\"addrs\":[\"10.0.0.1\"],\"unix\":\"/x\"}", "field addrs" },
        { RECORD_OVERRIDE, "{\"host\":\"10.0.0.1\",\"scope\":\"all\",\"unix\":\"/x\"}", "field host" },
        { RECORD_OVERRIDE, "{\"host\":\"a.b\",\"scope\":\"all\",\"unix\":\"x\"}", "field unix" },
        { RECORD_OVERRIDE, "{\"host\":\"a.b\",\"scope\":\"agent\",\"unix\":\"/x\"}", "field scope_id" },
        { RECORD_LOCK, "{\"kind\":\"user\"}", "field target" },
        { RECORD_LOCK, "{\"kind\":\"address\",\"target\":\"" U1 "\"}", "field target" },
        { RECORD_CUT, "{\"kind\":\"user\",\"target\":\"x\",\"before_ms\":0}", "field before_ms" },
        { RECORD_AGENTPOLICY, "{}", "field document: is missing" },
        { RECORD_QUOTA, "{\"streams\":1}", "field scope: is missing" },
        { RECORD_QUOTA, "{\"scope\":\"all\",\"target\":\"" U1 "\"}", "field target" },
        { RECORD_QUOTA, "{\"scope\":\"user\"}", "field target" },
        { RECORD_QUOTA, "{\"scope\":\"all\",\"streams\":1000001}", "field streams" },
        { RECORD_QUOTA, "{\"scope\":\"all\",\"streams_per_s\":1}", "field burst" },
        { RECORD_QUOTA, "{\"scope\":\"all\",\"burst\":1}", "field burst" },
        { RECORD_QUOTA, "{\"scope\":\"all\",\"bytes_per_s\":1099511627777}", "field bytes_per_s" },
        { RECORD_QUOTA, "{\"scope\":\"all\",\"bytes_per_day\":9007199254740993}", "field bytes_per_day" },
        { RECORD_QUOTA, "{\"scope\":\"all\",\"offsets\":[{\"from_s\":5,\"offset_s\":0},{\"from_s\":5,\"offset_s\":0}]}", "field offsets: from_s" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct record *r = NULL;
        struct state_error e = { "" };

        check_row(rows[i].json);
        assert_int_equal(record_decode(rows[i].kind, SPAN(U1), span_str(rows[i].json), &r, &e),
                         rows[i].is_too_new ? DOCUMENT_E_TOO_NEW : DOCUMENT_E_REJECTED);
        assert_non_null(strstr(e.text, rows[i].text));
        assert_null(r);
    }
}

static void test_ids_and_lines(void **state)
{
    AUTO(record_unrefp) struct record *r = NULL;
    struct state_error e;
    char mem[256];
    struct buf out;

    (void)state;
    check_row("wants ULIDs, and names for settings");
    assert_int_equal(record_decode(RECORD_GROUP, SPAN("x"), SPAN("{\"name\":\"a\"}"), &r, &e), DOCUMENT_E_REJECTED);
    assert_int_equal(record_decode(RECORD_SETTING, SPAN("a b"), SPAN("{\"value\":\"1\"}"), &r, &e), DOCUMENT_E_REJECTED);
    assert_int_equal(record_decode(RECORD_SETTING, SPAN("max_staleness"), SPAN("{\"value\":\"1\"}"), &r, &e), 0);
    check_row("writes lines");
    buf_init_fixed(&out, mem, sizeof(mem));
    assert_int_equal(record_put_line(r, &out), 0);
    assert_int_equal(record_remove_line(RECORD_SETTING, SPAN("max_staleness"), &out), 0);
    assert_string_equal(buf_text(&out), "+setting max_staleness {\"value\":\"1\"}\n-setting max_staleness\n");
    check_row("says when a line does not fit");
    buf_init_fixed(&out, mem, 10);
    assert_int_equal(record_put_line(r, &out), -ENOBUFS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_ids_and_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
