// room: lib/base
// parser: lib/base/encode.c lib/base/ulid.c lib/base/utf8.c
#include "lib/base/encode.h"
#include "lib/base/ulid.h"
#include "lib/base/utf8.h"
#include <stdlib.h>
/*
 * The first byte chooses the alphabet.  What is decoded encodes to the same text (hex: in small
 * letters), any bytes come back, an id is its own text, and what is quoted is valid UTF-8.
 */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct code {
    void (*encode)(struct span bytes, struct buf *out);
    bool (*decode)(struct span text, struct buf *out);
    bool has_one_case;
};

static const struct code codes[] = {
    { hex_encode, hex_decode, false },
    { base64_encode, base64_decode, true },
    { base64url_encode, base64url_decode, true },
};

/* -fsanitize finds what a decoder writes behind the little room it is given. */
static void fuzz_short(const struct code *code, struct span text)
{
    unsigned char *mem = malloc(4);
    struct buf out;

    buf_init_fixed(&out, mem, 4);
    CHECK(!code->decode(text, &out) || out.len <= 4);
    free(mem);
}

static void fuzz_code(const struct code *code, struct span in)
{
    struct buf plain, text;

    buf_init_heap(&plain, 1 << 20);
    buf_init_heap(&text, 1 << 20);
    if (code->decode(in, &plain)) {
        code->encode(buf_span(&plain), &text);
        CHECK(span_eq_nocase(buf_span(&text), in) || code->has_one_case);
        CHECK(span_eq(buf_span(&text), in) || !code->has_one_case || code->decode == base64_decode);
    }
    plain.len = text.len = 0;
    plain.error = 0;
    code->encode(in, &text);
    CHECK(code->decode(buf_span(&text), &plain) && span_eq(buf_span(&plain), in));
    buf_deinit(&plain);
    buf_deinit(&text);
    fuzz_short(code, in);
}

static void fuzz_ulid(struct span in)
{
    struct ulid id, made;

    if (!ulid_parse(in, &id))
        return;
    CHECK(span_eq(ulid_span(&id), in) && ulid_unix_ms(&id) < 1ull << 48);
    made = ulid_make(ulid_unix_ms(&id), (const unsigned char *)"0123456789");
    CHECK(ulid_unix_ms(&made) == ulid_unix_ms(&id) && ulid_parse(ulid_span(&made), &id));
}

static void fuzz_utf8(struct span in)
{
    struct buf out;

    buf_init_heap(&out, 1 << 20);
    utf8_put_quoted(&out, in);
    CHECK(!buf_error(&out) && utf8_is_valid(buf_span(&out)));
    CHECK(!utf8_is_valid(in) || out.len >= in.n + 2);
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct span rest = span_of(data + 1, n - 1);

    if (n == 0)
        return 0;
    if (data[0] >= '0' && data[0] < '0' + (int)ARRAY_LEN(codes))
        fuzz_code(&codes[data[0] - '0'], rest);
    else if (data[0] == 'i')
        fuzz_ulid(rest);
    else
        fuzz_utf8(rest);
    return 0;
}
