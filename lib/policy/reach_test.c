#include "lib/policy/reach.h"
#include "lib/check/check.h"

static struct addr addr(const char *text)
{
    struct addr a;

    if (!addr_parse(span_str(text), &a))
        fail_msg("not an address: %s", text);
    return a;
}

static void test_special_kinds(void **state)
{
    static const struct { const char *addr, *kind; } rows[] = {
        { "0.0.0.0", "unspecified" },       { "0.1.2.3", "unspecified" },
        { "127.0.0.1", "loopback" },        { "127.255.255.255", "loopback" },
        { "169.254.1.1", "link-local" },    { "169.254.169.254", "metadata" },
        { "100.100.100.200", "metadata" },  { "168.63.129.16", "metadata" },
        { "192.0.0.192", "metadata" },      { "fd00:ec2::254", "metadata" },
        { "224.0.0.1", "multicast" },       { "239.255.255.255", "multicast" },
        { "255.255.255.255", "broadcast" }, { "::", "unspecified" },
        { "::1", "loopback" },              { "::127.0.0.1", "unspecified" },
        { "fe80::1", "link-local" },        { "febf::1", "link-local" },
        { "ff02::1", "multicast" },         { "::ffff:127.0.0.1", "loopback" },
        { "::ffff:169.254.169.254", "metadata" },
        { "64:ff9b::7f00:1", "loopback" },  { "64:ff9b::a9fe:a9fe", "metadata" },
        { "64:ff9b:1::7f00:1", "loopback" },{ "2002:7f00:1::", "loopback" },
        { "2002:a9fe:a9fe::1", "metadata" },{ "2002:0:0::1", "unspecified" },
        { "192.0.2.7", "own address" },     { "64:ff9b::c000:207", "own address" },
        { "2001:db8::7", "own address" },   { "10.0.0.1", NULL },
        { "169.255.0.1", NULL },            { "126.255.255.255", NULL },
        { "128.0.0.1", NULL },              { "223.255.255.255", NULL },
        { "2001:db8::8", NULL },            { "fec0::1", NULL },
        { "fd00:ec2::253", NULL },          { "1.0.0.0", NULL },
        { "2002:a00:1::1", NULL },          { "64:ff9b::a00:1", NULL },
    };
    const struct addr own[] = { addr_v4(192, 0, 2, 7), addr("2001:db8::7") };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr a = addr(rows[i].addr);
        const char *kind = address_special_kind(&a, own, ARRAY_LEN(own));

        check_row(rows[i].addr);
        if (rows[i].kind)
            assert_string_equal(kind ? kind : "none", rows[i].kind);
        else
            assert_null(kind);
    }
}

static void add(struct agent_reach *r, const char *text, bool resolved, bool lifts)
{
    struct acl_rule rule = { 0 };
    struct reach_rule reach = { .match_resolved = resolved, .allow_special = lifts };

    assert_int_equal(acl_rule_parse(span_str(text), &rule), 0);
    reach.host = rule.host;
    reach.port_count = rule.port_count;
    memcpy(reach.ports, rule.ports, sizeof(reach.ports));
    assert_int_equal(agent_reach_add(r, &reach), 0);
}

/* Each row: what was asked, the address about to be dialled, and what the four hands say. */
static void test_may_dial(void **state)
{
    enum { NO = 0, REQUEST = 1, FILE = 2, SIGNED = 4, ALL = 7 };
    static const struct {
        const char *it, *rule, *host, *addr, *range;
        unsigned special;
        bool resolved;
        enum reason want;
    } rows[] = {
        { "dials what a name's rule names", "db.x:80", "db.x", "10.0.0.1", NULL, NO, false, REASON_NONE },
        { "dials what a suffix names", "*.x", "a.b.x", "10.0.0.1", NULL, NO, false, REASON_NONE },
        { "dials what any names", "*", "a.b.x", "10.0.0.1", NULL, NO, false, REASON_NONE },
        { "dials a literal of a network", "10.0.0.0/8", "10.0.0.1", "10.0.0.1", "10.0.0.1", NO, false, REASON_NONE },
        { "dials by match_resolved", "10.0.0.0/8", "db.x", "10.0.0.1", "10.0.0.0/8", NO, true, REASON_NONE },
        { "refuses a name for a network alone", "10.0.0.0/8", "db.x", "10.0.0.1", NULL, NO, false, REASON_TARGET_FORBIDDEN },
        { "refuses another name", "db.x:80", "db.y", "10.0.0.1", NULL, NO, false, REASON_TARGET_FORBIDDEN },
        { "refuses the suffix itself", "*.x", "x", "10.0.0.1", NULL, NO, false, REASON_TARGET_FORBIDDEN },
        { "refuses another port", "db.x:81", "db.x", "10.0.0.1", NULL, NO, false, REASON_TARGET_FORBIDDEN },
        { "refuses outside the permitted ranges", "db.x", "db.x", "10.0.0.1", "10.1.0.0/16", NO, false, REASON_TARGET_FORBIDDEN },
        { "refuses a literal that became another", "*", "10.0.0.2", "10.0.0.1", NULL, NO, false, REASON_TARGET_FORBIDDEN },
        { "refuses what its own file denies", "*", "db.x", "10.9.9.9", NULL, NO, false, REASON_ACL_DENIED },
        { "refuses loopback", "*", "db.x", "127.0.0.1", NULL, NO, false, REASON_TARGET_FORBIDDEN },
        { "refuses metadata", "*", "db.x", "169.254.169.254", NULL, NO, false, REASON_TARGET_FORBIDDEN },
        { "refuses metadata in NAT64", "*", "db.x", "64:ff9b::a9fe:a9fe", NULL, NO, false, REASON_TARGET_FORBIDDEN },
        { "refuses its own address", "*", "db.x", "192.0.2.7", NULL, NO, false, REASON_TARGET_FORBIDDEN },
        { "dials loopback when all lift it", "db.x", "db.x", "127.0.0.1", NULL, ALL, false, REASON_NONE },
        { "refuses it without the request", "db.x", "db.x", "127.0.0.1", NULL, FILE | SIGNED, false, REASON_TARGET_FORBIDDEN },
        { "refuses it without the file", "db.x", "db.x", "127.0.0.1", NULL, REQUEST | SIGNED, false, REASON_TARGET_FORBIDDEN },
        { "refuses it without the signed policy", "db.x", "db.x", "127.0.0.1", NULL, REQUEST | FILE, false, REASON_TARGET_FORBIDDEN },
        { "refuses other loopback than the file lists", "db.x", "db.x", "127.0.0.2", NULL, ALL, false, REASON_TARGET_FORBIDDEN },
    };
    const struct addr own = addr_v4(192, 0, 2, 7);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(agent_reach_freep) struct agent_reach *reach = agent_reach_new();
        struct acl acl = { 0 };
        struct addr a = addr(rows[i].addr);
        struct cidr range;
        struct target t;
        struct dial_question q = { .target = &t, .addr = &a, .acl = &acl, .reach = reach,
                                   .allow_special = rows[i].special & REQUEST, .own = &own,
                                   .own_count = 1 };

        check_row(rows[i].it);
        assert_true(target_parse(span_str(rows[i].host), 80, &t));
        add(reach, "nothing.to.see", false, true);
        add(reach, rows[i].rule, rows[i].resolved, rows[i].special & SIGNED);
        assert_int_equal(agent_may_dial(&q), REASON_ACL_DENIED);
        agent_reach_finish(reach);
        assert_int_equal(acl_add_allow(&acl, SPAN("*")), 0);
        assert_int_equal(acl_add_deny(&acl, SPAN("10.9.0.0/16")), 0);
        if (rows[i].special & FILE)
            assert_int_equal(acl_add_special(&acl, SPAN("127.0.0.1:80")), 0);
        if (rows[i].range) {
            assert_true(cidr_parse(span_str(rows[i].range), &range));
            q.ranges = &range;
            q.range_count = 1;
        }
        assert_int_equal(agent_may_dial(&q), rows[i].want);
        q.reach = NULL;
        assert_int_not_equal(agent_may_dial(&q), REASON_NONE);
        acl_deinit(&acl);
    }
}

static void test_unix(void **state)
{
    AUTO(agent_reach_freep) struct agent_reach *reach = agent_reach_new();
    struct acl acl = { 0 };
    struct span path = SPAN("/run/demo.sock");

    (void)state;
    add(reach, "unix:/run/demo.sock", false, true);
    add(reach, "db.x", false, false);
    agent_reach_finish(reach);
    check_row("needs the agent's own file");
    assert_int_equal(agent_may_dial_unix(&acl, reach, true, path), REASON_ACL_DENIED);
    assert_int_equal(acl_add_special(&acl, SPAN("unix:/run/demo.sock")), 0);
    assert_int_equal(agent_may_dial_unix(&acl, reach, true, path), REASON_NONE);
    check_row("needs allow_special, the signed policy and that very path");
    assert_int_equal(agent_may_dial_unix(&acl, reach, false, path), REASON_TARGET_FORBIDDEN);
    assert_int_equal(agent_may_dial_unix(&acl, NULL, true, path), REASON_TARGET_FORBIDDEN);
    assert_int_equal(agent_may_dial_unix(&acl, reach, true, SPAN("/run/other")), REASON_ACL_DENIED);
    acl_deinit(&acl);
}

static void test_refusals_of_add(void **state)
{
    AUTO(agent_reach_freep) struct agent_reach *reach = agent_reach_new();
    struct reach_rule glob = { .host = { .kind = HOST_GLOB } };
    struct target t;
    struct addr a = addr_v4(10, 0, 0, 1);

    (void)state;
    check_row("takes no globs, which it could not search");
    assert_int_equal(agent_reach_add(reach, &glob), -EINVAL);
    check_row("answers nothing before it is finished");
    add(reach, "*", false, false);
    assert_true(target_parse(SPAN("db.x"), 80, &t));
    assert_false(agent_reach_allows(reach, &t, &a, NULL));
    agent_reach_finish(reach);
    assert_true(agent_reach_allows(reach, &t, &a, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special_kinds),
        cmocka_unit_test(test_may_dial),
        cmocka_unit_test(test_unix),
        cmocka_unit_test(test_refusals_of_add),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
