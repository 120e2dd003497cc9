#include "lib/http1/chars.h"
#include "lib/http1/http1.h"
#include <errno.h>

static void field_write(struct buf *out, struct span name, struct span value)
{
    buf_put_span(out, name);
    buf_put_str(out, ": ");
    buf_put_span(out, value);
    buf_put_str(out, "\r\n");
}

/* What comes from the caller may come from further away: no line may begin inside it. */
static void given_write(struct buf *out, const struct http1_field *fields, size_t count)
{
    for (size_t i = 0; i < count && !out->error; i++) {
        if (fields[i].name.n == 0 || !chars_are(fields[i].name, CHARS_TOKEN)
            || !chars_are(fields[i].value, CHARS_TEXT))
            out->error = -EINVAL;
        else
            field_write(out, fields[i].name, fields[i].value);
    }
}

/* "X-Forwarded-" means all names that begin so. */
static bool is_meant(struct span drop, struct span name)
{
    return chars_same_name(drop.p[drop.n - 1] == '-' ? span_first(name, drop.n) : name, drop);
}

static bool is_dropped(const struct http1_forward *f, struct span name)
{
    for (size_t i = 0; i < f->drop_count; i++) {
        if (is_meant(f->drop[i], name))
            return true;
    }
    for (size_t i = 0; i < f->set_count; i++) {
        if (chars_same_name(name, f->set[i].name))
            return true;
    }
    return false;
}

/* Host is written first, from the target, in requests; a response has none. */
static void kept_write(struct buf *out, const struct http1_head *h, const struct http1_forward *f)
{
    for (size_t i = 0; i < h->field_count; i++) {
        const struct http1_field *field = &h->fields[i];
        bool stays = !http1_is_hop_by_hop(h, field->name)
                  || (f->upgrade && span_eq_nocase(field->name, SPAN("Upgrade")));

        if (stays && !span_eq_nocase(field->name, SPAN("Host")) && !is_dropped(f, field->name))
            field_write(out, field->name, field->value);
    }
}

static void tail_write(struct buf *out, const struct http1_head *h, const struct http1_forward *f)
{
    kept_write(out, h, f);
    if (h->framing == HTTP1_BODY_CHUNKED)
        buf_put_str(out, "Transfer-Encoding: chunked\r\n");
    if (f->upgrade)
        buf_put_str(out, "Connection: Upgrade\r\n");
    else if (f->close)
        buf_put_str(out, "Connection: close\r\n");
    given_write(out, f->set, f->set_count);
    buf_put_str(out, "\r\n");
}

void http1_write_request(struct buf *out, const struct http1_head *h,
                         const struct http1_forward *f)
{
    static const struct http1_forward plain = { 0 };

    if (!f)
        f = &plain;
    buf_put_span(out, h->method);
    buf_put_u8(out, ' ');
    buf_put_span(out, h->path);
    buf_printf(out, " HTTP/1.%u\r\n", h->minor);
    if (h->authority.n && !is_dropped(f, SPAN("Host")))
        field_write(out, SPAN("Host"), h->authority);
    tail_write(out, h, f);
}

static void status_write(struct buf *out, unsigned status, struct span reason)
{
    buf_printf(out, "HTTP/1.1 %u ", status);
    buf_put_span(out, reason);
    buf_put_str(out, "\r\n");
}

void http1_write_response(struct buf *out, const struct http1_head *h,
                          const struct http1_forward *f)
{
    static const struct http1_forward plain = { 0 };

    status_write(out, h->status, h->reason);
    tail_write(out, h, f ? f : &plain);
}

void http1_write_answer(struct buf *out, const struct http1_answer *a)
{
    bool has_length = a->status >= 200 && a->status != 204;
    const char *type = a->content_type ? a->content_type : "text/plain; charset=utf-8";

    status_write(out, a->status, span_str(http1_status_text(a->status)));
    if (has_length && a->body.n)
        field_write(out, SPAN("Content-Type"), span_str(type));
    if (has_length)
        buf_printf(out, "Content-Length: %zu\r\n", a->body.n);
    given_write(out, a->set, a->set_count);
    if (a->close)
        buf_put_str(out, "Connection: close\r\n");
    buf_put_str(out, "\r\n");
    if (has_length && !a->head_only)
        buf_put_span(out, a->body);
}

void http1_write_connected(struct buf *out)
{
    status_write(out, 200, SPAN("Connection established"));
    buf_put_str(out, "\r\n");
}

void http1_write_refusal(struct buf *out, int error)
{
    unsigned char text[128];
    struct buf body;

    buf_init_fixed(&body, text, sizeof(text));
    buf_printf(&body, "%s\n", http1_error_text(error));
    http1_write_answer(out, &(struct http1_answer){
        .status = http1_error_status(error),
        .body = buf_span(&body),
        .close = true,
    });
}
