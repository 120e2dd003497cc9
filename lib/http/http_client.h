#pragma once
#include "lib/base/buf.h"
#include "lib/net/loop.h"
#include "lib/net/tls.h"
/*
 * http_client.h - requests to the control plane, on a loop; libcurl ends in this room.
 *
 * Connections are kept and reused; no redirect is followed, no proxy variable heeded, only
 * http and https spoken.
 *
 * Ownership  a call's spans are copied.  An answer lives for the callback only, and the call is
 *            dead once it was given.
 * Threads    the loop's thread.  The answer never comes within http_client_send().
 * Limits     HTTP_CALLS_MAX at a time; an answer's body by the call (over it: -EMSGSIZE).
 */
#define HTTP_CALLS_MAX 64
#define HTTP_HEADERS_MAX 16

struct http_client;
struct http_call;

struct http_header {
    struct span name, value;
};

struct http_request {
    const char *method;             /* "GET" */
    const char *url;                /* "https://127.0.0.1:8444/internal/v1/state?after=1.2" */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    struct span body;               /* NONE: no body */
    const char *content_type;       /* with a body; NULL: application/json */
    uint32_t timeout_ms;            /* whole; 0: 30,000 */
    size_t answer_max;              /* bytes of body; 0: 1 MiB */
};

struct http_answer {
    int error;                      /* 0, or -errno: no answer (status 0) */
    enum reason refusal;            /* the server's certificate was refused, and why */
    const char *text;               /* what went wrong, for a person; "" */
    unsigned status;                /* 200 */
    const struct http_header *headers;  /* the last HTTP_HEADERS_MAX are kept */
    size_t header_count;
    struct span body;
    uint32_t took_ms;
};

/* `tls` NULL: http:// only. */
MUST_CHECK int http_client_new(struct loop *l, struct tls_ctx *tls,
                               struct http_client **ret_client);
void http_client_free(struct http_client *c); /* running calls are dropped, nobody is called */
DEFINE_FREEP(http_client, http_client_free)
/* -EAGAIN: HTTP_CALLS_MAX are running. */
MUST_CHECK int http_client_send(struct http_client *c, const struct http_request *request,
                                void (*on_answer)(void *user, const struct http_answer *answer),
                                void *user, struct http_call **ret_call);
void http_call_cancel(struct http_call *call);
/* Case-blind; NONE when absent. */
struct span http_answer_header(const struct http_answer *answer, const char *name);
