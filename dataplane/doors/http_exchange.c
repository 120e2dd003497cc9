#include "dataplane/doors/http_state.h"
#include "lib/log/log.h"
#include <string.h>

/*
 * One absolute-form request and its answer, over a stream of its own.  The target is asked to
 * close after it, so nothing of one request can reach another's answer.
 */
#define VIA "1.1 adit"
#define RESPONSE_HEAD_MAX HTTP1_HEAD_MAX

/* What a client may not say about itself or others: where it comes from, who it is, what it
 * asked for.  Targets behind an agent may believe their neighbour. */
static const struct span untrusted[] = {
    SPAN_INIT("Forwarded"),           SPAN_INIT("Forwarded-For"),        SPAN_INIT("X-Forwarded"),
    SPAN_INIT("X-Forwarded-"),        SPAN_INIT("X-Real-IP"),            SPAN_INIT("Client-IP"),
    SPAN_INIT("X-Client-IP"),         SPAN_INIT("True-Client-IP"),       SPAN_INIT("X-Cluster-Client-IP"),
    SPAN_INIT("CF-Connecting-IP"),    SPAN_INIT("X-Originating-IP"),     SPAN_INIT("Remote-"),
    SPAN_INIT("X-Remote-"),           SPAN_INIT("X-Original-"),          SPAN_INIT("X-Rewrite-"),
    SPAN_INIT("Adit-"),               SPAN_INIT("X-Adit-"),
};

void exchange_deinit(struct http_state *h)
{
    buf_deinit(&h->request_head);
    buf_deinit(&h->response_head);
    h->response_scan = (struct http1_scan){ 0 };
    h->is_open = false;
    h->has_response = false;
}

/* Nothing can be told any more: part of an answer is out. */
static void give_up(struct visit *v)
{
    struct http_state *h = visit_state(v);

    if (h->route)
        route_abandon(TAKE(h->route), REASON_CLIENT_GONE);
    h->phase = HTTP_OVER;
    visit_reset(v);
}

/* --- request: to the target ------------------------------------------------------------------------- */

/* How many of the n bytes the stream took now. */
static size_t push(struct route *route, const char *p, size_t n)
{
    struct mux_stream *stream = route_stream(route);
    size_t done = 0;

    while (done < n) {
        size_t room;
        unsigned char *dst = mux_stream_reserve(stream, &room);

        if (!dst)
            break;
        if (room > n - done)
            room = n - done;
        memcpy(dst, p + done, room);
        mux_stream_commit(stream, room);
        done += room;
    }
    route_carried(route, done);
    return done;
}

static bool push_head(struct http_state *h)
{
    size_t n = push(h->route, (const char *)h->request_head.data, h->request_head.len);

    buf_shift(&h->request_head, n);
    return h->request_head.len == 0;
}

/* Bytes of the body, exactly as far as it goes; false: the stream is full, or doubt. */
static bool push_body(struct visit *v)
{
    struct http_state *h = visit_state(v);

    while (!h->request_body.is_done && visit_in(v).n) {
        struct http1_body ahead = h->request_body;
        struct span in = visit_in(v), data;
        size_t bytes, room;
        int r;

        if (!mux_stream_reserve(route_stream(h->route), &room))
            return false;
        mux_stream_commit(route_stream(h->route), 0);
        in = span_first(in, room);
        in = span_first(in, route_room(h->route, in.n));
        if (!in.n)
            return false;
        r = http1_body_take(&ahead, in, &bytes, &data);
        if (r) {
            route_abandon(TAKE(h->route), REASON_BAD_REQUEST);
            if (h->has_response)
                give_up(v);
            else
                http_refuse(v, REASON_BAD_REQUEST, span_str(http1_error_text(r)), false);
            return false;
        }
        push(h->route, in.p, bytes);
        h->request_body = ahead;
        visit_take(v, bytes);
    }
    return true;
}

static void send_request(struct visit *v)
{
    struct http_state *h = visit_state(v);

    if (!h->is_open || !push_head(h))
        return;
    if (!push_body(v))
        return;
    if (h->has_ended && !h->request_body.is_done)
        give_up(v);                 /* a truncated request: its rest will never come */
}

void exchange_on_input(struct visit *v)
{
    visit_deadline(v, EXCHANGE_IDLE_MS);
    send_request(v);
}

/* --- response: to the client --------------------------------------------------------------------------- */

static void finish(struct visit *v)
{
    struct http_state *h = visit_state(v);
    bool is_clean = h->request_body.is_done && h->keep_alive && h->response_body.is_done;

    route_release(TAKE(h->route));
    if (!is_clean) {
        h->phase = HTTP_OVER;
        visit_close(v);
        return;
    }
    http_next_request(v);
}

static void refuse_response(struct visit *v, int error)
{
    struct http_state *h = visit_state(v);

    LOG(INFO, "response.refused", S("stream", route_id(h->route)->text), S("detail", http1_error_text(error)));
    route_abandon(TAKE(h->route), REASON_PROTOCOL_ERROR);
    http_refuse(v, REASON_TARGET_RESET, span_str(http1_error_text(error)), false);
}

static void write_response_head(struct visit *v, const struct http1_head *head)
{
    struct http_state *h = visit_state(v);
    const struct http1_field via[] = { { SPAN("Via"), SPAN(VIA) } };
    struct http1_forward forward = { .set = via, .set_count = 1 };

    if (head->status >= 200) {
        h->keep_alive = h->keep_alive && head->framing != HTTP1_BODY_CLOSE;
        forward.close = !h->keep_alive;
        h->has_response = true;
        http1_body_init(&h->response_body, head);
    }
    http1_write_response(visit_out(v), head, &forward);
}

/* True: a head was taken (perhaps of a 1xx, and another follows). */
static bool take_head(struct visit *v)
{
    struct http_state *h = visit_state(v);
    struct http1_head head;
    int r = http1_response_parse(&h->response_scan, buf_span(&h->response_head), span_str(h->method), &head);

    if (r == HTTP1_E_MORE)
        return false;
    if (!r && head.framing == HTTP1_BODY_TUNNEL)
        r = HTTP1_E_CONTENT;        /* no upgrade was asked for */
    if (r) {
        refuse_response(v, r);
        return false;
    }
    write_response_head(v, &head);
    buf_shift(&h->response_head, head.bytes);
    h->response_scan = (struct http1_scan){ 0 };
    return true;
}

/* Body bytes into the visit's out buffer; what does not fit stays in the stream. */
static size_t take_body(struct visit *v, struct span in)
{
    struct http_state *h = visit_state(v);
    struct buf *out = visit_out(v);
    size_t done = 0;

    while (done < in.n && !h->response_body.is_done && out->len < out->cap) {
        struct span part = span_first(span_skip(in, done), out->cap - out->len), data;
        size_t bytes;

        if (http1_body_take(&h->response_body, part, &bytes, &data)) {
            give_up(v);
            return 0;
        }
        buf_put_span(out, span_first(part, bytes));
        done += bytes;
    }
    return done;
}

/* What came with the head is body already. */
static void take_rest_of_head(struct visit *v)
{
    struct http_state *h = visit_state(v);
    size_t n = take_body(v, buf_span(&h->response_head));

    if (h->phase == HTTP_EXCHANGE)
        buf_shift(&h->response_head, n);
}

/* A 1xx goes out before the next head is looked at: however many come, one waits. */
static bool wants_head(struct visit *v)
{
    const struct http_state *h = visit_state(v);

    return h->phase == HTTP_EXCHANGE && !h->has_response && visit_out(v)->len == 0;
}

/* False: nothing came, or it was refused. */
static bool fill_head(struct visit *v)
{
    struct http_state *h = visit_state(v);
    size_t room = h->response_head.cap - h->response_head.len;
    struct span span;

    if (!mux_stream_peek(route_stream(h->route), &span, 1))
        return false;
    if (room == 0) {
        refuse_response(v, HTTP1_E_HEAD_TOO_LARGE);
        return false;
    }
    span = span_first(span, room);
    buf_put_span(&h->response_head, span);
    if (buf_error(&h->response_head)) {
        give_up(v);
        return false;
    }
    mux_stream_consume(route_stream(h->route), span.n);
    route_carried(h->route, span.n);
    return true;
}

static bool read_head(struct visit *v)
{
    struct http_state *h = visit_state(v);

    while (wants_head(v) && (take_head(v) || (wants_head(v) && fill_head(v))))
        ;
    return h->phase == HTTP_EXCHANGE && h->has_response;
}

static void read_body(struct visit *v)
{
    struct http_state *h = visit_state(v);
    struct buf *out = visit_out(v);
    struct span span;

    if (h->response_head.len)
        take_rest_of_head(v);
    while (h->phase == HTTP_EXCHANGE && h->response_head.len == 0 && !h->response_body.is_done &&
           out->len < out->cap && mux_stream_peek(route_stream(h->route), &span, 1)) {
        size_t most = route_room(h->route, span.n), n = most ? take_body(v, span_first(span, most)) : 0;

        if (h->phase != HTTP_EXCHANGE || n == 0)
            return;
        mux_stream_consume(route_stream(h->route), n);
        route_carried(h->route, n);
    }
}

static bool is_response_over(const struct http_state *h)
{
    return h->response_body.is_done ||
           (h->response_body.framing == HTTP1_BODY_CLOSE && h->response_head.len == 0 &&
            mux_stream_at_fin(route_stream(h->route)));
}

/* The target closed before the answer was whole. */
static void on_cut_short(struct visit *v)
{
    struct http_state *h = visit_state(v);

    if (h->has_response) {
        give_up(v);
        return;
    }
    route_abandon(TAKE(h->route), REASON_TARGET_RESET);
    http_refuse(v, REASON_TARGET_RESET, SPAN("the target closed without an answer"), false);
}

static void send_response(struct visit *v)
{
    struct http_state *h = visit_state(v);

    if (!h->route || !h->is_open)
        return;
    visit_deadline(v, EXCHANGE_IDLE_MS);
    if (read_head(v))
        read_body(v);
    if (h->phase != HTTP_EXCHANGE)
        return;
    if (visit_out(v)->len) {
        visit_flush(v);             /* exchange_on_sent() goes on */
        return;
    }
    if (h->has_response && is_response_over(h))
        finish(v);
    else if (mux_stream_at_fin(route_stream(h->route)))
        on_cut_short(v);
}

void exchange_on_sent(struct visit *v)
{
    send_response(v);
}

void exchange_on_deadline(struct visit *v)
{
    struct http_state *h = visit_state(v);

    if (h->route)
        route_abandon(TAKE(h->route), REASON_IDLE_TIMEOUT);
    if (h->has_response)
        give_up(v);
    else
        http_refuse(v, REASON_IDLE_TIMEOUT, SPAN_NONE, false);
}

/* --- the route's handlers --------------------------------------------------------------------------------- */

static void on_opened(void *user, struct route *r, const struct endpoint *at)
{
    struct visit *v = user;
    struct http_state *h = visit_state(v);

    (void)r, (void)at;
    h->is_open = true;
    send_request(v);
}

static void on_refused(void *user, struct route *r, enum reason why, struct span text)
{
    struct visit *v = user;
    struct http_state *h = visit_state(v);

    (void)r;
    h->route = NULL;
    http_refuse(v, why, text, false);
}

static void on_readable(void *user, struct route *r)
{
    (void)r;
    send_response(user);
}

static void on_writable(void *user, struct route *r)
{
    (void)r;
    send_request(user);
}

/* Writing may end the exchange. */
static void on_resumed(void *user, struct route *r)
{
    (void)r;
    send_request(user);
    send_response(user);
}

static void on_ended(void *user, struct route *r, enum reason how)
{
    struct visit *v = user;
    struct http_state *h = visit_state(v);

    (void)r;
    h->route = NULL;
    if (h->has_response) {
        h->phase = HTTP_OVER;
        visit_reset(v);
        return;
    }
    http_refuse(v, how == REASON_NONE ? REASON_TARGET_RESET : how, SPAN_NONE, false);
}

static const struct route_handlers events = {
    .on_opened = on_opened,
    .on_refused = on_refused,
    .on_move = visit_follow,
    .on_readable = on_readable,
    .on_writable = on_writable,
    .on_resumed = on_resumed,
    .on_ended = on_ended,
};

/* --- starting ------------------------------------------------------------------------------------------------ */

static void write_request_head(struct http_state *h, const struct http1_head *head)
{
    const struct http1_field via[] = { { SPAN("Via"), SPAN(VIA) } };
    const struct http1_forward forward = {
        .set = via, .set_count = 1, .drop = untrusted, .drop_count = ARRAY_LEN(untrusted), .close = true,
    };

    buf_init_heap(&h->request_head, HTTP1_HEAD_MAX + 1024);
    buf_init_heap(&h->response_head, RESPONSE_HEAD_MAX);
    http1_write_request(&h->request_head, head, &forward);
    http1_body_init(&h->request_body, head);
}

void exchange_start(struct visit *v, const struct http1_head *head)
{
    struct http_state *h = visit_state(v);
    struct route_request want = {
        .door = visit_door_name(v),
        .principal = h->principal,
        .source = *visit_source(v),
        .host = head->host,
        .port = head->port,
    };
    enum reason why;

    h->phase = HTTP_EXCHANGE;
    span_copy(head->method, h->method, sizeof(h->method));
    write_request_head(h, head);
    http1_find(head, SPAN("traceparent"), &want.trace);
    why = buf_error(&h->request_head) ? REASON_TOO_LARGE
                                      : route_open(visit_router(v), &want, &events, v, &h->route);
    if (why != REASON_NONE) {
        h->route = NULL;
        http_refuse(v, why, SPAN_NONE, false);
        return;
    }
    visit_take(v, head->bytes);
}
