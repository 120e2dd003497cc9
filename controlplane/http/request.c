#include "controlplane/http/server_internal.h"

#include <stdio.h>
#include <string.h>

static struct exchange *exchange_of(const struct request *req)
{
    return req->server_private;
}

static struct span kept_header(const struct kept_header *kept, const char *name)
{
    for (size_t i = 0; i < KEPT_HEADERS; i++)
        if (span_eq_nocase(span_str(kept[i].name), span_str(name)))
            return span_str(kept[i].value);
    return SPAN_NONE;
}

struct span request_header(const struct request *req, const char *name)
{
    const struct exchange *x = exchange_of(req);

    return x->kept ? kept_header(x->kept, name)
                   : span_str(MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name));
}

bool request_query(const struct request *req, const char *name, struct span *ret_value)
{
    struct exchange *x = exchange_of(req);

    for (size_t i = 0; i < x->query_count; i++) {
        if (!span_eq(x->queries[i].name, span_str(name)))
            continue;
        *ret_value = x->queries[i].value;
        return true;
    }
    return false;
}

size_t request_query_count(const struct request *req)
{
    return exchange_of(req)->query_count;
}

void request_query_at(const struct request *req, size_t i, struct span *ret_name,
                      struct span *ret_value)
{
    *ret_name = exchange_of(req)->queries[i].name;
    *ret_value = exchange_of(req)->queries[i].value;
}

/* "users:*", "*:read", "*:*" and "*" cover what they say. */
static bool scope_covers(struct span held, struct span wanted)
{
    struct span held_noun, wanted_noun;

    if (span_eq(held, SPAN("*")))
        return true;
    if (!span_cut(&held, ':', &held_noun) || !span_cut(&wanted, ':', &wanted_noun))
        return false;
    return (span_eq(held_noun, SPAN("*")) || span_eq(held_noun, wanted_noun)) &&
           (span_eq(held, SPAN("*")) || span_eq(held, wanted));
}

bool principal_has_scope(const struct principal *principal, const char *scope)
{
    struct span rest = span_str(principal->scopes), held;

    while (span_cut(&rest, ' ', &held))
        if (scope_covers(held, span_str(scope)))
            return true;
    return false;
}

/* ---- exchanges ---- */

struct exchange *exchange_new(struct server *server, struct MHD_Connection *connection,
                              const char *uri)
{
    struct exchange *x = calloc(1, sizeof(*x));

    if (!x)
        return NULL;
    list_init(&x->node);
    list_init(&x->running);
    x->server = server;
    x->connection = connection;
    x->req.server_private = x;
    x->started_us = monotonic_us();
    x->uri_len = strlen(uri);
    memcpy(x->uri, uri, x->uri_len < URI_MAX ? x->uri_len : URI_MAX);
    buf_init_heap(&x->body, 64u << 20);
    buf_init_heap(&x->res.body, 64u << 20);
    buf_init_heap(&x->res.extra, 64u << 10);
    buf_init_heap(&x->res.location, RESPONSE_LOCATION_MAX);
    return x;
}

void exchange_free(struct exchange *x)
{
    buf_deinit(&x->body);
    buf_deinit(&x->res.body);
    buf_deinit(&x->res.extra);
    buf_deinit(&x->res.location);
    free((void *)x->req.peer_chain[0].p);
    free(x);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes into the exchange; control characters are refused.  `is_query`: '+' is a
 * space. */
static bool decode(struct exchange *x, struct span raw, bool is_query, struct span *ret_text)
{
    char *dst = x->decoded + x->decoded_len;
    size_t n = 0;

    for (size_t i = 0; i < raw.n; i++) {
        unsigned char c = (unsigned char)raw.p[i];

        if (c == '%') {
            int high = i + 2 < raw.n ? hex_value(raw.p[i + 1]) : -1;
            int low = high >= 0 ? hex_value(raw.p[i + 2]) : -1;

            if (low < 0)
                return false;
            c = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && is_query) {
            c = ' ';
        }
        if (c < ' ' || c == 0x7f)
            return false;
        dst[n++] = (char)c;
    }
    x->decoded_len += n;
    *ret_text = span_of(dst, n);
    return true;
}

static void split_path(struct exchange *x, struct span path)
{
    struct span segment;

    if (!path.n || path.p[0] != '/') {
        response_problem(&x->res, REASON_BAD_REQUEST, "the path does not begin with a slash");
        return;
    }
    path = span_skip(path, 1);
    while (span_cut(&path, '/', &segment)) {
        if (x->segment_count == SEGMENTS_MAX) {
            response_problem(&x->res, REASON_NOT_FOUND, "%s", "");
            return;
        }
        if (!decode(x, segment, false, &x->segments[x->segment_count++])) {
            response_problem(&x->res, REASON_BAD_REQUEST, "the path is not well encoded");
            return;
        }
    }
}

static void add_query(struct exchange *x, struct span pair)
{
    struct query *q = &x->queries[x->query_count];
    struct span name;

    if (!pair.n)
        return;
    if (x->query_count == REQUEST_QUERIES_MAX) {
        response_problem(&x->res, REASON_BAD_REQUEST, "more than %d query parameters",
                         REQUEST_QUERIES_MAX);
        return;
    }
    (void)span_cut(&pair, '=', &name);
    if (!decode(x, name, true, &q->name) || !decode(x, pair, true, &q->value)) {
        response_problem(&x->res, REASON_BAD_REQUEST, "the query is not well encoded");
        return;
    }
    x->query_count++;
}

static bool is_repeated(const struct exchange *x, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (span_eq(x->queries[i].name, x->queries[at].name))
            return true;
    return false;
}

void exchange_parse_uri(struct exchange *x)
{
    struct span rest = span_of(x->uri, x->uri_len), path, pair;

    if (x->uri_len > URI_MAX) {
        x->res.problem.status = 414;
        response_problem(&x->res, REASON_TOO_LARGE, "the address is longer than %d bytes", URI_MAX);
        return;
    }
    (void)span_cut(&rest, '?', &path);
    x->req.path = path;
    split_path(x, path);
    while (x->res.problem.reason == REASON_NONE && span_cut(&rest, '&', &pair))
        add_query(x, pair);
}

static bool is_known(struct span known, struct span name)
{
    struct span word;

    while (span_cut(&known, ' ', &word))
        if (span_eq(word, name))
            return true;
    return false;
}

bool exchange_check_queries(struct exchange *x)
{
    const struct route *route = x->req.route;

    for (size_t i = 0; i < x->query_count; i++) {
        char name[64];
        bool is_unknown = !(route->flags & ROUTE_ANY_QUERY) &&
                          !is_known(span_str(route->query), x->queries[i].name);

        (void)span_copy(span_first(x->queries[i].name, sizeof(name) - 1), name, sizeof(name));
        if (is_unknown)
            problem_add(&x->res.problem, name, "is not a parameter of this operation");
        else if (is_repeated(x, i))
            problem_add(&x->res.problem, name, "is given more than once");
    }
    return x->res.problem.reason == REASON_NONE;
}
