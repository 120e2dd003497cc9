#include "lib/mux/datagram.h"
/*
 * Who may fill how much of the memory.
 *
 * For each stream one small chunk each way is set aside, for when it holds nothing that way: whoever
 * is read, and whoever's peer acknowledges, goes on however many stand still, by 1,000 bytes a round
 * trip at the worst.  Of the rest a stream may fill the less the more it has lying here.
 */
#define GRANT_PERCENT 5

static size_t set_aside(const struct mux *m)
{
    size_t most = m->config.memory_limit / 2, all = (size_t)m->stats.streams * MUX_SET_ASIDE;

    return all < most ? all : most;
}

bool mux_may_add_stream(const struct mux *m)
{
    return ((size_t)m->stats.streams + 1) * MUX_SET_ASIDE <= m->config.memory_limit / 2;
}

bool mux_has_memory(const struct mux *m, size_t more, unsigned percent)
{
    return m->stats.held_bytes + more <= (m->config.memory_limit - set_aside(m)) / 100 * percent;
}

/* One of those set aside: not there only while the limit was lowered. */
static bool has_small_chunk(const struct mux *m)
{
    return m->stats.held_bytes + CHUNK_SMALL <= m->config.memory_limit;
}

/* --- received ------------------------------------------------------------------------- */
/* The most that a stream may fill which holds so much, what comes included. */
static unsigned received_percent(size_t held)
{
    static const struct { size_t held_most; unsigned percent; } rows[] = {
        { CHUNK_LARGE + CHUNK_SMALL, 100 }, { 2 * CHUNK_LARGE + CHUNK_SMALL, 90 }, { SIZE_MAX, 80 },
    };
    size_t i = 0;

    while (held > rows[i].held_most)
        i++;
    return rows[i].percent;
}

bool memory_for_received(const struct mux_stream *s, size_t n)
{
    size_t cost = chunk_queue_cost(&s->rx, n);

    if (cost == 0 || mux_has_memory(s->mux, cost, received_percent(s->rx.held + cost)))
        return true;
    return s->rx.len == 0 && cost == CHUNK_SMALL && has_small_chunk(s->mux);
}

/* Limits are told that much before the memory is full, for what is under way. */
static bool may_promise(const struct mux_stream *s, size_t more)
{
    return mux_has_memory(s->mux, more, received_percent(s->rx.held + more) - GRANT_PERCENT);
}

bool memory_is_short_for(const struct mux_stream *s)
{
    return !may_promise(s, 2 * CHUNK_LARGE);
}

uint64_t memory_sure(const struct mux_stream *s)
{
    if (s->rx.len)
        return s->rx_received + chunk_queue_room(&s->rx);
    if (may_promise(s, CHUNK_LARGE + CHUNK_SMALL))
        return s->rx_received + CHUNK_LARGE_ROOM;
    return s->rx_received + CHUNK_SMALL_ROOM;
}

/* --- sent ----------------------------------------------------------------------------- */
size_t memory_to_send(const struct mux_stream *s)
{
    bool is_first = s->tx.held == 0;

    if (mux_has_memory(s->mux, CHUNK_LARGE, is_first ? MUX_SEND_FIRST_PERCENT : MUX_SEND_PERCENT))
        return CHUNK_LARGE;
    return is_first && has_small_chunk(s->mux) ? CHUNK_SMALL : 0;
}

unsigned memory_datagram_percent(const struct mux_stream *s)
{
    return datagram_held(s) == 0 ? MUX_SEND_FIRST_PERCENT : MUX_SEND_PERCENT;
}

/* --- what changes ---------------------------------------------------------------------- */
size_t stream_held(const struct mux_stream *s)
{
    return (size_t)s->tx.held + s->rx.held + datagram_held(s);
}

static void feed(struct mux_stream *s)
{
    list_remove(&s->starved);
    stream_writable(s);
}

void mux_feed_starved(struct mux *m)
{
    struct list *node;

    if (!mux_has_memory(m, CHUNK_LARGE, MUX_SEND_PERCENT))
        return;
    while ((node = list_first(&m->starved)))
        feed(container_of(node, struct mux_stream, starved));
}

/* Once reset, the list is another. */
bool stream_is_starved(const struct mux_stream *s)
{
    return s->wants_write && !list_is_empty(&s->starved) && stream_state_is_sending((enum stream_state)s->state);
}

void mux_held_changed(struct mux *m, struct mux_stream *s, size_t before)
{
    size_t after = stream_held(s);

    m->stats.held_bytes = m->stats.held_bytes - before + after;
    if (after >= before)
        return;
    if (stream_is_starved(s) && s->tx.held == 0)
        feed(s);                /* it has a chunk set aside again */
    mux_feed_starved(m);
}
