#include "lib/policy/look.h"
#include "lib/policy/match_internal.h"
#include <string.h>

static enum reason find_lock(const struct policy *p, const struct policy_look *look, struct policy_decision *d)
{
    d->lock = match_lock_target(p, &look->target, look->now_ms);
    if (!d->lock)
        d->lock = match_lock(p, LOCK_AGENT, &look->agent, look->now_ms);
    if (!d->lock && match_is_set(&look->profile))
        d->lock = match_lock(p, LOCK_PROFILE, &look->profile, look->now_ms);
    return d->lock ? REASON_LOCKED : REASON_NONE;
}

static bool is_it(void *context, const struct profile_record *profile)
{
    return context == profile;
}

static void add_ranges(const struct profile_record *profile, struct policy_decision *d)
{
    for (size_t i = 0; i < profile->host_count && d->range_count < POLICY_RANGES_MAX; i++) {
        if (profile->hosts[i].kind == HOST_CIDR)
            d->ranges[d->range_count++] = profile->hosts[i].cidr;
    }
}

/* A name that counts for what it resolves to is bounded by the profile's prefixes. */
static enum reason stand_on(const struct policy *p, const struct policy_look *look, struct policy_decision *d)
{
    const struct profile_record *profile = policy_profile(p, &look->profile);

    if (!profile || !match_covers(p, profile, &look->target))
        return REASON_NO_GRANT;
    d->profile = profile;
    d->allow_special = profile->allow_special;
    if (!look->target.is_literal && !match_profiles(p, &look->target, is_it, (void *)(uintptr_t)profile))
        add_ranges(profile, d);
    return REASON_NONE;
}

static enum reason ask_acl(const struct policy_look *look, const struct policy_decision *d)
{
    const struct acl acl = match_acl_of(d->agent);
    bool is_unix = d->override && d->override->unix_path[0];

    if (is_unix && !d->allow_special)
        return REASON_TARGET_FORBIDDEN;
    if (!d->agent->has_acl)
        return REASON_NONE;
    if (is_unix)
        return acl_allows_unix(&acl, span_str(d->override->unix_path)) ? REASON_NONE : REASON_ACL_DENIED;
    return acl_may_allow(&acl, &look->target) ? REASON_NONE : REASON_ACL_DENIED;
}

enum reason policy_look(const struct policy *p, const struct policy_look *look, struct policy_decision *ret_decision)
{
    struct policy_decision *d = ret_decision;
    enum reason why;

    memset(d, 0, sizeof(*d));
    d->agent = policy_agent(p, &look->agent);
    if (!d->agent || !d->agent->is_active)
        return d->reason = REASON_AGENT_REVOKED;
    why = find_lock(p, look, d);
    if (why == REASON_NONE && match_is_set(&look->profile))
        why = stand_on(p, look, d);
    if (why != REASON_NONE)
        return d->reason = why;
    if (look->target.is_literal)
        d->ranges[d->range_count++] = (struct cidr){ .base = look->target.addr, .bits = 128 };
    d->override = match_override(p, &look->target, &look->agentgroup, &look->agent);
    return d->reason = ask_acl(look, d);
}
