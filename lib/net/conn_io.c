#include "lib/net/conn_internal.h"
#include "lib/net/socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define SPANS_MAX 64

ssize_t conn_send(struct conn *c, const void *p, size_t n)
{
    ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);

    if (r >= 0)
        return r;
    return errno == EINTR ? -EAGAIN : -errno;
}

int conn_keep(struct conn *c, const unsigned char *p, size_t n)
{
    unsigned char *kept;

    if (c->kept_len + n > CONN_KEPT_MAX)
        return -ENOBUFS;
    kept = malloc(c->kept_len + n);
    if (!kept)
        return -ENOMEM;
    if (c->kept_len)
        memcpy(kept, c->kept + c->kept_at, c->kept_len);
    memcpy(kept + c->kept_len, p, n);
    free(c->kept);
    c->kept = kept;
    c->kept_at = 0;
    c->kept_len += n;
    return 0;
}

int conn_flush_kept(struct conn *c)
{
    while (c->kept_len) {
        ssize_t n = conn_send(c, c->kept + c->kept_at, c->kept_len);

        if (n < 0)
            return (int)n;
        c->kept_at += (size_t)n;
        c->kept_len -= (size_t)n;
    }
    free(TAKE(c->kept));
    c->kept_at = 0;
    return 0;
}

static ssize_t plain_read(struct conn *c, void *dst, size_t n)
{
    ssize_t r = recv(c->fd, dst, n, 0);

    if (r == 0 && n)
        c->has_ended = true;
    if (r >= 0)
        return r;
    return errno == EINTR ? -EAGAIN : -errno;
}

static ssize_t plain_writev(struct conn *c, const struct span *spans, size_t count)
{
    struct iovec parts[SPANS_MAX];
    struct msghdr message = { .msg_iov = parts };
    ssize_t r;

    for (size_t i = 0; i < count && message.msg_iovlen < SPANS_MAX; i++)
        if (spans[i].n)
            parts[message.msg_iovlen++] =
                (struct iovec){ (void *)(uintptr_t)spans[i].p, spans[i].n };
    if (!message.msg_iovlen)
        return 0;
    r = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (r >= 0)
        return r;
    return errno == EINTR ? -EAGAIN : -errno;
}

static bool is_usable(const struct conn *c)
{
    return c->state == CONN_READY && !c->error;
}

static ssize_t noted(struct conn *c, ssize_t r)
{
    if (r < 0 && r != -EAGAIN)
        c->error = (int)r;
    return r;
}

ssize_t conn_read(struct conn *c, void *dst, size_t n)
{
    if (!is_usable(c))
        return c->error ? c->error : -EAGAIN;
    return noted(c, c->ssl ? conn_tls_read(c, dst, n) : plain_read(c, dst, n));
}

ssize_t conn_writev(struct conn *c, const struct span *spans, size_t count)
{
    if (!is_usable(c))
        return c->error ? c->error : -EAGAIN;
    if (c->is_fin_wanted)
        return noted(c, -EPIPE);
    return noted(c, c->ssl ? conn_tls_writev(c, spans, count) : plain_writev(c, spans, count));
}

ssize_t conn_write(struct conn *c, const void *p, size_t n)
{
    struct span s = span_of(p, n);

    return conn_writev(c, &s, 1);
}

void conn_finish_write(struct conn *c)
{
    if (c->is_fin_sent || c->kept_len)
        return;
    c->is_fin_sent = true;
    shutdown(c->fd, SHUT_WR);
}

bool conn_is_holding(const struct conn *c)
{
    return c->kept_len != 0;
}

size_t conn_unsent(const struct conn *c)
{
    return c->kept_len + socket_unsent(c->fd);
}

bool conn_path(const struct conn *c, struct socket_path *ret_path)
{
    return socket_path(c->fd, ret_path);
}
