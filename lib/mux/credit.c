#include "lib/mux/mux_internal.h"

static uint64_t promise_cap(const struct mux *m)
{
    return (uint64_t)m->config.memory_limit * MUX_PROMISE_FACTOR;
}

/* Halves for each eighth of the promises above one half; 16 KiB at the least. */
size_t credit_first_window(const struct mux *m)
{
    uint64_t cap = promise_cap(m), promised = m->stats.promised_bytes;
    size_t window = m->config.first_window;

    if (promised + MUX_WINDOW_LEAST > cap || !mux_has_memory(m, CHUNK_LARGE, 87) ||
        !mux_may_add_stream(m))
        return 0;
    for (uint64_t level = cap / 2; promised + window > level && level < cap; level += cap / 8)
        window /= 2;
    return window > MUX_WINDOW_LEAST ? window : MUX_WINDOW_LEAST;
}

static bool is_pressed(const struct mux *m)
{
    return m->stats.promised_bytes >= promise_cap(m) / 4 * 3 ||
           !mux_has_memory(m, CHUNK_LARGE, 75);
}

static bool may_grow(const struct mux *m, size_t more)
{
    return m->stats.promised_bytes + more < promise_cap(m) / 2 &&
           mux_has_memory(m, CHUNK_LARGE, 50);
}

static uint32_t window_now(const struct mux_stream *s)
{
    if (s->rx_window > MUX_WINDOW_LEAST && is_pressed(s->mux))
        return MUX_WINDOW_LEAST;
    return s->rx_window;
}

/* Where memory is short for it, a stream is told no more than there is room for in any case. */
static uint64_t limit_now(const struct mux_stream *s)
{
    uint64_t limit = s->rx_consumed + window_now(s), sure;

    if (!memory_is_short_for(s))
        return limit;
    sure = memory_sure(s);
    return limit < sure ? limit : sure;
}

uint64_t credit_limit(struct mux_stream *s)
{
    uint64_t limit = limit_now(s);

    if (limit > s->rx_limit && stream_state_is_receiving((enum stream_state)s->state))
        s->rx_limit = limit;
    credit_promise_update(s);
    return s->rx_limit;
}

/* Limits only rise on one path; a new one may begin lower, where memory is short. */
uint64_t credit_path_limit(struct mux_stream *s)
{
    uint64_t limit = limit_now(s);

    if (!is_pressed(s->mux) && !memory_is_short_for(s) && limit < s->rx_limit)
        limit = s->rx_limit;
    s->rx_limit = limit > s->rx_received ? limit : s->rx_received;
    credit_promise_update(s);
    return s->rx_limit;
}

void credit_promise_update(struct mux_stream *s)
{
    bool counts = stream_state_is_receiving((enum stream_state)s->state) ||
                  s->state == STREAM_OPENING || s->state == STREAM_ASKED;
    uint32_t promise = counts ? (uint32_t)(s->rx_limit - s->rx_received) : 0;

    s->mux->stats.promised_bytes += (size_t)promise - s->rx_promised;
    s->rx_promised = promise;
}

static uint32_t step(const struct mux_stream *s)
{
    uint32_t quarter = (memory_is_short_for(s) ? CHUNK_SMALL_ROOM : window_now(s)) / 4;

    return quarter < MUX_CREDIT_STEP ? quarter : MUX_CREDIT_STEP;
}

static void rest_window(struct mux_stream *s)
{
    uint32_t now = (uint32_t)s->mux->now_ms;

    if (now - s->rx_last_ms >= MUX_WINDOW_REST_MS && s->rx_window > s->mux->config.first_window)
        s->rx_window = (uint32_t)s->mux->config.first_window;
    s->rx_last_ms = now;
}

/* The peer had to stop at the limit while the program takes all as it comes: the window is
 * what slows them.  Once for each window that went through. */
static void grow_window(struct mux_stream *s)
{
    uint32_t max = (uint32_t)s->mux->config.window_max, window = s->rx_window;

    if (!s->is_at_limit || s->rx.len || s->rx_since_grown < window)
        return;
    s->is_at_limit = false;
    if (window >= max || !may_grow(s->mux, window))
        return;
    s->rx_window = window > max / 2 ? max : window * 2;
    s->rx_since_grown = 0;
}

/* What comes again comes in small steps: the window has to grow anew. */
void credit_overrun(struct mux_stream *s)
{
    if (!stream_may_move(s))
        return;
    s->rx_window = MUX_WINDOW_LEAST;
    s->rx_since_grown = 0;
    s->is_at_limit = false;
    s->rx_limit = s->rx_received;
    credit_promise_update(s);
}

static void wait_for_tick(struct mux_stream *s)
{
    if (!s->link || s->owed & OWE_CREDIT)
        return;
    s->is_credit_lazy = true;
    stream_owe_refresh(s);
}

void credit_received(struct mux_stream *s, bool is_at_limit)
{
    rest_window(s);
    s->is_at_limit |= is_at_limit;
    credit_promise_update(s);
    if (s->rx_unacked >= step(s))
        stream_owe(s, OWE_CREDIT);
    else
        wait_for_tick(s);
}

void credit_consumed(struct mux_stream *s)
{
    if (!stream_state_is_receiving((enum stream_state)s->state))
        return;
    grow_window(s);
    if (limit_now(s) >= s->rx_limit + step(s))
        stream_owe(s, OWE_CREDIT);
}
