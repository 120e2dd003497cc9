#include "lib/mux/hop.h"
#include <string.h>

/* --- memory --------------------------------------------------------------------------- */
size_t side_held(const struct side *y)
{
    return (size_t)y->bytes.held + y->frames_cost + y->datagrams_cost;
}

void side_held_changed(struct side *y, size_t before)
{
    y->hop->holder->stats.held_bytes += side_held(y) - before;
}

void side_promise_update(struct side *y)
{
    bool counts = y->link && other_side(y)->link && !y->last && !other_side(y)->last;
    uint32_t promise = counts ? (uint32_t)(y->told - y->received) : 0;

    y->hop->holder->stats.promised_bytes += (size_t)promise - y->promised;
    y->promised = promise;
}

/* --- limits --------------------------------------------------------------------------- */
/* What could be told: of what the end takes, no more than may wait here. */
static uint64_t tellable(const struct side *y)
{
    uint64_t held = y->handed + holder_window(y->hop->holder);

    return y->limit < held ? y->limit : held;
}

uint64_t side_tell(struct side *y)
{
    struct mux_holder *h = y->hop->holder;
    uint64_t tell = tellable(y);

    if (tell > y->told)
        y->told = tell;
    h->stats.limits_held += y->told < y->limit;
    h->stats.limits_pressed += y->told < y->limit && holder_window(h) < h->config.window;
    side_promise_update(y);
    return y->told;
}

/* The target side takes whatever comes for a sign that the entry has its answer. */
static bool may_speak(const struct side *x)
{
    return x->link && !x->last && (!x->is_target || x->hop->has_spoken);
}

/* Room was made: the sender hears of it when it is worth a frame. */
static void tell_of_room(struct side *y)
{
    struct side *x = other_side(y);
    size_t quarter = holder_window(y->hop->holder) / 4;
    size_t step = quarter < MUX_CREDIT_STEP ? quarter : MUX_CREDIT_STEP;

    if (!may_speak(x) || x->owes_credit || tellable(y) < y->told + step)
        return;
    y->hop->holder->stats.credits++;
    x->owes_credit = true;
    side_refresh(x);
}

/* --- what waits ----------------------------------------------------------------------- */
static struct held *head(const struct side *y)
{
    struct list *node = list_first(&y->frames);

    return node ? container_of(node, struct held, node) : NULL;
}

static uint32_t *cost_of(struct side *y, const struct held *f)
{
    return f->type == FRAME_DATAGRAM ? &y->datagrams_cost : &y->frames_cost;
}

static void held_free(struct side *y, struct held *f)
{
    size_t before = side_held(y);

    *cost_of(y, f) -= f->len + HOP_FRAME_COST;
    list_remove(&f->node);
    free(f);
    side_held_changed(y, before);
}

/* What the ends' own frames are; all else waits its turn among the bytes. */
static bool is_control(uint8_t type)
{
    return type >= FRAME_OPEN && type <= FRAME_DETACH && type != FRAME_DATA;
}

static bool is_due(const struct side *y, const struct held *f)
{
    return f && f->at <= y->handed;
}

static bool is_control_due(const struct side *y)
{
    return is_due(y, head(y)) && is_control(head(y)->type);
}

static struct held *held_add(struct side *y, uint8_t type, uint8_t flags, struct span payload,
                             unsigned percent)
{
    size_t before = side_held(y), cost = payload.n + HOP_FRAME_COST;
    struct held *f = NULL;

    if (holder_has_memory(y->hop->holder, cost, percent))
        f = malloc(sizeof(*f) + payload.n);
    if (!f)
        return NULL;
    *f = (struct held){ .at = y->received, .end = y->received, .len = (uint32_t)payload.n,
                        .type = type, .flags = flags };
    if (payload.n)
        memcpy(f->payload, payload.p, payload.n);
    list_append(&y->frames, &f->node);
    *cost_of(y, f) += (uint32_t)cost;
    side_held_changed(y, before);
    return f;
}

bool side_push(struct side *y, const struct frame *f, bool is_last)
{
    size_t cost = f->payload.n + HOP_FRAME_COST;
    struct held *held = NULL;

    if (y->frames_cost + cost <= HOP_FRAMES_MAX)
        held = held_add(y, f->type, f->flags, f->payload,
                        is_control(f->type) ? 100 : HOP_BULK_PERCENT);
    if (!held)
        return false;
    held->is_last = is_last;
    if (is_last) {
        y->last = LAST_FRAME;
        side_promise_update(y);
        side_promise_update(other_side(y));
    }
    side_refresh(y);
    return true;
}

static struct held *oldest_datagram(const struct side *y)
{
    LIST_EACH((struct list *)&y->frames, node) {
        struct held *f = container_of(node, struct held, node);

        if (f->type == FRAME_DATAGRAM)
            return f;
    }
    return NULL;
}

static void count_dropped(struct side *y)
{
    y->hop->counts.datagrams_dropped[!y->is_target]++;
    y->hop->holder->stats.datagrams_dropped++;
}

void side_push_datagram(struct side *y, const struct frame *f)
{
    size_t cost = f->payload.n + HOP_FRAME_COST;

    while (y->datagrams_cost + cost > HOP_FRAMES_MAX) {
        count_dropped(y);
        held_free(y, oldest_datagram(y));
    }
    if (!held_add(y, f->type, f->flags, f->payload, HOP_BULK_PERCENT))
        count_dropped(y);
    side_refresh(y);
}

/* A stretch of bytes with flags that are not known here: they go on with them. */
static bool mark(struct side *y, size_t n, uint8_t flags)
{
    struct held *f = NULL;

    if (!list_is_empty(&y->frames))
        f = container_of(y->frames.prev, struct held, node);
    if (!f || f->type != FRAME_DATA || f->flags != flags || f->end != y->received) {
        if (y->frames_cost + HOP_FRAME_COST > HOP_FRAMES_MAX)
            return false;
        f = held_add(y, FRAME_DATA, flags, SPAN_NONE, HOP_BULK_PERCENT);
    }
    if (f)
        f->end += n;
    return f;
}

bool side_push_bytes(struct side *y, struct span bytes, uint8_t flags)
{
    size_t before;
    uint8_t strange = (uint8_t)(flags & ~FRAME_DATA_AT_LIMIT);
    size_t cost = chunk_queue_cost(&y->bytes, bytes.n);
    bool is_in;

    if (!holder_has_memory(y->hop->holder, cost, HOP_BULK_PERCENT) ||
        (strange && !mark(y, bytes.n, strange)))
        return false;
    before = side_held(y);
    is_in = chunk_queue_append(&y->bytes, bytes) == 0;
    side_held_changed(y, before);
    if (!is_in)
        return false;
    y->last_start = y->received;
    y->received += bytes.n;
    if (flags & FRAME_DATA_AT_LIMIT)
        y->flagged = y->received;
    side_promise_update(y);
    side_refresh(y);
    return true;
}

/* As if they had gone: what stands behind them goes next. */
static void drop_bytes(struct side *y)
{
    size_t before = side_held(y);

    chunk_queue_drop_all(&y->bytes);
    side_held_changed(y, before);
    y->link->unacked += y->received - y->handed;
    y->handed = y->received;
}

void side_drop(struct side *y)
{
    sched_remove(&y->leg);
    drop_bytes(y);
    while (head(y)) {
        if (head(y)->type == FRAME_DATAGRAM)
            count_dropped(y);
        held_free(y, head(y));
    }
    y->owes_credit = false;
}

/* Flags of bytes that have gone. */
static void pop_marks(struct side *y)
{
    while (head(y) && head(y)->type == FRAME_DATA && head(y)->end <= y->handed)
        held_free(y, head(y));
}

void side_skip_bytes(struct side *y)
{
    drop_bytes(y);
    pop_marks(y);
    if (!leg_class(&y->leg)->sendable(&y->leg))
        sched_remove(&y->leg);
    side_refresh(y);
}

void side_refresh(struct side *y)
{
    bool owes = y->link && (is_control_due(y) || y->owes_credit || y->last == LAST_OWN);

    if (!y->link)
        return;
    if (!owes && y->leg.listed == LISTED_OWING) {
        list_remove(&y->leg.owing);
        y->leg.listed = LISTED_NOWHERE;
    } else if (owes && y->leg.listed == LISTED_NOWHERE) {
        list_append(&y->link->owing, &y->leg.owing);
        y->leg.listed = LISTED_OWING;
    }
    sched_add(&y->leg);
    if (owes || y->leg.is_busy)
        link_wake(y->link);
}

/* --- frames --------------------------------------------------------------------------- */
static void count(struct side *y, uint8_t type)
{
    y->link->mux->stats.frames_out[type & 0x7f]++;
    y->hop->holder->stats.frames++;
}

static bool has_room(const struct buf *out, size_t payload)
{
    return out->cap - out->len >= FRAME_HEADER_LEN + payload;
}

/* The first of what waits goes out whole.  False: it was the last word here. */
static bool put_head(struct side *y, struct buf *out)
{
    struct held *f = head(y);
    bool is_last = f->is_last;
    uint8_t type = f->type;

    frame_put(out, type, f->flags, y->id, span_of(f->payload, f->len));
    count(y, type);
    held_free(y, f);
    pop_marks(y);               /* of bytes that were skipped */
    y->is_introduced |= type == FRAME_OPEN || type == FRAME_ATTACH;
    if (type == FRAME_RESET) {
        y->is_reset = true;
        hop_fade(y->hop);
    }
    if (is_last)
        side_over(y);
    return !is_last;
}

static void put_credit(struct side *y, struct buf *out)
{
    struct side *x = other_side(y);
    struct frame_credit c = { side_tell(x), x->acked };

    frame_credit_put(out, y->id, c, y->credit_flags);
    count(y, FRAME_CREDIT);
    y->owes_credit = false;
    y->credit_flags = 0;
    if (y->last == LAST_CREDIT)
        side_over(y);
}

static bool put_own(struct side *y, struct buf *out)
{
    unsigned char mem[FRAME_OFFSET_LEN + 96 + MUX_TEXT_MAX];
    struct why w = { (enum reason)y->own_reason, SPAN_NONE, y->own_retry_ms };
    bool is_reset = y->own_type == FRAME_RESET;
    struct buf payload;

    if (y->own_text)
        w.text = span_str(y->own_text);
    buf_init_fixed(&payload, mem, sizeof(mem));
    if (is_reset)
        reset_encode(&payload, y->handed, &w);
    else
        why_encode(&payload, &w);
    if (!has_room(out, payload.len))
        return false;
    frame_put(out, y->own_type, is_reset ? FRAME_RESET_NOW : 0, y->id, buf_span(&payload));
    count(y, y->own_type);
    side_over(y);
    return true;
}

static bool produce_owed(struct leg *g, struct buf *out)
{
    struct side *y = side_of(g);

    if (y->last == LAST_OWN)
        return put_own(y, out);
    while (is_control_due(y)) {
        if (!has_room(out, head(y)->len))
            return false;
        if (!put_head(y, out))
            return true;
    }
    if (y->owes_credit) {
        if (!has_room(out, 16))
            return false;
        put_credit(y, out);
    }
    side_refresh(y);
    return true;
}

/* --- the turn ------------------------------------------------------------------------- */
static size_t whole(const struct leg *g)
{
    const struct side *y = side_of(g);
    const struct held *f = head(y);

    if (!is_due(y, f) || f->type == FRAME_DATA || is_control(f->type))
        return 0;
    return FRAME_HEADER_LEN + f->len;
}

/* Up to the next frame that waits, or to where flags end. */
static uint64_t bytes_end(const struct side *y)
{
    const struct held *f = head(y);

    if (!f)
        return y->received;
    return f->type == FRAME_DATA && f->at <= y->handed ? f->end : f->at;
}

static size_t sendable(const struct leg *g)
{
    const struct side *y = side_of(g);

    if (!y->link || y->last >= LAST_CREDIT)
        return 0;
    return whole(g) ? whole(g) : (size_t)(bytes_end(y) - y->handed);
}

static uint8_t flags_of(const struct side *y, uint64_t end)
{
    const struct held *f = head(y);
    bool is_marked = f && f->type == FRAME_DATA && f->at <= y->handed;

    return (uint8_t)((is_marked ? f->flags : 0) |
                     (y->flagged == end && end == y->limit ? FRAME_DATA_AT_LIMIT : 0));
}

static size_t put_data(struct side *y, struct buf *out, size_t n)
{
    size_t before = side_held(y);
    uint64_t end = y->handed + n;
    unsigned char *at;

    frame_header_put(out, FRAME_DATA, flags_of(y, end), FRAME_OFFSET_LEN + n, y->id);
    buf_put_u64(out, y->handed);
    at = buf_extend(out, n);
    if (!at)
        return 0;
    chunk_queue_copy(&y->bytes, at, n);
    chunk_queue_drop(&y->bytes, n);
    side_held_changed(y, before);
    y->hop->holder->stats.split += y->handed >= y->last_start && end < y->received;
    y->hop->holder->stats.bytes[!y->is_target] += n;
    y->hop->counts.bytes[!y->is_target] += n;
    y->handed = end;
    y->link->unacked += n;
    count(y, FRAME_DATA);
    pop_marks(y);
    return n;
}

static size_t put_whole(struct side *y, struct buf *out)
{
    size_t took = FRAME_HEADER_LEN + head(y)->len;
    bool is_datagram = head(y)->type == FRAME_DATAGRAM;

    y->hop->counts.datagrams[!y->is_target] += is_datagram;
    y->hop->holder->stats.unknown_frames += !is_datagram;
    (void)!put_head(y, out);        /* never the last word */
    return took;
}

static size_t produce(struct leg *g, struct buf *out, size_t n)
{
    return whole(g) ? put_whole(side_of(g), out) : put_data(side_of(g), out, n);
}

static void produced(struct leg *g)
{
    struct side *y = side_of(g);

    tell_of_room(y);
    side_refresh(y);
}

const struct leg_class hop_leg = {
    .sendable = sendable, .whole = whole, .produce = produce, .produced = produced,
    .produce_owed = produce_owed, .take = hop_take, .lost = hop_lost,
    .leave = hop_leave,
};
