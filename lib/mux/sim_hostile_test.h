#pragma once
#include "lib/mux/sim_lanes_test.h"
/*
 * sim_hostile_test.h - frames that no honest peer would send, put into a lane of the simulation
 * before one of its ends, and what that end must make of each.
 *
 * A trick knows the state of the end that it is played on, so that it can be wrong by one byte.
 * The verdict is checked at once: the bytes, the path and the state afterwards.
 */
enum verdict {
    VERDICT_IGNORED,                /* nothing changes */
    VERDICT_BREAKS,                 /* the stream ends, protocol-error */
    VERDICT_DETACHES,               /* the path is lost, the stream and its bytes stay */
    VERDICT_REFUSED,                /* a frame with an id of its own: the answer says why */
    VERDICT_LINK_ENDS,
};

struct trick {
    const char *it;
    int end;                        /* on whom it is played; -1: on either */
    bool (*put)(struct mux_stream *s, struct buf *out);     /* false: not now */
    enum verdict verdict;
    enum reason why;
};

static bool is_trick_on_attaching;  /* the trick wants a stream that waits for ATTACH_OK */

/* --- frames -------------------------------------------------------------------------------- */
static inline bool is_receiving(const struct mux_stream *s)
{
    return stream_state_is_receiving((enum stream_state)s->state);
}

static inline void put_data(struct mux_stream *s, struct buf *out, uint64_t offset, size_t n)
{
    frame_header_put(out, FRAME_DATA, 0, FRAME_OFFSET_LEN + n, s->id);
    buf_put_u64(out, offset);
    while (n--)
        buf_put_u8(out, (uint8_t)rnd());
}

static inline bool put_gap(struct mux_stream *s, struct buf *out)
{
    uint64_t room = s->rx_limit - s->rx_received;

    if (!is_receiving(s) || room < 2)
        return false;
    put_data(s, out, s->rx_received + 1 + below(room - 1 < 100 ? (unsigned)(room - 1) : 100), 1);
    return true;
}

static inline bool put_overrun(struct mux_stream *s, struct buf *out)
{
    put_data(s, out, s->rx_limit, 1 + below(9));
    return is_receiving(s);
}

static inline bool put_straddling(struct mux_stream *s, struct buf *out)
{
    uint64_t room = s->rx_limit - s->rx_received;

    if (!is_receiving(s) || room > 1000)
        return false;
    put_data(s, out, s->rx_received, (size_t)room + 1);
    return true;
}

static inline bool put_again(struct mux_stream *s, struct buf *out)
{
    size_t n = s->rx_received < 500 ? (size_t)s->rx_received : 500;

    if (n == 0)
        return false;
    put_data(s, out, s->rx_received - n, 1 + below((unsigned)n));
    return true;
}

static inline bool put_data_after_fin(struct mux_stream *s, struct buf *out)
{
    put_data(s, out, s->rx_received, 1);
    return s->is_fin_seen;
}

static inline bool put_no_data(struct mux_stream *s, struct buf *out)
{
    put_data(s, out, s->rx_received, 0);
    return true;
}

static inline bool put_fin_below(struct mux_stream *s, struct buf *out)
{
    frame_fin_put(out, s->id, s->rx_received - 1);
    return is_receiving(s) && s->rx_received;
}

static inline bool put_fin_gap(struct mux_stream *s, struct buf *out)
{
    frame_fin_put(out, s->id, s->rx_received + 1 + below(3));
    return is_receiving(s);
}

static inline bool put_fin_twice(struct mux_stream *s, struct buf *out)
{
    frame_fin_put(out, s->id, s->rx_received);
    return s->is_fin_seen;
}

static inline void put_reset(struct mux_stream *s, struct buf *out, uint64_t final_offset)
{
    unsigned char mem[64];
    const struct why why = { REASON_TARGET_RESET, SPAN_NONE, 0 };
    struct buf payload;

    buf_init_fixed(&payload, mem, sizeof(mem));
    reset_encode(&payload, final_offset, &why);
    frame_put(out, FRAME_RESET, 0, s->id, buf_span(&payload));
}

static inline bool put_reset_below(struct mux_stream *s, struct buf *out)
{
    put_reset(s, out, s->rx_received - 1);
    return s->rx_received;
}

static inline bool put_reset_gap(struct mux_stream *s, struct buf *out)
{
    put_reset(s, out, s->rx_received + 1);
    return true;
}

static inline void put_credit(struct mux_stream *s, struct buf *out, uint64_t limit,
                              uint64_t received, uint8_t flags)
{
    frame_credit_put(out, s->id, (struct frame_credit){ limit, received }, flags);
}

static inline bool put_credit_beyond(struct mux_stream *s, struct buf *out)
{
    put_credit(s, out, s->tx_limit + 2, s->tx_sent + 1 + below(2), 0);
    return true;
}

static inline bool put_credit_lower(struct mux_stream *s, struct buf *out)
{
    uint64_t n = s->tx_acked ? below(2) : 0;

    put_credit(s, out, n, n, 0);
    return true;
}

static inline bool put_credit_no_fin(struct mux_stream *s, struct buf *out)
{
    put_credit(s, out, s->tx_limit, s->tx_acked, FRAME_CREDIT_FIN);
    return s->state == STREAM_OPEN || s->state == STREAM_FIN_IN;
}

static inline bool put_credit_fin_short(struct mux_stream *s, struct buf *out)
{
    put_credit(s, out, s->tx_limit, s->tx_acked, FRAME_CREDIT_FIN);
    return s->state == STREAM_FIN_OUT && s->tx_acked < s->tx_end;
}

static inline bool put_end(struct mux_stream *s, struct buf *out)
{
    frame_put(out, FRAME_END, 0, s->id, SPAN_NONE);
    return s->state != STREAM_FIN_BOTH;
}

static inline bool put_bare(struct mux_stream *s, struct buf *out, uint8_t type)
{
    frame_put(out, type, 0, s->id, SPAN_NONE);
    return true;
}

static inline bool put_open_ok(struct mux_stream *s, struct buf *out)
{
    return put_bare(s, out, FRAME_OPEN_OK);
}

static inline bool put_open_err(struct mux_stream *s, struct buf *out)
{
    return put_bare(s, out, FRAME_OPEN_ERR);
}

static inline bool put_attach_ok(struct mux_stream *s, struct buf *out)
{
    return put_bare(s, out, FRAME_ATTACH_OK);
}

static inline bool put_attach_err(struct mux_stream *s, struct buf *out)
{
    return put_bare(s, out, FRAME_ATTACH_ERR);
}

/* The target side does not know of it: it waits until the entry attaches, which it does unless it
 * dies or a thief stands in for it. */
static inline bool put_detach(struct mux_stream *s, struct buf *out)
{
    return !sim.is_harsh && put_bare(s, out, FRAME_DETACH);
}

static inline bool put_unknown(struct mux_stream *s, struct buf *out)
{
    return put_bare(s, out, 0x7e);
}

static inline bool put_critical(struct mux_stream *s, struct buf *out)
{
    return put_bare(s, out, 0xfe);
}

static inline bool put_late(struct mux_stream *s, struct buf *out)
{
    for (uint32_t id = s->link->peer_id & 1; id < s->link->peer_id; id += 2) {
        if (!id || map_find(&s->link->by_id, span_of(&id, sizeof(id))))
            continue;
        frame_fin_put(out, id, 0);
        return true;
    }
    return false;
}

static inline bool put_never_opened(struct mux_stream *s, struct buf *out)
{
    frame_fin_put(out, s->link->peer_id + 2000, 0);
    return one_in(3);
}

/* --- frames that bring an id ----------------------------------------------------------------- */
/* The peer's own next one, when none is on its way; it has used it then. */
static inline bool take_id(struct mux_stream *s, uint32_t *ret_id)
{
    struct lane *lane = s->link->user;
    struct mux_link *peer = lane->link[s->is_entry ? TARGET : ENTRY];

    if (peer->next_id != s->link->peer_id + 2 ||
        (0xffffffffu - peer->next_id) / 2 < MUX_IDS_LEFT)
        return false;
    *ret_id = peer->next_id;
    peer->next_id += 2;
    return true;
}

static inline void prove_it(const struct mux_stream *s, const char *label, uint32_t path,
                            uint64_t received, unsigned char ret_proof[16])
{
    unsigned char mem[64], mac[32];
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    buf_put_span(&b, span_str(label));
    buf_put(&b, s->uid, sizeof(s->uid));
    buf_put_u32(&b, path);
    buf_put_u64(&b, received);
    sim_mac(s->secret, buf_span(&b), mac);
    memcpy(ret_proof, mac, 16);
}

static inline bool put_attach(struct mux_stream *s, struct buf *out, uint32_t path,
                              uint64_t received, bool is_fin_seen, bool is_proved)
{
    unsigned char proof[16];
    struct frame_attach a = {
        .uid = span_of(s->uid, sizeof(s->uid)), .path = path, .received = received,
        .limit = s->tx_limit > received ? s->tx_limit : received, .is_fin_seen = is_fin_seen, .proof = span_of(proof, sizeof(proof)),
        .boot_id = span_str(sim.boot_id[TARGET]),
    };
    uint32_t id = s->id;

    prove_it(s, s->is_entry ? "attach-ok" : "attach", path, received, proof);
    proof[below(16)] ^= (unsigned char)(is_proved ? 0 : 1 << below(8));
    if (!s->is_entry && !take_id(s, &id))
        return false;
    frame_attach_put(out, s->is_entry ? FRAME_ATTACH_OK : FRAME_ATTACH, id, &a);
    return true;
}

static inline bool put_attach_unproved(struct mux_stream *s, struct buf *out)
{
    return put_attach(s, out, s->path + 1, s->tx_acked, false, false);
}

static inline bool put_attach_old(struct mux_stream *s, struct buf *out)
{
    return put_attach(s, out, s->path > 1 ? s->path - below(2) : 1, s->tx_acked, false, true);
}

static inline bool put_attach_beyond(struct mux_stream *s, struct buf *out)
{
    return put_attach(s, out, s->path + 1 + below(2), s->tx_sent + 1, false, true);
}

static inline bool put_attach_below(struct mux_stream *s, struct buf *out)
{
    return s->tx_acked && put_attach(s, out, s->path + 1, s->tx_acked - 1, false, true);
}

static inline bool put_attach_fin(struct mux_stream *s, struct buf *out)
{
    return (s->state == STREAM_OPEN || s->state == STREAM_FIN_IN) &&
           put_attach(s, out, s->path + 1, s->tx_acked, true, true);
}

static inline bool put_attach_unknown(struct mux_stream *s, struct buf *out)
{
    struct mux_stream other = *s;

    other.uid[5] ^= 1;
    return put_attach(&other, out, s->path + 1, s->tx_acked, false, true);
}

static inline bool put_attach_cut(struct mux_stream *s, struct buf *out)
{
    uint32_t id;

    if (!take_id(s, &id))
        return false;
    frame_put(out, FRAME_ATTACH, 0, id, SPAN("0123456789"));
    return true;
}

static inline bool put_open_again(struct mux_stream *s, struct buf *out)
{
    struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = 1, .path = s->path + 1,
                             .grace_ms = 60000 };
    unsigned char mem[512];
    struct buf payload;
    uint32_t id;

    if (!credit_first_window(s->mux) || !take_id(s, &id))
        return false;               /* without memory nobody looks that far */
    memcpy(open.uid, s->uid, sizeof(open.uid));         /* the uid, without the secret */
    buf_init_fixed(&payload, mem, sizeof(mem));
    open_encode(&payload, &open, 1000);
    frame_put(out, FRAME_OPEN, 0, id, buf_span(&payload));
    return true;
}

/* --- answers to our ATTACH ------------------------------------------------------------------- */
static inline bool put_answer_unproved(struct mux_stream *s, struct buf *out)
{
    return put_attach(s, out, s->path, s->tx_acked, false, false);
}

static inline bool put_answer_other_path(struct mux_stream *s, struct buf *out)
{
    return put_attach(s, out, s->path + 1, s->tx_acked, false, true);
}

static inline bool put_answer_beyond(struct mux_stream *s, struct buf *out)
{
    return put_attach(s, out, s->path, s->tx_sent + 1, false, true);
}

static inline bool put_before_answer(struct mux_stream *s, struct buf *out)
{
    put_data(s, out, s->rx_received, 1);
    return true;
}

static const struct trick tricks[] = {
    { "DATA after a gap", -1, put_gap, VERDICT_DETACHES, REASON_GAP },
    { "DATA from the limit on", -1, put_overrun, VERDICT_BREAKS, 0 },
    { "DATA across the limit", -1, put_straddling, VERDICT_BREAKS, 0 },
    { "DATA again, with other bytes", -1, put_again, VERDICT_IGNORED, 0 },
    { "DATA after FIN", -1, put_data_after_fin, VERDICT_BREAKS, 0 },
    { "DATA without bytes", -1, put_no_data, VERDICT_BREAKS, 0 },
    { "FIN below what came", -1, put_fin_below, VERDICT_BREAKS, 0 },
    { "FIN after a gap", -1, put_fin_gap, VERDICT_DETACHES, REASON_GAP },
    { "FIN twice", -1, put_fin_twice, VERDICT_BREAKS, 0 },
    { "RESET below what came", -1, put_reset_below, VERDICT_BREAKS, 0 },
    { "RESET after a gap", -1, put_reset_gap, VERDICT_DETACHES, REASON_GAP },
    { "CREDIT for bytes never sent", -1, put_credit_beyond, VERDICT_BREAKS, 0 },
    { "CREDIT that goes back", -1, put_credit_lower, VERDICT_IGNORED, 0 },
    { "CREDIT for a FIN never sent", -1, put_credit_no_fin, VERDICT_BREAKS, 0 },
    { "CREDIT for a FIN, not its bytes", -1, put_credit_fin_short, VERDICT_BREAKS, 0 },
    { "END too early", TARGET, put_end, VERDICT_BREAKS, 0 },
    { "OPEN_OK unasked", -1, put_open_ok, VERDICT_BREAKS, 0 },
    { "OPEN_ERR after OPEN_OK", -1, put_open_err, VERDICT_BREAKS, 0 },
    { "ATTACH_OK unasked", -1, put_attach_ok, VERDICT_BREAKS, 0 },
    { "ATTACH_ERR unasked", -1, put_attach_err, VERDICT_BREAKS, 0 },
    { "DETACH for nothing", ENTRY, put_detach, VERDICT_DETACHES, 0 },
    { "an unknown frame", -1, put_unknown, VERDICT_IGNORED, 0 },
    { "an unknown critical frame", -1, put_critical, VERDICT_BREAKS, 0 },
    { "a frame on an id that is over", TARGET, put_late, VERDICT_IGNORED, 0 },
    { "a frame on an id never opened", TARGET, put_never_opened, VERDICT_LINK_ENDS, 0 },
    { "ATTACH, wrong proof", TARGET, put_attach_unproved, VERDICT_REFUSED, REASON_BAD_PROOF },
    { "ATTACH, old path", TARGET, put_attach_old, VERDICT_REFUSED, REASON_STALE_PATH },
    { "ATTACH, no such stream", TARGET, put_attach_unknown, VERDICT_REFUSED, REASON_UNKNOWN_STREAM },
    { "ATTACH that is cut", TARGET, put_attach_cut, VERDICT_REFUSED, REASON_PROTOCOL_ERROR },
    { "ATTACH, received never sent", TARGET, put_attach_beyond, VERDICT_BREAKS, 0 },
    { "ATTACH, received goes back", TARGET, put_attach_below, VERDICT_BREAKS, 0 },
    { "ATTACH, FIN never sent", TARGET, put_attach_fin, VERDICT_BREAKS, 0 },
    { "OPEN again, wrong secret", TARGET, put_open_again, VERDICT_REFUSED, REASON_STALE_PATH },
};

static const struct trick answer_tricks[] = {
    { "ATTACH_OK, wrong proof", ENTRY, put_answer_unproved, VERDICT_DETACHES, REASON_BAD_PROOF },
    { "ATTACH_OK, another path", ENTRY, put_answer_other_path, VERDICT_DETACHES, REASON_BAD_PROOF },
    { "ATTACH_OK, received never sent", ENTRY, put_answer_beyond, VERDICT_BREAKS, 0 },
    { "DATA before ATTACH_OK", ENTRY, put_before_answer, VERDICT_BREAKS, 0 },
};

static uint64_t played[ARRAY_LEN(tricks)], answer_played[ARRAY_LEN(answer_tricks)];

/* --- playing one ------------------------------------------------------------------------------ */
struct snap {
    struct mux_link *link;
    uint64_t rx_received, tx_acked, tx_sent, tx_limit;
    uint32_t id, path;
    uint8_t state;
    unsigned char uid[MUX_UID_LEN];
};

static inline struct snap snap_of(const struct mux_stream *s)
{
    struct snap snap = { s->link, s->rx_received, s->tx_acked, s->tx_sent, s->tx_limit,
                         s->id, s->path, s->state, { 0 } };

    memcpy(snap.uid, s->uid, sizeof(snap.uid));
    return snap;
}

static inline void expect(bool is_so, const struct trick *trick, const char *what)
{
    if (!is_so)
        fail_msg("seed %lu: %s: %s", sim.seed, trick->it, what);
}

static inline void check_untouched(const struct trick *trick, const struct snap *a,
                                   const struct mux_stream *s)
{
    expect(s, trick, "the stream is gone");
    expect(s->rx_received == a->rx_received, trick, "bytes were taken");
    expect(s->tx_acked == a->tx_acked && s->tx_sent == a->tx_sent, trick, "bytes were forgotten");
    expect(s->state == a->state, trick, "the state changed");
    expect(s->path == a->path || trick->verdict == VERDICT_DETACHES, trick, "the path changed");
}

static inline void check_refused(const struct trick *trick, const struct mux_link *l)
{
    const struct list *node = l->refusals.prev;
    const struct refusal *refusal = container_of(node, struct refusal, node);

    expect(node != &l->refusals && refusal->id == l->peer_id && refusal->reason == trick->why, trick,
           "it was not refused");
}

static inline void check_verdict(const struct trick *trick, const struct snap *before, struct mux *m,
                                 const struct mux_link *l)
{
    struct map_node *node = map_find(&m->by_uid, span_of(before->uid, sizeof(before->uid)));
    const struct mux_stream *s = node ? container_of(node, struct mux_stream, by_uid) : NULL;

    switch (trick->verdict) {
    case VERDICT_IGNORED:
    case VERDICT_REFUSED:
        check_untouched(trick, before, s);
        expect(s->link == before->link && s->id == before->id, trick, "the path changed");
        expect(s->tx_limit == before->tx_limit, trick, "the limit changed");
        if (trick->verdict == VERDICT_REFUSED)
            check_refused(trick, l);
        return;
    case VERDICT_DETACHES:
        check_untouched(trick, before, s);
        expect(s->is_lost && (!s->link || s->id != before->id), trick, "the path is still there");
        return;
    case VERDICT_BREAKS:
        expect(!s || (s->state == STREAM_RESETTING && s->how == REASON_PROTOCOL_ERROR), trick,
               "the stream goes on");
        return;
    case VERDICT_LINK_ENDS:
        expect(mux_link_state(l) == MUX_LINK_CLOSED, trick, "the link goes on");
    }
}

/* A stream of the lane's end on which such a trick can be played. */
static inline struct mux_stream *victim(struct mux_link *l)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;
    struct mux_stream *found = NULL;

    while ((node = map_next(&l->by_id, &cursor))) {
        struct mux_stream *s = stream_of(container_of(node, struct leg, by_id));
        bool is_living = s && (s->state == STREAM_OPEN || s->state == STREAM_FIN_IN ||
                               s->state == STREAM_FIN_OUT ||
                               (s->state == STREAM_FIN_BOTH && !s->fin_acked));
        bool is_waiting = s && s->is_attaching && !(s->owed & OWE_ATTACH);

        if (!s || (!s->is_entry && s->frame))
            continue;               /* the entry does not know yet that it may speak */
        if (!is_living || !stream_may_move(s) || (is_trick_on_attaching ? !is_waiting : s->is_lost))
            continue;
        if (!found || one_in(3))
            found = s;
    }
    return found;
}

static inline bool lane_is_whole(const struct lane *lane, int end)
{
    const struct mux_link *l = lane->link[end];
    const struct list *node = list_first(&lane->in[end]);

    return l && lane->link[!end] && !lane->is_silent && !lane_is_dying(lane) &&
           !lane->has_failed[end] && !l->cut && !l->is_in_message && l->state == MUX_LINK_OPEN &&
           (!node || container_of(node, struct message, node)->taken == 0);
}

static inline bool play(const struct trick *trick, struct lane *lane, struct mux_stream *s,
                        void (*harm)(struct mux_stream *))
{
    static unsigned char mem[4096];
    struct mux_link *l = s->link;
    struct mux *m = s->mux;
    struct snap before;
    struct buf out;

    if (trick->end >= 0 && trick->end != (s->is_entry ? ENTRY : TARGET))
        return false;
    buf_init_fixed(&out, mem, sizeof(mem));
    if (!trick->put(s, &out))
        return false;
    assert_int_equal(buf_error(&out), 0);
    before = snap_of(s);
    if (getenv("ADIT_SEED"))
        print_message("%lu ms: %s, at the %s of stream %u\n", sim.now_ms, trick->it,
                      s->is_entry ? "entry" : "target", s->uid[1]);
    if (trick->verdict == VERDICT_BREAKS)
        harm(s);
    lane->is_tricked = trick->verdict == VERDICT_LINK_ENDS;
    sim.is_playing = true;
    (void)!mux_link_take(l, buf_span(&out), true, sim.now_ms);
    sim.is_playing = false;
    check_verdict(trick, &before, m, l);
    lane->next_tick_ms[l == lane->link[TARGET]] = 0;
    sim.has_moved = true;
    return true;
}

/* Plays one trick somewhere; `harm` hears of the stream that it will break. */
static inline void hostile_step(void (*harm)(struct mux_stream *))
{
    struct lane *lane = lane_random(true);
    int end = (int)below(2);
    struct mux_stream *s;
    size_t i;

    is_trick_on_attaching = one_in(3);
    if (!lane || !lane_is_whole(lane, end) || !(s = victim(lane->link[end])))
        return;
    if (is_trick_on_attaching) {
        i = below(ARRAY_LEN(answer_tricks));
        answer_played[i] += play(&answer_tricks[i], lane, s, harm);
    } else {
        i = below(ARRAY_LEN(tricks));
        played[i] += play(&tricks[i], lane, s, harm);
    }
}
