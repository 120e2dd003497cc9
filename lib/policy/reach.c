#include "lib/policy/reach.h"
#include <errno.h>
#include <string.h>

#define V4(a, b, c, d, bits_) \
    { { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d } }, 96 + (bits_) }

/* The first row that has the address gives the name: narrow ones go first. */
static const struct {
    const char *kind;
    struct cidr range;
} special[] = {
    { "metadata", V4(169, 254, 169, 254, 32) },
    { "metadata", V4(100, 100, 100, 200, 32) },
    { "metadata", V4(168, 63, 129, 16, 32) },
    { "metadata", V4(192, 0, 0, 192, 32) },
    { "metadata", { { { 0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x54 } }, 128 } },
    { "unspecified", V4(0, 0, 0, 0, 8) },
    { "loopback", V4(127, 0, 0, 0, 8) },
    { "link-local", V4(169, 254, 0, 0, 16) },
    { "multicast", V4(224, 0, 0, 0, 4) },
    { "broadcast", V4(255, 255, 255, 255, 32) },
    { "loopback", { { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 } }, 128 } },
    { "unspecified", { { { 0 } }, 96 } },       /* "::", and the old IPv4-compatible form */
    { "link-local", { { { 0xfe, 0x80 } }, 10 } },
    { "multicast", { { { 0xff } }, 8 } },
};

const char *address_special_kind(const struct addr *a, const struct addr *own, size_t own_count)
{
    const struct addr plain = addr_unwrap(a);

    for (size_t i = 0; i < ARRAY_LEN(special); i++) {
        if (cidr_has(&special[i].range, &plain) || cidr_has(&special[i].range, a))
            return special[i].kind;
    }
    for (size_t i = 0; i < own_count; i++) {
        if (addr_eq(&own[i], &plain) || addr_eq(&own[i], a))
            return "own address";
    }
    return NULL;
}

struct agent_reach {
    struct reach_rule *rules;
    size_t count, room;
    size_t begin[HOST_UNIX + 2];        /* rules of kind k are begin[k] .. begin[k + 1] */
    bool is_finished;
};

struct agent_reach *agent_reach_new(void)
{
    return calloc(1, sizeof(struct agent_reach));
}

void agent_reach_free(struct agent_reach *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        host_pattern_deinit(&r->rules[i].host);
    free(r->rules);
    free(r);
}

int agent_reach_add(struct agent_reach *r, struct reach_rule *rule)
{
    size_t room = r->room ? 2 * r->room : 16;
    struct reach_rule *grown;

    if (r->count == REACH_RULES_MAX)
        return -ENOSPC;
    if (rule->host.kind == HOST_GLOB)
        return -EINVAL;
    if (r->count == r->room) {
        grown = reallocarray(r->rules, room, sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        r->rules = grown;
        r->room = room;
    }
    r->rules[r->count++] = *rule;
    rule->host.text = NULL;
    r->is_finished = false;
    return 0;
}

static int by_host(const void *a, const void *b)
{
    const struct host_pattern *x = &((const struct reach_rule *)a)->host;
    const struct host_pattern *y = &((const struct reach_rule *)b)->host;

    if (x->kind != y->kind)
        return (int)x->kind - (int)y->kind;
    return x->text && y->text ? strcmp(x->text, y->text) : 0;
}

void agent_reach_finish(struct agent_reach *r)
{
    size_t at = 0;

    if (r->count)
        qsort(r->rules, r->count, sizeof(*r->rules), by_host);
    for (unsigned kind = 0; kind <= HOST_UNIX + 1; kind++) {
        while (at < r->count && (unsigned)r->rules[at].host.kind < kind)
            at++;
        r->begin[kind] = at;
    }
    r->is_finished = true;
}

size_t agent_reach_count(const struct agent_reach *r)
{
    return r->count;
}

const struct reach_rule *agent_reach_at(const struct agent_reach *r, size_t i)
{
    return i < r->count ? &r->rules[i] : NULL;
}

/* The answer of all rules that were asked. */
struct reach_answer {
    bool is_allowed, is_special;
};

static void take(struct reach_answer *answer, const struct reach_rule *rule, uint16_t port)
{
    if (!ports_have(rule->ports, rule->port_count, port))
        return;
    answer->is_allowed = true;
    answer->is_special |= rule->allow_special;
}

/* Every rule of that kind with that very text; they stand beside each other. */
static void ask_text(const struct agent_reach *r, enum host_pattern_kind kind, const char *text,
                     uint16_t port, struct reach_answer *answer)
{
    size_t low = r->begin[kind], high = r->begin[kind + 1];

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(r->rules[middle].host.text, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < r->begin[kind + 1] && strcmp(r->rules[low].host.text, text) == 0; low++)
        take(answer, &r->rules[low], port);
}

static void ask_name(const struct agent_reach *r, const struct target *t,
                     struct reach_answer *answer)
{
    const char *rest = t->name;

    ask_text(r, HOST_EXACT, rest, t->port, answer);
    while ((rest = strchr(rest, '.')))
        ask_text(r, HOST_SUFFIX, ++rest, t->port, answer);
}

bool agent_reach_allows(const struct agent_reach *r, const struct target *t,
                        const struct addr *addr, bool *ret_special)
{
    struct reach_answer answer = { 0 };

    if (!r->is_finished || (t->is_literal && !addr_eq(&t->addr, addr)))
        return false;
    for (size_t i = r->begin[HOST_ANY]; i < r->begin[HOST_ANY + 1]; i++)
        take(&answer, &r->rules[i], t->port);
    if (!t->is_literal)
        ask_name(r, t, &answer);
    for (size_t i = r->begin[HOST_CIDR]; i < r->begin[HOST_CIDR + 1]; i++) {
        const struct reach_rule *rule = &r->rules[i];

        if ((t->is_literal || rule->match_resolved) && cidr_has(&rule->host.cidr, addr))
            take(&answer, rule, t->port);
    }
    if (ret_special)
        *ret_special = answer.is_special;
    return answer.is_allowed;
}

bool agent_reach_allows_unix(const struct agent_reach *r, struct span path)
{
    if (!r->is_finished)
        return false;
    for (size_t i = r->begin[HOST_UNIX]; i < r->begin[HOST_UNIX + 1]; i++) {
        if (span_eq(span_str(r->rules[i].host.text), path))
            return true;
    }
    return false;
}

static bool in_ranges(const struct cidr *ranges, size_t n, const struct addr *addr)
{
    for (size_t i = 0; i < n; i++) {
        if (cidr_has(&ranges[i], addr))
            return true;
    }
    return n == 0;
}

enum reason agent_may_dial(const struct dial_question *q)
{
    bool is_lifted = false;

    if (!in_ranges(q->ranges, q->range_count, q->addr))
        return REASON_TARGET_FORBIDDEN;
    if (!acl_allows(q->acl, q->target, q->addr))
        return REASON_ACL_DENIED;
    if (!q->reach || !agent_reach_allows(q->reach, q->target, q->addr, &is_lifted))
        return REASON_TARGET_FORBIDDEN;
    if (!address_special_kind(q->addr, q->own, q->own_count))
        return REASON_NONE;
    is_lifted = is_lifted && q->allow_special &&
                acl_lifts_special(q->acl, q->addr, q->target->port);
    return is_lifted ? REASON_NONE : REASON_TARGET_FORBIDDEN;
}

enum reason agent_may_dial_unix(const struct acl *acl, const struct agent_reach *reach,
                                bool allow_special, struct span path)
{
    if (!acl_allows_unix(acl, path))
        return REASON_ACL_DENIED;
    if (!allow_special || !reach || !agent_reach_allows_unix(reach, path))
        return REASON_TARGET_FORBIDDEN;
    return REASON_NONE;
}
