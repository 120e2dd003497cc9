#include "controlplane/publish/reach_cache.h"

#include <errno.h>
#include <string.h>

struct reach_grant {
    struct map_node node;               /* by id */
    struct reach_pair *pair;
    int64_t end_ms;
    char id[ULID_LEN];
};

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

static int touch_members(struct touched *t, const struct agentgroup_record *group)
{
    int r = 0;

    for (size_t i = 0; group && !r && i < group->member_count; i++)
        r = touched_add(t, &group->members[i].agent);
    return r;
}

static int touch_group(struct touched *t, const struct policy *policy, const struct ulid *group)
{
    return touch_members(t, policy_agentgroup(policy, group));
}

/* ---- grants, pairs, groups ---- */

void reach_cache_init(struct reach_cache *c)
{
    map_init(&c->grants, POLICY_RECORDS_MAX);
    map_init(&c->pairs, POLICY_RECORDS_MAX);
    map_init(&c->groups, POLICY_RECORDS_MAX);
}

static void free_nodes(struct map *m, size_t offset)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(m, &cursor)))
        free((char *)node - offset);
    map_deinit(m);
}

void reach_cache_deinit(struct reach_cache *c)
{
    free_nodes(&c->grants, offsetof(struct reach_grant, node));
    free_nodes(&c->pairs, offsetof(struct reach_pair, node));
    free_nodes(&c->groups, offsetof(struct reach_group, node));
    reach_cache_init(c);
}

static int need_group(struct reach_cache *c, const struct ulid *id, struct reach_group **ret_group)
{
    struct map_node *found = map_find(&c->groups, ulid_span(id));
    AUTO(freep) struct reach_group *group = NULL;
    int r;

    if (found) {
        *ret_group = container_of(found, struct reach_group, node);
        return 0;
    }
    group = calloc(1, sizeof(*group));
    if (!group)
        return -ENOMEM;
    group->id = *id;
    list_init(&group->pairs);
    r = map_insert(&c->groups, &group->node, ulid_span(&group->id));
    if (!r)
        *ret_group = TAKE(group);
    return r;
}

static void pair_key(const struct ulid *group, const struct ulid *profile, char key[2 * ULID_LEN])
{
    memcpy(key, group->text, ULID_LEN);
    memset(key + ULID_LEN, ' ', ULID_LEN);
    if (profile->text[0])
        memcpy(key + ULID_LEN, profile->text, ULID_LEN);
}

static struct reach_pair *find_pair(const struct reach_cache *c, const struct ulid *group,
                                    const struct ulid *profile)
{
    char key[2 * ULID_LEN];
    struct map_node *found;

    pair_key(group, profile, key);
    found = map_find(&c->pairs, span_of(key, sizeof(key)));
    return found ? container_of(found, struct reach_pair, node) : NULL;
}

static int need_pair(struct reach_cache *c, const struct ulid *group, const struct ulid *profile,
                     struct reach_pair **ret_pair)
{
    struct reach_pair *found = find_pair(c, group, profile);
    AUTO(freep) struct reach_pair *pair = NULL;
    int r;

    if (found) {
        *ret_pair = found;
        return 0;
    }
    pair = calloc(1, sizeof(*pair));
    if (!pair)
        return -ENOMEM;
    list_init(&pair->in_group);
    pair->profile = *profile;
    pair_key(group, profile, pair->key);
    r = need_group(c, group, &pair->group);
    if (!r)
        r = map_insert(&c->pairs, &pair->node, span_of(pair->key, sizeof(pair->key)));
    if (r)
        return r;
    list_append(&pair->group->pairs, &pair->in_group);
    *ret_pair = TAKE(pair);
    return 0;
}

/* A pair without grants goes, and its group without pairs. */
static void drop_pair(struct reach_cache *c, struct reach_pair *pair)
{
    struct reach_group *group = pair->group;

    map_remove(&c->pairs, &pair->node);
    list_remove(&pair->in_group);
    free(pair);
    if (!list_is_empty(&group->pairs))
        return;
    map_remove(&c->groups, &group->node);
    free(group);
}

static const struct ulid *group_of_grant(const struct policy *p, const struct grant_record *g)
{
    const struct profile_record *profile;

    if (g->agentgroup.text[0] || !g->profile.text[0])
        return &g->agentgroup;
    profile = policy_profile(p, &g->profile);
    return profile ? &profile->agentgroup : &g->agentgroup;
}

static int put_grant(struct reach_cache *c, const struct grant_record *record, struct reach_pair *pair)
{
    AUTO(freep) struct reach_grant *grant = calloc(1, sizeof(*grant));
    int r;

    if (!grant)
        return -ENOMEM;
    memcpy(grant->id, record->record.id, ULID_LEN);
    grant->pair = pair;
    grant->end_ms = record->end_ms;
    r = map_insert(&c->grants, &grant->node, span_of(grant->id, ULID_LEN));
    if (r)
        return r;
    pair->grants++;
    (void)TAKE(grant);
    return 0;
}

static int forget_grant(struct reach_cache *c, const struct policy *policy, struct reach_grant *grant,
                        struct touched *t)
{
    struct reach_pair *pair = grant->pair;
    int r = 0;

    map_remove(&c->grants, &grant->node);
    free(grant);
    if (--pair->grants)
        return 0;
    if (t)
        r = touch_group(t, policy, &pair->group->id);
    drop_pair(c, pair);
    return r;
}

/* `record` NULL: gone.  The new pair is counted before the old one is let go, so that what
 * stays the same touches nobody.  `t` NULL: nobody asks. */
static int set_grant(struct reach_cache *c, const struct policy *policy, struct span id,
                     const struct grant_record *record, int64_t now_ms, struct touched *t)
{
    struct map_node *found = map_find(&c->grants, id);
    struct reach_grant *old = found ? container_of(found, struct reach_grant, node) : NULL;
    bool is_live = record && (!record->end_ms || record->end_ms > now_ms);
    const struct ulid *group = is_live ? group_of_grant(policy, record) : NULL;
    struct reach_pair *pair = NULL, *old_pair = old ? old->pair : NULL;
    int r = 0;

    if (group && group->text[0])
        r = need_pair(c, group, &record->profile, &pair);
    if (r)
        return r;
    if (pair && pair == old_pair) {
        old->end_ms = record->end_ms;
        return 0;
    }
    if (pair && !pair->grants && t)
        r = touch_group(t, policy, group);
    if (!r && old)
        r = forget_grant(c, policy, old, t);
    return r || !pair ? r : put_grant(c, record, pair);
}

int reach_cache_fill(struct reach_cache *c, const struct policy *policy, int64_t now_ms)
{
    struct policy_cursor cursor = { 0 };
    const struct record *each;
    int r = 0;

    reach_cache_deinit(c);
    while (!r && (each = policy_next(policy, RECORD_GRANT, &cursor)))
        r = set_grant(c, policy, record_id(each), RECORD_AS(each, GRANT, grant_record), now_ms, NULL);
    return r;
}

/* ---- changes ---- */

/* Some grants follow the profile's default group. */
static int move_grants(struct reach_cache *c, const struct policy *policy, struct span profile,
                       int64_t now_ms, struct touched *t)
{
    struct policy_cursor cursor = { 0 };
    const struct record *each;
    int r = 0;

    while (!r && (each = policy_next(policy, RECORD_GRANT, &cursor))) {
        const struct grant_record *g = RECORD_AS(each, GRANT, grant_record);

        if (!g->agentgroup.text[0] && span_eq(ulid_span(&g->profile), profile))
            r = set_grant(c, policy, record_id(each), g, now_ms, t);
    }
    return r;
}

static int change_profile(struct reach_cache *c, const struct policy *before, const struct policy *after,
                          const struct policy_change *change, int64_t now_ms, struct touched *t)
{
    const struct profile_record *was = RECORD_AS(policy_find(before, RECORD_PROFILE, change->id),
                                                 PROFILE, profile_record);
    const struct profile_record *is = RECORD_AS(change->put, PROFILE, profile_record);
    struct map_cursor cursor = { 0 };
    struct map_node *node;
    struct ulid id;
    int r = 0;

    if (!ulid_parse(change->id, &id))
        return 0;
    if (was && is && memcmp(was->agentgroup.text, is->agentgroup.text, ULID_LEN) != 0)
        r = move_grants(c, after, change->id, now_ms, t);
    while (!r && (node = map_next(&c->groups, &cursor))) {
        const struct reach_group *group = container_of(node, struct reach_group, node);

        if (find_pair(c, &group->id, &id))
            r = touch_group(t, after, &group->id);
    }
    return r;
}

static int by_member(const void *a, const void *b)
{
    return memcmp(((const struct agentgroup_member *)a)->agent.text,
                  ((const struct agentgroup_member *)b)->agent.text, ULID_LEN);
}

static struct agentgroup_member *sorted_members(const struct agentgroup_record *group)
{
    size_t count = group ? group->member_count : 0;
    struct agentgroup_member *members = calloc(count + 1, sizeof(*members));

    if (members && count) {
        memcpy(members, group->members, count * sizeof(*members));
        qsort(members, count, sizeof(*members), by_member);
    }
    return members;
}

/* Those who came, went, or were switched: not the others. */
static int change_group(const struct agentgroup_record *was, const struct agentgroup_record *is,
                        struct touched *t)
{
    AUTO(freep) struct agentgroup_member *old = sorted_members(was), *new = sorted_members(is);
    size_t old_count = was ? was->member_count : 0, new_count = is ? is->member_count : 0;
    size_t i = 0, k = 0;
    int r = 0;

    if (!old || !new)
        return -ENOMEM;
    while (!r && (i < old_count || k < new_count)) {
        int order = i == old_count ? 1 : k == new_count ? -1 : by_member(&old[i], &new[k]);

        if (order < 0 || (order == 0 && old[i].is_enabled != new[k].is_enabled))
            r = touched_add(t, &old[i].agent);
        else if (order > 0)
            r = touched_add(t, &new[k].agent);
        i += order <= 0;
        k += order >= 0;
    }
    return r;
}

static int touch_all(const struct policy *policy, struct touched *t)
{
    struct policy_cursor cursor = { 0 };
    const struct record *each;
    struct ulid id;
    int r = 0;

    while (!r && (each = policy_next(policy, RECORD_AGENT, &cursor)))
        if (ulid_parse(record_id(each), &id))
            r = touched_add(t, &id);
    return r;
}

/* Only sockets are of interest: names and addresses are the profiles'. */
static int change_override(const struct policy *policy, const struct override_record *o, struct touched *t)
{
    if (!o || !o->unix_path[0])
        return 0;
    switch (o->scope) {
    case OVERRIDE_AGENT:
        return touched_add(t, &o->scope_id);
    case OVERRIDE_AGENTGROUP:
        return touch_group(t, policy, &o->scope_id);
    case OVERRIDE_ALL:
        break;
    }
    return touch_all(policy, t);
}

static int change_agent(const struct policy *before, const struct policy_change *change, struct touched *t)
{
    bool was = policy_find(before, RECORD_AGENT, change->id) != NULL;
    struct ulid id;

    if (was == (change->put != NULL) || !ulid_parse(change->id, &id))
        return 0;
    return touched_add(t, &id);
}

static int apply_change(struct reach_cache *c, const struct policy *before, const struct policy *after,
                        const struct policy_change *change, int64_t now_ms, struct touched *t)
{
    const struct record *was = policy_find(before, change->kind, change->id);
    int r;

    switch (change->kind) {
    case RECORD_AGENT:
        return change_agent(before, change, t);
    case RECORD_AGENTGROUP:
        return change_group(RECORD_AS(was, AGENTGROUP, agentgroup_record),
                            RECORD_AS(change->put, AGENTGROUP, agentgroup_record), t);
    case RECORD_PROFILE:
        return change_profile(c, before, after, change, now_ms, t);
    case RECORD_GRANT:
        return set_grant(c, after, change->id, RECORD_AS(change->put, GRANT, grant_record), now_ms, t);
    case RECORD_OVERRIDE:
        r = change_override(after, RECORD_AS(was, OVERRIDE, override_record), t);
        return r ? r : change_override(after, RECORD_AS(change->put, OVERRIDE, override_record), t);
    case RECORD_USER:
    case RECORD_GROUP:
    case RECORD_CREDENTIAL:
    case RECORD_LOCK:
    case RECORD_CUT:
    case RECORD_RELAY:
    case RECORD_AGENTPOLICY:
    case RECORD_SETTING:
    case RECORD_QUOTA:
    case RECORD_KIND_COUNT:
        break;
    }
    return 0;
}

int reach_cache_change(struct reach_cache *c, const struct policy *before, const struct policy *after,
                       const struct policy_change *changes, size_t n, int64_t now_ms, struct touched *t)
{
    int r = 0;

    for (size_t i = 0; !r && i < n; i++)
        r = apply_change(c, before, after, &changes[i], now_ms, t);
    return r;
}

int reach_cache_expire(struct reach_cache *c, const struct policy *policy, int64_t now_ms, struct touched *t)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;
    int r = 0;

    while (!r && (node = map_next(&c->grants, &cursor))) {
        struct reach_grant *grant = container_of(node, struct reach_grant, node);

        if (grant->end_ms && grant->end_ms <= now_ms)
            r = forget_grant(c, policy, grant, t);
    }
    return r;
}
