#pragma once
#include "lib/policy/world_fixture.h"
/*
 * base_fixture.h - the world that the tests of decisions and of living streams begin with, and
 * single changes of it.
 */
enum {
    ANN = 1, BOB, CID, STAFF = 10, OPS, A1 = 20, A2, A3, G1 = 30, G2, P_EXACT = 40, P_SUFFIX,
    P_DEEP, P_NET, P_NARROW, P_RESOLVED, P_OTHER, GR = 50, K1 = 80, K2, L1 = 90, O1 = 100, X1 = 110, Q1 = 120,
};

/* ann (group staff) may reach, through g1 (a1, then a2): db.x:5432, *.x:80, *.deep.x, networks;
 * bob is off; cid is in ops, which may use all of g2 (a3). */
static inline struct policy *base_world(void)
{
    struct policy *p = policy_new();
    struct agentgroup_record *g1 = make_agentgroup(G1, ROUTE_PRIORITY);
    struct agentgroup_record *g2 = make_agentgroup(G2, ROUTE_PRIORITY);
    struct profile_record *resolved = make_profile(P_RESOLVED, "172.16.0.0/12", 9000, G1);
    struct user_record *bob = make_user(BOB, "bob", 0);

    assert_non_null(p);
    bob->is_active = false;
    resolved->match_resolved = true;
    add_member(g1, A2, 20, 1);
    add_member(g1, A1, 10, 1);
    add_member(g2, A3, 1, 1);
    void *const records[] = {
        make_user(ANN, "ann", STAFF), bob, make_user(CID, "cid", OPS), make_agent(A1),
        make_agent(A2), make_agent(A3), g1, g2, make_profile(P_EXACT, "db.x", 5432, G1),
        make_profile(P_SUFFIX, "*.x", 80, G1), make_profile(P_DEEP, "*.deep.x", 0, G2),
        make_profile(P_NET, "10.0.0.0/8", 0, G1), make_profile(P_NARROW, "10.1.0.0/16", 0, G2),
        resolved, make_grant(GR, SUBJECT_USER, ANN, P_EXACT, 0),
        make_grant(GR + 1, SUBJECT_GROUP, STAFF, P_SUFFIX, 0),
        make_grant(GR + 2, SUBJECT_GROUP, STAFF, P_DEEP, 0),
        make_grant(GR + 3, SUBJECT_USER, ANN, P_NET, 0),
        make_grant(GR + 4, SUBJECT_USER, ANN, P_NARROW, 0),
        make_grant(GR + 5, SUBJECT_USER, ANN, P_RESOLVED, 0),
        make_grant(GR + 6, SUBJECT_GROUP, OPS, 0, G2),
    };
    for (size_t i = 0; i < ARRAY_LEN(records); i++)
        p = with(p, records[i]);
    return p;
}

static inline struct policy_question question(unsigned user, const char *host, uint16_t port)
{
    return (struct policy_question){ .user = uid(user), .source = addr_v4(192, 0, 2, 1),
                                     .target = to(host, port), .now_ms = NOW_MS };
}

static inline void assert_id(const struct record *r, unsigned n)
{
    const struct ulid id = uid(n);

    if (n == 0)
        assert_null(r);
    else
        assert_string_equal(r ? r->id : "none", id.text);
}

/* One change of the base world each, and what becomes of ann's db.x:5432 (unless said). */
static inline struct policy *off_user(struct policy *p)
{
    struct user_record *u = make_user(ANN, "ann", STAFF);

    u->is_active = false;
    return with(p, u);
}

static inline struct policy *no_user(struct policy *p) { return without(p, RECORD_USER, ANN); }
static inline struct policy *no_grant(struct policy *p) { return without(p, RECORD_GRANT, GR); }
static inline struct policy *no_profile(struct policy *p) { return without(p, RECORD_PROFILE, P_EXACT); }
static inline struct policy *no_group(struct policy *p) { return without(p, RECORD_AGENTGROUP, G1); }
static inline struct policy *no_agents(struct policy *p)
{
    return without(without(p, RECORD_AGENT, A1), RECORD_AGENT, A2);
}

static inline struct policy *grant_of(struct policy *p, int64_t start_ms, int64_t end_ms, const char *source)
{
    struct grant_record *g = make_grant(GR, SUBJECT_USER, ANN, P_EXACT, 0);

    g->start_ms = start_ms;
    g->end_ms = end_ms;
    if (source)
        set_source(&g->sources, &g->source_count, source);
    return with(p, g);
}

static inline struct policy *ended(struct policy *p) { return grant_of(p, 0, NOW_MS, NULL); }
static inline struct policy *ends_later(struct policy *p) { return grant_of(p, 0, NOW_MS + 1, NULL); }
static inline struct policy *not_begun(struct policy *p) { return grant_of(p, NOW_MS + 1, 0, NULL); }
static inline struct policy *begun(struct policy *p) { return grant_of(p, NOW_MS, 0, NULL); }
static inline struct policy *elsewhere(struct policy *p) { return grant_of(p, 0, 0, "198.51.100.0/24"); }
static inline struct policy *from_here(struct policy *p) { return grant_of(p, 0, 0, "192.0.2.0/24"); }
static inline struct policy *for_other(struct policy *p)
{
    return with(p, make_grant(GR, SUBJECT_USER, CID, P_EXACT, 0));
}

static inline struct policy *own_group(struct policy *p)
{
    return with(p, make_grant(GR, SUBJECT_USER, ANN, P_EXACT, G2));
}

static inline struct policy *closed_window(struct policy *p)
{
    struct grant_record *g = make_grant(GR, SUBJECT_USER, ANN, P_EXACT, 0);
    const int64_t minute = NOW_MS / 60000 % 1440;

    g->windows = calloc(1, sizeof(*g->windows));
    g->offsets = calloc(1, sizeof(*g->offsets));
    assert_true(g->windows && g->offsets);
    g->windows[0] = (struct grant_window){ .days = 127, .from_min = (minute + 10) % 1440,
                                           .to_min = (minute + 20) % 1440 + 1 };
    g->window_count = g->offset_count = 1;
    return with(p, g);
}

static inline struct policy *lock_user(struct policy *p) { return with(p, make_lock(L1, LOCK_USER, ANN)); }
static inline struct policy *lock_group(struct policy *p) { return with(p, make_lock(L1, LOCK_GROUP, STAFF)); }
static inline struct policy *lock_other(struct policy *p) { return with(p, make_lock(L1, LOCK_USER, CID)); }
static inline struct policy *lock_profile(struct policy *p) { return with(p, make_lock(L1, LOCK_PROFILE, P_EXACT)); }
static inline struct policy *lock_agent(struct policy *p) { return with(p, make_lock(L1, LOCK_AGENT, A1)); }
static inline struct policy *lock_agents(struct policy *p)
{
    return with(lock_agent(p), make_lock(L1 + 1, LOCK_AGENT, A2));
}

static inline struct policy *lock_source(struct policy *p)
{
    struct lock_record *l = make_lock(L1, LOCK_ADDRESS, 0);

    l->address = network("192.0.2.0/24");
    return with(p, l);
}

static inline struct policy *lock_over(struct policy *p)
{
    struct lock_record *l = make_lock(L1, LOCK_USER, ANN);

    l->until_ms = NOW_MS;
    return with(p, l);
}

static inline struct policy *locked_then_lifted(struct policy *p)
{
    return without(lock_user(p), RECORD_LOCK, L1);
}

static inline struct policy *agent_off(struct policy *p)
{
    struct agent_record *a = make_agent(A1);

    a->is_active = false;
    return with(p, a);
}

static inline struct policy *agent_denies(struct policy *p, unsigned agent, const char *rule)
{
    struct agent_record *a = make_agent(agent);
    struct acl acl = { 0 };

    assert_int_equal(acl_add_allow(&acl, SPAN("*")), 0);
    assert_int_equal(acl_add_deny(&acl, span_str(rule)), 0);
    a->allow = acl.allow;
    a->allow_count = acl.allow_count;
    a->deny = acl.deny;
    a->deny_count = acl.deny_count;
    a->has_acl = true;
    return with(p, a);
}

static inline struct policy *acl_one(struct policy *p) { return agent_denies(p, A1, "db.x:5432"); }
static inline struct policy *acl_both(struct policy *p) { return agent_denies(acl_one(p), A2, "*.x"); }
static inline struct policy *acl_other_port(struct policy *p) { return agent_denies(p, A1, "db.x:1"); }

static inline struct policy *member_off(struct policy *p)
{
    struct agentgroup_record *g = make_agentgroup(G1, ROUTE_PRIORITY);

    add_member(g, A1, 10, 1);
    add_member(g, A2, 20, 1);
    g->members[0].is_enabled = false;
    return with(p, g);
}

static inline struct policy *override_to(struct policy *p, const char *path, bool lifts)
{
    struct override_record *o = MAKE(OVERRIDE, override_record, O1);
    struct profile_record *profile = make_profile(P_EXACT, "db.x", 5432, G1);

    o->host = pattern("db.x");
    if (path)
        snprintf(o->unix_path, sizeof(o->unix_path), "%s", path);
    profile->allow_special = lifts;
    return with(with(p, profile), o);
}

static inline struct policy *unix_plain(struct policy *p) { return override_to(p, "/run/x", false); }
static inline struct policy *unix_lifted(struct policy *p) { return override_to(p, "/run/x", true); }

typedef struct policy *world_change(struct policy *p);
