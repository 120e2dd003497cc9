#pragma once
#include "lib/check/check.h"
#include "lib/net/conn.h"
#include <arpa/inet.h>
#include <sys/socket.h>
/*
 * peer_fixture.h - for tests: a program at the far end of a TCP connection on loopback, which
 * sends a pattern and checks what it gets.
 */
struct peer {
    struct conn *conn;
    uint64_t seed, total, sent;         /* what it sends, then its FIN */
    uint64_t peer_seed, got;
    bool keeps_open;                    /* no FIN */
    bool waits_for_end;                 /* sends only after the other's FIN */
    bool is_stalled;                    /* reads nothing */
    bool is_eof, is_wrong;
    int error;
};

/* Byte `at` of a pattern: bytes lost, doubled or crossed show. */
static inline unsigned char peer_byte(uint64_t seed, uint64_t at)
{
    uint64_t x = (at / 8 + 1) * 0x9e3779b97f4a7c15u ^ seed;

    x ^= x >> 29;
    return (unsigned char)(x >> (at % 8 * 8));
}

static inline bool peer_may_send(const struct peer *p)
{
    return !p->waits_for_end || p->is_eof;
}

static inline void peer_want(struct peer *p)
{
    conn_want(p->conn, (p->is_stalled || p->is_eof || p->error ? 0 : CONN_READ) |
                           (peer_may_send(p) && p->sent < p->total && !p->error ? CONN_WRITE : 0));
}

static inline void peer_check_fin(struct peer *p)
{
    if (p->sent == p->total && !p->keeps_open && peer_may_send(p))
        conn_shutdown_write(p->conn);
    peer_want(p);
}

static inline void peer_on_writable(void *user)
{
    struct peer *p = user;
    unsigned char bytes[16384];
    size_t n = p->total - p->sent < sizeof(bytes) ? (size_t)(p->total - p->sent) : sizeof(bytes);
    ssize_t r;

    for (size_t i = 0; i < n; i++)
        bytes[i] = peer_byte(p->seed, p->sent + i);
    r = conn_write(p->conn, bytes, n);
    if (r < 0 && r != -EAGAIN)
        p->error = (int)r;
    if (r > 0)
        p->sent += (uint64_t)r;
    peer_check_fin(p);
}

static inline void peer_on_readable(void *user)
{
    struct peer *p = user;
    unsigned char bytes[16384];
    ssize_t n = conn_read(p->conn, bytes, sizeof(bytes));

    for (ssize_t i = 0; i < n; i++)
        p->is_wrong |= bytes[i] != peer_byte(p->peer_seed, p->got + (uint64_t)i);
    if (n > 0)
        p->got += (uint64_t)n;
    p->is_eof |= n == 0;
    if (n < 0 && n != -EAGAIN)
        p->error = (int)n;
    peer_check_fin(p);
}

static inline void peer_on_ready(void *user)
{
    peer_check_fin(user);
}

static const struct conn_handlers peer_handlers = {
    .on_ready = peer_on_ready, .on_readable = peer_on_readable, .on_writable = peer_on_writable,
};

static inline void peer_adopt(struct peer *p, struct loop *loop, int fd)
{
    const struct conn_options options = { .is_abortive = false };

    assert_int_equal(conn_adopt(loop, fd, &options, &peer_handlers, p, &p->conn), 0);
}

static inline void peer_close(struct peer *p)
{
    if (p->conn)
        conn_free(TAKE(p->conn));
}

/* A listening socket on a port of the kernel's choice. */
static inline int tcp_listen(uint16_t *ret_port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static inline int tcp_connect(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

/* A listening socket that takes no connection and says nothing, until full_close(). */
struct full {
    int listening, filler[2];
    uint16_t port;
};

static inline void full_open(struct full *f)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    f->listening = tcp_listen(&f->port);
    assert_int_equal(listen(f->listening, 0), 0);
    at.sin_port = htons(f->port);
    for (size_t i = 0; i < ARRAY_LEN(f->filler); i++) {     /* its queue of one is full with these */
        f->filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(f->filler[i], (struct sockaddr *)&at, sizeof(at));
    }
}

/* From now on it takes connections: the kernel tries again after a second. */
static inline void full_drain(struct full *f)
{
    assert_int_equal(listen(f->listening, 16), 0);
    close(accept(f->listening, NULL, NULL));
}

static inline void full_close(struct full *f)
{
    for (size_t i = 0; i < ARRAY_LEN(f->filler); i++)
        close(f->filler[i]);
    close(f->listening);
}

static inline void tcp_pair(int ret_fds[2])
{
    uint16_t port;
    int listening = tcp_listen(&port);

    ret_fds[0] = tcp_connect(port);
    ret_fds[1] = accept(listening, NULL, NULL);
    assert_true(ret_fds[1] >= 0);
    close(listening);
}
