#include "controlplane/publish/reach_compile.h"

#include <errno.h>
#include <string.h>

struct membership {                     /* of a touched agent, in a group that some grant gives */
    size_t agent;                       /* position among the touched */
    const struct reach_group *group;
};

struct gather {
    const struct reach_cache *cache;
    const struct policy *policy;
    const struct touched *agents;
    struct membership *memberships;
    size_t count, room;
    const struct override_record **sockets;
    size_t socket_count, socket_room;
};

static void gather_deinit(struct gather *g)
{
    free(g->memberships);
    free(g->sockets);
}

static int by_text(const void *a, const void *b)
{
    return memcmp(((const struct ulid *)a)->text, ((const struct ulid *)b)->text, ULID_LEN);
}

static int by_agent(const void *a, const void *b)
{
    size_t x = ((const struct membership *)a)->agent, y = ((const struct membership *)b)->agent;

    return x < y ? -1 : x > y;
}

static int add_membership(struct gather *g, const struct ulid *agent, const struct reach_group *group)
{
    const struct ulid *found = bsearch(agent, g->agents->ids, g->agents->count, sizeof(*agent), by_text);

    if (!found)
        return 0;
    if (g->count == g->room) {
        size_t room = g->room ? 2 * g->room : 64;
        struct membership *m = realloc(g->memberships, room * sizeof(*m));

        if (!m)
            return -ENOMEM;
        g->memberships = m;
        g->room = room;
    }
    g->memberships[g->count++] = (struct membership){ (size_t)(found - g->agents->ids), group };
    return 0;
}

static int gather_memberships(struct gather *g)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;
    int r = 0;

    while (!r && (node = map_next(&g->cache->groups, &cursor))) {
        const struct reach_group *group = container_of(node, struct reach_group, node);
        const struct agentgroup_record *record = policy_agentgroup(g->policy, &group->id);

        for (size_t i = 0; record && !r && i < record->member_count; i++)
            if (record->members[i].is_enabled)
                r = add_membership(g, &record->members[i].agent, group);
    }
    if (!r && g->count)
        qsort(g->memberships, g->count, sizeof(*g->memberships), by_agent);
    return r;
}

static int gather_sockets(struct gather *g)
{
    struct policy_cursor cursor = { 0 };
    const struct record *each;

    while ((each = policy_next(g->policy, RECORD_OVERRIDE, &cursor))) {
        const struct override_record *o = RECORD_AS(each, OVERRIDE, override_record);

        if (!o->unix_path[0])
            continue;
        if (g->socket_count == g->socket_room) {
            size_t room = g->socket_room ? 2 * g->socket_room : 16;
            const struct override_record **s = realloc(g->sockets, room * sizeof(*s));

            if (!s)
                return -ENOMEM;
            g->sockets = s;
            g->socket_room = room;
        }
        g->sockets[g->socket_count++] = o;
    }
    return 0;
}

/* ---- one agent ---- */

struct one {
    const struct gather *g;
    const struct ulid *agent;
    const struct membership *memberships;
    size_t count;
    const struct profile_record **profiles;     /* each once */
    size_t profile_count;
    bool has_all;
    struct agent_reach *reach;
};

static int by_pointer(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)*(const void *const *)a, y = (uintptr_t)*(const void *const *)b;

    return x < y ? -1 : x > y;
}

static size_t count_pairs(const struct one *o)
{
    size_t n = 0;

    for (size_t i = 0; i < o->count; i++)
        LIST_EACH(&o->memberships[i].group->pairs, node)
            n++;
    return n;
}

static int gather_profiles(struct one *o)
{
    size_t kept = 0;

    o->profiles = calloc(count_pairs(o) + 1, sizeof(*o->profiles));
    if (!o->profiles)
        return -ENOMEM;
    for (size_t i = 0; i < o->count; i++) {
        LIST_EACH(&o->memberships[i].group->pairs, node) {
            const struct reach_pair *pair = container_of(node, struct reach_pair, in_group);
            const struct profile_record *profile = policy_profile(o->g->policy, &pair->profile);

            o->has_all |= !pair->profile.text[0];
            if (profile)
                o->profiles[o->profile_count++] = profile;
        }
    }
    qsort(o->profiles, o->profile_count, sizeof(*o->profiles), by_pointer);
    for (size_t i = 0; i < o->profile_count; i++)
        if (!kept || o->profiles[kept - 1] != o->profiles[i])
            o->profiles[kept++] = o->profiles[i];
    o->profile_count = kept;
    return 0;
}

static int add_rule(struct one *o, const struct host_pattern *host, const struct port_range *ports,
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
    r = agent_reach_add(o->reach, &rule);
    if (r)
        host_pattern_deinit(&rule.host);
    return r;
}

/* A rule holds ACL_PORTS_MAX ranges; a profile with more becomes several rules. */
static int add_host(struct one *o, const struct profile_record *profile, const struct host_pattern *host)
{
    size_t done = 0;
    int r;

    do {
        size_t left = profile->port_count - done;
        size_t n = left < ACL_PORTS_MAX ? left : ACL_PORTS_MAX;

        r = add_rule(o, host, profile->ports + done, n, profile);
        done += n;
    } while (!r && done < profile->port_count);
    return r;
}

static int add_profiles(struct one *o)
{
    struct host_pattern any = { .kind = HOST_ANY };
    int r = o->has_all ? add_rule(o, &any, NULL, 0, NULL) : 0;

    for (size_t i = 0; i < o->profile_count; i++)
        for (size_t k = 0; !r && k < o->profiles[i]->host_count; k++)
            r = add_host(o, o->profiles[i], &o->profiles[i]->hosts[k]);
    return r;
}

static bool is_in_scope(const struct one *o, const struct override_record *override)
{
    switch (override->scope) {
    case OVERRIDE_ALL:
        return true;
    case OVERRIDE_AGENT:
        return memcmp(override->scope_id.text, o->agent->text, ULID_LEN) == 0;
    case OVERRIDE_AGENTGROUP:
        break;
    }
    for (size_t i = 0; i < o->count; i++)
        if (memcmp(o->memberships[i].group->id.text, override->scope_id.text, ULID_LEN) == 0)
            return true;
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
static bool is_granted(const struct one *o, const struct override_record *override)
{
    bool is_exact = override->host.kind == HOST_EXACT;
    struct target t;

    if (is_exact && !target_parse(span_str(override->host.text), 1, &t))
        return false;
    for (size_t i = 0; i < o->profile_count; i++)
        if (o->profiles[i]->allow_special && (!is_exact || profile_covers(o->profiles[i], &t)))
            return true;
    return false;
}

static int add_sockets(struct one *o)
{
    struct profile_record special = { .allow_special = true };
    int r = 0;

    for (size_t i = 0; !r && i < o->g->socket_count; i++) {
        const struct override_record *override = o->g->sockets[i];
        struct host_pattern path = { .kind = HOST_UNIX, .text = (char *)(uintptr_t)override->unix_path };

        if (is_in_scope(o, override) && is_granted(o, override))
            r = add_rule(o, &path, NULL, 0, &special);
    }
    return r;
}

static int compile_one(struct one *o)
{
    int r = gather_profiles(o);

    if (!r)
        r = add_profiles(o);
    if (!r)
        r = add_sockets(o);
    if (!r)
        agent_reach_finish(o->reach);
    return r;
}

static int give_one(const struct gather *g, size_t agent, const struct membership *memberships,
                    size_t count, reach_fn fn, void *ctx)
{
    AUTO(agent_reach_freep) struct agent_reach *reach = agent_reach_new();
    struct one o = { .g = g, .agent = &g->agents->ids[agent], .memberships = memberships,
                     .count = count, .reach = reach };
    int r;

    if (!reach)
        return -ENOMEM;
    r = compile_one(&o);
    free(o.profiles);
    if (r && r != -ENOSPC)
        return r;
    return fn(ctx, o.agent, r ? NULL : reach);
}

int reach_compile(const struct reach_cache *cache, const struct policy *policy,
                  const struct touched *agents, reach_fn fn, void *ctx)
{
    AUTO(gather_deinit) struct gather g = { .cache = cache, .policy = policy, .agents = agents };
    size_t at = 0;
    int r;

    if (!agents->count)
        return 0;
    r = gather_memberships(&g);
    if (!r)
        r = gather_sockets(&g);
    for (size_t i = 0; !r && i < agents->count; i++) {
        size_t first = at;

        while (at < g.count && g.memberships[at].agent == i)
            at++;
        r = give_one(&g, i, g.memberships + first, at - first, fn, ctx);
    }
    return r;
}
