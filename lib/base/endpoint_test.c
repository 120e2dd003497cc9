#include "lib/base/addr.h"
#include "lib/check/check.h"

static void test_endpoint(void **state)
{
    static const struct { const char *it, *text, *want; } rows[] = {
        { "refuses nothing", "", NULL },
        { "refuses a missing port", "1.2.3.4", NULL },
        { "refuses an empty port", "1.2.3.4:", NULL },
        { "refuses a port past 65535", "1.2.3.4:65536", NULL },
        { "refuses a leading zero", "1.2.3.4:080", NULL },
        { "refuses IPv6 without brackets", "::1:80", NULL },
        { "refuses IPv4 in brackets", "[1.2.3.4]:80", NULL },
        { "refuses an open bracket", "[::1:80", NULL },
        { "refuses bytes behind the bracket", "[::1]x80", NULL },
        { "refuses a name", "localhost:80", NULL },
        { "refuses a relative path", "unix:run/adit", NULL },
        { "refuses an empty path", "unix:", NULL },
        { "takes IPv4", "1.2.3.4:80", "1.2.3.4:80" },
        { "takes IPv6", "[::1]:443", "[::1]:443" },
        { "takes port 0", "127.0.0.1:0", "127.0.0.1:0" },
        { "takes a path", "unix:/run/adit", "unix:/run/adit" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[sizeof_field(struct endpoint, path) + 8];
        struct endpoint e;

        check_row(rows[i].it);
        assert_int_equal(endpoint_parse(span_str(rows[i].text), &e), rows[i].want != NULL);
        if (rows[i].want)
            assert_string_equal(endpoint_format(&e, text, sizeof(text)), rows[i].want);
    }
}

static void test_path_limit(void **state)
{
    char text[5 + ADDR_UNIX_MAX + 1] = "unix:/";
    struct endpoint e;

    (void)state;
    memset(text + 6, 'a', sizeof(text) - 7);
    check_row("refuses a path of 108 bytes");
    assert_false(endpoint_parse(span_str(text), &e));
    check_row("takes a path of 107 bytes");
    assert_true(endpoint_parse(span_first(span_str(text), sizeof(text) - 2), &e));
    check_row("formats nothing into too little room");
    assert_string_equal(endpoint_format(&e, text, 20), "");
}

static void test_authority(void **state)
{
    static const struct {
        const char *it, *text;
        uint16_t fallback;
        const char *host;
        uint16_t port;
    } rows[] = {
        { "refuses nothing", "", 80, NULL, 0 },
        { "refuses a missing port", "host", 0, NULL, 0 },
        { "refuses port 0", "host:0", 80, NULL, 0 },
        { "refuses an empty port", "host:", 80, NULL, 0 },
        { "refuses a sign", "host:+80", 0, NULL, 0 },
        { "refuses an empty host", ":80", 0, NULL, 0 },
        { "refuses user information", "a@b:80", 0, NULL, 0 },
        { "refuses a path", "a/b:80", 0, NULL, 0 },
        { "refuses IPv6 without brackets", "::1:80", 0, NULL, 0 },
        { "refuses a name in brackets", "[host]:80", 0, NULL, 0 },
        { "refuses empty brackets", "[]:80", 0, NULL, 0 },
        { "refuses bytes that are not ASCII", "h\xc3\xb6st:80", 0, NULL, 0 },
        { "refuses a line feed", "host\n:80", 0, NULL, 0 },
        { "takes a name", "Host.example:443", 0, "Host.example", 443 },
        { "takes the fallback", "host", 80, "host", 80 },
        { "takes IPv4", "10.0.0.1:22", 0, "10.0.0.1", 22 },
        { "takes IPv6", "[2001:db8::1]:443", 0, "2001:db8::1", 443 },
        { "takes IPv6 without a port", "[::1]", 80, "::1", 80 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span host = SPAN_NONE;
        uint16_t port = 0;

        check_row(rows[i].it);
        assert_int_equal(authority_parse(span_str(rows[i].text), rows[i].fallback, &host, &port),
                         rows[i].host != NULL);
        assert_true(span_eq(host, span_str(rows[i].host)));
        assert_int_equal(port, rows[i].port);
    }
}

#define LABEL_63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"

static void test_host(void **state)
{
    static const struct { const char *it, *text, *want; } rows[] = {
        { "refuses nothing", "", NULL },
        { "refuses a dot", ".", NULL },
        { "refuses two trailing dots", "a..", NULL },
        { "refuses an empty label", "a..b", NULL },
        { "refuses a leading dot", ".a", NULL },
        { "refuses IPv4", "10.0.0.1", NULL },
        { "refuses a number", "2130706433", NULL },
        { "refuses a last label of digits", "host.123", NULL },
        { "refuses hexadecimal", "0x7f000001", NULL },
        { "refuses upper case hexadecimal", "a.0X7F", NULL },
        { "refuses a space", "a b", NULL },
        { "refuses a star", "*.example", NULL },
        { "refuses a label of 64", LABEL_63 "x.example", NULL },
        { "refuses 255", LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63, NULL },
        { "takes a label of 63", LABEL_63 ".example", LABEL_63 ".example" },
        { "lowers", "WWW.Example.COM", "www.example.com" },
        { "drops the trailing dot", "example.com.", "example.com" },
        { "takes digits before the last label", "1.2.3.example", "1.2.3.example" },
        { "takes a label of digits and letters", "node.3a", "node.3a" },
        { "takes an underscore", "_srv.a-b", "_srv.a-b" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char dst[254];

        check_row(rows[i].it);
        assert_int_equal(host_canonical(span_str(rows[i].text), dst), rows[i].want != NULL);
        if (rows[i].want)
            assert_string_equal(dst, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoint),
        cmocka_unit_test(test_path_limit),
        cmocka_unit_test(test_authority),
        cmocka_unit_test(test_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
