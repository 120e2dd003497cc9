#include "lib/base/utf8.h"
#include <string.h>

/* Table 3-7 of the Unicode standard: what the first byte asks of the second. */
static const struct { unsigned char first_min, first_max, second_min, second_max, len; } forms[] = {
    { 0x00, 0x7f, 0x00, 0x00, 1 },
    { 0xc2, 0xdf, 0x80, 0xbf, 2 },
    { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
    { 0xe1, 0xec, 0x80, 0xbf, 3 },
    { 0xed, 0xed, 0x80, 0x9f, 3 },
    { 0xee, 0xef, 0x80, 0xbf, 3 },
    { 0xf0, 0xf0, 0x90, 0xbf, 4 },
    { 0xf1, 0xf3, 0x80, 0xbf, 4 },
    { 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

static bool has_form(const unsigned char *p, size_t n, size_t form)
{
    if (p[0] < forms[form].first_min || p[0] > forms[form].first_max || n < forms[form].len)
        return false;
    if (forms[form].len > 1 && (p[1] < forms[form].second_min || p[1] > forms[form].second_max))
        return false;
    for (size_t i = 2; i < forms[form].len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf)
            return false;
    }
    return true;
}

size_t utf8_len(struct span s)
{
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (has_form((const unsigned char *)s.p, s.n, i))
            return forms[i].len;
    }
    return UTF8_BAD;
}

bool utf8_is_valid(struct span s)
{
    while (s.n) {
        size_t len = utf8_len(s);

        if (len == UTF8_BAD)
            return false;
        s = span_skip(s, len);
    }
    return true;
}

static bool is_control(struct span c)
{
    unsigned char first = (unsigned char)c.p[0];

    if (c.n == 1)
        return first < 0x20 || first == 0x7f;
    if (c.n == 2)
        return first == 0xc2 && (unsigned char)c.p[1] < 0xa0;
    return c.n == 3 && (memcmp(c.p, "\xe2\x80\xa8", 3) == 0 || memcmp(c.p, "\xe2\x80\xa9", 3) == 0);
}

/* All controls lie below U+10000, in at most three bytes. */
static unsigned code_point(struct span c)
{
    unsigned first = (unsigned char)c.p[0];

    if (c.n == 1)
        return first;
    if (c.n == 2)
        return (first & 0x1f) << 6 | ((unsigned char)c.p[1] & 0x3fu);
    return (first & 0x0f) << 12 | ((unsigned char)c.p[1] & 0x3fu) << 6
           | ((unsigned char)c.p[2] & 0x3fu);
}

static void put_escaped(struct buf *out, struct span c)
{
    static const char from[] = "\b\f\n\r\t\"\\", to[] = "bfnrt\"\\";
    const char *hit = c.n == 1 && c.p[0] ? strchr(from, c.p[0]) : NULL;

    if (hit) {
        const char pair[2] = { '\\', to[hit - from] };

        buf_put(out, pair, sizeof(pair));
    } else {
        buf_printf(out, "\\u%04x", code_point(c));
    }
}

/* Eight bytes at a time.  0: all of them stand for themselves, being printable ASCII but the quote
 * and the backslash.  A byte that does not may lend its bit to those above it, so no more than
 * "some do not" is said. */
static uint64_t odd_bytes(const char *p)
{
    const uint64_t each = 0x0101010101010101;
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return (word | (word - each * 0x20) | ((word ^ each * '"') - each) | ((word ^ each * '\\') - each) |
            ((word ^ each * 0x7f) - each)) &
           each * 0x80;
}

/* How much of it stands for itself. */
static size_t plain_len(struct span s)
{
    static const bool is_odd[256] = {
        [0 ... 0x1f] = true, ['"'] = true, ['\\'] = true, [0x7f ... 0xff] = true,
    };
    size_t n = 0;

    while (n + 8 <= s.n && !odd_bytes(s.p + n))
        n += 8;
    if (n + 8 > s.n && s.n >= 8 && !odd_bytes(s.p + s.n - 8))
        return s.n;
    while (n < s.n && !is_odd[(unsigned char)s.p[n]])
        n++;
    return n;
}

static void put_plain(struct buf *out, struct span s)
{
    unsigned char *at = buf_extend(out, s.n + 2);

    if (!at)
        return;
    at[0] = '"';
    if (s.n)
        memcpy(at + 1, s.p, s.n);
    at[s.n + 1] = '"';
}

/* From its first `plain` bytes on, which stand for themselves. */
static void put_mixed(struct buf *out, struct span s, size_t plain)
{
    buf_put_u8(out, '"');
    while (s.n && !buf_error(out)) {
        size_t len;

        buf_put_span(out, span_first(s, plain));
        s = span_skip(s, plain);
        if (!s.n)
            break;
        len = utf8_len(s);
        struct span c = span_first(s, len ? len : 1);

        if (len == UTF8_BAD)
            buf_put_str(out, "\xef\xbf\xbd");
        else if (is_control(c) || (len == 1 && (c.p[0] == '"' || c.p[0] == '\\')))
            put_escaped(out, c);
        else
            buf_put_span(out, c);
        s = span_skip(s, c.n);
        plain = plain_len(s);
    }
    buf_put_u8(out, '"');
}

void utf8_put_quoted(struct buf *out, struct span s)
{
    size_t plain = plain_len(s);

    if (plain == s.n)
        put_plain(out, s);
    else
        put_mixed(out, s, plain);
}
