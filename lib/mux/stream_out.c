#include "lib/mux/datagram.h"
#include <string.h>

/* --- what is owed --------------------------------------------------------------------- */
/* FIN and RESET follow the bytes before them; everything else may go at once. */
static unsigned owed_now(const struct mux_stream *s)
{
    unsigned owed = s->owed;

    if (s->is_attaching)
        return owed & OWE_ATTACH;
    if (s->tx_sent != s->tx_end || datagram_held(s) || s->state == STREAM_OPENING)
        owed &= ~(unsigned)(OWE_FIN | OWE_RESET);
    return owed;
}

void stream_owe_refresh(struct mux_stream *s)
{
    enum listed want = LISTED_NOWHERE;

    if (s->link && owed_now(s))
        want = LISTED_OWING;
    else if (s->link && s->is_credit_lazy && !s->is_attaching)
        want = LISTED_LAZY;
    else if (s->is_lost)
        want = LISTED_WAITING;
    if (s->leg.listed == want)
        return;

    list_remove(&s->leg.owing);
    s->leg.listed = (uint8_t)want;
    if (want == LISTED_OWING) {
        list_append(&s->link->owing, &s->leg.owing);
        link_wake(s->link);
    } else if (want == LISTED_LAZY) {
        list_append(&s->link->lazy, &s->leg.owing);
        link_arm_credit(s->link);
    } else if (want == LISTED_WAITING) {
        list_append(&s->mux->waiting, &s->leg.owing);
    }
}

void stream_owe(struct mux_stream *s, unsigned what)
{
    s->owed |= (uint8_t)what;
    if (what & OWE_CREDIT)
        s->is_credit_lazy = false;
    stream_owe_refresh(s);
}

/* --- the frames ----------------------------------------------------------------------- */
static bool has_room(const struct buf *out, size_t payload)
{
    return out->cap - out->len >= FRAME_HEADER_LEN + payload;
}

static void count(struct mux_stream *s, uint8_t type)
{
    s->mux->stats.frames_out[type]++;
}

static void free_frame(struct mux_stream *s)
{
    free(s->frame);
    s->frame = NULL;
}

static bool put_open(struct mux_stream *s, struct buf *out)
{
    if (!has_room(out, s->frame->len))
        return false;
    frame_put(out, FRAME_OPEN, 0, s->id, span_of(s->frame->payload, s->frame->len));
    if (!stream_may_move(s))
        free_frame(s);
    s->is_open_sent = true;
    s->link->data_heard_ms = s->mux->now_ms;    /* whoever waits for an answer wants to know of silence */
    count(s, FRAME_OPEN);
    return true;
}

/* Without a payload there was no memory for one: the reason alone then. */
static bool put_short_refusal(struct mux_stream *s, struct buf *out)
{
    unsigned char mem[96];
    struct why w = { (enum reason)s->how, SPAN_NONE, 0 };
    struct buf payload;

    buf_init_fixed(&payload, mem, sizeof(mem));
    refused_encode(&payload, &w, NULL);
    if (!has_room(out, payload.len))
        return false;
    frame_put(out, FRAME_OPEN_ERR, 0, s->id, buf_span(&payload));
    return true;
}

static bool put_answer(struct mux_stream *s, struct buf *out)
{
    uint8_t type = s->state == STREAM_REFUSING ? FRAME_OPEN_ERR : FRAME_OPEN_OK;

    if (s->frame && !has_room(out, s->frame->len))
        return false;
    if (!s->frame && !put_short_refusal(s, out))
        return false;
    if (s->frame)
        frame_put(out, type, 0, s->id, span_of(s->frame->payload, s->frame->len));
    if (type == FRAME_OPEN_ERR || !stream_may_move(s))
        free_frame(s);
    count(s, type);
    return true;
}

static uint8_t credit_flags(const struct mux_stream *s)
{
    bool is_fin = s->state == STREAM_FIN_IN || s->state == STREAM_FIN_BOTH;

    return (uint8_t)((is_fin ? FRAME_CREDIT_FIN : 0) |
                     (s->is_peer_reset ? FRAME_CREDIT_RESET : 0));
}

static bool put_credit(struct mux_stream *s, struct buf *out)
{
    struct frame_credit c;

    if (!has_room(out, 16))
        return false;
    c.limit = credit_limit(s);
    c.received = s->rx_received;
    s->rx_unacked = 0;
    frame_credit_put(out, s->id, c, credit_flags(s));
    count(s, FRAME_CREDIT);
    return true;
}

static bool put_fin(struct mux_stream *s, struct buf *out)
{
    if (!has_room(out, FRAME_OFFSET_LEN))
        return false;
    frame_fin_put(out, s->id, s->tx_end);
    count(s, FRAME_FIN);
    return true;
}

static bool put_reset(struct mux_stream *s, struct buf *out)
{
    unsigned char mem[FRAME_OFFSET_LEN + 96 + MUX_TEXT_MAX];
    struct why w = { (enum reason)s->how, SPAN_NONE, 0 };
    struct buf payload;

    if (s->text)
        w.text = span_of(s->text->text, s->text->len);
    buf_init_fixed(&payload, mem, sizeof(mem));
    reset_encode(&payload, s->tx_end, &w);
    if (!has_room(out, payload.len))
        return false;
    frame_put(out, FRAME_RESET, s->is_reset_now ? FRAME_RESET_NOW : 0, s->id,
              buf_span(&payload));
    count(s, FRAME_RESET);
    return true;
}

static bool put_end(struct mux_stream *s, struct buf *out)
{
    if (!has_room(out, 0))
        return false;
    frame_put(out, FRAME_END, s->is_peer_reset ? FRAME_END_RESET : 0, s->id, SPAN_NONE);
    count(s, FRAME_END);
    return true;
}

static const struct {
    unsigned what;
    bool (*put)(struct mux_stream *, struct buf *);
} frames[] = {
    { OWE_OPEN, put_open }, { OWE_ATTACH, move_put_attach }, { OWE_ANSWER, put_answer }, { OWE_CREDIT, put_credit },
    { OWE_FIN, put_fin },   { OWE_RESET, put_reset },   { OWE_END, put_end },
};

/* The last frame that this end has to say ends the stream here. */
static bool is_last_word(const struct mux_stream *s, unsigned what)
{
    if (what == OWE_END)
        return true;
    if (what == OWE_ANSWER)
        return s->state == STREAM_REFUSING;
    return what == OWE_CREDIT && s->state == STREAM_BROKEN && !s->is_entry;
}

static bool produce_owed(struct leg *g, struct buf *out)
{
    struct mux_stream *s = stream_of(g);

    for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
        unsigned what = frames[i].what;

        if (!(owed_now(s) & what))
            continue;
        if (!frames[i].put(s, out))
            return false;
        s->owed &= (uint8_t)~what;
        if (what == OWE_CREDIT)
            s->is_credit_lazy = false;
        if (is_last_word(s, what)) {
            stream_settle(s);
            return true;
        }
    }
    stream_owe_refresh(s);
    sched_add(&s->leg);           /* bytes may have waited for OPEN_OK */
    return true;
}

/* --- bytes ---------------------------------------------------------------------------- */
size_t stream_sendable(const struct mux_stream *s)
{
    uint64_t end = s->tx_end < s->tx_limit ? s->tx_end : s->tx_limit;

    if (!s->link || s->is_attaching || s->owed & (OWE_ANSWER | OWE_ATTACH) || end <= s->tx_sent)
        return 0;
    return (size_t)(end - s->tx_sent);
}

static uint8_t data_flags(const struct mux_stream *s, uint64_t end)
{
    return (uint8_t)((end == s->tx_limit ? FRAME_DATA_AT_LIMIT : 0) |
                     (end == s->tx_end && stream_is_starved(s) ? FRAME_DATA_URGENT : 0));
}

static size_t produce_data(struct mux_stream *s, struct buf *out, size_t max)
{
    size_t n = stream_sendable(s) < max ? stream_sendable(s) : max;
    unsigned char *at;

    frame_header_put(out, FRAME_DATA, data_flags(s, s->tx_sent + n), FRAME_OFFSET_LEN + n, s->id);
    buf_put_u64(out, s->tx_sent);
    at = buf_extend(out, n);
    if (!at)
        return 0;
    chunk_queue_copy(&s->tx, at, n);
    if (s->tx_sent == s->tx_acked)
        s->acked_ms = (uint32_t)s->mux->now_ms;
    s->tx_sent += n;
    s->link->unacked += n;
    s->mux->stats.bytes_out += n;
    load_carried(s, n);
    count(s, FRAME_DATA);
    return n;
}

/* --- the turn ------------------------------------------------------------------------- */
static size_t sendable(const struct leg *g)
{
    const struct mux_stream *s = stream_of(g);

    return s->datagrams ? datagram_sendable(s) : stream_sendable(s);
}

static size_t whole(const struct leg *g)
{
    const struct mux_stream *s = stream_of(g);

    return s->datagrams ? datagram_fit(s, MUX_MESSAGE_MAX) : 0;
}

static size_t produce(struct leg *g, struct buf *out, size_t n)
{
    struct mux_stream *s = stream_of(g);

    return s->datagrams ? datagram_produce(s, out) : produce_data(s, out, n);
}

static void produced(struct leg *g)
{
    stream_owe_refresh(stream_of(g));
    stream_writable(stream_of(g));
}

static void lost(struct leg *g)
{
    stream_lost(stream_of(g), 0);
}

const struct leg_class stream_leg = {
    .sendable = sendable, .whole = whole, .produce = produce, .produced = produced,
    .produce_owed = produce_owed, .take = stream_take, .lost = lost, .leave = stream_leave,
};
