#include "lib/mux/chunk.h"
#include <errno.h>
#include <string.h>

#define RESERVE_LEAST 2048

static struct chunk *chunk_new(size_t size)
{
    struct chunk *c = malloc(size);

    if (c)
        *c = (struct chunk){ .room = (uint32_t)(size - CHUNK_HEADER) };
    return c;
}

static uint32_t chunk_size(const struct chunk *c)
{
    return c->room + CHUNK_HEADER;
}

static size_t tail_room(const struct chunk_queue *q)
{
    return q->tail ? q->tail->room - q->tail->end : 0;
}

static void push(struct chunk_queue *q, struct chunk *c)
{
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
    q->held += chunk_size(c);
}

static void pop(struct chunk_queue *q)
{
    struct chunk *c = q->head;

    q->head = c->next;
    if (!q->head)
        q->tail = NULL;
    if (q->at == c)
        q->at = NULL;
    q->held -= chunk_size(c);
    free(c);
}

void chunk_queue_drop_all(struct chunk_queue *q)
{
    while (q->head)
        pop(q);
    q->len = 0;
    q->is_reserved = false;
}

/* A small chunk serves only where nothing waits: a backlog is coming in large ones. */
static size_t size_for(const struct chunk_queue *q, size_t n)
{
    return q->len == 0 && n <= CHUNK_SMALL_ROOM ? CHUNK_SMALL : CHUNK_LARGE;
}

size_t chunk_queue_cost(const struct chunk_queue *q, size_t n)
{
    size_t room = tail_room(q), chunks;

    if (n <= room)
        return 0;
    if (size_for(q, n) == CHUNK_SMALL)
        return CHUNK_SMALL;
    chunks = (n - room + CHUNK_LARGE_ROOM - 1) / CHUNK_LARGE_ROOM;
    return chunks * CHUNK_LARGE;
}

size_t chunk_queue_room(const struct chunk_queue *q)
{
    return tail_room(q);
}

static void fill(struct chunk_queue *q, struct span *bytes)
{
    size_t n = bytes->n < tail_room(q) ? bytes->n : tail_room(q);

    if (n == 0)
        return;
    memcpy(q->tail->data + q->tail->end, bytes->p, n);
    q->tail->end += (uint32_t)n;
    q->len += (uint32_t)n;
    *bytes = span_skip(*bytes, n);
}

/* As many as n bytes need, linked; NULL: no memory for all of them. */
static struct chunk *chunks_new(size_t cost)
{
    struct chunk_queue more = { 0 };

    while (more.held < cost) {
        struct chunk *c = chunk_new(cost < CHUNK_LARGE ? cost : CHUNK_LARGE);

        if (!c) {
            chunk_queue_drop_all(&more);
            return NULL;
        }
        push(&more, c);
    }
    return more.head;
}

int chunk_queue_append(struct chunk_queue *q, struct span bytes)
{
    size_t cost = chunk_queue_cost(q, bytes.n);
    struct chunk *more = cost ? chunks_new(cost) : NULL;

    if (cost && !more)
        return -ENOMEM;
    fill(q, &bytes);
    while (more) {
        struct chunk *c = more;

        more = c->next;
        c->next = NULL;
        push(q, c);
        fill(q, &bytes);
    }
    return 0;
}

unsigned char *chunk_queue_reserve(struct chunk_queue *q, size_t size, size_t *ret_n)
{
    if (tail_room(q) < RESERVE_LEAST) {
        struct chunk *c = size ? chunk_new(size) : NULL;

        if (!c)
            return NULL;
        push(q, c);
    }
    q->is_reserved = true;
    *ret_n = tail_room(q);
    return q->tail->data + q->tail->end;
}

/* Takes an empty tail off. */
static void shed(struct chunk_queue *q)
{
    struct chunk **at = &q->head, *before = NULL;

    while (*at != q->tail) {
        before = *at;
        at = &before->next;
    }
    if (q->at == q->tail)
        q->at = NULL;
    q->held -= chunk_size(q->tail);
    free(q->tail);
    *at = NULL;
    q->tail = before;
}

/* A few bytes in a large chunk of their own move to a small one. */
static void shrink(struct chunk_queue *q)
{
    struct chunk *large = q->tail, *small;

    if (q->head != large || large->start || large->end > CHUNK_SMALL_ROOM ||
        large->room == CHUNK_SMALL_ROOM)
        return;
    small = chunk_new(CHUNK_SMALL);
    if (!small)
        return;                     /* then they stay where they are */
    memcpy(small->data, large->data, large->end);
    small->end = large->end;
    q->head = q->tail = NULL;
    q->held -= chunk_size(large);
    free(large);
    push(q, small);
}

void chunk_queue_commit(struct chunk_queue *q, size_t n)
{
    bool was_empty = q->len == 0;

    if (!q->is_reserved)
        return;
    q->is_reserved = false;
    q->tail->end += (uint32_t)n;
    q->len += (uint32_t)n;
    if (q->tail->end == q->tail->start)
        shed(q);
    else if (was_empty)
        shrink(q);
}

void chunk_queue_drop(struct chunk_queue *q, size_t n)
{
    q->len -= (uint32_t)n;
    while (q->head) {
        struct chunk *c = q->head;
        size_t here = c->end - c->start < n ? c->end - c->start : n;

        c->start += (uint32_t)here;
        n -= here;
        if (c->start < c->end || (c == q->tail && q->is_reserved))
            return;
        pop(q);
    }
}

void chunk_queue_cut(struct chunk_queue *q, size_t n)
{
    while (n) {
        struct chunk *c = q->tail;
        uint32_t here = c->end - c->start < n ? c->end - c->start : (uint32_t)n;

        c->end -= here;
        q->len -= here;
        n -= here;
        if (c->end == c->start)
            shed(q);
    }
}

size_t chunk_queue_peek(const struct chunk_queue *q, struct span *ret_spans, size_t max)
{
    size_t n = 0;

    for (const struct chunk *c = q->head; c && n < max; c = c->next) {
        if (c->end > c->start)
            ret_spans[n++] = span_of(c->data + c->start, c->end - c->start);
    }
    return n;
}

void chunk_queue_rewind(struct chunk_queue *q)
{
    q->at = NULL;
}

void chunk_queue_copy(struct chunk_queue *q, unsigned char *dst, size_t n)
{
    if (!q->at) {
        q->at = q->head;
        q->at_offset = q->head ? q->head->start : 0;
    }
    while (n) {
        size_t here = q->at->end - q->at_offset;

        if (here == 0) {
            q->at = q->at->next;
            q->at_offset = q->at->start;
            continue;
        }
        if (here > n)
            here = n;
        memcpy(dst, q->at->data + q->at_offset, here);
        dst += here;
        n -= here;
        q->at_offset += (uint32_t)here;
    }
}
