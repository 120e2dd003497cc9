#include "lib/check/check.h"
#include "lib/http1/http1.h"
#include <stdlib.h>

#define H "Host: a\r\n"
#define E "\r\n"
#define GET "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\n" H

/* Parses a copy that ends where its bytes end, so that a byte too far is seen. */
static int parse(struct http1_scan *scan, struct span text, struct http1_head *h, char **ret_mem)
{
    *ret_mem = malloc(text.n + (text.n == 0));
    assert_non_null(*ret_mem);
    memcpy(*ret_mem, text.p, text.n);
    return http1_request_parse(scan, span_of(*ret_mem, text.n), h);
}

/* One byte more each time, in another place each time. */
static int parse_bytewise(struct span text, struct http1_head *h)
{
    struct http1_scan scan = { 0 };
    int r = HTTP1_E_MORE;

    for (size_t n = 0; n <= text.n && r == HTTP1_E_MORE; n++) {
        char *mem;

        r = parse(&scan, span_first(text, n), h, &mem);
        free(mem);
    }
    return r;
}

static void test_refused(void **state)
{
    static const struct { const char *it; const char *text; size_t n; int want; } rows[] = {
#define ROW(it, text, error) { it, text, sizeof(text) - 1, HTTP1_E_##error }
        ROW("waits for anything", "", MORE),
        ROW("waits for the rest of the line", "GET / HTTP/1.1", MORE),
        ROW("waits for the LF", GET H "\r", MORE),
        ROW("waits for the empty line", GET H, MORE),
        ROW("waits behind an empty line", "\r\n", MORE),
        ROW("skips one empty line only", "\r\n\r\n" GET H E, REQUEST_LINE),
        ROW("refuses a bare LF line end", "GET / HTTP/1.1\nHost: a\n\n", LINE_END),
        ROW("refuses a bare LF at once", "GET / HTTP/1.1\n", LINE_END),
        ROW("refuses a bare LF after a field", GET "Host: a\n", LINE_END),
        ROW("refuses a bare LF as the empty line", GET H "\n", LINE_END),
        ROW("refuses a bare LF first", "\n", LINE_END),
        ROW("refuses a bare CR in the line", "GET /\r HTTP/1.1\r\n" H E, LINE_END),
        ROW("refuses a bare CR in a value", GET H "X: a\rb\r\n" E, LINE_END),
        ROW("refuses CR CR LF", GET H "X: a\r\r\n" E, LINE_END),
        ROW("refuses a NUL in a value", GET H "X: a\0b\r\n" E, CONTROL),
        ROW("refuses a NUL in a name", GET H "X\0: a\r\n" E, CONTROL),
        ROW("refuses a NUL in the target", "GET /\0 HTTP/1.1\r\n" H E, CONTROL),
        ROW("refuses a vertical tab", GET H "X: a\x0b\r\n" E, CONTROL),
        ROW("refuses DEL", GET H "X: a\x7f\r\n" E, CONTROL),
        ROW("refuses a TLS hello at its first byte", "\x16\x03\x01", CONTROL),
        ROW("refuses a SOCKS5 greeting at its first byte", "\x05\x01", CONTROL),
        ROW("refuses no version (HTTP/0.9)", "GET /\r\n", REQUEST_LINE),
        ROW("refuses an empty target", "GET  HTTP/1.1\r\n" H E, REQUEST_LINE),
        ROW("refuses two spaces first", "GET  / HTTP/1.1\r\n" H E, REQUEST_LINE),
        ROW("refuses two spaces second", "GET /  HTTP/1.1\r\n" H E, REQUEST_LINE),
        ROW("refuses a space in the target", "GET /a b HTTP/1.1\r\n" H E, REQUEST_LINE),
        ROW("refuses a space at the end", "GET / HTTP/1.1 \r\n" H E, REQUEST_LINE),
        ROW("refuses a tab for a space", "GET\t/ HTTP/1.1\r\n" H E, REQUEST_LINE),
        ROW("refuses a tab in the target", "GET /\ta HTTP/1.1\r\n" H E, TARGET),
        ROW("refuses a space first", " GET / HTTP/1.1\r\n" H E, REQUEST_LINE),
        ROW("refuses a lower-case version", "GET / http/1.1\r\n" H E, REQUEST_LINE),
        ROW("refuses a version with zeros", "GET / HTTP/01.1\r\n" H E, REQUEST_LINE),
        ROW("refuses a version of two digits", "GET / HTTP/1.10\r\n" H E, REQUEST_LINE),
        ROW("refuses a version without minor", "GET / HTTP/1\r\n" H E, REQUEST_LINE),
        ROW("refuses HTTP/1.2", "GET / HTTP/1.2\r\n" H E, VERSION),
        ROW("refuses HTTP/2.0", "PRI * HTTP/2.0\r\n\r\n", VERSION),
        ROW("refuses HTTP/0.9 by name", "GET / HTTP/0.9\r\n" H E, VERSION),
        ROW("refuses a method that is no token", "G:T / HTTP/1.1\r\n" H E, METHOD),
        ROW("refuses a method beyond ASCII", "G\xc3\x9c / HTTP/1.1\r\n" H E, METHOD),
        ROW("refuses a target beyond ASCII", "GET /\xc3\xbc HTTP/1.1\r\n" H E, TARGET),
        ROW("refuses a fragment", "GET /a#b HTTP/1.1\r\n" H E, TARGET),
        ROW("refuses a relative target", "GET a HTTP/1.1\r\n" H E, TARGET),
        ROW("refuses a query alone", "GET ?a HTTP/1.1\r\n" H E, TARGET),
        ROW("refuses * for GET", "GET * HTTP/1.1\r\n" H E, TARGET),
        ROW("refuses https:// in clear", "GET https://a/ HTTP/1.1\r\n" H E, SCHEME),
        ROW("refuses another scheme", "GET ftp://a/ HTTP/1.1\r\n" H E, SCHEME),
        ROW("refuses host:port for GET", "GET a:80 HTTP/1.1\r\n" H E, SCHEME),
        ROW("refuses one slash", "GET http:/a HTTP/1.1\r\n" H E, SCHEME),
        ROW("refuses a user", "GET http://u@a/ HTTP/1.1\r\n" H E, USERINFO),
        ROW("refuses a user and secret", "GET http://u:p@a/ HTTP/1.1\r\n" H E, USERINFO),
        ROW("refuses an empty user", "GET http://@a/ HTTP/1.1\r\n" H E, USERINFO),
        ROW("refuses an empty authority", "GET http:/// HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses an empty port", "GET http://a:/ HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses port 0", "GET http://a:0/ HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses port 65536", "GET http://a:65536/ HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses a signed port", "GET http://a:+80/ HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses two ports", "GET http://a:80:80/ HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses a percent in the host", "GET http://%61/ HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses a backslash in the host", "GET http://a\\b/ HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses an open bracket", "GET http://[::1/ HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses a zone", "GET http://[fe80::1%25eth0]/ HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses a query behind the authority", "GET http://a?b HTTP/1.1\r\n" H E, TARGET),
        ROW("refuses CONNECT without port", "CONNECT a HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses CONNECT to port 0", "CONNECT a:0 HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses CONNECT of a path", "CONNECT / HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses CONNECT of a URL", "CONNECT http://a:80/ HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses CONNECT with a user", "CONNECT u@a:80 HTTP/1.1\r\n" H E, USERINFO),
        ROW("refuses CONNECT with a path", "CONNECT a:80/ HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses CONNECT of bare IPv6", "CONNECT ::1:80 HTTP/1.1\r\n" H E, AUTHORITY),
        ROW("refuses CONNECT with content",
            "CONNECT a:80 HTTP/1.1\r\n" H "Content-Length: 1\r\n" E, CONTENT),
        ROW("refuses CONNECT with chunks",
            "CONNECT a:80 HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" E, CONTENT),
        ROW("refuses no Host", GET E, HOST_MISSING),
        ROW("refuses no Host with an absolute target", "GET http://a/ HTTP/1.1\r\n" E,
            HOST_MISSING),
        ROW("refuses no Host with CONNECT", "CONNECT a:80 HTTP/1.1\r\n" E, HOST_MISSING),
        ROW("refuses two Hosts", GET H "Host: b\r\n" E, HOST_REPEATED),
        ROW("refuses the same Host twice", GET H "hOST: a\r\n" E, HOST_REPEATED),
        ROW("refuses two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\n" H H E, HOST_REPEATED),
        ROW("refuses an empty Host", GET "Host: \r\n" E, HOST_INVALID),
        ROW("refuses a list in Host", GET "Host: a, b\r\n" E, HOST_INVALID),
        ROW("refuses a user in Host", GET "Host: u@a\r\n" E, HOST_INVALID),
        ROW("refuses a path in Host", GET "Host: a/b\r\n" E, HOST_INVALID),
        ROW("refuses a port in Host that is none", GET "Host: a:x\r\n" E, HOST_INVALID),
        ROW("refuses a space in Host", GET "Host: a b\r\n" E, HOST_INVALID),
        ROW("refuses a malformed Host with CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: /\r\n" E,
            HOST_INVALID),
        ROW("refuses another host in Host", "GET http://b/ HTTP/1.1\r\n" H E, HOST_MISMATCH),
        ROW("refuses another port in Host", "GET http://a:81/ HTTP/1.1\r\n" H E, HOST_MISMATCH),
        ROW("refuses a folded field", GET H "X: a\r\n b\r\n" E, FIELD_FOLDED),
        ROW("refuses a field folded by a tab", GET H "X: a\r\n\tb\r\n" E, FIELD_FOLDED),
        ROW("refuses a fold first", GET " Host: a\r\n" E, FIELD_FOLDED),
        ROW("refuses a line of a space", GET H " \r\n" E, FIELD_FOLDED),
        ROW("refuses a space before the colon", GET "Host : a\r\n" E, FIELD_NAME),
        ROW("refuses a tab before the colon", GET H "X\t: a\r\n" E, FIELD_NAME),
        ROW("refuses an empty name", GET H ": a\r\n" E, FIELD_NAME),
        ROW("refuses no colon", GET H "abc\r\n" E, FIELD_NAME),
        ROW("refuses a name beyond ASCII", GET H "\xc3\xbc: a\r\n" E, FIELD_NAME),
        ROW("refuses a bracket in a name", GET H "a[0]: a\r\n" E, FIELD_NAME),
        ROW("refuses Content_Length", POST "Content_Length: 5\r\n" E, FIELD_NAME),
        ROW("refuses transfer_encoding", POST "transfer_encoding: chunked\r\n" E, FIELD_NAME),
        ROW("refuses a length of nothing", POST "Content-Length:\r\n" E, LENGTH_INVALID),
        ROW("refuses a positive sign", POST "Content-Length: +5\r\n" E, LENGTH_INVALID),
        ROW("refuses a negative length", POST "Content-Length: -1\r\n" E, LENGTH_INVALID),
        ROW("refuses hex", POST "Content-Length: 0x5\r\n" E, LENGTH_INVALID),
        ROW("refuses a fraction", POST "Content-Length: 5.0\r\n" E, LENGTH_INVALID),
        ROW("refuses two numbers", POST "Content-Length: 5 6\r\n" E, LENGTH_INVALID),
        ROW("refuses a list of lengths", POST "Content-Length: 5, 5\r\n" E, LENGTH_INVALID),
        ROW("refuses 2^63", POST "Content-Length: 9223372036854775808\r\n" E, LENGTH_INVALID),
        ROW("refuses 2^64 + 5", POST "Content-Length: 18446744073709551621\r\n" E, LENGTH_INVALID),
        ROW("refuses a length in quotes", POST "Content-Length: \"5\"\r\n" E, LENGTH_INVALID),
        ROW("refuses two lengths", POST "Content-Length: 5\r\nContent-Length: 6\r\n" E,
            LENGTH_REPEATED),
        ROW("refuses the same length twice", POST "Content-Length: 5\r\ncontent-length: 5\r\n" E,
            LENGTH_REPEATED),
        ROW("refuses CL.TE", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" E,
            LENGTH_AND_CODING),
        ROW("refuses TE.CL", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" E,
            LENGTH_AND_CODING),
        ROW("refuses CL with another coding",
            POST "Transfer-Encoding: identity\r\nContent-Length: 5\r\n" E, LENGTH_AND_CODING),
        ROW("refuses two codings",
            POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" E,
            CODING_REPEATED),
        ROW("refuses the same coding twice",
            POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" E,
            CODING_REPEATED),
        ROW("refuses chunked twice", POST "Transfer-Encoding: chunked, chunked\r\n" E,
            CODING_REPEATED),
        ROW("refuses chunked first", POST "Transfer-Encoding: chunked, gzip\r\n" E,
            CODING_NOT_LAST),
        ROW("refuses no chunked", POST "Transfer-Encoding: gzip\r\n" E, CODING_NOT_LAST),
        ROW("refuses identity", POST "Transfer-Encoding: identity\r\n" E, CODING_NOT_LAST),
        ROW("refuses an empty coding", POST "Transfer-Encoding:\r\n" E, CODING_NOT_LAST),
        ROW("refuses xchunked", POST "Transfer-Encoding: xchunked\r\n" E, CODING_NOT_LAST),
        ROW("refuses chunked with a parameter", POST "Transfer-Encoding: chunked;q=1\r\n" E,
            CODING_NOT_LAST),
        ROW("refuses chunked in quotes", POST "Transfer-Encoding: \"chunked\"\r\n" E,
            CODING_NOT_LAST),
        ROW("refuses an empty element behind", POST "Transfer-Encoding: chunked,\r\n" E,
            CODING_NOT_LAST),
        ROW("cannot undo gzip", POST "Transfer-Encoding: gzip, chunked\r\n" E, CODING_UNKNOWN),
        ROW("refuses an empty element before", POST "Transfer-Encoding: , chunked\r\n" E,
            CODING_UNKNOWN),
        ROW("refuses chunks in HTTP/1.0",
            "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n" E, CODING_VERSION),
        ROW("refuses Connection: Content-Length",
            POST "Content-Length: 5\r\nConnection: close, content-length\r\n" E,
            CONNECTION_NAMES),
        ROW("refuses Connection: Transfer-Encoding",
            POST "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n" E,
            CONNECTION_NAMES),
        ROW("refuses Connection: Host in a second line",
            GET H "Connection: close\r\nConnection: hoST\r\n" E, CONNECTION_NAMES),
#undef ROW
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span text = span_of(rows[i].text, rows[i].n);
        struct http1_scan scan = { 0 };
        struct http1_head h;
        char *mem;

        check_row(rows[i].it);
        assert_int_equal(parse(&scan, text, &h, &mem), rows[i].want);
        free(mem);
        assert_int_equal(parse_bytewise(text, &h), rows[i].want);
    }
}

struct taken_row {
    const char *it, *text;
    enum http1_form form;
    const char *host;
    uint16_t port;
    const char *path;
    enum http1_framing framing;
    uint64_t body_bytes;
    bool keep_alive;
};

static void taken_check(const struct taken_row *row, const struct http1_head *h)
{
    assert_int_equal(h->form, row->form);
    assert_true(span_eq(h->host, span_str(row->host)));
    assert_int_equal(h->port, row->port);
    assert_true(span_eq(h->path, span_str(row->path)));
    assert_int_equal(h->framing, row->framing);
    assert_int_equal(h->body_bytes, row->body_bytes);
    assert_int_equal(h->keep_alive, row->keep_alive);
}

static void test_taken(void **state)
{
    static const struct taken_row rows[] = {
#define ORIGIN HTTP1_FORM_ORIGIN
#define ABSOLUTE HTTP1_FORM_ABSOLUTE
#define AUTHORITY HTTP1_FORM_AUTHORITY
#define NONE HTTP1_BODY_NONE, 0
        { "takes a plain GET", GET H E, ORIGIN, "a", 80, "/", NONE, true },
        { "skips an empty line", "\r\n" GET H E, ORIGIN, "a", 80, "/", NONE, true },
        { "takes path and query", "GET /a/b?c=d|{} HTTP/1.1\r\n" H E, ORIGIN, "a", 80,
          "/a/b?c=d|{}", NONE, true },
        { "takes //", "GET //b/c HTTP/1.1\r\n" H E, ORIGIN, "a", 80, "//b/c", NONE, true },
        { "takes a port in Host", GET "Host: a.b:8080\r\n" E, ORIGIN, "a.b", 8080, "/", NONE,
          true },
        { "takes IPv6 in Host", GET "Host: [::1]:81\r\n" E, ORIGIN, "::1", 81, "/", NONE, true },
        { "needs no space after the colon", GET "Host:a\r\n" E, ORIGIN, "a", 80, "/", NONE, true },
        { "trims tabs and spaces", GET "Host: \t a \t \r\n" E, ORIGIN, "a", 80, "/", NONE, true },
        { "takes an empty value", GET H "X:\r\n" E, ORIGIN, "a", 80, "/", NONE, true },
        { "takes bytes beyond ASCII in a value", GET H "X: \xfc\r\n" E, ORIGIN, "a", 80, "/", NONE,
          true },
        { "takes close", GET H "Connection: close\r\n" E, ORIGIN, "a", 80, "/", NONE, false },
        { "takes close in a list", GET H "Connection: x,\tCLOSE ,y\r\n" E, ORIGIN, "a", 80, "/",
          NONE, false },
        { "takes close in the second line", GET H "Connection: x\r\nConnection: close\r\n" E,
          ORIGIN, "a", 80, "/", NONE, false },
        { "takes no part of a token", GET H "Connection: closed\r\n" E, ORIGIN, "a", 80, "/", NONE,
          true },
        { "ends an HTTP/1.0 connection", "GET / HTTP/1.0\r\n" E, ORIGIN, NULL, 0, "/", NONE,
          false },
        { "keeps an HTTP/1.0 connection", "GET / HTTP/1.0\r\n" H "Connection: Keep-Alive\r\n" E,
          ORIGIN, "a", 80, "/", NONE, true },
        { "lets close win", "GET / HTTP/1.0\r\n" H "Connection: keep-alive, close\r\n" E, ORIGIN,
          "a", 80, "/", NONE, false },
        { "takes an absolute target", "GET http://a/b HTTP/1.1\r\n" H E, ABSOLUTE, "a", 80, "/b",
          NONE, true },
        { "takes an upper-case scheme and host", "GET HTTP://A:80/b HTTP/1.1\r\n" H E, ABSOLUTE,
          "A", 80, "/b", NONE, true },
        { "takes a path for none", "GET http://a HTTP/1.1\r\n" H E, ABSOLUTE, "a", 80, "/", NONE,
          true },
        { "takes * for no path of OPTIONS", "OPTIONS http://a HTTP/1.1\r\n" H E, ABSOLUTE, "a", 80,
          "*", NONE, true },
        { "takes @ in the path", "GET http://a/u@b HTTP/1.1\r\n" H E, ABSOLUTE, "a", 80, "/u@b",
          NONE, true },
        { "takes an absolute target of HTTP/1.0 without Host", "GET http://b:81/ HTTP/1.0\r\n" E,
          ABSOLUTE, "b", 81, "/", NONE, false },
        { "takes an absolute IPv6 target",
          "GET http://[2001:db8::1]:81/ HTTP/1.1\r\nHost: [2001:DB8::1]:81\r\n" E, ABSOLUTE,
          "2001:db8::1", 81, "/", NONE, true },
        { "takes OPTIONS *", "OPTIONS * HTTP/1.1\r\n" H E, HTTP1_FORM_ASTERISK, "a", 80, "*", NONE,
          true },
        { "takes CONNECT", "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n" E, AUTHORITY, "b", 443,
          NULL, HTTP1_BODY_TUNNEL, 0, false },
        { "takes CONNECT that names the proxy in Host",
          "CONNECT b:443 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" E, AUTHORITY, "b", 443, NULL,
          HTTP1_BODY_TUNNEL, 0, false },
        { "takes CONNECT to IPv6", "CONNECT [::1]:22 HTTP/1.0\r\n" E, AUTHORITY, "::1", 22, NULL,
          HTTP1_BODY_TUNNEL, 0, false },
        { "takes CONNECT with a length of 0",
          "CONNECT b:443 HTTP/1.1\r\n" H "Content-Length: 0\r\n" E, AUTHORITY, "b", 443, NULL,
          HTTP1_BODY_TUNNEL, 0, false },
        { "takes a length", POST "Content-Length: 12\r\n" E, ORIGIN, "a", 80, "/",
          HTTP1_BODY_LENGTH, 12, true },
        { "takes a length of 0", POST "Content-Length: 0\r\n" E, ORIGIN, "a", 80, "/",
          HTTP1_BODY_LENGTH, 0, true },
        { "takes a length with zeros", POST "Content-Length: 0012\r\n" E, ORIGIN, "a", 80, "/",
          HTTP1_BODY_LENGTH, 12, true },
        { "takes 2^63 - 1", POST "Content-Length: 9223372036854775807\r\n" E, ORIGIN, "a", 80,
          "/", HTTP1_BODY_LENGTH, INT64_MAX, true },
        { "takes chunks", POST "Transfer-Encoding: Chunked\r\n" E, ORIGIN, "a", 80, "/",
          HTTP1_BODY_CHUNKED, 0, true },
        { "takes a body with GET", GET H "Content-Length: 1\r\n" E, ORIGIN, "a", 80, "/",
          HTTP1_BODY_LENGTH, 1, true },
        { "takes no body with POST", POST E, ORIGIN, "a", 80, "/", NONE, true },
#undef NONE
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span text = span_str(rows[i].text);
        struct http1_scan scan = { 0 };
        struct http1_head h;
        char *mem;

        check_row(rows[i].it);
        assert_int_equal(parse(&scan, text, &h, &mem), 0);
        assert_int_equal(h.bytes, text.n);
        taken_check(&rows[i], &h);
        free(mem);
        assert_int_equal(parse_bytewise(text, &h), 0);
    }
}

static void test_stops_at_the_body(void **state)
{
    struct span text = SPAN(GET H E "\n\0 anything");
    struct http1_scan scan = { 0 };
    struct http1_head h;

    (void)state;
    assert_int_equal(http1_request_parse(&scan, text, &h), 0);
    assert_int_equal(h.bytes, sizeof(GET H E) - 1);
}

/* A head of n fields "F: v", and the limit. */
static int parse_fields(unsigned n, size_t limit)
{
    static unsigned char mem[4096];
    struct http1_scan scan = { .limit = limit };
    struct http1_head h;
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    buf_put_str(&b, GET H);
    for (unsigned i = 1; i < n; i++)
        buf_put_str(&b, "F: v\r\n");
    buf_put_str(&b, "\r\n");
    assert_int_equal(buf_error(&b), 0);
    return http1_request_parse(&scan, buf_span(&b), &h);
}

static void test_limits(void **state)
{
    static const struct { const char *it; unsigned fields; size_t limit; int want; } rows[] = {
        { "takes as many fields as may be", HTTP1_HEADERS_MAX, 0, 0 },
        { "refuses one more", HTTP1_HEADERS_MAX + 1, 0, HTTP1_E_TOO_MANY_FIELDS },
        { "takes a head as long as the limit", 2, 33, 0 },
        { "refuses one byte more", 2, 32, HTTP1_E_HEAD_TOO_LARGE },
        { "refuses much more", 50, 32, HTTP1_E_HEAD_TOO_LARGE },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(parse_fields(rows[i].fields, rows[i].limit), rows[i].want);
    }
}

static void test_default_limit(void **state)
{
    static char mem[HTTP1_HEAD_MAX];
    struct http1_scan scan = { 0 };
    struct http1_head h;

    (void)state;
    memset(mem, 'a', sizeof(mem));
    assert_int_equal(http1_request_parse(&scan, span_of(mem, sizeof(mem) - 1), &h), HTTP1_E_MORE);
    assert_int_equal(http1_request_parse(&scan, span_of(mem, sizeof(mem)), &h),
                     HTTP1_E_HEAD_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_stops_at_the_body),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_default_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
