#include "lib/net/proxy.h"
#include "lib/check/check.h"

static void test_parse(void **state)
{
    static const struct {
        const char *it, *url, *host;
        unsigned port;
        const char *credentials;    /* NULL: refused */
    } rows[] = {
        { "takes host and port", "http://proxy.corp:3128", "proxy.corp", 3128, "" },
        { "takes a path that says nothing", "http://proxy.corp:3128/", "proxy.corp", 3128, "" },
        { "takes a bare authority", "proxy.corp:3128", "proxy.corp", 3128, "" },
        { "has port 80 by default", "http://proxy.corp", "proxy.corp", 80, "" },
        { "takes an IPv6 address", "http://[fd00::1]:8080", "fd00::1", 8080, "" },
        { "takes user and password", "http://ann:secret@proxy:1", "proxy", 1, "ann:secret" },
        { "decodes them", "http://a%40b:p%3a%2F%25@proxy:1", "proxy", 1, "a@b:p:/%" },
        { "takes an empty password", "http://ann@proxy:1", "proxy", 1, "ann:" },
        { "ends a password at the last @", "http://ann:p@ss@proxy:1", "proxy", 1, "ann:p@ss" },
        { "takes a slash in a password as it stands", "http://ann:p/w@proxy:1", "proxy", 1, "ann:p/w" },
        { "refuses https", "https://proxy:3128", NULL, 0, NULL },
        { "refuses socks5", "socks5://proxy:1080", NULL, 0, NULL },
        { "refuses a path", "http://proxy:3128/x", NULL, 0, NULL },
        { "refuses port 0", "http://proxy:0", NULL, 0, NULL },
        { "refuses an empty host", "http://:3128", NULL, 0, NULL },
        { "refuses nothing", "", NULL, 0, NULL },
        { "refuses a cut escape", "http://ann:p%4@proxy:1", NULL, 0, NULL },
        { "refuses a wrong escape", "http://ann:p%zz@proxy:1", NULL, 0, NULL },
        { "refuses a line end in a password", "http://ann:p%0ax@proxy:1", NULL, 0, NULL },
        { "refuses a colon in a user", "http://a%3ab:p@proxy:1", NULL, 0, NULL },
        { "refuses what does not fit a line", "http://proxy:1\r\nX: y", NULL, 0, NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char words[256];
        struct proxy p;
        struct buf why;
        int r;

        check_row(rows[i].it);
        buf_init_fixed(&why, words, sizeof(words));
        r = proxy_parse(span_str(rows[i].url), &p, &why);
        assert_int_equal(r, rows[i].credentials ? 0 : -EINVAL);
        if (r) {
            assert_true(why.len > 0);
            continue;
        }
        assert_string_equal(p.host, rows[i].host);
        assert_int_equal(p.port, rows[i].port);
        assert_string_equal(p.credentials, rows[i].credentials);
    }
}

static void test_no_secret_in_errors(void **state)
{
    char words[256] = "";
    struct proxy p;
    struct buf why;

    (void)state;
    buf_init_fixed(&why, words, sizeof(words));
    assert_int_equal(proxy_parse(SPAN("http://ann:hunter2%@proxy:1"), &p, &why), -EINVAL);
    assert_null(strstr(buf_text(&why), "hunter2"));
    assert_int_equal(proxy_parse(SPAN("ftp://ann:hunter2@proxy:1"), &p, &why), -EINVAL);
    assert_null(strstr(buf_text(&why), "hunter2"));
}

static void test_credentials(void **state)
{
    static const struct {
        const char *it, *text;
        int want;
    } rows[] = {
        { "takes user and password", "ann:secret", 0 },
        { "takes a colon in the password", "ann:se:cret", 0 },
        { "refuses a user alone", "ann", -EINVAL },
        { "refuses a line end", "ann:sec\nret", -EINVAL },
    };
    char words[256], longest[PROXY_CREDENTIALS_MAX + 1] = "a:";
    struct proxy p = { .port = 1 };
    struct buf why;

    (void)state;
    buf_init_fixed(&why, words, sizeof(words));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(proxy_set_credentials(&p, span_str(rows[i].text), &why), rows[i].want);
        if (!rows[i].want)
            assert_string_equal(p.credentials, rows[i].text);
    }
    check_row("takes as many bytes as there is room for, and no more");
    memset(longest + 2, 'x', sizeof(longest) - 2);
    assert_int_equal(proxy_set_credentials(&p, span_of(longest, PROXY_CREDENTIALS_MAX - 1), &why), 0);
    assert_int_equal(proxy_set_credentials(&p, span_of(longest, PROXY_CREDENTIALS_MAX), &why), -EINVAL);
    proxy_wipe(&p);
    assert_string_equal(p.credentials, "");
}

static void test_bypass(void **state)
{
    static const struct {
        const char *it, *bypass, *host;
        bool want;
    } rows[] = {
        { "goes through it by default", NULL, "relay.example", true },
        { "goes through it when the list names others", "a.example,b.example", "relay.example", true },
        { "leaves out what is named", "a.example,relay.example", "relay.example", false },
        { "names without case", "RELAY.example", "relay.EXAMPLE", false },
        { "leaves out what is below a name", "example", "relay.example", false },
        { "takes a leading dot", ".example", "relay.example", false },
        { "takes a leading star", "*.example", "relay.example", false },
        { "cuts at labels only", "ample", "relay.example", true },
        { "takes no notice of a last dot", "relay.example", "relay.example.", false },
        { "leaves out everything", "*", "relay.example", false },
        { "takes blanks between items", "a.example, relay.example", "relay.example", false },
        { "takes line ends between items", "a.example\nrelay.example", "relay.example", false },
        { "leaves out an address", "192.0.2.1", "192.0.2.1", false },
        { "leaves out a network", "192.0.2.0/24", "192.0.2.77", false },
        { "leaves out an IPv6 network", "fd00::/8", "fd12::1", false },
        { "takes a name for no address", "1", "192.0.2.1", true },
        { "knows the port", "relay.example:7443", "relay.example", false },
        { "knows another port", "relay.example:443", "relay.example", true },
        { "knows the port below a name", "*.example:7443", "relay.example", false },
        { "leaves out loopback", NULL, "127.0.0.1", false },
        { "leaves out all of loopback", NULL, "127.9.9.9", false },
        { "leaves out IPv6 loopback", NULL, "::1", false },
        { "leaves out localhost", NULL, "localhost", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proxy p = { .port = 1, .bypass = rows[i].bypass };

        check_row(rows[i].it);
        assert_int_equal(proxy_is_for(&p, span_str(rows[i].host), 7443), rows[i].want);
    }
}

static void test_bypass_is_valid(void **state)
{
    static const struct { const char *it, *list, *wrong; } rows[] = {
        { "takes none", "", NULL },
        { "takes everything", "*", NULL },
        { "takes names, addresses, networks and ports",
          "a.example, .b.example,*.c.example:7443 10.0.0.0/8\n192.0.2.1:80,[fd00::1]:443,fd00::/8,::1", NULL },
        { "refuses a URL", "a.example,http://b.example", "http://b.example" },
        { "refuses a star in the middle", "10.0.*", "10.0.*" },
        { "refuses host bits in a network", "10.0.0.1/8", "10.0.0.1/8" },
        { "refuses a port that is none", "a.example:99999", "a.example:99999" },
        { "refuses what is no name", "a..b", "a..b" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span wrong = SPAN_NONE;

        check_row(rows[i].it);
        assert_true(proxy_bypass_is_valid(span_str(rows[i].list), &wrong) == !rows[i].wrong);
        assert_true(!rows[i].wrong || span_eq(wrong, span_str(rows[i].wrong)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_no_secret_in_errors),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_bypass),
        cmocka_unit_test(test_bypass_is_valid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
