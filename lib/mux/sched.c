#include "lib/mux/datagram.h"

#define OWNERS_MAX 65536
#define SLIVER 256      /* less room than this is not worth a frame, when more waits */

static struct span key_span(const uint64_t *key)
{
    return span_of(key, sizeof(*key));
}

struct owner *owner_get(struct mux_link *l, uint64_t key)
{
    struct map_node *node = map_find(&l->owners, key_span(&key));
    struct owner *o = node ? container_of(node, struct owner, node) : calloc(1, sizeof(*o));

    if (!o)
        return NULL;
    if (!node) {
        o->key = key;
        list_init(&o->busy);
        list_init(&o->streams);
        if (map_insert(&l->owners, &o->node, key_span(&o->key))) {
            free(o);
            return NULL;
        }
    }
    o->refs++;
    return o;
}

void owner_put(struct mux_link *l, struct owner *o)
{
    if (--o->refs)
        return;
    map_remove(&l->owners, &o->node);
    list_remove(&o->busy);
    free(o);
}

/* A frame takes 10 ms of the link at the most. */
static size_t frame_cap(const struct mux_link *l)
{
    uint64_t cap = l->rate / MUX_FRAME_PER_S;

    if (l->rate == 0 || cap > FRAME_DATA_MAX)
        return FRAME_DATA_MAX;
    return cap < MUX_FRAME_LEAST ? MUX_FRAME_LEAST : (size_t)cap;
}

/* Who comes again brings his debt: a datagram goes whole, and may be more than a turn's share. */
static int32_t anew(int32_t deficit, const struct mux_link *l)
{
    return (int32_t)frame_cap(l) + (deficit < 0 ? deficit : 0);
}

static void enter_bulk(struct mux_stream *s)
{
    struct mux_link *l = s->link;
    struct owner *o = s->owner;

    s->deficit = (int16_t)anew(s->deficit, l);
    list_append(&o->streams, &s->send);
    if (list_is_empty(&o->busy)) {
        o->deficit = anew(o->deficit, l);
        list_append(&l->busy, &o->busy);
    }
}

static void leave(struct mux_stream *s)
{
    list_remove(&s->send);
    if (!s->is_quick && list_is_empty(&s->owner->streams))
        list_remove(&s->owner->busy);
}

static uint32_t quick_left(struct mux_stream *s)
{
    uint16_t now = (uint16_t)s->mux->now_ms;

    if ((uint16_t)(now - s->tx_burst_ms) >= MUX_QUICK_MS) {
        s->tx_burst_ms = now;
        s->tx_burst = 0;
    }
    return s->tx_burst < MUX_QUICK_BYTES ? MUX_QUICK_BYTES - s->tx_burst : 0;
}

static size_t sendable_of(const struct mux_stream *s)
{
    return s->datagrams ? datagram_sendable(s) : stream_sendable(s);
}

static size_t produce(struct mux_stream *s, struct buf *out, size_t n)
{
    return s->datagrams ? datagram_produce(s, out) : stream_produce_data(s, out, n);
}

void sched_add(struct mux_stream *s)
{
    size_t sendable = s->is_busy ? 0 : sendable_of(s);

    if (!sendable)
        return;
    s->is_busy = true;
    s->is_quick = sendable <= quick_left(s);
    if (s->is_quick)
        list_append(&s->link->quick, &s->send);
    else
        enter_bulk(s);
}

void sched_remove(struct mux_stream *s)
{
    if (!s->is_busy)
        return;
    leave(s);
    s->is_busy = false;
}

bool sched_has_bulk(const struct mux_link *l)
{
    return !list_is_empty(&l->busy);
}

/* The frame of the datagram whose turn it is; 0: bytes come next, or nothing, or debts. */
size_t sched_datagram_due(const struct mux_link *l)
{
    struct list *node = list_first(&l->busy);
    struct owner *o = node ? container_of(node, struct owner, busy) : NULL;
    struct mux_stream *s = o ? container_of(list_first(&o->streams), struct mux_stream, send) : NULL;

    if (!s || !s->datagrams || s->deficit <= 0 || o->deficit <= 0)
        return 0;
    return datagram_fit(s, MUX_MESSAGE_MAX);
}

/* What may go into the message, up to `limit`: 0 when the stream is done or no frame is worth
 * it. */
static size_t fit(const struct mux_stream *s, const struct buf *out, size_t limit, size_t max)
{
    size_t sendable = sendable_of(s), room = limit > out->len ? limit - out->len : 0;
    size_t head = FRAME_HEADER_LEN + FRAME_OFFSET_LEN;

    if (s->datagrams)
        return datagram_fit(s, room);       /* whole, however slow the link */
    if (room < head + SLIVER && room < head + sendable)
        return 0;
    if (sendable > room - head)
        sendable = room - head;
    return sendable < max ? sendable : max;
}

static void after_frame(struct mux_stream *s, size_t n)
{
    size_t left = quick_left(s);

    s->tx_burst = (uint16_t)(MUX_QUICK_BYTES - (n < left ? left - n : 0));
    if (!sendable_of(s))
        sched_remove(s);
    stream_owe_refresh(s);
    stream_writable(s);
}

/* More came than a quick stream may send: the rest waits its turn. */
static void slow_down(struct mux_stream *s)
{
    list_remove(&s->send);
    s->is_quick = false;
    enter_bulk(s);
}

static bool serve_quick(struct mux_stream *s, struct buf *out, size_t limit)
{
    uint32_t left = quick_left(s);
    size_t n = fit(s, out, limit, left);

    if (left == 0 || (s->datagrams && !datagram_fit(s, left))) {
        slow_down(s);
        return true;
    }
    if (n == 0)
        return false;
    after_frame(s, produce(s, out, n));
    return true;
}

void sched_produce_quick(struct mux_link *l, struct buf *out, size_t limit)
{
    struct list *node;

    while ((node = list_first(&l->quick))) {
        if (!serve_quick(container_of(node, struct mux_stream, send), out, limit))
            return;
    }
}

/* What is left after n bytes; whose deficit is used up goes to the end of its ring with a new
 * one. */
static int32_t spend(struct list *ring, struct list *node, int32_t deficit, size_t n,
                     size_t quantum)
{
    deficit -= (int32_t)n;
    if (deficit > 0 || list_is_empty(node))
        return deficit;
    list_remove(node);
    list_append(ring, node);
    return deficit + (int32_t)quantum;
}

static bool serve_bulk(struct mux_link *l, struct owner *o, struct buf *out, size_t limit)
{
    struct mux_stream *s = container_of(list_first(&o->streams), struct mux_stream, send);
    size_t quantum = frame_cap(l), n = 0;

    if (s->deficit > 0 && o->deficit > 0) {     /* else in debt: this turn only pays */
        n = fit(s, out, limit, quantum);
        if (n == 0)
            return false;
        produce(s, out, n);
        after_frame(s, n);
    }
    s->deficit = (int16_t)spend(&o->streams, &s->send, s->deficit, n, quantum);
    o->deficit = spend(&l->busy, &o->busy, o->deficit, n, quantum);
    return true;
}

void sched_produce_bulk(struct mux_link *l, struct buf *out, size_t limit)
{
    struct list *node;

    while ((node = list_first(&l->busy))) {
        if (!serve_bulk(l, container_of(node, struct owner, busy), out, limit))
            return;
    }
}
