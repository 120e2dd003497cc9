// room: lib/http1
// parser: lib/http1/response.c lib/http1/head.c lib/http1/framing.c lib/http1/chars.c
#include "lib/http1/http1.h"
#include <string.h>
/*
 * A response head (the first byte chooses the request's method): split anywhere it gives the
 * same answer, and written again it frames the same body.
 */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct http1_head whole, split, again;

static int parse_split(struct span in, struct span method)
{
    struct http1_scan scan = { 0 };
    int r = HTTP1_E_MORE;

    for (size_t have = 0; have <= in.n && r == HTTP1_E_MORE; have++)
        r = http1_response_parse(&scan, span_first(in, have), method, &split);
    return r;
}

static void check_rewrite(struct span method)
{
    static unsigned char mem[2 * HTTP1_HEAD_MAX];
    struct http1_scan scan = { .limit = sizeof(mem) };
    struct buf out;

    buf_init_fixed(&out, mem, sizeof(mem));
    http1_write_response(&out, &whole, NULL);
    CHECK(!buf_error(&out));
    CHECK(http1_response_parse(&scan, buf_span(&out), method, &again) == 0);
    CHECK(again.framing == whole.framing && again.body_bytes == whole.body_bytes);
    CHECK(again.status == whole.status && span_eq(again.reason, whole.reason));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct span methods[] = { { "GET", 3 }, { "HEAD", 4 }, { "CONNECT", 7 } };
    struct http1_scan scan = { 0 };
    struct span in, method;
    int r;

    if (n == 0)
        return 0;
    method = methods[data[0] % ARRAY_LEN(methods)];
    in = span_of(data + 1, n - 1);
    r = http1_response_parse(&scan, in, method, &whole);
    CHECK(parse_split(in, method) == r);
    if (r)
        return 0;

    CHECK(whole.bytes <= in.n && split.bytes == whole.bytes);
    CHECK(split.framing == whole.framing && split.body_bytes == whole.body_bytes);
    check_rewrite(method);
    return 0;
}
