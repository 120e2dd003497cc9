#include "lib/mux/datagram.h"
#include "lib/mux/mux_internal.h"
#include <errno.h>
/*
 * A stream goes from one mux to another of the same program, with all that it has: each mux is
 * one thread's, and what a stream is made of is its own.
 */

/* The memory goes with what it is filled with: the muxes of a program never hold more than all their
 * limits together.  With it goes what lets a stream be there at all (mux_may_add_stream), as far as
 * it is free: nobody asks there whether there is room for one more. */
#define ASIDE (2 * MUX_SET_ASIDE)

static void take_memory(struct mux *m, struct mux_stream *s)
{
    size_t held = stream_held(s), limit = m->config.memory_limit, left;

    m->stats.held_bytes -= held;
    if (held > limit)
        held = limit;
    left = limit - held > m->stats.held_bytes ? limit - held - m->stats.held_bytes : 0;
    s->load = (uint16_t)(left < ASIDE ? left : ASIDE);
    m->config.memory_limit = limit - held - s->load;
    m->stats.memory_out += held + s->load;
}

static void bring_memory(struct mux *m, struct mux_stream *s)
{
    size_t held = stream_held(s);

    m->stats.held_bytes += held;
    m->config.memory_limit += held + s->load;
    m->stats.memory_in += held + s->load;
}

static void leave_lists(struct mux_stream *s)
{
    list_remove(&s->leg.owing);
    list_remove(&s->tell);
    list_remove(&s->starved);
    s->leg.listed = LISTED_NOWHERE;
}

bool mux_stream_take_out(struct mux_stream *s)
{
    struct mux *m = s->mux;

    if (m->depth || !stream_may_attach(s) || s->tx.is_reserved)
        return false;
    stream_leave_path(s, REASON_STALE_PATH);
    leave_lists(s);
    map_remove(&m->by_uid, &s->by_uid);
    m->stats.streams--;
    take_memory(m, s);
    m->stats.promised_bytes -= s->rx_promised;
    s->mux = NULL;
    mux_feed_starved(m);
    return true;
}

int mux_stream_put_in(struct mux *m, struct mux_stream *s, uint64_t now_ms)
{
    int r = map_insert(&m->by_uid, &s->by_uid, span_of(s->uid, sizeof(s->uid)));

    bring_memory(m, s);
    if (r) {
        s->mux = m;
        datagram_drop_all(s);
        m->stats.held_bytes -= stream_held(s);
        chunk_queue_drop_all(&s->tx);
        chunk_queue_drop_all(&s->rx);
        stream_free(s);
        return r;
    }
    if (now_ms > m->now_ms)
        m->now_ms = now_ms;
    s->mux = m;
    m->stats.streams++;
    m->stats.promised_bytes += s->rx_promised;
    if (s->told)
        list_append(&m->tell, &s->tell);
    if (s->wants_write && s->state != STREAM_RESETTING)
        list_append(&m->starved, &s->starved);
    stream_wants_path(s);
    mux_feed_starved(m);
    return 0;
}
