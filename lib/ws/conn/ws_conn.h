#pragma once
#include "lib/net/conn.h"
#include "lib/ws/ws.h"
/*
 * ws_conn.h - an open WebSocket on a connection, either end.
 *
 * Shape      a frame out by ws_conn_send(), at once; messages in are handed on in parts as they
 *            arrive, already unmasked.  PING and Close are answered here, in order, and
 *            before the next message.  No queue: while a frame is still going out there is no room
 *            for the next, and on_writable tells when there is.
 * Units      bytes.
 * Ownership  in place.  It owns the conn from ws_conn_init() on, until ws_conn_deinit() or
 *            on_closed.  Either may come within any handler; its memory has to stay until the turn
 *            is over.  Nothing is allocated for a message but for what the socket did not take.
 * Threads    the loop's thread.
 * Limits     PONGs that wait: WS_CONN_CONTROL_MAX, further PINGs meanwhile are not answered;
 *            WS_CONN_CONTROLS_MAX PINGs and PONGs at once and WS_CONN_CONTROLS_PER_S a second come in,
 *            beyond them it is over (PROTOCOL_ERROR, Close 1008).
 * Source     RFC 6455.
 */
#define WS_CONN_MESSAGE_MAX (65536 - WS_HEADER_MAX)     /* of a frame out: four records of TLS */
#define WS_CONN_CONTROL_MAX 4096
#define WS_CONN_CONTROLS_MAX 64
#define WS_CONN_CONTROLS_PER_S 16

struct ws_conn;

struct ws_conn_handlers {
    /* A part of a message; `opcode`: of the message, WS_BINARY or WS_TEXT. */
    void (*on_data)(void *user, enum ws_opcode opcode, struct span part, bool is_last);
    void (*on_writable)(void *user);    /* there is room again, after there was none */
    /* It is over, and the connection gone.  PROTOCOL_ERROR: the peer was told so by a Close;
     * SESSION_LOST: the network, or the peer's Close. */
    void (*on_closed)(void *user, enum reason why, const char *text);
};

struct ws_conn {                /* its own */
    struct conn *conn;          /* NULL: closed */
    const struct ws_conn_handlers *handlers;
    void *user;
    struct ws_parser parser;
    unsigned char *rest;        /* of frames that have begun; NULL: none */
    size_t rest_at, rest_len;
    unsigned char *control;     /* whole frames that go out before the next message; NULL: none */
    size_t control_len;
    uint32_t controls_left;     /* that may come in */
    uint64_t controls_ms;       /* when that was so */
};

/* `early`: what came behind the head of the opening; its events come within this call. */
void ws_conn_init(struct ws_conn *w, struct conn *conn, const struct ws_options *options,
                  const struct ws_conn_handlers *handlers, void *user, struct span early);
/* Drops the connection. */
void ws_conn_deinit(struct ws_conn *w);
bool ws_conn_is_open(const struct ws_conn *w);
/* Asks also for on_writable where there is none. */
bool ws_conn_has_room(struct ws_conn *w);
/* One frame, when there is room: n <= WS_CONN_MESSAGE_MAX bytes that lie behind WS_HEADER_MAX bytes
 * of the caller's memory, both of which are written to. */
void ws_conn_send(struct ws_conn *w, enum ws_opcode opcode, bool is_last, unsigned char *payload,
                  size_t n);
/* All that was sent is in the kernel, or is flushed by ws_conn_close(). */
bool ws_conn_is_sent(const struct ws_conn *w);
/* Close, the end of the connection behind it, and nothing more is called. */
void ws_conn_close(struct ws_conn *w, uint16_t code, const char *text);
