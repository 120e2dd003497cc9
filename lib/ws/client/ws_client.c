#include "lib/ws/client/ws_client.h"

#include "lib/base/encode.h"
#include "lib/crypto/random.h"
#include "lib/http1/http1.h"
#include "lib/ws/client/via.h"
#include "lib/ws/conn/ws_accept.h"
#include "lib/ws/ws.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEAD_MAX 8192
#define OPEN_MS 10000
#define RETRY_AFTER_MAX_S 3600
#define TEXT_MAX 160

enum ws_client_state { WS_DIALLING, WS_UPGRADING, WS_OVER };

struct ws_client {
    enum ws_client_state state;
    struct loop *loop;
    struct conn *conn;          /* NULL: the proxy is being asked, or it is handed over */
    struct via *via;            /* NULL: none, or it has done its part */
    struct conn_options options;        /* for behind the proxy: its pointers are ours */
    const struct ws_client_handlers *handlers;
    void *user;
    struct loop_timer timer;
    struct loop_reap reap;
    bool is_freed;
    uint32_t open_ms, retry_after_ms;
    char *authority, *path, *protocol;
    const char *field_name;
    char field_value[16];
    char key[WS_KEY_BYTES + 1];
    struct buf head;            /* of the answer, while it comes in */
    struct http1_scan scan;
};

static void fail(struct ws_client *c, enum reason why, const char *text)
{
    if (c->state == WS_OVER)
        return;
    c->state = WS_OVER;
    timer_stop(&c->timer);
    if (c->conn)
        conn_want(c->conn, 0);
    c->handlers->on_failed(c->user, why, text);
}

static void fail_errno(struct ws_client *c, const char *doing, int error)
{
    char text[TEXT_MAX];
    enum reason why = conn_why(c->conn, doing, error, text, sizeof(text));

    fail(c, why, text);
}

/* --- the answer ----------------------------------------------------------------------- */
static int check_answer(const struct ws_client *c, const struct http1_head *head)
{
    struct ws_answer a = {
        .status = head->status,
        .has_upgrade = http1_has_token(head, SPAN("Upgrade"), SPAN("websocket")),
        .has_connection = http1_has_token(head, SPAN("Connection"), SPAN("upgrade")),
        .accept_count = http1_count(head, SPAN("Sec-WebSocket-Accept")),
        .protocol_count = http1_count(head, SPAN("Sec-WebSocket-Protocol")),
        .extension_count = http1_count(head, SPAN("Sec-WebSocket-Extensions")),
    };
    char want[WS_ACCEPT_CHARS + 1];

    http1_find(head, SPAN("Sec-WebSocket-Accept"), &a.accept);
    http1_find(head, SPAN("Sec-WebSocket-Protocol"), &a.protocol);
    ws_accept_value(span_of(c->key, WS_KEY_BYTES), want);
    return ws_answer_check(&a, span_str(want), span_str(c->protocol));
}

static void refused(struct ws_client *c, const struct http1_head *head, int error)
{
    enum reason why = REASON_PROTOCOL_ERROR;
    struct span named;
    char text[TEXT_MAX];
    uint64_t seconds;

    /* In seconds: the form with a date needs a clock that is right. */
    if (http1_find(head, SPAN("Retry-After"), &named) && span_to_u64(named, RETRY_AFTER_MAX_S, &seconds))
        c->retry_after_ms = (uint32_t)seconds * 1000;
    if (http1_find(head, SPAN("Adit-Reason"), &named) && reason_find(named) != REASON_COUNT)
        why = reason_find(named);
    snprintf(text, sizeof(text), "the upgrade was answered %u: %s", head->status,
             ws_error_text(error));
    fail(c, why, text);
}

static void take_head(struct ws_client *c)
{
    struct http1_head head;
    int r = http1_response_parse(&c->scan, buf_span(&c->head), SPAN("GET"), &head);

    if (r == HTTP1_E_MORE)
        return;
    if (r) {
        fail(c, REASON_PROTOCOL_ERROR, http1_error_text(r));
        return;
    }
    r = check_answer(c, &head);
    if (r) {
        refused(c, &head, r);
        return;
    }
    c->state = WS_OVER;
    timer_stop(&c->timer);
    c->handlers->on_open(c->user, TAKE(c->conn), span_skip(buf_span(&c->head), head.bytes));
}

static void take(struct ws_client *c, struct span in)
{
    buf_put_span(&c->head, in);
    if (buf_error(&c->head))
        fail(c, REASON_PROTOCOL_ERROR, "the answer to the upgrade is too long");
    else
        take_head(c);
}

static void on_readable(void *user)
{
    struct ws_client *c = user;
    char bytes[HEAD_MAX / 2];
    ssize_t n = conn_read(c->conn, bytes, sizeof(bytes));

    if (n > 0)
        take(c, span_of(bytes, (size_t)n));
    else if (n != -EAGAIN)
        fail_errno(c, "receiving", (int)n);
}

/* --- opening ------------------------------------------------------------------------- */
static void on_late(void *arg)
{
    fail(arg, REASON_REQUEST_TIMEOUT, "the upgrade was not answered in time");
}

static void on_ready(void *user)
{
    struct ws_client *c = user;
    struct ws_request request = {
        .authority = span_str(c->authority), .path = span_str(c->path),
        .key = span_of(c->key, WS_KEY_BYTES), .protocol = span_str(c->protocol),
        .fields = &(struct ws_request_field){ span_str(c->field_name ? c->field_name : ""), span_str(c->field_value) },
        .field_count = c->field_name != NULL,
    };
    unsigned char memory[2048], random[16];
    struct buf b, key;

    buf_init_fixed(&key, c->key, WS_KEY_BYTES);
    random_bytes(random, sizeof(random));
    base64_encode(span_of(random, sizeof(random)), &key);
    buf_init_fixed(&b, memory, sizeof(memory));
    ws_request_write(&b, &request);
    /* The first bytes on a connection always fit into the socket's buffer. */
    if (buf_error(&b) || conn_write(c->conn, b.data, b.len) != (ssize_t)b.len) {
        fail(c, REASON_SESSION_LOST, "the upgrade could not be asked for");
        return;
    }
    c->state = WS_UPGRADING;
    timer_start(c->loop, &c->timer, c->open_ms, on_late, c);
    conn_want(c->conn, CONN_READ);
}

static void on_failed(void *user, int error)
{
    fail_errno(user, "connecting", error);
}

static const struct conn_handlers conn_handlers = {
    .on_ready = on_ready,
    .on_readable = on_readable,
    .on_failed = on_failed,
};

/* --- through a proxy ----------------------------------------------------------------- */
static void on_via_done(void *user, int fd)
{
    struct ws_client *c = user;
    int r = conn_adopt(c->loop, fd, &c->options, &conn_handlers, c, &c->conn);

    via_free(TAKE(c->via));
    if (r)
        fail(c, REASON_OVERLOAD, "out of memory");
}

static void on_via_failed(void *user, enum reason why, const char *text)
{
    fail(user, why, text);
}

static const struct via_handlers via_handlers = {
    .on_done = on_via_done,
    .on_failed = on_via_failed,
};

static int dial_proxy(struct ws_client *c, const struct ws_client_config *config)
{
    const struct via_config via = {
        .loop = c->loop,
        .to = config->to,
        .authority = c->authority,
        .credentials = config->proxy_credentials,
        .answer_ms = config->conn.ready_ms,
    };

    c->options = config->conn;
    c->options.tls = NULL;
    c->options.server_name = NULL;
    if (config->conn.server_name) {
        c->options.server_name = span_dup(span_str(config->conn.server_name));
        if (!c->options.server_name)
            return -ENOMEM;
    }
    if (config->conn.tls)
        c->options.tls = tls_ctx_ref(config->conn.tls);
    return via_dial(&via, &via_handlers, c, &c->via);
}

static int dial(struct ws_client *c, const struct ws_client_config *config)
{
    if (config->is_proxied)
        return dial_proxy(c, config);
    return conn_dial(c->loop, &config->to, &config->conn, &conn_handlers, c, &c->conn);
}

static void free_memory(struct ws_client *c)
{
    if (c->options.tls)
        tls_ctx_unref(c->options.tls);
    free((void *)(uintptr_t)c->options.server_name);
    buf_deinit(&c->head);
    free(c->authority);
    free(c->path);
    free(c->protocol);
    free(c);
}

static void on_reap(struct loop_reap *reap)
{
    free_memory(container_of(reap, struct ws_client, reap));
}

void ws_client_free(struct ws_client *c)
{
    if (!c || c->is_freed)
        return;
    c->is_freed = true;
    c->state = WS_OVER;
    timer_stop(&c->timer);
    via_free(TAKE(c->via));
    conn_free(TAKE(c->conn));
    loop_reap(c->loop, &c->reap, on_reap);
}

int ws_client_dial(const struct ws_client_config *config, const struct ws_client_handlers *handlers,
                   void *user, struct ws_client **ret_client)
{
    struct ws_client *c = calloc(1, sizeof(*c));
    int r = -ENOMEM;

    if (!c)
        return -ENOMEM;
    c->loop = config->loop;
    c->handlers = handlers;
    c->user = user;
    c->open_ms = config->conn.ready_ms ? config->conn.ready_ms : OPEN_MS;
    c->authority = span_dup(span_str(config->authority));
    c->path = span_dup(span_str(config->path));
    c->protocol = span_dup(span_str(config->protocol));
    c->field_name = config->field_name;
    snprintf(c->field_value, sizeof(c->field_value), "%s", config->field_value ? config->field_value : "");
    buf_init_heap(&c->head, HEAD_MAX);
    if (c->authority && c->path && c->protocol)
        r = dial(c, config);
    if (r) {
        free_memory(c);
        return r;
    }
    *ret_client = c;
    return 0;
}

uint32_t ws_client_retry_after_ms(const struct ws_client *c)
{
    return c->retry_after_ms;
}
