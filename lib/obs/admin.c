#include "lib/obs/admin.h"
#include "lib/http1/http1.h"
#include "lib/net/conn.h"
#include "lib/net/listener.h"
#include "lib/obs/metrics.h"
#include <errno.h>
#include <unistd.h>

#define CONNS_MAX 64
#define CONN_MS 10000
#define HEAD_MAX 4096
#define ANSWER_MAX ((size_t)4 * 1024 * 1024)

struct admin {
    struct loop *loop;
    struct admin_config config;
    struct listener *listener;
    struct list visitors;
    unsigned count;
};

/* A connection: reads one head, writes one answer, then reads on (and forgets) until the
 * other end closes, so that the answer is not lost to a reset. */
struct visitor {
    struct list node;
    struct admin *admin;
    struct conn *conn;
    struct loop_timer deadline;
    struct http1_scan scan;
    char head[HEAD_MAX];
    size_t head_len, sent;
    struct buf answer;
    bool is_answered;
};

/* --- what is served ------------------------------------------------------------------ */

static unsigned serve_health(struct admin *a, struct buf *body)
{
    (void)a;
    buf_put_str(body, "ok\n");
    return 200;
}

static unsigned serve_ready(struct admin *a, struct buf *body)
{
    if (!a->config.is_ready(a->config.arg, body))
        return 503;
    buf_clear(body);
    buf_put_str(body, "ready\n");
    return 200;
}

static unsigned serve_metrics(struct admin *a, struct buf *body)
{
    a->config.write_metrics(a->config.arg, body);
    return 200;
}

static const struct route {
    const char *path, *content_type;
    unsigned (*serve)(struct admin *a, struct buf *body);
} routes[] = {
    { "/healthz", NULL, serve_health },
    { "/readyz", NULL, serve_ready },
    { "/metrics", METRICS_CONTENT_TYPE, serve_metrics },
};

static const struct route *route_find(struct span target)
{
    struct span path = span_first(target, span_find(target, '?'));

    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (span_eq(path, span_str(routes[i].path)))
            return &routes[i];
    }
    return NULL;
}

static void answer_plain(struct visitor *v, unsigned status, struct span body)
{
    static const struct http1_field allow = { { "Allow", 5 }, { "GET, HEAD", 9 } };
    struct http1_answer answer = { .status = status, .body = body, .close = true,
                                   .set = &allow, .set_count = status == 405 };

    http1_write_answer(&v->answer, &answer);
}

static void answer_route(struct visitor *v, const struct route *route, bool is_head)
{
    static const struct http1_field no_store = { { "Cache-Control", 13 }, { "no-store", 8 } };
    struct http1_answer answer = { .content_type = route->content_type,
                                   .close = true,
                                   .head_only = is_head,
                                   .set = &no_store,
                                   .set_count = 1 };
    struct buf body;

    buf_init_heap(&body, ANSWER_MAX - HEAD_MAX);
    answer.status = route->serve(v->admin, &body);
    answer.body = buf_span(&body);
    if (buf_error(&body))
        answer_plain(v, 500, SPAN("the answer is too large\n"));
    else
        http1_write_answer(&v->answer, &answer);
    buf_deinit(&body);
}

static void answer_request(struct visitor *v, const struct http1_head *head)
{
    const struct route *route = route_find(head->path);
    bool is_head = span_eq(head->method, SPAN("HEAD"));

    if (!is_head && !span_eq(head->method, SPAN("GET")))
        answer_plain(v, 405, SPAN("GET and HEAD only\n"));
    else if (!route)
        answer_plain(v, 404, SPAN("try /healthz, /readyz, /metrics\n"));
    else
        answer_route(v, route, is_head);
}

/* --- connections ------------------------------------------------------------------------ */

static void visitor_free(struct visitor *v)
{
    timer_stop(&v->deadline);
    list_remove(&v->node);
    v->admin->count--;
    conn_free(v->conn);
    buf_deinit(&v->answer);
    free(v);
}

static void on_deadline(void *user)
{
    visitor_free(user);
}

/* Writes what the connection takes; false when it is dead. */
static bool answer_flush(struct visitor *v)
{
    while (v->sent < v->answer.len) {
        struct span rest = span_skip(buf_span(&v->answer), v->sent);
        ssize_t n = conn_write(v->conn, rest.p, rest.n);

        if (n == -EAGAIN) {
            conn_want(v->conn, CONN_WRITE);
            return true;
        }
        if (n < 0)
            return false;
        v->sent += (size_t)n;
    }
    conn_shutdown_write(v->conn);
    conn_want(v->conn, CONN_READ);
    return true;
}

/* 0 when there is an answer to write, -EAGAIN when the head is not whole, other: give up. */
static int head_take(struct visitor *v)
{
    struct http1_head head;
    int r = http1_request_parse(&v->scan, span_of(v->head, v->head_len), &head);

    if (r == HTTP1_E_MORE)
        return -EAGAIN;
    if (r)
        http1_write_refusal(&v->answer, r);
    else
        answer_request(v, &head);
    v->is_answered = true;
    return buf_error(&v->answer);
}

/* Reads once; as head_take(). */
static int visitor_read(struct visitor *v)
{
    ssize_t n;

    if (v->is_answered)
        v->head_len = 0;                /* nothing of it is looked at any more */
    n = conn_read(v->conn, v->head + v->head_len, sizeof(v->head) - v->head_len);
    if (n <= 0)
        return n ? (int)n : -ECONNRESET;
    v->head_len += (size_t)n;
    return v->is_answered ? -EAGAIN : head_take(v);
}

static void on_readable(void *user)
{
    struct visitor *v = user;
    int r = visitor_read(v);

    if (r == -EAGAIN)
        return;
    if (r || !answer_flush(v))
        visitor_free(v);
}

static void on_writable(void *user)
{
    struct visitor *v = user;

    if (!answer_flush(v))
        visitor_free(v);
}

static void on_ready(void *user)
{
    struct visitor *v = user;

    conn_want(v->conn, CONN_READ);
}

static void on_failed(void *user, int error)
{
    (void)error;
    visitor_free(user);
}

static const struct conn_handlers handlers = { on_ready, on_readable, on_writable, on_failed };

static void on_accept(void *user, int fd, const struct endpoint *peer)
{
    static const struct conn_options plain = { 0 };
    struct admin *a = user;
    struct visitor *v = a->count < a->config.conns_max ? calloc(1, sizeof(*v)) : NULL;

    (void)peer;
    if (!v) {
        close(fd);
        return;
    }
    v->admin = a;
    v->scan.limit = HEAD_MAX;
    buf_init_heap(&v->answer, ANSWER_MAX);
    if (conn_adopt(a->loop, fd, &plain, &handlers, v, &v->conn)) {
        free(v);
        return;
    }
    list_append(&a->visitors, &v->node);
    a->count++;
    timer_start(a->loop, &v->deadline, a->config.conn_ms, on_deadline, v);
}

/* --- the listener ------------------------------------------------------------------------ */

int admin_open(struct loop *l, const struct admin_config *config, struct admin **ret_admin,
               struct buf *reterr)
{
    AUTO(admin_freep) struct admin *a = calloc(1, sizeof(*a));
    struct listener_config at = { .at = config->at, .on_accept = on_accept, .user = a };
    int r;

    if (!a)
        return -ENOMEM;
    a->loop = l;
    a->config = *config;
    a->config.conns_max = config->conns_max ? config->conns_max : CONNS_MAX;
    a->config.conn_ms = config->conn_ms ? config->conn_ms : CONN_MS;
    list_init(&a->visitors);

    r = listener_open(l, &at, &a->listener, reterr);
    if (r)
        return r;
    *ret_admin = TAKE(a);
    return 0;
}

void admin_free(struct admin *a)
{
    if (!a)
        return;
    if (a->listener)
        listener_free(a->listener);
    LIST_EACH(&a->visitors, node)
        visitor_free(container_of(node, struct visitor, node));
    free(a);
}

struct endpoint admin_endpoint(const struct admin *a)
{
    return listener_endpoint(a->listener);
}
