#include "lib/policy/base_fixture.h"

static void test_matching(void **state)
{
    static const struct {
        const char *it;
        unsigned user;
        const char *host;
        uint16_t port;
        enum reason want;
        unsigned profile, agent;
    } rows[] = {
        { "allows the exact name", ANN, "db.x", 5432, REASON_NONE, P_EXACT, A1 },
        { "takes the suffix when the exact port differs", ANN, "db.x", 80, REASON_NONE, P_SUFFIX, A1 },
        { "allows by the user's group", ANN, "web.x", 80, REASON_NONE, P_SUFFIX, A1 },
        { "prefers the longer suffix", ANN, "a.deep.x", 80, REASON_NONE, P_DEEP, A3 },
        { "lets the suffix itself to the shorter one", ANN, "deep.x", 80, REASON_NONE, P_SUFFIX, A1 },
        { "does not match the bare suffix", ANN, "x", 80, REASON_NO_GRANT, 0, 0 },
        { "looks at the port", ANN, "web.x", 81, REASON_NO_GRANT, 0, 0 },
        { "knows no other names", ANN, "web.y", 80, REASON_NO_GRANT, 0, 0 },
        { "allows a literal in a network", ANN, "10.9.9.9", 22, REASON_NONE, P_NET, A1 },
        { "prefers the longer prefix", ANN, "10.1.9.9", 22, REASON_NONE, P_NARROW, A3 },
        { "refuses a literal outside", ANN, "11.0.0.1", 22, REASON_NO_GRANT, 0, 0 },
        { "takes a mapped literal for its IPv4", ANN, "::ffff:10.9.9.9", 22, REASON_NONE, P_NET, A1 },
        { "refuses a literal for a suffix", ANN, "10.0.0.1", 80, REASON_NONE, P_NET, A1 },
        { "never matches a name by a network", ANN, "web.y", 22, REASON_NO_GRANT, 0, 0 },
        { "allows a name by match_resolved", ANN, "any.where", 9000, REASON_NONE, P_RESOLVED, A1 },
        { "allows a literal of that profile", ANN, "172.16.0.1", 9000, REASON_NONE, P_RESOLVED, A1 },
        { "allows anything of a whole group", CID, "any.where", 1, REASON_NONE, 0, A3 },
        { "allows a literal of a whole group", CID, "203.0.113.1", 1, REASON_NONE, 0, A3 },
        { "gives no one another's grants", CID, "db.x", 5432, REASON_NONE, 0, A3 },
        { "refuses a user that is off", BOB, "db.x", 5432, REASON_USER_DISABLED, 0, 0 },
        { "refuses a user that is not there", 9, "db.x", 5432, REASON_USER_DISABLED, 0, 0 },
    };
    AUTO(policy_unrefp) struct policy *p = base_world();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct policy_question q = question(rows[i].user, rows[i].host, rows[i].port);
        struct policy_decision d;

        check_row(rows[i].it);
        assert_int_equal(policy_decide(p, &q, &d), rows[i].want);
        if (rows[i].want != REASON_NONE)
            continue;
        assert_id(d.profile ? &d.profile->record : NULL, rows[i].profile);
        assert_id(&d.agent->record, rows[i].agent);
        check_row("permits exactly the literal, or the networks of match_resolved");
        assert_int_equal(d.range_count, q.target.is_literal || rows[i].profile == P_RESOLVED);
    }
}

static void test_changes(void **state)
{
    static const struct { const char *it; world_change *change; enum reason want; unsigned agent; } rows[] = {
        { "refuses a disabled user", off_user, REASON_USER_DISABLED, 0 },
        { "refuses a removed user", no_user, REASON_USER_DISABLED, 0 },
        { "refuses without the grant", no_grant, REASON_NO_GRANT, 0 },
        { "refuses without the profile", no_profile, REASON_NO_GRANT, 0 },
        { "has no agent without the group", no_group, REASON_NO_AGENT, 0 },
        { "has revoked agents only", no_agents, REASON_AGENT_REVOKED, 0 },
        { "ends the grant to the millisecond", ended, REASON_GRANT_EXPIRED, 0 },
        { "allows until then", ends_later, REASON_NONE, A1 },
        { "waits for the grant's begin", not_begun, REASON_GRANT_NOT_NOW, 0 },
        { "begins to the millisecond", begun, REASON_NONE, A1 },
        { "waits for the grant's hours", closed_window, REASON_GRANT_NOT_NOW, 0 },
        { "refuses another source", elsewhere, REASON_SOURCE_DENIED, 0 },
        { "allows the named source", from_here, REASON_NONE, A1 },
        { "refuses what became another's", for_other, REASON_NO_GRANT, 0 },
        { "takes the grant's own agent group", own_group, REASON_NONE, A3 },
        { "outranks by a lock on the user", lock_user, REASON_LOCKED, 0 },
        { "outranks by a lock on a group", lock_group, REASON_LOCKED, 0 },
        { "outranks by a lock on the profile", lock_profile, REASON_LOCKED, 0 },
        { "outranks by a lock on the source", lock_source, REASON_LOCKED, 0 },
        { "is not locked by another's lock", lock_other, REASON_NONE, A1 },
        { "is free when the lock has ended", lock_over, REASON_NONE, A1 },
        { "is free when the lock was lifted", locked_then_lifted, REASON_NONE, A1 },
        { "goes round a locked agent", lock_agent, REASON_NONE, A2 },
        { "says that all agents are locked", lock_agents, REASON_LOCKED, 0 },
        { "goes round an agent that is off", agent_off, REASON_NONE, A2 },
        { "goes round an agent that denies", acl_one, REASON_NONE, A2 },
        { "says that all agents deny", acl_both, REASON_ACL_DENIED, 0 },
        { "leaves an agent that denies other ports", acl_other_port, REASON_NONE, A1 },
        { "goes round a disabled member", member_off, REASON_NONE, A2 },
        { "refuses a socket without allow_special", unix_plain, REASON_TARGET_FORBIDDEN, 0 },
        { "takes a socket with it", unix_lifted, REASON_NONE, A1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(policy_unrefp) struct policy *before = base_world();
        AUTO(policy_unrefp) struct policy *after = rows[i].change(policy_ref(before));
        struct policy_question q = question(ANN, "db.x", 5432);
        struct policy_decision d;

        check_row(rows[i].it);
        assert_int_equal(policy_decide(after, &q, &d), rows[i].want);
        if (rows[i].want == REASON_NONE)
            assert_id(&d.agent->record, rows[i].agent);
        check_row("leaves the version before as it was");
        assert_int_equal(policy_decide(before, &q, &d), REASON_NONE);
        assert_id(&d.agent->record, A1);
    }
}

/* What the agents of the routing tests are like; index by agent - A1. */
static struct agent_live lives[3];

static bool tell_live(void *context, const struct ulid *agent, const struct ulid *agentgroup,
                      const struct target *target, struct agent_live *ret_live)
{
    (void)context, (void)agentgroup, (void)target;
    for (unsigned i = 0; i < ARRAY_LEN(lives); i++) {
        const struct ulid id = uid(A1 + i);

        if (strcmp(agent->text, id.text) == 0)
            *ret_live = lives[i];
    }
    return true;
}

static uint64_t ten_streams(void *context, const struct ulid *grant)
{
    (void)context, (void)grant;
    return 10;
}

static const struct policy_registry registry = { .agent = tell_live, .grant_streams = ten_streams };
#define LIVE(...) { .is_held = true, .is_proved = true, __VA_ARGS__ }

static void test_routing(void **state)
{
    static const struct {
        const char *it;
        enum routing_mode mode;
        struct agent_live lives[3];
        enum reason want;
        unsigned agent;
    } rows[] = {
        { "takes the first priority", ROUTE_PRIORITY, { LIVE(), LIVE(), LIVE() }, REASON_NONE, A1 },
        { "takes the next priority", ROUTE_PRIORITY, { { 0 }, LIVE(), LIVE() }, REASON_NONE, A2 },
        { "takes the fewest streams", ROUTE_LEAST_STREAMS, { LIVE(.streams = 2), LIVE(.streams = 1), LIVE(.streams = 3) }, REASON_NONE, A2 },
        { "takes its own of equals", ROUTE_LEAST_STREAMS, { LIVE(), LIVE(), LIVE(.is_own = true) }, REASON_NONE, A3 },
        { "takes the lowest id of equals", ROUTE_LEAST_STREAMS, { LIVE(), LIVE(), LIVE() }, REASON_NONE, A1 },
        { "takes the lowest latency", ROUTE_LOWEST_LATENCY, { LIVE(.rtt_us = 9), LIVE(.rtt_us = 8), LIVE(.rtt_us = 7) }, REASON_NONE, A3 },
        { "takes an unmeasured one last", ROUTE_LOWEST_LATENCY, { LIVE(), LIVE(.rtt_us = 4000000000u), LIVE() }, REASON_NONE, A2 },
        { "prefers the proved", ROUTE_PRIORITY, { { .is_held = true }, { .is_held = true }, LIVE() }, REASON_NONE, A3 },
        { "takes an unproved one when there is no other", ROUTE_PRIORITY, { { .is_held = true }, { 0 }, { 0 } }, REASON_NONE, A1 },
        { "has none", ROUTE_PRIORITY, { { 0 }, { 0 }, { 0 } }, REASON_NO_AGENT, 0 },
        { "says that all are draining", ROUTE_PRIORITY, { LIVE(.is_draining = true), { 0 }, { 0 } }, REASON_AGENT_DRAINING, 0 },
        { "says that the breaker is open", ROUTE_PRIORITY, { LIVE(.is_breaker_open = true), LIVE(.is_draining = true), { 0 } }, REASON_BREAKER_OPEN, 0 },
        { "goes round an open breaker", ROUTE_PRIORITY, { LIVE(.is_breaker_open = true), LIVE(), LIVE() }, REASON_NONE, A2 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(policy_unrefp) struct policy *p = base_world();
        struct agentgroup_record *g = make_agentgroup(G1, rows[i].mode);
        struct policy_question q = question(ANN, "db.x", 5432);
        struct policy_decision d;

        check_row(rows[i].it);
        add_member(g, A3, 30, 1);
        add_member(g, A1, 10, 1);
        add_member(g, A2, 20, 1);
        p = with(p, g);
        memcpy(lives, rows[i].lives, sizeof(lives));
        q.registry = &registry;
        assert_int_equal(policy_decide(p, &q, &d), rows[i].want);
        if (rows[i].want == REASON_NONE)
            assert_id(&d.agent->record, rows[i].agent);
        else
            assert_true(d.refusal_count >= 3);
    }
}

static void test_weighted(void **state)
{
    AUTO(policy_unrefp) struct policy *p = base_world();
    struct agentgroup_record *g = make_agentgroup(G1, ROUTE_WEIGHTED);
    struct policy_question q = question(ANN, "db.x", 5432);
    unsigned seen[3] = { 0 };

    (void)state;
    add_member(g, A1, 0, 3);
    add_member(g, A2, 0, 1);
    add_member(g, A3, 0, 0);
    p = with(p, g);
    for (q.random = 0; q.random < 4000; q.random++) {
        struct policy_decision d;
        uint64_t n;

        assert_int_equal(policy_decide(p, &q, &d), REASON_NONE);
        assert_true(span_to_u64(span_str(d.agent->record.id), 99, &n));
        seen[n - A1]++;
    }
    check_row("chooses by weight, and never weight 0");
    assert_in_range(seen[0], 2850, 3150);
    assert_in_range(seen[1], 850, 1150);
    assert_int_equal(seen[2], 0);
}

static void test_stream_limit(void **state)
{
    AUTO(policy_unrefp) struct policy *p = base_world();
    struct policy_question q = question(ANN, "db.x", 5432);
    struct policy_decision d;

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        lives[i] = (struct agent_live)LIVE();
    q.registry = &registry;
    for (int64_t limit = 10; limit <= 11; limit++) {
        struct grant_record *g = make_grant(GR, SUBJECT_USER, ANN, P_EXACT, 0);

        check_row("keeps the grant's limit of streams");
        g->stream_limit = limit;
        p = with(p, g);
        assert_int_equal(policy_decide(p, &q, &d), limit == 10 ? REASON_QUOTA_GRANT : REASON_NONE);
    }
}

/* Which of the quotas Q1 + i have no room. */
static unsigned used_up;

static bool has_room(void *context, const struct quota_record *quota, uint64_t *ret_wait_ms)
{
    uint64_t n;

    (void)context;
    assert_true(span_to_u64(record_id(&quota->record), 999, &n));
    *ret_wait_ms = 100 * (n - Q1);
    return !(used_up & 1u << (n - Q1));
}

static struct policy *with_quotas(struct policy *p)
{
    static const struct { enum quota_scope scope; unsigned target; } made[] = {
        { QUOTA_ALL, 0 },     { QUOTA_GROUP, STAFF }, { QUOTA_USER, ANN },  { QUOTA_USER, ANN },
        { QUOTA_AGENT, A1 },  { QUOTA_AGENT, A2 },    { QUOTA_USER, CID },  { QUOTA_GROUP, OPS },
    };

    for (unsigned i = 0; i < ARRAY_LEN(made); i++)
        p = with(p, make_quota(Q1 + i, made[i].scope, made[i].target));
    return p;
}

static void test_quotas(void **state)
{
    static const struct { const char *it; unsigned used_up; enum reason want; unsigned agent, quota; } rows[] = {
        { "allows while all have room", 0, REASON_NONE, A1, 0 },
        { "refuses by one of the user's", 1 << 3, REASON_QUOTA_USER, A1, Q1 + 3 },
        { "refuses by the group's", 1 << 1, REASON_QUOTA_GROUP, A1, Q1 + 1 },
        { "refuses by everybody's", 1 << 0, REASON_QUOTA_ALL, A1, Q1 },
        { "names the narrowest", 0xf, REASON_QUOTA_USER, A1, Q1 + 2 },
        { "goes round an agent's", 1 << 4, REASON_NONE, A2, 0 },
        { "refuses by all agents'", 3 << 4, REASON_QUOTA_AGENT, 0, Q1 + 5 },
        { "is not held to another's", 3 << 6, REASON_NONE, A1, 0 },
    };
    AUTO(policy_unrefp) struct policy *p = with_quotas(base_world());
    const struct policy_registry asked = { .agent = tell_live, .quota_has_room = has_room };

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        lives[i] = (struct agent_live)LIVE();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct policy_question q = question(ANN, "db.x", 5432);
        struct policy_decision d;

        check_row(rows[i].it);
        q.registry = &asked;
        used_up = rows[i].used_up;
        assert_int_equal(policy_decide(p, &q, &d), rows[i].want);
        assert_id(rows[i].agent ? &d.agent->record : NULL, rows[i].agent);
        assert_id(rows[i].quota ? &d.quota->record : NULL, rows[i].quota);
        assert_int_equal(d.wait_ms, rows[i].quota ? 100 * (rows[i].quota - Q1) : 0);
    }
    check_row("refuses nothing where nobody counts");
    struct policy_question q = question(ANN, "db.x", 5432);
    struct policy_decision d;
    assert_int_equal(policy_decide(p, &q, &d), REASON_NONE);
}

static void test_quotas_of_a_stream(void **state)
{
    static const unsigned want[] = { Q1 + 4, Q1 + 2, Q1 + 3, Q1 + 1, Q1 };
    AUTO(policy_unrefp) struct policy *p = with_quotas(base_world());
    const struct ulid ann = uid(ANN), a1 = uid(A1);
    const struct quota_record *found[8] = { NULL };

    (void)state;
    check_row("finds the agent's, the user's, its group's, everybody's");
    assert_int_equal(policy_quotas(p, policy_user(p, &ann), &a1, found, 8), ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_id(&found[i]->record, want[i]);

    check_row("writes no more than there is room for, and says how many there are");
    found[2] = NULL;
    assert_int_equal(policy_quotas(p, policy_user(p, &ann), &a1, found, 2), ARRAY_LEN(want));
    assert_null(found[2]);

    check_row("forgets those that go");
    p = without(without(p, RECORD_QUOTA, Q1 + 2), RECORD_QUOTA, Q1);
    assert_int_equal(policy_quotas(p, policy_user(p, &ann), &a1, found, 8), 3);
}

static void test_overrides(void **state)
{
    static const struct { const char *host; enum override_scope scope; unsigned id, n; } made[] = {
        { "*.x", OVERRIDE_ALL, 0, O1 },        { "db.x", OVERRIDE_ALL, 0, O1 + 1 },
        { "db.x", OVERRIDE_AGENTGROUP, G1, O1 + 2 }, { "db.x", OVERRIDE_AGENT, A2, O1 + 3 },
        { "web.x", OVERRIDE_AGENT, A2, O1 + 4 },
    };
    static const struct { const char *it, *host; uint16_t port; bool a1_is_off; unsigned want; } rows[] = {
        { "takes the agent group's before everybody's", "db.x", 5432, false, O1 + 2 },
        { "takes the agent's before all", "db.x", 5432, true, O1 + 3 },
        { "takes a suffix where the exact one is another agent's", "web.x", 80, false, O1 },
        { "takes the suffix", "other.x", 80, false, O1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(policy_unrefp) struct policy *p = base_world();
        struct policy_question q = question(ANN, rows[i].host, rows[i].port);
        struct policy_decision d;

        for (size_t j = 0; j < ARRAY_LEN(made); j++) {
            struct override_record *o = MAKE(OVERRIDE, override_record, made[j].n);

            o->host = pattern(made[j].host);
            o->scope = made[j].scope;
            if (made[j].id)
                o->scope_id = uid(made[j].id);
            p = with(p, o);
        }
        if (rows[i].a1_is_off)
            p = agent_off(p);
        check_row(rows[i].it);
        assert_int_equal(policy_decide(p, &q, &d), REASON_NONE);
        assert_id(&d.override->record, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matching),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_routing),
        cmocka_unit_test(test_weighted),
        cmocka_unit_test(test_stream_limit),
        cmocka_unit_test(test_quotas),
        cmocka_unit_test(test_quotas_of_a_stream),
        cmocka_unit_test(test_overrides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
