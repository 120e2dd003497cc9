#include "lib/ws/server/ws_request.h"

#include "lib/check/check.h"
#include "lib/ws/ws.h"

#define REST "Host: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" \
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static void test_requests(void **state)
{
    static const struct { const char *it, *head; int error; const char *answer; } rows[] = {
        { "takes one", "GET /x HTTP/1.1\r\n" REST "Sec-WebSocket-Protocol: adit.v1\r\n\r\n", 0,
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: adit.v1\r\n\r\n" },
        { "takes one of two lists", "GET /x HTTP/1.1\r\n" REST
          "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: more, adit.v1\r\n\r\n", 0,
          "HTTP/1.1 101 " },
        { "refuses POST", "POST /x HTTP/1.1\r\n" REST "Sec-WebSocket-Protocol: adit.v1\r\n\r\n", WS_E_METHOD,
          "HTTP/1.1 400 Bad Request\r\n" },
        { "refuses HTTP/1.0", "GET /x HTTP/1.0\r\n" REST "Sec-WebSocket-Protocol: adit.v1\r\n\r\n", WS_E_METHOD,
          "HTTP/1.1 400 Bad Request\r\n" },
        { "refuses the form for proxies", "GET http://a/x HTTP/1.1\r\n" REST "Sec-WebSocket-Protocol: adit.v1\r\n\r\n",
          WS_E_METHOD, "HTTP/1.1 400 Bad Request\r\n" },
        { "refuses content", "GET /x HTTP/1.1\r\nContent-Length: 1\r\n" REST "Sec-WebSocket-Protocol: adit.v1\r\n\r\n",
          WS_E_METHOD, "HTTP/1.1 400 Bad Request\r\n" },
        { "refuses a plain request", "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", WS_E_NO_UPGRADE,
          "HTTP/1.1 426 Upgrade Required\r\n" },
        { "refuses two versions", "GET /x HTTP/1.1\r\n" REST "Sec-WebSocket-Version: 8\r\n\r\n", WS_E_VERSION,
          "HTTP/1.1 426 Upgrade Required\r\n" },
        { "refuses two keys", "GET /x HTTP/1.1\r\n" REST "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          WS_E_KEY, "HTTP/1.1 400 Bad Request\r\n" },
        { "refuses another subprotocol", "GET /x HTTP/1.1\r\n" REST "Sec-WebSocket-Protocol: chat\r\n\r\n",
          WS_E_NO_PROTOCOL, "HTTP/1.1 400 Bad Request\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http1_scan scan = { 0 };
        struct http1_head head;
        unsigned char mem[1024];
        struct buf out;

        check_row(rows[i].it);
        buf_init_fixed(&out, mem, sizeof(mem));
        assert_int_equal(http1_request_parse(&scan, span_str(rows[i].head), &head), 0);
        assert_int_equal(ws_request_check(&head, SPAN("adit.v1")), rows[i].error);
        if (rows[i].error)
            ws_request_refuse(&out, rows[i].error);
        else
            ws_request_agree(&out, &head, SPAN("adit.v1"));
        assert_int_equal(buf_error(&out), 0);
        assert_true(span_starts(buf_span(&out), span_str(rows[i].answer)));
        if (rows[i].error == WS_E_VERSION)
            assert_non_null(strstr(buf_text(&out), "Sec-WebSocket-Version: 13\r\n"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_requests) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
