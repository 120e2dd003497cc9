#pragma once
#include "lib/net/conn.h"
/*
 * ws_client.h - opens a WebSocket: dials, alone or through a proxy, TLS, asks for the upgrade.
 *
 * Units      bytes, milliseconds.
 * Ownership  the caller frees it, in any handler too.  Nothing is called after that, nor after
 *            on_open or on_failed.  An open connection is the caller's: lib/ws/conn goes on with it.
 * Threads    the loop's thread.
 * Limits     the answer's head 8 KiB.
 * Source     RFC 6455.
 */
struct ws_client;

struct ws_client_handlers {
    /* `early`: what came behind the answer, for this call. */
    void (*on_open)(void *user, struct conn *conn, struct span early);
    /* `why`: what the peer named, or PROTOCOL_ERROR, BAD_CERTIFICATE …; UPLINK_PROXY_…: the
     * proxy; SESSION_LOST: the network. */
    void (*on_failed)(void *user, enum reason why, const char *text);
};

struct ws_client_config {
    struct loop *loop;
    struct endpoint to;                 /* of the proxy, when there is one */
    struct conn_options conn;
    bool is_proxied;                    /* by CONNECT to authority: via.h */
    const char *proxy_credentials;      /* "user:password"; "" or NULL: none */
    const char *authority;              /* Host: "relay.example:7443" */
    const char *path;                   /* "/tunnel" */
    const char *protocol;               /* one subprotocol */
    const char *field_name;             /* one more of the request, static; NULL: none */
    const char *field_value;            /* up to 15 bytes */
};

MUST_CHECK int ws_client_dial(const struct ws_client_config *config,
                              const struct ws_client_handlers *handlers, void *user,
                              struct ws_client **ret_client);
void ws_client_free(struct ws_client *c);
DEFINE_FREEP(ws_client, ws_client_free)
/* In on_failed: what the answer's Retry-After said, at most an hour; 0: nothing. */
uint32_t ws_client_retry_after_ms(const struct ws_client *c);
