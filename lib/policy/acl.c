#include "lib/policy/acl.h"
#include "lib/base/buf.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char unix_prefix[] = "unix:";

bool target_parse(struct span host, uint16_t port, struct target *ret_target)
{
    struct target t = { .port = port };

    if (port == 0)
        return false;
    if (addr_parse(host, &t.addr)) {
        t.is_literal = true;
        addr_format(&t.addr, t.name);
    } else if (!host_canonical(host, t.name)) {
        return false;
    }
    *ret_target = t;
    return true;
}

struct target *target_keep(const struct target *t)
{
    size_t n = offsetof(struct target, name) + strlen(t->name) + 1;
    struct target *kept = malloc(n);

    if (kept)
        memcpy(kept, t, n);
    return kept;
}

static bool is_glob(struct span text)
{
    return span_find(text, '*') < text.n || span_find(text, '?') < text.n;
}

/* Lower case, the characters of names and '*', '?'. */
static bool glob_canonical(struct span text, char *dst)
{
    if (text.n == 0 || text.n > TARGET_NAME_MAX)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !memchr("._-*?", c, 5))
            return false;
        dst[i] = c;
    }
    dst[text.n] = '\0';
    return true;
}

static bool name_pattern(struct span text, struct host_pattern *p, char *dst)
{
    if (span_starts(text, SPAN("*.")) && !is_glob(span_skip(text, 2))) {
        p->kind = HOST_SUFFIX;
        return host_canonical(span_skip(text, 2), dst);
    }
    p->kind = is_glob(text) ? HOST_GLOB : HOST_EXACT;
    return is_glob(text) ? glob_canonical(text, dst) : host_canonical(text, dst);
}

int host_pattern_parse(struct span text, struct host_pattern *ret_pattern)
{
    struct host_pattern p = { 0 };
    char canonical[TARGET_NAME_MAX + 1];

    if (span_eq(text, SPAN("*"))) {
        p.kind = HOST_ANY;
    } else if (span_starts(text, SPAN("unix:/"))) {
        p.kind = HOST_UNIX;
        if (!span_copy(span_skip(text, sizeof(unix_prefix) - 1), canonical, ADDR_UNIX_MAX))
            return -EINVAL;
    } else if (cidr_parse(text, &p.cidr)) {
        p.kind = HOST_CIDR;
    } else if (!name_pattern(text, &p, canonical)) {
        return -EINVAL;
    }
    if (p.kind != HOST_ANY && p.kind != HOST_CIDR) {
        p.text = span_dup(span_str(canonical));
        if (!p.text)
            return -ENOMEM;
    }
    *ret_pattern = p;
    return 0;
}

void host_pattern_deinit(struct host_pattern *p)
{
    free(TAKE(p->text));
}

const char *host_pattern_format(const struct host_pattern *p, char *dst, size_t dst_size)
{
    static const char *const prefix[] = {
        [HOST_ANY] = "*", [HOST_EXACT] = "", [HOST_SUFFIX] = "*.",
        [HOST_GLOB] = "", [HOST_CIDR] = "",  [HOST_UNIX] = unix_prefix,
    };
    char address[ADDR_TEXT_MAX];
    const char *text = p->text ? p->text : "";

    if (p->kind == HOST_CIDR)
        text = cidr_format(&p->cidr, address);
    snprintf(dst, dst_size, "%s%s", prefix[p->kind], text);
    return dst;
}

/* '*' any run, '?' one character; the last '*' is where a mismatch goes back to. */
static bool glob_matches(const char *glob, const char *name)
{
    const char *star = NULL, *from = NULL;

    while (*name) {
        if (*glob == '*') {
            star = ++glob;
            from = name;
        } else if (*glob == '?' || *glob == *name) {
            glob++;
            name++;
        } else if (star) {
            glob = star;
            name = ++from;
        } else {
            return false;
        }
    }
    while (*glob == '*')
        glob++;
    return *glob == '\0';
}

static bool suffix_matches(const char *suffix, struct span name)
{
    struct span s = span_str(suffix);

    return name.n > s.n + 1 && span_ends(name, s) && name.p[name.n - s.n - 1] == '.';
}

bool host_pattern_matches(const struct host_pattern *p, const struct target *t)
{
    if (p->kind == HOST_ANY)
        return true;
    if (t->is_literal)
        return p->kind == HOST_CIDR && cidr_has(&p->cidr, &t->addr);
    switch (p->kind) {
    case HOST_EXACT:
        return span_eq(span_str(p->text), span_str(t->name));
    case HOST_SUFFIX:
        return suffix_matches(p->text, span_str(t->name));
    case HOST_GLOB:
        return glob_matches(p->text, t->name);
    case HOST_ANY:
    case HOST_CIDR:
    case HOST_UNIX:
    default:
        return false;
    }
}

bool port_range_parse(struct span text, struct port_range *ret_range)
{
    struct span first;
    uint64_t a, b;

    if (!span_cut(&text, '-', &first) || !span_to_u64(first, UINT16_MAX, &a))
        return false;
    b = a;
    if (text.p && !span_to_u64(text, UINT16_MAX, &b))
        return false;
    if (a == 0 || b < a)
        return false;
    *ret_range = (struct port_range){ (uint16_t)a, (uint16_t)b };
    return true;
}

bool ports_have(const struct port_range *ranges, size_t n, uint16_t port)
{
    for (size_t i = 0; i < n; i++) {
        if (port >= ranges[i].first && port <= ranges[i].last)
            return true;
    }
    return n == 0;
}

/* Cuts "pattern[:ports]"; an IPv6 address has its colons in brackets, or no ports. */
static bool cut_rule(struct span text, struct span *ret_pattern, struct span *ret_ports)
{
    size_t close = span_find(text, ']'), colon = span_find(text, ':');
    struct span rest;

    *ret_ports = SPAN_NONE;
    if (span_starts(text, SPAN("["))) {
        if (close == text.n)
            return false;
        *ret_pattern = span_of(text.p + 1, close - 1);
        rest = span_skip(text, close + 1);
        *ret_ports = rest.n ? span_skip(rest, 1) : SPAN_NONE;
        return rest.n == 0 || rest.p[0] == ':';
    }
    *ret_pattern = text;
    rest = span_skip(text, colon + 1);
    if (colon == text.n || span_starts(text, SPAN("unix:")) || span_find(rest, ':') < rest.n)
        return true;
    *ret_pattern = span_first(text, colon);
    *ret_ports = rest;
    return rest.n > 0;
}

int acl_rule_parse(struct span text, struct acl_rule *ret_rule)
{
    struct acl_rule rule = { 0 };
    struct span pattern, ports, one;
    int r;

    if (!cut_rule(text, &pattern, &ports))
        return -EINVAL;
    if (span_eq(ports, SPAN("*")))
        ports = SPAN_NONE;
    while (ports.p && span_cut(&ports, ',', &one)) {
        if (rule.port_count == ACL_PORTS_MAX ||
            !port_range_parse(one, &rule.ports[rule.port_count++]))
            return -EINVAL;
    }
    r = host_pattern_parse(pattern, &rule.host);
    if (r)
        return r;
    if (span_starts(text, SPAN("[")) && rule.host.kind != HOST_CIDR) {
        host_pattern_deinit(&rule.host);
        return -EINVAL;
    }
    *ret_rule = rule;
    return 0;
}

const char *acl_rule_format(const struct acl_rule *r, char *dst, size_t dst_size)
{
    char pattern[320];
    bool is_bracketed;
    struct buf out;

    host_pattern_format(&r->host, pattern, sizeof(pattern));
    is_bracketed = r->host.kind == HOST_CIDR && strchr(pattern, ':');
    buf_init_fixed(&out, dst, dst_size - 1);
    buf_printf(&out, is_bracketed ? "[%s]" : "%s", pattern);
    for (size_t i = 0; i < r->port_count; i++) {
        buf_printf(&out, "%s%u", i ? "," : ":", r->ports[i].first);
        if (r->ports[i].last != r->ports[i].first)
            buf_printf(&out, "-%u", r->ports[i].last);
    }
    dst[out.len] = '\0';
    return dst;
}

void acl_rule_deinit(struct acl_rule *r)
{
    host_pattern_deinit(&r->host);
}

static int add_rule(struct acl_rule **rules, size_t *count, struct span text)
{
    struct acl_rule *grown;
    int r;

    if (*count == ACL_RULES_MAX)
        return -ENOSPC;
    grown = reallocarray(*rules, *count + 1, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    *rules = grown;
    r = acl_rule_parse(text, &grown[*count]);
    if (r)
        return r;
    (*count)++;
    return 0;
}

int acl_add_allow(struct acl *a, struct span rule)
{
    return add_rule(&a->allow, &a->allow_count, rule);
}

int acl_add_deny(struct acl *a, struct span rule)
{
    return add_rule(&a->deny, &a->deny_count, rule);
}

int acl_add_special(struct acl *a, struct span rule)
{
    return add_rule(&a->special, &a->special_count, rule);
}

static void free_rules(struct acl_rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++)
        acl_rule_deinit(&rules[i]);
    free(rules);
}

void acl_deinit(struct acl *a)
{
    free_rules(a->allow, a->allow_count);
    free_rules(a->deny, a->deny_count);
    free_rules(a->special, a->special_count);
    *a = (struct acl){ 0 };
}

/* The name, or the address to be dialled for it. */
static bool rule_means(const struct acl_rule *r, const struct target *t, const struct addr *addr)
{
    if (!ports_have(r->ports, r->port_count, t->port))
        return false;
    if (r->host.kind == HOST_CIDR)
        return cidr_has(&r->host.cidr, addr);
    return host_pattern_matches(&r->host, t);
}

static bool any_means(const struct acl_rule *rules, size_t n, const struct target *t,
                      const struct addr *addr)
{
    for (size_t i = 0; i < n; i++) {
        if (rule_means(&rules[i], t, addr))
            return true;
    }
    return false;
}

bool acl_allows(const struct acl *a, const struct target *t, const struct addr *addr)
{
    const struct addr plain = addr_unwrap(addr);

    /* A denied IPv4 address stays denied inside NAT64 and 6to4. */
    if (any_means(a->deny, a->deny_count, t, addr) || any_means(a->deny, a->deny_count, t, &plain))
        return false;
    return any_means(a->allow, a->allow_count, t, addr) || acl_lifts_special(a, addr, t->port);
}

/* A CIDR rule may mean what a name resolves to: counts for allowing, not for denying. */
static bool may_mean(const struct acl_rule *rules, size_t n, const struct target *t, bool cidr_counts)
{
    for (size_t i = 0; i < n; i++) {
        const struct acl_rule *r = &rules[i];

        if (ports_have(r->ports, r->port_count, t->port) &&
            (host_pattern_matches(&r->host, t) || (cidr_counts && r->host.kind == HOST_CIDR)))
            return true;
    }
    return false;
}

bool acl_may_allow(const struct acl *a, const struct target *t)
{
    if (t->is_literal)
        return acl_allows(a, t, &t->addr);
    if (may_mean(a->deny, a->deny_count, t, false))
        return false;
    return may_mean(a->allow, a->allow_count, t, true) ||
           may_mean(a->special, a->special_count, t, true);
}

bool acl_lifts_special(const struct acl *a, const struct addr *addr, uint16_t port)
{
    for (size_t i = 0; i < a->special_count; i++) {
        const struct acl_rule *r = &a->special[i];

        if (r->host.kind == HOST_CIDR && cidr_has(&r->host.cidr, addr) &&
            ports_have(r->ports, r->port_count, port))
            return true;
    }
    return false;
}

bool acl_allows_unix(const struct acl *a, struct span path)
{
    for (size_t i = 0; i < a->special_count; i++) {
        if (a->special[i].host.kind == HOST_UNIX &&
            span_eq(span_str(a->special[i].host.text), path))
            return true;
    }
    return false;
}
