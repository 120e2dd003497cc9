#include "lib/base/buf.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEAP_FIRST 256

void buf_init_fixed(struct buf *b, void *mem, size_t cap)
{
    *b = (struct buf){ .data = mem, .cap = cap, .room = cap };
}

void buf_init_heap(struct buf *b, size_t cap)
{
    *b = (struct buf){ .cap = cap, .is_heap = true };
}

void buf_deinit(struct buf *b)
{
    if (b->is_heap)
        free(b->data);
    *b = (struct buf){ 0 };
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->error = 0;
}

static int grow(struct buf *b, size_t need)
{
    size_t room = b->room ? b->room : HEAP_FIRST;
    unsigned char *data;

    while (room < need)
        room *= 2;                      /* need <= cap, far from wrapping */
    if (room > b->cap)
        room = b->cap;
    data = realloc(b->data, room);
    if (!data)
        return -ENOMEM;

    b->data = data;
    b->room = room;
    return 0;
}

unsigned char *buf_extend(struct buf *b, size_t n)
{
    unsigned char *at;

    if (b->error)
        return NULL;
    if (n > b->cap - b->len) {          /* len <= cap always, so this cannot wrap */
        b->error = -ENOBUFS;
        return NULL;
    }
    if (b->len + n > b->room)
        b->error = grow(b, b->len + n);
    if (b->error)
        return NULL;

    at = b->data + b->len;
    b->len += n;
    return at;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    unsigned char *at = n ? buf_extend(b, n) : NULL;

    if (at)
        memcpy(at, p, n);
}

void buf_put_span(struct buf *b, struct span s)
{
    buf_put(b, s.p, s.n);
}

void buf_put_str(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_put(b, &v, 1);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
    unsigned char wire[2] = { (unsigned char)(v >> 8), (unsigned char)v };

    buf_put(b, wire, sizeof(wire));
}

void buf_put_u32(struct buf *b, uint32_t v)
{
    buf_put_u16(b, (uint16_t)(v >> 16));
    buf_put_u16(b, (uint16_t)v);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    buf_put_u32(b, (uint32_t)(v >> 32));
    buf_put_u32(b, (uint32_t)v);
}

void buf_put_decimal(struct buf *b, int64_t v)
{
    char text[20];
    size_t at = sizeof(text);
    uint64_t rest = v < 0 ? -(uint64_t)v : (uint64_t)v;

    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (v < 0)
        text[--at] = '-';
    buf_put(b, text + at, sizeof(text) - at);
}

/* Mostly there is room already, and once is enough. */
void buf_vprintf(struct buf *b, const char *format, va_list args)
{
    size_t room = b->error ? 0 : b->room - b->len;
    va_list again;
    unsigned char *at;
    int n;

    va_copy(again, args);
    n = vsnprintf(room ? (char *)b->data + b->len : NULL, room, format, again);
    va_end(again);
    if (n < 0 && !b->error)
        b->error = -EINVAL;
    if (n <= 0)
        return;
    if ((size_t)n < room) {
        b->len += (size_t)n;
        return;
    }

    at = buf_extend(b, (size_t)n + 1);      /* vsnprintf wants room for its NUL */
    if (!at)
        return;
    vsnprintf((char *)at, (size_t)n + 1, format, args);
    b->len--;
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    buf_vprintf(b, format, args);
    va_end(args);
}

const char *buf_text(struct buf *b)
{
    unsigned char *end = buf_extend(b, 1);

    if (!end)
        return "";
    *end = 0;
    b->len--;
    return (const char *)b->data;
}

void buf_shift(struct buf *b, size_t n)
{
    if (n > b->len)
        n = b->len;
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

void reader_init(struct reader *r, struct span bytes)
{
    *r = (struct reader){ .p = (const unsigned char *)bytes.p, .n = bytes.n };
}

struct span read_span(struct reader *r, size_t n)
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

static uint64_t read_be(struct reader *r, size_t n)
{
    struct span got = read_span(r, n);
    uint64_t v = 0;

    for (size_t i = 0; i < got.n; i++)
        v = v << 8 | (unsigned char)got.p[i];
    return v;
}

uint8_t read_u8(struct reader *r)
{
    return (uint8_t)read_be(r, 1);
}

uint16_t read_u16(struct reader *r)
{
    return (uint16_t)read_be(r, 2);
}

uint32_t read_u32(struct reader *r)
{
    return (uint32_t)read_be(r, 4);
}

uint64_t read_u64(struct reader *r)
{
    return read_be(r, 8);
}
