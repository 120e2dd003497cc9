/* Whom a change can touch, user by user; what of his targets, in compare_pieces.c. */
#include "lib/policy/compare_internal.h"
#include "lib/policy/match_internal.h"
#include <errno.h>
#include <string.h>

/* ---- sets of ids ---- */
struct id_node {
    struct map_node node;
    struct ulid id;
};

static int ids_add(struct map *m, const char *id)
{
    struct id_node *n;
    int r;

    if (!id[0] || map_find(m, span_str(id)))
        return 0;
    n = calloc(1, sizeof(*n));
    if (!n)
        return -ENOMEM;
    span_copy(span_str(id), n->id.text, sizeof(n->id.text));
    r = map_insert(m, &n->node, ulid_span(&n->id));
    if (r)
        free(n);
    return r;
}

static bool ids_have(const struct map *m, const char *id)
{
    return m->count && id[0] && map_find(m, span_str(id));
}

static void ids_free(struct map *m)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(m, &cursor)))
        free(container_of(node, struct id_node, node));
    map_deinit(m);
}

/* ---- what changed ---- */
static int add_hosts(struct comparing *c, struct spots *s, const struct profile_record *profile)
{
    int r = 0;

    for (size_t i = 0; profile && !r && i < profile->host_count; i++)
        r = spots_add(c, s, &profile->hosts[i], profile->ports, profile->port_count);
    return r;
}

static int on_id(struct comparing *c, const struct side *side, const struct record *r)
{
    (void)side;
    c->has_agents |= r->kind == RECORD_AGENT;
    return ids_add(&c->touched, r->id);
}

/* A locked profile refuses everybody what it names, so its hosts are everybody's matter. */
static int on_profile(struct comparing *c, const struct side *side, const struct record *r)
{
    const struct profile_record *profile = RECORD_AS(r, PROFILE, profile_record);
    struct ulid id;
    int rc = on_id(c, side, r);

    memcpy(id.text, r->id, sizeof(id.text));
    if (!rc && match_lock(side->policy, LOCK_PROFILE, &id, c->q->now_ms))
        rc = add_hosts(c, &c->wide, profile);
    return rc;
}

static int on_lock(struct comparing *c, const struct side *side, const struct record *r)
{
    const struct lock_record *lock = RECORD_AS(r, LOCK, lock_record);
    int rc;

    if (lock->lock_kind == LOCK_ADDRESS) {
        c->is_all_touched = true;
        sources_add(c, c->lock_sources, &c->lock_source_count, &lock->address.base);
        return 0;
    }
    c->has_agents |= lock->lock_kind == LOCK_AGENT;
    rc = ids_add(&c->touched, lock->target.text);
    if (!rc && lock->lock_kind == LOCK_PROFILE)
        rc = add_hosts(c, &c->wide, policy_profile(side->policy, &lock->target));
    return rc;
}

/* Where it leads to a socket, the profile must allow that. */
static int on_override(struct comparing *c, const struct side *side, const struct record *r)
{
    (void)side;
    return spots_add(c, &c->wide, &RECORD_AS(r, OVERRIDE, override_record)->host, NULL, 0);
}

static int note_changed(struct comparing *c)
{
    static int (*const notes[RECORD_KIND_COUNT])(struct comparing *c, const struct side *side,
                                                 const struct record *r) = {
        [RECORD_USER] = on_id, [RECORD_GRANT] = on_id, [RECORD_AGENT] = on_id, [RECORD_AGENTGROUP] = on_id,
        [RECORD_PROFILE] = on_profile, [RECORD_LOCK] = on_lock, [RECORD_OVERRIDE] = on_override,
    };
    int rc = 0;

    for (size_t i = 0; i < c->q->changed_count; i++) {
        const struct compare_changed *changed = &c->q->changed[i];

        for (size_t s = 0; !rc && s < 2 && notes[changed->kind]; s++) {
            const struct record *r = policy_find(c->sides[s].policy, changed->kind, ulid_span(&changed->id));

            rc = r ? notes[changed->kind](c, &c->sides[s], r) : 0;
        }
    }
    return rc;
}

static bool is_nothing_touched(const struct comparing *c)
{
    return !c->is_all_touched && !c->touched.count && !c->wide.count;
}

/* ---- where decisions may differ, whoever asks ---- */
static int add_locks(struct comparing *c, const struct side *side)
{
    struct policy_cursor cursor = { 0 };
    const struct record *r;
    int rc = 0;

    while (!rc && (r = policy_next(side->policy, RECORD_LOCK, &cursor))) {
        const struct lock_record *lock = RECORD_AS(r, LOCK, lock_record);

        if (lock->lock_kind == LOCK_PROFILE)
            rc = add_hosts(c, &c->common, policy_profile(side->policy, &lock->target));
        else if (lock->lock_kind == LOCK_ADDRESS)
            rc = spots_add(c, &c->common, &(struct host_pattern){ .kind = HOST_CIDR, .cidr = lock->address }, NULL, 0);
    }
    return rc;
}

static bool has_sockets(const struct side *side)
{
    struct policy_cursor cursor = { 0 };
    const struct record *r;

    while ((r = policy_next(side->policy, RECORD_OVERRIDE, &cursor))) {
        if (RECORD_AS(r, OVERRIDE, override_record)->unix_path[0])
            return true;
    }
    return false;
}

static int add_overrides(struct comparing *c, const struct side *side)
{
    struct policy_cursor cursor = { 0 };
    const struct record *r;
    int rc = 0;

    if (!has_sockets(&c->sides[0]) && !has_sockets(&c->sides[1]))
        return 0;
    while (!rc && (r = policy_next(side->policy, RECORD_OVERRIDE, &cursor)))
        rc = spots_add(c, &c->common, &RECORD_AS(r, OVERRIDE, override_record)->host, NULL, 0);
    return rc;
}

/* ---- grants ---- */
static const struct ulid *group_of(const struct side *side, const struct grant_record *g)
{
    const struct profile_record *profile = policy_profile(side->policy, &g->profile);

    return match_is_set(&g->agentgroup) || !profile ? &g->agentgroup : &profile->agentgroup;
}

static int by_subject(const void *a, const void *b)
{
    const struct side_grant *x = a, *y = b;

    return strcmp(x->grant->subject.text, y->grant->subject.text);
}

static int gather_grants(struct comparing *c, struct side *side)
{
    struct policy_cursor cursor = { 0 };
    const struct record *r;
    size_t count = policy_count(side->policy, RECORD_GRANT);
    int rc = 0;

    side->grants = calloc(count + 1, sizeof(*side->grants));
    if (!side->grants)
        return -ENOMEM;
    while (!rc && side->count < count && (r = policy_next(side->policy, RECORD_GRANT, &cursor))) {
        const struct grant_record *g = RECORD_AS(r, GRANT, grant_record);
        bool is_touched = c->is_all_touched || ids_have(&c->touched, r->id) ||
                          ids_have(&c->touched, g->profile.text) ||
                          ids_have(&c->touched, group_of(side, g)->text);

        side->grants[side->count++] = (struct side_grant){ g, is_touched };
        if (is_touched)
            rc = ids_add(&c->subjects, g->subject.text);
    }
    qsort(side->grants, side->count, sizeof(*side->grants), by_subject);
    return rc;
}

/* Groups that an agent that is touched is in. */
static int touch_groups(struct comparing *c, const struct side *side)
{
    struct policy_cursor cursor = { 0 };
    const struct record *r;
    int rc = 0;

    while (c->has_agents && !rc && (r = policy_next(side->policy, RECORD_AGENTGROUP, &cursor))) {
        const struct agentgroup_record *group = RECORD_AS(r, AGENTGROUP, agentgroup_record);

        for (size_t i = 0; !rc && i < group->member_count; i++) {
            if (ids_have(&c->touched, group->members[i].agent.text))
                rc = ids_add(&c->touched, r->id);
        }
    }
    return rc;
}

/* ---- one user ---- */

/* An agent's own list may allow some of a target's ports or names only. */
static int know_agents(struct comparing *c, const struct side *side, const struct ulid *group_id)
{
    const struct agentgroup_record *group = policy_agentgroup(side->policy, group_id);
    int rc = 0;

    for (size_t i = 0; group && !rc && i < group->member_count; i++) {
        const struct agent_record *agent = policy_agent(side->policy, &group->members[i].agent);

        for (size_t k = 0; agent && agent->has_acl && !rc && k < agent->allow_count; k++)
            rc = spots_add(c, &c->known, &agent->allow[k].host, agent->allow[k].ports, agent->allow[k].port_count);
        for (size_t k = 0; agent && agent->has_acl && !rc && k < agent->deny_count; k++)
            rc = spots_add(c, &c->known, &agent->deny[k].host, agent->deny[k].ports, agent->deny[k].port_count);
    }
    return rc;
}

static int add_anywhere(struct comparing *c, const struct profile_record *profile)
{
    const struct port_range *ports = profile ? profile->ports : NULL;
    size_t count = profile ? profile->port_count : 0;
    struct host_pattern v4 = { .kind = HOST_CIDR, .cidr = { .base = addr_v4(0, 0, 0, 0), .bits = 96 } };
    int rc = spots_add(c, &c->areas, &(struct host_pattern){ .kind = HOST_ANY }, ports, count);

    if (!rc && !profile)
        rc = spots_add(c, &c->areas, &v4, NULL, 0);
    if (!rc && !profile)
        rc = spots_add(c, &c->areas, &(struct host_pattern){ .kind = HOST_CIDR }, NULL, 0);
    return rc;
}

static int look_at_grant(struct comparing *c, const struct side *side, const struct side_grant *sg, bool is_whole)
{
    const struct grant_record *g = sg->grant;
    const struct profile_record *profile = policy_profile(side->policy, &g->profile);
    bool is_anywhere = !match_is_set(&g->profile) || (profile && profile->match_resolved);
    int rc = add_hosts(c, &c->known, profile);

    c->has_anywhere |= is_anywhere;
    for (size_t i = 0; i < g->source_count; i++)
        sources_add(c, c->sources, &c->source_count, &g->sources[i].base);
    if (!rc)
        rc = know_agents(c, side, group_of(side, g));
    if (rc || !(is_whole || sg->is_touched))
        return rc;
    rc = add_hosts(c, &c->areas, profile);
    return !rc && is_anywhere ? add_anywhere(c, profile) : rc;
}

static int look_at_subject(struct comparing *c, const struct side *side, const char *subject, bool is_whole)
{
    size_t low = 0, high = side->count;
    int rc = 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(side->grants[middle].grant->subject.text, subject) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; !rc && low < side->count && strcmp(side->grants[low].grant->subject.text, subject) == 0; low++)
        rc = look_at_grant(c, side, &side->grants[low], is_whole);
    return rc;
}

/* Whether the user's id, or one of its groups', is in the set. */
static bool any_in(const struct comparing *c, const struct map *m)
{
    for (size_t s = 0; s < 2; s++) {
        const struct user_record *u = c->users[s];

        if (u && ids_have(m, u->record.id))
            return true;
        for (size_t i = 0; u && i < u->group_count; i++) {
            if (ids_have(m, u->groups[i].text))
                return true;
        }
    }
    return false;
}

static void begin_user(struct comparing *c)
{
    struct addr here = addr_v4(127, 0, 0, 1);

    c->known.count = c->areas.count = c->source_count = 0;
    c->has_anywhere = false;
    sources_add(c, c->sources, &c->source_count, &here);
    for (size_t i = 0; i < c->lock_source_count; i++)
        sources_add(c, c->sources, &c->source_count, &c->lock_sources[i]);
}

static int compare_user(struct comparing *c, const struct user_record *before, const struct user_record *after)
{
    bool is_whole;
    int rc = 0;

    c->users[0] = before;
    c->users[1] = after;
    if (!(before && before->is_active) && !(after && after->is_active))
        return 0;
    is_whole = c->is_all_touched || any_in(c, &c->touched);
    if (!is_whole && !c->wide.count && !any_in(c, &c->subjects))
        return 0;
    begin_user(c);
    for (size_t s = 0; !rc && s < 2; s++) {
        const struct user_record *u = c->users[s];

        if (u)
            rc = look_at_subject(c, &c->sides[s], u->record.id, is_whole);
        for (size_t i = 0; u && !rc && i < u->group_count; i++)
            rc = look_at_subject(c, &c->sides[s], u->groups[i].text, is_whole);
    }
    return rc ? rc : pieces_compare(c);
}

static const struct user_record *same_user(const struct side *side, const struct record *r)
{
    return RECORD_AS(policy_find(side->policy, RECORD_USER, record_id(r)), USER, user_record);
}

static int compare_users(struct comparing *c)
{
    struct policy_cursor before = { 0 }, after = { 0 };
    const struct record *r;
    int rc = 0;

    while (!rc && !c->is_spent && (r = policy_next(c->sides[0].policy, RECORD_USER, &before)))
        rc = compare_user(c, RECORD_AS(r, USER, user_record), same_user(&c->sides[1], r));
    while (!rc && !c->is_spent && (r = policy_next(c->sides[1].policy, RECORD_USER, &after))) {
        if (!same_user(&c->sides[0], r))
            rc = compare_user(c, NULL, RECORD_AS(r, USER, user_record));
    }
    return rc;
}

/* ---- the whole ---- */
static void comparing_deinit(struct comparing *c)
{
    ids_free(&c->touched);
    ids_free(&c->subjects);
    free(c->sides[0].grants);
    free(c->sides[1].grants);
    free(c->wide.items);
    free(c->common.items);
    free(c->known.items);
    free(c->areas.items);
    free(c->pieces);
    free(c);
}
DEFINE_FREEP(comparing, comparing_deinit)

static int prepare(struct comparing *c)
{
    int rc = 0;

    for (size_t s = 0; !rc && s < 2; s++) {
        rc = touch_groups(c, &c->sides[s]);
        if (!rc)
            rc = add_locks(c, &c->sides[s]);
        if (!rc)
            rc = add_overrides(c, &c->sides[s]);
    }
    for (size_t s = 0; !rc && s < 2; s++)       /* a group may have had the agent on one side only */
        rc = gather_grants(c, &c->sides[s]);
    return rc;
}

int policy_compare(const struct compare_question *q, struct compare_summary *ret_summary)
{
    AUTO(comparing_deinitp) struct comparing *c = calloc(1, sizeof(*c));
    int rc;

    if (!c)
        return -ENOMEM;
    *ret_summary = (struct compare_summary){ 0 };
    c->q = q;
    c->summary = ret_summary;
    c->sides[0].policy = q->before;
    c->sides[1].policy = q->after;
    map_init(&c->touched, POLICY_RECORDS_MAX);
    map_init(&c->subjects, POLICY_RECORDS_MAX);
    rc = note_changed(c);
    if (rc || is_nothing_touched(c))
        return rc;
    rc = prepare(c);
    return rc ? rc : compare_users(c);
}
