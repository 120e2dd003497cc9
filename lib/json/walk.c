#include "lib/json/scan_internal.h"
#include <errno.h>

#define PLAIN_DIGITS_MAX 18         /* fits int64_t */

enum { PLAIN = 1, SPACE = 2, AFTER = 4 };       /* AFTER: ends a number or a word */

static const unsigned char class_of[256] = {
    [' '] = PLAIN | SPACE | AFTER,
    ['!'] = PLAIN,
    ['#' ... '+'] = PLAIN,
    [','] = PLAIN | AFTER,
    ['-' ... '['] = PLAIN,
    [']'] = PLAIN | AFTER,
    ['^' ... '|'] = PLAIN,
    ['}'] = PLAIN | AFTER,
    ['~'] = PLAIN,
    ['\t'] = SPACE | AFTER,
    ['\n'] = SPACE | AFTER,
    ['\r'] = SPACE | AFTER,
};

static inline bool is_class(char c, unsigned char class)
{
    return class_of[(unsigned char)c] & class;
}

static inline void advance(struct span *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

static inline void skip_space(struct span *s)
{
    while (s->n && is_class(*s->p, SPACE))
        advance(s, 1);
}

static bool take(struct span *s, char c)
{
    skip_space(s);
    if (!s->n || *s->p != c)
        return false;
    advance(s, 1);
    return true;
}

/* Bytes of the string that `s` begins with, quotes included; 0 when it has no end. */
static size_t string_len(struct span s)
{
    size_t i = 1;

    while (i < s.n && s.p[i] != '"')
        i += s.p[i] == '\\' ? 2 : 1;
    return i < s.n ? i + 1 : 0;
}

/* Bytes up to the bracket that closes the first one; which kind it is the parser says. */
static size_t nested_len(struct span s)
{
    size_t depth = 0;

    for (size_t i = 0; i < s.n; i++) {
        size_t skip = s.p[i] == '"' ? string_len((struct span){ s.p + i, s.n - i }) : 1;

        if (!skip)
            return 0;
        if ((s.p[i] == '{' || s.p[i] == '[') && ++depth == JSON_DEPTH_MAX)
            return 0;
        if ((s.p[i] == '}' || s.p[i] == ']') && --depth == 0)
            return i + 1;
        i += skip - 1;
    }
    return 0;
}

static size_t scalar_len(struct span s)
{
    size_t n = 0;

    while (n < s.n && !is_class(s.p[n], AFTER))
        n++;
    return n;
}

static size_t value_len(struct span s)
{
    if (!s.n)
        return 0;
    if (*s.p == '"')
        return string_len(s);
    return *s.p == '{' || *s.p == '[' ? nested_len(s) : scalar_len(s);
}

static bool is_plain_str(struct span raw)
{
    if (raw.n < 2 || *raw.p != '"')
        return false;
    for (size_t i = 1; i < raw.n - 1; i++)
        if (!is_class(raw.p[i], PLAIN))
            return false;
    return true;
}

static bool is_plain_int(struct span raw)
{
    size_t sign = raw.n && *raw.p == '-';
    size_t digits = raw.n - sign;

    for (size_t i = sign; i < raw.n; i++)
        if (raw.p[i] < '0' || raw.p[i] > '9')
            return false;
    return digits && digits <= PLAIN_DIGITS_MAX && (digits == 1 || raw.p[sign] != '0');
}

bool json_raw_is_valid(struct span raw)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct json_error error;

    return is_plain_str(raw) || is_plain_int(raw) || !json_parse(raw, &v, &error);
}

struct span json_raw_str(struct span raw)
{
    return is_plain_str(raw) ? span_of(raw.p + 1, raw.n - 2) : SPAN_NONE;
}

int64_t json_raw_int(struct span raw)
{
    bool is_negative = raw.n && *raw.p == '-';
    uint64_t value;

    if (!is_plain_int(raw) || !span_to_u64(span_skip(raw, is_negative), INT64_MAX, &value))
        return 0;
    return is_negative ? -(int64_t)value : (int64_t)value;
}

int json_walk_begin(struct span text, struct json_walk *w)
{
    *w = (struct json_walk){ .rest = text };
    w->is_object = take(&w->rest, '{');
    return w->is_object || take(&w->rest, '[') ? 0 : -EINVAL;
}

static int walk_end(struct json_walk *w)
{
    skip_space(&w->rest);
    return w->rest.n ? -EINVAL : JSON_E_END;
}

static int take_key(struct json_walk *w, struct span *ret_key)
{
    struct span raw;

    *ret_key = SPAN_NONE;
    if (!w->is_object)
        return 0;
    skip_space(&w->rest);
    raw = w->rest;
    raw.n = raw.n && *raw.p == '"' ? string_len(raw) : 0;
    if (!is_plain_str(raw))
        return -EINVAL;
    *ret_key = (struct span){ raw.p + 1, raw.n - 2 };
    advance(&w->rest, raw.n);
    return take(&w->rest, ':') ? 0 : -EINVAL;
}

static int take_value(struct json_walk *w, struct span *ret_value)
{
    struct span raw;

    skip_space(&w->rest);
    raw = w->rest;
    raw.n = value_len(raw);
    if (!raw.n || (!json_raw_is_nested(raw) && !json_raw_is_valid(raw)))
        return -EINVAL;
    advance(&w->rest, raw.n);
    *ret_value = raw;
    return 0;
}

int json_walk_next(struct json_walk *w, struct span *ret_key, struct span *ret_value)
{
    int r;

    if (take(&w->rest, w->is_object ? '}' : ']'))
        return walk_end(w);
    if (w->is_started && !take(&w->rest, ','))
        return -EINVAL;
    w->is_started = true;
    r = take_key(w, ret_key);
    return r ? r : take_value(w, ret_value);
}

int json_walk_find(struct span object, const char *key, struct span *ret_value)
{
    struct span name, value;
    struct json_walk w;
    int r;

    *ret_value = SPAN_NONE;
    r = json_walk_begin(object, &w);
    if (!r && !w.is_object)
        return -EINVAL;
    while (!r && !(r = json_walk_next(&w, &name, &value)))
        if (span_eq(name, span_str(key)))
            *ret_value = value;
    return r == JSON_E_END ? 0 : r;
}
