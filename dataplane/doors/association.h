#pragma once
#include "dataplane/doors/socks5.h"
#include "dataplane/route/router.h"
/*
 * association.h - SOCKS5 UDP ASSOCIATE: datagrams of one client to targets behind agents.
 *
 * A socket of its own, at the address where the client's TCP connection came in, for as long as
 * that lives.  Only datagrams from the connection's address count, and from one port: the one the
 * request named with that very address, else the first that sends a well-formed datagram.  Answers
 * go there and nowhere else, so a forged source gets nothing.
 *
 * Each target (name or address, and port) is a request of its own: one decision, one stream, one
 * record.  A target that was refused, or whose stream ended, is not asked for again for a
 * moment, so that datagrams cannot make decisions as fast as they come.
 *
 * Bounds     targets, datagrams waiting for their target, new targets a second, datagrams taken in
 *            one turn, bytes answered for bytes asked; each counted when it drops one
 *            (DATAGRAM_DROPS).
 * Ownership  the caller's; association_close() ends its streams.
 * Threads    the worker's loop.
 * Errors     -errno.
 * Source     RFC 1928 sections 6 and 7.
 */
#define ASSOCIATION_HOLD_MS 2000            /* a target that was refused waits that long */
#define ASSOCIATION_WAITING_MAX 65536       /* bytes that wait for targets to be opened */
#define ASSOCIATION_TARGETS_PER_S 32        /* new ones, once targets_max were asked for at once */
#define ASSOCIATION_TURN 32                 /* datagrams from the client in one turn */
#define ASSOCIATION_REPLY_START (1 << 20)   /* bytes that may be answered before the ratio counts */
#define ASSOCIATION_DRAIN_IDLE_MS 2000      /* silence that ends a target while the relay drains */

struct udp_limits {
    uint32_t targets_max;           /* of an association; 0: there are none */
    uint32_t associations_max;      /* of a door */
    uint32_t idle_ms;               /* of a target */
    uint32_t association_idle_ms;   /* 0: never */
    uint32_t reply_ratio;           /* bytes answered for each byte asked; 0: any */
};

struct association_config {
    struct loop *loop;
    struct router *router;
    struct metric_slot *metrics;
    const char *door;               /* static */
    struct principal principal;
    struct addr client;
    uint16_t client_port;           /* 0: the first well-formed datagram tells */
    struct addr at;                 /* where the socket is bound */
    struct udp_limits limits;
    void (*on_idle)(void *user);    /* nothing moved: close it */
    void *user;
};

struct association;

MUST_CHECK int association_open(const struct association_config *config, struct association **ret_association);
void association_close(struct association *a);
DEFINE_FREEP(association, association_close)
struct endpoint association_endpoint(const struct association *a);  /* where the client sends */
