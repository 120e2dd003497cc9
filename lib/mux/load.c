#include "lib/mux/mux_internal.h"
/*
 * What links carry, for whoever decides how many of them there are and which streams they have.
 */

/* Turns are told apart by a number, so that nobody walks over streams to begin one. */
void load_carried(struct mux_stream *s, size_t n)
{
    struct mux_link *l = s->link;

    l->carried += n;
    if (s->load_turn != l->load_turn) {
        s->load_turn = l->load_turn;
        s->load = 0;
    }
    if (s->load >= MUX_BULK_BYTES)
        return;
    s->load += (uint32_t)n;
    if (s->load >= MUX_BULK_BYTES)
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

    return is_now && s->load >= MUX_BULK_BYTES;
}
