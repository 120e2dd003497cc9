// room: lib/policy
// parser: lib/policy/acl.c
// beside: glob_matches suffix_matches host_pattern_matches ports_have means rule_means any_means may_mean acl_may_allow acl_allows acl_allows_unix acl_lifts_special acl_add_deny acl_add_special
#include "lib/policy/decide.h"
#include "lib/policy/reach.h"
#include <stdio.h>
#include <string.h>
/*
 * Patterns and rules: what is taken reads the same when written.  A policy changed by what the
 * bytes say: who is let in may stay, and without the grant may not.
 */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)
enum { NOW_MS = 1000000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_rule(struct span text)
{
    struct acl_rule rule = { 0 }, again = { 0 };
    char mem[512], mem2[512];

    if (acl_rule_parse(text, &rule))
        return;
    acl_rule_format(&rule, mem, sizeof(mem));
    CHECK(acl_rule_parse(span_str(mem), &again) == 0);
    CHECK(strcmp(acl_rule_format(&again, mem2, sizeof(mem2)), mem) == 0);
    CHECK(rule.host.kind == again.host.kind && rule.port_count == again.port_count);
    acl_rule_deinit(&rule);
    acl_rule_deinit(&again);
}

/* Never a forbidden address, whatever the rule. */
static void check_dial(struct span text)
{
    const struct addr addrs[] = { addr_v4(127, 0, 0, 1), addr_v4(169, 254, 169, 254) };
    struct agent_reach *reach = agent_reach_new();
    struct reach_rule any = { .host = { .kind = HOST_ANY }, .allow_special = true };
    struct acl acl = { 0 };
    struct target t;

    CHECK(reach && agent_reach_add(reach, &any) == 0);
    agent_reach_finish(reach);
    if (target_parse(span_first(text, 260), 80, &t) && acl_add_allow(&acl, SPAN("*")) == 0) {
        for (size_t i = 0; i < ARRAY_LEN(addrs); i++) {
            struct dial_question q = { .target = &t, .addr = &addrs[i], .acl = &acl, .reach = reach,
                                       .allow_special = true };

            CHECK(agent_may_dial(&q) != REASON_NONE);
        }
    }
    acl_deinit(&acl);
    agent_reach_free(reach);
}

static struct ulid id_of(unsigned n)
{
    struct ulid id;

    snprintf(id.text, sizeof(id.text), "%026u", n);
    return id;
}

static const char *const hosts[] = { "a.x", "*.x", "*.b.x", "10.0.0.0/8", "10.1.0.0/16", "*.a.b.x" };
static const char *const targets[] = { "a.x", "q.x", "q.b.x", "10.1.2.3", "10.2.0.1", "x" };

static void fill_user(struct record *r, uint8_t a, uint8_t b)
{
    struct user_record *u = (struct user_record *)(void *)r;

    u->is_active = a & 1;
    u->groups = calloc(1, sizeof(*u->groups));
    CHECK(u->groups);
    u->groups[0] = id_of(b % 3);
    u->group_count = 1;
}

static void fill_agent(struct record *r, uint8_t a, uint8_t b)
{
    ((struct agent_record *)(void *)r)->is_active = (a | b) & 1;
}

static void fill_agentgroup(struct record *r, uint8_t a, uint8_t b)
{
    struct agentgroup_record *g = (struct agentgroup_record *)(void *)r;

    g->mode = (enum routing_mode)(a % 4);
    g->members = calloc(1, sizeof(*g->members));
    CHECK(g->members);
    g->members[0] = (struct agentgroup_member){ .agent = id_of(b % 4), .weight = a, .is_enabled = b & 64 };
    g->member_count = 1;
}

static void fill_profile(struct record *r, uint8_t a, uint8_t b)
{
    struct profile_record *p = (struct profile_record *)(void *)r;

    p->hosts = calloc(1, sizeof(*p->hosts));
    CHECK(p->hosts && host_pattern_parse(span_str(hosts[a % ARRAY_LEN(hosts)]), p->hosts) == 0);
    p->host_count = 1;
    p->match_resolved = b & 1;
    p->allow_special = b & 2;
    p->agentgroup = id_of((b >> 2) % 3);
}

static void fill_grant(struct record *r, uint8_t a, uint8_t b)
{
    struct grant_record *g = (struct grant_record *)(void *)r;

    g->subject_kind = a & 1 ? SUBJECT_USER : SUBJECT_GROUP;
    g->subject = id_of((a >> 1) % 3);
    if (b & 3)
        g->profile = id_of((b >> 2) % 4);
    if (!(b & 3) || b & 64)
        g->agentgroup = id_of((a >> 4) % 3);
    if (b & 128)
        g->end_ms = NOW_MS + (a & 1);
}

static void fill_lock(struct record *r, uint8_t a, uint8_t b)
{
    struct lock_record *l = (struct lock_record *)(void *)r;

    l->lock_kind = (enum lock_kind)(a % LOCK_ADDRESS);
    l->target = id_of(b % 4);
}

static const struct {
    enum record_kind kind;
    void (*fill)(struct record *r, uint8_t a, uint8_t b);
} kinds[] = {
    { RECORD_USER, fill_user },       { RECORD_AGENT, fill_agent }, { RECORD_AGENTGROUP, fill_agentgroup },
    { RECORD_PROFILE, fill_profile }, { RECORD_GRANT, fill_grant }, { RECORD_LOCK, fill_lock },
};

/* Three bytes: kind and number (with bit 7: remove), two of content. */
static struct policy *change(struct policy *p, const uint8_t *at)
{
    unsigned which = at[0] % ARRAY_LEN(kinds);
    const struct ulid id = id_of(at[0] / ARRAY_LEN(kinds) % 4);
    struct policy_change c = { .kind = kinds[which].kind, .id = ulid_span(&id) };
    struct policy *next = NULL;

    if (!(at[0] & 128)) {
        c.put = record_new(c.kind, c.id);
        CHECK(c.put);
        kinds[which].fill(c.put, at[1], at[2]);
    }
    CHECK(policy_apply(p, &c, 1, &next) == 0);
    record_unref(c.put);
    policy_unref(p);
    return next;
}

static void check_refused_without(struct policy *p, const struct policy_standing *s)
{
    struct policy_change c = { .kind = RECORD_GRANT, .id = ulid_span(&s->grant) };
    struct policy *next = NULL;
    int64_t again_ms;

    CHECK(policy_apply(p, &c, 1, &next) == 0);
    CHECK(policy_still_allowed(next, s, NOW_MS, &again_ms) != REASON_NONE);
    CHECK(policy_still_allowed(p, s, NOW_MS, &again_ms) == REASON_NONE);
    CHECK(again_ms > NOW_MS);
    policy_unref(next);
}

static void ask(struct policy *p, uint8_t user, uint8_t target)
{
    struct policy_question q = { .user = id_of(user % 4), .source = addr_v4(192, 0, 2, 1), .now_ms = NOW_MS };
    struct policy_decision d;
    struct policy_standing s;

    CHECK(target_parse(span_str(targets[target % ARRAY_LEN(targets)]), 80, &q.target));
    if (policy_decide(p, &q, &d) != REASON_NONE)
        return;
    CHECK(d.user && d.grant && d.agentgroup && d.agent);
    policy_stand(&d, &q, NULL, NULL, &s);
    check_refused_without(p, &s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct policy *p;

    check_rule(span_of(data, n));
    check_dial(span_of(data, n));
    p = policy_new();
    CHECK(p);
    for (size_t i = 0; i + 2 < n && i < 600; i += 3) {
        p = change(p, data + i);
        ask(p, data[i + 1], data[i + 2]);
    }
    policy_unref(p);
    return 0;
}
