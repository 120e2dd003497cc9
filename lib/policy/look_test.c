#include "lib/policy/look.h"
#include "lib/policy/world_fixture.h"

enum { ANN = 1, A1 = 11, A2, GROUP = 21, NAMES = 31, NETS, GRANT = 41, OVERRIDE = 51, LOCK = 61 };

static struct override_record *make_override(const char *host, const char *address, const char *path)
{
    struct override_record *o = MAKE(OVERRIDE, override_record, OVERRIDE);

    o->host = pattern(host);
    if (path) {
        snprintf(o->unix_path, sizeof(o->unix_path), "%s", path);
        return o;
    }
    o->addrs = calloc(1, sizeof(*o->addrs));
    assert_non_null(o->addrs);
    assert_true(addr_parse(span_str(address), &o->addrs[0]));
    o->addr_count = 1;
    return o;
}

static struct policy *world(void)
{
    struct policy *p = policy_new();
    struct agentgroup_record *group = make_agentgroup(GROUP, ROUTE_PRIORITY);
    struct profile_record *nets = make_profile(NETS, "10.0.0.0/8", 0, GROUP);

    nets->match_resolved = true;
    nets->allow_special = true;
    add_member(group, A1, 1, 1);
    p = with(p, make_agent(A1));
    p = with(p, group);
    p = with(p, make_profile(NAMES, "*.x", 443, GROUP));
    return with(p, nets);
}

static struct policy *as_it_is(struct policy *p) { return p; }
static struct policy *lock_agent(struct policy *p) { return with(p, make_lock(LOCK, LOCK_AGENT, A1)); }
static struct policy *lock_profile(struct policy *p) { return with(p, make_lock(LOCK, LOCK_PROFILE, NAMES)); }
static struct policy *no_agent(struct policy *p) { return without(p, RECORD_AGENT, A1); }
static struct policy *to_address(struct policy *p) { return with(p, make_override("db.x", "10.9.9.9", NULL)); }
static struct policy *to_socket(struct policy *p) { return with(p, make_override("db.x", NULL, "/run/db.sock")); }

static struct policy *lock_address(struct policy *p)
{
    struct lock_record *lock = make_lock(LOCK, LOCK_ADDRESS, 0);

    lock->address = network("10.1.0.0/16");
    return with(p, lock);
}

static struct policy *off_agent(struct policy *p)
{
    struct agent_record *a = make_agent(A1);

    a->is_active = false;
    return with(p, a);
}

static void test_rows(void **state)
{
    static const struct {
        const char *it;
        struct policy *(*change)(struct policy *p);
        const char *host;
        unsigned profile;
        enum reason why;
        size_t ranges;
        bool special, override;
    } rows[] = {
        { "lets the agent's own policy decide", as_it_is, "db.x", 0, REASON_NONE, 0, false, false },
        { "permits a literal and nothing else", as_it_is, "10.1.2.3", 0, REASON_NONE, 1, false, false },
        { "lifts nothing without a profile", as_it_is, "127.0.0.1", 0, REASON_NONE, 1, false, false },
        { "stands on a profile that names the target", as_it_is, "db.x", NAMES, REASON_NONE, 0, false, false },
        { "refuses what the profile does not name", as_it_is, "db.y", NAMES, REASON_NO_GRANT, 0, false, false },
        { "bounds a name by what it may resolve to", as_it_is, "db.y", NETS, REASON_NONE, 1, true, false },
        { "lifts by a profile that allows it", as_it_is, "10.1.2.3", NETS, REASON_NONE, 1, true, false },
        { "refuses a profile that is not there", as_it_is, "db.x", 99, REASON_NO_GRANT, 0, false, false },
        { "sends the override along", to_address, "db.x", 0, REASON_NONE, 0, false, true },
        { "reaches no socket without a profile", to_socket, "db.x", 0, REASON_TARGET_FORBIDDEN, 0, false, true },
        { "reaches a socket by a profile that allows it", to_socket, "db.x", NETS, REASON_NONE, 1, true, true },
        { "is outranked by a lock on the agent", lock_agent, "db.x", 0, REASON_LOCKED, 0, false, false },
        { "is outranked by a lock on the address", lock_address, "10.1.2.3", 0, REASON_LOCKED, 0, false, false },
        { "is free of a lock on another address", lock_address, "10.2.2.3", 0, REASON_NONE, 1, false, false },
        { "is outranked by a lock on a profile that names the target", lock_profile, "db.x", 0, REASON_LOCKED, 0, false, false },
        { "knows no agent that went", no_agent, "db.x", 0, REASON_AGENT_REVOKED, 0, false, false },
        { "asks no agent that is off", off_agent, "db.x", 0, REASON_AGENT_REVOKED, 0, false, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(policy_unrefp) struct policy *p = rows[i].change(world());
        struct policy_look look = { .target = to(rows[i].host, 443), .agent = uid(A1), .agentgroup = uid(GROUP),
                                    .now_ms = NOW_MS };
        struct policy_decision d;

        check_row(rows[i].it);
        if (rows[i].profile)
            look.profile = uid(rows[i].profile);
        assert_int_equal(policy_look(p, &look, &d), rows[i].why);
        assert_int_equal(d.reason, rows[i].why);
        assert_int_equal(d.range_count, rows[i].ranges);
        assert_int_equal(d.allow_special, rows[i].special);
        assert_int_equal(d.override != NULL, rows[i].override);
        assert_int_equal(d.lock != NULL, rows[i].why == REASON_LOCKED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
