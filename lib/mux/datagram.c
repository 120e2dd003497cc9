#include "lib/mux/datagram.h"
#include <errno.h>
#include <string.h>

struct datagram {
    struct list node;
    uint32_t len;
    unsigned char bytes[];
};
_Static_assert(sizeof(struct datagram) <= DATAGRAM_COST, "the bound counts on this");

struct datagrams *datagrams_new(void)
{
    struct datagrams *d = calloc(1, sizeof(*d));

    if (d)
        list_init(&d->queue);
    return d;
}

static struct datagram *oldest(const struct mux_stream *s)
{
    struct list *node = list_first(&s->datagrams->queue);

    return node ? container_of(node, struct datagram, node) : NULL;
}

static void drop_oldest(struct mux_stream *s)
{
    struct datagram *d = oldest(s);

    list_remove(&d->node);
    s->datagrams->queued -= d->len + DATAGRAM_COST;
    free(d);
}

static void count_dropped(struct mux_stream *s)
{
    s->datagrams->counts.dropped++;
    s->mux->stats.datagrams_dropped++;
}

void datagram_drop_all(struct mux_stream *s)
{
    size_t before = stream_held(s);

    if (!s->datagrams)
        return;
    sched_remove(&s->leg);
    while (oldest(s)) {
        count_dropped(s);
        drop_oldest(s);
    }
    mux_held_changed(s->mux, s, before);
}

/* --- out ------------------------------------------------------------------------------ */
static struct datagram *copy_of(struct span bytes)
{
    struct datagram *d = malloc(sizeof(*d) + bytes.n);

    if (!d)
        return NULL;
    list_init(&d->node);
    d->len = (uint32_t)bytes.n;
    if (bytes.n)
        memcpy(d->bytes, bytes.p, bytes.n);
    return d;
}

static void make_room(struct mux_stream *s, size_t n)
{
    while (s->datagrams->queued + n > DATAGRAM_QUEUE_MAX) {
        count_dropped(s);
        drop_oldest(s);
    }
}

int mux_stream_send_datagram(struct mux_stream *s, struct span bytes)
{
    size_t before = stream_held(s), cost = bytes.n + DATAGRAM_COST;
    struct datagram *d = NULL;

    if (!s->datagrams || !stream_state_is_sending((enum stream_state)s->state))
        return REASON_NOT_READY;
    if (bytes.n > MUX_DATAGRAM_MAX) {
        count_dropped(s);
        return REASON_TOO_LARGE;
    }
    if (mux_has_memory(s->mux, cost, memory_datagram_percent(s)))
        d = copy_of(bytes);
    if (!d) {
        count_dropped(s);
        return REASON_OVERLOAD;
    }
    make_room(s, cost);
    list_append(&s->datagrams->queue, &d->node);
    s->datagrams->queued += (uint32_t)cost;
    mux_held_changed(s->mux, s, before);
    if (s->link) {
        sched_add(&s->leg);
        link_wake(s->link);
    }
    return 0;
}

size_t datagram_sendable(const struct mux_stream *s)
{
    if (!s->link || s->is_attaching || s->owed & (OWE_ANSWER | OWE_ATTACH))
        return 0;
    return s->datagrams->queued;
}

size_t datagram_fit(const struct mux_stream *s, size_t room)
{
    struct datagram *d = oldest(s);

    return d && room >= FRAME_HEADER_LEN + d->len ? FRAME_HEADER_LEN + d->len : 0;
}

size_t datagram_produce(struct mux_stream *s, struct buf *out)
{
    size_t before = stream_held(s), took;
    struct datagram *d = oldest(s);

    frame_put(out, FRAME_DATAGRAM, 0, s->id, span_of(d->bytes, d->len));
    took = FRAME_HEADER_LEN + d->len;
    s->datagrams->counts.sent++;
    s->datagrams->counts.sent_bytes += d->len;
    s->mux->stats.datagrams_out++;
    s->link->used_ms = s->mux->now_ms;
    s->mux->stats.frames_out[FRAME_DATAGRAM]++;
    drop_oldest(s);
    mux_held_changed(s->mux, s, before);
    return took;
}

/* --- in ------------------------------------------------------------------------------- */
void datagram_received(struct mux_stream *s, struct span bytes)
{
    if (!bucket_take(&s->link->datagrams, DATAGRAMS_MAX, DATAGRAMS_PER_S, s->mux->now_ms)) {
        count_dropped(s);
        return;
    }
    s->datagrams->counts.received++;
    s->datagrams->counts.received_bytes += bytes.n;
    s->mux->stats.datagrams_in++;
    s->link->used_ms = s->mux->now_ms;
    if (s->mux->on.on_datagram)
        s->mux->on.on_datagram(s->user, s, bytes);
}

const struct mux_datagram_counts *mux_stream_datagrams(const struct mux_stream *s)
{
    static const struct mux_datagram_counts none;

    return s->datagrams ? &s->datagrams->counts : &none;
}
