#include "lib/base/encode.h"
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void hex_encode(struct span bytes, struct buf *out)
{
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned char c = (unsigned char)bytes.p[i];
        const char pair[2] = { hex_digits[c >> 4], hex_digits[c & 15] };

        buf_put(out, pair, sizeof(pair));
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool hex_decode(struct span text, struct buf *out)
{
    if (text.n % 2)
        return false;
    for (size_t i = 0; i < text.n; i += 2) {
        int high = hex_value(text.p[i]), low = hex_value(text.p[i + 1]);

        if (high < 0 || low < 0)
            return false;
        buf_put_u8(out, (uint8_t)(high << 4 | low));
    }
    return !buf_error(out);
}

/* Up to three bytes as up to four characters, without padding. */
static void group_encode(struct span group, const char *digits, struct buf *out)
{
    uint32_t bits = 0;
    char text[4];

    for (size_t i = 0; i < 3; i++)
        bits = bits << 8 | (i < group.n ? (unsigned char)group.p[i] : 0u);
    for (size_t i = 0; i < 4; i++)
        text[i] = digits[bits >> (18 - 6 * i) & 63];
    buf_put(out, text, group.n + 1);
}

static void digits_encode(struct span bytes, const char *digits, struct buf *out)
{
    for (; bytes.n; bytes = span_skip(bytes, 3))
        group_encode(span_first(bytes, 3), digits, out);
}

void base64_encode(struct span bytes, struct buf *out)
{
    static const char padding[] = "==";

    digits_encode(bytes, base64_digits, out);
    buf_put(out, padding, (3 - bytes.n % 3) % 3);
}

void base64url_encode(struct span bytes, struct buf *out)
{
    digits_encode(bytes, base64url_digits, out);
}

/* Two to four characters to one to three bytes; what does not fill a byte must be zero. */
static bool group_decode(struct span group, const char *digits, struct buf *out)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < 4; i++) {
        const char *digit = i < group.n ? memchr(digits, group.p[i], 64) : digits;

        if (!digit)
            return false;
        bits = bits << 6 | (uint32_t)(digit - digits);
    }
    if (group.n < 2 || bits << (8 * (group.n - 1)) & 0xffffff)
        return false;
    for (size_t i = 0; i + 1 < group.n; i++)
        buf_put_u8(out, (uint8_t)(bits >> (16 - 8 * i)));
    return true;
}

static bool digits_decode(struct span text, const char *digits, struct buf *out)
{
    for (; text.n; text = span_skip(text, 4)) {
        if (!group_decode(span_first(text, 4), digits, out))
            return false;
    }
    return !buf_error(out);
}

bool base64_decode(struct span text, struct buf *out)
{
    if (text.n % 4)
        return false;
    for (int i = 0; i < 2 && text.n && text.p[text.n - 1] == '='; i++)
        text.n--;
    return digits_decode(text, base64_digits, out);
}

bool base64url_decode(struct span text, struct buf *out)
{
    return digits_decode(text, base64url_digits, out);
}
