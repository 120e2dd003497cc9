#include "lib/check/check.h"
#include "lib/http1/http1.h"

#define OK "HTTP/1.1 200 OK\r\n"
#define E "\r\n"
#define LENGTH "Content-Length: 5\r\n"
#define CHUNKS "Transfer-Encoding: chunked\r\n"

static int parse_bytewise(struct span text, struct span method, struct http1_head *h)
{
    struct http1_scan scan = { 0 };
    int r = HTTP1_E_MORE;

    for (size_t n = 0; n <= text.n && r == HTTP1_E_MORE; n++)
        r = http1_response_parse(&scan, span_first(text, n), method, h);
    return r;
}

static void test_refused(void **state)
{
    static const struct { const char *it, *text, *method; int want; } rows[] = {
        { "waits for the empty line", OK, "GET", HTTP1_E_MORE },
        { "skips no empty line", E OK E, "GET", HTTP1_E_STATUS_LINE },
        { "refuses a request", "GET / HTTP/1.1\r\n" E, "GET", HTTP1_E_STATUS_LINE },
        { "refuses ICY", "ICY 200 OK\r\n" E, "GET", HTTP1_E_STATUS_LINE },
        { "refuses HTTP/2", "HTTP/2.0 200 OK\r\n" E, "GET", HTTP1_E_VERSION },
        { "refuses two spaces", "HTTP/1.1  200 OK\r\n" E, "GET", HTTP1_E_STATUS_LINE },
        { "refuses two digits", "HTTP/1.1 20 OK\r\n" E, "GET", HTTP1_E_STATUS_LINE },
        { "refuses four digits", "HTTP/1.1 2000 OK\r\n" E, "GET", HTTP1_E_STATUS_LINE },
        { "refuses 099", "HTTP/1.1 099 OK\r\n" E, "GET", HTTP1_E_STATUS_LINE },
        { "refuses 600", "HTTP/1.1 600 OK\r\n" E, "GET", HTTP1_E_STATUS_LINE },
        { "refuses no status", "HTTP/1.1\r\n" E, "GET", HTTP1_E_STATUS_LINE },
        { "refuses a bare LF", "HTTP/1.1 200 OK\n", "GET", HTTP1_E_LINE_END },
        { "refuses a fold", OK "A: b\r\n c\r\n" E, "GET", HTTP1_E_FIELD_FOLDED },
        { "refuses a space before the colon", OK "Content-Length : 5\r\n" E, "GET",
          HTTP1_E_FIELD_NAME },
        { "refuses a length and chunks", OK LENGTH CHUNKS E, "GET", HTTP1_E_LENGTH_AND_CODING },
        { "refuses both to HEAD too", OK LENGTH CHUNKS E, "HEAD", HTTP1_E_LENGTH_AND_CODING },
        { "refuses two lengths", OK LENGTH LENGTH E, "GET", HTTP1_E_LENGTH_REPEATED },
        { "refuses a list of lengths", OK "Content-Length: 5,5\r\n" E, "GET",
          HTTP1_E_LENGTH_INVALID },
        { "refuses chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\n" CHUNKS E, "GET",
          HTTP1_E_CODING_VERSION },
        { "refuses gzip without chunks", OK "Transfer-Encoding: gzip\r\n" E, "GET",
          HTTP1_E_CODING_NOT_LAST },
        { "refuses gzip in chunks", OK "Transfer-Encoding: gzip, chunked\r\n" E, "GET",
          HTTP1_E_CODING_UNKNOWN },
        { "refuses a body of 204", "HTTP/1.1 204 No\r\n" LENGTH E, "GET", HTTP1_E_CONTENT },
        { "refuses chunks of 204", "HTTP/1.1 204 No\r\n" CHUNKS E, "GET", HTTP1_E_CONTENT },
        { "refuses a body of 100", "HTTP/1.1 100 Go\r\n" LENGTH E, "GET", HTTP1_E_CONTENT },
        { "refuses Connection: Content-Length", OK LENGTH "Connection: content-length\r\n" E,
          "GET", HTTP1_E_CONNECTION_NAMES },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span text = span_str(rows[i].text), method = span_str(rows[i].method);
        struct http1_scan scan = { 0 };
        struct http1_head h;

        check_row(rows[i].it);
        assert_int_equal(http1_response_parse(&scan, text, method, &h), rows[i].want);
        assert_int_equal(parse_bytewise(text, method, &h), rows[i].want);
    }
}

static void test_taken(void **state)
{
    static const struct {
        const char *it, *text, *method;
        unsigned status;
        const char *reason;
        enum http1_framing framing;
        uint64_t body_bytes;
        bool keep_alive;
    } rows[] = {
        { "takes a length", OK LENGTH E, "GET", 200, "OK", HTTP1_BODY_LENGTH, 5, true },
        { "takes chunks", OK CHUNKS E, "GET", 200, "OK", HTTP1_BODY_CHUNKED, 0, true },
        { "reads to the end", OK E, "GET", 200, "OK", HTTP1_BODY_CLOSE, 0, false },
        { "takes no reason", "HTTP/1.1 200\r\n" E, "GET", 200, NULL, HTTP1_BODY_CLOSE, 0, false },
        { "takes an empty reason", "HTTP/1.1 200 \r\n" LENGTH E, "GET", 200, NULL,
          HTTP1_BODY_LENGTH, 5, true },
        { "takes a reason with spaces", "HTTP/1.1 404 Not  Found\r\n" LENGTH E, "GET", 404,
          "Not  Found", HTTP1_BODY_LENGTH, 5, true },
        { "ends an HTTP/1.0 connection", "HTTP/1.0 200 OK\r\n" LENGTH E, "GET", 200, "OK",
          HTTP1_BODY_LENGTH, 5, false },
        { "takes close", OK LENGTH "Connection: close\r\n" E, "GET", 200, "OK",
          HTTP1_BODY_LENGTH, 5, false },
        { "takes no body to HEAD", OK LENGTH E, "HEAD", 200, "OK", HTTP1_BODY_NONE, 0, true },
        { "takes no chunks to HEAD", OK CHUNKS E, "HEAD", 200, "OK", HTTP1_BODY_NONE, 0, true },
        { "takes no body of 304", "HTTP/1.1 304 Same\r\n" LENGTH E, "GET", 304, "Same",
          HTTP1_BODY_NONE, 0, true },
        { "takes 204", "HTTP/1.1 204 No\r\n" E, "GET", 204, "No", HTTP1_BODY_NONE, 0, true },
        { "takes 204 with a length of 0", "HTTP/1.1 204 No\r\nContent-Length: 0\r\n" E, "GET",
          204, "No", HTTP1_BODY_NONE, 0, true },
        { "takes 100", "HTTP/1.1 100 Go\r\n" E, "POST", 100, "Go", HTTP1_BODY_NONE, 0, true },
        { "takes 101", "HTTP/1.1 101 Switch\r\nUpgrade: websocket\r\n" E, "GET", 101, "Switch",
          HTTP1_BODY_TUNNEL, 0, false },
        { "takes 200 to CONNECT", OK E, "CONNECT", 200, "OK", HTTP1_BODY_TUNNEL, 0, false },
        { "ignores lengths of 200 to CONNECT", OK LENGTH CHUNKS E, "CONNECT", 200, "OK",
          HTTP1_BODY_TUNNEL, 0, false },
        { "takes a body of 407 to CONNECT", "HTTP/1.1 407 No\r\n" LENGTH E, "CONNECT", 407, "No",
          HTTP1_BODY_LENGTH, 5, true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span text = span_str(rows[i].text), method = span_str(rows[i].method);
        struct http1_scan scan = { 0 };
        struct http1_head h;

        check_row(rows[i].it);
        assert_int_equal(http1_response_parse(&scan, text, method, &h), 0);
        assert_int_equal(h.bytes, text.n);
        assert_int_equal(h.status, rows[i].status);
        assert_true(span_eq(h.reason, span_str(rows[i].reason)));
        assert_int_equal(h.framing, rows[i].framing);
        assert_int_equal(h.body_bytes, rows[i].body_bytes);
        assert_int_equal(h.keep_alive, rows[i].keep_alive);
        assert_int_equal(parse_bytewise(text, method, &h), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
