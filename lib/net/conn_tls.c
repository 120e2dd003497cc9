#include "lib/net/conn_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

/*
 * SSL sits on a BIO of ours: reads come from the socket, writes go to the loop's scratch
 * buffer, which goes out in one send at the end of the call.
 */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static BIO_METHOD *method;

static int on_bio_read(BIO *bio, char *dst, int n)
{
    struct conn *c = BIO_get_data(bio);
    ssize_t r;

    BIO_clear_retry_flags(bio);
    if (c->is_socket_empty) {
        BIO_set_retry_read(bio);
        return -1;
    }
    r = recv(c->fd, dst, (size_t)n, 0);
    if (r >= 0) {
        /* Less than there was room for: asking again would only say so.  Not so at the end. */
        c->is_socket_empty = r > 0 && r < n;
        return (int)r;
    }
    if (errno == EAGAIN || errno == EINTR)
        BIO_set_retry_read(bio);
    else
        c->error = -errno;
    return -1;
}

static int on_bio_write(BIO *bio, const char *p, int n)
{
    struct conn *c = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (!c->out || (size_t)n > LOOP_SCRATCH_BYTES - c->out_len) {
        c->error = -ENOBUFS;
        return -1;
    }
    memcpy(c->out + c->out_len, p, (size_t)n);
    c->out_len += (size_t)n;
    return n;
}

static long on_bio_ctrl(BIO *bio, int command, long num, void *p)
{
    (void)bio, (void)num, (void)p;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "conn");
    BIO_meth_set_read(method, on_bio_read);
    BIO_meth_set_write(method, on_bio_write);
    BIO_meth_set_ctrl(method, on_bio_ctrl);
}

int conn_tls_init(struct conn *c, struct tls_ctx *tls, const char *server_name)
{
    BIO *bio;

    pthread_once(&once, make_method);
    c->tls = tls_ctx_ref(tls);
    c->ssl = tls_ctx_ssl(tls);
    c->peer = calloc(1, sizeof(*c->peer));
    bio = c->ssl && c->peer ? BIO_new(method) : NULL;
    if (!bio)
        return -ENOMEM;
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    return tls_ctx_expect(tls, c->ssl, server_name);
}

void conn_tls_deinit(struct conn *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
    tls_ctx_unref(TAKE(c->tls));
}

/* Each call into SSL is between these two. */
static int begin(struct conn *c)
{
    ERR_clear_error();
    c->is_socket_empty = false;
    c->out = loop_scratch(c->loop);
    c->out_len = 0;
    return c->out ? 0 : -ENOMEM;
}

static int end(struct conn *c)
{
    const unsigned char *out = TAKE(c->out);
    ssize_t n = 0;

    if (!c->out_len)
        return 0;
    if (!c->kept_len)
        n = conn_send(c, out, c->out_len);
    if (n < 0 && n != -EAGAIN)
        return (int)n;
    if (n < 0)
        n = 0;
    return (size_t)n < c->out_len ? conn_keep(c, out + n, c->out_len - (size_t)n) : 0;
}

/* What SSL says after a call that did not succeed, as -errno. */
static int failure(struct conn *c, int r)
{
    switch (SSL_get_error(c->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SSL:
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return -ECONNRESET;
        return c->error ? c->error : -EPROTO;
    default:                    /* the socket's own, or its end without close_notify */
        return c->error ? c->error : -ECONNRESET;
    }
}

static void note_refusal(struct conn *c)
{
    unsigned long code = ERR_peek_error();

    c->refusal = tls_refusal_of(c->ssl);
    if (c->refusal)
        return;
    switch (ERR_GET_REASON(code)) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:       /* by name: lib/net/tls.h, ca_file */
    /* Alerts: the peer did not like ours. */
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        c->refusal = REASON_BAD_CERTIFICATE;
        return;
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        c->refusal = REASON_CERTIFICATE_EXPIRED;
        return;
    default:
        return;
    }
}

int conn_tls_handshake(struct conn *c)
{
    int r = begin(c), e;

    if (r)
        return r;
    r = SSL_do_handshake(c->ssl);
    if (r == 1) {
        c->has_peer = tls_peer_of(c->ssl, c->peer);
        return end(c);
    }
    r = failure(c, r);
    if (r != -EAGAIN)
        note_refusal(c);
    e = end(c);
    if (r == 0)
        return -ECONNRESET;
    return e ? e : r;
}

ssize_t conn_tls_read(struct conn *c, void *dst, size_t n)
{
    size_t have = 0, part;
    int r = begin(c), e;

    if (r)
        return r;
    c->is_drained = false;
    while (have < n) {
        r = SSL_read_ex(c->ssl, (char *)dst + have, n - have, &part);
        if (!r)
            break;
        have += part;
    }
    if (have == n) {
        e = end(c);
        return e ? e : (ssize_t)have;
    }
    r = failure(c, r);
    c->is_drained = r == -EAGAIN;
    if (r < 0 && r != -EAGAIN)
        note_refusal(c);
    e = end(c);
    if (have)
        return (ssize_t)have;   /* an end or error comes again with the next call */
    return e ? e : r;
}

/* Encrypts up to one send of the spans from (*at, *offset) on; bytes taken or -errno. */
static ssize_t encrypt(struct conn *c, const struct span *spans, size_t count, size_t *at,
                       size_t *offset)
{
    size_t taken = 0;

    while (*at < count && c->out_len < CONN_SEND_BYTES) {
        size_t left = spans[*at].n - *offset, part;

        if (!left) {
            (*at)++;
            *offset = 0;
            continue;
        }
        if (left > SSL3_RT_MAX_PLAIN_LENGTH)
            left = SSL3_RT_MAX_PLAIN_LENGTH;
        if (!SSL_write_ex(c->ssl, spans[*at].p + *offset, left, &part)) {
            int r = failure(c, 0);

            return r == -EAGAIN || r == 0 ? -EPROTO : r;
        }
        *offset += part;
        taken += part;
    }
    return (ssize_t)taken;
}

ssize_t conn_tls_writev(struct conn *c, const struct span *spans, size_t count)
{
    size_t at = 0, offset = 0, taken = 0;

    for (;;) {
        int r = conn_flush_kept(c), e;
        ssize_t n;

        if (r)
            return taken && r == -EAGAIN ? (ssize_t)taken : r;
        r = begin(c);
        if (r)
            return r;
        n = encrypt(c, spans, count, &at, &offset);
        e = end(c);
        if (n < 0 || e)
            return n < 0 ? n : e;
        if (!n)
            return (ssize_t)taken;
        taken += (size_t)n;
    }
}

void conn_tls_close_notify(struct conn *c)
{
    if (!SSL_is_init_finished(c->ssl) || begin(c))
        return;
    SSL_shutdown(c->ssl);
    ERR_clear_error();
    if (end(c))
        c->error = -ECONNRESET;
}
