#include "cli/intratun/intratun.h"
#include "controlplane/domain/check.h"

/*
 * intratun matches a regular expression anywhere in "host:port".  What people write there is a name or an
 * address with escaped dots, ".*" before a suffix, and a port: that is a rule.  Where ^ or $ was forgotten
 * the name is taken as whole: narrower, which was meant.
 */
#define PATTERN_MAX 512

struct pattern {
    struct span rest;
    struct buf host, ports;
    bool is_open_at_start;
    const char *why;
};

static bool take(struct pattern *p, struct span token)
{
    if (!span_starts(p->rest, token))
        return false;
    p->rest = span_skip(p->rest, token.n);
    return true;
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static void put_star(struct buf *out)
{
    if (!out->len || out->data[out->len - 1] != '*')
        buf_put_str(out, "*");
}

/* One thing of a host; false: there is none that a rule knows. */
static bool read_host_item(struct pattern *p)
{
    char c = p->rest.p[0];

    if (take(p, SPAN(".*")) || take(p, SPAN(".+")) || take(p, SPAN("[^:]*")) || take(p, SPAN("[^:]+")) ||
        take(p, SPAN("[^.]+")) || take(p, SPAN("[^.]*"))) {
        if (span_starts(p->rest, SPAN("?")))
            return false;
        put_star(&p->host);
        return true;
    }
    if (take(p, SPAN("\\.")) || take(p, SPAN("."))) {
        buf_put_str(&p->host, ".");
        return true;
    }
    if (take(p, SPAN("\\-")))
        c = '-';
    else if (is_host_char(c))
        p->rest = span_skip(p->rest, 1);
    else
        return false;
    buf_put(&p->host, &c, 1);
    return true;
}

static bool is_quantified(const struct pattern *p)
{
    return p->rest.n && strchr("?*+{", p->rest.p[0]);
}

static bool read_host(struct pattern *p)
{
    if (!take(p, SPAN("^")))
        p->is_open_at_start = true;
    while (p->rest.n && p->rest.p[0] != ':' && p->rest.p[0] != '$') {
        if (!read_host_item(p) || is_quantified(p)) {
            p->why = "only names, addresses, dots, .* and a port can be said as a rule";
            return false;
        }
    }
    return true;
}

static bool read_port(struct pattern *p)
{
    size_t n = 0;

    while (n < p->rest.n && p->rest.p[n] >= '0' && p->rest.p[n] <= '9')
        n++;
    if (!n || n > 5)
        return false;
    if (p->ports.len)
        buf_put_str(&p->ports, ",");
    buf_put(&p->ports, p->rest.p, n);
    p->rest = span_skip(p->rest, n);
    return true;
}

/* ":443", ":(80|443)", ":\d+", ":.*"; a port that is not closed by $ is taken as whole. */
static bool read_ports(struct pattern *p)
{
    bool is_group;

    if (!take(p, SPAN(":"))) {
        (void)take(p, SPAN("$"));
        return p->rest.n == 0;
    }
    if (take(p, SPAN("\\d+")) || take(p, SPAN("[0-9]+")) || take(p, SPAN(".*")) || take(p, SPAN(".+")) || !p->rest.n) {
        (void)take(p, SPAN("$"));
        return p->rest.n == 0;
    }
    is_group = take(p, SPAN("(?:")) || take(p, SPAN("("));
    while (read_port(p) && is_group && take(p, SPAN("|")))
        ;
    if (is_group && !take(p, SPAN(")")))
        return false;
    (void)take(p, SPAN("$"));
    return p->rest.n == 0 && p->ports.len;
}

static void put_rule(struct pattern *p, struct buf *rule)
{
    struct span host = buf_span(&p->host);
    bool is_any = host.n == 0 || span_eq(host, SPAN("*"));

    if (p->is_open_at_start && span_starts(host, SPAN(".")))
        buf_put_str(rule, "*");
    buf_put_span(rule, is_any ? SPAN("*") : host);
    if (p->ports.len) {
        buf_put_str(rule, ":");
        buf_put_span(rule, buf_span(&p->ports));
    }
}

bool intratun_rule(struct span pattern, struct buf *ret_rule, const char **ret_why)
{
    struct check_limits none = { 0 };
    char host[PATTERN_MAX], ports[128], rule[PATTERN_MAX + 200];
    struct pattern p = { .rest = pattern };
    const char *message;
    struct buf text;

    buf_init_fixed(&p.host, host, sizeof(host));
    buf_init_fixed(&p.ports, ports, sizeof(ports));
    buf_init_fixed(&text, rule, sizeof(rule));
    *ret_why = "it is too long";
    if (pattern.n >= PATTERN_MAX || !read_host(&p)) {
        *ret_why = p.why ? p.why : *ret_why;
        return false;
    }
    *ret_why = "its port is no port, and no list of ports";
    if (!read_ports(&p))
        return false;
    *ret_why = "a rule is a name, a network, * or *.suffix, and ports";
    put_rule(&p, &text);
    return !buf_error(&p.host) && !buf_error(&p.ports) && !buf_error(&text) &&
           check_text(LEAF_ACL_RULE, &none, buf_span(&text), ret_rule, &message) == CHECK_OK;
}
