#include "lib/policy/match_internal.h"

struct index_hits match_quotas(const struct policy *p, enum quota_scope scope, struct span id)
{
    const struct index_key key = index_key_kind(INDEX_QUOTA, scope, id);

    return p->quotas[scope] ? index_find(p, &key) : (struct index_hits){ 0 };
}

struct gather {
    const struct quota_record **quotas;
    size_t n, max;
};

static void add(struct gather *g, struct index_hits hits)
{
    for (size_t i = 0; i < hits.n; i++, g->n++) {
        if (g->n < g->max)
            g->quotas[g->n] = RECORD_AS(index_hit(&hits, i), QUOTA, quota_record);
    }
}

size_t policy_quotas(const struct policy *p, const struct user_record *user, const struct ulid *agent,
                     const struct quota_record **ret_quotas, size_t max)
{
    struct gather g = { .quotas = ret_quotas, .max = max };

    if (policy_count(p, RECORD_QUOTA) == 0)
        return 0;
    add(&g, match_quotas(p, QUOTA_AGENT, ulid_span(agent)));
    add(&g, match_quotas(p, QUOTA_USER, record_id(&user->record)));
    for (size_t i = 0; p->quotas[QUOTA_GROUP] && i < user->group_count; i++)
        add(&g, match_quotas(p, QUOTA_GROUP, ulid_span(&user->groups[i])));
    add(&g, match_quotas(p, QUOTA_ALL, SPAN_NONE));
    return g.n;
}

enum reason policy_quota_reason(enum quota_scope scope)
{
    static const enum reason reasons[] = {
        [QUOTA_USER] = REASON_QUOTA_USER, [QUOTA_GROUP] = REASON_QUOTA_GROUP,
        [QUOTA_AGENT] = REASON_QUOTA_AGENT, [QUOTA_ALL] = REASON_QUOTA_ALL,
    };

    return reasons[scope];
}
