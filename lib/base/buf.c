#include "lib/base/buf.h"
#include <stdio.h>

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

unsigned char *buf_extend_slowly(struct buf *b, size_t n)
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
