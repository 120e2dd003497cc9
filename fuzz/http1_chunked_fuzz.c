// room: lib/http1
// parser: lib/http1/body.c
#include "lib/http1/http1.h"
#include <string.h>
/*
 * A chunked body: split anywhere it gives the same answer, the same data, and takes the
 * same bytes.
 */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct answer {
    int r;
    bool is_done;
    size_t bytes, data_bytes;
    uint32_t sum;               /* of the data */
};

static struct answer feed(struct span in, size_t step)
{
    static const struct http1_head head = { .framing = HTTP1_BODY_CHUNKED };
    struct answer a = { 0 };
    struct http1_body b;
    size_t have = 0;

    http1_body_init(&b, &head);
    while (!a.r && !b.is_done && (a.bytes < have || have < in.n)) {
        struct span data;
        size_t bytes;

        if (a.bytes == have)
            have = in.n - have < step ? in.n : have + step;
        a.r = http1_body_take(&b, span_skip(span_first(in, have), a.bytes), &bytes, &data);
        CHECK(a.r ? bytes == 0 : bytes > 0);
        a.bytes += bytes;
        a.data_bytes += data.n;
        for (size_t i = 0; i < data.n; i++)
            a.sum = a.sum * 31 + (unsigned char)data.p[i];
    }
    a.is_done = b.is_done;
    return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct span in = span_of(data, n);
    struct answer whole = feed(in, n + 1), bytewise = feed(in, 1);
    struct answer stepwise = feed(in, n ? data[n - 1] % 16 + 2u : 2);

    CHECK(whole.bytes <= n && whole.data_bytes <= whole.bytes);
    CHECK(whole.r == bytewise.r && whole.r == stepwise.r);
    CHECK(whole.is_done == bytewise.is_done && whole.is_done == stepwise.is_done);
    CHECK(whole.bytes == bytewise.bytes && whole.bytes == stepwise.bytes);
    CHECK(whole.data_bytes == bytewise.data_bytes && whole.sum == bytewise.sum);
    CHECK(whole.data_bytes == stepwise.data_bytes && whole.sum == stepwise.sum);
    return 0;
}
