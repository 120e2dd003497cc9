#include "lib/base/span.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool span_eq_nocase(struct span a, struct span b)
{
    if (a.n != b.n)
        return false;

    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    }
    return true;
}

bool span_eq_secret(struct span a, struct span b)
{
    volatile unsigned char difference = 0;

    if (a.n != b.n)
        return false;

    for (size_t i = 0; i < a.n; i++)
        difference |= (unsigned char)(a.p[i] ^ b.p[i]);
    return difference == 0;
}

bool span_starts(struct span s, struct span prefix)
{
    return s.n >= prefix.n && span_eq(span_first(s, prefix.n), prefix);
}

bool span_ends(struct span s, struct span suffix)
{
    return s.n >= suffix.n && span_eq(span_skip(s, s.n - suffix.n), suffix);
}

int span_cmp(struct span a, struct span b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;

    if (order)
        return order;
    return a.n == b.n ? 0 : a.n < b.n ? -1 : 1;
}

struct span span_trim(struct span s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = span_skip(s, 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

size_t span_find(struct span s, char c)
{
    const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;

    return hit ? (size_t)(hit - s.p) : s.n;
}

bool span_cut(struct span *s, char sep, struct span *ret_part)
{
    size_t at;

    if (!s->p)
        return false;

    at = span_find(*s, sep);
    *ret_part = span_first(*s, at);
    *s = at < s->n ? (struct span){ s->p + at + 1, s->n - at - 1 } : SPAN_NONE;
    return true;
}

bool span_to_u64(struct span s, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (s.n == 0)
        return false;

    for (size_t i = 0; i < s.n; i++) {
        uint64_t digit = (uint64_t)(unsigned char)s.p[i] - '0';

        if (digit > 9 || value > (max - digit) / 10 || digit > max)
            return false;
        value = value * 10 + digit;
    }
    *ret_value = value;
    return true;
}

char *span_dup(struct span s)
{
    char *copy;

    if (s.n && memchr(s.p, 0, s.n))
        return NULL;

    copy = malloc(s.n + 1);
    if (!copy)
        return NULL;
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = 0;
    return copy;
}

bool span_copy(struct span s, char *dst, size_t dst_size)
{
    if (dst_size == 0)
        return false;

    dst[0] = 0;
    if (s.n >= dst_size || (s.n && memchr(s.p, 0, s.n)))
        return false;
    if (s.n)
        memcpy(dst, s.p, s.n);
    dst[s.n] = 0;
    return true;
}
