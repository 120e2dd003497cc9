#include "dataplane/doors/pac.h"
#include "lib/crypto/digest.h"
#include "lib/policy/pac.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATH "/pac/"
#define TAG_LEN 32

struct asked {
    struct ulid link, user;
    struct span secret;
    char proxies[PAC_PROXIES_MAX + 1];
    char tag[TAG_LEN + 3];          /* of the script, quoted */
    bool is_known;                  /* the client has it */
};

bool pac_is_asked(const struct visit *v, const struct http1_head *head)
{
    return visit_is_tls(v) && head->form == HTTP1_FORM_ORIGIN && span_starts(head->target, SPAN(PATH));
}

/* --- what was asked for ------------------------------------------------------------------------ */

/* This door, by the name that the client knows it by. */
static bool own_proxy(struct visit *v, const struct http1_head *head, struct asked *a)
{
    const char *configured = visit_pac_proxies(v);
    struct span host;
    struct addr addr;
    char name[254];
    uint16_t port;
    int n;

    if (configured[0])
        return span_copy(span_str(configured), a->proxies, sizeof(a->proxies));
    if (!authority_parse(head->authority, 443, &host, &port))
        return false;
    if (addr_parse(host, &addr))
        n = snprintf(a->proxies, sizeof(a->proxies), span_find(host, ':') < host.n ? "HTTPS [%.*s]:%u" : "HTTPS %.*s:%u",
                     SPAN_ARG(host), port);
    else
        n = host_canonical(host, name) ? snprintf(a->proxies, sizeof(a->proxies), "HTTPS %s:%u", name, port) : -1;
    return n > 0 && (size_t)n < sizeof(a->proxies);
}

static enum reason read_link(struct visit *v, const struct http1_head *head, struct asked *a)
{
    const struct view *view = router_view(visit_router(v));
    char hash[SHA256_HEX];
    struct span id;

    if (!view)
        return REASON_NOT_READY;
    a->secret = span_skip(head->target, strlen(PATH));
    if (!span_cut(&a->secret, '/', &id) || !ulid_parse(id, &a->link) || !a->secret.n)
        return REASON_AUTH_FAILED;
    sha256_hex(a->secret, hash);
    return pac_link_user(view->policy, &a->link, span_str(hash), (int64_t)wall_ms(), &a->user);
}

/* --- the answer -------------------------------------------------------------------------------- */

static void tag_of(struct span script, char dst[TAG_LEN + 3])
{
    char hash[SHA256_HEX];

    sha256_hex(script, hash);
    snprintf(dst, TAG_LEN + 3, "\"%.*s\"", TAG_LEN, hash);
}

static void send_script(struct visit *v, const struct asked *a, struct span script)
{
    struct http_state *h = visit_state(v);
    const struct http1_field fields[] = {
        { SPAN("Cache-Control"), SPAN("private, max-age=300") },
        { SPAN("ETag"), span_str(a->tag) },
        { SPAN("X-Content-Type-Options"), SPAN("nosniff") },
        { SPAN("Content-Security-Policy"), SPAN("default-src 'none'; frame-ancestors 'none'") },
        { SPAN("Referrer-Policy"), SPAN("no-referrer") },
    };

    http1_write_answer(visit_out(v), &(struct http1_answer){
        .status = a->is_known ? 304 : 200, .content_type = "application/x-ns-proxy-autoconfig", .body = script,
        .set = fields, .set_count = ARRAY_LEN(fields), .close = true,
        .head_only = a->is_known || h->is_head_request });
    h->phase = HTTP_OVER;
    visit_close(v);
}

static enum reason make_script(struct visit *v, struct asked *a, struct buf *ret_script)
{
    const struct view *view = router_view(visit_router(v));
    int r;

    if (!visit_take_turn(v, PAC_TURNS_PER_S))
        return REASON_OVERLOAD;
    r = pac_write(view->policy, &a->user, span_str(a->proxies), (int64_t)wall_ms(), ret_script);
    return !r ? REASON_NONE : r == -ENOBUFS ? REASON_TOO_LARGE : REASON_BAD_REQUEST;
}

static void refuse(struct visit *v, enum reason why)
{
    visit_refused(v, why, "a PAC link");
    http_refuse(v, why, SPAN_NONE, false);
}

/* Only that there is nothing is told: not whether the link was good once. */
static void refuse_link(struct visit *v, enum reason why)
{
    router_tell_login_refused(visit_router(v), visit_door_name(v), SPAN_NONE, visit_source(v), why);
    http_refuse(v, REASON_NOT_FOUND, SPAN_NONE, false);
}

void pac_answer(struct visit *v, const struct http1_head *head)
{
    AUTO(buf_deinit) struct buf script;
    struct asked a = { .is_known = false };
    enum reason why = read_link(v, head, &a);
    struct span known;

    buf_init_heap(&script, PAC_MAX + 4096);
    if (why != REASON_NONE) {
        visit_take(v, head->bytes);
        refuse_link(v, why);
        return;
    }
    if (!span_eq(head->method, SPAN("GET")) && !span_eq(head->method, SPAN("HEAD")))
        why = REASON_METHOD_NOT_ALLOWED;
    else if (!own_proxy(v, head, &a))
        why = REASON_BAD_REQUEST;
    else
        why = make_script(v, &a, &script);
    tag_of(buf_span(&script), a.tag);
    a.is_known = http1_find(head, SPAN("If-None-Match"), &known) && span_eq(span_trim(known), span_str(a.tag));
    visit_take(v, head->bytes);
    if (why != REASON_NONE) {
        refuse(v, why);
        return;
    }
    router_tell_pac(visit_router(v), &a.link, &a.user, visit_source(v));
    send_script(v, &a, buf_span(&script));
}
