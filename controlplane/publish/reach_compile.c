#include "controlplane/publish/reach_compile.h"

#include <errno.h>
#include <string.h>

/* ---- who is touched ---- */

void touched_deinit(struct touched *t)
{
    free(t->ids);
    *t = (struct touched){ .count = 0 };
}

int touched_add(struct touched *t, const struct ulid *agent)
{
    if (t->count == t->room) {
        size_t room = t->room ? 2 * t->room : 16;
        struct ulid *ids = room <= TOUCHED_MAX ? realloc(t->ids, room * sizeof(*ids)) : NULL;

        if (!ids)
            return room <= TOUCHED_MAX ? -ENOMEM : -ENOSPC;
        t->ids = ids;
        t->room = room;
    }
    t->ids[t->count++] = *agent;
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return memcmp(((const struct ulid *)a)->text, ((const struct ulid *)b)->text, ULID_LEN);
}

void touched_settle(struct touched *t)
{
    size_t kept = 0;

    if (t->count)
        qsort(t->ids, t->count, sizeof(*t->ids), by_text);
    for (size_t i = 0; i < t->count; i++)
        if (!kept || by_text(&t->ids[kept - 1], &t->ids[i]) != 0)
            t->ids[kept++] = t->ids[i];
    t->count = kept;
}

static int add_members(struct touched *t, const struct agentgroup_record *group)
{
    int r = 0;

    for (size_t i = 0; group && !r && i < group->member_count; i++)
        r = touched_add(t, &group->members[i].agent);
    return r;
}

static int add_group(struct touched *t, const struct policy *p, const struct ulid *group)
{
    return add_members(t, group->text[0] ? policy_agentgroup(p, group) : NULL);
}

static const struct ulid *group_of_grant(const struct policy *p, const struct grant_record *g)
{
    const struct profile_record *profile;

    if (g->agentgroup.text[0] || !g->profile.text[0])
        return &g->agentgroup;
    profile = policy_profile(p, &g->profile);
    return profile ? &profile->agentgroup : &g->agentgroup;
}

static int by_profile(struct touched *t, const struct policy *p, const struct record *record)
{
    const struct profile_record *profile = RECORD_AS(record, PROFILE, profile_record);
    struct policy_cursor cursor = { 0 };
    const struct record *each;
    int r = add_group(t, p, &profile->agentgroup);

    while (!r && (each = policy_next(p, RECORD_GRANT, &cursor))) {
        const struct grant_record *g = RECORD_AS(each, GRANT, grant_record);

        if (memcmp(g->profile.text, record->id, ULID_LEN) == 0)
            r = add_group(t, p, group_of_grant(p, g));
    }
    return r;
}

static int by_override(struct touched *t, const struct policy *p, const struct override_record *o)
{
    struct policy_cursor cursor = { 0 };
    const struct record *each;
    int r = 0;

    if (!o->unix_path[0])
        return 0;
    switch (o->scope) {
    case OVERRIDE_AGENT:
        return touched_add(t, &o->scope_id);
    case OVERRIDE_AGENTGROUP:
        return add_group(t, p, &o->scope_id);
    case OVERRIDE_ALL:
        break;
    }
    while (!r && (each = policy_next(p, RECORD_AGENT, &cursor))) {
        struct ulid id;

        if (ulid_parse(record_id(each), &id))
            r = touched_add(t, &id);
    }
    return r;
}

static int by_agent(struct touched *t, const struct record *record)
{
    struct ulid id;

    return ulid_parse(record_id(record), &id) ? touched_add(t, &id) : 0;
}

static int by_record(struct touched *t, const struct policy *p, const struct record *record)
{
    switch (record->kind) {
    case RECORD_AGENT:
        return by_agent(t, record);
    case RECORD_AGENTGROUP:
        return add_members(t, RECORD_AS(record, AGENTGROUP, agentgroup_record));
    case RECORD_PROFILE:
        return by_profile(t, p, record);
    case RECORD_GRANT:
        return add_group(t, p, group_of_grant(p, RECORD_AS(record, GRANT, grant_record)));
    case RECORD_OVERRIDE:
        return by_override(t, p, RECORD_AS(record, OVERRIDE, override_record));
    case RECORD_USER:
    case RECORD_GROUP:
    case RECORD_CREDENTIAL:
    case RECORD_LOCK:
    case RECORD_CUT:
    case RECORD_RELAY:
    case RECORD_AGENTPOLICY:
    case RECORD_SETTING:
    case RECORD_KIND_COUNT:
        break;
    }
    return 0;
}

int touched_by(struct touched *t, const struct policy *policy, const struct record *before,
               const struct record *after)
{
    int r = before ? by_record(t, policy, before) : 0;

    return !r && after ? by_record(t, policy, after) : r;
}

/* ---- one agent's reach ---- */

struct gather {
    const struct policy *policy;
    const struct ulid *agent;
    int64_t now_ms;
    struct agent_reach *reach;
    const struct profile_record **profiles;     /* that some live grant names; sorted later */
    size_t profile_count, profile_room;
    bool has_all;
};

static bool is_member(const struct gather *g, const struct ulid *group)
{
    const struct agentgroup_record *record = policy_agentgroup(g->policy, group);

    for (size_t i = 0; record && i < record->member_count; i++)
        if (record->members[i].is_enabled &&
            memcmp(record->members[i].agent.text, g->agent->text, ULID_LEN) == 0)
            return true;
    return false;
}

static int add_profile(struct gather *g, const struct profile_record *profile)
{
    if (g->profile_count == g->profile_room) {
        size_t room = g->profile_room ? 2 * g->profile_room : 16;
        const struct profile_record **p = realloc(g->profiles, room * sizeof(*p));

        if (!p)
            return -ENOMEM;
        g->profiles = p;
        g->profile_room = room;
    }
    g->profiles[g->profile_count++] = profile;
    return 0;
}

static int gather_grants(struct gather *g)
{
    struct policy_cursor cursor = { 0 };
    const struct record *each;
    int r = 0;

    while (!r && (each = policy_next(g->policy, RECORD_GRANT, &cursor))) {
        const struct grant_record *grant = RECORD_AS(each, GRANT, grant_record);
        const struct profile_record *profile;

        if (grant->end_ms && grant->end_ms <= g->now_ms)
            continue;
        if (!is_member(g, group_of_grant(g->policy, grant)))
            continue;
        profile = grant->profile.text[0] ? policy_profile(g->policy, &grant->profile) : NULL;
        if (profile)
            r = add_profile(g, profile);
        else
            g->has_all |= !grant->profile.text[0];
    }
    return r;
}

static int add_rule(struct gather *g, const struct host_pattern *host, const struct port_range *ports,
                    size_t port_count, const struct profile_record *profile)
{
    struct reach_rule rule = { .host = *host, .port_count = port_count,
                               .match_resolved = profile && profile->match_resolved,
                               .allow_special = profile && profile->allow_special };
    int r;

    rule.host.text = host->text ? strdup(host->text) : NULL;
    if (host->text && !rule.host.text)
        return -ENOMEM;
    if (port_count)
        memcpy(rule.ports, ports, port_count * sizeof(*ports));
    r = agent_reach_add(g->reach, &rule);
    if (r)
        host_pattern_deinit(&rule.host);
    return r;
}

/* A rule holds ACL_PORTS_MAX ranges; a profile with more becomes several rules. */
static int add_host(struct gather *g, const struct profile_record *profile,
                    const struct host_pattern *host)
{
    size_t done = 0;
    int r;

    do {
        size_t left = profile->port_count - done;
        size_t n = left < ACL_PORTS_MAX ? left : ACL_PORTS_MAX;

        r = add_rule(g, host, profile->ports + done, n, profile);
        done += n;
    } while (!r && done < profile->port_count);
    return r;
}

static int by_pointer(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)*(const void *const *)a, y = (uintptr_t)*(const void *const *)b;

    return x < y ? -1 : x > y;
}

static int add_profiles(struct gather *g)
{
    int r = 0;

    if (g->profile_count)
        qsort(g->profiles, g->profile_count, sizeof(*g->profiles), by_pointer);
    for (size_t i = 0; !r && i < g->profile_count; i++) {
        if (i && g->profiles[i] == g->profiles[i - 1])
            continue;
        for (size_t k = 0; !r && k < g->profiles[i]->host_count; k++)
            r = add_host(g, g->profiles[i], &g->profiles[i]->hosts[k]);
    }
    return r;
}

static bool is_in_scope(const struct gather *g, const struct override_record *o)
{
    switch (o->scope) {
    case OVERRIDE_ALL:
        return true;
    case OVERRIDE_AGENT:
        return memcmp(o->scope_id.text, g->agent->text, ULID_LEN) == 0;
    case OVERRIDE_AGENTGROUP:
        return is_member(g, &o->scope_id);
    }
    return false;
}

static bool profile_covers(const struct profile_record *profile, const struct target *t)
{
    for (size_t i = 0; i < profile->host_count; i++)
        if (host_pattern_matches(&profile->hosts[i], t))
            return true;
    return false;
}

/* A socket counts as special: some profile with allow_special must cover the override's
 * host (of a suffix, the relay decides name by name). */
static bool is_granted(const struct gather *g, const struct override_record *o)
{
    bool is_exact = o->host.kind == HOST_EXACT;
    struct target t;

    if (is_exact && !target_parse(span_str(o->host.text), 1, &t))
        return false;
    for (size_t i = 0; i < g->profile_count; i++)
        if (g->profiles[i]->allow_special && (!is_exact || profile_covers(g->profiles[i], &t)))
            return true;
    return false;
}

static int add_overrides(struct gather *g)
{
    struct policy_cursor cursor = { 0 };
    const struct record *each;
    int r = 0;

    while (!r && (each = policy_next(g->policy, RECORD_OVERRIDE, &cursor))) {
        const struct override_record *o = RECORD_AS(each, OVERRIDE, override_record);
        struct host_pattern path = { .kind = HOST_UNIX, .text = (char *)(uintptr_t)o->unix_path };
        struct profile_record special = { .allow_special = true };

        if (o->unix_path[0] && is_in_scope(g, o) && is_granted(g, o))
            r = add_rule(g, &path, NULL, 0, &special);
    }
    return r;
}

int reach_compile(const struct policy *policy, const struct ulid *agent, int64_t now_ms,
                  struct agent_reach **ret_reach)
{
    AUTO(agent_reach_freep) struct agent_reach *reach = agent_reach_new();
    struct gather g = { .policy = policy, .agent = agent, .now_ms = now_ms, .reach = reach };
    struct host_pattern any = { .kind = HOST_ANY };
    int r;

    if (!reach)
        return -ENOMEM;
    r = gather_grants(&g);
    if (!r)
        r = add_profiles(&g);
    if (!r && g.has_all)
        r = add_rule(&g, &any, NULL, 0, NULL);
    if (!r)
        r = add_overrides(&g);
    free(g.profiles);
    if (r)
        return r;
    agent_reach_finish(reach);
    *ret_reach = TAKE(reach);
    return 0;
}
