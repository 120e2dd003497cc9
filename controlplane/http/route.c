#include "controlplane/http/server_internal.h"

#include <string.h>

/* Whether the pattern means the path; `ret_literals`: how many segments it names itself. */
static bool pattern_matches(const struct exchange *x, const char *pattern, struct span *params,
                            size_t *ret_count, size_t *ret_literals)
{
    struct span rest = span_skip(span_str(pattern), 1), part;
    size_t i = 0, count = 0, literals = 0;

    while (span_cut(&rest, '/', &part)) {
        if (i == x->segment_count)
            return false;
        if (part.n && part.p[0] == '{') {
            if (!x->segments[i].n || count == REQUEST_PARAMS_MAX)
                return false;
            params[count++] = x->segments[i++];
        } else {
            if (!span_eq(part, x->segments[i++]))
                return false;
            literals++;
        }
    }
    *ret_count = count;
    *ret_literals = literals;
    return i == x->segment_count;
}

static bool serves(const struct route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

static void allow(struct response *res, const struct route *route, struct buf *methods)
{
    (void)res;
    if (methods->len)
        buf_put_str(methods, ", ");
    buf_put_str(methods, route->method);
    if (strcmp(route->method, "GET") == 0)
        buf_put_str(methods, ", HEAD");
}

/* The most literal pattern wins, so that /users/me goes before /users/{id}; methods of the
 * less literal ones do not count. */
void exchange_route(struct exchange *x, const char *method)
{
    char allowed_text[128];
    struct buf allowed;
    size_t best = 0;
    bool is_path_known = false;

    buf_init_fixed(&allowed, allowed_text, sizeof(allowed_text));
    for (size_t i = 0; i < x->server->options.route_count; i++) {
        const struct route *route = &x->server->options.routes[i];
        struct span params[REQUEST_PARAMS_MAX] = { SPAN_NONE };
        size_t count, literals;

        if (!pattern_matches(x, route->path, params, &count, &literals) ||
            (is_path_known && literals < best))
            continue;
        if (!is_path_known || literals > best) {
            buf_clear(&allowed);
            x->req.route = NULL;
        }
        is_path_known = true;
        best = literals;
        allow(&x->res, route, &allowed);
        if (!serves(route, method))
            continue;
        x->req.route = route;
        memcpy(x->req.params, params, sizeof(params));
        x->req.param_count = count;
    }
    if (x->req.route)
        return;
    if (!is_path_known) {
        response_problem(&x->res, REASON_NOT_FOUND, "nothing is served under this path");
        return;
    }
    response_header(&x->res, "Allow", SPAN_FMT, SPAN_ARG(buf_span(&allowed)));
    response_problem(&x->res, REASON_METHOD_NOT_ALLOWED, "this path takes " SPAN_FMT,
                     SPAN_ARG(buf_span(&allowed)));
}
