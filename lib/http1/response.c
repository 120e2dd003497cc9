#include "lib/http1/chars.h"
#include "lib/http1/head.h"

/* "HTTP/1.1 200 OK"; many servers leave out the space where there is no reason. */
static int status_line(struct span line, struct http1_head *h)
{
    struct span code = span_first(span_skip(line, 9), 3), reason = span_skip(line, 12);
    uint64_t status;
    int r;

    if (line.n < 12 || line.p[8] != ' ')
        return HTTP1_E_STATUS_LINE;
    r = head_version(span_first(line, 8), HTTP1_E_STATUS_LINE, h);
    if (r)
        return r;
    if (!span_to_u64(code, 599, &status) || status < 100 || (reason.n && reason.p[0] != ' '))
        return HTTP1_E_STATUS_LINE;

    h->status = (unsigned)status;
    h->reason = span_skip(reason, 1);
    return 0;
}

static bool is_tunnel(const struct http1_head *h, struct span method)
{
    return h->status == 101 || (h->status / 100 == 2 && span_eq(method, SPAN("CONNECT")));
}

static int response_framing(struct http1_head *h, struct span method)
{
    bool is_bare = h->status / 100 == 1 || h->status == 204;
    struct framing framing;
    int r;

    if (is_tunnel(h, method)) {         /* RFC 9110 section 9.3.6: both fields are ignored */
        h->framing = HTTP1_BODY_TUNNEL;
        return 0;
    }
    r = framing_read(h, &framing);
    if (r)
        return r;
    if (is_bare && (framing.is_chunked || framing.length))
        return HTTP1_E_CONTENT;

    if (!is_bare && h->status != 304 && !span_eq(method, SPAN("HEAD")))
        framing_apply(&framing, HTTP1_BODY_CLOSE, h);
    h->keep_alive = framing_keep_alive(h);
    return 0;
}

int http1_response_parse(struct http1_scan *scan, struct span in, struct span method,
                         struct http1_head *ret_head)
{
    int r = head_read(scan, in, false, status_line, ret_head);

    if (r)
        return r;
    return response_framing(ret_head, method);
}
