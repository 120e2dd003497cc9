#include "lib/ws/conn/ws_conn.h"

#include "lib/crypto/random.h"
#include "lib/net/loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define READ_BYTES 65536
#define READS_PER_TURN 2
#define MASK_BYTES 4
#define TEXT_MAX 192

/* --- the end ------------------------------------------------------------------------- */
static void free_memory(struct ws_conn *w)
{
    free(TAKE(w->rest));
    free(TAKE(w->control));
    w->rest_len = w->control_len = 0;
}

bool ws_conn_is_open(const struct ws_conn *w)
{
    return w->conn != NULL;
}

void ws_conn_deinit(struct ws_conn *w)
{
    conn_free(TAKE(w->conn));
    free_memory(w);
}

static void fail(struct ws_conn *w, enum reason why, const char *text)
{
    ws_conn_deinit(w);
    w->handlers->on_closed(w->user, why, text);
}

static void fail_errno(struct ws_conn *w, const char *doing, int error)
{
    char text[TEXT_MAX];
    enum reason why = conn_why(w->conn, doing, error, text, sizeof(text));

    fail(w, why, text);
}

/* --- out ----------------------------------------------------------------------------- */
/* NULL: servers do not mask. */
static const unsigned char *mask_for(const struct ws_conn *w, unsigned char dst[MASK_BYTES])
{
    if (w->parser.options.is_server)
        return NULL;
    random_bytes(dst, MASK_BYTES);
    return dst;
}

/* What the socket does not take now, it takes first. */
static int keep_rest(struct ws_conn *w, const struct span *spans, size_t count, size_t taken)
{
    size_t all = 0;
    struct buf b;

    for (size_t i = 0; i < count; i++)
        all += spans[i].n;
    if (taken >= all)
        return 0;
    w->rest = malloc(all - taken);
    if (!w->rest)
        return -ENOMEM;
    buf_init_fixed(&b, w->rest, all - taken);
    for (size_t i = 0; i < count; i++) {
        size_t gone = taken < spans[i].n ? taken : spans[i].n;

        buf_put_span(&b, span_skip(spans[i], gone));
        taken -= gone;
    }
    w->rest_at = 0;
    w->rest_len = b.len;
    return 0;
}

/* Control frames that wait, then `frame`, in one go.  0, or -errno: the connection is dead. */
static int send_frames(struct ws_conn *w, struct span frame)
{
    const struct span spans[] = { span_of(w->control, w->control_len), frame };
    ssize_t n = conn_writev(w->conn, spans, ARRAY_LEN(spans));
    int r = n == -EAGAIN || n >= 0 ? keep_rest(w, spans, ARRAY_LEN(spans), n > 0 ? (size_t)n : 0) : (int)n;

    free(TAKE(w->control));
    w->control_len = 0;
    return r;
}

/* 0 all is gone; -EAGAIN; other -errno: dead. */
static int send_rest(struct ws_conn *w)
{
    while (w->rest_at < w->rest_len) {
        ssize_t n = conn_write(w->conn, w->rest + w->rest_at, w->rest_len - w->rest_at);

        if (n <= 0)
            return n ? (int)n : -EAGAIN;
        w->rest_at += (size_t)n;
    }
    free(TAKE(w->rest));
    w->rest_at = w->rest_len = 0;
    return 0;
}

static void want(struct ws_conn *w)
{
    conn_want(w->conn, CONN_READ | (ws_conn_is_sent(w) && !conn_is_holding(w->conn) ? 0 : CONN_WRITE));
}

/* False: it failed, and is gone. */
static bool flush(struct ws_conn *w)
{
    int r = send_rest(w);

    if (!r && w->control_len)
        r = send_frames(w, SPAN_NONE);
    if (r && r != -EAGAIN) {
        fail_errno(w, "sending", r);
        return false;
    }
    want(w);
    return true;
}

bool ws_conn_is_sent(const struct ws_conn *w)
{
    return !w->rest && !w->control;
}

bool ws_conn_has_room(struct ws_conn *w)
{
    if (!w->conn)
        return false;
    if (!w->rest && !conn_is_holding(w->conn))
        return true;
    conn_want(w->conn, CONN_READ | CONN_WRITE);
    return false;
}

void ws_conn_send(struct ws_conn *w, enum ws_opcode opcode, bool is_last, unsigned char *payload,
                  size_t n)
{
    unsigned char header[WS_HEADER_MAX], memory[MASK_BYTES];
    const unsigned char *mask = mask_for(w, memory);
    size_t len = ws_header_write(header, opcode, is_last, n, mask);
    int r;

    memcpy(payload - len, header, len);
    if (mask)
        ws_mask_copy(payload, payload, n, mask, 0);
    r = send_frames(w, span_of(payload - len, len + n));
    if (r)
        fail_errno(w, "sending", r);
    else if (w->rest || conn_is_holding(w->conn))
        want(w);
}

static void on_writable(void *user)
{
    struct ws_conn *w = user;

    if (flush(w) && ws_conn_has_room(w))
        w->handlers->on_writable(w->user);
}

/* A flood of PINGs that cannot be answered gets no more than the room for PONGs. */
static void pong(struct ws_conn *w, struct span payload)
{
    unsigned char mask[MASK_BYTES];

    if (!w->control)
        w->control = malloc(WS_CONN_CONTROL_MAX);
    if (!w->control || w->control_len > WS_CONN_CONTROL_MAX - WS_CONTROL_FRAME_MAX)
        return;
    w->control_len += ws_control_write(w->control + w->control_len, WS_PONG, payload, mask_for(w, mask));
}

/* With what waits before it, if the socket takes it all. */
static void say_close(struct ws_conn *w, uint16_t code, struct span text)
{
    unsigned char frame[WS_CONTROL_FRAME_MAX], mask[MASK_BYTES];
    size_t n = ws_close_write(frame, code, text, mask_for(w, mask));
    bool is_sent = !send_rest(w) && !send_frames(w, span_of(frame, n)) && !w->rest;

    if (is_sent)
        conn_close(TAKE(w->conn));
}

void ws_conn_close(struct ws_conn *w, uint16_t code, const char *text)
{
    if (w->conn)
        say_close(w, code, span_str(text));
    ws_conn_deinit(w);
}

/* --- in ------------------------------------------------------------------------------ */
static void on_close_frame(struct ws_conn *w, const struct ws_event *e)
{
    char text[TEXT_MAX];

    snprintf(text, sizeof(text), "the other side closed: %u " SPAN_FMT, e->close_code,
             SPAN_ARG(e->data));
    say_close(w, e->close_code, SPAN_NONE);
    fail(w, REASON_SESSION_LOST, text);
}

static void on_broken(struct ws_conn *w, int error)
{
    say_close(w, ws_error_close_code(error), SPAN_NONE);
    fail(w, REASON_PROTOCOL_ERROR, ws_error_text(error));
}

/* The input is the caller's own memory: what is masked is laid open where it lies. */
static void on_data(struct ws_conn *w, const struct ws_event *e)
{
    if (e->is_masked)
        ws_mask_copy((void *)(uintptr_t)e->data.p, e->data.p, e->data.n, e->mask, 0);
    w->handlers->on_data(w->user, e->opcode, e->data, e->is_last);
}

/* They move nothing, and each PING costs an answer. */
static bool may_take_control(struct ws_conn *w)
{
    uint64_t now_ms = mono_ms(), fresh = (now_ms - w->controls_ms) * WS_CONN_CONTROLS_PER_S / 1000;

    if (fresh) {
        w->controls_ms = now_ms;
        w->controls_left = fresh > WS_CONN_CONTROLS_MAX - w->controls_left ? WS_CONN_CONTROLS_MAX
                                                                           : w->controls_left + (uint32_t)fresh;
    }
    if (!w->controls_left)
        return false;
    w->controls_left--;
    return true;
}

static void on_control(struct ws_conn *w, const struct ws_event *e)
{
    if (!may_take_control(w))
        on_broken(w, WS_E_CONTROL_FLOOD);
    else if (e->kind == WS_EVENT_PING)
        pong(w, e->data);
}

static void on_event(struct ws_conn *w, const struct ws_event *e)
{
    switch (e->kind) {
    case WS_EVENT_DATA:
        on_data(w, e);
        return;
    case WS_EVENT_PING:
    case WS_EVENT_PONG:
        on_control(w, e);
        return;
    case WS_EVENT_CLOSE:
        on_close_frame(w, e);
        return;
    case WS_EVENT_NONE:
        return;
    }
}

static void take(struct ws_conn *w, unsigned char *bytes, size_t n)
{
    struct span in = span_of(bytes, n);

    while (w->conn) {
        struct ws_event e;
        size_t taken;
        int r = ws_parser_take(&w->parser, in, &taken, &e);

        if (r) {
            on_broken(w, r);
            return;
        }
        in = span_skip(in, taken);
        if (e.kind == WS_EVENT_NONE)
            return;
        on_event(w, &e);
    }
}

static void on_readable(void *user)
{
    struct ws_conn *w = user;
    unsigned char bytes[READ_BYTES];

    for (int i = 0; i < READS_PER_TURN && w->conn; i++) {
        ssize_t n = conn_read(w->conn, bytes, sizeof(bytes));

        if (n > 0)
            take(w, bytes, (size_t)n);
        else if (n != -EAGAIN)
            fail_errno(w, "receiving", (int)n);
        if (n < (ssize_t)sizeof(bytes))
            break;              /* that was all; the socket will say when there is more */
    }
    if (w->conn && w->control_len && !w->rest)
        flush(w);
}

static const struct conn_handlers conn_handlers = {
    .on_readable = on_readable, .on_writable = on_writable,
};

static void take_early(struct ws_conn *w, struct span early)
{
    unsigned char *bytes = malloc(early.n);

    if (!bytes) {
        fail(w, REASON_OVERLOAD, "out of memory");
        return;
    }
    memcpy(bytes, early.p, early.n);
    take(w, bytes, early.n);
    free(bytes);
    if (w->conn && w->control_len)
        flush(w);
}

void ws_conn_init(struct ws_conn *w, struct conn *conn, const struct ws_options *options,
                  const struct ws_conn_handlers *handlers, void *user, struct span early)
{
    *w = (struct ws_conn){ .conn = conn, .handlers = handlers, .user = user,
                           .controls_left = WS_CONN_CONTROLS_MAX, .controls_ms = mono_ms() };
    ws_parser_init(&w->parser, options);
    conn_set_handlers(conn, &conn_handlers, w);
    conn_want(conn, CONN_READ);
    if (early.n)
        take_early(w, early);
}
