#include "dataplane/doors/http_door.h"
#include "dataplane/doors/http_state.h"
#include "dataplane/doors/pac.h"
#include <stdio.h>

#define REALM "Basic realm=\"adit\", charset=\"UTF-8\""
#define SECRET_MAX 1024

/* --- answers of ours --------------------------------------------------------------------------- */

static void page(struct buf *out, enum reason why, struct span text)
{
    buf_printf(out, "%s\n\n%s\n", reason_text(why), reason_what(why));
    if (text.n)
        buf_printf(out, "(" SPAN_FMT ")\n", SPAN_ARG(text));
    buf_printf(out, "\n%s\nMore: adit reason %s\n", reason_cure(why), reason_text(why));
}

/* Text from agents reaches a page only as printable ASCII. */
static struct span printable(struct span text, char *mem, size_t size)
{
    size_t n = text.n < size ? text.n : size;

    for (size_t i = 0; i < n; i++)
        mem[i] = text.p[i] >= ' ' && text.p[i] < 0x7f ? text.p[i] : '?';
    return span_of(mem, n);
}

/* In whole seconds, as Retry-After; empty where nobody knows. */
static struct span retry_after(struct visit *v, enum reason why, char text[32])
{
    uint64_t ms = router_retry_ms(visit_router(v), why);

    if (!ms)
        return SPAN_NONE;
    snprintf(text, 32, "%llu", (unsigned long long)(ms + 999) / 1000);
    return span_str(text);
}

static void answer_refusal(struct visit *v, unsigned status, enum reason why, struct span text, bool keep_alive)
{
    struct http_state *h = visit_state(v);
    char mem[2048], clean[256], seconds[32];
    struct span retry = retry_after(v, why, seconds);
    struct buf body;
    const struct http1_field fields[] = {
        { SPAN("Adit-Reason"), span_str(reason_text(why)) },
        { SPAN("Cache-Control"), SPAN("no-store") },
        status == 407 ? (struct http1_field){ SPAN("Proxy-Authenticate"), SPAN(REALM) }
                      : (struct http1_field){ SPAN("Retry-After"), retry },
    };
    const struct http1_answer answer = {
        .status = status,
        .set = fields,
        .set_count = status == 407 || retry.n ? 3 : 2,
        .close = !keep_alive,
        .head_only = h->is_head_request,
    };
    struct http1_answer whole = answer;

    buf_init_fixed(&body, mem, sizeof(mem));
    page(&body, why, printable(text, clean, sizeof(clean)));
    whole.body = buf_span(&body);
    http1_write_answer(visit_out(v), &whole);
    h->phase = keep_alive ? HTTP_HEAD : HTTP_OVER;
    if (keep_alive)
        visit_flush(v);
    else
        visit_close(v);
}

void http_refuse(struct visit *v, enum reason why, struct span text, bool keep_alive)
{
    answer_refusal(v, reason_http_status(why), why, text, keep_alive);
}

static enum reason reason_of_head(int error)
{
    switch (http1_error_status(error)) {
    case 408:
        return REASON_REQUEST_TIMEOUT;
    case 431:
        return REASON_TOO_LARGE;
    default:
        return REASON_BAD_REQUEST;
    }
}

/* The status is the error's own, which may say more than the reason's (501, 505). */
static void refuse_head(struct visit *v, int error)
{
    const char *text = http1_error_text(error);
    enum reason why = reason_of_head(error);

    visit_refused(v, why, text);
    answer_refusal(v, http1_error_status(error), why, span_str(text), false);
}

/* --- who is it ----------------------------------------------------------------------------------- */

static void read_heads(struct visit *v);

/* The head still stands in the input: it is read again, and this time somebody knows. */
static void on_password(void *user, enum reason why)
{
    struct visit *v = user;
    struct http_state *h = visit_state(v);

    h->answer = why;
    h->has_answer = true;
    h->phase = HTTP_HEAD;
    h->scan = (struct http1_scan){ 0 };
    visit_want_input(v, true);
    read_heads(v);
}

/* A chosen password may be one that nobody has asked about yet.  True: it is asked about now. */
static bool is_asked(struct visit *v, struct span user, struct span secret, enum reason *why)
{
    struct http_state *h = visit_state(v);

    if (*why != REASON_AUTH_FAILED)
        return false;
    if (h->has_answer) {
        *why = h->answer == REASON_NONE ? REASON_AUTH_FAILED : h->answer;
        return false;
    }
    h->ask = (struct password_ask){ .fn = on_password, .user = v };
    *why = router_password_ask(visit_router(v), user, secret, visit_source(v), &h->ask);
    if (*why != REASON_NONE)
        return false;
    h->phase = HTTP_ASKING;
    visit_want_input(v, false);
    return true;
}

/* REASON_NONE fills in h->principal, or is to be asked again: HTTP_ASKING. */
static enum reason log_in(struct visit *v, const struct http1_head *head)
{
    struct http_state *h = visit_state(v);
    struct span value, user, secret;
    unsigned char mem[SECRET_MAX];
    enum reason why = REASON_AUTH_FAILED;

    if (!http1_find(head, SPAN("Proxy-Authorization"), &value))
        return REASON_AUTH_REQUIRED;
    if (http1_count(head, SPAN("Proxy-Authorization")) != 1)
        return REASON_BAD_REQUEST;

    user = SPAN_NONE;
    if (http1_basic_parse(value, mem, sizeof(mem), &user, &secret) == 0)
        why = router_login(visit_router(v), user, secret, visit_source(v), &h->principal);
    if (why == REASON_AUTH_FAILED && user.n && is_asked(v, user, secret, &why))
        why = REASON_NONE;
    h->has_answer = false;
    if (why != REASON_NONE)
        router_tell_login_refused(visit_router(v), visit_door_name(v), user, visit_source(v), why);
    secret_wipe(mem, sizeof(mem));
    return why;
}

/* --- CONNECT --------------------------------------------------------------------------------------- */

static void on_connected(void *user, struct route *r, const struct endpoint *at)
{
    struct visit *v = user;
    struct http_state *h = visit_state(v);

    (void)at;
    h->route = NULL;
    h->phase = HTTP_OVER;
    http1_write_connected(visit_out(v));
    visit_send_and_hand_over(v, r);
}

static void on_connect_refused(void *user, struct route *r, enum reason why, struct span text)
{
    struct visit *v = user;
    struct http_state *h = visit_state(v);

    (void)r;
    h->route = NULL;
    visit_want_input(v, true);
    http_refuse(v, why, text, false);
}

static const struct route_handlers connect_events = {
    .on_opened = on_connected,
    .on_refused = on_connect_refused,
    .on_move = visit_follow,
};

static void connect_start(struct visit *v, const struct http1_head *head)
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

    http1_find(head, SPAN("traceparent"), &want.trace);
    h->phase = HTTP_CONNECTING;
    visit_want_input(v, false);
    why = route_open(visit_router(v), &want, &connect_events, v, &h->route);
    if (why == REASON_NONE) {
        visit_take(v, head->bytes);
        return;
    }
    h->route = NULL;
    visit_want_input(v, true);
    http_refuse(v, why, SPAN_NONE, false);
}

/* --- heads -------------------------------------------------------------------------------------------- */

/* A refusal may leave the connection open only if there is no body that would be taken for
 * the next request. */
static bool may_keep(const struct http1_head *head)
{
    return head->keep_alive && (head->framing == HTTP1_BODY_NONE || head->framing == HTTP1_BODY_TUNNEL);
}

static void begin_head(struct visit *v)
{
    struct http_state *h = visit_state(v);

    exchange_deinit(h);
    h->phase = HTTP_HEAD;
    h->scan = (struct http1_scan){ 0 };
    h->is_head_request = false;
    visit_want_input(v, true);
    visit_deadline(v, visit_head_ms(v));
}

static void on_head(struct visit *v, const struct http1_head *head)
{
    struct http_state *h = visit_state(v);
    bool keep = may_keep(head);
    enum reason why;

    visit_deadline(v, 0);
    h->is_head_request = span_eq(head->method, SPAN("HEAD"));
    if (pac_is_asked(v, head)) {
        pac_answer(v, head);
        return;
    }
    why = log_in(v, head);
    if (h->phase == HTTP_ASKING)
        return;
    h->keep_alive = head->keep_alive;
    if (why == REASON_NONE && head->form != HTTP1_FORM_AUTHORITY && head->form != HTTP1_FORM_ABSOLUTE)
        why = REASON_METHOD_NOT_ALLOWED;
    if (why != REASON_NONE) {
        if (why == REASON_AUTH_REQUIRED || why == REASON_METHOD_NOT_ALLOWED || why == REASON_BAD_REQUEST)
            visit_refused(v, why, reason_what(why));    /* the others are told where they are found */
        visit_take(v, head->bytes);
        http_refuse(v, why, SPAN_NONE, keep && why == REASON_AUTH_REQUIRED);
        if (h->phase == HTTP_HEAD)
            begin_head(v);
        return;
    }
    if (head->form == HTTP1_FORM_AUTHORITY)
        connect_start(v, head);
    else
        exchange_start(v, head);
}

/* True: a head was there, and perhaps another one follows. */
static bool read_head(struct visit *v)
{
    struct http_state *h = visit_state(v);
    struct http1_head head;
    int r = http1_request_parse(&h->scan, visit_in(v), &head);

    if (r == HTTP1_E_MORE) {
        if (h->has_ended)
            visit_close(v);
        return false;
    }
    if (r)
        refuse_head(v, r);
    else
        on_head(v, &head);
    return true;
}

/* A loop, for a client may send any number of requests at once; and each waits until the
 * answer before it is out, so that what is sent ahead costs neither stack nor memory. */
static void read_heads(struct visit *v)
{
    struct http_state *h = visit_state(v);

    if (h->is_reading)
        return;

    h->is_reading = true;
    while (h->phase == HTTP_HEAD && (visit_in(v).n || h->has_ended) && visit_out(v)->len == 0 &&
           !visit_is_over(v) && read_head(v))
        ;
    h->is_reading = false;
}

void http_next_request(struct visit *v)
{
    begin_head(v);
    read_heads(v);
}

static void on_input(struct visit *v)
{
    struct http_state *h = visit_state(v);

    if (h->phase == HTTP_HEAD)
        read_heads(v);
    else if (h->phase == HTTP_EXCHANGE)
        exchange_on_input(v);
}

static void on_sent(struct visit *v)
{
    struct http_state *h = visit_state(v);

    if (h->phase == HTTP_EXCHANGE)
        exchange_on_sent(v);
    else if (h->phase == HTTP_HEAD)
        read_heads(v);
}

/* The client's FIN: between requests it is the end; behind a request its answer still goes. */
static void on_end(struct visit *v)
{
    struct http_state *h = visit_state(v);

    h->has_ended = true;
    if (h->phase == HTTP_HEAD && visit_in(v).n == 0)
        visit_close(v);
    else if (h->phase == HTTP_HEAD)
        read_heads(v);
    else if (h->phase == HTTP_EXCHANGE)
        exchange_on_input(v);
}

/* Silence between requests just ends; half a head, and an exchange that stands still, are
 * told so. */
static void on_deadline(struct visit *v)
{
    struct http_state *h = visit_state(v);

    if (h->phase == HTTP_HEAD && visit_in(v).n)
        refuse_head(v, HTTP1_E_TIMEOUT);
    else if (h->phase == HTTP_EXCHANGE)
        exchange_on_deadline(v);
    else
        visit_close(v);
}

static void on_gone(struct visit *v)
{
    struct http_state *h = visit_state(v);

    router_password_forget(&h->ask);
    if (h->route)
        route_abandon(TAKE(h->route), REASON_CLIENT_GONE);
    exchange_deinit(h);
}

const struct door_protocol http_door = {
    .name = "http",
    .tls_name = "https",
    .on_input = on_input,
    .on_end = on_end,
    .on_sent = on_sent,
    .on_deadline = on_deadline,
    .on_gone = on_gone,
    .state_bytes = sizeof(struct http_state),
};
