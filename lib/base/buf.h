#pragma once
#include "lib/base/span.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>
/*
 * buf.h - the one bounded buffer, and the one place that serialises integers.
 *
 * A buffer has its hard cap from birth.  The first failure sticks: later puts do
 * nothing, so a caller checks buf_error() once, at the end.
 *
 * Shape      fixed: over the caller's memory.  heap: grows up to its cap.
 * Units      bytes; integers are big-endian.
 * Ownership  buf_deinit() frees a heap buffer and does nothing to a fixed one.
 * Errors     -ENOBUFS past the cap, -ENOMEM; readers: -EBADMSG past the end.
 */
struct buf {
    unsigned char *data;
    size_t len;
    size_t cap;         /* hard maximum */
    size_t room;        /* allocated; == cap when fixed */
    int error;
    bool is_heap;
};

void buf_init_fixed(struct buf *b, void *mem, size_t cap);
void buf_init_heap(struct buf *b, size_t cap);
void buf_deinit(struct buf *b);
void buf_clear(struct buf *b);                  /* empties, clears the error, keeps the memory */
static inline int buf_error(const struct buf *b) { return b->error; }
static inline struct span buf_span(const struct buf *b)
{
    return (struct span){ (const char *)b->data, b->len };
}
/* The text so far with a NUL behind it (not counted); "" after an error. */
const char *buf_text(struct buf *b);
/* Reserves n bytes to be written by the caller; NULL after an error. */
static inline unsigned char *buf_extend(struct buf *b, size_t n);
static inline void buf_put(struct buf *b, const void *p, size_t n);
static inline void buf_put_span(struct buf *b, struct span s);
static inline void buf_put_str(struct buf *b, const char *text);
static inline void buf_put_u8(struct buf *b, uint8_t v);
static inline void buf_put_u16(struct buf *b, uint16_t v);
static inline void buf_put_u32(struct buf *b, uint32_t v);
static inline void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_decimal(struct buf *b, int64_t v);         /* as text */
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *format, va_list args) PRINTF_LIKE(2, 0);
/* Drops the first n bytes. */
void buf_shift(struct buf *b, size_t n);

/* A read cursor over bytes; error sticks, values read after it are 0. */
struct reader {
    const unsigned char *p;
    size_t n;           /* bytes left */
    int error;          /* 0 or -EBADMSG */
};

static inline void reader_init(struct reader *r, struct span bytes);
static inline uint8_t read_u8(struct reader *r);
static inline uint16_t read_u16(struct reader *r);
static inline uint32_t read_u32(struct reader *r);
static inline uint64_t read_u64(struct reader *r);
static inline struct span read_span(struct reader *r, size_t n);

/* --- in the header: each frame and each record is made of hundreds of these ---------------- */
unsigned char *buf_extend_slowly(struct buf *b, size_t n);

static inline unsigned char *buf_extend(struct buf *b, size_t n)
{
    unsigned char *at;

    if (b->error || n > b->room - b->len || n > b->cap - b->len)
        return buf_extend_slowly(b, n);
    at = b->data + b->len;
    b->len += n;
    return at;
}

static inline void buf_put(struct buf *b, const void *p, size_t n)
{
    unsigned char *at = n ? buf_extend(b, n) : NULL;

    if (at)
        memcpy(at, p, n);
}

static inline void buf_put_span(struct buf *b, struct span s)
{
    buf_put(b, s.p, s.n);
}

static inline void buf_put_str(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

static inline void buf_put_be(struct buf *b, uint64_t v, size_t n)
{
    unsigned char *at = buf_extend(b, n);

    for (size_t i = 0; at && i < n; i++)
        at[i] = (unsigned char)(v >> 8 * (n - 1 - i));
}

static inline void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_put_be(b, v, 1);
}

static inline void buf_put_u16(struct buf *b, uint16_t v)
{
    buf_put_be(b, v, 2);
}

static inline void buf_put_u32(struct buf *b, uint32_t v)
{
    buf_put_be(b, v, 4);
}

static inline void buf_put_u64(struct buf *b, uint64_t v)
{
    buf_put_be(b, v, 8);
}

static inline void reader_init(struct reader *r, struct span bytes)
{
    *r = (struct reader){ .p = (const unsigned char *)bytes.p, .n = bytes.n };
}

static inline struct span read_span(struct reader *r, size_t n)
{
    struct span got;

    if (r->error || n > r->n) {
        r->error = -EBADMSG;
        return SPAN_NONE;
    }
    got = span_of(r->p, n);
    if (n)
        r->p += n;
    r->n -= n;
    return got;
}

static inline uint64_t read_be(struct reader *r, size_t n)
{
    struct span got = read_span(r, n);
    uint64_t v = 0;

    for (size_t i = 0; i < got.n; i++)
        v = v << 8 | (unsigned char)got.p[i];
    return v;
}

static inline uint8_t read_u8(struct reader *r)
{
    return (uint8_t)read_be(r, 1);
}

static inline uint16_t read_u16(struct reader *r)
{
    return (uint16_t)read_be(r, 2);
}

static inline uint32_t read_u32(struct reader *r)
{
    return (uint32_t)read_be(r, 4);
}

static inline uint64_t read_u64(struct reader *r)
{
    return read_be(r, 8);
}
