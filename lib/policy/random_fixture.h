#pragma once
#include "lib/policy/world_fixture.h"
/*
 * random_fixture.h - worlds that follow from a seed, and their changes.
 */
enum {
    USERS = 6, GROUPS = 3, AGENTS = 4, AGENTGROUPS = 3, PROFILES = 10, GRANTS = 24, LOCKS = 3,
    USER = 100, GROUP = 200, AGENT = 300, AGENTGROUP = 400, PROFILE = 500, GRANT = 600, LOCK = 700,
};

static const char *const hosts[] = {
    "a.x", "b.x", "a.b.x", "*.x", "*.b.x", "*.a.b.x", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3",
    "2001:db8::/32", "0.0.0.0/0", "c.y", "*.y",
};
static const char *const targets[] = {
    "a.x", "b.x", "a.b.x", "q.b.x", "q.a.b.x", "x", "c.y", "q.y", "10.1.2.3", "10.1.2.4",
    "10.2.0.1", "192.0.2.1", "2001:db8::1", "2001:db9::1", "::ffff:10.1.2.3",
};
static const char *const sources[] = { "192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32" };
static const char *const from[] = { "192.0.2.1", "198.51.100.1", "2001:db8::9" };

static uint64_t seed;
static bool has_lists;                  /* agents with lists of their own */

static unsigned roll(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % n);
}

/* What the world holds, by number. */
static struct record *all[800];

static void random_list(struct agent_record *a)
{
    static const char *const allows[] = { "*", "*.x", "*.x:80", "10.0.0.0/8", "*:80", "a.x:1-80,82" };
    static const char *const denies[] = { "a.b.x", "10.1.0.0/16:81", "*.b.x:80", "*:81" };
    struct acl acl = { 0 };

    for (unsigned i = 1 + roll(2); i > 0; i--)
        assert_int_equal(acl_add_allow(&acl, span_str(allows[roll(ARRAY_LEN(allows))])), 0);
    if (roll(2))
        assert_int_equal(acl_add_deny(&acl, span_str(denies[roll(ARRAY_LEN(denies))])), 0);
    a->allow = acl.allow;
    a->allow_count = acl.allow_count;
    a->deny = acl.deny;
    a->deny_count = acl.deny_count;
    a->has_acl = true;
}

static struct record *random_record(unsigned n)
{
    unsigned kind = n / 100 * 100;

    if (kind == USER) {
        struct user_record *u = make_user(n, "user", roll(4) ? GROUP + roll(GROUPS) : 0);

        u->is_active = roll(8) != 0;
        return &u->record;
    }
    if (kind == AGENT) {
        struct agent_record *a = make_agent(n);

        a->is_active = roll(6) != 0;
        if (has_lists && roll(2))
            random_list(a);
        return &a->record;
    }
    if (kind == AGENTGROUP) {
        struct agentgroup_record *g = make_agentgroup(n, ROUTE_PRIORITY);

        for (unsigned i = roll(4); i > 0; i--)
            add_member(g, AGENT + roll(AGENTS), roll(3), 1);
        return &g->record;
    }
    if (kind == PROFILE) {
        struct profile_record *p = make_profile(n, hosts[roll(ARRAY_LEN(hosts))], roll(2) ? 80 : 0,
                                                AGENTGROUP + roll(AGENTGROUPS));

        for (unsigned i = roll(3); i > 0; i--)
            add_host(p, hosts[roll(ARRAY_LEN(hosts))]);
        p->match_resolved = roll(3) == 0;
        return &p->record;
    }
    if (kind == GRANT) {
        bool is_user = roll(2);
        struct grant_record *g = make_grant(n, is_user ? SUBJECT_USER : SUBJECT_GROUP,
                                            is_user ? USER + roll(USERS) : GROUP + roll(GROUPS),
                                            roll(6) ? PROFILE + roll(PROFILES) : 0, 0);

        if (!g->profile.text[0] || roll(4) == 0)
            g->agentgroup = uid(AGENTGROUP + roll(AGENTGROUPS));
        if (roll(5) == 0)
            g->end_ms = NOW_MS + (int64_t)roll(3) - 1;
        if (roll(5) == 0)
            g->start_ms = NOW_MS + (int64_t)roll(3) - 1;
        if (roll(5) == 0)
            set_source(&g->sources, &g->source_count, sources[roll(ARRAY_LEN(sources))]);
        return &g->record;
    }
    struct lock_record *l = make_lock(n, (enum lock_kind)roll(5), 0);
    static const unsigned bases[] = { USER, GROUP, AGENT, PROFILE };

    if (l->lock_kind == LOCK_ADDRESS)
        l->address = network(sources[roll(ARRAY_LEN(sources))]);
    else
        l->target = uid(bases[l->lock_kind] + roll(4));
    l->until_ms = roll(2) ? NOW_MS + (int64_t)roll(3) - 1 : 0;
    return &l->record;
}

static const struct { unsigned first, count; } ranges[] = {
    { USER, USERS }, { AGENT, AGENTS }, { AGENTGROUP, AGENTGROUPS }, { PROFILE, PROFILES },
    { GRANT, GRANTS }, { LOCK, LOCKS },
};

/* Each record is put, replaced or removed, in the order of `ranges` or against it. */
static struct policy *change_some(struct policy *p, unsigned one_in)
{
    bool backwards = roll(2);

    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        size_t at = backwards ? ARRAY_LEN(ranges) - 1 - i : i;

        for (unsigned n = ranges[at].first; n < ranges[at].first + ranges[at].count; n++) {
            if (roll(one_in))
                continue;
            record_unref(TAKE(all[n]));
            if (roll(5) == 0) {
                p = without(p, (enum record_kind[]){ RECORD_USER, RECORD_AGENT, RECORD_AGENTGROUP,
                                                     RECORD_PROFILE, RECORD_GRANT, RECORD_LOCK }[at], n);
                continue;
            }
            all[n] = random_record(n);
            p = with(p, record_ref(all[n]));
        }
    }
    return p;
}
