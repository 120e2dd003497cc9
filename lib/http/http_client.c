#include "lib/http/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 30000
#define CONNECT_MS 10000
#define BODY_MAX ((size_t)1 << 20)
#define HEADER_BYTES_MAX 16384
#define KEPT_CONNECTIONS 8L

struct header_at {              /* in struct http_call's text, which moves while it grows */
    size_t name, name_len, value, value_len;
};

struct http_call {
    struct http_client *client;
    struct list node;
    CURL *easy;
    struct curl_slist *headers;
    struct buf body, text;
    struct header_at header_at[HTTP_HEADERS_MAX];
    size_t header_count;
    enum reason refusal;
    bool is_too_large;
    char error[CURL_ERROR_SIZE];
    uint64_t began_ms;
    void (*on_answer)(void *user, const struct http_answer *answer);
    void *user;
};

struct http_client {
    struct loop *loop;
    struct tls_ctx *tls;
    CURLM *multi;
    struct loop_timer timer;
    struct loop_reap reap;
    struct list calls;
    size_t count;
    bool is_freed;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global_status;

static void init_library(void)
{
    global_status = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* --- the answer ---------------------------------------------------------------------- */
static void free_call(struct http_call *call)
{
    curl_multi_remove_handle(call->client->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    buf_deinit(&call->body);
    buf_deinit(&call->text);
    list_remove(&call->node);
    call->client->count--;
    free(call);
}

static int errno_of(CURLcode code, const struct http_call *call)
{
    switch ((int)code) {
    case CURLE_OK:
        return 0;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
        return -ENOENT;
    case CURLE_COULDNT_CONNECT:
        return -ECONNREFUSED;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return -EINVAL;
    case CURLE_WRITE_ERROR:
        return call->is_too_large ? -EMSGSIZE : -ENOMEM;
    default:
        return -EIO;
    }
}

static void give_answer(struct http_call *call, CURLcode code)
{
    struct http_header headers[HTTP_HEADERS_MAX];
    struct http_answer answer = {
        .error = errno_of(code, call),
        .refusal = call->refusal,
        .text = code ? (call->error[0] ? call->error : curl_easy_strerror(code)) : "",
        .headers = headers,
        .header_count = call->header_count,
        .took_ms = (uint32_t)(loop_now_ms(call->client->loop) - call->began_ms),
    };
    const char *text = (const char *)call->text.data;
    long status = 0;

    if (!code) {
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        answer.status = (unsigned)status;
        answer.body = buf_span(&call->body);
    }
    for (size_t i = 0; i < call->header_count; i++) {
        const struct header_at *at = &call->header_at[i];

        headers[i].name = span_of(text + at->name, at->name_len);
        headers[i].value = span_of(text + at->value, at->value_len);
    }
    call->on_answer(call->user, &answer);
}

static void give_answers(struct http_client *c)
{
    CURLMsg *message;
    int left;

    while (!c->is_freed && (message = curl_multi_info_read(c->multi, &left))) {
        struct http_call *call = NULL;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        /* From here on it cannot be cancelled. */
        list_remove(&call->node);
        give_answer(call, code);
        if (!c->is_freed)
            list_append(&c->calls, &call->node);
        free_call(call);
    }
}

struct span http_answer_header(const struct http_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->header_count; i++)
        if (span_eq_nocase(answer->headers[i].name, span_str(name)))
            return answer->headers[i].value;
    return SPAN_NONE;
}

/* --- curl on the loop ---------------------------------------------------------------- */
static void on_timer(void *arg)
{
    struct http_client *c = arg;
    int running;

    curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    give_answers(c);
}

static int on_curl_timer(CURLM *multi, long after_ms, void *arg)
{
    struct http_client *c = arg;

    (void)multi;
    if (after_ms < 0)
        timer_stop(&c->timer);
    else
        timer_start(c->loop, &c->timer, (uint64_t)after_ms, on_timer, c);
    return 0;
}

struct http_socket {
    struct http_client *client;
    struct watch *watch;
    curl_socket_t fd;
};

static void on_ready(void *arg, unsigned events)
{
    struct http_socket *s = arg;
    struct http_client *c = s->client;
    int running, action = (events & WATCH_READ ? CURL_CSELECT_IN : 0)
                          | (events & WATCH_WRITE ? CURL_CSELECT_OUT : 0);

    /* `s` may be gone after this. */
    curl_multi_socket_action(c->multi, s->fd, action, &running);
    give_answers(c);
}

static struct http_socket *new_socket(struct http_client *c, curl_socket_t fd)
{
    AUTO(freep) struct http_socket *s = calloc(1, sizeof(*s));

    if (!s || watch_new(c->loop, fd, on_ready, s, &s->watch))
        return NULL;            /* the call runs into its time-out */
    s->client = c;
    s->fd = fd;
    curl_multi_assign(c->multi, fd, s);
    return TAKE(s);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http_socket *s = socket_arg;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s)
            watch_free(s->watch);
        free(s);
        return 0;
    }
    if (!s)
        s = new_socket(arg, fd);
    if (s)
        watch_set(s->watch, (what & CURL_POLL_IN ? WATCH_READ : 0)
                                | (what & CURL_POLL_OUT ? WATCH_WRITE : 0));
    return 0;
}

/* --- a call -------------------------------------------------------------------------- */
static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct http_call *call = arg;

    buf_put(&call->body, p, size * n);
    call->is_too_large = buf_error(&call->body) == -ENOBUFS;
    return buf_error(&call->body) ? 0 : size * n;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct http_call *call = arg;
    struct span line = span_of(p, size * n), name;
    struct header_at *at = &call->header_at[call->header_count];

    if (span_starts(line, SPAN("HTTP/"))) {     /* of a final answer after a 1xx too */
        call->header_count = 0;
        buf_clear(&call->text);
        return size * n;
    }
    if (call->header_count == HTTP_HEADERS_MAX || !span_find(line, ':')
        || span_find(line, ':') == line.n)
        return size * n;
    span_cut(&line, ':', &name);
    while (line.n && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == '\n'))
        line.n--;
    line = span_trim(line);
    *at = (struct header_at){ call->text.len, name.n, call->text.len + name.n, line.n };
    buf_put_span(&call->text, name);
    buf_put_span(&call->text, line);
    if (buf_error(&call->text))
        return 0;
    call->header_count++;
    return size * n;
}

static CURLcode on_ssl_ctx(CURL *easy, void *ssl_ctx, void *arg)
{
    struct http_call *call = arg;

    (void)easy;
    if (!call->client->tls || tls_ctx_apply_noting(call->client->tls, ssl_ctx, &call->refusal))
        return CURLE_SSL_CERTPROBLEM;
    return CURLE_OK;
}

static bool add_header(struct http_call *call, struct span name, struct span value)
{
    char line[2048];
    int n = snprintf(line, sizeof(line), SPAN_FMT ": " SPAN_FMT, SPAN_ARG(name), SPAN_ARG(value));
    struct curl_slist *headers;

    /* A line end in a value would begin another header. */
    if (n < 0 || (size_t)n >= sizeof(line) || strpbrk(line, "\r\n"))
        return false;
    headers = curl_slist_append(call->headers, line);
    if (!headers)
        return false;
    call->headers = headers;
    return true;
}

static int set_request(struct http_call *call, const struct http_request *r)
{
    const char *type = r->content_type ? r->content_type : "application/json";
    bool is_good = true;

    curl_easy_setopt(call->easy, CURLOPT_URL, r->url);
    if (r->body.p) {
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
        is_good = curl_easy_setopt(call->easy, CURLOPT_COPYPOSTFIELDS, r->body.p) == CURLE_OK &&
                  add_header(call, SPAN("Content-Type"), span_str(type)) &&
                  add_header(call, SPAN("Expect"), SPAN_NONE);
    }
    if (span_eq(span_str(r->method), SPAN("HEAD")))
        curl_easy_setopt(call->easy, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, r->method);
    for (size_t i = 0; i < r->header_count && is_good; i++)
        is_good = add_header(call, r->headers[i].name, r->headers[i].value);
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
    return is_good ? 0 : -EINVAL;
}

static void set_policy(struct http_call *call, uint32_t timeout_ms)
{
    CURL *e = call->easy;

    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, call->client->tls ? "http,https" : "http");
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(timeout_ms ? timeout_ms : TIMEOUT_MS));
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    /* The peer is known by its URI name, which tls_ctx checks; no host name and no CA file
     * of the system counts. */
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(e, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx);
    curl_easy_setopt(e, CURLOPT_SSL_CTX_DATA, call);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(e, CURLOPT_PRIVATE, call);
}

int http_client_send(struct http_client *c, const struct http_request *request,
                     void (*on_answer)(void *user, const struct http_answer *answer),
                     void *user, struct http_call **ret_call)
{
    struct http_call *call;
    int r;

    if (c->count >= HTTP_CALLS_MAX)
        return -EAGAIN;
    call = calloc(1, sizeof(*call));
    if (!call)
        return -ENOMEM;
    call->easy = curl_easy_init();
    if (!call->easy) {
        free(call);
        return -ENOMEM;
    }
    call->client = c;
    call->on_answer = on_answer;
    call->user = user;
    call->began_ms = loop_now_ms(c->loop);
    buf_init_heap(&call->body, request->answer_max ? request->answer_max : BODY_MAX);
    buf_init_heap(&call->text, HEADER_BYTES_MAX);
    list_append(&c->calls, &call->node);
    c->count++;
    set_policy(call, request->timeout_ms);
    r = set_request(call, request);
    if (!r && curl_multi_add_handle(c->multi, call->easy))
        r = -ENOMEM;
    if (r) {
        free_call(call);
        return r;
    }
    *ret_call = call;
    return 0;
}

void http_call_cancel(struct http_call *call)
{
    if (call)
        free_call(call);
}

/* --- life ---------------------------------------------------------------------------- */
int http_client_new(struct loop *l, struct tls_ctx *tls, struct http_client **ret_client)
{
    AUTO(freep) struct http_client *c = NULL;

    pthread_once(&once, init_library);
    if (global_status)
        return -EIO;
    c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->multi = curl_multi_init();
    if (!c->multi)
        return -ENOMEM;
    c->loop = l;
    c->tls = tls ? tls_ctx_ref(tls) : NULL;
    list_init(&c->calls);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, KEPT_CONNECTIONS);
    *ret_client = TAKE(c);
    return 0;
}

static void on_reap(struct loop_reap *reap)
{
    struct http_client *c = container_of(reap, struct http_client, reap);

    while (!list_is_empty(&c->calls))
        free_call(container_of(list_first(&c->calls), struct http_call, node));
    curl_multi_cleanup(c->multi);
    timer_stop(&c->timer);
    tls_ctx_unref(c->tls);
    free(c);
}

/* Perhaps in an answer, that is, within curl: taken apart when the turn ends. */
void http_client_free(struct http_client *c)
{
    if (!c || c->is_freed)
        return;
    c->is_freed = true;
    timer_stop(&c->timer);
    loop_reap(c->loop, &c->reap, on_reap);
}
