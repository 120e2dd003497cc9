#pragma once
#include "lib/base/addr.h"
#include "lib/base/buf.h"
#include "lib/net/loop.h"
/*
 * listener.h - accepts connections: TCP and Unix sockets.
 *
 * Out of descriptors: accepting pauses 100 ms and is counted, and the backlog waits.
 *
 * Ownership  on_accept owns the descriptor it is given (non-blocking, close-on-exec,
 *            TCP_NODELAY, keep-alive on).  A Unix socket's file is removed by listener_free()
 *            and, if nobody listens on it, by listener_open().
 * Threads    its loop's thread.
 * Errors     -errno; reterr is for a person and names the owner of a taken address.
 */
struct listener;

struct listener_config {
    struct endpoint at;             /* port 0: any (see listener_endpoint) */
    bool is_shared;                 /* SO_REUSEPORT: one listener for each worker */
    bool is_abortive;               /* what it accepts, as conn_options says */
    int backlog;                    /* 0: 1024 */
    uint32_t turn_max;              /* connections taken in one turn; 0: 32 */
    mode_t mode;                    /* of a Unix socket's file; 0: 0600 */
    void (*on_accept)(void *user, int fd, const struct endpoint *peer);
    /* Each time accepting pauses; is_new: the last time was more than 1 s ago.  May be NULL. */
    void (*on_paused)(void *user, const struct endpoint *at, int error, bool is_new);
    void *user;
};

struct listener_stats {
    uint64_t accepted, paused, errors;
};

MUST_CHECK int listener_open(struct loop *l, const struct listener_config *config,
                             struct listener **ret_listener, struct buf *reterr);
/* Stops accepting; the backlog is refused by the kernel when it is freed. */
void listener_free(struct listener *s);
DEFINE_FREEP(listener, listener_free)
struct endpoint listener_endpoint(const struct listener *s);    /* the real port */
const struct listener_stats *listener_stats(const struct listener *s);
