#pragma once
#include "lib/mux/sim_hostile_test.h"
/*
 * sim_holder_test.h - the holders of the simulation: what they answer to OPEN and ATTACH, what must
 * hold of their hops at every moment and of every message that they make; frames and flags of a
 * later release that they have to pass on unread; hostile frames from either side.
 */
#define STRANGE_TYPE 0x7d
#define STRANGE_FLAG 0x20           /* on the DATA of every other id */
#define STRANGE_HEAD 16             /* serial number, offset of the bytes before it */

static struct mux_holder_stats held_total;
static struct { uint64_t ended, strange_sent, strange_met, flags_met, floods, large; } hop_tally;
static uint64_t strange_serial;

/* --- holders ------------------------------------------------------------------------------- */
static inline struct mux_link *lower_link(struct mux_link *from)
{
    const struct lane *upper = from->user;

    for (int i = 0, start = (int)below(LANES_MAX); i < LANES_MAX; i++) {
        const struct lane *lane = &sim.lanes[(start + i) % LANES_MAX];

        if (lane->group == upper->group + 1 && lane->link[ENTRY] &&
            mux_link_state(lane->link[ENTRY]) == MUX_LINK_OPEN)
            return lane->link[ENTRY];
    }
    return NULL;
}

static inline enum reason on_route(void *user, struct mux_link *from, const struct mux_asked *asked,
                                   struct mux_route *route)
{
    assert_int_equal(asked->uid.n, MUX_UID_LEN);
    if (lane_is_lower(user))
        return REASON_NOT_HERE;     /* a probe of the target side: any answer is one */
    route->to = lower_link(from);
    route->owner[MUX_TO_ENTRY] = below(3);
    if (asked->is_attach || asked->kind != MUX_KIND_PROBE)
        route->user = (void *)(uintptr_t)((unsigned char)asked->uid.p[1] + 1u);
    return route->to ? REASON_NONE : REASON_RELAY_DRAINING;
}

static inline void on_hop_ended(void *user, struct mux_hop *hop, enum reason why)
{
    (void)user;
    assert_true(hop->is_ended && why < REASON_COUNT);
    hop_tally.ended++;
}

static inline void holder_start(unsigned i)
{
    struct mux_config config = { .is_accepting = true, .random_seed = sim.seed };

    check_alloc_fail(0);
    (void)snprintf(sim.boot_id[HOLDER + i], sizeof(sim.boot_id[0]), "h%u", ++sim.boots[HOLDER + i]);
    sim.holder[i] = mux_holder_new(&sim.holder_config);
    assert_non_null(sim.holder[i]);
    config.holder = sim.holder[i];
    sim.switch_mux[i] = mux_new(&config, &sim.switch_on);
    assert_non_null(sim.switch_mux[i]);
}

static inline void add_held(const struct mux_holder_stats *s)
{
    held_total.split += s->split;
    held_total.credits += s->credits;
    held_total.limits_held += s->limits_held;
    held_total.limits_pressed += s->limits_pressed;
    held_total.detaches += s->detaches;
    held_total.resets += s->resets;
    held_total.gaps += s->gaps;
    held_total.faults += s->faults;
    held_total.overloads += s->overloads;
    held_total.unknown_frames += s->unknown_frames;
    held_total.late_frames += s->late_frames;
    held_total.hops_refused += s->hops_refused;
    held_total.datagrams_dropped += s->datagrams_dropped;
    held_total.faded += s->faded;
    held_total.bytes[0] += s->bytes[0];
    held_total.bytes[1] += s->bytes[1];
}

static inline void holder_stop(unsigned i)
{
    const struct mux_holder_stats *stats = mux_holder_stats(sim.holder[i]);

    if (!sim.is_hostile && !sim.is_starved && (stats->gaps || stats->faults))
        fail_msg("seed %lu: the holder saw %lu gaps, %lu faults of honest ends", sim.seed,
                 stats->gaps, stats->faults);
    node_cut(HOLDER + (int)i);
    mux_free(TAKE(sim.switch_mux[i]));
    assert_int_equal(stats->hops, 0);
    assert_int_equal(stats->held_bytes, 0);
    assert_int_equal(stats->promised_bytes, 0);
    add_held(stats);
    mux_holder_free(TAKE(sim.holder[i]));
}

static inline void holder_restart(void)
{
    unsigned i = below(sim.holders);

    faults[FAULT_HOLDER_RESTART]++;
    holder_stop(i);
    holder_start(i);
}

static inline bool holders_are_empty(void)
{
    for (unsigned i = 0; i < sim.holders; i++) {
        if (mux_holder_stats(sim.holder[i])->hops)
            return false;
    }
    return true;
}

/* --- what must hold of hops ------------------------------------------------------------------ */
struct sums { size_t held, promised, sides; };

static inline void check_side(const struct side *y, const struct mux_holder *h, struct sums *sums)
{
    bool is_right = y->acked <= y->handed && y->handed <= y->received && y->received <= y->told &&
                    (y->told <= y->limit || y->told == y->received);

    if (!is_right)
        fail_msg("seed %lu: a hop: acked %lu handed %lu received %lu told %lu limit %lu", sim.seed,
                 y->acked, y->handed, y->received, y->told, y->limit);
    if (y->told - y->handed > h->config.window)
        fail_msg("seed %lu: %lu bytes could wait in a hop", sim.seed, y->told - y->handed);
    if (y->bytes.len != y->received - y->handed)
        fail_msg("seed %lu: %u bytes wait, not %lu", sim.seed, y->bytes.len,
                 y->received - y->handed);
    if (y->frames_cost > HOP_FRAMES_MAX || y->datagrams_cost > HOP_FRAMES_MAX)
        fail_msg("seed %lu: %u bytes of frames wait", sim.seed, y->frames_cost + y->datagrams_cost);
    sums->held += side_held(y);
    sums->promised += y->promised;
    sums->sides++;
}

static inline void check_holder(unsigned i)
{
    const struct mux_holder_stats *stats = mux_holder_stats(sim.holder[i]);
    struct sums sums = { 0 };

    for (int n = 0; n < 2 * LANES_MAX; n++) {
        const struct lane *lane = &sim.lanes[n / 2];
        struct map_cursor cursor = { 0 };
        struct map_node *node;

        if (!lane->link[n % 2] || node_of(lane, n % 2) != HOLDER + (int)i)
            continue;
        while ((node = map_next(&lane->link[n % 2]->by_id, &cursor)))
            check_side(side_of(container_of(node, struct leg, by_id)), sim.holder[i], &sums);
    }
    assert_int_equal(stats->held_bytes, sums.held);
    assert_int_equal(stats->promised_bytes, sums.promised);
    assert_true(stats->hops <= sums.sides && sums.sides <= 2 * stats->hops);
    assert_true(stats->held_bytes <= sim.holder[i]->config.memory_limit);
}

static inline void check_holders(void)
{
    for (unsigned i = 0; i < sim.holders; i++)
        check_holder(i);
}

/* --- what must hold of what they say ---------------------------------------------------------- */
static inline struct side *side_at(const struct mux_link *l, uint32_t id)
{
    struct map_node *node = map_find(&l->by_id, span_of(&id, sizeof(id)));

    return node ? side_of(container_of(node, struct leg, by_id)) : NULL;
}

static inline struct mux_stream *stream_at(const struct mux *m, const struct side *y)
{
    unsigned char uid[MUX_UID_LEN] = { 1, (unsigned char)((uintptr_t)y->hop->user - 1) };
    struct map_node *node = m ? map_find(&m->by_uid, span_of(uid, sizeof(uid))) : NULL;

    return node ? container_of(node, struct mux_stream, by_uid) : NULL;
}

/* A holder tells of bytes only what the end that has them has told. */
static inline void check_received(const struct side *y, uint64_t received)
{
    struct mux_stream *s = stream_at(sim.mux[y->is_target ? ENTRY : TARGET], y);

    if (!s && y->is_target)
        s = stream_at(sim.twin, y);
    if (s && y->hop->user && !sim.is_harsh && !sim.is_hostile && received > s->rx_received)
        fail_msg("seed %lu: the holder acknowledges %lu bytes, the end has %lu", sim.seed, received,
                 s->rx_received);
}

static inline void watch_credit(struct seen *seen, const struct side *y, const struct frame *f)
{
    struct frame_credit c;

    assert_int_equal(frame_credit_read(f->payload, &c), 0);
    if (c.limit < seen->limit)
        fail_msg("seed %lu: a limit of %lu after %lu", sim.seed, c.limit, seen->limit);
    seen->limit = c.limit;
    if (y)
        check_received(y, c.received);
}

static inline void watch_data(struct seen *seen, const struct side *y, const struct frame *f)
{
    bool must = y && other_side((struct side *)y)->id / 2 % 2;
    struct frame_data d;

    assert_int_equal(frame_data_read(f->payload, &d), 0);
    seen->data_end = d.offset + d.bytes.n;
    if (y && must != !!(f->flags & STRANGE_FLAG))
        fail_msg("seed %lu: flags of DATA: %02x", sim.seed, f->flags);
    hop_tally.flags_met += must;
}

static inline unsigned char strange_byte(uint64_t serial, size_t i)
{
    return (unsigned char)(serial * 31 + i);
}

static inline void watch_strange(struct seen *seen, const struct frame *f)
{
    struct reader r;
    uint64_t serial, at;

    reader_init(&r, f->payload);
    serial = read_u64(&r);
    at = read_u64(&r);
    if (serial <= seen->strange || f->flags != (uint8_t)serial)
        fail_msg("seed %lu: strange frame %lu after %lu", sim.seed, serial, seen->strange);
    if (seen->data_end > at)
        fail_msg("seed %lu: bytes have overtaken a frame", sim.seed);
    for (size_t i = STRANGE_HEAD; i < f->payload.n; i++)
        assert_int_equal((unsigned char)f->payload.p[i], strange_byte(serial, i));
    seen->strange = serial;
    hop_tally.strange_met++;
}

static inline void watch_holder(struct lane *lane, const struct mux_link *l, const struct frame *f)
{
    struct seen *seen = &lane->seen[f->stream / 2 % ARRAY_LEN(lane->seen)];
    const struct side *y = side_at(l, f->stream);

    if (seen->id != f->stream)
        *seen = (struct seen){ .id = f->stream };
    if (f->type == FRAME_CREDIT)
        watch_credit(seen, y, f);
    if (f->type == FRAME_DATA)
        watch_data(seen, y, f);
    if (f->type == STRANGE_TYPE)
        watch_strange(seen, f);
}

/* Of a message that has just been made; what an end sends gets its flags here. */
static inline void watch(struct lane *lane, int from, unsigned char *bytes, size_t n)
{
    const struct mux_link *l = lane->link[from];
    struct span rest = span_of(bytes, n);
    struct frame f;

    while (rest.n && l) {
        unsigned char *flags = bytes + (n - rest.n) + 1;

        assert_int_equal(frame_read_upto(rest, l->data_max, &f), 0);
        hop_tally.large += f.type == FRAME_DATA && f.payload.n > FRAME_PAYLOAD_MAX;
        if (node_of(lane, from) >= HOLDER)
            watch_holder(lane, l, &f);
        else if (f.type == FRAME_DATA && f.stream / 2 % 2)
            *flags |= STRANGE_FLAG;
        rest = span_skip(rest, FRAME_HEADER_LEN + f.payload.n);
    }
}

/* --- frames put in before a holder ------------------------------------------------------------ */
/* Else nobody may speak for the entry: it has not heard the answer. */
static inline bool may_speak(const struct lane *lane, const struct side *x)
{
    struct mux_stream *s = stream_at(sim.mux[ENTRY], x);

    if (!s)
        s = stream_at(sim.twin, x);
    return x->is_target || (s && s->link == lane->link[ENTRY] && s->id == x->id && s->is_answered &&
                            !s->is_attaching);
}

static inline struct side *random_side(struct lane *lane, int end)
{
    struct map_cursor cursor = { 0 };
    struct side *found = NULL;
    struct map_node *node;

    while ((node = map_next(&lane->link[end]->by_id, &cursor))) {
        struct side *x = side_of(container_of(node, struct leg, by_id));

        if (x->last || !x->is_introduced || !other_side(x)->link || other_side(x)->last ||
            !x->hop->is_answered || !x->hop->user || !may_speak(lane, x))
            continue;
        if (!found || one_in(3))
            found = x;
    }
    return found;
}

static inline struct side *random_hop(struct lane **ret_lane)
{
    struct lane *lane = &sim.lanes[below(LANES_MAX)];
    int end = lane_is_lower(lane) ? 0 : 1;

    *ret_lane = lane;
    if (!lane->group || !lane->link[end] || !lane_is_whole(lane, end))
        return NULL;
    return random_side(lane, end);
}

static inline void feed(struct lane *lane, struct mux_link *l, struct span bytes)
{
    sim.is_playing = true;
    (void)!mux_link_take(l, bytes, true, sim.now_ms);
    sim.is_playing = false;
    lane->next_tick_ms[l == lane->link[1]] = 0;
    sim.has_moved = true;
}

/* What a later release says: in order, unread, with its flags. */
static inline void strange_step(void)
{
    static unsigned char mem[4096];
    bool is_flood = one_in(20);
    struct lane *lane;
    struct side *x = random_hop(&lane);

    for (unsigned n = is_flood ? 60 : 1 + below(3); n && x && x->link && !x->last; n--) {
        size_t len = STRANGE_HEAD + (is_flood ? 2000 : below(100));
        uint64_t serial = ++strange_serial;
        struct buf out;

        buf_init_fixed(&out, mem, sizeof(mem));
        frame_header_put(&out, STRANGE_TYPE, (uint8_t)serial, len, x->id);
        buf_put_u64(&out, serial);
        buf_put_u64(&out, other_side(x)->received);
        for (size_t i = STRANGE_HEAD; i < len; i++)
            buf_put_u8(&out, strange_byte(serial, i));
        feed(lane, x->link, buf_span(&out));
        hop_tally.strange_sent++;
    }
    hop_tally.floods += is_flood && x;
}

struct hop_trick {
    const char *it;
    bool (*put)(struct side *x, struct buf *out);
    enum verdict verdict;           /* of the holder */
    bool is_for_end;                /* the other end finds it */
};

static inline bool hop_data(struct side *x, struct buf *out, uint64_t offset, size_t n)
{
    frame_header_put(out, FRAME_DATA, 0, FRAME_OFFSET_LEN + n, x->id);
    buf_put_u64(out, offset);
    while (n--)
        buf_put_u8(out, (uint8_t)rnd());
    return true;
}

static inline bool hop_gap(struct side *x, struct buf *out)
{
    const struct side *y = other_side(x);

    return y->told > y->received + 1 && hop_data(x, out, y->received + 1, 1);
}

static inline bool hop_overrun(struct side *x, struct buf *out)
{
    return hop_data(x, out, other_side(x)->told, 1 + below(9));
}

static inline bool hop_again(struct side *x, struct buf *out)
{
    uint64_t received = other_side(x)->received;

    return received && hop_data(x, out, received - 1, 1);
}

static inline bool hop_empty(struct side *x, struct buf *out)
{
    return hop_data(x, out, other_side(x)->received, 0);
}

static inline bool hop_credit(struct side *x, struct buf *out, uint64_t limit, uint64_t received)
{
    frame_credit_put(out, x->id, (struct frame_credit){ limit, received }, 0);
    return true;
}

static inline bool hop_credit_beyond(struct side *x, struct buf *out)
{
    return hop_credit(x, out, x->limit + 2, x->handed + 1);
}

static inline bool hop_credit_back(struct side *x, struct buf *out)
{
    return hop_credit(x, out, 0, 0);
}

static inline bool hop_bare(struct side *x, struct buf *out, uint8_t type)
{
    frame_put(out, type, 0, x->id, SPAN_NONE);
    return true;
}

static inline bool hop_credit_cut(struct side *x, struct buf *out)
{
    return hop_bare(x, out, FRAME_CREDIT);
}

static inline bool hop_open_ok(struct side *x, struct buf *out)
{
    return hop_bare(x, out, FRAME_OPEN_OK);
}

static inline bool hop_attach_ok(struct side *x, struct buf *out)
{
    return hop_bare(x, out, FRAME_ATTACH_OK);
}

static inline bool hop_late(struct side *x, struct buf *out)
{
    for (uint32_t id = 1; id < 40; id++) {
        bool is_ours = (id & 1) == (x->link->next_id & 1);

        if (map_find(&x->link->by_id, span_of(&id, sizeof(id))) ||
            (is_ours ? id >= x->link->next_id : id > x->link->peer_id))
            continue;
        frame_fin_put(out, id, 0);
        return true;
    }
    return false;
}

static inline bool hop_never(struct side *x, struct buf *out)
{
    frame_fin_put(out, x->link->next_id + 2000, 0);
    return one_in(4);
}

static const struct hop_trick hop_tricks[] = {
    { "to a holder: DATA after a gap", hop_gap, VERDICT_DETACHES, false },
    { "to a holder: DATA beyond the limit", hop_overrun, VERDICT_BREAKS, false },
    { "to a holder: DATA again", hop_again, VERDICT_IGNORED, false },
    { "to a holder: DATA without bytes", hop_empty, VERDICT_BREAKS, false },
    { "to a holder: CREDIT, never handed on", hop_credit_beyond, VERDICT_BREAKS, false },
    { "to a holder: CREDIT goes back", hop_credit_back, VERDICT_IGNORED, false },
    { "to a holder: CREDIT that is cut", hop_credit_cut, VERDICT_BREAKS, false },
    { "to a holder: OPEN_OK again", hop_open_ok, VERDICT_IGNORED, true },
    { "to a holder: ATTACH_OK again", hop_attach_ok, VERDICT_IGNORED, true },
    { "to a holder: an id that is over", hop_late, VERDICT_IGNORED, false },
    { "to a holder: an id never opened", hop_never, VERDICT_LINK_ENDS, false },
};
static uint64_t hop_played[ARRAY_LEN(hop_tricks)];

static inline bool is_last_said(const struct side *y, uint8_t type)
{
    return !y->link || (y->last == LAST_OWN && y->own_type == type) ||
           (y->last == LAST_FRAME && type == FRAME_DETACH);
}

static inline void check_hop_verdict(const struct hop_trick *trick, const struct side *before,
                                     struct side *x, const struct mux_link *l)
{
    bool is_right = true;

    if (trick->verdict == VERDICT_IGNORED)
        is_right = x->link && !x->last && x->acked == before->acked && x->limit == before->limit &&
                   other_side(x)->received == before[1].received && !other_side(x)->last;
    if (trick->verdict == VERDICT_BREAKS)
        is_right = is_last_said(x, FRAME_RESET) && is_last_said(other_side(x), FRAME_RESET);
    if (trick->verdict == VERDICT_DETACHES)
        is_right = is_last_said(x, FRAME_DETACH) && is_last_said(other_side(x), FRAME_DETACH);
    if (trick->verdict == VERDICT_LINK_ENDS)
        is_right = mux_link_state(l) == MUX_LINK_CLOSED;
    if (!is_right)
        fail_msg("seed %lu: %s: not as it must be", sim.seed, trick->it);
}

static inline void hop_hostile_step(void (*harm)(unsigned key))
{
    static unsigned char mem[512];
    size_t i = below(ARRAY_LEN(hop_tricks));
    const struct hop_trick *trick = &hop_tricks[i];
    struct side before[2], *x;
    struct mux_link *l;
    struct lane *lane;
    struct buf out;

    x = random_hop(&lane);
    buf_init_fixed(&out, mem, sizeof(mem));
    if (!x || !trick->put(x, &out))
        return;
    l = x->link;
    before[0] = *x;
    before[1] = *other_side(x);
    if (getenv("ADIT_SEED"))
        print_message("%lu ms: %s, stream %lu\n", sim.now_ms, trick->it,
                      (uintptr_t)x->hop->user - 1);
    if (trick->verdict == VERDICT_BREAKS || trick->is_for_end)
        harm((unsigned)((uintptr_t)x->hop->user - 1));
    lane->is_tricked = trick->verdict == VERDICT_LINK_ENDS;
    feed(lane, l, buf_span(&out));      /* the hop stays until its last word is said */
    check_hop_verdict(trick, before, x, l);
    hop_played[i]++;
}

/* --- a run ------------------------------------------------------------------------------------- */
/* Directly, through holders, or both. */
static inline void choose_lanes(void)
{
    sim.holders = one_in(2) ? 1 + below(HOLDERS_MAX) : 0;
    sim.lanes_wanted[0] = sim.holders && one_in(2) ? 0 : 1 + below(3);
    for (unsigned i = 1; i <= 2 * sim.holders; i++)
        sim.lanes_wanted[i] = 1 + below(2);
    sim.holder_config = (struct mux_holder_config){
        .memory_limit = one_in(3) ? 60000 + below(200000) : 32u << 20,
        .window = one_in(4) ? 16384 + below(100000) : 0,
    };
}

static inline void chaos_at_holders(void (*harm)(unsigned key))
{
    if (!sim.holders)
        return;
    if (one_in(200))
        holder_restart();
    if (one_in(10))
        strange_step();
    if (sim.is_hostile && one_in(6))
        hop_hostile_step(harm);
}
