#pragma once
#include "lib/net/conn.h"
#include "lib/net/loop_internal.h"
#include "lib/net/tls_internal.h"
/*
 * conn_internal.h - a connection as the files of this room see it.
 *
 * conn.c has its life and events, conn_io.c moves bytes, conn_tls.c is the same under TLS.
 */
#define CONN_SEND_BYTES 65536           /* cipher bytes gathered for one send */
#define CONN_KEPT_MAX (256 * 1024)

enum conn_state {
    CONN_CONNECTING,
    CONN_HANDSHAKE,
    CONN_READY,
    CONN_FAILED,                /* waits for conn_free() */
    CONN_FLUSHING,              /* closed by its owner: what is kept goes out first */
    CONN_LINGERING,             /* FIN sent, input is dropped until the peer's */
    CONN_DEAD,
};

struct conn {
    enum conn_state state;
    struct loop *loop;
    struct watch *watch;
    int fd;
    const struct conn_handlers *handlers;
    void *user;
    unsigned wanted;
    bool is_accepted, is_abortive;
    bool is_fin_wanted, is_fin_sent;
    bool has_ended;             /* plain: the peer's FIN was read */
    int error;                  /* sticks */
    struct loop_timer timer;
    struct loop_task task;      /* on_ready or on_failed of a later turn, input that TLS holds */
    struct loop_reap reap;
    struct loop_owned owned;    /* while it is flushed for nobody */

    unsigned char *kept;        /* cipher bytes that the kernel did not take */
    size_t kept_at, kept_len;

    struct tls_ctx *tls;        /* NULL: plain */
    SSL *ssl;
    unsigned char *out;         /* the loop's scratch during a call, else NULL */
    size_t out_len;
    bool is_socket_empty;       /* during a call: the last read took all */
    bool is_drained;            /* TLS holds no input: the socket will say when there is more */
    bool has_peer;
    enum reason refusal;
    struct identity *peer;      /* valid if has_peer; NULL: plain */
};

/* Sends what is kept.  0 all is gone; -EAGAIN; other -errno. */
int conn_flush_kept(struct conn *c);
/* Keeps a copy of what could not be sent. */
int conn_keep(struct conn *c, const unsigned char *p, size_t n);
/* One send(2): bytes taken, -EAGAIN, other -errno. */
ssize_t conn_send(struct conn *c, const void *p, size_t n);
/* After close_notify: FIN, as soon as nothing is kept. */
void conn_finish_write(struct conn *c);

int conn_tls_init(struct conn *c, struct tls_ctx *tls, const char *server_name);
void conn_tls_deinit(struct conn *c);
/* 0 done; -EAGAIN; other -errno. */
int conn_tls_handshake(struct conn *c);
ssize_t conn_tls_read(struct conn *c, void *dst, size_t n);
ssize_t conn_tls_writev(struct conn *c, const struct span *spans, size_t count);
void conn_tls_close_notify(struct conn *c);
