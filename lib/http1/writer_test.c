#include "lib/check/check.h"
#include "lib/http1/http1.h"

static void test_requests(void **state)
{
    static const struct http1_field via[] = { { { "X-Forwarded-For", 15 }, { "10.0.0.1", 8 } } };
    static const struct http1_field host[] = { { { "Host", 4 }, { "b:81", 4 } } };
    static const struct span secret[] = { { "X-Secret", 8 } };
    static const struct span prefix[] = { { "X-Id-", 5 } };
    static const struct { const char *it, *text; struct http1_forward forward; const char *want; }
    rows[] = {
        { "keeps order and case",
          "GET /p?q HTTP/1.1\r\nB: 1\r\nHost: a\r\na:2\r\n\r\n", { 0 },
          "GET /p?q HTTP/1.1\r\nHost: a\r\nB: 1\r\na: 2\r\n\r\n" },
        { "sends an absolute target as a path, Host from the target",
          "GET http://A:80/p HTTP/1.1\r\nHost: a\r\n\r\n", { 0 },
          "GET /p HTTP/1.1\r\nHost: A:80\r\n\r\n" },
        { "adds Host to HTTP/1.0 and keeps the version", "GET http://a HTTP/1.0\r\n\r\n", { 0 },
          "GET / HTTP/1.0\r\nHost: a\r\n\r\n" },
        { "adds no Host where none is known", "GET / HTTP/1.0\r\n\r\n", { 0 },
          "GET / HTTP/1.0\r\n\r\n" },
        { "drops hop-by-hop fields",
          "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-named, close\r\nX-Named: 1\r\n"
          "Keep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Authorization: Basic YTpi\r\n"
          "proxy-connection: keep-alive\r\nProxy: evil\r\nAccept: x\r\n\r\n",
          { 0 }, "GET / HTTP/1.1\r\nHost: a\r\nAccept: x\r\n\r\n" },
        { "keeps the length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n", { 0 },
          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n" },
        { "keeps chunks",
          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cHunked\r\nTrailer: X\r\n\r\n", { 0 },
          "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n" },
        { "writes close", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", { .close = true },
          "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" },
        { "keeps an upgrade",
          "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, x\r\nX: 1\r\n"
          "Upgrade: websocket\r\n\r\n",
          { .upgrade = true },
          "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" },
        { "sets in place of what came, in every spelling",
          "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1\r\nx_forwarded_for: 2\r\n"
          "X-FORWARDED_FOR: 3\r\n\r\n",
          { .set = via, .set_count = 1 },
          "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n" },
        { "drops what it is told", "GET / HTTP/1.1\r\nHost: a\r\nx_secret: 1\r\n\r\n",
          { .drop = secret, .drop_count = 1 }, "GET / HTTP/1.1\r\nHost: a\r\n\r\n" },
        { "drops what begins as it is told",
          "GET / HTTP/1.1\r\nHost: a\r\nX-Id-A: 1\r\nx_id_: 2\r\nX-Id: 3\r\nMy-X-Id-A: 4\r\n\r\n",
          { .drop = prefix, .drop_count = 1 },
          "GET / HTTP/1.1\r\nHost: a\r\nX-Id: 3\r\nMy-X-Id-A: 4\r\n\r\n" },
        { "sets another Host", "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
          { .set = host, .set_count = 1 }, "GET / HTTP/1.1\r\nHost: b:81\r\n\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http1_scan scan = { 0 };
        unsigned char mem[512];
        struct http1_head h;
        struct buf out;

        check_row(rows[i].it);
        assert_int_equal(http1_request_parse(&scan, span_str(rows[i].text), &h), 0);
        buf_init_fixed(&out, mem, sizeof(mem));
        http1_write_request(&out, &h, &rows[i].forward);
        assert_string_equal(buf_text(&out), rows[i].want);
    }
}

static void test_responses(void **state)
{
    static const struct { const char *it, *text; struct http1_forward forward; const char *want; }
    rows[] = {
        { "writes its own version", "HTTP/1.0 200 Fine\r\nContent-Length: 5\r\n\r\n", { 0 },
          "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\n" },
        { "drops hop-by-hop fields",
          "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nConnection: a\r\nA: b\r\n"
          "Keep-Alive: 1\r\nContent-Length: 5\r\n\r\n", { 0 },
          "HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\n" },
        { "keeps fields that repeat",
          "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nTransfer-Encoding: chunked\r\n\r\n",
          { 0 },
          "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
          "Transfer-Encoding: chunked\r\n\r\n" },
        { "writes close for a body that ends with its connection", "HTTP/1.1 200 OK\r\n\r\n",
          { .close = true }, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" },
        { "keeps an upgrade",
          "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
          { .upgrade = true },
          "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http1_scan scan = { 0 };
        unsigned char mem[512];
        struct http1_head h;
        struct buf out;

        check_row(rows[i].it);
        assert_int_equal(http1_response_parse(&scan, span_str(rows[i].text), SPAN("GET"), &h), 0);
        buf_init_fixed(&out, mem, sizeof(mem));
        http1_write_response(&out, &h, &rows[i].forward);
        assert_string_equal(buf_text(&out), rows[i].want);
    }
}

static void test_answers(void **state)
{
    static const struct http1_field retry[] = { { { "Retry-After", 11 }, { "5", 1 } } };
    static const struct { const char *it; struct http1_answer answer; const char *want; } rows[] = {
        { "writes an empty answer", { .status = 404 },
          "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" },
        { "writes a body", { .status = 200, .body = { "hi", 2 }, .close = true },
          "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n"
          "Connection: close\r\n\r\nhi" },
        { "writes no body to HEAD",
          { .status = 200, .body = { "hi", 2 }, .content_type = "text/html", .head_only = true },
          "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n" },
        { "writes further fields", { .status = 503, .set = retry, .set_count = 1 },
          "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n" },
        { "writes no length with 204", { .status = 204 }, "HTTP/1.1 204 No Content\r\n\r\n" },
        { "names an unknown status", { .status = 299 },
          "HTTP/1.1 299 Status\r\nContent-Length: 0\r\n\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned char mem[256];
        struct buf out;

        check_row(rows[i].it);
        buf_init_fixed(&out, mem, sizeof(mem));
        http1_write_answer(&out, &rows[i].answer);
        assert_string_equal(buf_text(&out), rows[i].want);
    }
}

static void test_refusal(void **state)
{
    unsigned char mem[512];
    struct buf out;

    (void)state;
    buf_init_fixed(&out, mem, sizeof(mem));
    http1_write_refusal(&out, HTTP1_E_HOST_MISSING);
    assert_string_equal(buf_text(&out),
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Length: 14\r\nConnection: close\r\n\r\nno Host field\n");
    buf_clear(&out);
    http1_write_connected(&out);
    assert_string_equal(buf_text(&out), "HTTP/1.1 200 Connection established\r\n\r\n");
}

static void test_no_line_is_injected(void **state)
{
    static const struct { const char *it; struct http1_field field; } rows[] = {
        { "refuses a line end in a value", { { "A", 1 }, { "b\r\nC: d", 7 } } },
        { "refuses a bare LF in a value", { { "A", 1 }, { "b\nc", 3 } } },
        { "refuses a NUL in a value", { { "A", 1 }, { "b\0c", 3 } } },
        { "refuses a colon in a name", { { "A:", 2 }, { "b", 1 } } },
        { "refuses an empty name", { { "", 0 }, { "b", 1 } } },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct http1_answer answer = { .status = 200, .set = &rows[i].field, .set_count = 1 };
        unsigned char mem[256];
        struct buf out;

        check_row(rows[i].it);
        buf_init_fixed(&out, mem, sizeof(mem));
        http1_write_answer(&out, &answer);
        assert_int_equal(buf_error(&out), -EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_refusal),
        cmocka_unit_test(test_no_line_is_injected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
