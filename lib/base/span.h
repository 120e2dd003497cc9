#pragma once
#include "lib/base/attr.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
/*
 * span.h - bytes that somebody else owns: not terminated, never written to.
 *
 * Input is cut, compared and parsed as spans and copied once, when it is kept.
 *
 * Units      bytes.
 * Ownership  a span owns nothing; it lives as long as what it points into.
 * Errors     parsers answer false and leave their output alone.
 */
struct span {
    const char *p;
    size_t n;
};

#define SPAN(literal) ((struct span){ (literal), sizeof(literal) - 1 })
#define SPAN_INIT(literal) { (literal), sizeof(literal) - 1 }     /* for static tables */
#define SPAN_NONE ((struct span){ NULL, 0 })
#define SPAN_FMT "%.*s"                       /* for printf with SPAN_ARG() */
#define SPAN_ARG(s) (int)(s).n, (s).p

static inline struct span span_of(const void *p, size_t n);
static inline struct span span_str(const char *text);       /* NULL gives SPAN_NONE */
static inline bool span_eq(struct span a, struct span b);
bool span_eq_nocase(struct span a, struct span b);      /* ASCII only */
bool span_eq_secret(struct span a, struct span b);      /* constant time for equal lengths */
bool span_starts(struct span s, struct span prefix);
bool span_ends(struct span s, struct span suffix);
int span_cmp(struct span a, struct span b);             /* bytes, shorter first */
struct span span_trim(struct span s);                   /* spaces and tabs at both ends */
static inline struct span span_skip(struct span s, size_t n);         /* without its first n bytes */
static inline struct span span_first(struct span s, size_t n);        /* its first n bytes, or all */
/* Position of the first `c`, or s.n. */
size_t span_find(struct span s, char c);
/* Cuts the part before `sep` off `*s`; the rest stays in `*s`.  False when `*s`
 * was exhausted (s->p is NULL then).  "a,,b" gives a, empty, b. */
bool span_cut(struct span *s, char sep, struct span *ret_part);
/* Decimal digits only, no sign, at most `max`. */
bool span_to_u64(struct span s, uint64_t max, uint64_t *ret_value);
/* A terminated copy; NULL when out of memory or when the span holds a NUL. */
char *span_dup(struct span s);
/* A terminated copy into `dst`; false (dst empty) when it does not fit or holds a NUL. */
bool span_copy(struct span s, char *dst, size_t dst_size);

/* --- in the header: too small to be worth a call -------------------------------------------- */
static inline struct span span_of(const void *p, size_t n)
{
    return (struct span){ p, n };
}

static inline struct span span_str(const char *text)
{
    return text ? (struct span){ text, strlen(text) } : SPAN_NONE;
}

static inline bool span_eq(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline struct span span_skip(struct span s, size_t n)
{
    if (n > s.n)
        n = s.n;
    if (n == 0)
        return s;
    return (struct span){ s.p + n, s.n - n };
}

static inline struct span span_first(struct span s, size_t n)
{
    return (struct span){ s.p, n < s.n ? n : s.n };
}
