#include "lib/mux/mux_internal.h"

static size_t room(const struct buf *out)
{
    return out->cap - out->len;
}

static bool put_notice_part(struct link_item *item, struct buf *out)
{
    size_t head = FRAME_HEADER_LEN + FRAME_NOTICE_HEADER_LEN, n = item->len - item->sent;
    struct frame_notice notice = { item->kind, item->revision, item->len, item->sent, SPAN_NONE };

    if (n > MUX_NOTICE_PART)
        n = MUX_NOTICE_PART;
    if (room(out) < head + n)
        return false;
    notice.part = span_of(item->body + item->sent, n);
    frame_notice_put(out, &notice);
    item->sent += (uint32_t)n;
    return true;
}

static bool put_item(struct link_item *item, struct buf *out)
{
    if (item->type == FRAME_NOTICE)
        return put_notice_part(item, out);
    if (room(out) < FRAME_HEADER_LEN + item->len)
        return false;
    frame_put(out, item->type, 0, 0, span_of(item->body, item->len));
    item->sent = item->len;
    return true;
}

/* HELLO, NOTICE and GOAWAY in their order; of a long NOTICE one part for each message, so
 * that it delays nobody. */
static void put_items(struct mux_link *l, struct buf *out)
{
    struct list *node;

    while ((node = list_first(&l->items))) {
        struct link_item *item = container_of(node, struct link_item, node);

        if (!put_item(item, out))
            return;
        l->mux->stats.frames_out[item->type]++;
        if (item->sent < item->len)
            return;
        link_item_free(l, item);
    }
}

static void put_echoes(struct mux_link *l, struct buf *out)
{
    if (room(out) < 2 * (FRAME_HEADER_LEN + 8))
        return;
    if (l->is_pong_owed) {
        frame_echo_put(out, FRAME_PONG, l->pong_value);
        l->mux->stats.frames_out[FRAME_PONG]++;
    }
    if (l->is_ping_owed) {
        frame_echo_put(out, FRAME_PING, l->ping_value);
        l->mux->stats.frames_out[FRAME_PING]++;
    }
    l->is_pong_owed = l->is_ping_owed = false;
}

static void put_refusal(struct buf *out, const struct refusal *refusal)
{
    unsigned char mem[96];
    struct why w = { refusal->reason, SPAN_NONE, refusal->retry_ms };
    struct buf payload;

    buf_init_fixed(&payload, mem, sizeof(mem));
    if (refusal->type == FRAME_OPEN_ERR)
        refused_encode(&payload, &w, NULL);
    else
        why_encode(&payload, &w);
    frame_put(out, refusal->type, 0, refusal->id, buf_span(&payload));
}

static void put_refusals(struct mux_link *l, struct buf *out, size_t limit)
{
    struct list *node;

    while (out->len < limit && room(out) >= 128 && (node = list_first(&l->refusals))) {
        struct refusal *refusal = container_of(node, struct refusal, node);

        put_refusal(out, refusal);
        l->mux->stats.frames_out[refusal->type & 0x7f]++;
        list_remove(node);
        free(refusal);
        l->refusal_count--;
    }
}

static void put_owed(struct mux_link *l, struct buf *out, size_t limit)
{
    struct list *node;

    while (out->len < limit && (node = list_first(&l->owing))) {
        struct leg *g = container_of(node, struct leg, owing);

        if (!leg_class(g)->produce_owed(g, out))
            return;
    }
}

/* How full the message may get: what follows it into the socket waits for all of it. */
static size_t message_end(const struct mux_link *l, const struct buf *out)
{
    uint64_t most = l->rate / MUX_MESSAGE_PER_S;

    if (most < MUX_MESSAGE_LEAST)
        most = MUX_MESSAGE_LEAST;
    return l->rate && most < room(out) ? out->len + (size_t)most : out->cap;
}

/* What goes first may fill half of the message while bulk waits, and never the room that a
 * datagram needs whose turn it is; all of the message otherwise. */
static void put_streams(struct mux_link *l, struct buf *out)
{
    size_t end = message_end(l, out), first = sched_has_bulk(l) ? out->len + (end - out->len) / 2 : end;
    size_t whole = sched_whole_due(l);

    if (whole && first + whole > out->cap)
        first = out->len + whole < out->cap ? out->cap - whole : out->len;
    if (whole && end < first + whole)       /* it is not cut, however slow the link */
        end = first + whole < out->cap ? first + whole : out->cap;
    put_refusals(l, out, first);
    put_owed(l, out, first);
    sched_produce_quick(l, out, first);
    sched_produce_bulk(l, out, end);
    put_owed(l, out, out->cap);             /* FINs of what has just gone out */
    sched_produce_quick(l, out, end);
}

static void put_message(struct mux_link *l, struct buf *out)
{
    put_items(l, out);
    if (!link_has_streams_out(l))
        return;         /* before acceptance even a PONG would say "accepted" */
    put_echoes(l, out);
    put_streams(l, out);
}

size_t mux_link_produce(struct mux_link *l, unsigned char *dst, size_t cap, uint64_t now_ms)
{
    struct mux *m = l->mux;
    struct buf out;

    buf_init_fixed(&out, dst, cap < MUX_MESSAGE_MAX ? cap : MUX_MESSAGE_MAX);
    mux_enter(m, now_ms);
    l->is_producing = true;
    if (!l->is_freed)
        put_message(l, &out);
    l->is_producing = false;
    proof_produced(l);
    mux_leave(m);
    return out.len;
}
