#include "lib/base/addr.h"
#include "lib/base/buf.h"
#include <string.h>

#define PORT_MAX 65535
#define HOST_MAX 253
#define LABEL_MAX 63

static bool port_parse(struct span text, uint16_t *ret_port)
{
    uint64_t port;

    if ((text.n > 1 && text.p[0] == '0') || !span_to_u64(text, PORT_MAX, &port))
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

static bool is_bracketed(struct span text)
{
    return text.n && text.p[0] == '[';
}

/* "host", "host:port", "[v6]", "[v6]:port"; ret_port is without p where there is none. */
static bool host_port_split(struct span text, struct span *ret_host, struct span *ret_port)
{
    struct span rest = text;

    if (is_bracketed(text)) {
        rest = span_skip(text, 1);
        if (span_find(rest, ']') == rest.n || !span_cut(&rest, ']', ret_host))
            return false;
        *ret_port = rest.n ? span_skip(rest, 1) : SPAN_NONE;
        return rest.n == 0 || rest.p[0] == ':';
    }
    if (!span_cut(&rest, ':', ret_host))
        return false;
    *ret_port = rest;
    return span_find(rest, ':') == rest.n;
}

static bool unix_parse(struct span path, struct endpoint *ret_endpoint)
{
    struct endpoint e = { .kind = ENDPOINT_UNIX };

    if (!span_starts(path, SPAN("/")) || !span_copy(path, e.path, sizeof(e.path)))
        return false;
    *ret_endpoint = e;
    return true;
}

/* Brackets and IPv6 go together. */
static bool literal_parse(struct span text, struct span host, struct addr *ret_addr)
{
    return is_bracketed(text) == (span_find(host, ':') < host.n) && addr_parse(host, ret_addr);
}

bool endpoint_parse(struct span text, struct endpoint *ret_endpoint)
{
    struct endpoint e = { .kind = ENDPOINT_IP };
    struct span host, port;

    if (span_starts(text, SPAN("unix:")))
        return unix_parse(span_skip(text, 5), ret_endpoint);
    if (!host_port_split(text, &host, &port) || !literal_parse(text, host, &e.addr)
        || !port_parse(port, &e.port))
        return false;
    *ret_endpoint = e;
    return true;
}

static void authority_put(struct buf *out, const char *host, bool has_brackets, uint16_t port)
{
    if (has_brackets)
        buf_put_u8(out, '[');
    buf_put_str(out, host);
    buf_put_str(out, has_brackets ? "]:" : ":");
    buf_put_decimal(out, port);
}

const char *endpoint_format(const struct endpoint *e, char *dst, size_t dst_size)
{
    char text[ADDR_TEXT_MAX];
    struct buf out;

    if (dst_size == 0)
        return "";
    dst[0] = 0;
    buf_init_fixed(&out, dst, dst_size);
    if (e->kind == ENDPOINT_UNIX)
        buf_printf(&out, "unix:%s", e->path);
    else if (e->kind == ENDPOINT_IP)
        authority_put(&out, addr_format(&e->addr, text), !addr_is_v4(&e->addr), e->port);
    return buf_text(&out);
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'
        || c == '_';
}

static bool has_name_chars(struct span host)
{
    for (size_t i = 0; i < host.n; i++) {
        if (!is_name_char(host.p[i]) && host.p[i] != '.')
            return false;
    }
    return host.n > 0;
}

bool authority_parse(struct span text, uint16_t default_port, struct span *ret_host,
                     uint16_t *ret_port)
{
    struct span host, port_text;
    uint16_t port = default_port;
    struct addr literal;

    if (!host_port_split(text, &host, &port_text))
        return false;
    if (is_bracketed(text) ? !literal_parse(text, host, &literal) : !has_name_chars(host))
        return false;
    if ((port_text.p && !port_parse(port_text, &port)) || port == 0)
        return false;
    *ret_host = host;
    *ret_port = port;
    return true;
}

/* What a resolver might read as a number: "123", "0x7f". */
static bool is_numeric_label(struct span label)
{
    uint64_t value;

    if (label.n >= 2 && label.p[0] == '0' && label.p[1] == 'x')
        return true;
    for (; label.n > 1; label = span_skip(label, 1)) {
        if (label.p[0] < '0' || label.p[0] > '9')
            return false;
    }
    return span_to_u64(label, 9, &value);
}

static bool has_good_labels(struct span name)
{
    struct span label = SPAN_NONE;

    while (span_cut(&name, '.', &label)) {
        if (label.n == 0 || label.n > LABEL_MAX)
            return false;
    }
    return !is_numeric_label(label);
}

bool host_canonical(struct span host, char *dst)
{
    if (span_ends(host, SPAN(".")))
        host.n--;
    if (host.n > HOST_MAX || !has_name_chars(host))
        return false;

    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];

        dst[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    dst[host.n] = 0;
    return has_good_labels(span_of(dst, host.n));
}
