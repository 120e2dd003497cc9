#include "controlplane/http/server_internal.h"
#include "lib/base/encode.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"

#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* Bytes of a refused body that are read and dropped: announced ones, and of chunks. */
#define DROP_MAX (8u << 20)

static const struct {
    const char *name, *value;
} standing_headers[] = {
    { "Cache-Control", "no-store" },
    { "X-Content-Type-Options", "nosniff" },
    { "X-Frame-Options", "DENY" },
    { "Referrer-Policy", "no-referrer" },
    { "Strict-Transport-Security", "max-age=31536000" },
    { "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'" },
};

void *on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
    return exchange_new(cls, connection, uri);
}

size_t on_unescape(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    return strlen(text);        /* we decode by ourselves, after splitting */
}

/* ---- the head ---- */

static bool is_hex(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

static void make_id(char ret_id[33])
{
    unsigned char random[16];
    struct buf text;

    random_bytes(random, sizeof(random));
    buf_init_fixed(&text, ret_id, 32);
    hex_encode(span_of(random, sizeof(random)), &text);
    ret_id[32] = '\0';
}

/* W3C trace context: version-trace-parent-flags. */
static void take_trace_id(struct exchange *x)
{
    struct span parent = request_header(&x->req, "traceparent"), version, id;

    make_id(x->req.id);
    if (span_cut(&parent, '-', &version) && span_cut(&parent, '-', &id) && id.n == 32 &&
        is_hex(id) && span_copy(id, x->req.trace_id, sizeof(x->req.trace_id)))
        return;
    make_id(x->req.trace_id);
}

static struct addr addr_of_socket(const struct sockaddr *sa)
{
    struct addr a = addr_v4(0, 0, 0, 0);

    if (sa && sa->sa_family == AF_INET)
        memcpy(a.ip + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    else if (sa && sa->sa_family == AF_INET6)
        memcpy(a.ip, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
    return a;
}

struct addr connection_peer(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info;

    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return addr_of_socket(info ? info->client_addr : NULL);
}

/* Copied in one block: the session belongs to libmicrohttpd's thread. */
static void take_peer_chain(struct exchange *x)
{
    const union MHD_ConnectionInfo *info;
    const gnutls_datum_t *certificates;
    unsigned count = 0;
    size_t total = 0;
    char *block;

    info = MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    certificates = info ? gnutls_certificate_get_peers(info->tls_session, &count) : NULL;
    if (!certificates || !count || count > REQUEST_CHAIN_MAX)
        return;
    for (unsigned i = 0; i < count; i++)
        total += certificates[i].size;
    block = malloc(total);
    for (unsigned i = 0; block && i < count; i++) {
        memcpy(block, certificates[i].data, certificates[i].size);
        x->req.peer_chain[i] = span_of(block, certificates[i].size);
        x->req.peer_chain_count++;
        block += certificates[i].size;
    }
}

static void check_length(struct exchange *x)
{
    struct span length = request_header(&x->req, "Content-Length");
    uint64_t n;

    if (x->res.problem.reason != REASON_NONE || !length.n)
        return;
    if (!span_to_u64(length, UINT64_MAX, &n))
        response_problem(&x->res, REASON_BAD_REQUEST, "Content-Length is not a number");
    else if (n > x->req.route->body_max && !x->req.route->body_max)
        response_problem(&x->res, REASON_BAD_REQUEST, "this operation takes no body");
    else if (n > x->req.route->body_max)
        response_problem(&x->res, REASON_BODY_TOO_LARGE, "the limit is %zu bytes",
                         x->req.route->body_max);
}

/* A refused body is read all the same: a client that still sends when the connection ends is
 * reset and never sees its answer.  One that waits to be asked, or is too long for that, is
 * answered at once, which ends the connection. */
static bool wants_body(const struct exchange *x)
{
    struct span length = request_header(&x->req, "Content-Length");
    uint64_t n;

    return x->res.problem.reason == REASON_NONE ||
           (!request_header(&x->req, "Expect").n &&
            (!length.n || span_to_u64(length, DROP_MAX, &n)));
}

static void take_head(struct exchange *x, const char *method)
{
    struct server *server = x->server;

    x->req.method = method;
    x->req.content_type = request_header(&x->req, "Content-Type");
    take_trace_id(x);
    x->req.peer = connection_peer(x->connection);
    if (server->options.client_ca_pem)
        take_peer_chain(x);
    exchange_parse_uri(x);
    if (x->res.problem.reason == REASON_NONE)
        exchange_route(x, method);
    check_length(x);
    pthread_mutex_lock(&server->lock);
    server->active++;
    x->is_counted = true;
    if (server->is_draining && x->res.problem.reason == REASON_NONE)
        response_problem(&x->res, REASON_OVERLOAD, "the control plane is going down");
    pthread_mutex_unlock(&server->lock);
}

/* ---- the body ---- */

static bool charge_body(struct exchange *x, size_t n)
{
    struct server *server = x->server;
    bool has_room;

    pthread_mutex_lock(&server->lock);
    has_room = n <= server->options.body_total_max - server->body_total;
    if (has_room) {
        server->body_total += n;
        x->body_charged += n;
    }
    pthread_mutex_unlock(&server->lock);
    return has_room;
}

static enum MHD_Result take_body(struct exchange *x, const char *bytes, size_t n)
{
    if (x->res.problem.reason == REASON_NONE && n > x->req.route->body_max - x->body.len)
        response_problem(&x->res, REASON_BODY_TOO_LARGE, "the limit is %zu bytes",
                         x->req.route->body_max);
    if (x->res.problem.reason == REASON_NONE && !charge_body(x, n))
        response_problem(&x->res, REASON_OVERLOAD, "too many bodies at a time");
    if (x->res.problem.reason == REASON_NONE) {
        buf_put(&x->body, bytes, n);
        return MHD_YES;
    }
    x->dropped += n;
    return x->dropped > DROP_MAX ? MHD_NO : MHD_YES;
}

/* ---- the answer ---- */

static void add_headers(struct MHD_Response *out, const struct exchange *x)
{
    const struct response *res = &x->res;

    for (size_t i = 0; i < ARRAY_LEN(standing_headers); i++) {
        bool is_set = false;

        for (size_t k = 0; k < res->header_count; k++)
            is_set |= strcasecmp(res->headers[k].name, standing_headers[i].name) == 0;
        if (!is_set)
            MHD_add_response_header(out, standing_headers[i].name, standing_headers[i].value);
    }
    for (size_t i = 0; i < res->header_count; i++)
        MHD_add_response_header(out, res->headers[i].name, res->headers[i].value);
    if (res->location.len && res->problem.reason == REASON_NONE)
        MHD_add_response_header(out, MHD_HTTP_HEADER_LOCATION, (const char *)res->location.data);
    MHD_add_response_header(out, "Adit-Trace-Id", x->req.trace_id);
    if (res->body.len || x->stream)
        MHD_add_response_header(out, MHD_HTTP_HEADER_CONTENT_TYPE,
                                res->content_type ? res->content_type : "application/json");
}

static enum MHD_Result answer(struct exchange *x)
{
    struct buf *body = &x->res.body;
    struct MHD_Response *out;
    enum MHD_Result result;
    bool goes_on = x->stream && x->res.problem.reason == REASON_NONE;
    size_t n = body->len;

    if (goes_on)
        out = stream_response(x->stream);
    else
        out = MHD_create_response_from_buffer(n, n ? body->data : NULL,
                                              n ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!out)
        return MHD_NO;
    add_headers(out, x);
    if (n && !goes_on) {
        body->data = NULL;      /* the response frees it */
        buf_init_heap(body, 1);
    }
    x->stage = STAGE_ANSWERED;
    deadline_set(x->server, x->connection, goes_on ? 0 : x->server->options.answer_ms);
    result = MHD_queue_response(x->connection, x->res.status, out);
    MHD_destroy_response(out);
    return result;
}

static enum MHD_Result finish_here(struct exchange *x)
{
    exchange_finish(x);
    return answer(x);
}

static enum MHD_Result hand_to_pool(struct exchange *x)
{
    struct server *server = x->server;
    struct lane *lane = x->req.route->flags & ROUTE_SLOW ? &server->slow : &server->normal;

    x->req.body = buf_span(&x->body);
    x->stage = STAGE_RUNNING;
    deadline_set(server, x->connection, 0);
    MHD_suspend_connection(x->connection);
    if (lane_push(lane, &x->node, false))
        return MHD_YES;
    pthread_mutex_lock(&server->lock);
    server->stats.overloads++;
    pthread_mutex_unlock(&server->lock);
    x->res.problem.retry_after_s = 1;
    response_problem(&x->res, REASON_OVERLOAD, "the queue of requests is full");
    exchange_finish(x);
    x->stage = STAGE_DONE;
    MHD_resume_connection(x->connection);
    return MHD_YES;
}

enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                           const char *method, const char *version, const char *upload,
                           size_t *upload_size, void **con_cls)
{
    struct exchange *x = *con_cls;

    (void)cls;
    (void)url;
    (void)version;
    if (!x)
        return MHD_NO;          /* out of memory */
    switch (x->stage) {
    case STAGE_HEAD:
        take_head(x, method);
        x->stage = STAGE_BODY;
        deadline_set(x->server, connection, x->server->options.body_ms);
        return wants_body(x) ? MHD_YES : finish_here(x);
    case STAGE_BODY:
        if (*upload_size) {
            enum MHD_Result result = take_body(x, upload, *upload_size);

            *upload_size = 0;
            return result;
        }
        return x->res.problem.reason != REASON_NONE ? finish_here(x) : hand_to_pool(x);
    case STAGE_DONE:
        return answer(x);
    case STAGE_RUNNING:
    case STAGE_ANSWERED:
        break;
    }
    return MHD_YES;
}

void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                  enum MHD_RequestTerminationCode why)
{
    struct server *server = cls;
    struct exchange *x = *con_cls;

    (void)why;
    if (!x)
        return;
    *con_cls = NULL;
    if (x->stream)
        stream_detach(x->stream);
    deadline_set(server, connection, server->options.idle_s * 1000 + server->options.head_ms);
    pthread_mutex_lock(&server->lock);
    server->body_total -= x->body_charged;
    server->active -= x->is_counted;
    pthread_cond_broadcast(&server->has_changed);
    pthread_mutex_unlock(&server->lock);
    exchange_free(x);
}
