#include "lib/ws/server/ws_server.h"

#include "lib/ws/server/ws_request.h"

#include <errno.h>

#define HEAD_MAX 8192

struct ws_server {
    struct loop *loop;
    struct conn *conn;          /* NULL: handed over, or gone */
    const struct ws_server_handlers *handlers;
    void *user;
    const char *protocol;
    uint32_t ready_ms;
    struct loop_timer timer;    /* of the head */
    struct loop_reap reap;
    struct buf head;
    struct http1_scan scan;
    bool is_over, is_freed;
};

static void end(struct ws_server *s)
{
    s->is_over = true;
    timer_stop(&s->timer);
}

static void fail(struct ws_server *s, enum ws_server_failure how)
{
    if (s->is_over)
        return;
    end(s);
    conn_free(TAKE(s->conn));
    s->handlers->on_failed(s->user, how);
}

/* The first bytes on a connection always fit into the socket's buffer. */
static bool say(struct ws_server *s, struct buf *answer)
{
    return !buf_error(answer) && conn_write(s->conn, answer->data, answer->len) == (ssize_t)answer->len;
}

static void refuse(struct ws_server *s, struct buf *answer, enum ws_server_failure how)
{
    if (say(s, answer))
        conn_close(TAKE(s->conn));
    fail(s, how);
}

static void agree(struct ws_server *s, const struct http1_head *head)
{
    unsigned char memory[WS_SERVER_ANSWER_MAX];
    struct buf answer;

    buf_init_fixed(&answer, memory, sizeof(memory));
    ws_request_agree(&answer, head, span_str(s->protocol));
    if (!say(s, &answer)) {
        fail(s, WS_SERVER_LOST);
        return;
    }
    end(s);
    s->handlers->on_open(s->user, TAKE(s->conn), span_skip(buf_span(&s->head), head->bytes));
}

static void on_head(struct ws_server *s, const struct http1_head *head)
{
    unsigned char memory[WS_SERVER_ANSWER_MAX];
    struct buf answer;
    int error;

    buf_init_fixed(&answer, memory, sizeof(memory));
    s->handlers->on_request(s->user, head, &answer);
    if (s->is_over)
        return;
    if (answer.len) {
        refuse(s, &answer, WS_SERVER_ANSWERED);
        return;
    }
    error = ws_request_check(head, span_str(s->protocol));
    if (!error) {
        agree(s, head);
        return;
    }
    ws_request_refuse(&answer, error);
    refuse(s, &answer, WS_SERVER_REFUSED);
}

static void take_head(struct ws_server *s)
{
    unsigned char memory[WS_SERVER_ANSWER_MAX];
    struct http1_head head;
    struct buf answer;
    int r = http1_request_parse(&s->scan, buf_span(&s->head), &head);

    if (r == HTTP1_E_MORE)
        return;
    if (!r) {
        on_head(s, &head);
        return;
    }
    buf_init_fixed(&answer, memory, sizeof(memory));
    http1_write_refusal(&answer, r);
    refuse(s, &answer, WS_SERVER_REFUSED);
}

static void on_readable(void *user)
{
    struct ws_server *s = user;
    char bytes[HEAD_MAX];
    ssize_t n = conn_read(s->conn, bytes, HEAD_MAX - s->head.len);

    if (n == -EAGAIN)
        return;
    if (n > 0)
        buf_put(&s->head, bytes, (size_t)n);
    if (n <= 0 || buf_error(&s->head))
        fail(s, WS_SERVER_LOST);
    else
        take_head(s);
}

static void on_late(void *arg)
{
    fail(arg, WS_SERVER_LOST);
}

static void on_ready(void *user)
{
    struct ws_server *s = user;

    timer_start(s->loop, &s->timer, s->ready_ms, on_late, s);
    conn_want(s->conn, CONN_READ);
}

static void on_failed(void *user, int error)
{
    fail(user, error == -ETIMEDOUT ? WS_SERVER_LOST : WS_SERVER_TLS);
}

static const struct conn_handlers conn_handlers = {
    .on_ready = on_ready, .on_readable = on_readable, .on_failed = on_failed,
};

static void on_reap(struct loop_reap *reap)
{
    struct ws_server *s = container_of(reap, struct ws_server, reap);

    buf_deinit(&s->head);
    free(s);
}

void ws_server_free(struct ws_server *s)
{
    if (!s || s->is_freed)
        return;
    s->is_freed = true;
    end(s);
    conn_free(TAKE(s->conn));
    loop_reap(s->loop, &s->reap, on_reap);
}

int ws_server_take(const struct ws_server_config *config, int fd,
                   const struct ws_server_handlers *handlers, void *user,
                   struct ws_server **ret_server)
{
    const struct conn_options options = { .tls = config->tls, .ready_ms = config->ready_ms,
                                          .is_accepted = true };
    AUTO(fd_closep) int owned = fd;
    AUTO(freep) struct ws_server *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    s->loop = config->loop;
    s->handlers = handlers;
    s->user = user;
    s->protocol = config->protocol;
    s->ready_ms = config->ready_ms;
    s->scan.limit = HEAD_MAX;
    buf_init_heap(&s->head, HEAD_MAX);
    r = conn_adopt(config->loop, TAKE_FD(owned), &options, &conn_handlers, s, &s->conn);
    if (r)
        return r;
    *ret_server = TAKE(s);
    return 0;
}
