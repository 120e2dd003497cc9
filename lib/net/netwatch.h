#pragma once
#include "lib/net/loop.h"
/*
 * netwatch.h - tells when the machine's addresses or routes may have changed.
 *
 * Many changes that come together are one call, NETWATCH_REST_MS after the first; two calls
 * are at least NETWATCH_GAP_MS apart.  What changed is for the caller to look at.
 *
 * Units      milliseconds.
 * Ownership  netwatch_free() before the loop; it may be called in fn.
 * Threads    its loop's thread.
 * Errors     -errno of the netlink socket.
 * Source     rtnetlink(7).
 */
#define NETWATCH_REST_MS 200
#define NETWATCH_GAP_MS 1000

struct netwatch;

MUST_CHECK int netwatch_new(struct loop *l, void (*fn)(void *arg), void *arg, struct netwatch **ret_watch);
void netwatch_free(struct netwatch *n);
DEFINE_FREEP(netwatch, netwatch_free)
