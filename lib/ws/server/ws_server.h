#pragma once
#include "lib/http1/http1.h"
#include "lib/net/conn.h"
/*
 * ws_server.h - takes a WebSocket in: an accepted descriptor, TLS, the request, the answer.
 *
 * Units      bytes, milliseconds.
 * Ownership  the caller frees it, in any handler too; on a descriptor that was given, also where
 *            ws_server_take() fails, the caller has no hold.  Nothing is called after ws_server_free(), on_open
 *            or on_failed.  An open connection is the caller's: lib/ws/conn goes on with it.
 * Threads    the loop's thread.
 * Limits     the head 8 KiB; ready_ms for TLS, and as much for the head.
 * Source     RFC 6455 section 4.2.  Heads are those of lib/http1: what is ambiguous is refused.
 */
#define WS_SERVER_ANSWER_MAX 1024

struct ws_server;

enum ws_server_failure {
    WS_SERVER_LOST,             /* it ended by itself, or was too slow */
    WS_SERVER_TLS,              /* no TLS came about */
    WS_SERVER_REFUSED,          /* no right request for this protocol; it was answered so */
    WS_SERVER_ANSWERED,         /* on_request wanted another answer */
};

struct ws_server_handlers {
    /* A head, whether or not it asks rightly: what is written to `answer` (at most
     * WS_SERVER_ANSWER_MAX bytes) is sent in place of an upgrade. */
    void (*on_request)(void *user, const struct http1_head *head, struct buf *answer);
    /* `early`: what came behind the request, for this call. */
    void (*on_open)(void *user, struct conn *conn, struct span early);
    void (*on_failed)(void *user, enum ws_server_failure how);
};

struct ws_server_config {
    struct loop *loop;
    struct tls_ctx *tls;                /* a server's; NULL: ws:// */
    uint32_t ready_ms;
    const char *protocol;               /* the one subprotocol; lives as long as it */
};

/* Takes the descriptor, one of a listener of lib/net, in any case. */
MUST_CHECK int ws_server_take(const struct ws_server_config *config, int fd,
                              const struct ws_server_handlers *handlers, void *user,
                              struct ws_server **ret_server);
void ws_server_free(struct ws_server *s);
DEFINE_FREEP(ws_server, ws_server_free)
