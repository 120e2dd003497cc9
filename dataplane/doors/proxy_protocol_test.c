#include "dataplane/doors/proxy_protocol.h"
#include "lib/base/buf.h"
#include "lib/check/check.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define LOCAL "\x20"
#define PROXY "\x21"
#define TCP4 "\x11"
#define TCP6 "\x21"
#define ENDS4 "\x0a\0\0\1\x0a\0\0\2\x12\x34\0\x50"
#define V6(last) "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0" last
#define TEN "0123456789"

static void describe(const struct proxy_protocol *h, struct buf *log)
{
    char text[ADDR_TEXT_MAX];

    if (h->is_local)
        buf_put_str(log, "local");
    if (h->source.kind == ENDPOINT_NONE)
        return;
    buf_printf(log, "%s -> ", endpoint_format(&h->source, text, sizeof(text)));
    buf_put_str(log, endpoint_format(&h->destination, text, sizeof(text)));
}

#define OK(it, text, found) { it, text, sizeof(text) - 1, 0, found }
#define NO(it, text, error) { it, text, sizeof(text) - 1, PROXY_PROTOCOL_E_##error, "" }
static const struct { const char *it, *text; size_t n; int want; const char *found; } rows[] = {
    OK("takes TCP4", "PROXY TCP4 10.0.0.1 10.0.0.2 4660 80\r\n", "10.0.0.1:4660 -> 10.0.0.2:80"),
    OK("takes TCP6", "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", "[2001:db8::1]:1 -> [::1]:65535"),
    OK("takes a mapped address as TCP6", "PROXY TCP6 ::ffff:10.0.0.1 ::1 1 2\r\n",
       "10.0.0.1:1 -> [::1]:2"),
    OK("takes port 0", "PROXY TCP4 10.0.0.1 10.0.0.2 0 0\r\n", "10.0.0.1:0 -> 10.0.0.2:0"),
    OK("takes UNKNOWN", "PROXY UNKNOWN\r\n", ""),
    OK("reads nothing behind UNKNOWN", "PROXY UNKNOWN ffff::1 what ever\r\n", ""),
    OK("takes the longest line",
       "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
       "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", ""),
    NO("waits for anything", "", MORE),
    NO("waits for the signature", "PROX", MORE),
    NO("waits for the line", "PROXY TCP4 10.0.0.1", MORE),
    NO("waits for the LF", "PROXY UNKNOWN\r", MORE),
    NO("refuses HTTP", "GET / HTTP/1.1\r\n", ABSENT),
    NO("refuses a method that begins like it", "PROPFIND", ABSENT),
    NO("refuses TLS", "\x16\3\1", ABSENT),
    NO("refuses lower case", "proxy TCP4", ABSENT),
    NO("refuses a bare LF", "PROXY UNKNOWN\n", LINE),
    NO("refuses a bare CR", "PROXY UNKNOWN\rx\r\n", LINE),
    NO("refuses a line of 108 bytes",
       "PROXY UNKNOWN" TEN TEN TEN TEN TEN TEN TEN TEN TEN "012\r\n", TOO_LONG),
    NO("refuses UDP4 as text", "PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n", FAMILY),
    NO("refuses no family", "PROXY \r\n", FAMILY),
    NO("refuses two spaces", "PROXY  TCP4 10.0.0.1 10.0.0.2 1 2\r\n", FAMILY),
    NO("refuses two spaces later", "PROXY TCP4 10.0.0.1  10.0.0.2 1 2\r\n", LINE),
    NO("refuses a space at the end", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 \r\n", LINE),
    NO("refuses a missing port", "PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n", LINE),
    NO("refuses no ends", "PROXY TCP4\r\n", LINE),
    NO("refuses IPv6 in TCP4", "PROXY TCP4 ::1 ::2 1 2\r\n", ADDRESS),
    NO("refuses IPv4 in TCP6", "PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n", ADDRESS),
    NO("refuses a name", "PROXY TCP4 localhost 10.0.0.2 1 2\r\n", ADDRESS),
    NO("refuses octal", "PROXY TCP4 010.0.0.1 10.0.0.2 1 2\r\n", ADDRESS),
    NO("refuses port 65536", "PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n", ADDRESS),
    NO("refuses a port with zeros", "PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n", ADDRESS),
    NO("refuses a signed port", "PROXY TCP4 10.0.0.1 10.0.0.2 +1 2\r\n", ADDRESS),

    OK("takes bytes of TCP4", V2 PROXY TCP4 "\0\x0c" ENDS4, "10.0.0.1:4660 -> 10.0.0.2:80"),
    OK("takes bytes of TCP6", V2 PROXY TCP6 "\0\x24" V6("\1") V6("\2") "\0\1\0\2",
       "[2001:db8::1]:1 -> [2001:db8::2]:2"),
    OK("takes LOCAL", V2 LOCAL "\0\0\0", "local"),
    OK("reads nothing behind LOCAL", V2 LOCAL "\xff\0\4abcd", "local"),
    OK("takes UNSPEC", V2 PROXY "\0\0\3abc", ""),
    OK("skips TLVs", V2 PROXY TCP4 "\0\x13" ENDS4 "\4\0\0\1\0\1a", "10.0.0.1:4660 -> 10.0.0.2:80"),
    OK("takes a right checksum", V2 PROXY TCP4 "\0\x13" ENDS4 "\3\0\4\x39\xa8\x11\xee",
       "10.0.0.1:4660 -> 10.0.0.2:80"),
    NO("waits for the bytes' signature", "\r\n\r\n\0\r\nQUIT", MORE),
    NO("waits for the command", V2, MORE),
    NO("waits for the length", V2 PROXY TCP4 "\0", MORE),
    NO("waits for the ends", V2 PROXY TCP4 "\0\x0c\x0a\0\0\1", MORE),
    NO("refuses another signature", "\r\n\r\n\0\r\nQUIX", ABSENT),
    NO("refuses version 1 in bytes", V2 "\x11", VERSION),
    NO("refuses version 3", V2 "\x31", VERSION),
    NO("refuses command 2", V2 "\x22", VERSION),
    NO("refuses UDP over IPv4", V2 PROXY "\x12\0\x0c" ENDS4, FAMILY),
    NO("refuses family 4", V2 PROXY "\x41\0\x0c" ENDS4, FAMILY),
    NO("refuses protocol 3", V2 PROXY "\x13\0\x0c" ENDS4, FAMILY),
    NO("refuses ends that do not fit", V2 PROXY TCP4 "\0\x0b\x0a\0\0\1\x0a\0\0\2\1\2\0", LENGTH),
    NO("refuses IPv4 lengths for IPv6", V2 PROXY TCP6 "\0\x0c" ENDS4, LENGTH),
    NO("refuses a Unix path that does not fit", V2 PROXY "\x31\0\x0c" ENDS4, LENGTH),
    NO("refuses a TLV that does not fit", V2 PROXY TCP4 "\0\x0f" ENDS4 "\4\0\1", LENGTH),
    NO("refuses half a TLV", V2 PROXY TCP4 "\0\x0e" ENDS4 "\4\0", LENGTH),
    NO("refuses a checksum of three bytes", V2 PROXY TCP4 "\0\x12" ENDS4 "\3\0\3abc", LENGTH),
    NO("refuses a wrong checksum", V2 PROXY TCP4 "\0\x13" ENDS4 "\3\0\4\x39\xa8\x11\xef",
       CHECKSUM),
    NO("refuses more than the limit", V2 PROXY TCP4 "\x0f\xf1", TOO_LONG),
    NO("refuses 65535", V2 LOCAL "\0\xff\xff", TOO_LONG),
};
#undef OK
#undef NO

/* A byte more each time: the last bytes decide, none before. */
static void test_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int r = PROXY_PROTOCOL_E_MORE;

        check_row(rows[i].it);
        for (size_t n = 0; n <= rows[i].n && r == PROXY_PROTOCOL_E_MORE; n++) {
            struct proxy_protocol h = { 0 };
            unsigned char mem[256];
            struct buf log;

            buf_init_fixed(&log, mem, sizeof(mem));
            r = proxy_protocol_parse(span_of(rows[i].text, n), &h);
            describe(&h, &log);
            assert_int_equal(h.bytes, r ? 0 : rows[i].n);
            assert_string_equal(buf_text(&log), r ? "" : rows[i].found);
        }
        assert_int_equal(r, rows[i].want);
    }
}

static void test_leaves_what_follows(void **state)
{
    struct proxy_protocol h;

    (void)state;
    assert_int_equal(proxy_protocol_parse(SPAN("PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n"), &h), 0);
    assert_int_equal(h.bytes, 15);
    assert_int_equal(proxy_protocol_parse(SPAN(V2 PROXY TCP4 "\0\x0c" ENDS4 "\5\1"), &h), 0);
    assert_int_equal(h.bytes, 28);
}

static void test_errors_have_texts(void **state)
{
    (void)state;
    for (int e = 1; e <= PROXY_PROTOCOL_E_COUNT; e++)
        assert_true(strlen(proxy_protocol_error_text(e)) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_leaves_what_follows),
        cmocka_unit_test(test_errors_have_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
