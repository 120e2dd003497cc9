#pragma once
#include "lib/tunnel/pace.h"
#include "lib/tunnel/server/gather.h"
#include "lib/tunnel/server/tunnel_server.h"
#include <libwebsockets.h>
/*
 * server_internal.h - tunnel_server.c takes descriptors and counts, server_link.c is one link,
 * server_lws.c what libwebsockets calls.
 */
#define SERVER_MESSAGE_OUT_MAX 65536
#define SERVER_MESSAGE_IN_MAX (1u << 20)
#define SERVER_EMPTY_MAX 1024
#define SERVER_PART_MAX 16448   /* received at a time: a TLS record; held for each connection */
#define SERVER_TEXT_MAX 160

struct server_tokens {
    uint64_t milli, at_ms;      /* in thousandths */
    uint32_t per_s;             /* as many at once */
};

struct tunnel_server {
    struct tunnel_server_config config;
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct list links;
    struct tunnel_server_stats stats;
    bool is_draining, is_freed;
    struct server_tokens admitted, told;        /* handshakes that may begin; 503s that may */
    struct server_crowd { uint64_t second; uint32_t now, before; } crowd;   /* turned away in a second */
    struct loop_end end;
    SSL_CTX *no_client;         /* libwebsockets would make a costly one for clients, and lose it */
    unsigned char *scratch;     /* LWS_PRE and one message: libwebsockets copies what it keeps */
    unsigned char *records;     /* GATHER_BYTES: the same under TLS */
};

/*
 * A connection and its tunnel.  The tunnel is made when the WebSocket is open; the link
 * ends when either is gone, on a turn of its own.
 */
struct server_link {
    struct tunnel_server *server;
    struct list node;
    struct lws *wsi;            /* NULL: libwebsockets has ended it */
    struct gather *gather;      /* the SSL's; NULL: plain */
    struct tunnel *tunnel;
    struct endpoint peer;
    struct loop_task flush, held;
    struct loop_timer tick, paced, deadline;
    struct loop_reap reap;
    struct pace pace;
    uint64_t measured_ms, received, message_bytes;
    unsigned empties;           /* parts without a byte, in a row */
    uint64_t records, received_before;  /* of TLS that began to come; when the last one did */
    bool is_bounded;            /* the peer is near: see pace.h */
    bool is_counted;            /* among the handshakes */
    bool is_finishing, is_gone;
    bool is_peer_closing;       /* its Close came: what is behind it is not read */
    bool is_put_off;            /* it is told to come later, at the upgrade */
    bool is_left;               /* libwebsockets is about to close it by itself */
    enum reason why;
    char text[SERVER_TEXT_MAX];
};

extern const struct lws_protocols server_protocols[];

struct server_link *server_link_new(struct tunnel_server *s, const struct endpoint *peer);
void server_link_free(struct server_link *k);       /* on_down, if there was a tunnel */
void server_link_adopted(struct server_link *k, struct lws *wsi);
/* When those that are turned away now may be served; at least 1. */
unsigned server_retry_after_s(const struct tunnel_server *s);
/* For the callbacks: false closes the connection. */
bool server_link_opened(struct server_link *k);
bool server_link_received(struct server_link *k, struct span bytes, bool is_last);
bool server_link_writable(struct server_link *k);
/* The handshake is over: the link is judged good, or gone. */
void server_link_settled(struct server_link *k);
void server_link_gone(struct server_link *k, enum reason why, const char *text);
