#include "dataplane/listen.h"
#include "dataplane/doors/http_door.h"
#include "dataplane/doors/socks_door.h"
#include <errno.h>

const struct listen_row listen_rows[LISTEN_DOORS] = {
    { "http_listen", offsetof(struct relay_config, http_listen), &http_door, false },
    { "socks_listen", offsetof(struct relay_config, socks_listen), &socks_door, false },
    { "https_listen", offsetof(struct relay_config, https_listen), &http_door, true },
    { "sockstls_listen", offsetof(struct relay_config, sockstls_listen), &socks_door, true },
};

const char *listen_text(const struct relay_config *c, const struct listen_row *row)
{
    return *(char *const *)(const void *)((const char *)c + row->listen);
}

static bool is_loopback(const struct endpoint *e)
{
    struct cidr v4, v6;

    return e->kind == ENDPOINT_UNIX ||
           (cidr_parse(SPAN("127.0.0.0/8"), &v4) && cidr_has(&v4, &e->addr)) ||
           (cidr_parse(SPAN("::1"), &v6) && cidr_has(&v6, &e->addr));
}

int listen_parse(const char *option, const char *text, struct endpoint *ret_at, struct buf *reterr)
{
    if (endpoint_parse(span_str(text), ret_at))
        return 0;
    buf_printf(reterr, "%s: \"%s\" is not address:port (e.g. 127.0.0.1:8080, [::]:8080)", option, text);
    return -EINVAL;
}

int listen_check_door(const struct relay_config *c, const struct listen_row *row, struct buf *reterr)
{
    const char *text = listen_text(c, row);
    struct endpoint at;
    int r = text[0] ? listen_parse(row->option, text, &at, reterr) : 0;

    if (r || !text[0] || row->is_tls || c->allow_cleartext_credentials || is_loopback(&at))
        return r;
    buf_printf(reterr, "%s: %s would take secrets without TLS beyond loopback (%s). Use the TLS door, bind to "
               "127.0.0.1, or set allow_cleartext_credentials", row->option, text,
               reason_text(REASON_CLEARTEXT_REFUSED));
    return -EINVAL;
}

static int read_networks(const char *option, const char *list, struct cidr *dst, size_t max, size_t *ret_count,
                         struct buf *reterr)
{
    struct span rest = span_str(list), item;

    *ret_count = 0;
    while (option_list_next(&rest, &item)) {
        if (*ret_count < max && cidr_parse(item, &dst[*ret_count])) {
            (*ret_count)++;
            continue;
        }
        buf_printf(reterr, "%s: \"" SPAN_FMT "\" is not a network like 10.0.0.0/8 (at most %zu)", option,
                   SPAN_ARG(item), max);
        return -EINVAL;
    }
    return 0;
}

int listen_proxies(const struct relay_config *c, struct door_config *door, struct buf *reterr)
{
    return read_networks("proxy_protocol_from", c->proxy_protocol_from, door->proxies, DOOR_PROXIES_MAX,
                         &door->proxy_count, reterr);
}

int listen_tls_proxies(const struct relay_config *c, struct tls_proxies *proxies, struct endpoint *ret_at,
                       struct buf *reterr)
{
    int r = read_networks("tls_proxies", c->tls_proxies, proxies->items, TLS_PROXIES_MAX, &proxies->count, reterr);

    if (r || !c->plain_listen[0])
        return r;
    if (proxies->count)
        return listen_parse("plain_listen", c->plain_listen, ret_at, reterr);
    buf_printf(reterr, "plain_listen: nobody could connect: list the proxies that end TLS in tls_proxies");
    return -EINVAL;
}
