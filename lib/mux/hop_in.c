#include "lib/mux/datagram.h"
#include "lib/mux/hop.h"
#include "lib/mux/tags.h"
#include <string.h>

#define ATTACH_LIMIT_AT 28          /* in the payload of ATTACH and ATTACH_OK */
#define TEXT_MAX 65535              /* what a text may be is for the end to say */

/* --- OPEN and ATTACH, as a holder reads them ------------------------------------------ */
struct asking {                     /* with where the limit stands, to write another */
    struct mux_asked asked;
    struct span limit;              /* of OPEN or OPEN_OK; may be none */
    uint64_t limit_value, received;
};

static int open_skim(struct span payload, struct asking *a)
{
    struct mux_asked *o = &a->asked;
    const struct tag_rule rules[] = {
        { OPEN_TAG_UID, MUX_UID_LEN, MUX_UID_LEN, false, tag_take_span, &o->uid },
        { OPEN_TAG_PATH, 4, 4, false, tag_take_u32, &o->path },
        { OPEN_TAG_KIND, 1, 1, false, tag_take_u8, &o->kind },
        { OPEN_TAG_HOST, 0, TEXT_MAX, false, tag_take_span, &o->host },
        { OPEN_TAG_PORT, 2, 2, false, tag_take_u16, &o->port },
        { OPEN_TAG_LIMIT, 8, 8, false, tag_take_span, &a->limit },
        { OPEN_TAG_GRACE_MS, 4, 4, false, tag_take_u32, &o->grace_ms },
        { OPEN_TAG_PRINCIPAL, 0, TEXT_MAX, false, tag_take_span, &o->principal },
        { OPEN_TAG_GRANT, 0, TEXT_MAX, false, tag_take_span, &o->grant },
        { OPEN_TAG_ENTRY, 0, TEXT_MAX, false, tag_take_span, &o->entry },
        { OPEN_TAG_BOOT_ID, 0, TEXT_MAX, false, tag_take_span, &o->boot_id },
        { OPEN_TAG_TICKET, 0, TEXT_MAX, false, tag_take_span, &o->ticket },
        { OPEN_TAG_HOPS, 1, 1, false, tag_take_u8, &o->hop_count },
    };
    int e = tags_skim(payload, rules, ARRAY_LEN(rules));

    if (e)
        return e;
    if (a->limit.n)
        (void)tag_take_u64(&a->limit_value, a->limit);
    return o->uid.n && o->path ? 0 : TAG_E_VALUE;
}

static int attach_skim(struct span payload, struct asking *a)
{
    struct frame_attach attach;
    int e = frame_attach_skim(payload, &attach);

    if (e)
        return e;
    a->asked = (struct mux_asked){ .is_attach = true, .uid = attach.uid, .path = attach.path,
                                   .boot_id = attach.boot_id, .ticket = attach.ticket };
    a->limit = span_first(span_skip(payload, ATTACH_LIMIT_AT), 8);
    a->limit_value = attach.limit;
    a->received = attach.received;
    return 0;
}

static int opened_skim(struct span payload, struct asking *a, uint32_t *ret_features)
{
    const struct tag_rule rules[] = {
        { OPENED_TAG_LIMIT, 8, 8, false, tag_take_span, &a->limit },
        { OPENED_TAG_FEATURES, 4, 4, false, tag_take_u32, ret_features },
    };
    int e = tags_skim(payload, rules, ARRAY_LEN(rules));

    if (!e && a->limit.n)
        (void)tag_take_u64(&a->limit_value, a->limit);
    return e;
}

/* --- limits that stand in a frame ------------------------------------------------------- */
static void write_u64(unsigned char *at, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        at[i] = (unsigned char)(v >> (56 - 8 * i));
}

/* The end behind `y` has said what it takes, from which byte on. */
static void side_begin(struct side *y, const struct asking *a)
{
    y->received = y->handed = y->acked = y->last_start = a->received;
    y->limit = a->limit_value;
    y->told = a->received;
}

/* Passes the frame on to the other end of `y`, with the limit that it may know of. */
static bool push_limited(struct side *y, const struct frame *f, const struct asking *a)
{
    unsigned char mem[FRAME_PAYLOAD_MAX];
    struct frame own = *f;

    if (!f->payload.n)
        return side_push(other_side(y), f, false);
    memcpy(mem, f->payload.p, f->payload.n);
    if (a->limit.n)
        write_u64(mem + (a->limit.p - f->payload.p), side_tell(y));
    own.payload = span_of(mem, f->payload.n);
    return side_push(other_side(y), &own, false);
}

/* --- routes ----------------------------------------------------------------------------- */
static enum reason judge(const struct mux_link *l, const struct mux_route *route)
{
    if (!mux_link_may_open(route->to))
        return REASON_RELAY_DRAINING;
    if (route->to == l)
        return REASON_NOT_HERE;
    return holder_may_take(l->mux->config.holder) ? REASON_NONE : REASON_OVERLOAD;
}

static enum reason start(struct mux_link *l, const struct frame *f, const struct asking *a,
                         const struct mux_route *route)
{
    struct mux_hop *hop = hop_new(l, f->stream, route);

    if (!hop)
        return REASON_OVERLOAD;
    hop->is_attach = a->asked.is_attach;
    side_begin(&hop->side[MUX_TO_ENTRY], a);
    if (push_limited(&hop->side[MUX_TO_ENTRY], f, a))
        return REASON_NONE;
    hop_undo(hop);
    return REASON_OVERLOAD;
}

static enum reason ask(struct mux_link *l, const struct asking *a, struct mux_route *route)
{
    enum reason why = l->mux->on.on_route(l->user, l, &a->asked, route);

    if (why != REASON_NONE || !route->to)
        return why;
    return link_takes_streams(l) ? judge(l, route) : REASON_RELAY_DRAINING;
}

bool hop_begin(struct mux_link *l, const struct frame *f)
{
    bool is_attach = f->type == FRAME_ATTACH;
    struct mux_route route = { 0 };
    struct asking a = { 0 };
    enum reason why;

    if (!l->mux->config.holder || !l->mux->on.on_route)
        return false;
    if (is_attach ? attach_skim(f->payload, &a) : open_skim(f->payload, &a))
        return false;               /* nobody can read it: refused as an end would */
    holder_now(l->mux->config.holder, l->mux->now_ms);
    route.owner[MUX_TO_TARGET] = hash_bytes(a.asked.principal);
    why = ask(l, &a, &route);
    if (why == REASON_NONE && !route.to)
        return false;
    if (why == REASON_NONE)
        why = start(l, f, &a, &route);
    if (why != REASON_NONE) {
        l->mux->config.holder->stats.hops_refused++;
        link_refuse(l, is_attach ? FRAME_ATTACH_ERR : FRAME_OPEN_ERR, f->stream, why, 0);
    }
    return true;
}

/* --- what the ends say -------------------------------------------------------------------- */
static void pass(struct side *x, const struct frame *f)
{
    if (!side_push(other_side(x), f, false))
        hop_detach(x->hop, REASON_OVERLOAD, MUX_DETACH_RETRY_MS, "frames that wait");
}

/* Its sender has no use for the id any more; what waits for him is moot. */
static void pass_last(struct side *x, const struct frame *f)
{
    struct side *y = other_side(x);

    if (!side_push(y, f, true))
        side_own(y, FRAME_DETACH, REASON_OVERLOAD, MUX_DETACH_RETRY_MS, "frames that wait");
    side_over(x);
}

static bool is_answer(const struct side *x, bool to_attach)
{
    return x->is_target && !x->hop->is_answered && x->hop->is_attach == to_attach;
}

static void pass_answer(struct side *x, const struct frame *f, const struct asking *a)
{
    x->hop->is_answered = true;
    side_begin(x, a);
    if (!push_limited(x, f, a))
        hop_detach(x->hop, REASON_OVERLOAD, MUX_DETACH_RETRY_MS, "frames that wait");
}

static void on_open_ok(struct side *x, const struct frame *f)
{
    struct asking a = { 0 };
    uint32_t features = 0;

    if (!is_answer(x, false) || opened_skim(f->payload, &a, &features)) {
        pass(x, f);                 /* after ATTACH_OK, where the entry has reset before it came */
        return;
    }
    x->hop->has_features = features != 0;
    pass_answer(x, f, &a);
}

static void on_attach_ok(struct side *x, const struct frame *f)
{
    struct asking a = { 0 };

    if (!is_answer(x, true) || attach_skim(f->payload, &a))
        pass(x, f);
    else
        pass_answer(x, f, &a);
}

/* The last that the target side says, also after ATTACH_OK where the entry has reset meanwhile. */
static void on_refusal(struct side *x, const struct frame *f)
{
    if (x->is_target)
        pass_last(x, f);
    else
        pass(x, f);
}

static void on_data(struct side *x, const struct frame *f)
{
    struct side *y = other_side(x);
    struct frame_data d;
    uint64_t end;

    if (frame_data_read(f->payload, &d)) {
        hop_fault(x, "DATA: empty");
        return;
    }
    end = d.offset + d.bytes.n;
    if (end <= y->received)
        link_idle_frame(x->link);
    else if (end > y->told)
        hop_fault(x, "DATA beyond the limit");
    else if (d.offset > y->received)
        hop_detach(x->hop, REASON_GAP, 0, "DATA");
    else if (!side_push_bytes(y, span_skip(d.bytes, (size_t)(y->received - d.offset)), f->flags))
        hop_detach(x->hop, REASON_OVERLOAD, MUX_DETACH_RETRY_MS, "no memory for what came");
    else
        x->link->data_heard_ms = x->link->mux->now_ms;
}

/* The target side has seen the RESET, and forgets with this. */
static void last_credit(struct side *x)
{
    struct side *y = other_side(x);

    side_drop(y);
    y->owes_credit = true;
    y->last = LAST_CREDIT;
    side_promise_update(y);
    side_over(x);
    side_refresh(y);
}

static void take_credit(struct side *x, const struct frame_credit *c, uint8_t flags)
{
    struct side *y = other_side(x);
    uint8_t known = FRAME_CREDIT_FIN | FRAME_CREDIT_RESET;
    bool is_new = c->received > x->acked || c->limit > x->limit || (flags & ~x->flags_taken);

    x->flags_taken |= flags & known;
    if (c->received > x->acked) {
        x->link->unacked -= c->received - x->acked;
        x->acked = c->received;
    }
    if (c->limit > x->limit)
        x->limit = c->limit;
    if (!is_new) {
        link_idle_frame(x->link);
        return;
    }
    y->credit_flags |= flags;
    if (flags & FRAME_CREDIT_RESET && x->is_target && x->is_reset) {
        last_credit(x);
        return;
    }
    y->owes_credit = true;
    side_refresh(y);
}

static void on_credit(struct side *x, const struct frame *f)
{
    struct frame_credit c;

    if (frame_credit_read(f->payload, &c) || c.received > x->handed)
        hop_fault(x, "CREDIT: length, or more received than was sent");
    else
        take_credit(x, &c, f->flags);
}

static void on_reset(struct side *x, const struct frame *f)
{
    if (f->flags & FRAME_RESET_NOW)
        side_skip_bytes(other_side(x));
    pass(x, f);
}

static void on_end(struct side *x, const struct frame *f)
{
    if (x->is_target)
        pass(x, f);
    else
        pass_last(x, f);
}

static void on_detach(struct side *x, const struct frame *f)
{
    struct side *y = other_side(x);

    if (y->is_introduced)
        side_drop(y);               /* it is sent again on the next path */
    else
        side_over(y);
    if (y->link)
        pass_last(x, f);
    else
        side_over(x);
}

static void on_datagram(struct side *x, const struct frame *f)
{
    if (bucket_take(&x->link->datagrams, DATAGRAMS_MAX, DATAGRAMS_PER_S, x->link->mux->now_ms))
        side_push_datagram(other_side(x), f);
    else
        x->hop->holder->stats.datagrams_dropped++;
}

/* What the ends have agreed on is theirs.  Else an end that does not know the frame counts it
 * against the link that brought it, which is ours: no more of them than it bears. */
static void on_strange(struct side *x, const struct frame *f)
{
    struct side *y = other_side(x);

    if (x->hop->has_features || bucket_take(&y->link->strange, HOP_STRANGE_MAX, HOP_STRANGE_PER_S,
                                            x->link->mux->now_ms))
        pass(x, f);
    else
        hop_detach(x->hop, REASON_OVERLOAD, MUX_DETACH_RETRY_MS, "unknown frames");
}

static void (*const hop_frames[])(struct side *, const struct frame *) = {
    [FRAME_OPEN_OK & 0x3f] = on_open_ok,     [FRAME_OPEN_ERR & 0x3f] = on_refusal,
    [FRAME_DATA & 0x3f] = on_data,           [FRAME_CREDIT & 0x3f] = on_credit,
    [FRAME_FIN & 0x3f] = pass,               [FRAME_RESET & 0x3f] = on_reset,
    [FRAME_END & 0x3f] = on_end,             [FRAME_ATTACH_OK & 0x3f] = on_attach_ok,
    [FRAME_ATTACH_ERR & 0x3f] = on_refusal,  [FRAME_DETACH & 0x3f] = on_detach,
    [FRAME_DATAGRAM & 0x3f] = on_datagram,
};

static bool is_known(uint8_t type)
{
    return !(type & FRAME_BIT_CRITICAL) && (type & 0x3f) < ARRAY_LEN(hop_frames) &&
           hop_frames[type & 0x3f];
}

/* The id is over, but for a last word of ours that is still to go out. */
static void late(struct side *x, const struct frame *f)
{
    x->hop->holder->stats.late_frames++;
    x->link->mux->stats.late_frames++;
    if (f->payload.n < MUX_LATE_SMALL && f->type != FRAME_DATAGRAM)
        link_idle_frame(x->link);
}

void hop_take(struct leg *g, const struct frame *f)
{
    struct side *x = side_of(g);
    struct mux *other = other_side(x)->link ? other_side(x)->link->mux : NULL;

    if (!x->is_introduced) {
        link_fail(x->link, REASON_PROTOCOL_ERROR,
                  "a frame on a stream whose OPEN has not left yet");
        return;
    }
    if (other && other->now_ms < x->link->mux->now_ms)
        other->now_ms = x->link->mux->now_ms;
    holder_now(x->hop->holder, x->link->mux->now_ms);
    x->hop->has_spoken |= x->hop->is_answered && !x->is_target;
    if (x->last || !other)
        late(x, f);
    else if (is_known(f->type))
        hop_frames[f->type & 0x3f](x, f);
    else
        on_strange(x, f);
}
