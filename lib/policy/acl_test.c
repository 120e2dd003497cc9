#include "lib/policy/acl.h"
#include "lib/check/check.h"
#include <stdio.h>

static struct target target(const char *host, uint16_t port)
{
    struct target t;

    if (!target_parse(span_str(host), port, &t))
        fail_msg("not a target: %s", host);
    return t;
}

static void test_targets(void **state)
{
    static const struct { const char *it, *host; uint16_t port; const char *want; } rows[] = {
        { "lower-cases a name", "DB.Example.", 80, "db.example" },
        { "takes an IPv4 literal", "10.1.2.3", 80, "10.1.2.3" },
        { "takes an IPv6 literal", "2001:DB8::1", 80, "2001:db8::1" },
        { "refuses port 0", "db.example", 0, NULL },
        { "refuses an empty host", "", 80, NULL },
        { "refuses a short IPv4 form", "10.1", 80, NULL },
        { "refuses octal", "010.0.0.1", 80, NULL },
        { "refuses a number", "2130706433", 80, NULL },
        { "refuses hex", "0x7f000001", 80, NULL },
        { "refuses an IPv6 zone", "fe80::1%eth0", 80, NULL },
        { "refuses blanks", "a b", 80, NULL },
        { "refuses an empty label", "a..b", 80, NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct target t;

        check_row(rows[i].it);
        assert_int_equal(target_parse(span_str(rows[i].host), rows[i].port, &t), rows[i].want != NULL);
        if (rows[i].want)
            assert_string_equal(t.name, rows[i].want);
    }
}

static void test_patterns(void **state)
{
    static const struct { const char *it, *pattern, *host; int want; } rows[] = {
        { "means the exact name", "db.example", "db.example", 1 },
        { "means it whatever the case", "DB.example", "db.EXAMPLE", 1 },
        { "does not mean another", "db.example", "xdb.example", 0 },
        { "means what is below a suffix", "*.example", "a.example", 1 },
        { "means what is far below a suffix", "*.example", "a.b.c.example", 1 },
        { "does not mean the suffix itself", "*.example", "example", 0 },
        { "needs the dot of a suffix", "*.example", "bexample", 0 },
        { "means any name", "*", "a.b", 1 },
        { "means any address", "*", "::1", 1 },
        { "globs in the middle", "db-*.example", "db-1.example", 1 },
        { "globs over dots", "db-*.example", "db-1.x.example", 1 },
        { "globs nothing", "db-*.example", "db-.example", 1 },
        { "goes back to the last star", "*a*b", "aXbab", 1 },
        { "needs the whole to match", "*a*b", "aXbabc", 0 },
        { "globs one character", "db?.x", "db1.x", 1 },
        { "needs that one character", "db?.x", "db.x", 0 },
        { "means an address in its network", "10.0.0.0/8", "10.255.0.1", 1 },
        { "does not mean one outside", "10.0.0.0/8", "11.0.0.1", 0 },
        { "means a bare address", "10.1.2.3", "10.1.2.3", 1 },
        { "means IPv6 networks", "2001:db8::/32", "2001:db8:1::1", 1 },
        { "never means a name by a network", "0.0.0.0/0", "db.example", 0 },
        { "never means an address by a name pattern", "*.*", "10.0.0.1", 0 },
        { "keeps IPv4 and IPv6 apart", "0.0.0.0/0", "2001:db8::1", 0 },
        { "means every IPv6 address by ::/0", "::/0", "2001:db8::1", 1 },
        { "means no IPv4 address by ::/0", "::/0", "10.0.0.1", 0 },
        { "means no host by a socket", "unix:/run/x", "run", 0 },
        { "refuses nothing at all", "", NULL, -EINVAL },
        { "refuses host bits", "10.0.0.1/8", NULL, -EINVAL },
        { "refuses a lone star label in the wrong place", "*.", NULL, -EINVAL },
        { "refuses a relative socket", "unix:run", NULL, -EINVAL },
        { "refuses characters of no name", "a/b", NULL, -EINVAL },
        { "refuses a blank", "a b", NULL, -EINVAL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct host_pattern p = { 0 };
        struct target t;

        check_row(rows[i].it);
        assert_int_equal(host_pattern_parse(span_str(rows[i].pattern), &p), rows[i].want < 0 ? rows[i].want : 0);
        if (rows[i].want < 0)
            continue;
        t = target(rows[i].host, 80);
        assert_int_equal(host_pattern_matches(&p, &t), rows[i].want);
        host_pattern_deinit(&p);
    }
}

static void test_rules(void **state)
{
    static const struct { const char *it, *text, *formatted; } rows[] = {
        { "takes a name with ports", "*.example:80,443", "*.example:80,443" },
        { "takes a range", "db:8000-8100", "db:8000-8100" },
        { "takes all ports", "db", "db" },
        { "takes all ports as a star", "db:*", "db" },
        { "takes any host", "*:443", "*:443" },
        { "takes an IPv4 network with a port", "10.0.0.0/8:22", "10.0.0.0/8:22" },
        { "takes a bare IPv6 network", "2001:db8::/32", "[2001:db8::/32]" },
        { "takes an IPv6 network with a port", "[2001:db8::/32]:22", "[2001:db8::/32]:22" },
        { "takes a socket whole", "unix:/run/a:b", "unix:/run/a:b" },
        { "refuses port 0", "db:0", NULL },
        { "refuses a port past the last", "db:65536", NULL },
        { "refuses a range backwards", "db:9-8", NULL },
        { "refuses an empty port", "db:80,", NULL },
        { "refuses no port behind the colon", "db:", NULL },
        { "refuses an open bracket", "[::1", NULL },
        { "refuses what follows a bracket", "[::1]x", NULL },
        { "refuses a seventeenth port", "db:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", NULL },
        { "refuses a socket in brackets", "[unix:/x]:80", NULL },
        { "refuses a name in brackets", "[db]:80", NULL },
        { "refuses a signed port", "db:+80", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct acl_rule r = { 0 };
        char text[512];

        check_row(rows[i].it);
        assert_int_equal(acl_rule_parse(span_str(rows[i].text), &r), rows[i].formatted ? 0 : -EINVAL);
        if (!rows[i].formatted)
            continue;
        assert_string_equal(acl_rule_format(&r, text, sizeof(text)), rows[i].formatted);
        acl_rule_deinit(&r);
    }
}

/* Rules in one text: "+allow", "-deny", "!special", separated by blanks. */
static struct acl acl(const char *rules)
{
    struct span rest = span_str(rules), one;
    struct acl a = { 0 };

    while (rest.n && span_cut(&rest, ' ', &one)) {
        struct span text = span_skip(one, 1);
        int r = one.p[0] == '+' ? acl_add_allow(&a, text)
                : one.p[0] == '-' ? acl_add_deny(&a, text) : acl_add_special(&a, text);

        assert_int_equal(r, 0);
    }
    return a;
}

static void test_acl(void **state)
{
    static const struct { const char *it, *rules, *host, *addr; uint16_t port; bool may, allows; } rows[] = {
        { "denies by default", "", "db.x", "10.0.0.1", 80, false, false },
        { "allows by name", "+*.x", "db.x", "10.0.0.1", 80, true, true },
        { "allows by the address", "+10.0.0.0/8", "db.x", "10.0.0.1", 80, true, true },
        { "cannot know before it is resolved", "+10.0.0.0/8", "db.x", "11.0.0.1", 80, true, false },
        { "looks at the port", "+*.x:443", "db.x", "10.0.0.1", 80, false, false },
        { "looks at the port of a network", "+10.0.0.0/8:22", "db.x", "10.0.0.1", 80, false, false },
        { "denies before it allows", "+* -db.x", "db.x", "10.0.0.1", 80, false, false },
        { "denies what a name resolves to", "+* -10.0.0.0/8", "db.x", "10.0.0.1", 80, true, false },
        { "denies a port only", "+* -*:25", "db.x", "10.0.0.1", 80, true, true },
        { "denies that port", "+* -*:25", "db.x", "10.0.0.1", 25, false, false },
        { "allows a literal", "+10.0.0.0/8", "10.0.0.1", "10.0.0.1", 80, true, true },
        { "denies a literal", "+* -10.0.0.1", "10.0.0.1", "10.0.0.1", 80, false, false },
        { "denies it inside NAT64", "+* -10.0.0.1", "64:ff9b::a00:1", "64:ff9b::a00:1", 80, false, false },
        { "allows what special lists", "!127.0.0.1:80", "127.0.0.1", "127.0.0.1", 80, true, true },
        { "does not allow its other ports", "!127.0.0.1:80", "127.0.0.1", "127.0.0.1", 81, false, false },
        { "denies even what special lists", "!127.0.0.1:80 -127.0.0.0/8", "127.0.0.1", "127.0.0.1", 80, false, false },
        { "allows no host by a socket", "+unix:/x", "db.x", "10.0.0.1", 80, false, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct acl a = acl(rows[i].rules);
        struct target t = target(rows[i].host, rows[i].port);
        struct addr addr;

        check_row(rows[i].it);
        assert_true(addr_parse(span_str(rows[i].addr), &addr));
        assert_int_equal(acl_may_allow(&a, &t), rows[i].may);
        assert_int_equal(acl_allows(&a, &t, &addr), rows[i].allows);
        acl_deinit(&a);
    }
}

static void test_special_and_unix(void **state)
{
    struct acl a = acl("+*:1-65535 !127.0.0.1:80 !unix:/run/x.sock !localhost:80");
    const struct addr loopback = addr_v4(127, 0, 0, 1), other = addr_v4(127, 0, 0, 2);

    (void)state;
    check_row("lifts by address and port only");
    assert_true(acl_lifts_special(&a, &loopback, 80));
    assert_false(acl_lifts_special(&a, &loopback, 81));
    assert_false(acl_lifts_special(&a, &other, 80));
    check_row("lists sockets byte for byte");
    assert_true(acl_allows_unix(&a, SPAN("/run/x.sock")));
    assert_false(acl_allows_unix(&a, SPAN("/run/x.sock2")));
    assert_false(acl_allows_unix(&a, SPAN("/run/../run/x.sock")));
    check_row("has a limit on its rules");
    for (size_t i = a.deny_count; i < ACL_RULES_MAX; i++)
        assert_int_equal(acl_add_deny(&a, SPAN("x.y")), 0);
    assert_int_equal(acl_add_deny(&a, SPAN("x.y")), -ENOSPC);
    acl_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_acl),
        cmocka_unit_test(test_special_and_unix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
