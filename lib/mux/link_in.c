#include "lib/mux/mux_internal.h"
#include <string.h>

static void protocol_error(struct mux_link *l, const char *text)
{
    link_fail(l, REASON_PROTOCOL_ERROR, text);
}

static void on_hello(struct mux_link *l, const struct frame *f)
{
    if (l->is_hello_seen) {
        protocol_error(l, "a second HELLO");
        return;
    }
    if (l->is_accepting && !l->is_hello_sent) {
        protocol_error(l, "HELLO before ours");
        return;
    }
    l->is_hello_seen = true;
    l->greet_until_ms = l->mux->now_ms + l->mux->config.hello_timeout_ms;
    if (l->mux->on.on_hello)
        l->mux->on.on_hello(l->user, l, f->payload);
}

static void on_ping(struct mux_link *l, const struct frame *f)
{
    if (frame_echo_read(f->payload, &l->pong_value)) {
        protocol_error(l, "PING: length");
        return;
    }
    if (!bucket_take(&l->pings, MUX_PINGS_MAX, MUX_PINGS_PER_S, l->mux->now_ms)) {
        protocol_error(l, "flood of PING");
        return;
    }
    l->is_pong_owed = true;
    link_wake(l);
}

static void on_pong(struct mux_link *l, const struct frame *f)
{
    uint64_t value, rtt_ms = l->mux->now_ms - l->ping_sent_ms;

    if (frame_echo_read(f->payload, &value)) {
        protocol_error(l, "PONG: length");
        return;
    }
    if (value != l->ping_value || l->is_ping_owed || l->is_pong_seen) {
        link_idle_frame(l);
        return;
    }
    l->is_pong_seen = true;
    if (l->mux->on.on_proved)
        l->mux->on.on_proved(l->user, l, rtt_ms > 1000000 ? UINT32_MAX : (uint32_t)rtt_ms * 1000);
}

static void on_goaway(struct mux_link *l, const struct frame *f)
{
    struct mux_goaway g;

    if (goaway_decode(f->payload, &g)) {
        protocol_error(l, "GOAWAY: tags");
        return;
    }
    if (l->is_goaway_seen)
        link_idle_frame(l);
    l->is_goaway_seen = true;
    l->is_worn |= g.why == REASON_LINK_RENEW;
    if (l->state == MUX_LINK_OPEN)
        l->state = MUX_LINK_DRAINING;
    if (l->state == MUX_LINK_GREETING) {
        l->state = MUX_LINK_CLOSED;     /* refused */
        l->why = g.why;
    }
    if (l->mux->on.on_goaway)
        l->mux->on.on_goaway(l->user, l, &g);
}

static void notice_done(struct mux_link *l)
{
    struct frame_notice n = l->notice_head;
    struct buf body = l->notice;

    buf_init_heap(&l->notice, FRAME_NOTICE_TOTAL_MAX);
    if (l->mux->on.on_notice)
        l->mux->on.on_notice(l->user, l, n.kind, n.revision, buf_span(&body));
    buf_deinit(&body);
}

static bool notice_continues(const struct mux_link *l, const struct frame_notice *n)
{
    const struct frame_notice *head = &l->notice_head;

    return n->offset == l->notice.len &&
           (n->offset == 0 || (n->kind == head->kind && n->revision == head->revision &&
                               n->total == head->total));
}

static void on_notice(struct mux_link *l, const struct frame *f)
{
    struct frame_notice n;

    if (frame_notice_read(f->payload, &n) || !notice_continues(l, &n)) {
        protocol_error(l, "NOTICE: length, or a part that does not follow");
        return;
    }
    if (n.total == 0)
        link_idle_frame(l);
    l->notice_head = n;
    buf_put_span(&l->notice, n.part);
    if (buf_error(&l->notice))
        link_fail(l, REASON_OVERLOAD, "no memory for a NOTICE");
    else if (l->notice.len == n.total)
        notice_done(l);
}

static void on_unknown(struct mux_link *l, const struct frame *f)
{
    l->mux->stats.unknown_frames++;
    if (f->type & FRAME_BIT_CRITICAL)
        protocol_error(l, "an unknown critical frame");
    else
        link_idle_frame(l);
}

static void (*const link_frames[])(struct mux_link *, const struct frame *) = {
    [FRAME_HELLO] = on_hello, [FRAME_PING] = on_ping,     [FRAME_PONG] = on_pong,
    [FRAME_GOAWAY] = on_goaway, [FRAME_NOTICE] = on_notice,
};

static bool is_known(uint8_t type)
{
    return type < ARRAY_LEN(link_frames) && link_frames[type];
}

/* What may come while the two still greet: HELLO, then no streams before acceptance. */
static bool greeting_allows(struct mux_link *l, const struct frame *f)
{
    if (l->state != MUX_LINK_GREETING || f->type == FRAME_HELLO || f->type == FRAME_GOAWAY)
        return true;
    if (!l->is_hello_seen || !l->is_hello_sent)
        return false;
    if (l->is_accepting)
        return !(f->type & FRAME_BIT_STREAM);

    link_opened(l);         /* the accepting side speaks on: accepted */
    if (l->mux->on.on_accepted)
        l->mux->on.on_accepted(l->user, l);
    return true;
}

void link_frame(struct mux_link *l, const struct frame *f)
{
    l->mux->stats.frames_in[f->type & 0x7f]++;
    if (!greeting_allows(l, f)) {
        protocol_error(l, "a frame before HELLO and its answer");
        return;
    }
    if (l->state == MUX_LINK_CLOSED)
        return;
    if (f->type & FRAME_BIT_STREAM)
        stream_frame(l, f);
    else if (is_known(f->type))
        link_frames[f->type](l, f);
    else
        on_unknown(l, f);
}

/* --- bytes to frames ------------------------------------------------------------------ */
static bool is_over(const struct mux_link *l)
{
    return l->state == MUX_LINK_CLOSED || l->is_freed;
}

/* A whole frame at the start of *bytes is taken off and handled; false: there is none. */
static bool take_whole(struct mux_link *l, struct span *bytes)
{
    struct frame f;
    int e = frame_read_upto(*bytes, l->data_max, &f);

    if (e == FRAME_E_PARTIAL)
        return false;
    if (e) {
        protocol_error(l, e == FRAME_E_LENGTH ? "frame: length" : "frame: stream and type");
        return false;
    }
    *bytes = span_skip(*bytes, FRAME_HEADER_LEN + f.payload.n);
    link_frame(l, &f);
    return true;
}

/* How much the frame that was cut still needs before more can be said about it. */
static size_t cut_needs(const struct mux_link *l)
{
    struct reader r;
    size_t whole;

    if (l->cut_len < FRAME_HEADER_LEN)
        return FRAME_HEADER_LEN - l->cut_len;
    reader_init(&r, span_of(l->cut, FRAME_HEADER_LEN));
    read_u16(&r);
    whole = FRAME_HEADER_LEN + (size_t)read_u16(&r);
    return whole > l->cut_len ? whole - l->cut_len : 0;
}

static void cut_add(struct mux_link *l, struct span *bytes, size_t n)
{
    struct span part = span_first(*bytes, n);

    if (part.n == 0)
        return;
    memcpy(l->cut + l->cut_len, part.p, part.n);
    l->cut_len += (uint32_t)part.n;
    *bytes = span_skip(*bytes, part.n);
}

static void cut_free(struct mux_link *l)
{
    free(l->cut);
    l->cut = NULL;
    l->cut_len = 0;
}

/* Completes the frame that the last part ended in. */
static void take_cut(struct mux_link *l, struct span *bytes)
{
    struct span frame;

    cut_add(l, bytes, cut_needs(l));        /* the header, or all */
    if (l->cut_len < FRAME_HEADER_LEN)
        return;
    if (cut_needs(l) > l->cut_cap - l->cut_len) {
        protocol_error(l, "frame: length");
        return;
    }
    cut_add(l, bytes, cut_needs(l));
    frame = span_of(l->cut, l->cut_len);
    if (take_whole(l, &frame))
        cut_free(l);
}

/* Room for the largest frame that this link may bring. */
static void keep_cut(struct mux_link *l, struct span bytes)
{
    size_t data = FRAME_OFFSET_LEN + l->data_max;

    l->cut_cap = (uint32_t)(FRAME_HEADER_LEN + (data > FRAME_PAYLOAD_MAX ? data : FRAME_PAYLOAD_MAX));
    l->cut = malloc(l->cut_cap);
    if (!l->cut)
        link_fail(l, REASON_OVERLOAD, "no memory for a frame");
    else
        cut_add(l, &bytes, bytes.n);
}

static void take_all(struct mux_link *l, struct span bytes)
{
    if (l->cut)
        take_cut(l, &bytes);
    while (bytes.n && !is_over(l) && take_whole(l, &bytes))
        ;
    if (bytes.n && !is_over(l))
        keep_cut(l, bytes);
}

static void message_ends(struct mux_link *l)
{
    if (l->cut)
        protocol_error(l, "a frame goes beyond its message");
    else if (!l->is_in_message)
        link_idle_frame(l);
    l->is_in_message = false;
}

int mux_link_take(struct mux_link *l, struct span bytes, bool is_last, uint64_t now_ms)
{
    struct mux *m = l->mux;
    int r;

    mux_enter(m, now_ms);
    if (!is_over(l)) {
        l->silent_since_ms = 0;
        proof_heard(l);
        l->is_in_message |= bytes.n > 0;
        take_all(l, bytes);
    }
    if (is_last && !is_over(l))
        message_ends(l);
    r = l->state == MUX_LINK_CLOSED ? (int)l->why : 0;
    mux_leave(m);
    return r;
}
