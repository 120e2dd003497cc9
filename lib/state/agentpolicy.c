#include "lib/state/agentpolicy.h"
#include "lib/state/state_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct header {
    int64_t format, epoch, revision, count;
    char cluster[DOCUMENT_CLUSTER_MAX + 1];
    char agent[27];
};

#define INT(key_, min_) { #key_, J_INT, offsetof(struct header, key_), 0, min_, INT64_MAX, JSON_REQUIRED }
#define TEXT(key_, min_) \
    { #key_, J_TEXT, offsetof(struct header, key_), sizeof_field(struct header, key_), min_, \
      sizeof_field(struct header, key_) - 1, JSON_REQUIRED }
static const struct json_field fields[] = {
    INT(format, 1), TEXT(cluster, 1), INT(epoch, 1), INT(revision, 1), TEXT(agent, 26), INT(count, 0),
};

static void put_rule(const struct reach_rule *rule, struct buf *out)
{
    struct acl_rule text_rule = { .host = rule->host, .port_count = rule->port_count };
    char text[512];

    memcpy(text_rule.ports, rule->ports, sizeof(text_rule.ports));
    buf_printf(out, "%s%s%s %s\n", rule->match_resolved ? "r" : "", rule->allow_special ? "s" : "",
               rule->match_resolved || rule->allow_special ? "" : "-",
               acl_rule_format(&text_rule, text, sizeof(text)));
}

int agentpolicy_sign(const char *cluster, const struct agentpolicy_header *h,
                     const struct agent_reach *reach, const struct key *key, struct buf *out)
{
    AUTO(buf_deinit) struct buf bytes = { 0 };
    struct header header = { .format = 1, .epoch = (int64_t)h->epoch,
                             .revision = (int64_t)h->revision,
                             .count = (int64_t)agent_reach_count(reach) };

    if (!span_copy(span_str(cluster), header.cluster, sizeof(header.cluster)))
        return -EINVAL;
    memcpy(header.agent, h->agent, sizeof(header.agent));
    buf_init_heap(&bytes, AGENTPOLICY_MAX);
    json_encode(&header, fields, ARRAY_LEN(fields), &bytes);
    buf_put_str(&bytes, "\n");
    for (size_t i = 0; i < agent_reach_count(reach); i++)
        put_rule(agent_reach_at(reach, i), &bytes);
    if (buf_error(&bytes))
        return buf_error(&bytes);
    return document_sign(DOCUMENT_AGENTPOLICY, cluster, h->epoch, key, buf_span(&bytes), out);
}

static bool flags_parse(struct span flags, struct reach_rule *rule)
{
    rule->match_resolved = span_eq(flags, SPAN("r")) || span_eq(flags, SPAN("rs"));
    rule->allow_special = span_eq(flags, SPAN("s")) || span_eq(flags, SPAN("rs"));
    return rule->match_resolved || rule->allow_special || span_eq(flags, SPAN("-"));
}

static int rule_parse(struct span line, struct agent_reach *reach)
{
    struct reach_rule rule = { 0 };
    struct acl_rule text_rule = { 0 };
    struct span flags;
    int r;

    if (!span_cut(&line, ' ', &flags) || !line.p || !flags_parse(flags, &rule))
        return -EINVAL;
    r = acl_rule_parse(line, &text_rule);
    if (r)
        return r;
    rule.host = text_rule.host;
    rule.port_count = text_rule.port_count;
    memcpy(rule.ports, text_rule.ports, sizeof(rule.ports));
    r = agent_reach_add(reach, &rule);
    if (r)
        host_pattern_deinit(&rule.host);
    return r;
}

static int rules_parse(struct span rest, int64_t count, struct agent_reach *reach,
                       struct state_error *reterr)
{
    for (int64_t i = 0; i < count; i++) {
        int r = rest.n ? rule_parse(state_cut_line(&rest), reach) : -EINVAL;

        if (r == -EINVAL || r == -ENOSPC)
            return state_reject(reterr, "agentpolicy, line %" PRId64 ": malformed rule", i + 2);
        if (r)
            return r;
    }
    if (rest.n > 0)
        return state_reject(reterr, "agentpolicy: more rules than count says");
    return 0;
}

static int check_header(const struct header *h, const struct document *d, const char *agent,
                        const struct agentpolicy_header *newest, struct state_error *reterr)
{
    uint64_t revision = state_unsigned(h->revision);

    if (h->format != 1)
        return state_reject(reterr, "agentpolicy: format %" PRId64 " is not known here", h->format);
    if (strcmp(h->cluster, d->cluster) != 0 || state_unsigned(h->epoch) != d->epoch)
        return state_reject(reterr, "agentpolicy: cluster or epoch differ from the first line");
    if (strcmp(h->agent, agent) != 0)
        return state_reject(reterr, "agentpolicy: for agent %s, not %s", h->agent, agent);
    if (newest && (d->epoch < newest->epoch ||
                   (d->epoch == newest->epoch && revision < newest->revision)))
        return state_reject(reterr, "agentpolicy: older than %" PRIu64 ".%" PRIu64, newest->epoch,
                            newest->revision);
    return 0;
}

static int open_verified(const struct document *d, const char *agent,
                         const struct agentpolicy_header *newest,
                         struct agentpolicy_header *ret_header, struct agent_reach **ret_reach,
                         struct state_error *reterr)
{
    AUTO(agent_reach_freep) struct agent_reach *reach = agent_reach_new();
    struct span rest = d->bytes, line = state_cut_line(&rest);
    struct header h = { 0 };
    struct json_error e;
    int r;

    if (!reach)
        return -ENOMEM;
    r = json_decode_text(line, fields, ARRAY_LEN(fields), JSON_ALLOW_UNKNOWN, &h, &e);
    if (r)
        return state_reject_json(reterr, "agentpolicy", r, &e);
    r = check_header(&h, d, agent, newest, reterr);
    if (r == 0)
        r = rules_parse(rest, h.count, reach, reterr);
    if (r)
        return r;
    agent_reach_finish(reach);
    *ret_header = (struct agentpolicy_header){ .epoch = d->epoch,
                                               .revision = state_unsigned(h.revision) };
    memcpy(ret_header->agent, h.agent, sizeof(h.agent));
    *ret_reach = TAKE(reach);
    return 0;
}

int agentpolicy_open(struct span text, const struct keyset *keys, const char *agent,
                     const struct agentpolicy_header *newest, struct agentpolicy_header *ret_header,
                     struct agent_reach **ret_reach, struct state_error *reterr)
{
    struct document d;
    int r = document_cut(&text, &d, reterr);

    if (r == DOCUMENT_E_END || (r == 0 && text.n > 0))
        return state_reject(reterr, "agentpolicy: not exactly one document");
    if (r == 0 && d.bytes.n > AGENTPOLICY_MAX)
        return state_reject(reterr, "agentpolicy: is too long");
    if (r == 0)
        r = document_verify(&d, DOCUMENT_AGENTPOLICY, keys, reterr);
    return r ? r : open_verified(&d, agent, newest, ret_header, ret_reach, reterr);
}
