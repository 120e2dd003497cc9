#pragma once
#include "lib/net/conn.h"
/*
 * ws_client.h - a WebSocket client connection on a loop: binary messages both ways.
 *
 * Shape      one frame a message out; messages in are handed on in parts as they arrive.
 *            PING is answered here.  No queue: a message is written into room that
 *            ws_client_reserve() gives, and there is none while one is still going out.
 * Units      bytes, milliseconds.
 * Ownership  the caller frees it, in any handler too.  Nothing is called after that, nor
 *            after on_closed (which may come within ws_client_commit()).
 * Threads    the loop's thread.
 * Source     RFC 6455.
 */
#define WS_CLIENT_MESSAGE_MAX 65536

struct ws_client;

struct ws_client_handlers {
    void (*on_open)(void *user);
    void (*on_data)(void *user, struct span part, bool is_last);
    void (*on_writable)(void *user);    /* reserve() has room again, after it had none */
    /* `why`: what the peer named, or PROTOCOL_ERROR, BAD_CERTIFICATE …; UPLINK_PROXY_…: the
     * proxy; SESSION_LOST: the network, or a Close. */
    void (*on_closed)(void *user, enum reason why, const char *text);
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
    uint64_t message_max;               /* of a message in */
};

MUST_CHECK int ws_client_dial(const struct ws_client_config *config,
                              const struct ws_client_handlers *handlers, void *user,
                              struct ws_client **ret_client);
/* Room for one message of at most WS_CLIENT_MESSAGE_MAX bytes; NULL: not open, no memory, or a
 * message is still going out (on_writable will tell). */
unsigned char *ws_client_reserve(struct ws_client *c);
/* Masks it where it lies and sends it; 0: nothing was written after all. */
void ws_client_commit(struct ws_client *c, size_t n);
bool ws_client_is_sending(const struct ws_client *c);
/* Close with a code, after the message that is going out, then the end of the connection.
 * Frees the client. */
void ws_client_close(struct ws_client *c, uint16_t code, const char *text);
void ws_client_free(struct ws_client *c);
DEFINE_FREEP(ws_client, ws_client_free)
struct conn *ws_client_conn(const struct ws_client *c);
/* In on_closed: what the answer's Retry-After said, at most an hour; 0: nothing. */
uint32_t ws_client_retry_after_ms(const struct ws_client *c);
