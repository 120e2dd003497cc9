#include "lib/check/check.h"
#include "lib/ws/ws.h"

#define KEY { "dGhlIHNhbXBsZSBub25jZQ==", WS_KEY_BYTES }        /* RFC 6455 section 1.3 */
#define ACCEPT { "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28 }

static void test_request(void **state)
{
    static const struct ws_request_field agent[] = { { { "User-Agent", 10 }, { "adit/1", 6 } } };
    static const struct ws_request request = {
        .authority = { "relay.example:7443", 18 },
        .path = { "/tunnel", 7 },
        .key = KEY,
        .protocol = { "adit.v1", 7 },
        .fields = agent,
        .field_count = 1,
    };
    unsigned char mem[512];
    struct buf out;

    (void)state;
    buf_init_fixed(&out, mem, sizeof(mem));
    ws_request_write(&out, &request);
    assert_string_equal(buf_text(&out),
        "GET /tunnel HTTP/1.1\r\nHost: relay.example:7443\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: adit.v1\r\n"
        "User-Agent: adit/1\r\n\r\n");
}

static void test_request_refused(void **state)
{
    static const struct ws_request_field two_lines[] = { { { "A", 1 }, { "b\nC: d", 6 } } };
    static const struct ws_request_field colon[] = { { { "A:", 2 }, { "b", 1 } } };
    static const struct { const char *it; struct ws_request request; } rows[] = {
        { "refuses no host", { .path = { "/", 1 }, .key = KEY } },
        { "refuses no path", { .authority = { "a", 1 }, .key = KEY } },
        { "refuses a path without slash",
          { .authority = { "a", 1 }, .path = { "x", 1 }, .key = KEY } },
        { "refuses a short key",
          { .authority = { "a", 1 }, .path = { "/", 1 }, .key = { "abc", 3 } } },
        { "refuses a space in the path",
          { .authority = { "a", 1 }, .path = { "/ b", 3 }, .key = KEY } },
        { "refuses a tab in the path",
          { .authority = { "a", 1 }, .path = { "/\tb", 3 }, .key = KEY } },
        { "refuses a line end in the host",
          { .authority = { "a\r\n", 3 }, .path = { "/", 1 }, .key = KEY } },
        { "refuses a line end in a field",
          { .authority = { "a", 1 }, .path = { "/", 1 }, .key = KEY, .field_count = 1,
            .fields = two_lines } },
        { "refuses a colon in a name",
          { .authority = { "a", 1 }, .path = { "/", 1 }, .key = KEY, .field_count = 1,
            .fields = colon } },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned char mem[256];
        struct buf out;

        check_row(rows[i].it);
        buf_init_fixed(&out, mem, sizeof(mem));
        ws_request_write(&out, &rows[i].request);
        assert_int_equal(buf_error(&out), -EINVAL);
    }
}

static void test_accept_input(void **state)
{
    static const struct span key = KEY;
    char text[WS_ACCEPT_INPUT_BYTES];

    (void)state;
    ws_accept_input(key, text);
    assert_memory_equal(text, "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
                        sizeof(text));
}

static void test_answer(void **state)
{
    static const struct ws_answer good = {
        .status = 101, .has_upgrade = true, .has_connection = true,
        .accept_count = 1, .accept = ACCEPT,
        .protocol_count = 1, .protocol = { "adit.v1", 7 },
    };
    static const struct {
        const char *it;
        unsigned status;                /* 0: as in the good one */
        int upgrade, connection;        /* -1: take away */
        size_t accepts, protocols, extensions;
        const char *accept, *protocol, *want;
        int error;
    } rows[] = {
        { "takes the good one", 0, 0, 0, 1, 1, 0, NULL, NULL, "adit.v1", 0 },
        { "takes none where none was asked for", 0, 0, 0, 1, 0, 0, NULL, NULL, NULL, 0 },
        { "refuses 200", 200, 0, 0, 1, 1, 0, NULL, NULL, "adit.v1", WS_E_STATUS },
        { "refuses no Upgrade", 0, -1, 0, 1, 1, 0, NULL, NULL, "adit.v1", WS_E_UPGRADE },
        { "refuses no Connection", 0, 0, -1, 1, 1, 0, NULL, NULL, "adit.v1", WS_E_UPGRADE },
        { "refuses no accept", 0, 0, 0, 0, 1, 0, NULL, NULL, "adit.v1", WS_E_ACCEPT },
        { "refuses two accepts", 0, 0, 0, 2, 1, 0, NULL, NULL, "adit.v1", WS_E_ACCEPT },
        { "refuses another accept", 0, 0, 0, 1, 1, 0, "s3pPLMBiTxaQ9kYGzzhZRbK+xOO=", NULL,
          "adit.v1", WS_E_ACCEPT },
        { "minds case in the accept", 0, 0, 0, 1, 1, 0, "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", NULL,
          "adit.v1", WS_E_ACCEPT },
        { "refuses no subprotocol", 0, 0, 0, 1, 0, 0, NULL, NULL, "adit.v1", WS_E_PROTOCOL },
        { "refuses another subprotocol", 0, 0, 0, 1, 1, 0, NULL, "adit.v2", "adit.v1",
          WS_E_PROTOCOL },
        { "refuses two subprotocols", 0, 0, 0, 1, 2, 0, NULL, NULL, "adit.v1", WS_E_PROTOCOL },
        { "refuses one that was not asked for", 0, 0, 0, 1, 1, 0, NULL, NULL, NULL,
          WS_E_PROTOCOL },
        { "refuses an extension", 0, 0, 0, 1, 1, 1, NULL, NULL, "adit.v1", WS_E_EXTENSION },
    };
    static const struct span want_accept = ACCEPT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ws_answer a = good;

        check_row(rows[i].it);
        a.status = rows[i].status ? rows[i].status : 101;
        a.has_upgrade = !rows[i].upgrade;
        a.has_connection = !rows[i].connection;
        a.accept_count = rows[i].accepts;
        a.protocol_count = rows[i].protocols;
        a.extension_count = rows[i].extensions;
        if (rows[i].accept)
            a.accept = span_str(rows[i].accept);
        if (rows[i].protocol)
            a.protocol = span_str(rows[i].protocol);
        assert_int_equal(ws_answer_check(&a, want_accept, span_str(rows[i].want)), rows[i].error);
    }
    assert_int_equal(ws_answer_check(&good, SPAN_NONE, SPAN("adit.v1")), WS_E_ACCEPT);
}

static void test_offer(void **state)
{
    static const struct ws_offer good = {
        .is_plain_get = true, .has_upgrade = true, .has_connection = true,
        .version_count = 1, .version = { "13", 2 }, .key_count = 1, .key = KEY, .has_protocol = true,
    };
    static const struct { const char *it; struct ws_offer not; const char *version, *key; int error; unsigned status;
    } rows[] = {
        { "takes the good one", { 0 }, NULL, NULL, 0, 0 },
        { "refuses another method, or content", { .is_plain_get = true }, NULL, NULL, WS_E_METHOD, 400 },
        { "refuses no Upgrade", { .has_upgrade = true }, NULL, NULL, WS_E_NO_UPGRADE, 426 },
        { "refuses no Connection", { .has_connection = true }, NULL, NULL, WS_E_NO_UPGRADE, 426 },
        { "refuses no version", { .version_count = 1 }, NULL, NULL, WS_E_VERSION, 426 },
        { "refuses two versions", { .version_count = 3 }, NULL, NULL, WS_E_VERSION, 426 },
        { "refuses version 12", { 0 }, "12", NULL, WS_E_VERSION, 426 },
        { "refuses no key", { .key_count = 1 }, NULL, NULL, WS_E_KEY, 400 },
        { "refuses two keys", { .key_count = 3 }, NULL, NULL, WS_E_KEY, 400 },
        { "refuses a short key", { 0 }, NULL, "dGhlIHNhbXBsZSBub25jZQ=", WS_E_KEY, 400 },
        { "refuses a key of 18 bytes", { 0 }, NULL, "dGhlIHNhbXBsZSBub25jZQab", WS_E_KEY, 400 },
        { "refuses a key with bits to spare", { 0 }, NULL, "dGhlIHNhbXBsZSBub25jZR==", WS_E_KEY, 400 },
        { "refuses a key that is not base 64", { 0 }, NULL, "dGhl-HNhbXBsZSBub25jZQ==", WS_E_KEY, 400 },
        { "refuses another subprotocol", { .has_protocol = true }, NULL, NULL, WS_E_NO_PROTOCOL, 400 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ws_offer o = good;

        check_row(rows[i].it);
        o.is_plain_get ^= rows[i].not.is_plain_get;
        o.has_upgrade ^= rows[i].not.has_upgrade;
        o.has_connection ^= rows[i].not.has_connection;
        o.has_protocol ^= rows[i].not.has_protocol;
        o.version_count ^= rows[i].not.version_count;
        o.key_count ^= rows[i].not.key_count;
        o.version = rows[i].version ? span_str(rows[i].version) : good.version;
        o.key = rows[i].key ? span_str(rows[i].key) : good.key;
        assert_int_equal(ws_offer_check(&o), rows[i].error);
        if (rows[i].error)
            assert_int_equal(ws_offer_status(rows[i].error), rows[i].status);
    }
}

static void test_answer_is_written(void **state)
{
    static const struct span accept = ACCEPT;
    unsigned char mem[512];
    struct buf out;

    (void)state;
    buf_init_fixed(&out, mem, sizeof(mem));
    ws_answer_write(&out, accept, SPAN("adit.v1"));
    assert_string_equal(buf_text(&out),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: adit.v1\r\n\r\n");
}

static void test_errors_have_rows(void **state)
{
    (void)state;
    for (int e = 1; e < WS_E_COUNT; e++) {
        assert_in_range(ws_error_close_code(e), 1002, 1009);
        assert_true(strlen(ws_error_text(e)) > 5);
    }
    assert_int_equal(ws_error_close_code(WS_E_COUNT), WS_CLOSE_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_request_refused),
        cmocka_unit_test(test_accept_input),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_offer),
        cmocka_unit_test(test_answer_is_written),
        cmocka_unit_test(test_errors_have_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
