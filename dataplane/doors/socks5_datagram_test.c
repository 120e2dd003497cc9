#include "dataplane/doors/socks5.h"
#include "lib/check/check.h"

#define TEN "0123456789"
#define T50 TEN TEN TEN TEN TEN
#define T255 T50 T50 T50 T50 T50 "01234"
#define V6 "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"

#define OK(it, text, found) { it, text, sizeof(text) - 1, 0, found }
#define NO(it, text, error) { it, text, sizeof(text) - 1, SOCKS5_E_##error, "" }
static const struct { const char *it, *text; size_t n; int want; const char *found; } rows[] = {
    OK("takes IPv4", "\0\0\0\1\x0a\0\0\1\0\x35query", "10.0.0.1 53 query"),
    OK("takes IPv6", "\0\0\0\4" V6 "\xff\xff" "q", "2001:db8::1 65535 q"),
    OK("takes a name", "\0\0\0\3\7a.b.c.d\0\x35q", "name a.b.c.d 53 q"),
    OK("takes the longest name", "\0\0\0\3\xff" T255 "\0\x35q", "name " T255 " 53 q"),
    OK("takes a mapped address as IPv4", "\0\0\0\4\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1\0\x35q", "10.0.0.1 53 q"),
    OK("takes IPv4 text as the address", "\0\0\0\3\x08" "10.0.0.1\0\x35q", "10.0.0.1 53 q"),
    OK("takes one without bytes", "\0\0\0\1\x0a\0\0\1\0\x35", "10.0.0.1 53 "),
    OK("takes bytes that look like a header", "\0\0\0\1\x0a\0\0\1\0\x35\1\1\1", "10.0.0.1 53 \1\1\1"),
    NO("refuses an empty datagram", "", MORE),
    NO("refuses half the reserved bytes", "\0", MORE),
    NO("refuses one without FRAG", "\0\0", MORE),
    NO("refuses one without a type", "\0\0\0", MORE),
    NO("refuses one that ends after the type", "\0\0\0\1", MORE),
    NO("refuses half an IPv4 address", "\0\0\0\1\x0a\0\0", MORE),
    NO("refuses half an IPv6 address", "\0\0\0\4\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0", MORE),
    NO("refuses a name's length alone", "\0\0\0\3", MORE),
    NO("refuses a name that is cut", "\0\0\0\3\7a.b.c.", MORE),
    NO("refuses one without a port", "\0\0\0\1\x0a\0\0\1", MORE),
    NO("refuses half a port", "\0\0\0\1\x0a\0\0\1\0", MORE),
    NO("refuses the first reserved byte", "\1\0\0\1\x0a\0\0\1\0\x35q", RESERVED),
    NO("refuses the second reserved byte", "\0\5\0\1\x0a\0\0\1\0\x35q", RESERVED),
    NO("refuses what is a request", "\5\1\0\1\x0a\0\0\1\0\x35q", RESERVED),
    NO("refuses fragment 1", "\0\0\1\1\x0a\0\0\1\0\x35q", FRAGMENT),
    NO("refuses the last fragment", "\0\0\x81\1\x0a\0\0\1\0\x35q", FRAGMENT),
    NO("refuses a fragment that is cut", "\0\0\xff", FRAGMENT),
    NO("refuses type 0", "\0\0\0\0\x0a\0\0\1\0\x35q", ADDRESS_TYPE),
    NO("refuses type 2", "\0\0\0\2\x0a\0\0\1\0\x35q", ADDRESS_TYPE),
    NO("refuses type 255", "\0\0\0\xff\x0a\0\0\1\0\x35q", ADDRESS_TYPE),
    NO("refuses an empty name", "\0\0\0\3\0\0\x35q", NAME),
    NO("refuses a NUL in a name", "\0\0\0\3\3a\0b\0\x35q", NAME),
    NO("refuses a line feed in a name", "\0\0\0\3\3a\nb\0\x35q", NAME),
    NO("refuses port 0", "\0\0\0\1\x0a\0\0\1\0\0q", PORT),
};
#undef OK
#undef NO

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct socks5_datagram d = { .port = 1 };
        unsigned char mem[400];
        char text[ADDR_TEXT_MAX];
        char *copy = malloc(rows[i].n);     /* so that a sanitizer sees its end */
        struct buf log;

        check_row(rows[i].it);
        memcpy(copy, rows[i].text, rows[i].n);
        assert_int_equal(socks5_datagram_parse(span_of(copy, rows[i].n), &d), rows[i].want);
        buf_init_fixed(&log, mem, sizeof(mem));
        if (rows[i].want == 0 && d.name.n)
            buf_printf(&log, "name " SPAN_FMT " %u " SPAN_FMT, SPAN_ARG(d.name), d.port, SPAN_ARG(d.bytes));
        else if (rows[i].want == 0)
            buf_printf(&log, "%s %u " SPAN_FMT, addr_format(&d.addr, text), d.port, SPAN_ARG(d.bytes));
        assert_string_equal(buf_text(&log), rows[i].found);
        assert_true(rows[i].want == 0 || d.port == 1);
        free(copy);
    }
}

static void test_write(void **state)
{
    const struct socks5_datagram v4 = { .addr = addr_v4(1, 2, 3, 4), .port = 0x1234, .bytes = SPAN("abc") };
    const struct socks5_datagram v6 = { .addr = { { 0x20, 1, [15] = 1 } }, .port = 80, .bytes = SPAN_NONE };
    const struct socks5_datagram name = { .name = SPAN("a.b"), .port = 80, .bytes = SPAN("q") };
    unsigned char mem[128];
    struct buf b;

    (void)state;
    check_row("writes what it reads");
    buf_init_fixed(&b, mem, sizeof(mem));
    socks5_datagram_write(&b, &v4);
    assert_true(span_eq(buf_span(&b), SPAN("\0\0\0\1\1\2\3\4\x12\x34" "abc")));
    buf_clear(&b);
    socks5_datagram_write(&b, &v6);
    assert_true(span_eq(buf_span(&b), SPAN("\0\0\0\4\x20\1\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\x50")));
    buf_clear(&b);
    socks5_datagram_write(&b, &name);
    assert_true(span_eq(buf_span(&b), SPAN("\0\0\0\3\3a.b\0\x50q")));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse), cmocka_unit_test(test_write) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
