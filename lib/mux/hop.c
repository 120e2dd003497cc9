#include "lib/mux/hop.h"
#include <errno.h>

/* --- the holder ----------------------------------------------------------------------- */
struct mux_holder *mux_holder_new(const struct mux_holder_config *config)
{
    struct mux_holder *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    h->config = *config;
    if (!h->config.memory_limit)
        h->config.memory_limit = HOP_MEMORY;
    if (!h->config.window)
        h->config.window = HOP_WINDOW;
    if (!h->config.hops_max)
        h->config.hops_max = HOPS_MAX;
    list_init(&h->fading);
    list_init(&h->ended);
    return h;
}

void mux_holder_free(struct mux_holder *h)
{
    free(h);
}

const struct mux_holder_stats *mux_holder_stats(const struct mux_holder *h)
{
    return &h->stats;
}

void mux_holder_set_memory_limit(struct mux_holder *h, size_t bytes)
{
    h->config.memory_limit = bytes;
}

const struct mux_hop_counts *mux_hop_counts(const struct mux_hop *hop)
{
    return &hop->counts;
}

bool holder_has_memory(const struct mux_holder *h, size_t more, unsigned percent)
{
    return h->stats.held_bytes + more <= h->config.memory_limit / 100 * percent;
}

static uint64_t promise_cap(const struct mux_holder *h)
{
    return (uint64_t)h->config.memory_limit * MUX_PROMISE_FACTOR;
}

static bool is_pressed(const struct mux_holder *h)
{
    return h->now_ms < h->pressed_ms || h->stats.promised_bytes >= promise_cap(h) / 2 ||
           !holder_has_memory(h, CHUNK_LARGE, HOP_PRESSED_PERCENT);
}

size_t holder_window(const struct mux_holder *h)
{
    size_t window = h->config.window, most = h->config.memory_limit / HOP_WINDOWS_LEAST;

    if (window > most)
        window = most;
    return window > HOP_WINDOW_LEAST && is_pressed(h) ? HOP_WINDOW_LEAST : window;
}

bool holder_may_take(const struct mux_holder *h)
{
    return h->stats.hops < h->config.hops_max &&
           h->stats.promised_bytes + 2 * HOP_WINDOW_LEAST <= promise_cap(h) &&
           holder_has_memory(h, CHUNK_LARGE, HOP_BULK_PERCENT);
}

/* --- birth ---------------------------------------------------------------------------- */
static int side_init(struct mux_hop *hop, enum mux_way way, struct mux_link *l, uint32_t id,
                     uint64_t owner)
{
    struct side *x = &hop->side[way];

    leg_init(&x->leg, LEG_HOP, owner);
    list_init(&x->frames);
    x->hop = hop;
    x->id = id;
    x->is_target = way == MUX_TO_TARGET;
    x->is_introduced = !x->is_target;
    if (leg_join(&x->leg, l, &x->id))
        return -ENOMEM;
    x->link = l;
    return 0;
}

/* NULL: no memory. */
struct mux_hop *hop_new(struct mux_link *l, uint32_t id, const struct mux_route *route)
{
    struct mux_hop *hop = calloc(1, sizeof(*hop));

    if (!hop)
        return NULL;
    hop->on_ended = l->mux->on.on_hop_ended;
    hop->holder = l->mux->config.holder;
    hop->user = route->user;
    list_init(&hop->node);
    if (side_init(hop, MUX_TO_ENTRY, l, id, route->owner[MUX_TO_ENTRY])) {
        free(hop);
        return NULL;
    }
    if (side_init(hop, MUX_TO_TARGET, route->to, route->to->next_id, route->owner[MUX_TO_TARGET])) {
        leg_leave(&hop->side[MUX_TO_ENTRY].leg);
        free(hop);
        return NULL;
    }
    route->to->next_id += 2;
    if (l->mux->now_ms > route->to->mux->now_ms)
        route->to->mux->now_ms = l->mux->now_ms;
    hop->holder->stats.hops++;
    hop->holder->stats.hops_begun++;
    return hop;
}

/* --- ends ----------------------------------------------------------------------------- */
static void hop_end(struct mux_hop *hop)
{
    hop->is_ended = true;
    hop->holder->stats.hops--;
    list_remove(&hop->node);
    list_append(&hop->holder->ended, &hop->node);
}

void side_over(struct side *x)
{
    struct mux_link *l = x->link;

    if (!l)
        return;
    side_drop(x);
    l->unacked -= x->handed - x->acked;
    leg_leave(&x->leg);
    link_idle_allow(l);
    x->link = NULL;
    side_promise_update(x);
    side_promise_update(other_side(x));
    if (!other_side(x)->link)
        hop_end(x->hop);
}

void hop_undo(struct mux_hop *hop)
{
    hop->on_ended = NULL;
    side_over(&hop->side[0]);
    side_over(&hop->side[1]);
}

/* The last word on this side is ours; what waited is moot. */
void side_own(struct side *y, uint8_t type, enum reason why, uint32_t retry_ms, const char *text)
{
    if (!y->link || y->last)
        return;
    if (!y->is_introduced || !link_has_streams_out(y->link)) {
        side_over(y);
        return;
    }
    side_drop(y);
    y->last = LAST_OWN;
    y->own_type = type;
    y->own_reason = (uint16_t)why;
    y->own_retry_ms = retry_ms;
    y->own_text = text;
    side_promise_update(y);
    side_refresh(y);
}

static void own_both(struct mux_hop *hop, uint8_t type, enum reason why, uint32_t retry_ms,
                     const char *text)
{
    if (!hop->why)
        hop->why = why;
    side_own(&hop->side[MUX_TO_TARGET], type, why, retry_ms, text);
    side_own(&hop->side[MUX_TO_ENTRY], type, why, retry_ms, text);
}

void hop_detach(struct mux_hop *hop, enum reason why, uint32_t retry_ms, const char *text)
{
    struct mux_holder_stats *stats = &hop->holder->stats;

    stats->detaches++;
    stats->gaps += why == REASON_GAP;
    stats->overloads += why == REASON_OVERLOAD;
    if (why == REASON_OVERLOAD)
        hop->holder->pressed_ms = hop->holder->now_ms + HOP_PRESSED_MS;
    own_both(hop, FRAME_DETACH, why, retry_ms, text);
}

/* There is one holder on a path: whoever is behind a side is an end, and pays for what it repeats. */
void hop_fault(struct side *x, const char *text)
{
    struct mux_link *l = x->link;

    x->hop->holder->stats.faults++;
    x->hop->holder->stats.resets++;
    own_both(x->hop, FRAME_RESET, REASON_PROTOCOL_ERROR, 0, text);
    link_stream_fault(l);
}

void mux_hop_revoke(struct mux_hop *hop)
{
    hop->holder->stats.resets++;
    own_both(hop, FRAME_RESET, REASON_REVOKED, 0, NULL);
}

void hop_lost(struct leg *g)
{
    struct side *x = side_of(g), *y = other_side(x);

    x->hop->holder->stats.detaches += y->link && !y->last;
    if (!x->hop->why)
        x->hop->why = REASON_SESSION_LOST;
    side_own(y, FRAME_DETACH, REASON_SESSION_LOST, 0, NULL);
    side_over(x);
}

void hop_leave(struct leg *g, enum reason why)
{
    hop_detach(side_of(g)->hop, why, 0, NULL);
}

/* --- what is told --------------------------------------------------------------------- */
void holder_tell(struct mux_holder *h)
{
    struct list *node;

    while ((node = list_first(&h->ended))) {
        struct mux_hop *hop = container_of(node, struct mux_hop, node);

        list_remove(node);
        if (hop->on_ended)
            hop->on_ended(hop->user, hop, hop->why);
        free(hop);
    }
}

/* --- time ----------------------------------------------------------------------------- */
/* Who sent a RESET waits for its answer so long, then forgets without a word. */
void hop_fade(struct mux_hop *hop)
{
    if (hop->fades_ms)
        return;
    hop->fades_ms = hop->holder->now_ms + MUX_SETTLE_MS;
    list_append(&hop->holder->fading, &hop->node);
}

uint64_t holder_due(const struct mux_holder *h)
{
    const struct list *node = list_first(&h->fading);

    return node ? container_of(node, struct mux_hop, node)->fades_ms : UINT64_MAX;
}

void holder_now(struct mux_holder *h, uint64_t now_ms)
{
    if (now_ms > h->now_ms)
        h->now_ms = now_ms;
}

void holder_tick(struct mux_holder *h, uint64_t now_ms)
{
    holder_now(h, now_ms);
    while (holder_due(h) <= now_ms) {
        struct mux_hop *hop = container_of(list_first(&h->fading), struct mux_hop, node);

        list_remove(&hop->node);
        h->stats.faded++;
        hop_detach(hop, REASON_SESSION_LOST, 0, NULL);
    }
}
