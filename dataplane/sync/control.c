#include "dataplane/sync/control.h"
#include "lib/base/list.h"
#include "lib/crypto/digest.h"
#include "lib/json/json.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define URL_MAX 1024
#define ASK_ANSWER_MAX ((size_t)1 << 20)
#define ASK_TIMEOUT_MS 15000

struct control {
    struct loop *loop;
    struct http_client *http;
    struct tls_ctx *tls;
    char url[512];
    struct list calls;              /* under way */
    atomic_uint asks;
};

struct call {
    struct list node;               /* of control's calls */
    control_fn *fn;
    void *user;
    void (*drop)(void *user);       /* nobody will answer: control_free(); may be NULL */
};

static void call_free(struct call *call)
{
    list_remove(&call->node);
    free(call);
}

static enum reason problem_reason(struct span body)
{
    AUTO(json_value_freep) struct json_value *value = NULL;
    struct json_error error;
    struct span text;
    enum reason why;

    if (json_parse(body, &value, &error) || !json_get_str(value, "reason", &text))
        return REASON_INTERNAL;
    why = reason_find(text);
    return why == REASON_COUNT || why == REASON_NONE ? REASON_INTERNAL : why;
}

static void on_http_answer(void *user, const struct http_answer *http)
{
    struct call *call = user;
    control_fn *fn = call->fn;
    void *fn_user = call->user;
    struct control_answer answer = { .status = http->status, .body = http->body, .text = http->text };

    if (http->status == 0)
        answer.reason = http->refusal != REASON_NONE ? http->refusal : REASON_CONTROL_UNREACHABLE;
    else if (http->status >= 300)
        answer.reason = problem_reason(http->body);
    call_free(call);
    fn(fn_user, &answer);
}

static int send_call(struct control *c, const char *path, struct span body, size_t answer_max,
                     uint32_t timeout_ms, const struct call *model)
{
    struct call *call = calloc(1, sizeof(*call));
    char url[URL_MAX];
    struct http_request request = {
        .method = body.p ? "POST" : "GET",
        .url = url,
        .body = body,
        .timeout_ms = timeout_ms,
        .answer_max = answer_max,
    };
    struct http_call *http_call;
    int r = -ENOMEM;

    if (!call)
        return r;
    *call = *model;
    list_append(&c->calls, &call->node);
    r = -EINVAL;
    if ((size_t)snprintf(url, sizeof(url), "%s%s", c->url, path) < sizeof(url))
        r = http_client_send(c->http, &request, on_http_answer, call, &http_call);
    if (r)
        call_free(call);
    return r;
}

int control_send(struct control *c, const char *path, struct span body, size_t answer_max,
                 uint32_t timeout_ms, control_fn *fn, void *user)
{
    const struct call model = { .fn = fn, .user = user };

    return send_call(c, path, body, answer_max, timeout_ms, &model);
}

/* --- from other threads: there by post, back by post -------------------------------------- */

struct ask {
    struct control *control;
    struct loop *answer_on;
    control_fn *fn;
    void *user;
    char path[128];
    char *body;
    size_t body_n;
    unsigned status;
    enum reason reason;
};

/* It may hold a password. */
static void wipe_body(struct ask *a)
{
    if (a->body)
        secret_wipe(a->body, a->body_n);
    free(a->body);
}

static void ask_free(struct ask *a)
{
    atomic_fetch_sub(&a->control->asks, 1);
    wipe_body(a);
    free(a);
}

static void on_answer_home(void *arg)
{
    struct ask *a = arg;
    const struct control_answer answer = {
        .status = a->status,
        .reason = a->reason,
        .body = span_of(a->body, a->body_n),
        .text = a->status ? "" : "the control plane does not answer",
    };

    a->fn(a->user, &answer);
    ask_free(a);
}

/* The worker is told, or it is gone: then nobody waits. */
static void send_home(struct ask *a)
{
    if (loop_post(a->answer_on, on_answer_home, a))
        ask_free(a);
}

static void on_ask_answer(void *user, const struct control_answer *answer)
{
    struct ask *a = user;

    wipe_body(a);
    a->body = span_dup(answer->body);
    a->body_n = a->body ? answer->body.n : 0;
    a->status = answer->status;
    a->reason = answer->reason;
    send_home(a);
}

static void on_ask_dropped(void *user)
{
    ask_free(user);
}

static void on_ask(void *arg)
{
    struct ask *a = arg;
    const struct call model = { .fn = on_ask_answer, .user = a, .drop = on_ask_dropped };
    int r = send_call(a->control, a->path, span_of(a->body, a->body_n), ASK_ANSWER_MAX, ASK_TIMEOUT_MS, &model);

    if (r) {
        a->status = 0;
        a->reason = REASON_OVERLOAD;
        send_home(a);
    }
}

int control_ask(struct control *c, const char *path, struct span body, struct loop *answer_on, control_fn *fn,
                void *user)
{
    struct ask *a;
    int r;

    if (atomic_fetch_add(&c->asks, 1) >= CONTROL_ASKS_MAX) {
        atomic_fetch_sub(&c->asks, 1);
        return -EAGAIN;
    }
    a = calloc(1, sizeof(*a));
    if (!a) {
        atomic_fetch_sub(&c->asks, 1);
        return -ENOMEM;
    }

    *a = (struct ask){ .control = c, .answer_on = answer_on, .fn = fn, .user = user };
    a->body = span_dup(body);
    a->body_n = body.n;
    r = a->body && span_copy(span_str(path), a->path, sizeof(a->path)) ? loop_post(c->loop, on_ask, a) : -ENOMEM;
    if (r)
        ask_free(a);
    return r;
}

/* --- making it ------------------------------------------------------------------------------ */

int control_new(const struct control_config *config, struct control **ret_control)
{
    AUTO(control_freep) struct control *c = calloc(1, sizeof(*c));
    const struct tls_config tls = {
        .chain = config->member->chain,
        .key = config->member->key,
        .verify = TLS_VERIFY_REQUIRED,
        .trust = config->member->trust,
        .kinds = TLS_KIND(CERT_CONTROL),
    };
    int r;

    if (!c)
        return -ENOMEM;
    c->loop = config->loop;
    list_init(&c->calls);
    if (!span_copy(span_str(config->url), c->url, sizeof(c->url)))
        return -EINVAL;
    r = tls_ctx_new(&tls, &c->tls);
    if (!r)
        r = http_client_new(config->loop, c->tls, &c->http);
    if (r)
        return r;
    *ret_control = TAKE(c);
    return 0;
}

static void drop_calls(struct control *c)
{
    LIST_EACH(&c->calls, node) {
        struct call *call = container_of(node, struct call, node);

        if (call->drop)
            call->drop(call->user);
        call_free(call);
    }
}

void control_free(struct control *c)
{
    if (c->http) {
        http_client_free(c->http);
        drop_calls(c);
    }
    if (c->tls)
        tls_ctx_unref(c->tls);
    free(c);
}

int control_set_certificate(struct control *c, const struct member *member)
{
    return tls_ctx_set_certificate(c->tls, member->chain, member->key);
}

struct loop *control_loop(const struct control *c)
{
    return c->loop;
}
