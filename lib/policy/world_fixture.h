#pragma once
#include "lib/check/check.h"
#include "lib/policy/decide.h"
#include <stdio.h>
/*
 * world_fixture.h - records for tests, made in one line each.
 */
#define NOW_MS ((int64_t)1800000000000)
#define HOUR_MS ((int64_t)3600000)

/* Number n as a ULID. */
static inline struct ulid uid(unsigned n)
{
    struct ulid id;

    snprintf(id.text, sizeof(id.text), "%026u", n);
    return id;
}

static inline struct record *make(enum record_kind kind, unsigned n)
{
    const struct ulid id = uid(n);
    struct record *r = record_new(kind, ulid_span(&id));

    assert_non_null(r);
    return r;
}

#define MAKE(KIND, type, n) ((struct type *)(void *)make(RECORD_##KIND, (n)))

static inline struct host_pattern pattern(const char *text)
{
    struct host_pattern p = { 0 };

    if (host_pattern_parse(span_str(text), &p))
        fail_msg("not a pattern: %s", text);
    return p;
}

static inline struct cidr network(const char *text)
{
    struct cidr c;

    if (!cidr_parse(span_str(text), &c))
        fail_msg("not a network: %s", text);
    return c;
}

static inline struct target to(const char *host, uint16_t port)
{
    struct target t;

    if (!target_parse(span_str(host), port, &t))
        fail_msg("not a target: %s", host);
    return t;
}

static inline struct user_record *make_user(unsigned n, const char *name, unsigned group)
{
    struct user_record *u = MAKE(USER, user_record, n);

    snprintf(u->name, sizeof(u->name), "%s", name);
    u->is_active = true;
    if (group) {
        u->groups = calloc(1, sizeof(*u->groups));
        assert_non_null(u->groups);
        u->groups[0] = uid(group);
        u->group_count = 1;
    }
    return u;
}

static inline struct agent_record *make_agent(unsigned n)
{
    struct agent_record *a = MAKE(AGENT, agent_record, n);

    snprintf(a->name, sizeof(a->name), "agent-%u", n);
    a->is_active = true;
    return a;
}

static inline void add_member(struct agentgroup_record *g, unsigned agent, int64_t priority,
                              int64_t weight)
{
    g->members = reallocarray(g->members, g->member_count + 1, sizeof(*g->members));
    assert_non_null(g->members);
    g->members[g->member_count++] = (struct agentgroup_member){
        .agent = uid(agent), .priority = priority, .weight = weight, .is_enabled = true
    };
}

static inline struct agentgroup_record *make_agentgroup(unsigned n, enum routing_mode mode)
{
    struct agentgroup_record *g = MAKE(AGENTGROUP, agentgroup_record, n);

    snprintf(g->name, sizeof(g->name), "group-%u", n);
    g->mode = mode;
    return g;
}

static inline void add_host(struct profile_record *p, const char *host)
{
    p->hosts = reallocarray(p->hosts, p->host_count + 1, sizeof(*p->hosts));
    assert_non_null(p->hosts);
    p->hosts[p->host_count++] = pattern(host);
}

static inline struct profile_record *make_profile(unsigned n, const char *host, uint16_t port,
                                                  unsigned agentgroup)
{
    struct profile_record *p = MAKE(PROFILE, profile_record, n);

    snprintf(p->name, sizeof(p->name), "profile-%u", n);
    add_host(p, host);
    if (port) {
        p->ports = calloc(1, sizeof(*p->ports));
        assert_non_null(p->ports);
        p->ports[p->port_count++] = (struct port_range){ port, port };
    }
    if (agentgroup)
        p->agentgroup = uid(agentgroup);
    return p;
}

/* profile 0: the whole agent group. */
static inline struct grant_record *make_grant(unsigned n, enum subject_kind kind, unsigned subject,
                                              unsigned profile, unsigned agentgroup)
{
    struct grant_record *g = MAKE(GRANT, grant_record, n);

    g->subject_kind = kind;
    g->subject = uid(subject);
    if (profile)
        g->profile = uid(profile);
    if (agentgroup)
        g->agentgroup = uid(agentgroup);
    return g;
}

static inline void set_source(struct cidr **sources, size_t *count, const char *text)
{
    *sources = calloc(1, sizeof(**sources));
    assert_non_null(*sources);
    (*sources)[0] = network(text);
    *count = 1;
}

static inline struct lock_record *make_lock(unsigned n, enum lock_kind kind, unsigned target)
{
    struct lock_record *l = MAKE(LOCK, lock_record, n);

    l->lock_kind = kind;
    l->target = uid(target);
    return l;
}

static inline struct quota_record *make_quota(unsigned n, enum quota_scope scope, unsigned target)
{
    struct quota_record *q = MAKE(QUOTA, quota_record, n);

    q->scope = scope;
    if (scope != QUOTA_ALL)
        q->target = uid(target);
    q->streams = 1;
    return q;
}

/* Puts the record (its reference goes to the policy) and gives the new version. */
static inline struct policy *with(struct policy *p, void *record)
{
    struct record *r = record;
    struct policy_change change = { .kind = r->kind, .put = r };
    struct policy *next = NULL;

    assert_int_equal(policy_apply(p, &change, 1, &next), 0);
    record_unref(r);
    policy_unref(p);
    return next;
}

static inline struct policy *without(struct policy *p, enum record_kind kind, unsigned n)
{
    const struct ulid id = uid(n);
    struct policy_change change = { .kind = kind, .id = ulid_span(&id) };
    struct policy *next = NULL;

    assert_int_equal(policy_apply(p, &change, 1, &next), 0);
    policy_unref(p);
    return next;
}
