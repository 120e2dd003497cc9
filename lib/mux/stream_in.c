#include "lib/mux/datagram.h"
#include "lib/mux/tags.h"
#include <errno.h>

/* A fault in a stream's frames ends that stream; an end that repeats them, the link, if that is its own
 * one: the peer of a link may be a holder that has passed on what it need not read. */
void stream_fault(struct mux_stream *s, const char *text)
{
    struct mux_link *l = s->link;

    s->mux->stats.protocol_errors++;
    stream_break(s, REASON_PROTOCOL_ERROR, text);
    if (l && !s->is_held)
        link_stream_fault(l);
}

/* --- OPEN and its answers ------------------------------------------------------------- */
static uint64_t owner_of(const struct mux_open *open)
{
    return hash_bytes(open->principal);
}

static enum reason may_take(const struct mux_link *l, const struct mux_open *open)
{
    const struct mux *m = l->mux;

    if (!link_takes_streams(l))
        return REASON_RELAY_DRAINING;
    if (m->stats.streams >= m->config.streams_max || !credit_first_window(m))
        return REASON_OVERLOAD;
    if (map_find(&m->by_uid, span_of(open->uid, MUX_UID_LEN)) || move_is_forgotten(m, open))
        return REASON_STALE_PATH;
    return REASON_NONE;
}

static void take_open(struct mux_link *l, const struct frame *f, const struct mux_open *open,
                      uint64_t limit)
{
    struct map_node *known = map_find(&l->mux->by_uid, span_of(open->uid, MUX_UID_LEN));
    struct mux_stream *s = known ? container_of(known, struct mux_stream, by_uid) : NULL;
    enum reason why;

    if (s && link_takes_streams(l) && stream_rejoins(s, open)) {
        stream_rejoin(s, l, f->stream, open, limit);
        return;
    }
    why = may_take(l, open);
    s = NULL;
    if (why == REASON_NONE)
        s = stream_new(l, f->stream, owner_of(open), false, open);
    if (!s) {
        link_refuse(l, FRAME_OPEN_ERR, f->stream, why ? why : REASON_OVERLOAD, 0);
        return;
    }
    s->tx_limit = limit;
    s->is_probe = open->kind == MUX_KIND_PROBE;
    l->mux->stats.probing += s->is_probe;
    if (l->mux->on.on_open)
        l->mux->on.on_open(l->user, s, open);
    else
        mux_stream_refuse(s, REASON_NOT_READY, SPAN_NONE, NULL);
}

/* OPEN and ATTACH bring ids of their own: the opener's kind, rising. */
static bool is_new_id(const struct mux_link *l, uint32_t id)
{
    return (id & 1) != (l->next_id & 1) && id > l->peer_id;
}

static void peer_used(struct mux_link *l, uint32_t id)
{
    l->peer_id = id;
    if ((0xffffffffu - id) / 2 < MUX_IDS_LEFT && l->state == MUX_LINK_OPEN)
        link_renew(l);
}

static void on_open(struct mux_link *l, const struct frame *f)
{
    struct mux_open open;
    uint64_t limit;

    if (open_decode(f->payload, &open, &limit)) {
        link_refuse(l, FRAME_OPEN_ERR, f->stream, REASON_PROTOCOL_ERROR, 0);
        return;
    }
    if (!link_is_to_relay(l))
        open.hop_count = 0;         /* nobody is behind that peer */
    take_open(l, f, &open, limit);
}

static void on_open_ok(struct mux_stream *s, const struct frame *f)
{
    struct mux_opened opened;
    uint64_t limit;

    proof_answered(s->link);
    if (s->state == STREAM_RESETTING)
        return;
    if (s->state != STREAM_OPENING || opened_decode(f->payload, &opened, &limit)) {
        stream_fault(s, "OPEN_OK");
        return;
    }
    free(s->frame);         /* the OPEN: it need not be said again */
    s->frame = NULL;
    s->is_answered = true;
    s->mux->stats.paths_found += s->is_lost;
    s->is_lost = false;
    s->tries = 0;
    stream_owe_refresh(s);
    stream_step(s, STREAM_EV_ACCEPT);
    s->tx_limit = limit;
    if (s->is_probe) {
        probe_answered(s);
        mux_stream_fin(s);
        return;
    }
    if (s->mux->on.on_opened)
        s->mux->on.on_opened(s->user, s, &opened);
    if (s->fin_wanted) {
        s->fin_wanted = false;
        mux_stream_fin(s);
    }
    stream_writable(s);
}

static void tell_refused(struct mux_stream *s, const struct why *w,
                         const struct mux_opened *tries)
{
    const struct mux_handlers *on = &s->mux->on;

    if (tries->try_count && on->on_tries)
        on->on_tries(s->user, s, tries);
    if (on->on_refused)
        on->on_refused(s->user, s, w->reason, w->text);
}

static void on_open_err(struct mux_stream *s, const struct frame *f)
{
    struct mux_opened tries;
    struct why w;
    bool was_reset = s->state == STREAM_RESETTING;

    if (!was_reset && s->state != STREAM_OPENING) {
        stream_fault(s, "OPEN_ERR");
        return;
    }
    proof_answered(s->link);
    if (refused_decode(f->payload, &w, &tries)) {
        w = (struct why){ REASON_PROTOCOL_ERROR, SPAN("OPEN_ERR: tags"), 0 };
        tries = (struct mux_opened){ 0 };
    }
    if (s->is_probe)
        probe_answered(s);
    stream_unlink(s);
    stream_step(s, STREAM_EV_REFUSED);
    s->how = (uint16_t)w.reason;        /* our RESET came too late, if there was one */
    if (!was_reset && !s->is_probe)
        tell_refused(s, &w, &tries);
    stream_check_drained(s);
}

/* --- bytes ---------------------------------------------------------------------------- */
static int store(struct mux_stream *s, struct span bytes)
{
    size_t before = stream_held(s);
    int r;

    if (!memory_for_received(s, bytes.n))
        return -ENOMEM;
    r = chunk_queue_append(&s->rx, bytes);
    mux_held_changed(s->mux, s, before);
    return r;
}

/* The peer still has what it was not told that we have: replay makes it whole. */
static void drop_unacked(struct mux_stream *s)
{
    size_t before = stream_held(s);
    uint32_t n = s->rx_unacked < s->rx.len ? s->rx_unacked : s->rx.len;

    if (!stream_may_move(s))
        return;
    chunk_queue_cut(&s->rx, n);
    s->rx_received -= n;
    s->rx_unacked = 0;
    credit_promise_update(s);
    mux_held_changed(s->mux, s, before);
    s->mux->stats.dropped_bytes += n;
}

static void receive(struct mux_stream *s, const struct frame_data *d, uint8_t flags)
{
    struct span fresh = span_skip(d->bytes, (size_t)(s->rx_received - d->offset));

    if (store(s, fresh)) {
        drop_unacked(s);
        credit_overrun(s);
        stream_detach(s, REASON_OVERLOAD, "no memory for what came", MUX_DETACH_RETRY_MS);
        return;
    }
    s->link->data_heard_ms = s->mux->now_ms;
    s->rx_received += fresh.n;
    s->rx_unacked += (uint32_t)fresh.n;
    s->rx_since_grown += (uint32_t)fresh.n;
    s->mux->stats.bytes_in += fresh.n;
    load_carried(s, fresh.n);
    stream_tell(s, TELL_READABLE);
    credit_received(s, flags & FRAME_DATA_AT_LIMIT);
    if (flags & FRAME_DATA_URGENT)
        stream_owe(s, OWE_CREDIT);
}

static void on_data(struct mux_stream *s, const struct frame *f)
{
    struct frame_data d;
    uint64_t end;

    if (s->state == STREAM_RESETTING || s->state == STREAM_BROKEN)
        return;
    if (frame_data_read(f->payload, &d) || s->state == STREAM_OPENING ||
        s->state == STREAM_ASKED || s->state == STREAM_REFUSING) {
        stream_fault(s, "DATA: empty, or before OPEN_OK");
        return;
    }
    if (s->is_probe) {              /* nobody would ever take it */
        stream_fault(s, "DATA on a probe");
        return;
    }
    end = d.offset + d.bytes.n;
    if (end <= s->rx_received)
        link_idle_frame(s->link);
    else if (end > s->rx_limit || s->is_fin_seen)
        stream_fault(s, "DATA beyond the limit or the FIN");
    else if (d.offset > s->rx_received)
        stream_detach(s, REASON_GAP, "DATA", 0);
    else
        receive(s, &d, f->flags);
}

static void acked(struct mux_stream *s, uint64_t received)
{
    size_t before = stream_held(s), n = (size_t)(received - s->tx_acked);

    if (received <= s->tx_acked)
        return;
    chunk_queue_drop(&s->tx, n);
    s->tx_acked = received;
    s->acked_ms = (uint32_t)s->mux->now_ms;
    s->link->unacked -= n;
    mux_held_changed(s->mux, s, before);
}

static bool is_credit_idle(const struct mux_stream *s, const struct frame_credit *c,
                           uint8_t flags)
{
    bool is_fin = flags & FRAME_CREDIT_FIN && !s->fin_acked;
    bool is_reset = flags & FRAME_CREDIT_RESET && s->state == STREAM_RESETTING && s->is_entry;

    return c->limit <= s->tx_limit && c->received <= s->tx_acked && !is_fin && !is_reset;
}

/* All is known that has to be: the entry says so, and both forget. */
void stream_check_settled(struct mux_stream *s)
{
    if (s->is_entry && s->state == STREAM_FIN_BOTH && s->fin_acked)
        stream_owe(s, OWE_END);
}

static bool is_fin_out(const struct mux_stream *s)
{
    return (s->state == STREAM_FIN_OUT || s->state == STREAM_FIN_BOTH) &&
           !(s->owed & OWE_FIN);
}

static void credit_fin(struct mux_stream *s, const struct frame_credit *c, uint8_t flags)
{
    if (flags & FRAME_CREDIT_RESET && s->state == STREAM_RESETTING && s->is_entry &&
        !(s->owed & OWE_RESET)) {
        stream_settle(s);
        return;
    }
    if (!(flags & FRAME_CREDIT_FIN) || s->state == STREAM_RESETTING)
        return;
    if (!is_fin_out(s) || c->received != s->tx_end) {
        stream_fault(s, "CREDIT for a FIN that was not sent");
        return;
    }
    s->fin_acked = true;
    stream_check_settled(s);
}

static void on_credit(struct mux_stream *s, const struct frame *f)
{
    struct frame_credit c;

    if (s->state == STREAM_BROKEN)
        return;
    if (frame_credit_read(f->payload, &c) || c.received > s->tx_sent) {
        stream_fault(s, "CREDIT: length, or more received than was sent");
        return;
    }
    if (is_credit_idle(s, &c, f->flags))
        link_idle_frame(s->link);
    if (!s->link)
        return;
    acked(s, c.received);
    if (c.limit > s->tx_limit)
        s->tx_limit = c.limit;
    sched_add(&s->leg);
    stream_writable(s);
    credit_fin(s, &c, f->flags);
}

static void on_datagram(struct mux_stream *s, const struct frame *f)
{
    if (s->state == STREAM_RESETTING || s->state == STREAM_BROKEN)
        return;
    if (!s->datagrams || !stream_state_is_receiving((enum stream_state)s->state))
        stream_fault(s, "DATAGRAM on a stream of bytes, before OPEN_OK or after FIN");
    else
        datagram_received(s, f->payload);
}

/* --- ends ----------------------------------------------------------------------------- */
static void on_fin(struct mux_stream *s, const struct frame *f)
{
    uint64_t final_offset;

    if (s->state == STREAM_RESETTING || s->state == STREAM_BROKEN)
        return;
    if (frame_fin_read(f->payload, &final_offset) || final_offset < s->rx_received) {
        stream_fault(s, "FIN: length, or before what came");
        return;
    }
    if (final_offset > s->rx_received) {
        stream_detach(s, REASON_GAP, "FIN", 0);
        return;
    }
    if (!stream_step(s, STREAM_EV_PEER_FIN)) {
        stream_fault(s, "FIN twice, or before OPEN_OK");
        return;
    }
    s->is_fin_seen = true;
    stream_tell(s, TELL_READABLE);
    stream_owe(s, OWE_CREDIT);
    stream_check_settled(s);
}

/* Nothing of ours counts any more: both directions end with the peer's RESET. */
static void moot(struct mux_stream *s)
{
    size_t before = stream_held(s);

    sched_remove(&s->leg);
    s->link->unacked -= s->tx_sent - s->tx_acked;
    s->tx_end = s->tx_acked = s->tx_sent;
    chunk_queue_drop_all(&s->tx);
    mux_held_changed(s->mux, s, before);
    datagram_drop_all(s);
    free(s->frame);
    s->frame = NULL;
    s->owed = 0;
    s->is_credit_lazy = false;
}

static void drop_received(struct mux_stream *s)
{
    size_t before = stream_held(s);

    chunk_queue_drop_all(&s->rx);
    mux_held_changed(s->mux, s, before);
}

static void take_reset(struct mux_stream *s, const struct why *w, bool is_now)
{
    bool was_reset = s->state == STREAM_RESETTING && !(s->owed & OWE_RESET);

    if (!stream_step(s, STREAM_EV_PEER_RESET))
        return;
    moot(s);
    list_remove(&s->starved);
    s->is_peer_reset = true;
    if (!was_reset || !s->is_entry) {       /* where two cross, the entry's stands */
        s->how = (uint16_t)w->reason;
        stream_text_set(s, w->text);
    }
    if (is_now)
        drop_received(s);
    stream_owe(s, s->is_entry ? OWE_END : OWE_CREDIT);
    stream_check_drained(s);
}

static void on_reset(struct mux_stream *s, const struct frame *f)
{
    bool is_now = f->flags & FRAME_RESET_NOW, was_reset = s->state == STREAM_RESETTING;
    uint64_t final_offset = 0;
    struct why w = { 0 };

    if (reset_decode(f->payload, &final_offset, &w))
        stream_fault(s, "RESET: length or tags");
    else if (!is_now && !was_reset && final_offset < s->rx_received)
        stream_fault(s, "RESET before what came");
    else if (!is_now && !was_reset && final_offset > s->rx_received)
        stream_detach(s, REASON_GAP, "RESET", 0);
    else
        take_reset(s, &w, is_now);
}

static void on_end(struct mux_stream *s, const struct frame *f)
{
    bool is_right = !s->is_entry && frame_end_read(f->payload) == 0 &&
                    (s->state == STREAM_FIN_BOTH || s->state == STREAM_RESETTING ||
                     s->state == STREAM_BROKEN);

    if (!is_right) {
        stream_fault(s, "END before all was settled");
        if (!s->is_entry)
            stream_settle(s);       /* the entry has forgotten it: no answer will come */
        return;
    }
    if (s->state == STREAM_RESETTING && !(f->flags & FRAME_END_RESET))
        s->how = REASON_NONE;       /* it was complete before our RESET came */
    stream_settle(s);
}

/* --- paths -------------------------------------------------------------------------------- */
static void on_detach(struct mux_stream *s, const struct frame *f)
{
    struct why w;

    if (why_decode(f->payload, &w))
        stream_fault(s, "DETACH: tags");
    else
        stream_lost(s, w.ms < MUX_RETRY_MAX_MS ? w.ms : MUX_RETRY_MAX_MS);
}

static void (*const stream_frames[])(struct mux_stream *, const struct frame *) = {
    [FRAME_OPEN_OK & 0x3f] = on_open_ok,      [FRAME_OPEN_ERR & 0x3f] = on_open_err,
    [FRAME_DATA & 0x3f] = on_data,            [FRAME_CREDIT & 0x3f] = on_credit,
    [FRAME_FIN & 0x3f] = on_fin,              [FRAME_RESET & 0x3f] = on_reset,
    [FRAME_END & 0x3f] = on_end,              [FRAME_DETACH & 0x3f] = on_detach,
    [FRAME_ATTACH_OK & 0x3f] = move_on_attach_ok,
    [FRAME_ATTACH_ERR & 0x3f] = move_on_attach_err,
    [FRAME_DATAGRAM & 0x3f] = on_datagram,
};

static void on_unknown(struct mux_stream *s, const struct frame *f)
{
    s->mux->stats.unknown_frames++;
    if (f->type & FRAME_BIT_CRITICAL)
        stream_fault(s, "an unknown critical frame");
    else
        link_idle_frame(s->link);
}

/* Whoever speaks on has the answer: it need not be said again. */
static void answer_is_seen(struct mux_stream *s, const struct frame *f)
{
    if (s->is_entry || !s->frame || s->owed & OWE_ANSWER || f->type == FRAME_DETACH)
        return;
    free(s->frame);
    s->frame = NULL;
}

static bool is_before_attach_ok(const struct mux_stream *s, const struct frame *f)
{
    return s->is_attaching && f->type != FRAME_ATTACH_OK && f->type != FRAME_ATTACH_ERR &&
           f->type != FRAME_DETACH;
}

void stream_take(struct leg *g, const struct frame *f)
{
    struct mux_stream *s = stream_of(g);
    unsigned index = f->type & 0x3f;

    if (!move_is_id_known(s)) {
        link_fail(s->link, REASON_PROTOCOL_ERROR, "a frame on a stream whose OPEN has not left yet");
        return;
    }
    if (is_before_attach_ok(s, f)) {
        stream_fault(s, "a frame before ATTACH_OK");
        return;
    }
    answer_is_seen(s, f);

    if (!(f->type & FRAME_BIT_CRITICAL) && index < ARRAY_LEN(stream_frames) &&
        stream_frames[index])
        stream_frames[index](s, f);
    else
        on_unknown(s, f);
}

/* An id that was used and is no more: what was under way when the stream ended.  No credit bounds
 * how many DATAGRAMs that are, and whoever floods with them could as well do so on a living one. */
static void on_late(struct mux_link *l, const struct frame *f)
{
    bool is_ours = (f->stream & 1) == (l->next_id & 1);

    if (is_ours ? f->stream >= l->next_id : f->stream > l->peer_id) {
        link_fail(l, REASON_PROTOCOL_ERROR, "a frame on a stream that was never opened");
        return;
    }
    l->mux->stats.late_frames++;
    if (f->payload.n < MUX_LATE_SMALL && f->type != FRAME_DATAGRAM)
        link_idle_frame(l);
}

static void begin_stream(struct mux_link *l, const struct frame *f)
{
    if (!is_new_id(l, f->stream)) {
        link_fail(l, REASON_PROTOCOL_ERROR, "a stream id that does not rise");
        return;
    }
    peer_used(l, f->stream);
    if (hop_begin(l, f))
        return;
    if (f->type == FRAME_OPEN)
        on_open(l, f);
    else
        move_on_attach(l, f);
}

void stream_frame(struct mux_link *l, const struct frame *f)
{
    struct map_node *node;
    struct leg *g;

    if (f->type == FRAME_OPEN || f->type == FRAME_ATTACH) {
        begin_stream(l, f);
        return;
    }
    node = map_find(&l->by_id, span_of(&f->stream, sizeof(f->stream)));
    if (!node) {
        on_late(l, f);
        return;
    }
    g = container_of(node, struct leg, by_id);
    leg_class(g)->take(g, f);
}
