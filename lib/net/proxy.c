#include "lib/net/proxy.h"

#include <errno.h>
#include <string.h>

#define PORT 80

static int refuse(struct buf *reterr, const char *why)
{
    buf_put_str(reterr, why);
    return -EINVAL;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that "%4a" stands for; -1: malformed. */
static int escaped(struct span text)
{
    int high = text.n > 2 ? hex_digit(text.p[1]) : -1;
    int low = text.n > 2 ? hex_digit(text.p[2]) : -1;

    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Percent-decoded; false: malformed, too long, or a control character, which Basic forbids. */
static bool decode(struct span text, struct buf *out)
{
    while (text.n) {
        bool is_escaped = text.p[0] == '%';
        int c = is_escaped ? escaped(text) : (unsigned char)text.p[0];

        if (c < ' ' || c == 0x7f)
            return false;
        buf_put_u8(out, (uint8_t)c);
        text = span_skip(text, is_escaped ? 3 : 1);
    }
    return true;
}

/* A user without a password has an empty one.  A ':' that is escaped in the user would end it. */
static bool decode_userinfo(struct span userinfo, char dst[PROXY_CREDENTIALS_MAX])
{
    struct span password = userinfo, user;
    struct buf out;

    if (!userinfo.n)
        return true;
    buf_init_fixed(&out, dst, PROXY_CREDENTIALS_MAX - 1);
    if (!span_cut(&password, ':', &user) || !decode(user, &out) || span_find(buf_span(&out), ':') < out.len)
        return false;
    buf_put_u8(&out, ':');
    if (!decode(password, &out) || buf_error(&out))
        return false;
    dst[out.len] = 0;
    return true;
}

/* The last '@' ends user and password: one that stands in a password may have been left as it is. */
static struct span cut_userinfo(struct span *authority)
{
    struct span all = *authority;
    size_t at = all.n;

    while (at && all.p[at - 1] != '@')
        at--;
    if (!at)
        return SPAN_NONE;
    *authority = span_skip(all, at);
    return span_first(all, at - 1);
}

int proxy_parse(struct span url, struct proxy *ret_proxy, struct buf *reterr)
{
    struct span authority = url, userinfo, host, rest;
    struct proxy p = { .port = PORT };

    if (span_starts(url, SPAN("http://")))
        authority = span_skip(url, 7);
    else if (span_find(url, '/') < url.n)
        return refuse(reterr, "only proxies of the form http://host:port are spoken to");

    userinfo = cut_userinfo(&authority);
    rest = span_skip(authority, span_find(authority, '/'));
    authority = span_first(authority, authority.n - rest.n);
    if (rest.n > 1 || !authority_parse(authority, PORT, &host, &p.port) || !p.port ||
        !span_copy(host, p.host, sizeof(p.host)))
        return refuse(reterr, "the proxy is not of the form http://user:password@host:port");
    if (!decode_userinfo(userinfo, p.credentials)) {
        proxy_wipe(&p);
        return refuse(reterr, "the proxy's user or password is malformed or too long");
    }
    *ret_proxy = p;
    proxy_wipe(&p);
    return 0;
}

int proxy_set_credentials(struct proxy *p, struct span text, struct buf *reterr)
{
    bool is_plain = span_find(text, ':') < text.n && text.n < sizeof(p->credentials);

    for (size_t i = 0; i < text.n && is_plain; i++)
        is_plain = (unsigned char)text.p[i] >= ' ' && text.p[i] != 0x7f;
    if (!is_plain || !span_copy(text, p->credentials, sizeof(p->credentials)))
        return refuse(reterr, "the proxy's credentials are not of the form user:password");
    return 0;
}

void proxy_wipe(struct proxy *p)
{
    explicit_bzero(p->credentials, sizeof(p->credentials));
}

/* --- whom it is not for ---------------------------------------------------------------------- */

/* What is dialled. */
struct goal {
    struct span host;
    struct addr addr;
    bool is_addr;
    uint16_t port;
};

static bool is_below(struct span host, struct span name)
{
    struct span tail;

    if (!name.n || host.n < name.n)
        return false;
    tail = span_skip(host, host.n - name.n);
    return span_eq_nocase(tail, name) && (host.n == name.n || host.p[host.n - name.n - 1] == '.');
}

static bool host_is_named(struct span item, const struct goal *goal)
{
    struct cidr cidr;

    if (cidr_parse(item, &cidr))
        return goal->is_addr && cidr_has(&cidr, &goal->addr);
    return !goal->is_addr && is_below(goal->host, item);
}

/* "*.example" and ".example" say no more than "example". */
static struct span item_name(struct span item)
{
    if (span_starts(item, SPAN("*.")))
        item = span_skip(item, 1);
    return span_starts(item, SPAN(".")) ? span_skip(item, 1) : item;
}

static bool item_matches(struct span item, const struct goal *goal)
{
    struct cidr bare;
    struct span host;
    uint16_t port;

    if (span_eq(item, SPAN("*")))
        return true;
    item = item_name(item);
    if (cidr_parse(item, &bare) || !authority_parse(item, 0, &host, &port))
        return host_is_named(item, goal);
    return port == goal->port && host_is_named(host, goal);
}

static bool is_separator(char c)
{
    return c == ',' || c == '\n' || c == ' ' || c == '\t';
}

static bool next_item(struct span *list, struct span *ret_item)
{
    size_t n = 0;

    while (list->n && is_separator(list->p[0]))
        *list = span_skip(*list, 1);
    while (n < list->n && !is_separator(list->p[n]))
        n++;
    *ret_item = span_first(*list, n);
    *list = span_skip(*list, n);
    return n > 0;
}

static bool is_bypassed(struct span list, const struct goal *goal)
{
    struct span item;

    while (next_item(&list, &item)) {
        if (item_matches(item, goal))
            return true;
    }
    return false;
}

static bool item_is_valid(struct span item)
{
    struct span name = item_name(item), host;
    char canonical[PROXY_HOST_MAX];
    struct cidr cidr;
    uint16_t port;

    if (span_eq(item, SPAN("*")) || cidr_parse(name, &cidr))
        return true;
    if (!authority_parse(name, 1, &host, &port))
        return false;
    return cidr_parse(host, &cidr) || host_canonical(host, canonical);
}

bool proxy_bypass_is_valid(struct span list, struct span *ret_item)
{
    struct span item;

    while (next_item(&list, &item)) {
        if (item_is_valid(item))
            continue;
        *ret_item = item;
        return false;
    }
    return true;
}

static bool is_loopback(const struct goal *goal)
{
    static const struct addr v6 = { .ip = { [15] = 1 } };

    if (!goal->is_addr)
        return is_below(goal->host, SPAN("localhost"));
    return addr_eq(&goal->addr, &v6) || (addr_is_v4(&goal->addr) && goal->addr.ip[12] == 127);
}

bool proxy_is_for(const struct proxy *p, struct span host, uint16_t port)
{
    struct goal goal = { .host = host, .port = port };

    if (host.n && host.p[host.n - 1] == '.')
        goal.host = span_first(host, host.n - 1);
    goal.is_addr = addr_parse(goal.host, &goal.addr);
    return !is_loopback(&goal) && !is_bypassed(span_str(p->bypass), &goal);
}
