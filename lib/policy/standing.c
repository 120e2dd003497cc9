#include "lib/policy/decide.h"
#include "lib/policy/match_internal.h"
#include "lib/policy/reach.h"
#include <string.h>

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static struct ulid id_of(const struct record *r)
{
    struct ulid id = { 0 };

    span_copy(record_id(r), id.text, sizeof(id.text));
    return id;
}

static enum reason credential_holds(const struct credential_record *c, const struct addr *source,
                                    int64_t now_ms)
{
    if (c->expires_ms && now_ms >= c->expires_ms)
        return REASON_CREDENTIAL_EXPIRED;
    return match_sources(c->sources, c->source_count, source) ? REASON_NONE : REASON_SOURCE_DENIED;
}

enum reason policy_authenticate(const struct policy *p, struct span hash, struct span user_name,
                                const struct addr *source, int64_t now_ms,
                                const struct user_record **ret_user,
                                const struct credential_record **ret_credential)
{
    const struct index_key key = index_key(INDEX_HASH, span_first(hash, 64), SPAN_NONE);
    const struct index_hits hits = index_find(p, &key);
    const struct credential_record *c =
        hash.n == 64 && hits.n ? RECORD_AS(index_hit(&hits, 0), CREDENTIAL, credential_record) : NULL;
    const struct user_record *user = c ? policy_user(p, &c->user) : NULL;
    enum reason reason;

    if (!user || !span_eq(span_str(user->name), user_name))
        return REASON_AUTH_FAILED;
    reason = credential_holds(c, source, now_ms);
    if (reason != REASON_NONE)
        return reason;
    if (!user->is_active)
        return REASON_USER_DISABLED;
    if (match_lock_user(p, user, source, now_ms))
        return REASON_LOCKED;
    *ret_user = user;
    *ret_credential = c;
    return REASON_NONE;
}

/* What a name resolved to is not known here: allow_special may have been used. */
static bool may_use_special(const struct policy_decision *d, const struct target *t)
{
    if (!d->allow_special)
        return false;
    return !t->is_literal || address_special_kind(&t->addr, NULL, 0) != NULL;
}

void policy_stand(const struct policy_decision *d, const struct policy_question *q,
                  const struct credential_record *credential, const char *uid,
                  struct policy_standing *ret_standing)
{
    struct policy_standing *s = ret_standing;

    *s = (struct policy_standing){ .user = q->user, .source = q->source, .target = q->target,
                                   .opened_ms = q->now_ms };
    s->grant = id_of(&d->grant->record);
    s->agentgroup = id_of(&d->agentgroup->record);
    s->agent = id_of(&d->agent->record);
    if (d->profile)
        s->profile = id_of(&d->profile->record);
    if (credential)
        s->credential = id_of(&credential->record);
    s->uses_special = may_use_special(d, &q->target);
    if (uid)
        span_copy(span_str(uid), s->uid, sizeof(s->uid));
}

static bool is_cut(const struct policy *p, enum cut_kind kind, struct span target,
                   const struct policy_standing *s, int64_t now_ms)
{
    const struct index_key key = index_key_kind(INDEX_CUT, kind, target);
    const struct index_hits hits = target.n ? index_find(p, &key) : (struct index_hits){ 0 };

    for (size_t i = 0; i < hits.n; i++) {
        const struct cut_record *c = RECORD_AS(index_hit(&hits, i), CUT, cut_record);

        if (s->opened_ms < c->before_ms && (c->until_ms == 0 || now_ms < c->until_ms))
            return true;
    }
    return false;
}

bool policy_resets_breaker(const struct policy *p, const struct ulid *breaker)
{
    const struct index_key key = index_key_kind(INDEX_CUT, CUT_BREAKER, ulid_span(breaker));

    return index_find(p, &key).n > 0;
}

static bool any_cut(const struct policy *p, const struct policy_standing *s, int64_t now_ms)
{
    if (policy_count(p, RECORD_CUT) == 0)
        return false;
    return is_cut(p, CUT_STREAM, span_str(s->uid), s, now_ms) ||
           is_cut(p, CUT_USER, ulid_span(&s->user), s, now_ms) ||
           is_cut(p, CUT_CREDENTIAL, ulid_span(&s->credential), s, now_ms) ||
           is_cut(p, CUT_GRANT, ulid_span(&s->grant), s, now_ms) ||
           is_cut(p, CUT_PROFILE, ulid_span(&s->profile), s, now_ms) ||
           is_cut(p, CUT_AGENT, ulid_span(&s->agent), s, now_ms);
}

static enum reason principal_holds(const struct policy *p, const struct policy_standing *s,
                                   int64_t now_ms, int64_t *again_ms)
{
    const struct user_record *user = policy_user(p, &s->user);
    const struct credential_record *c;

    if (!user || !user->is_active)
        return REASON_USER_DISABLED;
    if (match_lock_user(p, user, &s->source, now_ms) ||
        match_lock_target(p, &s->target, now_ms) ||
        match_lock(p, LOCK_AGENT, &s->agent, now_ms) ||
        (match_is_set(&s->profile) && match_lock(p, LOCK_PROFILE, &s->profile, now_ms)))
        return REASON_LOCKED;
    if (any_cut(p, s, now_ms))
        return REASON_REVOKED;
    if (!match_is_set(&s->credential))
        return REASON_NONE;
    c = policy_credential(p, &s->credential);
    if (!c || !match_ulid(&c->user, &s->user))
        return REASON_CREDENTIAL_REVOKED;
    if (c->expires_ms)
        *again_ms = earlier(*again_ms, c->expires_ms);
    return credential_holds(c, &s->source, now_ms);
}

static bool is_subject(const struct policy *p, const struct grant_record *g,
                       const struct ulid *user_id)
{
    const struct user_record *user = policy_user(p, user_id);

    if (match_ulid(&g->subject, user_id))
        return true;
    for (size_t i = 0; user && i < user->group_count; i++) {
        if (match_ulid(&g->subject, &user->groups[i]))
            return true;
    }
    return false;
}

/* Whether the grant still leads to the same agent group for the same target. */
static bool leads_there(const struct policy *p, const struct grant_record *g,
                        const struct policy_standing *s)
{
    const struct profile_record *profile = policy_profile(p, &g->profile);
    const struct ulid *group = &g->agentgroup;

    if (!match_ulid(&g->profile, &s->profile))
        return false;
    if (match_is_set(&g->profile)) {
        if (!profile || !match_covers(p, profile, &s->target))
            return false;
        if (!match_is_set(group))
            group = &profile->agentgroup;
    }
    if (s->uses_special && !(profile && profile->allow_special))
        return false;
    return match_ulid(group, &s->agentgroup);
}

static bool is_member(const struct policy *p, const struct policy_standing *s)
{
    const struct agentgroup_record *group = policy_agentgroup(p, &s->agentgroup);

    for (size_t i = 0; group && i < group->member_count; i++) {
        if (match_ulid(&group->members[i].agent, &s->agent))
            return true;
    }
    return false;
}

enum reason policy_still_allowed(const struct policy *p, const struct policy_standing *s,
                                 int64_t now_ms, int64_t *ret_again_ms)
{
    const struct grant_record *g = policy_grant(p, &s->grant);
    const struct agent_record *agent = policy_agent(p, &s->agent);
    int64_t again_ms = INT64_MAX, grant_again_ms;
    enum reason reason = principal_holds(p, s, now_ms, &again_ms);

    *ret_again_ms = INT64_MAX;
    if (reason != REASON_NONE)
        return reason;
    if (!agent || !agent->is_active)
        return REASON_AGENT_REVOKED;
    if (!g || !is_subject(p, g, &s->user))
        return REASON_REVOKED;
    reason = match_grant_in_force(g, &s->source, now_ms, &grant_again_ms);
    if (reason != REASON_NONE)
        return reason;
    if (!leads_there(p, g, s) || !is_member(p, s))
        return REASON_REVOKED;
    *ret_again_ms = earlier(again_ms, grant_again_ms);
    return REASON_NONE;
}

enum reason policy_user_admitted(const struct policy *p, const struct ulid *user, int64_t now_ms)
{
    const struct user_record *record = policy_user(p, user);
    const struct lock_record *lock = match_lock(p, LOCK_USER, user, now_ms);

    for (size_t i = 0; record && !lock && i < record->group_count; i++)
        lock = match_lock(p, LOCK_GROUP, &record->groups[i], now_ms);
    return lock ? REASON_LOCKED : REASON_NONE;
}

enum reason policy_agent_admitted(const struct policy *p, const struct ulid *agent,
                                  uint32_t generation, int64_t now_ms)
{
    const struct agent_record *record = policy_agent(p, agent);

    if (!record || !record->is_active || (int64_t)generation < record->generation)
        return REASON_AGENT_REVOKED;
    return match_lock(p, LOCK_AGENT, agent, now_ms) ? REASON_LOCKED : REASON_NONE;
}

enum reason policy_relay_admitted(const struct policy *p, const struct ulid *relay)
{
    const struct relay_record *record = policy_relay(p, relay);

    return record && record->is_active ? REASON_NONE : REASON_BAD_CERTIFICATE;
}
