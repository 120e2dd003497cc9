#pragma once
#include "lib/mux/mux_internal.h"
/*
 * datagram.h - the datagrams of a stream of kind udp, on their way to the link.
 *
 * No offset, no credit, no replay.  What waits is bounded for each stream; then the oldest
 * goes, for a datagram that comes too late is worth less than one that comes now.  What
 * arrives is handed to the program at once and never kept.
 *
 * Units      bytes; a datagram that waits counts with DATAGRAM_COST more.
 * Ownership  the stream's; NULL for streams of bytes.
 * Source     schema/tunnel.md, section "DATAGRAM".
 */
#define DATAGRAM_QUEUE_MAX (64u << 10)
#define DATAGRAM_COST 32
#define DATAGRAMS_MAX 131072        /* taken from one link at once, */
#define DATAGRAMS_PER_S 131072      /* and a second; what is beyond is dropped */

struct datagrams {
    struct list queue;
    uint32_t queued;
    struct mux_datagram_counts counts;
};

struct datagrams *datagrams_new(void);          /* NULL: no memory */
void datagram_drop_all(struct mux_stream *s);   /* nothing more goes out; streams of bytes too */
/* What `s` holds of the mux's memory. */
static inline size_t datagram_held(const struct mux_stream *s)
{
    return s->datagrams ? s->datagrams->queued : 0;
}
/* 0: nothing waits, or the link may not have it yet. */
size_t datagram_sendable(const struct mux_stream *s);
/* The frame of the oldest, if it fits into `room`; else 0. */
size_t datagram_fit(const struct mux_stream *s, size_t room);
size_t datagram_produce(struct mux_stream *s, struct buf *out);     /* the bytes it took */
void datagram_received(struct mux_stream *s, struct span bytes);
