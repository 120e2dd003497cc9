#include "lib/ws/client/via.h"

#include "lib/base/encode.h"
#include "lib/http1/http1.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REQUEST_MAX 2048
#define ANSWER_MS 10000
#define TEXT_MAX 200
#define WORDS_MAX 60            /* of the proxy's own, in a text for a person */

struct via {
    struct loop *loop;
    struct conn *conn;
    const struct via_handlers *handlers;
    void *user;
    struct loop_timer timer;
    struct loop_reap reap;
    uint32_t answer_ms;
    bool is_freed;
    struct buf request;         /* wiped when it has been sent */
    struct buf head;
    struct http1_scan scan;
};

static void fail(struct via *v, enum reason why, const char *text)
{
    timer_stop(&v->timer);
    conn_want(v->conn, 0);
    v->handlers->on_failed(v->user, why, text);
}

static void fail_errno(struct via *v, const char *doing, int error)
{
    char text[TEXT_MAX];

    snprintf(text, sizeof(text), "%s: %s", doing, error ? strerrordesc_np(-error) : "the proxy closed");
    fail(v, error == -ETIMEDOUT ? REASON_UPLINK_PROXY_TIMEOUT : REASON_UPLINK_PROXY_UNREACHABLE, text);
}

/* tinyproxy answers 407 when there are no credentials, and 401 to wrong ones. */
static enum reason reason_of(unsigned status)
{
    return status == 407 || status == 401 ? REASON_UPLINK_PROXY_AUTH : REASON_UPLINK_PROXY_REFUSED;
}

/* What a stranger wrote is shown to a person as far as it is plain. */
static void refuse(struct via *v, const struct http1_head *head)
{
    struct span words = span_first(head->reason, WORDS_MAX);
    char text[TEXT_MAX];

    for (size_t i = 0; i < words.n; i++) {
        if (words.p[i] < ' ' || words.p[i] > '~')
            words = span_first(words, i);
    }
    snprintf(text, sizeof(text), "CONNECT was answered %u " SPAN_FMT, head->status, SPAN_ARG(words));
    fail(v, reason_of(head->status), text);
}

static void finish(struct via *v)
{
    int fd = conn_release_fd(TAKE(v->conn));

    timer_stop(&v->timer);
    v->handlers->on_done(v->user, fd);
}

static void take_head(struct via *v)
{
    struct http1_head head;
    int r = http1_response_parse(&v->scan, buf_span(&v->head), SPAN("CONNECT"), &head);

    if (r == HTTP1_E_MORE)
        return;
    if (r)
        fail(v, REASON_UPLINK_PROXY_BAD_ANSWER, http1_error_text(r));
    else if (head.status < 200)
        fail(v, REASON_UPLINK_PROXY_BAD_ANSWER, "CONNECT was answered with an interim status");
    else if (head.status >= 300)
        refuse(v, &head);
    else if (head.bytes != v->head.len)
        fail(v, REASON_UPLINK_PROXY_BAD_ANSWER, "bytes came before they were asked for");
    else
        finish(v);
}

static void on_readable(void *user)
{
    struct via *v = user;
    char bytes[2048];
    ssize_t n = conn_read(v->conn, bytes, sizeof(bytes));

    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        fail_errno(v, "CONNECT", (int)n);
        return;
    }
    buf_put(&v->head, bytes, (size_t)n);
    if (buf_error(&v->head))
        fail(v, REASON_UPLINK_PROXY_BAD_ANSWER, "the answer to CONNECT is too long");
    else
        take_head(v);
}

static void on_late(void *arg)
{
    fail(arg, REASON_UPLINK_PROXY_TIMEOUT, "CONNECT was not answered in time");
}

static void wipe_request(struct via *v)
{
    if (v->request.data)
        explicit_bzero(v->request.data, v->request.len);
    buf_deinit(&v->request);
}

static void on_ready(void *user)
{
    struct via *v = user;
    struct span request = buf_span(&v->request);
    /* The first bytes on a connection always fit into the socket's buffer. */
    bool is_sent = conn_write(v->conn, request.p, request.n) == (ssize_t)request.n;

    wipe_request(v);
    if (!is_sent) {
        fail(v, REASON_UPLINK_PROXY_UNREACHABLE, "CONNECT could not be sent");
        return;
    }
    timer_start(v->loop, &v->timer, v->answer_ms, on_late, v);
    conn_want(v->conn, CONN_READ);
}

static void on_failed(void *user, int error)
{
    fail_errno(user, "connecting to the proxy", error);
}

static const struct conn_handlers conn_handlers = {
    .on_ready = on_ready,
    .on_readable = on_readable,
    .on_failed = on_failed,
};

static void write_request(struct buf *out, const struct via_config *config)
{
    bool is_plain = config->authority[0];

    for (const char *c = config->authority; *c; c++)
        is_plain &= *c > ' ' && *c < 0x7f;
    if (!is_plain) {
        out->error = -EINVAL;
        return;
    }
    buf_printf(out, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", config->authority, config->authority);
    if (config->credentials && config->credentials[0]) {
        buf_put_str(out, "Proxy-Authorization: Basic ");
        base64_encode(span_str(config->credentials), out);
        buf_put_str(out, "\r\n");
    }
    buf_put_str(out, "\r\n");
}

static void on_reap(struct loop_reap *reap)
{
    struct via *v = container_of(reap, struct via, reap);

    buf_deinit(&v->head);
    free(v);
}

void via_free(struct via *v)
{
    if (!v || v->is_freed)
        return;
    v->is_freed = true;
    timer_stop(&v->timer);
    conn_free(TAKE(v->conn));
    wipe_request(v);
    loop_reap(v->loop, &v->reap, on_reap);
}

int via_dial(const struct via_config *config, const struct via_handlers *handlers, void *user,
             struct via **ret_via)
{
    struct via *v = calloc(1, sizeof(*v));
    struct conn_options options = { .is_abortive = true };
    int r;

    if (!v)
        return -ENOMEM;
    v->loop = config->loop;
    v->handlers = handlers;
    v->user = user;
    v->answer_ms = config->answer_ms ? config->answer_ms : ANSWER_MS;
    v->scan.limit = VIA_HEAD_MAX;
    options.ready_ms = v->answer_ms;
    buf_init_heap(&v->request, REQUEST_MAX);
    buf_init_heap(&v->head, VIA_HEAD_MAX);
    write_request(&v->request, config);
    r = buf_error(&v->request);
    if (!r)
        r = conn_dial(config->loop, &config->to, &options, &conn_handlers, v, &v->conn);
    if (r) {
        via_free(v);
        return r;
    }
    *ret_via = v;
    return 0;
}
