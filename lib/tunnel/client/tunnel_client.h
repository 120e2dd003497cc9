#pragma once
#include "lib/net/conn.h"
#include "lib/net/proxy.h"
#include "lib/net/resolver.h"
#include "lib/tunnel/tunnel.h"
/*
 * tunnel_client.h - dials a relay: wss://host:port/tunnel, subprotocol adit.v1.
 *
 * One try: name to addresses, each in turn, through an HTTP proxy where there is one, TLS with our certificate and the pinned root,
 * WebSocket, HELLOs.  When to dial again is the program's.
 *
 * Ownership  the tunnel is the client's; it ends with on_down, which comes on every way,
 *            a failed dial included, never within tunnel_dial().  Close it by
 *            tunnel_close(), at any time.
 * Threads    the loop's thread.
 * Limits     a message out 64 KiB, in 1 MiB; the handshake hello_ms.
 */
struct tunnel_dial {
    struct loop *loop;
    struct resolver *resolver;          /* NULL: host is an address */
    struct mux *mux;
    const char *host;                   /* copied, as all strings here */
    uint16_t port;
    const struct proxy *proxy;          /* lives as long as the tunnel; NULL: none.  Asked whether it
                                         * is for this host; then it resolves the host */
    struct tls_ctx *tls;                /* a client's, for kind relay; NULL: ws:// (tests) */
    uint32_t ready_ms;                  /* to connect, TLS and WebSocket, each address; 0: 10,000 */
    uint32_t streams;                   /* that live and may wait for the link: said in the upgrade */
    const struct tunnel_self *self;
    const struct tunnel_login *login;
    const struct tunnel_handlers *handlers;     /* live as long as the tunnel */
    void *user;
};

MUST_CHECK int tunnel_dial(const struct tunnel_dial *d, struct tunnel **ret_tunnel);
