#pragma once
#include "lib/tunnel/pace.h"
#include "lib/tunnel/tunnel.h"
#include "lib/ws/conn/ws_conn.h"
/*
 * carry.h - what carries a tunnel from the open WebSocket on, at either end.
 *
 * Life       carry_init(); carry_open() when there is a connection and c->tunnel is set;
 *            on_end once, on a turn of its own, after which the owner calls carry_deinit().
 * Ownership  in place, in its owner's memory, which has to stay until the turn of carry_deinit()
 *            is over.  The tunnel is its own from when it is set.
 * Threads    the loop's thread.
 * Limits     a message out WS_CONN_MESSAGE_MAX, in 1 MiB; 256 KiB out in a turn; what is under way: pace.h.
 */
#define CARRY_TEXT_MAX 320

struct carry;

struct carry_handlers {
    void (*on_turn)(struct carry *c);   /* NULL, or before each turn's output */
    void (*on_end)(struct carry *c);
};

struct carry {
    struct loop *loop;
    struct tunnel *tunnel;      /* NULL: none yet */
    const struct carry_handlers *handlers;
    struct ws_conn ws;
    struct loop_task flush;     /* at the end of this turn */
    struct loop_timer tick, paced, finish;
    struct pace pace;
    uint64_t measured_ms;
    bool is_open;               /* it was once */
    bool is_bounded;            /* the peer is near: see pace.h */
    bool is_finishing, is_gone;
    enum reason why;
    char text[CARRY_TEXT_MAX];
};

extern const struct tunnel_carrier carry_carrier;       /* for tunnel_config; its argument is the carry */

void carry_init(struct carry *c, struct loop *loop, const struct carry_handlers *handlers);
/* Takes the connection and starts the tunnel. */
void carry_open(struct carry *c, struct conn *conn, bool is_server, const struct endpoint *peer,
                struct span early);
/* The connection is gone or never was; on_end comes at the end of a turn. */
void carry_gone(struct carry *c, enum reason why, const char *text);
/* on_down, if there is a tunnel. */
void carry_deinit(struct carry *c);
