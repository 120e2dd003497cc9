#include "lib/tunnel/server/gather.h"

#include "lib/base/attr.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

struct gather {
    int fd;
    unsigned char *scratch;     /* NULL: not gathering */
    size_t len;
    unsigned char *kept;
    size_t kept_at, kept_len;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static BIO_METHOD *method;

static int write_now(BIO *bio, const struct gather *g, const char *p, int n)
{
    ssize_t r = send(g->fd, p, (size_t)n, MSG_NOSIGNAL);

    if (r < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)r;
}

static int on_write(BIO *bio, const char *p, int n)
{
    struct gather *g = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (!g->scratch && g->kept_len) {
        BIO_set_retry_write(bio);
        return -1;
    }
    if (!g->scratch)
        return write_now(bio, g, p, n);
    if ((size_t)n > GATHER_BYTES - g->len)
        return -1;
    memcpy(g->scratch + g->len, p, (size_t)n);
    g->len += (size_t)n;
    return n;
}

static long on_ctrl(BIO *bio, int command, long num, void *p)
{
    (void)bio, (void)num, (void)p;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static int on_destroy(BIO *bio)
{
    struct gather *g = BIO_get_data(bio);

    if (g)
        free(g->kept);
    free(g);
    return 1;
}

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gather");
    BIO_meth_set_write(method, on_write);
    BIO_meth_set_ctrl(method, on_ctrl);
    BIO_meth_set_destroy(method, on_destroy);
}

struct gather *gather_install(SSL *ssl, int fd)
{
    AUTO(freep) struct gather *g = calloc(1, sizeof(*g));
    BIO *bio;

    pthread_once(&once, make_method);
    bio = g ? BIO_new(method) : NULL;
    if (!bio)
        return NULL;
    g->fd = fd;
    BIO_set_data(bio, g);
    BIO_set_init(bio, 1);
    SSL_set0_wbio(ssl, bio);
    return TAKE(g);
}

void gather_begin(struct gather *g, unsigned char *scratch)
{
    g->scratch = scratch;
    g->len = 0;
}

static int keep(struct gather *g, const unsigned char *p, size_t n)
{
    g->kept = malloc(n);
    if (!g->kept)
        return -ENOMEM;
    memcpy(g->kept, p, n);
    g->kept_at = 0;
    g->kept_len = n;
    return -EAGAIN;
}

int gather_end(struct gather *g)
{
    const unsigned char *p = TAKE(g->scratch);
    ssize_t n = g->len ? send(g->fd, p, g->len, MSG_NOSIGNAL) : 0;

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return -errno;
    if (n < 0)
        n = 0;
    return (size_t)n == g->len ? 0 : keep(g, p + n, g->len - (size_t)n);
}

int gather_flush(struct gather *g)
{
    while (g->kept_len) {
        ssize_t n = send(g->fd, g->kept + g->kept_at, g->kept_len, MSG_NOSIGNAL);

        if (n < 0)
            return errno == EINTR ? -EAGAIN : -errno;
        g->kept_at += (size_t)n;
        g->kept_len -= (size_t)n;
    }
    free(TAKE(g->kept));
    return 0;
}
