#pragma once
#include "lib/tunnel/carry/carry.h"
#include "lib/tunnel/server/tunnel_server.h"
#include "lib/ws/server/ws_server.h"
/*
 * server_internal.h - tunnel_server.c takes descriptors and counts, server_link.c is one link.
 */
struct server_tokens {
    uint64_t milli, at_ms;      /* in thousandths */
    uint32_t per_s;             /* as many at once */
};

struct tunnel_server {
    struct tunnel_server_config config;
    struct list links;
    struct tunnel_server_stats stats;
    bool is_draining, is_freed;
    struct server_tokens admitted, told;        /* handshakes that may begin; 503s that may */
    struct server_crowd { uint64_t second; uint32_t now, before; } crowd;   /* turned away in a second */
    struct loop_reap reap;
};

/*
 * A connection and its tunnel.  The tunnel is made when the WebSocket is open; the link
 * ends when either is gone, on a turn of its own.
 */
struct server_link {
    struct carry carry;
    struct tunnel_server *server;
    struct list node;
    struct ws_server *opening;  /* NULL: open, or gone */
    struct endpoint peer;
    struct loop_timer deadline; /* of the handshake */
    struct loop_reap reap;
    bool is_counted;            /* among the handshakes */
    bool is_put_off;            /* it is told to come later, at the upgrade, unless streams wait for it */
    uint32_t wait_s;            /* whatever waits: so long; 0: as many come */
};

/* Takes the descriptor in any case; NULL: no memory. */
struct server_link *server_link_new(struct tunnel_server *s, int fd, const struct endpoint *peer,
                                    bool is_put_off, uint32_t wait_s);
void server_link_free(struct server_link *k);       /* on_down, if there was a tunnel */
/* When those that are turned away now may be served; at least 1. */
unsigned server_retry_after_s(const struct tunnel_server *s);
