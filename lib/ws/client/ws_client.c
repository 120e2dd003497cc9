#include "lib/ws/client/ws_client.h"

#include "lib/base/encode.h"
#include "lib/crypto/digest.h"
#include "lib/crypto/random.h"
#include "lib/http1/http1.h"
#include "lib/ws/client/via.h"
#include "lib/ws/ws.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEAD_MAX 8192
#define READ_BYTES 65536
#define READS_PER_TURN 2
#define OPEN_MS 10000
#define RETRY_AFTER_MAX_S 3600
#define TEXT_MAX 160

enum ws_client_state { WS_DIALLING, WS_UPGRADING, WS_OPEN, WS_CLOSED };

struct ws_client {
    enum ws_client_state state;
    struct loop *loop;
    struct conn *conn;          /* NULL: the proxy is being asked */
    struct via *via;            /* NULL: none, or it has done its part */
    struct conn_options options;        /* for behind the proxy: its pointers are ours */
    const struct ws_client_handlers *handlers;
    void *user;
    struct loop_timer timer;
    struct loop_reap reap;
    bool is_freed;
    uint32_t open_ms, retry_after_ms;
    char *authority, *path, *protocol;
    char key[WS_KEY_BYTES + 1];
    struct buf head;            /* of the answer, while it comes in */
    struct http1_scan scan;
    struct ws_parser parser;
    unsigned char *message;     /* head room, then payload; NULL: none under way */
    size_t message_at, message_end;     /* what is still to be sent of it; 0, 0: being written */
    unsigned char control[WS_CONTROL_FRAME_MAX];
    size_t control_at, control_len;     /* a PONG or Close that goes out before the next message */
};

static void on_message_sent(struct ws_client *c)
{
    free(TAKE(c->message));
    c->message_at = c->message_end = 0;
}

static void fail(struct ws_client *c, enum reason why, const char *text)
{
    if (c->state == WS_CLOSED)
        return;
    c->state = WS_CLOSED;
    timer_stop(&c->timer);
    if (c->conn)
        conn_want(c->conn, 0);
    c->handlers->on_closed(c->user, why, text);
}

static void fail_errno(struct ws_client *c, const char *doing, int error)
{
    enum reason why = conn_refusal(c->conn);
    char text[TEXT_MAX];

    if (why)
        snprintf(text, sizeof(text), "%s: %s", doing, reason_what(why));
    else
        snprintf(text, sizeof(text), "%s: %s", doing,
                 error ? strerrordesc_np(-error) : "the other side closed");
    fail(c, why ? why : REASON_SESSION_LOST, text);
}

/* --- out ----------------------------------------------------------------------------- */
/* 0: all is sent. */
static int send_rest(struct ws_client *c, const unsigned char *p, size_t *at, size_t end)
{
    while (*at < end) {
        ssize_t n = conn_write(c->conn, p + *at, end - *at);

        if (n <= 0)
            return n ? (int)n : -EAGAIN;
        *at += (size_t)n;
    }
    return 0;
}

/* What has begun first, then control, so that frames do not mix. */
static int send_all(struct ws_client *c)
{
    int r = 0;

    if (c->message_end) {
        r = send_rest(c, c->message, &c->message_at, c->message_end);
        if (r)
            return r;
        on_message_sent(c);
    }
    r = send_rest(c, c->control, &c->control_at, c->control_len);
    if (!r)
        c->control_at = c->control_len = 0;
    return r;
}

static void flush(struct ws_client *c)
{
    int r = send_all(c);

    if (r && r != -EAGAIN)
        fail_errno(c, "sending", r);
    else
        conn_want(c->conn, CONN_READ | (r ? CONN_WRITE : 0));
}

unsigned char *ws_client_reserve(struct ws_client *c)
{
    if (c->state != WS_OPEN || c->message_end || c->control_len)
        return NULL;
    if (!c->message)
        c->message = malloc(WS_HEADER_MAX + WS_CLIENT_MESSAGE_MAX);
    return c->message ? c->message + WS_HEADER_MAX : NULL;
}

void ws_client_commit(struct ws_client *c, size_t n)
{
    unsigned char mask[4], header[WS_HEADER_MAX], *payload = c->message + WS_HEADER_MAX;
    size_t len;

    if (!n) {
        on_message_sent(c);
        return;
    }
    random_bytes(mask, sizeof(mask));
    len = ws_header_write(header, WS_BINARY, true, n, mask);
    memcpy(payload - len, header, len);
    ws_mask_copy(payload, payload, n, mask, 0);
    c->message_at = WS_HEADER_MAX - len;
    c->message_end = WS_HEADER_MAX + n;
    flush(c);
}

bool ws_client_is_sending(const struct ws_client *c)
{
    return c->message_end || c->control_len;
}

static void on_writable(void *user)
{
    struct ws_client *c = user;

    flush(c);
    if (c->state == WS_OPEN && !ws_client_is_sending(c))
        c->handlers->on_writable(c->user);
}

static void pong(struct ws_client *c, struct span payload)
{
    unsigned char mask[4];

    if (c->control_len)         /* one is waiting: a flood of PINGs gets no more */
        return;
    random_bytes(mask, sizeof(mask));
    c->control_len = ws_control_write(c->control, WS_PONG, payload, mask);
    flush(c);
}

/* --- in ------------------------------------------------------------------------------ */
static void on_close_frame(struct ws_client *c, const struct ws_event *e)
{
    char text[TEXT_MAX];

    snprintf(text, sizeof(text), "the other side closed: %u " SPAN_FMT, e->close_code,
             SPAN_ARG(e->data));
    fail(c, REASON_SESSION_LOST, text);
}

static void on_event(struct ws_client *c, const struct ws_event *e)
{
    switch (e->kind) {
    case WS_EVENT_DATA:
        c->handlers->on_data(c->user, e->data, e->is_last);
        return;
    case WS_EVENT_PING:
        pong(c, e->data);
        return;
    case WS_EVENT_CLOSE:
        on_close_frame(c, e);
        return;
    case WS_EVENT_PONG:
    case WS_EVENT_NONE:
        return;
    }
}

static void take_frames(struct ws_client *c, struct span in)
{
    while (c->state == WS_OPEN) {
        struct ws_event e;
        size_t n;
        int r = ws_parser_take(&c->parser, in, &n, &e);

        if (r) {
            fail(c, REASON_PROTOCOL_ERROR, ws_error_text(r));
            return;
        }
        in = span_skip(in, n);
        if (e.kind == WS_EVENT_NONE)
            return;
        on_event(c, &e);
    }
}

static void accept_value(const struct ws_client *c, char dst[29])
{
    char input[WS_ACCEPT_INPUT_BYTES];
    unsigned char digest[SHA1_LEN];
    struct buf b;

    ws_accept_input(span_of(c->key, WS_KEY_BYTES), input);
    sha1_for_websocket(span_of(input, sizeof(input)), digest);
    buf_init_fixed(&b, dst, 28);
    base64_encode(span_of(digest, sizeof(digest)), &b);
    dst[28] = 0;
}

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
    char want[29];

    http1_find(head, SPAN("Sec-WebSocket-Accept"), &a.accept);
    http1_find(head, SPAN("Sec-WebSocket-Protocol"), &a.protocol);
    accept_value(c, want);
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
    struct span rest;
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
    c->state = WS_OPEN;
    timer_stop(&c->timer);
    c->handlers->on_open(c->user);
    rest = span_skip(buf_span(&c->head), head.bytes);
    take_frames(c, rest);
    buf_deinit(&c->head);
    buf_init_heap(&c->head, HEAD_MAX);
}

static void take(struct ws_client *c, struct span in)
{
    if (c->state == WS_OPEN) {
        take_frames(c, in);
        return;
    }
    buf_put_span(&c->head, in);
    if (buf_error(&c->head))
        fail(c, REASON_PROTOCOL_ERROR, "the answer to the upgrade is too long");
    else
        take_head(c);
}

static void on_readable(void *user)
{
    struct ws_client *c = user;
    char bytes[READ_BYTES];

    for (int i = 0; i < READS_PER_TURN && c->state != WS_CLOSED; i++) {
        size_t room = c->state == WS_OPEN ? sizeof(bytes) : HEAD_MAX / 2;
        ssize_t n = conn_read(c->conn, bytes, room);

        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            fail_errno(c, "receiving", (int)n);
            return;
        }
        take(c, span_of(bytes, (size_t)n));
        if ((size_t)n < room)
            return;             /* that was all; the socket will say when there is more */
    }
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
    .on_writable = on_writable,
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
    free(c->message);
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
    c->state = WS_CLOSED;
    timer_stop(&c->timer);
    via_free(TAKE(c->via));
    conn_free(TAKE(c->conn));
    loop_reap(c->loop, &c->reap, on_reap);
}

void ws_client_close(struct ws_client *c, uint16_t code, const char *text)
{
    unsigned char mask[4];

    if (c->state == WS_OPEN && !c->message_end && !c->control_len) {
        random_bytes(mask, sizeof(mask));
        c->control_len = ws_close_write(c->control, code, span_str(text), mask);
        if (!send_all(c))
            conn_close(TAKE(c->conn));
    }
    ws_client_free(c);
}

struct conn *ws_client_conn(const struct ws_client *c)
{
    return c->conn;
}

int ws_client_dial(const struct ws_client_config *config, const struct ws_client_handlers *handlers,
                   void *user, struct ws_client **ret_client)
{
    struct ws_options options = { .message_max = config->message_max };
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
    buf_init_heap(&c->head, HEAD_MAX);
    ws_parser_init(&c->parser, &options);
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
