#pragma once
#include "dataplane/route/roster.h"
#include "dataplane/route/router.h"
/*
 * ferry.h - a route of kind udp for somebody who stays where he is: when its agent's link is
 * another worker's, the route goes there alone, and datagrams cross.
 *
 * Where both are on one worker all is a plain call.  Else each datagram is one post, copied;
 * FERRY_WAITING_MAX bytes at the most are under way, and what comes beyond is dropped and
 * counted, as anywhere on the way of a datagram.
 *
 * Ownership  one reference is home's, until ferry_release() or ferry_abandon(), on_refused or
 *            on_ended; one the route's.
 * Threads    ferry_*: the home worker's loop, where the handlers are called, too.
 */
#define FERRY_WAITING_MAX 262144

struct ferry;

struct ferry_handlers {
    void (*on_opened)(void *user, const struct endpoint *at);
    void (*on_datagram)(void *user, struct span bytes);
    void (*on_fin)(void *user);         /* the agent sends no more */
    void (*on_over)(void *user);        /* refused, or ended; the last call */
};

struct ferry_config {
    struct router *router;              /* at home */
    struct metric_slot *metrics;
    const struct ferry_handlers *handlers;
    void *user;
};

/* REASON_NONE; else refused, and nothing follows. */
enum reason ferry_open(const struct ferry_config *config, const struct route_request *request,
                       struct ferry **ret_ferry);
/* False: dropped, counted where. */
bool ferry_send(struct ferry *f, struct span bytes);
void ferry_release(struct ferry *f);        /* as route_release() */
void ferry_abandon(struct ferry *f, enum reason why);
