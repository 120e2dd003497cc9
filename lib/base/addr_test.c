#include "lib/base/addr.h"
#include "lib/check/check.h"

static void test_addr_text(void **state)
{
    static const struct { const char *it, *text, *want; } rows[] = {
        { "refuses nothing", "", NULL },
        { "refuses three parts", "1.2.3", NULL },
        { "refuses five parts", "1.2.3.4.5", NULL },
        { "refuses octal", "010.0.0.1", NULL },
        { "refuses hexadecimal", "0x7f.0.0.1", NULL },
        { "refuses one number", "2130706433", NULL },
        { "refuses 256", "1.2.3.256", NULL },
        { "refuses a trailing dot", "1.2.3.4.", NULL },
        { "refuses white space", " 1.2.3.4", NULL },
        { "refuses a zone", "fe80::1%eth0", NULL },
        { "refuses brackets", "[::1]", NULL },
        { "refuses two gaps", "1::2::3", NULL },
        { "refuses a gap of three colons", ":::", NULL },
        { "refuses a gap that stands for nothing", "1:2:3:4::5:6:7:8", NULL },
        { "refuses seven groups", "1:2:3:4:5:6:7", NULL },
        { "refuses nine groups", "1:2:3:4:5:6:7:8:9", NULL },
        { "refuses five digits", "::10000", NULL },
        { "refuses a leading colon", ":1:2:3:4:5:6:7", NULL },
        { "refuses a trailing colon", "1:2:3:4:5:6:7:", NULL },
        { "refuses IPv4 before the gap", "1.2.3.4::", NULL },
        { "refuses IPv4 in the middle", "::1.2.3.4:5", NULL },
        { "takes IPv4", "192.0.2.255", "192.0.2.255" },
        { "takes zeros", "0.0.0.0", "0.0.0.0" },
        { "takes the unspecified address", "::", "::" },
        { "takes loopback", "::1", "::1" },
        { "writes lower case", "2001:DB8::A", "2001:db8::a" },
        { "drops leading zeros", "2001:0db8:0:0:0:0:0:0001", "2001:db8::1" },
        { "shortens the longest run", "1:0:0:2:0:0:0:3", "1:0:0:2::3" },
        { "shortens the first of equal runs", "1:0:0:2:3:0:0:4", "1::2:3:0:0:4" },
        { "keeps a single zero", "1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7" },
        { "shortens at the end", "1:2::", "1:2::" },
        { "writes the mapped form as IPv4", "::ffff:10.1.2.3", "10.1.2.3" },
        { "takes the mapped form in hexadecimal", "::ffff:a01:203", "10.1.2.3" },
        { "takes a gap of one group", "1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[ADDR_TEXT_MAX];
        struct addr a;

        check_row(rows[i].it);
        assert_int_equal(addr_parse(span_str(rows[i].text), &a), rows[i].want != NULL);
        if (rows[i].want)
            assert_string_equal(addr_format(&a, text), rows[i].want);
    }
}

static void test_forms(void **state)
{
    static const struct { const char *it; struct addr (*form)(const struct addr *a);
                          const char *from, *want; } rows[] = {
        { "takes IPv4 out of 6to4", addr_unwrap, "2002:7f00:1::1", "127.0.0.1" },
        { "takes IPv4 out of NAT64", addr_unwrap, "64:ff9b::a9fe:a9fe", "169.254.169.254" },
        { "takes IPv4 out of local NAT64", addr_unwrap, "64:ff9b:1::7f00:1", "127.0.0.1" },
        { "leaves near neighbours of NAT64", addr_unwrap, "64:ff9b:0:1::7f00:1", "64:ff9b:0:1::7f00:1" },
        { "leaves IPv4", addr_unwrap, "10.0.0.1", "10.0.0.1" },
        { "leaves other addresses", addr_unwrap, "2001:db8::1", "2001:db8::1" },
        { "counts IPv4 by itself", addr_source, "10.0.0.1", "10.0.0.1" },
        { "counts IPv6 by its /64", addr_source, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[ADDR_TEXT_MAX];
        struct addr a;

        check_row(rows[i].it);
        assert_true(addr_parse(span_str(rows[i].from), &a));
        a = rows[i].form(&a);
        assert_string_equal(addr_format(&a, text), rows[i].want);
    }
}

static void test_cidr(void **state)
{
    static const struct { const char *it, *cidr, *want, *in, *out; } rows[] = {
        { "refuses host bits", "10.0.0.1/8", NULL, NULL, NULL },
        { "refuses IPv6 host bits", "2001:db8::1/64", NULL, NULL, NULL },
        { "refuses 33", "10.0.0.0/33", NULL, NULL, NULL },
        { "refuses 129", "::/129", NULL, NULL, NULL },
        { "refuses an empty length", "10.0.0.0/", NULL, NULL, NULL },
        { "refuses a leading zero", "10.0.0.0/08", NULL, NULL, NULL },
        { "refuses a mask", "10.0.0.0/255.0.0.0", NULL, NULL, NULL },
        { "takes a byte's border", "10.0.0.0/8", "10.0.0.0/8", "10.255.0.1", "11.0.0.0" },
        { "takes a border within a byte", "192.168.4.0/22", "192.168.4.0/22", "192.168.7.255",
          "192.168.8.0" },
        { "takes a bare address", "10.1.1.1", "10.1.1.1/32", "10.1.1.1", "10.1.1.0" },
        { "takes all of IPv4", "0.0.0.0/0", "0.0.0.0/0", "255.1.1.1", "2001:db8::" },
        { "takes all of IPv6", "::/0", "::/0", "2001:db8::", "255.1.1.1" },
        { "takes IPv6", "2001:db8::/33", "2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::" },
        { "takes the mapped form", "::ffff:10.0.0.0/104", "10.0.0.0/8", "10.1.1.1", "9.1.1.1" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[ADDR_TEXT_MAX];
        struct addr in, out;
        struct cidr c;

        check_row(rows[i].it);
        assert_int_equal(cidr_parse(span_str(rows[i].cidr), &c), rows[i].want != NULL);
        if (!rows[i].want)
            continue;
        assert_string_equal(cidr_format(&c, text), rows[i].want);
        assert_true(addr_parse(span_str(rows[i].in), &in));
        assert_true(addr_parse(span_str(rows[i].out), &out));
        assert_true(cidr_has(&c, &in));
        assert_false(cidr_has(&c, &out));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addr_text),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_cidr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
