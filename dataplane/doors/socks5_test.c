#include "dataplane/doors/socks5.h"
#include "lib/check/check.h"

#define TEN "0123456789"
#define T50 TEN TEN TEN TEN TEN
#define T255 T50 T50 T50 T50 T50 "01234"

/* Each parser, with what it found as text. */
typedef int (*parse)(struct span in, size_t *ret_bytes, struct buf *log);

static int greeting(struct span in, size_t *ret_bytes, struct buf *log)
{
    struct socks5_greeting g;
    int r = socks5_greeting_parse(in, &g);

    if (r)
        return r;
    *ret_bytes = g.bytes;
    buf_printf(log, "%s%s", g.has_none ? "n" : "", g.has_password ? "p" : "");
    return 0;
}

static int password(struct span in, size_t *ret_bytes, struct buf *log)
{
    struct socks5_password p;
    int r = socks5_password_parse(in, &p);

    if (r)
        return r;
    *ret_bytes = p.bytes;
    buf_printf(log, SPAN_FMT "/" SPAN_FMT, SPAN_ARG(p.user), SPAN_ARG(p.secret));
    return 0;
}

static int request(struct span in, size_t *ret_bytes, struct buf *log)
{
    struct socks5_request q;
    char text[ADDR_TEXT_MAX];
    int r = socks5_request_parse(in, &q);

    if (r)
        return r;
    *ret_bytes = q.bytes;
    buf_printf(log, "%d ", q.command);
    if (q.name.n)
        buf_printf(log, "name " SPAN_FMT " %u", SPAN_ARG(q.name), q.port);
    else
        buf_printf(log, "%s %u", addr_format(&q.addr, text), q.port);
    return 0;
}

#define OK(it, parser, text, found) { it, parser, text, sizeof(text) - 1, 0, found }
#define NO(it, parser, text, error) { it, parser, text, sizeof(text) - 1, SOCKS5_E_##error, "" }
static const struct { const char *it; parse parse; const char *text; size_t n; int want;
                      const char *found; } rows[] = {
    OK("takes no authentication", greeting, "\5\1\0", "n"),
    OK("takes a password", greeting, "\5\1\2", "p"),
    OK("takes both", greeting, "\5\2\2\0", "np"),
    OK("takes one among others", greeting, "\5\4\1\3\2\x80", "p"),
    OK("takes others only", greeting, "\5\2\1\3", ""),
    OK("takes a method twice", greeting, "\5\2\2\2", "p"),
    OK("takes 255 methods", greeting, "\5\xff" T255, ""),
    NO("waits for a greeting", greeting, "", MORE),
    NO("waits for the count", greeting, "\5", MORE),
    NO("waits for methods", greeting, "\5\2\0", MORE),
    NO("refuses SOCKS4", greeting, "\4\1\0\x50\1\2\3\4\0", VERSION),
    NO("refuses HTTP", greeting, "GET / HTTP/1.1\r\n", VERSION),
    NO("refuses TLS", greeting, "\x16\3\1", VERSION),
    NO("refuses version 0", greeting, "\0", VERSION),
    NO("refuses no methods", greeting, "\5\0", METHODS),

    OK("takes a user", password, "\1\4user\6secret", "user/secret"),
    OK("takes one byte each", password, "\1\1u\1s", "u/s"),
    OK("takes 255 bytes each", password, "\1\xff" T255 "\xff" T255, T255 "/" T255),
    OK("takes bytes beyond ASCII", password, "\1\2\xc3\xbc\1s", "\xc3\xbc/s"),
    OK("takes a colon", password, "\1\3a:b\3c:d", "a:b/c:d"),
    NO("waits for a password message", password, "", MORE),
    NO("waits for the user", password, "\1\4use", MORE),
    NO("waits for the secret's length", password, "\1\4user", MORE),
    NO("waits for the secret", password, "\1\4user\6secre", MORE),
    NO("refuses version 5 here", password, "\5\4user\6secret", PASSWORD_VERSION),
    NO("refuses version 0 here", password, "\0", PASSWORD_VERSION),
    NO("refuses no user", password, "\1\0\6secret", USER),
    NO("refuses no secret", password, "\1\4user\0", SECRET),
    NO("refuses a NUL in the user", password, "\1\2u\0\1s", USER),
    NO("refuses a NUL in the secret", password, "\1\1u\2s\0", SECRET),
    NO("refuses a line end in the user", password, "\1\2u\n\1s", USER),
    NO("refuses DEL in the secret", password, "\1\1u\1\x7f", SECRET),

    OK("takes CONNECT to IPv4", request, "\5\1\0\1\x0a\0\0\1\0\x50", "1 10.0.0.1 80"),
    OK("takes CONNECT to a name", request, "\5\1\0\3\7a.b.c.d\1\xbb", "1 name a.b.c.d 443"),
    OK("takes CONNECT to IPv6", request,
       "\5\1\0\4\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\xff\xff", "1 2001:db8::1 65535"),
    OK("takes a mapped address as IPv4", request,
       "\5\1\0\4\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1\0\x50", "1 10.0.0.1 80"),
    OK("takes IPv4 text as the address", request, "\5\1\0\3\x08""10.0.0.1\0\x50",
       "1 10.0.0.1 80"),
    OK("takes IPv6 text as the address", request, "\5\1\0\3\3::1\0\x50", "1 ::1 80"),
    OK("leaves what looks like an address as a name", request, "\5\1\0\3\x05""127.1\0\x50",
       "1 name 127.1 80"),
    OK("takes a name of 255 bytes", request, "\5\1\0\3\xff" T255 "\0\x50",
       "1 name " T255 " 80"),
    OK("takes UDP ASSOCIATE from anywhere", request, "\5\3\0\1\0\0\0\0\0\0", "3 0.0.0.0 0"),
    OK("takes BIND", request, "\5\2\0\1\1\2\3\4\0\x15", "2 1.2.3.4 21"),
    NO("waits for a request", request, "", MORE),
    NO("waits for the command", request, "\5", MORE),
    NO("waits for the reserved byte", request, "\5\1", MORE),
    NO("waits for the address type", request, "\5\1\0", MORE),
    NO("waits for IPv4", request, "\5\1\0\1\x0a\0\0", MORE),
    NO("waits for the name's length", request, "\5\1\0\3", MORE),
    NO("waits for the name", request, "\5\1\0\3\3ab", MORE),
    NO("waits for IPv6", request, "\5\1\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", MORE),
    NO("waits for the port", request, "\5\1\0\1\x0a\0\0\1\0", MORE),
    NO("refuses version 4 in the request", request, "\4\1\0\1\x0a\0\0\1\0\x50", VERSION),
    NO("refuses command 0", request, "\5\0\0\1\x0a\0\0\1\0\x50", COMMAND),
    NO("refuses command 4", request, "\5\4", COMMAND),
    NO("refuses Tor's RESOLVE", request, "\5\xf0\0\3\1a\0\0", COMMAND),
    NO("refuses the reserved byte 1", request, "\5\1\1\1\x0a\0\0\1\0\x50", RESERVED),
    NO("refuses address type 0", request, "\5\1\0\0", ADDRESS_TYPE),
    NO("refuses address type 2", request, "\5\1\0\2\1a\0\x50", ADDRESS_TYPE),
    NO("refuses address type 5", request, "\5\1\0\5", ADDRESS_TYPE),
    NO("refuses an empty name", request, "\5\1\0\3\0\0\x50", NAME),
    NO("refuses a NUL in a name", request, "\5\1\0\3\3a\0b\0\x50", NAME),
    NO("refuses a space in a name", request, "\5\1\0\3\3a b\0\x50", NAME),
    NO("refuses a line end in a name", request, "\5\1\0\3\3a\r\n\0\x50", NAME),
    NO("refuses bytes beyond ASCII in a name", request, "\5\1\0\3\2\xc3\xbc\0\x50", NAME),
    NO("refuses port 0", request, "\5\1\0\1\x0a\0\0\1\0\0", PORT),
    NO("refuses port 0 of a name", request, "\5\1\0\3\1a\0\0", PORT),
};
#undef OK
#undef NO

/* All at once, with bytes of the next message behind, and a byte more each time. */
static void test_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int r = SOCKS5_E_MORE;

        check_row(rows[i].it);
        for (size_t n = 0; n <= rows[i].n && r == SOCKS5_E_MORE; n++) {
            unsigned char mem[600];
            size_t bytes = 0;
            struct buf log;

            buf_init_fixed(&log, mem, sizeof(mem));
            r = rows[i].parse(span_of(rows[i].text, n), &bytes, &log);
            assert_int_equal(bytes, r ? 0 : rows[i].n);
            assert_string_equal(buf_text(&log), r ? "" : rows[i].found);
        }
        assert_int_equal(r, rows[i].want);
    }
}

static void test_leaves_what_follows(void **state)
{
    struct socks5_request q;

    (void)state;
    assert_int_equal(socks5_request_parse(SPAN("\5\1\0\1\x0a\0\0\1\0\x50 GET /"), &q), 0);
    assert_int_equal(q.bytes, 10);
}

static void test_writers(void **state)
{
    const struct endpoint v4 = { ENDPOINT_IP, addr_v4(1, 2, 3, 4), 0x1234, "" };
    const struct endpoint v6 = { ENDPOINT_IP, { { 0x20, 1, [15] = 1 } }, 80, "" };
    const struct endpoint unix_path = { .kind = ENDPOINT_UNIX };
    unsigned char mem[128];
    struct buf b;

    (void)state;
    buf_init_fixed(&b, mem, sizeof(mem));
    socks5_method_write(&b, SOCKS5_METHOD_PASSWORD);
    socks5_method_write(&b, SOCKS5_METHOD_REFUSED);
    assert_true(span_eq(buf_span(&b), SPAN("\5\2\5\xff")));
    buf_clear(&b);
    socks5_password_write(&b, true);
    socks5_password_write(&b, false);
    assert_true(span_eq(buf_span(&b), SPAN("\1\0\1\1")));
    buf_clear(&b);
    socks5_reply_write(&b, SOCKS5_SUCCEEDED, &v4);
    assert_true(span_eq(buf_span(&b), SPAN("\5\0\0\1\1\2\3\4\x12\x34")));
    buf_clear(&b);
    socks5_reply_write(&b, SOCKS5_SUCCEEDED, &v6);
    assert_true(span_eq(buf_span(&b), SPAN("\5\0\0\4\x20\1\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\x50")));
    buf_clear(&b);
    socks5_reply_write(&b, SOCKS5_REFUSED, NULL);
    socks5_reply_write(&b, SOCKS5_REFUSED, &unix_path);
    assert_true(span_eq(buf_span(&b), SPAN("\5\5\0\1\0\0\0\0\0\0\5\5\0\1\0\0\0\0\0\0")));
}

static void test_errors_have_rows(void **state)
{
    (void)state;
    for (int e = 1; e < SOCKS5_E_COUNT; e++)
        assert_true(strlen(socks5_error_text(e)) > 5);
    assert_int_equal(socks5_error_reply(SOCKS5_E_COMMAND), 7);
    assert_int_equal(socks5_error_reply(SOCKS5_E_ADDRESS_TYPE), 8);
    assert_int_equal(socks5_error_reply(SOCKS5_E_NAME), 1);
    assert_int_equal(socks5_error_reply(SOCKS5_E_VERSION), SOCKS5_SILENT);
    assert_int_equal(socks5_error_reply(SOCKS5_E_COUNT), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_leaves_what_follows),
        cmocka_unit_test(test_writers),
        cmocka_unit_test(test_errors_have_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
