#include "controlplane/domain/check.h"
#include "lib/check/check.h"

struct row {
    const char *it;
    enum leaf leaf;
    const char *in;
    enum check_result want;
    const char *out;            /* NULL: as it came */
};

static const struct row rows[] = {
    { "takes a name", LEAF_NAME, "build-7", CHECK_OK, NULL },
    { "refuses an empty name", LEAF_NAME, "", CHECK_INVALID, NULL },
    { "refuses capitals in a name", LEAF_NAME, "Build", CHECK_INVALID, NULL },
    { "refuses a name of 64", LEAF_NAME,
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", CHECK_INVALID, NULL },
    { "takes an id as a reference", LEAF_REF, "01J9Z3NDEKTSV4RRFFQ69G5FAV", CHECK_OK, NULL },
    { "refuses an id past 128 bits", LEAF_REF, "81J9Z3NDEKTSV4RRFFQ69G5FAV", CHECK_INVALID, NULL },
    { "brings a time to UTC", LEAF_TIME, "2031-01-31T18:00:00.75+02:00", CHECK_OK,
      "2031-01-31T16:00:00Z" },
    { "refuses 30 February", LEAF_TIME, "2031-02-30T18:00:00Z", CHECK_INVALID, NULL },
    { "takes 29 February of a leap year", LEAF_TIME, "2028-02-29T00:00:00z", CHECK_OK,
      "2028-02-29T00:00:00Z" },
    { "refuses a time without offset", LEAF_TIME, "2031-01-31T18:00:00", CHECK_INVALID, NULL },
    { "refuses a blank for the T", LEAF_TIME, "2031-01-31 18:00:00Z", CHECK_INVALID, NULL },
    { "clears host bits", LEAF_NETWORK, "10.1.2.3/8", CHECK_OK, "10.0.0.0/8" },
    { "clears IPv6 host bits", LEAF_NETWORK, "2001:db8::1/32", CHECK_OK, "2001:db8::/32" },
    { "takes the whole of IPv4", LEAF_NETWORK, "10.0.0.0/0", CHECK_OK, "0.0.0.0/0" },
    { "refuses 33 bits of IPv4", LEAF_NETWORK, "10.0.0.0/33", CHECK_INVALID, NULL },
    { "refuses leading zeros in bits", LEAF_NETWORK, "10.0.0.0/08", CHECK_INVALID, NULL },
    { "refuses an octal address", LEAF_ADDRESS, "010.0.0.1", CHECK_INVALID, NULL },
    { "refuses capitals in IPv6", LEAF_ADDRESS, "2001:DB8::1", CHECK_INVALID, NULL },
    { "refuses an empty prefix", LEAF_NETWORK, "", CHECK_INVALID, NULL },
    { "refuses a slash without bits", LEAF_NETWORK, "10.0.0.0/", CHECK_INVALID, NULL },
    { "takes a suffix", LEAF_HOST_PATTERN, "*.corp.internal", CHECK_OK, NULL },
    { "takes a bare label", LEAF_HOST_PATTERN, "wiki", CHECK_OK, NULL },
    { "refuses a star alone", LEAF_HOST_PATTERN, "*", CHECK_INVALID, NULL },
    { "refuses a star within", LEAF_HOST_PATTERN, "db-*.corp", CHECK_INVALID, NULL },
    { "refuses a trailing dot", LEAF_HOST_PATTERN, "wiki.corp.", CHECK_INVALID, NULL },
    { "refuses a name that ends in digits alone", LEAF_HOST_PATTERN, "1.2.3", CHECK_INVALID, NULL },
    { "refuses a prefix as override", LEAF_HOST, "10.0.0.0/8", CHECK_INVALID, NULL },
    { "takes a range of ports", LEAF_PORTS, "8000-8100", CHECK_OK, NULL },
    { "finds a reversed range contradictory", LEAF_PORTS, "8100-8000", CHECK_CONFLICT, NULL },
    { "refuses port 0", LEAF_PORTS, "0", CHECK_INVALID, NULL },
    { "refuses port 65536", LEAF_PORTS, "65536", CHECK_INVALID, NULL },
    { "refuses three ports in a range", LEAF_PORTS, "1-2-3", CHECK_INVALID, NULL },
    { "refuses an open range", LEAF_PORTS, "80-", CHECK_INVALID, NULL },
    { "takes a rule with ports", LEAF_ACL_RULE, "*.corp.internal:80,443", CHECK_OK, NULL },
    { "takes a rule without ports", LEAF_ACL_RULE, "10.0.0.0/8", CHECK_OK, NULL },
    { "clears host bits of a rule", LEAF_ACL_RULE, "10.1.2.3/8:80", CHECK_OK, "10.0.0.0/8:80" },
    { "clears IPv6 host bits of a rule", LEAF_ACL_RULE, "[2001:db8::1/32]:22", CHECK_OK,
      "[2001:db8::/32]:22" },
    { "takes a rule for all", LEAF_ACL_RULE, "*", CHECK_OK, NULL },
    { "takes IPv6 in brackets", LEAF_ACL_RULE, "[2001:db8::/32]:22", CHECK_OK, NULL },
    { "refuses IPv6 without brackets", LEAF_ACL_RULE, "2001:db8::1", CHECK_INVALID, NULL },
    { "refuses IPv4 in brackets", LEAF_ACL_RULE, "[10.0.0.1]:22", CHECK_INVALID, NULL },
    { "refuses a rule that ends in a colon", LEAF_ACL_RULE, "wiki:", CHECK_INVALID, NULL },
    { "takes a scope", LEAF_SCOPE, "users:read", CHECK_OK, NULL },
    { "refuses a scope without verb", LEAF_SCOPE, "users", CHECK_INVALID, NULL },
    { "refuses an unknown verb", LEAF_SCOPE, "users:own", CHECK_INVALID, NULL },
    { "takes a socket", LEAF_UNIX_PATH, "/run/demo.sock", CHECK_OK, NULL },
    { "refuses a relative socket", LEAF_UNIX_PATH, "run/demo.sock", CHECK_INVALID, NULL },
    { "refuses 24:00 as a beginning", LEAF_HOUR, "24:00", CHECK_INVALID, NULL },
    { "takes 24:00 as an end", LEAF_HOUR_END, "24:00", CHECK_OK, NULL },
    { "takes a zone", LEAF_ZONE, "America/Argentina/Salta", CHECK_OK, NULL },
    { "refuses a way out of the zones", LEAF_ZONE, "../../etc/passwd", CHECK_INVALID, NULL },
    { "never takes text for a number", LEAF_INT, "1", CHECK_INVALID, NULL },
};

static void test_rows(void **state)
{
    static const struct check_limits limits = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned char mem[512];
        const char *message;
        struct buf out;

        check_row(rows[i].it);
        buf_init_fixed(&out, mem, sizeof(mem));
        assert_int_equal(check_text(rows[i].leaf, &limits, span_str(rows[i].in), &out, &message),
                         rows[i].want);
        assert_non_null(message);
        if (rows[i].want == CHECK_OK)
            assert_true(span_eq(buf_span(&out), span_str(rows[i].out ? rows[i].out : rows[i].in)));
    }
    check_row(NULL);
}

static void test_text_counts_characters(void **state)
{
    static const struct check_limits three = { 3, 3, NULL };
    unsigned char mem[64];
    const char *message;
    struct buf out;

    (void)state;
    buf_init_fixed(&out, mem, sizeof(mem));
    assert_int_equal(check_text(LEAF_TEXT, &three, SPAN("äöü"), &out, &message), CHECK_OK);
    assert_int_equal(check_text(LEAF_TEXT, &three, SPAN("äö"), &out, &message), CHECK_INVALID);
    assert_int_equal(check_text(LEAF_TEXT, &three, SPAN("a\nb"), &out, &message), CHECK_INVALID);
    assert_int_equal(check_text(LEAF_TEXT, &three, SPAN("ab\xff"), &out, &message), CHECK_INVALID);
}

static void test_scopes_cover(void **state)
{
    static const struct {
        const char *it, *wide, *narrow;
        bool want;
    } covers[] = {
        { "does not widen the verb", "users:read", "users:write", false },
        { "does not widen the resource", "users:read", "grants:read", false },
        { "does not take one for all", "users:read", "*:read", false },
        { "covers itself", "users:read", "users:read", true },
        { "covers by verb", "users:*", "users:write", true },
        { "covers by resource", "*:read", "users:read", true },
        { "covers all", "*:*", "*:*", true },
        { "needs a verb", "*", "users:read", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(covers); i++) {
        check_row(covers[i].it);
        assert_int_equal(scope_covers(span_str(covers[i].wide), span_str(covers[i].narrow)),
                         covers[i].want);
    }
    check_row(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_text_counts_characters),
        cmocka_unit_test(test_scopes_cover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
