#pragma once
#include "lib/base/span.h"
#include <stdarg.h>
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
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_span(struct buf *b, struct span s);
void buf_put_str(struct buf *b, const char *text);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_decimal(struct buf *b, int64_t v);         /* as text */
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *format, va_list args) PRINTF_LIKE(2, 0);
/* Reserves n bytes to be written by the caller; NULL after an error. */
unsigned char *buf_extend(struct buf *b, size_t n);
/* Drops the first n bytes. */
void buf_shift(struct buf *b, size_t n);

/* A read cursor over bytes; error sticks, values read after it are 0. */
struct reader {
    const unsigned char *p;
    size_t n;           /* bytes left */
    int error;          /* 0 or -EBADMSG */
};

void reader_init(struct reader *r, struct span bytes);
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
struct span read_span(struct reader *r, size_t n);
