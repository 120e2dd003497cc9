#include "lib/check/check.h"
#include "lib/ws/ws.h"

#define EIGHT "12345678"
#define LONG EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT \
    EIGHT EIGHT                                 /* 128 bytes */

/*
 * What happened, as text: "B(abc)" a binary message, "T(abc)" text, "+" between fragments'
 * payload is not shown, "i(x)" ping, "o(x)" pong, "c1000(bye)" close.
 */
static void event_note(struct buf *log, const struct ws_event *e)
{
    unsigned char *at;

    switch (e->kind) {
    case WS_EVENT_NONE:
        return;
    case WS_EVENT_DATA:
        if (e->is_first)
            buf_put_str(log, e->opcode == WS_TEXT ? "T(" : "B(");
        at = buf_extend(log, e->data.n);
        assert_non_null(at);
        memcpy(at, e->data.p ? e->data.p : "", e->data.n);
        if (e->is_masked)
            ws_mask_copy(at, e->data.p, e->data.n, e->mask, 0);
        if (e->is_last)
            buf_put_str(log, ")");
        return;
    case WS_EVENT_PING:
    case WS_EVENT_PONG:
        buf_printf(log, "%c(" SPAN_FMT ")", e->kind == WS_EVENT_PING ? 'i' : 'o',
                   SPAN_ARG(e->data));
        return;
    case WS_EVENT_CLOSE:
        buf_printf(log, "c%u(" SPAN_FMT ")", e->close_code, SPAN_ARG(e->data));
        return;
    }
}

/* Feeds `step` bytes at a time until an error or the end. */
static int feed(struct ws_parser *p, struct span text, size_t step, struct buf *log)
{
    while (text.n) {
        struct span in = span_first(text, step);

        text = span_skip(text, in.n);
        for (;;) {
            struct ws_event event;
            size_t bytes;
            int r = ws_parser_take(p, in, &bytes, &event);

            if (r)
                return r;
            event_note(log, &event);
            in = span_skip(in, bytes);
            if (event.kind == WS_EVENT_NONE)
                break;
        }
        assert_int_equal(in.n, 0);
    }
    return 0;
}

#define ROW(it, text, error, log) { it, text, sizeof(text) - 1, error, log }
static const struct { const char *it; const char *text; size_t n; int want; const char *log; }
rows[] = {
    ROW("takes nothing", "", 0, ""),
    ROW("takes a binary message", "\x82\x03" "abc", 0, "B(abc)"),
    ROW("takes an empty message", "\x82\x00", 0, "B()"),
    ROW("takes a text message", "\x81\x05Hello", 0, "T(Hello)"),
    ROW("takes two messages", "\x82\x01" "a" "\x82\x01" "b", 0, "B(a)B(b)"),
    ROW("takes fragments", "\x02\x01" "a" "\x00\x01" "b" "\x80\x01" "c", 0, "B(abc)"),
    ROW("takes empty fragments", "\x02\x00\x00\x00\x80\x00", 0, "B()"),
    ROW("takes a ping between fragments", "\x02\x01" "a" "\x89\x01p" "\x80\x01" "b", 0,
        "B(ai(p)b)"),
    ROW("takes a ping", "\x89\x00", 0, "i()"),
    ROW("takes a pong", "\x8a\x02ok", 0, "o(ok)"),
    ROW("takes 128 bytes", "\x82\x7e\x00\x80" LONG, 0, "B(" LONG ")"),
    ROW("waits for payload", "\x82\x03" "ab", 0, "B(ab"),
    ROW("waits for a ping's payload", "\x89\x03" "ab", 0, ""),
    ROW("takes a close without code", "\x88\x00", 0, "c1005()"),
    ROW("takes a close with a code", "\x88\x02\x03\xe8", 0, "c1000()"),
    ROW("takes a close with a reason", "\x88\x05\x03\xe9" "bye", 0, "c1001(bye)"),
    ROW("takes a private code", "\x88\x02\x0f\xa0", 0, "c4000()"),
    ROW("takes code 1014", "\x88\x02\x03\xf6", 0, "c1014()"),
    ROW("takes code 4999", "\x88\x02\x13\x87", 0, "c4999()"),
    ROW("drops all behind a close", "\x88\x00\x82\x01" "a\xff\xff\xff", 0, "c1005()"),
    ROW("takes a close between fragments", "\x02\x01" "a" "\x88\x00", 0, "B(ac1005()"),
    ROW("takes a character over fragments", "\x01\x01\xc3\x80\x01\xbc", 0, "T(\xc3\xbc)"),
    ROW("takes four bytes of text", "\x81\x04\xf0\x9f\x98\x80", 0, "T(\xf0\x9f\x98\x80)"),
    ROW("looks at no bytes of a binary one", "\x82\x02\xff\xff", 0, "B(\xff\xff)"),

    ROW("refuses RSV1 (compression)", "\xc2\x01" "a", WS_E_RSV, ""),
    ROW("refuses RSV2", "\xa2\x01" "a", WS_E_RSV, ""),
    ROW("refuses RSV3", "\x92\x01" "a", WS_E_RSV, ""),
    ROW("refuses RSV1 of a ping", "\xc9\x00", WS_E_RSV, ""),
    ROW("refuses opcode 3", "\x83\x00", WS_E_OPCODE, ""),
    ROW("refuses opcode 7", "\x87\x00", WS_E_OPCODE, ""),
    ROW("refuses opcode 11", "\x8b\x00", WS_E_OPCODE, ""),
    ROW("refuses opcode 15", "\x8f\x00", WS_E_OPCODE, ""),
    ROW("refuses a mask", "\x82\x81\0\0\0\0a", WS_E_MASKED, ""),
    ROW("refuses a fragmented ping", "\x09\x00", WS_E_CONTROL, ""),
    ROW("refuses a fragmented close", "\x08\x00", WS_E_CONTROL, ""),
    ROW("refuses a ping of 126 bytes", "\x89\x7e\x00\x7e", WS_E_CONTROL, ""),
    ROW("refuses a continuation first", "\x80\x01" "a", WS_E_CONTINUATION, ""),
    ROW("refuses a continuation after the end", "\x82\x01" "a" "\x80\x01" "b", WS_E_CONTINUATION,
        "B(a)"),
    ROW("refuses a message in a message", "\x02\x01" "a" "\x82\x01" "b", WS_E_CONTINUATION,
        "B(a"),
    ROW("refuses 125 in 16 bits", "\x82\x7e\x00\x7d", WS_E_LENGTH, ""),
    ROW("refuses 0 in 16 bits", "\x82\x7e\x00\x00", WS_E_LENGTH, ""),
    ROW("refuses 65535 in 64 bits", "\x82\x7f\0\0\0\0\0\0\xff\xff", WS_E_LENGTH, ""),
    ROW("refuses 2^63", "\x82\x7f\x80\0\0\0\0\0\0\0", WS_E_LENGTH, ""),
    ROW("refuses a message that is too big", "\x82\x7e\x01\x01", WS_E_TOO_BIG, ""),
    ROW("refuses 2^63 - 1", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", WS_E_TOO_BIG, ""),
    ROW("counts fragments together", "\x02\x01" "a" "\x80\x7e\x01\x00", WS_E_TOO_BIG, "B(a"),
    ROW("refuses a close of one byte", "\x88\x01\x03", WS_E_CLOSE_PAYLOAD, ""),
    ROW("refuses close code 0", "\x88\x02\x00\x00", WS_E_CLOSE_PAYLOAD, ""),
    ROW("refuses close code 999", "\x88\x02\x03\xe7", WS_E_CLOSE_PAYLOAD, ""),
    ROW("refuses close code 1004", "\x88\x02\x03\xec", WS_E_CLOSE_PAYLOAD, ""),
    ROW("refuses close code 1005", "\x88\x02\x03\xed", WS_E_CLOSE_PAYLOAD, ""),
    ROW("refuses close code 1006", "\x88\x02\x03\xee", WS_E_CLOSE_PAYLOAD, ""),
    ROW("refuses close code 1015", "\x88\x02\x03\xf7", WS_E_CLOSE_PAYLOAD, ""),
    ROW("refuses close code 2999", "\x88\x02\x0b\xb7", WS_E_CLOSE_PAYLOAD, ""),
    ROW("refuses close code 5000", "\x88\x02\x13\x88", WS_E_CLOSE_PAYLOAD, ""),
    ROW("refuses a reason that is not UTF-8", "\x88\x03\x03\xe8\xff", WS_E_UTF8, ""),
    ROW("refuses a reason that is cut", "\x88\x03\x03\xe8\xc3", WS_E_UTF8, ""),
    ROW("refuses text that is cut", "\x81\x01\xc3", WS_E_UTF8, ""),
    ROW("refuses text that is cut by its last fragment", "\x01\x01\xc3\x80\x00", WS_E_UTF8,
        "T(\xc3"),
};
#undef ROW

static void test_frames(void **state)
{
    static const struct ws_options options = { .message_max = 256, .take_text = true };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = 1; step <= rows[i].n + 1; step++) {
            unsigned char mem[512];
            struct ws_parser p;
            struct buf log;

            check_row(rows[i].it);
            buf_init_fixed(&log, mem, sizeof(mem));
            ws_parser_init(&p, &options);
            assert_int_equal(feed(&p, span_of(rows[i].text, rows[i].n), step, &log),
                             rows[i].want);
            assert_string_equal(buf_text(&log), rows[i].log);
        }
    }
}

/* The frames of a client: each header is made one with a mask, and its payload masked.  Payloads
 * that are not all there are masked as far as they go. */
static size_t mask_frames(const char *text, size_t n, unsigned char *dst)
{
    size_t at = 0, out = 0;

    while (at + 2 <= n) {
        size_t ext = (text[at + 1] & 0x7f) == 126 ? 2 : (text[at + 1] & 0x7f) == 127 ? 8 : 0, len = 0;

        if (at + 2 + ext > n)
            break;
        for (size_t i = 0; i < ext; i++)
            len = len << 8 | (unsigned char)text[at + 2 + i];
        len = ext ? len : text[at + 1] & 0x7f;
        memcpy(dst + out, text + at, 2 + ext);
        dst[out + 1] |= 0x80;
        memcpy(dst + out + 2 + ext, "\x37\xfa\x21\x3d", 4);
        at += 2 + ext;
        out += 2 + ext + 4;
        len = len < n - at ? len : n - at;
        for (size_t i = 0; i < len; i++)
            dst[out + i] = (unsigned char)text[at + i] ^ (unsigned char)"\x37\xfa\x21\x3d"[i % 4];
        at += len;
        out += len;
    }
    memcpy(dst + out, text + at, n - at);
    return out + n - at;
}

static void test_masked_frames(void **state)
{
    static const struct ws_options options = { .message_max = 256, .take_text = true, .is_server = true };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned char bytes[512];
        size_t n = mask_frames(rows[i].text, rows[i].n, bytes);

        if (rows[i].want == WS_E_MASKED)
            continue;
        for (size_t step = 1; step <= n + 1; step++) {
            unsigned char mem[512];
            struct ws_parser p;
            struct buf log;

            check_row(rows[i].it);
            buf_init_fixed(&log, mem, sizeof(mem));
            ws_parser_init(&p, &options);
            assert_int_equal(feed(&p, span_of(bytes, n), step, &log), rows[i].want);
            assert_string_equal(buf_text(&log), rows[i].log);
        }
    }
}

static void test_unmasked_frames_refused(void **state)
{
    static const struct ws_options options = { .message_max = 256, .is_server = true };
    struct ws_parser p;
    struct ws_event event;
    size_t bytes;

    (void)state;
    ws_parser_init(&p, &options);
    assert_int_equal(ws_parser_take(&p, SPAN("\x82\x01" "a"), &bytes, &event), WS_E_UNMASKED);
}

static void test_payload_is_not_copied(void **state)
{
    static const struct ws_options options = { .message_max = 256 };
    struct span in = SPAN("\x82\x05" "abcde" "\x82");
    struct ws_parser p;
    struct ws_event event;
    size_t bytes;

    (void)state;
    ws_parser_init(&p, &options);
    assert_int_equal(ws_parser_take(&p, in, &bytes, &event), 0);
    assert_int_equal(bytes, 7);
    assert_ptr_equal(event.data.p, in.p + 2);
    assert_int_equal(event.data.n, 5);
}

static void test_text_refused(void **state)
{
    static const struct ws_options options = { .message_max = 256 };
    struct ws_parser p;
    struct ws_event event;
    size_t bytes;

    (void)state;
    ws_parser_init(&p, &options);
    assert_int_equal(ws_parser_take(&p, SPAN("\x81\x01" "a"), &bytes, &event), WS_E_TEXT);
    assert_int_equal(ws_parser_take(&p, SPAN("\x82\x01" "a"), &bytes, &event), WS_E_TEXT);
}

static void test_empty_frames_are_bounded(void **state)
{
    static const struct ws_options options = { .message_max = 256 };
    struct ws_parser p;
    struct ws_event event;
    size_t bytes;

    (void)state;
    ws_parser_init(&p, &options);
    for (int i = 0; i < WS_EMPTY_MAX; i++)
        assert_int_equal(ws_parser_take(&p, SPAN("\x82\x00"), &bytes, &event), 0);
    assert_int_equal(ws_parser_take(&p, SPAN("\x82\x00"), &bytes, &event), WS_E_FLOOD);
}

static void test_utf8(void **state)
{
    static const struct { const char *it, *text; bool want; unsigned is_open; } cases[] = {
        { "takes nothing", "", true, 0 },
        { "takes ASCII", "abcdefghijklmnopqrstuvwxyz", true, 0 },
        { "takes a character behind eight", "12345678\xc3\xbc", true, 0 },
        { "takes the first of two bytes", "\xc2\x80", true, 0 },
        { "takes the last of two bytes", "\xdf\xbf", true, 0 },
        { "takes the first of three bytes", "\xe0\xa0\x80", true, 0 },
        { "takes the last before surrogates", "\xed\x9f\xbf", true, 0 },
        { "takes the first after surrogates", "\xee\x80\x80", true, 0 },
        { "takes U+FFFF", "\xef\xbf\xbf", true, 0 },
        { "takes the first of four bytes", "\xf0\x90\x80\x80", true, 0 },
        { "takes U+10FFFF", "\xf4\x8f\xbf\xbf", true, 0 },
        { "waits for the second byte", "a\xc3", true, 1 },
        { "waits for the fourth byte", "\xf0\x90\x80", true, 1 },
        { "refuses a continuation first", "\x80", false, 0 },
        { "refuses C0", "\xc0\x80", false, 0 },
        { "refuses C1", "\xc1\xbf", false, 0 },
        { "refuses three bytes for two", "\xe0\x9f\xbf", false, 0 },
        { "refuses a surrogate", "\xed\xa0\x80", false, 0 },
        { "refuses four bytes for three", "\xf0\x8f\xbf\xbf", false, 0 },
        { "refuses U+110000", "\xf4\x90\x80\x80", false, 0 },
        { "refuses F5", "\xf5\x80\x80\x80", false, 0 },
        { "refuses FF", "\xff", false, 0 },
        { "refuses ASCII inside", "\xe1\x80" "a", false, 0 },
        { "refuses a new first byte inside", "\xc3\xc3", false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned utf8 = 0;

        check_row(cases[i].it);
        assert_int_equal(ws_utf8_feed(&utf8, span_str(cases[i].text)), cases[i].want);
        if (cases[i].want)
            assert_int_equal(utf8 != 0, cases[i].is_open);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_masked_frames),
        cmocka_unit_test(test_unmasked_frames_refused),
        cmocka_unit_test(test_payload_is_not_copied),
        cmocka_unit_test(test_text_refused),
        cmocka_unit_test(test_empty_frames_are_bounded),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
