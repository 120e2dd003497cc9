#include "lib/base/buf.h"
#include "lib/check/check.h"
#include "lib/http1/http1.h"

#define TEN "0123456789"
#define SIXTY TEN TEN TEN TEN TEN TEN

struct result {
    int r;                      /* 0: done; HTTP1_E_MORE: wants more */
    size_t bytes;
    unsigned char mem[512];
    struct buf data;
};

/* Feeds `text` in pieces of `step` bytes. */
static void feed(const struct http1_head *h, struct span text, size_t step, struct result *result)
{
    struct http1_body b;

    *result = (struct result){ 0 };
    buf_init_fixed(&result->data, result->mem, sizeof(result->mem));
    http1_body_init(&b, h);
    for (size_t end = step < text.n ? step : text.n; !b.is_done;) {
        struct span in = span_skip(span_first(text, end), result->bytes), data;
        size_t bytes = 0;

        if (in.n == 0 && end == text.n)
            break;
        result->r = http1_body_take(&b, in, &bytes, &data);
        if (result->r)
            return;
        assert_true(bytes > 0 || in.n == 0);
        result->bytes += bytes;
        buf_put_span(&result->data, data);
        if (result->bytes == end)
            end = end + step < text.n ? end + step : text.n;
    }
    result->r = b.is_done ? 0 : HTTP1_E_MORE;
}

static void test_chunked(void **state)
{
    static const struct { const char *it, *text; int want; size_t left; const char *data; }
    rows[] = {
        { "takes no chunk", "0\r\n\r\n", 0, 0, "" },
        { "takes a chunk", "3\r\nabc\r\n0\r\n\r\n", 0, 0, "abc" },
        { "takes two chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 0, 0, "abcde" },
        { "takes hex of both cases", "a\r\n" TEN "\r\nA\r\n" TEN "\r\n0\r\n\r\n", 0, 0, TEN TEN },
        { "takes zeros before the size", "0003\r\nabc\r\n000\r\n\r\n", 0, 0, "abc" },
        { "takes an extension", "3;a=b; c=\"d\"\r\nabc\r\n0;x\r\n\r\n", 0, 0, "abc" },
        { "takes CR LF as data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", 0, 0, "\r\n\r\n" },
        { "takes trailers", "0\r\nGrpc-Status: 0\r\nA:\r\n\r\n", 0, 0, "" },
        { "leaves the next message", "0\r\n\r\nGET", 0, 3, "" },
        { "waits for the size", "", HTTP1_E_MORE, 0, "" },
        { "waits for data", "3\r\nab", HTTP1_E_MORE, 0, "ab" },
        { "waits for the end of the data", "3\r\nabc\r", HTTP1_E_MORE, 0, "abc" },
        { "waits for the last empty line", "0\r\n\r", HTTP1_E_MORE, 0, "" },
        { "waits for the end of trailers", "0\r\nA: b\r\n", HTTP1_E_MORE, 0, "" },
        { "refuses no size", "\r\n", HTTP1_E_CHUNK_SIZE, 2, "" },
        { "refuses a sign", "+3\r\nabc", HTTP1_E_CHUNK_SIZE, 7, "" },
        { "refuses a minus", "-1\r\n", HTTP1_E_CHUNK_SIZE, 4, "" },
        { "refuses 0x", "0x3\r\nabc", HTTP1_E_CHUNK_SIZE, 7, "" },
        { "refuses a space before", " 3\r\n", HTTP1_E_CHUNK_SIZE, 4, "" },
        { "refuses a space behind", "3 \r\n", HTTP1_E_CHUNK_SIZE, 3, "" },
        { "refuses a bare LF behind the size", "3\nabc", HTTP1_E_CHUNK_SIZE, 4, "" },
        { "refuses a bare CR behind the size", "3\rabc", HTTP1_E_CHUNK_SIZE, 3, "" },
        { "refuses 2^63", "8000000000000000\r\n", HTTP1_E_CHUNK_SIZE, 3, "" },
        { "refuses 17 digits", "00000000000000003\r\n", HTTP1_E_CHUNK_SIZE, 3, "" },
        { "refuses an extension without size", ";a\r\n", HTTP1_E_CHUNK_SIZE, 4, "" },
        { "refuses a bare LF in an extension", "3;a\nb\r\n", HTTP1_E_CHUNK_EXTENSION, 4, "" },
        { "refuses a bare CR in an extension", "3;a\rb\r\n", HTTP1_E_CHUNK_SIZE, 3, "" },
        { "refuses a byte beyond ASCII in an extension", "3;\xfc\r\n", HTTP1_E_CHUNK_EXTENSION, 3,
          "" },
        { "refuses a long extension",
          "3;" SIXTY SIXTY SIXTY SIXTY SIXTY "\r\n", HTTP1_E_CHUNK_EXTENSION, 46, "" },
        { "refuses data longer than its size", "3\r\nabcd\r\n", HTTP1_E_CHUNK_END, 3, "abc" },
        { "refuses a bare LF behind data", "3\r\nabc\n0\r\n\r\n", HTTP1_E_CHUNK_END, 6, "abc" },
        { "refuses a bare CR behind data", "3\r\nabc\r0\r\n\r\n", HTTP1_E_CHUNK_END, 5, "abc" },
        { "refuses CR CR behind the last size", "0\r\n\r\r", HTTP1_E_TRAILER, 1, "" },
        { "refuses a bare LF as the end", "0\r\n\n", HTTP1_E_TRAILER, 1, "" },
        { "refuses a trailer without colon", "0\r\nabc\r\n\r\n", HTTP1_E_TRAILER, 4, "" },
        { "refuses a trailer without name", "0\r\n: b\r\n\r\n", HTTP1_E_TRAILER, 7, "" },
        { "refuses a space before the colon", "0\r\na : b\r\n\r\n", HTTP1_E_TRAILER, 8, "" },
        { "refuses a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", HTTP1_E_TRAILER, 6, "" },
        { "refuses a bare LF behind a trailer", "0\r\nA: b\n\r\n", HTTP1_E_TRAILER, 3, "" },
        { "refuses a bare CR in a trailer", "0\r\nA: b\rc\r\n", HTTP1_E_TRAILER, 3, "" },
        { "refuses Content-Length as trailer", "0\r\ncontent-length: 5\r\n\r\n", HTTP1_E_TRAILER,
          7, "" },
        { "refuses Transfer_Encoding as trailer", "0\r\nTransfer_Encoding: x\r\n\r\n",
          HTTP1_E_TRAILER, 7, "" },
        { "refuses Host as trailer", "0\r\nHOST: x\r\n\r\n", HTTP1_E_TRAILER, 7, "" },
        { "refuses X-Forwarded-For as trailer", "0\r\nX-Forwarded-For: x\r\n\r\n",
          HTTP1_E_TRAILER, 7, "" },
        { "refuses Proxy-Authorization as trailer", "0\r\nProxy-Authorization: x\r\n\r\n",
          HTTP1_E_TRAILER, 7, "" },
        { "refuses a trailer with a long name", "0\r\n" SIXTY TEN ": b\r\n\r\n", HTTP1_E_TRAILER,
          13, "" },
    };
    static const struct http1_head head = { .framing = HTTP1_BODY_CHUNKED };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span text = span_str(rows[i].text);

        for (size_t step = 1; step <= text.n + 1; step++) {
            struct result result;

            check_row(rows[i].it);
            feed(&head, text, step, &result);
            assert_int_equal(result.r, rows[i].want);
            assert_int_equal(text.n - result.bytes, rows[i].left);
            assert_true(span_eq(buf_span(&result.data), span_str(rows[i].data)));
        }
    }
}

static void test_other_framing(void **state)
{
    static const struct {
        const char *it;
        struct http1_head head;
        const char *text;
        int want;
        size_t bytes;
    } rows[] = {
        { "takes nothing of none", { .framing = HTTP1_BODY_NONE }, "abc", 0, 0 },
        { "takes a length of 0", { .framing = HTTP1_BODY_LENGTH }, "abc", 0, 0 },
        { "takes a length", { .framing = HTTP1_BODY_LENGTH, .body_bytes = 2 }, "abc", 0, 2 },
        { "waits for a length", { .framing = HTTP1_BODY_LENGTH, .body_bytes = 4 }, "abc",
          HTTP1_E_MORE, 3 },
        { "never ends before the connection", { .framing = HTTP1_BODY_CLOSE }, "abc",
          HTTP1_E_MORE, 3 },
        { "never ends a tunnel", { .framing = HTTP1_BODY_TUNNEL }, "abc", HTTP1_E_MORE, 3 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = 1; step < 5; step++) {
            struct result result;

            check_row(rows[i].it);
            feed(&rows[i].head, span_str(rows[i].text), step, &result);
            assert_int_equal(result.r, rows[i].want);
            assert_int_equal(result.bytes, rows[i].bytes);
            assert_int_equal(result.data.len, rows[i].bytes);
        }
    }
}

static void test_trailers_are_bounded(void **state)
{
    static unsigned char mem[HTTP1_TRAILERS_MAX + 64];
    static const struct http1_head head = { .framing = HTTP1_BODY_CHUNKED };
    struct result result;
    struct buf b;

    (void)state;
    buf_init_fixed(&b, mem, sizeof(mem));
    buf_put_str(&b, "0\r\na:");
    while (b.len < sizeof(mem))
        buf_put_u8(&b, 'x');
    feed(&head, buf_span(&b), 1000, &result);
    assert_int_equal(result.r, HTTP1_E_TRAILERS_TOO_LARGE);
    assert_int_equal(result.bytes, 3 + HTTP1_TRAILERS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_other_framing),
        cmocka_unit_test(test_trailers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
