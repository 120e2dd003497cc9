#include "lib/policy/decide.h"
#include "lib/base/hash.h"
#include "lib/policy/match_internal.h"
#include <string.h>

/* One decision while it is being made. */
struct deciding {
    const struct policy *p;
    const struct policy_question *q;
    struct policy_decision *d;
    struct match_look *look;
    enum reason grant_failure;          /* the first of a grant that was not in force */
    enum reason agent_failure;          /* the first of a grant in force without an agent */
    const struct profile_record *profile;       /* whose grants are looked at */
    bool is_resolved;                   /* it came by match_resolved */
};

/* The best member so far, and what the weighted mode counts. */
struct pick {
    bool is_found;
    const struct agentgroup_member *member;
    const struct agent_record *agent;
    const struct override_record *override;
    struct agent_live live;
    uint64_t weight_seen;
    size_t seen;
    const struct quota_record *quota;   /* that refuses it */
    uint64_t wait_ms;                   /* how long quota or breaker will */
};

static void refuse(struct deciding *w, enum record_kind kind, struct span id,
                   const struct ulid *agentgroup, enum reason reason, uint64_t wait_ms)
{
    struct policy_decision *d = w->d;
    struct policy_refusal *r;

    if (d->refusal_count == POLICY_REFUSALS_MAX) {
        d->refusals_dropped++;
        return;
    }
    r = &d->refusals[d->refusal_count++];
    *r = (struct policy_refusal){ .kind = kind, .reason = reason,
                                  .wait_ms = wait_ms < UINT32_MAX ? (uint32_t)wait_ms : UINT32_MAX };
    if (agentgroup)
        r->agentgroup = *agentgroup;
    span_copy(id, r->id.text, sizeof(r->id.text));
}

/* How far a member got: of several failures the furthest is the one to tell. */
static unsigned rank(enum reason reason)
{
    static const enum reason order[] = {
        REASON_NO_AGENT, REASON_AGENT_REVOKED, REASON_AGENT_DRAINING, REASON_LOCKED,
        REASON_QUOTA_AGENT, REASON_ACL_DENIED, REASON_TARGET_FORBIDDEN, REASON_BREAKER_OPEN,
    };

    for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
        if (order[i] == reason)
            return i;
    }
    return 0;
}

static struct agent_live ask_live(const struct deciding *w, const struct ulid *agent,
                                  const struct ulid *agentgroup)
{
    const struct policy_registry *registry = w->q->registry;
    struct agent_live live = { 0 };

    if (!registry)
        return (struct agent_live){ .is_held = true, .is_proved = true };
    if (!registry->agent(registry->context, agent, agentgroup, &w->q->target, &live))
        live.is_held = false;
    return live;
}

/* Whether a stream more fits into all quotas of that scope; fills in who refuses. */
static bool quota_fits(const struct deciding *w, enum quota_scope scope, struct span id, struct pick *refused)
{
    const struct policy_registry *registry = w->q->registry;
    struct index_hits hits;

    if (w->p->quotas[scope] == 0 || !registry || !registry->quota_has_room)
        return true;
    hits = match_quotas(w->p, scope, id);
    for (size_t i = 0; i < hits.n; i++) {
        const struct quota_record *quota = RECORD_AS(index_hit(&hits, i), QUOTA, quota_record);

        refused->wait_ms = 0;
        if (registry->quota_has_room(registry->context, quota, &refused->wait_ms))
            continue;
        refused->quota = quota;
        return false;
    }
    return true;
}

static enum reason acl_holds(const struct deciding *w, const struct agent_record *agent,
                             const struct override_record *override)
{
    const struct acl acl = match_acl_of(agent);
    bool is_unix = override && override->unix_path[0];

    if (is_unix && !(w->profile && w->profile->allow_special))
        return REASON_TARGET_FORBIDDEN;
    if (!agent->has_acl)
        return REASON_NONE;
    if (is_unix)
        return acl_allows_unix(&acl, span_str(override->unix_path)) ? REASON_NONE
                                                                    : REASON_ACL_DENIED;
    return acl_may_allow(&acl, &w->q->target) ? REASON_NONE : REASON_ACL_DENIED;
}

/* Why the member cannot take it; fills `candidate` as far as it gets. */
static enum reason member_fails(const struct deciding *w, const struct ulid *group_id,
                                struct pick *candidate)
{
    const struct ulid *id = &candidate->member->agent;
    enum reason reason;

    candidate->agent = policy_agent(w->p, id);
    if (!candidate->member->is_enabled)
        return REASON_NO_AGENT;
    if (!candidate->agent || !candidate->agent->is_active)
        return REASON_AGENT_REVOKED;
    candidate->live = ask_live(w, id, group_id);
    if (!candidate->live.is_held)
        return REASON_NO_AGENT;
    if (candidate->live.is_draining)
        return REASON_AGENT_DRAINING;
    if (match_lock(w->p, LOCK_AGENT, id, w->q->now_ms))
        return REASON_LOCKED;
    if (!quota_fits(w, QUOTA_AGENT, ulid_span(id), candidate))
        return REASON_QUOTA_AGENT;
    candidate->override = match_override(w->p, &w->q->target, group_id, id);
    reason = acl_holds(w, candidate->agent, candidate->override);
    if (reason != REASON_NONE)
        return reason;
    if (!candidate->live.is_breaker_open)
        return REASON_NONE;
    candidate->wait_ms = candidate->live.breaker_ms;
    return REASON_BREAKER_OPEN;
}

static int compare(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Below zero: `a` before `b`. */
static int tie(const struct pick *a, const struct pick *b)
{
    int r = compare(b->live.is_own, a->live.is_own);

    if (r == 0)
        r = compare(a->live.streams, b->live.streams);
    return r ? r : strcmp(a->member->agent.text, b->member->agent.text);
}

static int by_priority(const struct pick *a, const struct pick *b)
{
    int r = compare(a->member->priority, b->member->priority);

    return r ? r : tie(a, b);
}

static int by_streams(const struct pick *a, const struct pick *b)
{
    int r = compare(a->live.streams, b->live.streams);

    return r ? r : tie(a, b);
}

static int64_t latency(const struct pick *a)
{
    return a->live.rtt_us ? a->live.rtt_us : (int64_t)UINT32_MAX + 1;
}

static int by_latency(const struct pick *a, const struct pick *b)
{
    int r = compare(latency(a), latency(b));

    return r ? r : tie(a, b);
}

/* One step of splitmix64: a number for each member out of the question's one. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Each member replaces the one before with the chance of its weight in the sum so far, which
 * leaves each with the chance of its weight in the whole. */
static bool wins_by_weight(const struct deciding *w, const struct pick *best,
                           const struct pick *candidate)
{
    uint64_t weight = (uint64_t)candidate->member->weight;

    if (best->weight_seen + weight == 0)
        return by_streams(candidate, best) < 0;
    return mix(w->q->random + best->seen) % (best->weight_seen + weight) < weight;
}

static bool wins(const struct deciding *w, enum routing_mode mode, const struct pick *best,
                 const struct pick *candidate)
{
    typedef int order(const struct pick *a, const struct pick *b);
    static order *const orders[] = {
        [ROUTE_PRIORITY] = by_priority,
        [ROUTE_LEAST_STREAMS] = by_streams,
        [ROUTE_LOWEST_LATENCY] = by_latency,
    };

    if (!best->is_found)
        return true;
    if (mode == ROUTE_WEIGHTED)
        return wins_by_weight(w, best, candidate);
    return orders[mode](candidate, best) < 0;
}

static void consider(const struct deciding *w, enum routing_mode mode, struct pick *best,
                     const struct pick *candidate)
{
    uint64_t weight_seen = best->weight_seen + (uint64_t)candidate->member->weight;
    size_t seen = best->seen + 1;

    if (wins(w, mode, best, candidate)) {
        *best = *candidate;
        best->is_found = true;
    }
    best->weight_seen = weight_seen;
    best->seen = seen;
}

/* The group's choice.  Members that are not proved count only where none is. */
static enum reason choose_agent(struct deciding *w, const struct agentgroup_record *group,
                                const struct ulid *group_id, struct pick *ret_pick)
{
    struct pick best[2] = { 0 };
    enum reason failure = REASON_NO_AGENT;

    for (size_t i = 0; i < group->member_count; i++) {
        struct pick candidate = { .member = &group->members[i] };
        enum reason reason = member_fails(w, group_id, &candidate);

        if (reason == REASON_NONE) {
            consider(w, group->mode, &best[candidate.live.is_proved ? 0 : 1], &candidate);
            continue;
        }
        refuse(w, RECORD_AGENT, ulid_span(&candidate.member->agent), group_id, reason, candidate.wait_ms);
        if (rank(reason) > rank(failure)) {
            failure = reason;
            *ret_pick = candidate;
        }
    }
    if (!best[0].is_found && !best[1].is_found)
        return failure;
    *ret_pick = best[0].is_found ? best[0] : best[1];
    return REASON_NONE;
}

static void set_ranges(struct deciding *w)
{
    const struct target *t = &w->q->target;
    struct policy_decision *d = w->d;

    if (t->is_literal)
        d->ranges[d->range_count++] = (struct cidr){ .base = t->addr, .bits = ADDR_BITS };
    if (!w->is_resolved)
        return;
    for (size_t i = 0; i < w->profile->host_count && d->range_count < POLICY_RANGES_MAX; i++) {
        if (w->profile->hosts[i].kind == HOST_CIDR)
            d->ranges[d->range_count++] = w->profile->hosts[i].cidr;
    }
}

static enum reason grant_fails(const struct deciding *w, const struct grant_record *g)
{
    const struct policy_registry *registry = w->q->registry;
    struct ulid id = { 0 };
    enum reason reason = match_grant_in_force(g, &w->q->source, w->q->now_ms, NULL);

    if (reason != REASON_NONE || g->stream_limit == 0 || !registry || !registry->grant_streams)
        return reason;
    span_copy(record_id(&g->record), id.text, sizeof(id.text));
    return registry->grant_streams(registry->context, &id) < (uint64_t)g->stream_limit
               ? REASON_NONE : REASON_QUOTA_GRANT;
}

static void first_failure(enum reason *failure, enum reason reason)
{
    if (*failure == REASON_NONE)
        *failure = reason;
}

/* True: decided. */
static bool try_grant(struct deciding *w, const struct grant_record *g)
{
    const struct ulid *group_id = match_is_set(&g->agentgroup) || !w->profile
                                      ? &g->agentgroup : &w->profile->agentgroup;
    const struct agentgroup_record *group = policy_agentgroup(w->p, group_id);
    enum reason reason = grant_fails(w, g);
    struct pick pick = { 0 };

    if (reason != REASON_NONE) {
        first_failure(&w->grant_failure, reason);
        refuse(w, RECORD_GRANT, record_id(&g->record), NULL, reason, 0);
        return false;
    }
    reason = group ? choose_agent(w, group, group_id, &pick) : REASON_NO_AGENT;
    if (w->agent_failure == REASON_NONE) {
        w->d->grant = g;
        w->d->profile = w->profile;
        w->d->agentgroup = group;
        w->d->quota = pick.quota;
        w->d->wait_ms = pick.wait_ms;
    }
    if (reason != REASON_NONE) {
        first_failure(&w->agent_failure, reason);
        refuse(w, RECORD_GRANT, record_id(&g->record), NULL, reason, pick.wait_ms);
        return false;
    }
    w->d->quota = NULL;
    w->d->wait_ms = 0;
    w->d->grant = g;
    w->d->profile = w->profile;
    w->d->agentgroup = group;
    w->d->agent = pick.agent;
    w->d->override = pick.override;
    w->d->is_own = pick.live.is_own;
    w->d->allow_special = w->profile && w->profile->allow_special;
    w->d->max_staleness_s = w->profile ? w->profile->max_staleness_s : 0;
    set_ranges(w);
    return true;
}

static bool try_hits(struct deciding *w, const struct index_hits hits)
{
    for (size_t i = 0; i < hits.n; i++) {
        if (try_grant(w, RECORD_AS(index_hit(&hits, i), GRANT, grant_record)))
            return true;
    }
    return false;
}

/* Subject 0 is the user itself, then come its groups. */
enum { SUBJECTS_AT_ONCE = 8 };
struct grant_look {
    struct pmap_probe probes[SUBJECTS_AT_ONCE];
    char keys[SUBJECTS_AT_ONCE][2 * ULID_LEN];
    size_t n;
};

static void probe_grant(const struct deciding *w, struct grant_look *look, size_t subject,
                        uint64_t profile_hash)
{
    const struct user_record *user = w->d->user;
    struct span id = subject ? ulid_span(&user->groups[subject - 1]) : record_id(&user->record);
    char *key = look->keys[look->n];

    memcpy(key, id.p, id.n);
    memcpy(key + id.n, w->profile->record.id, ULID_LEN);
    look->probes[look->n++] = (struct pmap_probe){
        .map = &w->p->index[INDEX_GRANT], .key = span_of(key, id.n + ULID_LEN),
        .hash = index_hash_grant(subject ? hash_bytes(id) : w->look->user_hash, profile_hash),
    };
}

/* The user's own grants before those of its groups. */
static bool try_profile(void *context, const struct profile_record *profile)
{
    struct deciding *w = context;
    uint64_t profile_hash = hash_bytes(record_id(&profile->record));
    size_t subjects = 1 + w->d->user->group_count;
    struct grant_look look;

    w->profile = profile;
    for (size_t next = 0; next < subjects;) {
        for (look.n = 0; look.n < SUBJECTS_AT_ONCE && next < subjects; next++)
            probe_grant(w, &look, next, profile_hash);
        pmap_get_all(look.probes, look.n);
        for (size_t i = 0; i < look.n; i++) {
            if (try_hits(w, index_hits_of(look.probes[i].value)))
                return true;
        }
    }
    return false;
}

static bool try_resolved(struct deciding *w, struct span subject)
{
    const struct index_key key = index_key(INDEX_RESOLVED, subject, SPAN_NONE);
    const struct index_hits hits = index_find(w->p, &key);

    for (size_t i = 0; i < hits.n; i++) {
        const struct grant_record *g = RECORD_AS(index_hit(&hits, i), GRANT, grant_record);
        const struct profile_record *profile = policy_profile(w->p, &g->profile);

        if (!match_resolves(profile, &w->q->target) ||
            match_lock(w->p, LOCK_PROFILE, &g->profile, w->q->now_ms))
            continue;
        w->profile = profile;
        w->is_resolved = true;
        if (try_grant(w, g))
            return true;
    }
    w->is_resolved = false;
    return false;
}

static bool try_whole(struct deciding *w, struct span subject)
{
    const struct index_key key = index_key(INDEX_WHOLE, subject, SPAN_NONE);

    w->profile = NULL;
    return try_hits(w, index_find(w->p, &key));
}

static bool each_subject(struct deciding *w, bool try(struct deciding *w, struct span subject))
{
    const struct user_record *user = w->d->user;

    if (try(w, record_id(&user->record)))
        return true;
    for (size_t i = 0; i < user->group_count; i++) {
        if (try(w, ulid_span(&user->groups[i])))
            return true;
    }
    return false;
}

static bool try_all(struct deciding *w)
{
    if (match_visit(w->look, try_profile, w))
        return true;
    if (!w->q->target.is_literal && !index_is_empty(w->p, INDEX_RESOLVED) &&
        each_subject(w, try_resolved))
        return true;
    return !index_is_empty(w->p, INDEX_WHOLE) && each_subject(w, try_whole);
}

/* An agent was found: what is left are the quotas of those who ask, the narrowest first. */
static enum reason quotas_fail(struct deciding *w)
{
    const struct user_record *user = w->d->user;
    struct pick refused = { 0 };
    bool fits = quota_fits(w, QUOTA_USER, record_id(&user->record), &refused);

    for (size_t i = 0; fits && w->p->quotas[QUOTA_GROUP] && i < user->group_count; i++)
        fits = quota_fits(w, QUOTA_GROUP, ulid_span(&user->groups[i]), &refused);
    if (fits && quota_fits(w, QUOTA_ALL, SPAN_NONE, &refused))
        return REASON_NONE;
    w->d->quota = refused.quota;
    w->d->wait_ms = refused.wait_ms;
    return policy_quota_reason(refused.quota->scope);
}

static enum reason principal_fails(const struct policy *p, const struct policy_question *q,
                                   const struct match_look *look, struct policy_decision *d)
{
    d->user = look->user;
    if (!d->user || !d->user->is_active)
        return REASON_USER_DISABLED;
    d->lock = match_lock_user(p, d->user, &q->source, q->now_ms);
    if (!d->lock)
        d->lock = match_lock_target(p, &q->target, q->now_ms);
    return d->lock ? REASON_LOCKED : REASON_NONE;
}

static enum reason decide(struct deciding *w)
{
    enum reason reason = principal_fails(w->p, w->q, w->look, w->d);

    if (reason != REASON_NONE)
        return reason;
    if (try_all(w))
        return quotas_fail(w);
    if (w->agent_failure != REASON_NONE)
        return w->agent_failure;
    return w->grant_failure != REASON_NONE ? w->grant_failure : REASON_NO_GRANT;
}

enum reason policy_decide(const struct policy *p, const struct policy_question *q,
                          struct policy_decision *ret_decision)
{
    struct match_look look;
    struct deciding w = { .p = p, .q = q, .d = ret_decision, .look = &look };

    memset(ret_decision, 0, sizeof(*ret_decision));
    match_look(&look, p, &q->target, &q->user);
    ret_decision->reason = decide(&w);
    return ret_decision->reason;
}
