#include "lib/mux/mux_internal.h"

#define LEG_DEFICIT_UNIT 4
#define SLIVER 256      /* less room than this is not worth a frame, when more waits */

/* A frame takes 10 ms of the link at the most. */
static size_t frame_cap(const struct mux_link *l)
{
    uint64_t cap = l->rate / MUX_FRAME_PER_S;

    if (l->rate == 0 || cap > l->data_max)
        return l->data_max;
    return cap < MUX_FRAME_LEAST ? MUX_FRAME_LEAST : (size_t)cap;
}

/* Who comes again brings his debt: a datagram goes whole, and may be more than a turn's share. */
static int32_t anew(int32_t deficit, const struct mux_link *l)
{
    return (int32_t)frame_cap(l) + (deficit < 0 ? deficit : 0);
}

/* Kept in units, for it has to be small. */
static int32_t deficit_of(const struct leg *g)
{
    return g->deficit * LEG_DEFICIT_UNIT;
}

static void deficit_set(struct leg *g, int32_t bytes)
{
    g->deficit = (int16_t)(bytes / LEG_DEFICIT_UNIT);
}

static void enter_bulk(struct leg *g)
{
    struct owner *o = g->owner;
    struct mux_link *l = o->link;

    deficit_set(g, anew(deficit_of(g), l));
    list_append(&o->legs, &g->send);
    if (list_is_empty(&o->busy)) {
        o->deficit = anew(o->deficit, l);
        list_append(&l->busy, &o->busy);
    }
}

static void leave(struct leg *g)
{
    list_remove(&g->send);
    if (!g->is_quick && list_is_empty(&g->owner->legs))
        list_remove(&g->owner->busy);
}

static uint32_t quick_left(struct leg *g)
{
    uint16_t now = (uint16_t)g->owner->link->mux->now_ms;

    if ((uint16_t)(now - g->tx_burst_ms) >= MUX_QUICK_MS) {
        g->tx_burst_ms = now;
        g->tx_burst = 0;
    }
    return g->tx_burst < MUX_QUICK_BYTES ? MUX_QUICK_BYTES - g->tx_burst : 0;
}

void sched_add(struct leg *g)
{
    size_t sendable = g->is_busy || !g->owner ? 0 : leg_class(g)->sendable(g);

    if (!sendable)
        return;
    g->is_busy = true;
    g->is_quick = sendable <= quick_left(g);
    if (g->is_quick)
        list_append(&g->owner->link->quick, &g->send);
    else
        enter_bulk(g);
}

void sched_remove(struct leg *g)
{
    if (!g->is_busy)
        return;
    leave(g);
    g->is_busy = false;
}

bool sched_has_bulk(const struct mux_link *l)
{
    return !list_is_empty(&l->busy);
}

/* The frame that is not cut and whose turn it is; 0: bytes come next, or nothing, or debts. */
size_t sched_whole_due(const struct mux_link *l)
{
    struct list *node = list_first(&l->busy);
    struct owner *o = node ? container_of(node, struct owner, busy) : NULL;
    struct leg *g = o ? container_of(list_first(&o->legs), struct leg, send) : NULL;

    if (!g || g->deficit <= 0 || o->deficit <= 0)
        return 0;
    return leg_class(g)->whole(g);
}

/* What may go into the message, up to `limit`: 0 when the stream is done or no frame is worth
 * it. */
static size_t fit(const struct leg *g, const struct buf *out, size_t limit, size_t max)
{
    size_t whole = leg_class(g)->whole(g), room = limit > out->len ? limit - out->len : 0;
    size_t head = FRAME_HEADER_LEN + FRAME_OFFSET_LEN, sendable;

    if (whole)
        return whole <= room ? whole : 0;       /* however slow the link */
    sendable = leg_class(g)->sendable(g);
    if (room < head + SLIVER && room < head + sendable)
        return 0;
    if (sendable > room - head)
        sendable = room - head;
    return sendable < max ? sendable : max;
}

static void after_frame(struct leg *g, size_t n)
{
    size_t left = quick_left(g);

    g->tx_burst = (uint16_t)(MUX_QUICK_BYTES - (n < left ? left - n : 0));
    if (!leg_class(g)->sendable(g))
        sched_remove(g);
    leg_class(g)->produced(g);
}

/* More came than a quick stream may send: the rest waits its turn. */
static void slow_down(struct leg *g)
{
    list_remove(&g->send);
    g->is_quick = false;
    enter_bulk(g);
}

static bool serve_quick(struct leg *g, struct buf *out, size_t limit)
{
    uint32_t left = quick_left(g);
    size_t n;

    if (left == 0 || leg_class(g)->whole(g) > left) {
        slow_down(g);
        return true;
    }
    n = fit(g, out, limit, left);
    if (n == 0)
        return false;
    after_frame(g, leg_class(g)->produce(g, out, n));
    return true;
}

void sched_produce_quick(struct mux_link *l, struct buf *out, size_t limit)
{
    struct list *node;

    while ((node = list_first(&l->quick))) {
        if (!serve_quick(container_of(node, struct leg, send), out, limit))
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
    struct leg *g = container_of(list_first(&o->legs), struct leg, send);
    size_t quantum = frame_cap(l), n = 0;

    if (g->deficit > 0 && o->deficit > 0) {     /* else in debt: this turn only pays */
        n = fit(g, out, limit, quantum);
        if (n == 0)
            return false;
        leg_class(g)->produce(g, out, n);
        after_frame(g, n);
    }
    deficit_set(g, spend(&o->legs, &g->send, deficit_of(g), n, quantum));
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
