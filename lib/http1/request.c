#include "lib/http1/chars.h"
#include "lib/http1/head.h"

/* Exactly two spaces: a third one would stand in the target, which has none. */
static int request_line(struct span line, struct http1_head *h)
{
    struct span rest = line, method, target;
    int r;

    if (!span_cut(&rest, ' ', &method) || !span_cut(&rest, ' ', &target) || !rest.p
        || target.n == 0)
        return HTTP1_E_REQUEST_LINE;
    r = head_version(rest, HTTP1_E_REQUEST_LINE, h);
    if (r)
        return r;
    if (method.n == 0 || !chars_are(method, CHARS_TOKEN))
        return HTTP1_E_METHOD;

    h->method = method;
    h->target = target;
    return 0;
}

static int request_framing(struct http1_head *h)
{
    struct framing framing;
    int r = framing_read(h, &framing);

    if (r)
        return r;

    framing_apply(&framing, HTTP1_BODY_NONE, h);
    if (h->form == HTTP1_FORM_AUTHORITY) {
        if (framing.is_chunked || framing.length)
            return HTTP1_E_CONTENT;
        h->framing = HTTP1_BODY_TUNNEL;
    }
    h->keep_alive = framing_keep_alive(h);
    return 0;
}

int http1_request_parse(struct http1_scan *scan, struct span in, struct http1_head *ret_head)
{
    int r = head_read(scan, in, true, request_line, ret_head);

    if (r)
        return r;

    r = target_read(ret_head);
    if (r)
        return r;
    return request_framing(ret_head);
}
