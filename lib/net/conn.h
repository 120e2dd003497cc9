#pragma once
#include "lib/base/addr.h"
#include "lib/net/loop.h"
#include "lib/net/tls.h"
#include <sys/types.h>
/*
 * conn.h - a connected byte stream: TCP or Unix, plain or TLS, on one loop.
 *
 * No queue of its own: conn_read() and conn_writev() move bytes when the caller can take
 * or give them, and conn_want() says which of the two may be called when possible.  Under
 * TLS the records of one conn_writev() go out in sends of up to 64 KiB; what the kernel
 * did not take (at most that much) is kept and flushed first.
 *
 * Ownership  adopted descriptors are the conn's from the call on, also when it fails.
 *            conn_free() may be called in any handler; no handler is called after it.
 * Threads    its loop's thread.
 * Errors     < 0 is -errno: the connection is dead, free it.  An end of input without
 *            TLS's close_notify is -ECONNRESET, never a clean end.
 */
struct conn;

enum { CONN_READ = 1, CONN_WRITE = 2 };

struct conn_handlers {          /* any may be NULL */
    void (*on_ready)(void *user);       /* connected, TLS handshake done; once */
    void (*on_readable)(void *user);    /* while CONN_READ is wanted: bytes, the end, or an error */
    void (*on_writable)(void *user);    /* while CONN_WRITE is wanted: conn_writev() takes bytes */
    void (*on_failed)(void *user, int error);   /* before on_ready: why it never will be */
};

struct conn_options {
    struct tls_ctx *tls;        /* NULL: plain */
    const char *server_name;    /* TLS client: the name (SNI), or the address, dialled; NULL: none */
    uint32_t ready_ms;          /* to connect and shake hands in; 0: 10,000 */
    bool is_accepted;           /* by a listener of lib/net, as is_abortive as this: its options are set */
    bool is_abortive;           /* if we die or drop it, the peer sees an RST, not a clean end */
};

/* An accepted or connected descriptor (made non-blocking here).  on_ready comes on a later
 * turn, for plain ones too.  Fails with -ENOMEM. */
MUST_CHECK int conn_adopt(struct loop *l, int fd, const struct conn_options *options,
                          const struct conn_handlers *handlers, void *user, struct conn **ret_conn);
/* Connects.  Failures that are known at once come by on_failed on a later turn too. */
MUST_CHECK int conn_dial(struct loop *l, const struct endpoint *to,
                         const struct conn_options *options, const struct conn_handlers *handlers,
                         void *user, struct conn **ret_conn);
/* Other handlers from now on (a door hands the connection to a pipe). */
void conn_set_handlers(struct conn *c, const struct conn_handlers *handlers, void *user);

/* > 0 bytes; 0 the clean end; -EAGAIN nothing now; other -errno dead. */
ssize_t conn_read(struct conn *c, void *dst, size_t n);
/* >= 0 bytes taken, perhaps fewer than given; -EAGAIN none now; other -errno dead. */
ssize_t conn_writev(struct conn *c, const struct span *spans, size_t count);
ssize_t conn_write(struct conn *c, const void *p, size_t n);
void conn_want(struct conn *c, unsigned events);
unsigned conn_wanted(const struct conn *c);

/* FIN (after close_notify, after what is kept); reading goes on. */
void conn_shutdown_write(struct conn *c);
/* Ends in order, without waiting: what is kept is flushed in the background (5 s at the
 * most), then closed.  The conn is gone for the caller. */
void conn_close(struct conn *c);
/* RST. */
void conn_reset(struct conn *c);
/* Drops it: an RST if is_abortive, else close(2). */
void conn_free(struct conn *c);
DEFINE_FREEP(conn, conn_free)

bool conn_is_ready(const struct conn *c);
int conn_fd(const struct conn *c);
struct loop *conn_loop(const struct conn *c);
struct endpoint conn_peer(const struct conn *c);        /* ENDPOINT_NONE if unknown */
struct endpoint conn_local(const struct conn *c);
/* NULL: no TLS, or no certificate was shown. */
const struct identity *conn_tls_peer(const struct conn *c);
/* After on_failed under TLS: whom or what was wrong; REASON_NONE: the network. */
enum reason conn_refusal(const struct conn *c);
/* Why what was done has failed (error: -errno; 0: the other side closed), with a sentence: what
 * conn_refusal() says, else session-lost. */
enum reason conn_why(const struct conn *c, const char *doing, int error, char *ret_text, size_t room);
/* TLS: what the kernel did not take is kept, and nothing more is taken before it is gone. */
bool conn_is_holding(const struct conn *c);
/* Bytes given and not yet acknowledged by the peer's kernel. */
size_t conn_unsent(const struct conn *c);
struct socket_path;                             /* lib/net/socket.h */
bool conn_path(const struct conn *c, struct socket_path *ret_path);
/* Moves a ready connection, TLS and all, to another thread's loop.  detach() on the one thread,
 * at a turn's end (loop_defer); then attach() on the other, nothing in between.  Handlers and
 * wants stay. */
void conn_detach(struct conn *c);
void conn_attach(struct conn *c, struct loop *l);
/* Takes the descriptor out of a plain conn and frees the conn; -1 under TLS (nothing done). */
int conn_release_fd(struct conn *c);
