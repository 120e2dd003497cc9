#include "lib/base/addr.h"
#include "lib/http1/chars.h"
#include "lib/http1/head.h"

#define PORT_HTTP 80

/* `default_port` 0: a port must be there. */
static bool authority_read(struct span text, uint16_t default_port, struct http1_head *h)
{
    if (text.n == 0 || !authority_parse(text, default_port, &h->host, &h->port))
        return false;
    h->authority = text;
    return true;
}

static int absolute_read(struct http1_head *h)
{
    struct span rest = span_skip(h->target, 7), authority;
    size_t end = 0;

    if (h->target.n < 7 || !span_eq_nocase(span_first(h->target, 7), SPAN("http://")))
        return HTTP1_E_SCHEME;
    while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?')
        end++;
    authority = span_first(rest, end);
    if (span_find(authority, '@') < authority.n)
        return HTTP1_E_USERINFO;

    h->form = HTTP1_FORM_ABSOLUTE;
    h->path = span_skip(rest, end);
    if (h->path.n == 0)
        h->path = span_eq(h->method, SPAN("OPTIONS")) ? SPAN("*") : SPAN("/");
    if (h->path.p[0] == '?')            /* legal, but there is no such path to point at */
        return HTTP1_E_TARGET;
    return authority_read(authority, PORT_HTTP, h) ? 0 : HTTP1_E_AUTHORITY;
}

/* The form follows from the method and the first byte; there is no fourth guess. */
static int form_read(struct http1_head *h)
{
    if (!chars_are(h->target, CHARS_TARGET) || h->target.n == 0)
        return HTTP1_E_TARGET;
    if (span_eq(h->method, SPAN("CONNECT"))) {
        h->form = HTTP1_FORM_AUTHORITY;
        if (span_find(h->target, '@') < h->target.n)
            return HTTP1_E_USERINFO;
        return authority_read(h->target, 0, h) ? 0 : HTTP1_E_AUTHORITY;
    }

    h->path = h->target;
    if (h->target.p[0] == '/') {
        h->form = HTTP1_FORM_ORIGIN;
        return 0;
    }
    if (span_eq(h->target, SPAN("*"))) {
        h->form = HTTP1_FORM_ASTERISK;
        return span_eq(h->method, SPAN("OPTIONS")) ? 0 : HTTP1_E_TARGET;
    }
    return span_find(h->target, ':') < h->target.n ? absolute_read(h) : HTTP1_E_TARGET;
}

/* Host gives the authority where the target has none, and must agree where it has. */
static int host_apply(struct span value, struct http1_head *h)
{
    struct span host;
    uint16_t port;

    if (value.n == 0 || !authority_parse(value, PORT_HTTP, &host, &port))
        return HTTP1_E_HOST_INVALID;
    if (h->form == HTTP1_FORM_AUTHORITY)
        return 0;
    if (h->form == HTTP1_FORM_ABSOLUTE)
        return span_eq_nocase(host, h->host) && port == h->port ? 0 : HTTP1_E_HOST_MISMATCH;
    return authority_read(value, PORT_HTTP, h) ? 0 : HTTP1_E_HOST_INVALID;
}

int target_read(struct http1_head *h)
{
    size_t hosts = http1_count(h, SPAN("Host"));
    struct span value;
    int r = form_read(h);

    if (r)
        return r;
    if (hosts > 1)
        return HTTP1_E_HOST_REPEATED;
    if (http1_find(h, SPAN("Host"), &value))
        return host_apply(value, h);
    return h->minor == 1 ? HTTP1_E_HOST_MISSING : 0;
}
