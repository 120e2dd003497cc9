// room: lib/http1
// parser: lib/http1/request.c lib/http1/head.c lib/http1/target.c lib/http1/framing.c lib/http1/chars.c
#include "lib/http1/http1.h"
#include <string.h>
/*
 * A request head: split anywhere it gives the same answer as all at once; what was taken can
 * be written again, and what was written is taken again and says the same.
 */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct http1_head whole, split, again;

/* The memory moves at each step and ends where the bytes do. */
static int parse_split(const uint8_t *data, size_t n, size_t step)
{
    struct http1_scan scan = { 0 };
    int r = HTTP1_E_MORE;

    for (size_t have = 0; r == HTTP1_E_MORE;) {
        char *mem = malloc(have + 1);

        memcpy(mem, data, have);
        r = http1_request_parse(&scan, span_of(mem, have), &split);
        free(mem);
        if (have == n)
            break;
        have = n - have < step ? n : have + step;
    }
    return r;
}

static void check_rewrite(void)
{
    static unsigned char mem[2 * HTTP1_HEAD_MAX];
    struct http1_scan scan = { .limit = sizeof(mem) };
    struct buf out;

    if (whole.form == HTTP1_FORM_AUTHORITY)
        return;
    buf_init_fixed(&out, mem, sizeof(mem));
    http1_write_request(&out, &whole, NULL);
    CHECK(!buf_error(&out));
    CHECK(http1_request_parse(&scan, buf_span(&out), &again) == 0);
    CHECK(again.bytes == out.len);
    CHECK(again.framing == whole.framing && again.body_bytes == whole.body_bytes);
    CHECK(span_eq(again.path, whole.path) && span_eq(again.method, whole.method));
    CHECK(span_eq(again.host, whole.host) && again.port == whole.port);
    CHECK(http1_count(&again, SPAN("Proxy-Authorization")) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct http1_scan scan = { 0 };
    size_t step = n ? data[0] % 16 + 1u : 1;
    int r = http1_request_parse(&scan, span_of(data, n), &whole);

    CHECK(parse_split(data, n, step) == r);
    if (r)
        return 0;

    CHECK(whole.bytes <= n && split.bytes == whole.bytes);
    CHECK(split.field_count == whole.field_count && split.framing == whole.framing);
    CHECK(split.form == whole.form && split.port == whole.port);
    check_rewrite();
    return 0;
}
