#include "lib/mux/mux_internal.h"
/*
 * What links carry, for whoever decides how many of them there are and which streams they have.
 */

#define LOAD_UNIT 64            /* bytes; a frame of fewer counts as one */
#define LOAD_BULK (MUX_BULK_BYTES / LOAD_UNIT)

/* Turns are told apart by a number, so that nobody walks over streams to begin one. */
void load_carried(struct mux_stream *s, size_t n)
{
    struct mux_link *l = s->link;

    l->carried += n;
    l->used_ms = l->mux->now_ms;
    if (s->load_turn != l->load_turn) {
        s->load_turn = l->load_turn;
        s->load = 0;
    }
    if (s->load >= LOAD_BULK)
        return;
    s->load = (uint16_t)(s->load + (n + LOAD_UNIT - 1) / LOAD_UNIT);
    if (s->load >= LOAD_BULK)
        l->bulk++;
}

void mux_link_measure(struct mux_link *l, struct mux_load *ret_load)
{
    *ret_load = (struct mux_load){ .bytes = l->carried, .bulk = l->bulk };
    l->carried = 0;
    l->bulk = 0;
    l->load_turn++;
}

bool mux_stream_is_bulk(const struct mux_stream *s)
{
    bool is_now = s->link && (s->load_turn == s->link->load_turn ||
                              s->load_turn == (uint16_t)(s->link->load_turn - 1));

    return is_now && s->load >= LOAD_BULK;
}
