#pragma once
#include "lib/base/reason.h"
#include "lib/mux/mux.h"
#include "lib/net/loop.h"
/*
 * udp.h - carries datagrams between a stream of kind udp and a connected UDP socket.
 *
 * Connected, so only the target's answers are taken, and what ICMP says of it ends the stream:
 * dial-refused, dial-unreachable.  A datagram that the network or the stream cannot take is
 * dropped.  The entry's FIN is answered with ours and closes the socket.
 *
 * Units      bytes, milliseconds.  At most UDP_TURN datagrams for each turn of the loop.
 * Ownership  the socket is its own; the stream belongs to its mux.
 * Threads    the loop's thread.
 * Errors     -errno.
 */
#define UDP_TURN 64

struct udp;

struct udp_stats {
    uint64_t sent, received;
    uint64_t dropped;               /* too long, or no room in the socket; the mux counts its own */
};

/* A socket that is connected to exactly this address. */
MUST_CHECK int udp_connect(const struct endpoint *to, int *ret_fd);
/* Takes the descriptor, on an error too.  idle_ms 0: never ends for silence. */
MUST_CHECK int udp_start(struct loop *l, int fd, struct mux_stream *stream, uint32_t idle_ms,
                         struct udp_stats *stats, struct udp **ret_udp);
void udp_free(struct udp *u);
DEFINE_FREEP(udp, udp_free)

/* For the mux's handlers. */
void udp_on_datagram(struct udp *u, struct span bytes);
void udp_on_readable(struct udp *u);        /* the FIN */
/* Ends it from this side. */
void udp_cut(struct udp *u, enum reason why, struct span text);
