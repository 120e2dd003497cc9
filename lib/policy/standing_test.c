#include "lib/policy/base_fixture.h"

static struct policy *credential_of(struct policy *p, unsigned user, int64_t expires_ms, const char *source)
{
    struct credential_record *c = MAKE(CREDENTIAL, credential_record, K1);

    c->user = uid(user);
    memset(c->hash, 'a', 64);
    c->expires_ms = expires_ms;
    if (source)
        set_source(&c->sources, &c->source_count, source);
    return with(p, c);
}

static void test_authenticate(void **state)
{
    static const char good[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char bad[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";
    static const struct {
        const char *it, *hash, *name;
        unsigned user;
        int64_t expires_ms;
        const char *source;
        world_change *change;
        enum reason want;
    } rows[] = {
        { "knows its own", good, "ann", ANN, 0, NULL, NULL, REASON_NONE },
        { "refuses another hash", bad, "ann", ANN, 0, NULL, NULL, REASON_AUTH_FAILED },
        { "refuses a cut hash", "aaaa", "ann", ANN, 0, NULL, NULL, REASON_AUTH_FAILED },
        { "refuses no hash", "", "ann", ANN, 0, NULL, NULL, REASON_AUTH_FAILED },
        { "refuses another name", good, "cid", ANN, 0, NULL, NULL, REASON_AUTH_FAILED },
        { "refuses no name", good, "", ANN, 0, NULL, NULL, REASON_AUTH_FAILED },
        { "refuses a credential without its user", good, "ann", 9, 0, NULL, NULL, REASON_AUTH_FAILED },
        { "ends it to the millisecond", good, "ann", ANN, NOW_MS, NULL, NULL, REASON_CREDENTIAL_EXPIRED },
        { "takes it until then", good, "ann", ANN, NOW_MS + 1, NULL, NULL, REASON_NONE },
        { "refuses another source", good, "ann", ANN, 0, "198.51.100.0/24", NULL, REASON_SOURCE_DENIED },
        { "takes the named source", good, "ann", ANN, 0, "192.0.2.1", NULL, REASON_NONE },
        { "refuses a user that is off", good, "ann", ANN, 0, NULL, off_user, REASON_USER_DISABLED },
        { "refuses a locked user", good, "ann", ANN, 0, NULL, lock_user, REASON_LOCKED },
        { "refuses a locked group", good, "ann", ANN, 0, NULL, lock_group, REASON_LOCKED },
        { "refuses a locked source", good, "ann", ANN, 0, NULL, lock_source, REASON_LOCKED },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(policy_unrefp) struct policy *p = credential_of(base_world(), rows[i].user,
                                                             rows[i].expires_ms, rows[i].source);
        const struct addr source = addr_v4(192, 0, 2, 1);
        const struct user_record *user = NULL;
        const struct credential_record *credential = NULL;

        check_row(rows[i].it);
        if (rows[i].change)
            p = rows[i].change(p);
        assert_int_equal(policy_authenticate(p, span_str(rows[i].hash), span_str(rows[i].name), &source,
                                             NOW_MS, &user, &credential), rows[i].want);
        assert_int_equal(user != NULL, rows[i].want == REASON_NONE);
    }
}

static struct policy *no_credential(struct policy *p) { return without(p, RECORD_CREDENTIAL, K1); }
static struct policy *same(struct policy *p) { return p; }
static struct policy *credential_ended(struct policy *p) { return credential_of(p, ANN, NOW_MS, NULL); }
static struct policy *credential_given_away(struct policy *p) { return credential_of(p, CID, 0, NULL); }
static struct policy *profile_narrowed(struct policy *p)
{
    return with(p, make_profile(P_EXACT, "db.y", 5432, G1));
}

static struct policy *port_narrowed(struct policy *p)
{
    return with(p, make_profile(P_EXACT, "db.x", 5433, G1));
}

static struct policy *profile_moved(struct policy *p)
{
    return with(p, make_profile(P_EXACT, "db.x", 5432, G2));
}

static struct policy *member_gone(struct policy *p)
{
    struct agentgroup_record *g = make_agentgroup(G1, ROUTE_PRIORITY);

    add_member(g, A2, 20, 1);
    return with(p, g);
}

static struct policy *cut_of(struct policy *p, enum cut_kind kind, unsigned target, int64_t before_ms,
                             int64_t until_ms)
{
    struct cut_record *c = MAKE(CUT, cut_record, X1);
    const struct ulid id = uid(target);

    c->cut_kind = kind;
    snprintf(c->target, sizeof(c->target), "%s", kind == CUT_STREAM ? "stream-1" : id.text);
    c->before_ms = before_ms;
    c->until_ms = until_ms;
    return with(p, c);
}

static struct policy *cut_stream(struct policy *p) { return cut_of(p, CUT_STREAM, 0, NOW_MS + 1, 0); }
static struct policy *cut_user(struct policy *p) { return cut_of(p, CUT_USER, ANN, NOW_MS + 1, 0); }
static struct policy *cut_agent(struct policy *p) { return cut_of(p, CUT_AGENT, A1, NOW_MS + 1, 0); }
static struct policy *cut_earlier(struct policy *p) { return cut_of(p, CUT_USER, ANN, NOW_MS, 0); }
static struct policy *cut_past(struct policy *p) { return cut_of(p, CUT_USER, ANN, NOW_MS + 1, NOW_MS); }
static struct policy *cut_other(struct policy *p) { return cut_of(p, CUT_USER, CID, NOW_MS + 1, 0); }

/* ann's stream to db.x:5432 through a1, opened NOW_MS with credential K1. */
static void test_still_allowed(void **state)
{
    static const struct { const char *it; world_change *change; enum reason want; int64_t again_ms; } rows[] = {
        { "goes on", same, REASON_NONE, INT64_MAX },
        { "ends with its user", no_user, REASON_USER_DISABLED, 0 },
        { "ends when its user is off", off_user, REASON_USER_DISABLED, 0 },
        { "ends with its grant", no_grant, REASON_REVOKED, 0 },
        { "ends when the grant is another's", for_other, REASON_REVOKED, 0 },
        { "ends when the grant has ended", ended, REASON_GRANT_EXPIRED, 0 },
        { "knows when the grant will end", ends_later, REASON_NONE, NOW_MS + 1 },
        { "ends outside the grant's hours", closed_window, REASON_GRANT_NOT_NOW, 0 },
        { "ends when its source is no longer named", elsewhere, REASON_SOURCE_DENIED, 0 },
        { "ends when the grant goes by another agent group", own_group, REASON_REVOKED, 0 },
        { "ends with its profile", no_profile, REASON_REVOKED, 0 },
        { "ends when the profile names another host", profile_narrowed, REASON_REVOKED, 0 },
        { "ends when the profile names another port", port_narrowed, REASON_REVOKED, 0 },
        { "ends when the profile goes by another agent group", profile_moved, REASON_REVOKED, 0 },
        { "ends with its agent group", no_group, REASON_REVOKED, 0 },
        { "ends when the agent left the group", member_gone, REASON_REVOKED, 0 },
        { "goes on when the member takes no new ones", member_off, REASON_NONE, INT64_MAX },
        { "ends with its agent", no_agents, REASON_AGENT_REVOKED, 0 },
        { "ends when its agent is off", agent_off, REASON_AGENT_REVOKED, 0 },
        { "ends with its credential", no_credential, REASON_CREDENTIAL_REVOKED, 0 },
        { "ends when the credential has", credential_ended, REASON_CREDENTIAL_EXPIRED, 0 },
        { "ends when the credential is another's", credential_given_away, REASON_CREDENTIAL_REVOKED, 0 },
        { "ends by a lock on the user", lock_user, REASON_LOCKED, 0 },
        { "ends by a lock on the group", lock_group, REASON_LOCKED, 0 },
        { "ends by a lock on the profile", lock_profile, REASON_LOCKED, 0 },
        { "ends by a lock on the source", lock_source, REASON_LOCKED, 0 },
        { "ends by a lock on the agent", lock_agent, REASON_LOCKED, 0 },
        { "goes on when another is locked", lock_other, REASON_NONE, INT64_MAX },
        { "is cut by itself", cut_stream, REASON_REVOKED, 0 },
        { "is cut with its user's", cut_user, REASON_REVOKED, 0 },
        { "is cut with its agent's", cut_agent, REASON_REVOKED, 0 },
        { "is not cut when it is younger", cut_earlier, REASON_NONE, INT64_MAX },
        { "is not cut when the cut is over", cut_past, REASON_NONE, INT64_MAX },
        { "is not cut with another's", cut_other, REASON_NONE, INT64_MAX },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(policy_unrefp) struct policy *p = credential_of(base_world(), ANN, 0, NULL);
        const struct ulid k1 = uid(K1);
        struct policy_question q = question(ANN, "db.x", 5432);
        struct policy_decision d;
        struct policy_standing s;
        int64_t again_ms;

        check_row(rows[i].it);
        assert_int_equal(policy_decide(p, &q, &d), REASON_NONE);
        policy_stand(&d, &q, policy_credential(p, &k1), "stream-1", &s);
        p = rows[i].change(p);
        assert_int_equal(policy_still_allowed(p, &s, NOW_MS, &again_ms), rows[i].want);
        if (rows[i].want == REASON_NONE)
            assert_int_equal(again_ms, rows[i].again_ms);
    }
}

static void test_special_is_cut(void **state)
{
    AUTO(policy_unrefp) struct policy *p = unix_lifted(base_world());
    struct policy_question q = question(ANN, "db.x", 5432);
    struct policy_decision d;
    struct policy_standing s;
    int64_t again_ms;

    (void)state;
    assert_int_equal(policy_decide(p, &q, &d), REASON_NONE);
    assert_non_null(d.override);
    policy_stand(&d, &q, NULL, NULL, &s);
    assert_int_equal(policy_still_allowed(p, &s, NOW_MS, &again_ms), REASON_NONE);
    check_row("ends what used allow_special when that is taken away");
    p = unix_plain(p);
    assert_int_equal(policy_still_allowed(p, &s, NOW_MS, &again_ms), REASON_REVOKED);
}

static void test_admitted(void **state)
{
    AUTO(policy_unrefp) struct policy *p = base_world();
    struct agent_record *a = make_agent(A1);
    struct relay_record *relay = MAKE(RELAY, relay_record, 7);
    const struct ulid a1 = uid(A1), none = uid(99), r = uid(7);

    (void)state;
    a->generation = 3;
    p = with(p, a);
    check_row("admits an agent of the state, from its generation on");
    assert_int_equal(policy_agent_admitted(p, &a1, 3, NOW_MS), REASON_NONE);
    assert_int_equal(policy_agent_admitted(p, &a1, 2, NOW_MS), REASON_AGENT_REVOKED);
    assert_int_equal(policy_agent_admitted(p, &none, 3, NOW_MS), REASON_AGENT_REVOKED);
    p = lock_agent(p);
    assert_int_equal(policy_agent_admitted(p, &a1, 3, NOW_MS), REASON_LOCKED);
    check_row("admits a relay only while it stands, active, in the state");
    assert_int_equal(policy_relay_admitted(p, &r), REASON_BAD_CERTIFICATE);
    p = with(p, relay);
    assert_int_equal(policy_relay_admitted(p, &r), REASON_BAD_CERTIFICATE);
    relay = MAKE(RELAY, relay_record, 7);
    relay->is_active = true;
    p = with(p, relay);
    assert_int_equal(policy_relay_admitted(p, &r), REASON_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_authenticate),
        cmocka_unit_test(test_still_allowed),
        cmocka_unit_test(test_special_is_cut),
        cmocka_unit_test(test_admitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
