#pragma once
#include "lib/base/reason.h"
#include "lib/mux/mux.h"
#include "lib/net/conn.h"
/*
 * pipe.h - carries bytes between a socket and a stream, both ways, half-close included.
 *
 * Socket to stream: read straight into the stream's replay buffer, as much as its credit
 * allows, at most PIPE_TURN bytes for each turn of the loop.  Stream to socket: one writev
 * at the turn's end of all that came in it; consumed (so granted again) is what the kernel took.  There is no
 * buffer in between.  An error of the socket resets the stream after the bytes that were
 * read; a reset of the stream becomes an RST.
 *
 * Shape      embedded, zeroed, in its owner, which is the stream's user and passes the mux's
 *            handlers on to the four functions below.
 * Ownership  pipe_start() takes the conn.  The stream belongs to its mux.
 * Threads    the loop's thread.
 */
#define PIPE_TURN (128 * 1024)
#define PIPE_UNSENT_MAX (128 * 1024)    /* of the kernel's, for a socket whose reader is slow, */
#define PIPE_UNSENT_FROM (16 * 1024)    /* once so much went into it: most never take more */

/* Bounds what a pipe carries, both ways together.  Whoever has one sets `gate` before pipe_start();
 * while it says 0, nothing moves until pipe_resume(). */
struct pipe_gate {
    size_t (*room)(struct pipe_gate *gate, size_t most);    /* bytes that may move now, at most `most` */
    void (*carried)(struct pipe_gate *gate, size_t bytes);
};

/* Streams are many and mostly idle: what few of them need is not in each. */
struct pipe_idle;
struct pipe_early;

struct pipe {
    struct conn *conn;              /* NULL: over, or never started */
    struct mux_stream *stream;
    struct pipe_idle *idle;         /* NULL: silence has no limit */
    struct pipe_early *early;       /* bytes that go before the socket's; freed when out */
    struct pipe_gate *gate;         /* NULL: no bound */
    struct loop_task out;           /* the write at the end of this turn */
    enum reason conn_lost;          /* what an error of the socket means: client-gone, target-reset */
    bool is_in_done;                /* the socket's end was passed to the stream */
    bool is_out_done;               /* the stream's end was passed to the socket */
    bool is_bounded;                /* what the kernel holds unsent */
};

/* From here on bytes flow.  What the stream holds already is written at once; `early` is what
 * was read off the socket before (copied). */
void pipe_start(struct pipe *p, struct conn *conn, struct mux_stream *stream, enum reason conn_lost,
                uint32_t idle_ms, struct span early);
static inline bool pipe_is_on(const struct pipe *p) { return p->conn != NULL; }

/* The gate lets some through again. */
void pipe_resume(struct pipe *p);

/* For the mux's handlers of the same names. */
void pipe_on_readable(struct pipe *p);
void pipe_on_writable(struct pipe *p);
void pipe_on_reset(struct pipe *p);
/* The stream is dead: closes the socket in order (REASON_NONE) or with an RST. */
void pipe_on_ended(struct pipe *p, enum reason how);

/* To another thread's loop, as conn_detach() and conn_attach(); the stream goes by itself, and
 * comes first.  Does nothing for a pipe that is not on. */
void pipe_detach(struct pipe *p);
void pipe_attach(struct pipe *p, struct loop *l);

/* Ends it from this side: the stream is reset with `why` at once, the socket gets an RST. */
void pipe_cut(struct pipe *p, enum reason why, struct span text);
