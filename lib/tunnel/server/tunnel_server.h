#pragma once
#include "lib/net/loop.h"
#include "lib/net/tls.h"
#include "lib/tunnel/tunnel.h"
/*
 * tunnel_server.h - takes tunnels in, on a worker's loop.
 *
 * Descriptors come from the worker's own listener (lib/net/listener.h).  Path /tunnel and
 * subprotocol adit.v1 only; text messages, compression and early data are refused.
 *
 * Ownership  tunnels are the server's; each ends with on_down.  tunnel_server_free() ends
 *            all at once (their on_down is called in it) and is not for handlers.
 * Threads    the loop's thread.
 * Limits     links_max, handshakes_max, handshakes_per_s (beyond: a quarter as many are told
 *            by 503 with Retry-After, all others closed at once, before anything costly; of the
 *            former those whose agent says that it has living streams are let in all the same),
 *            handshake_ms; a message in 1 MiB, out 64 KiB.
 */
struct tunnel_server;

struct tunnel_server_config {
    struct loop *loop;
    struct mux *mux;
    struct tls_ctx *tls;                /* a server's; NULL: ws:// (tests) */
    const struct tunnel_self *self;     /* lives as long as the server; read at each handshake */
    const struct tunnel_handlers *handlers;
    void *user;                         /* of each tunnel, until tunnel_set_user() */
    uint32_t links_max;                 /* 0: 20,000 */
    uint32_t handshakes_max;            /* at a time, until accepted; 0: 1,000 */
    uint32_t handshakes_per_s;          /* admitted, as many at once; 0: 500 */
    uint32_t handshake_ms;              /* from the descriptor to the verdict; 0: 10,000 */
};

struct tunnel_server_stats {
    uint64_t adopted, upgraded, up, living, put_off, refused_overload, refused_path, refused_protocol,
             timed_out, tls_failed, bad_messages;
    uint32_t handshakes, links;         /* now */
};

MUST_CHECK int tunnel_server_new(const struct tunnel_server_config *config,
                                 struct tunnel_server **ret_server);
/* Takes the descriptor, also when it is refused. */
void tunnel_server_adopt(struct tunnel_server *s, int fd, const struct endpoint *peer);
/* Likewise, for a caller who is to come later: told by 503 if there is a token for that, else closed. */
void tunnel_server_put_off(struct tunnel_server *s, int fd, const struct endpoint *peer, uint32_t wait_ms);
/* GOAWAY with time on all links (drain); new handshakes are refused from now on. */
void tunnel_server_drain(struct tunnel_server *s, const struct mux_goaway *goaway);
const struct tunnel_server_stats *tunnel_server_stats(const struct tunnel_server *s);
void tunnel_server_free(struct tunnel_server *s);
DEFINE_FREEP(tunnel_server, tunnel_server_free)
