#include "lib/policy/random_fixture.h"

/* Random worlds and questions: the indexed decision against one that looks at everything. */
enum { WORLDS = 60, STEPS = 12, QUESTIONS = 25 };

static const struct record *model_find(const struct ulid *id)
{
    uint64_t n;

    return span_to_u64(ulid_span(id), ARRAY_LEN(all) - 1, &n) ? all[n] : NULL;
}

static bool model_locked(enum lock_kind kind, const char *id, const struct addr *a)
{
    for (unsigned i = LOCK; i < LOCK + LOCKS; i++) {
        const struct lock_record *l = RECORD_AS(all[i], LOCK, lock_record);

        if (!l || l->lock_kind != kind || (l->until_ms && l->until_ms <= NOW_MS))
            continue;
        if (a ? cidr_has(&l->address, a) : strcmp(l->target.text, id) == 0)
            return true;
    }
    return false;
}

/* How well a profile names the target: 0 not at all; names above 1000, networks above 2000. */
static int model_rank(const struct profile_record *p, const struct target *t)
{
    int best = 0;

    if (!ports_have(p->ports, p->port_count, t->port))
        return 0;
    for (size_t i = 0; i < p->host_count; i++) {
        const struct host_pattern *h = &p->hosts[i];
        int rank = h->kind == HOST_EXACT ? 1900 : h->kind == HOST_CIDR ? 2000 + h->cidr.bits
                                                        : 1000 + (int)strlen(h->text);

        if (host_pattern_matches(h, t) && rank > best)
            best = rank;
    }
    return best;
}

static bool model_resolves(const struct profile_record *p, const struct target *t)
{
    bool has = false;

    for (size_t i = 0; i < p->host_count; i++)
        has |= p->hosts[i].kind == HOST_CIDR;
    return has && p->match_resolved && !t->is_literal && ports_have(p->ports, p->port_count, t->port);
}

static bool model_in_force(const struct grant_record *g, const struct addr *source)
{
    if ((g->end_ms && NOW_MS >= g->end_ms) || NOW_MS < g->start_ms)
        return false;
    return g->source_count == 0 || cidr_has(&g->sources[0], source);
}

static bool model_is_subject(const struct grant_record *g, const struct user_record *u)
{
    return strcmp(g->subject.text, u->record.id) == 0 ||
           (u->group_count && strcmp(g->subject.text, u->groups[0].text) == 0);
}

/* Any agent that could carry it. */
static bool model_has_agent(const struct grant_record *g, const struct profile_record *p)
{
    const struct agentgroup_record *group = RECORD_AS(
        model_find(g->agentgroup.text[0] ? &g->agentgroup : &p->agentgroup), AGENTGROUP, agentgroup_record);

    for (size_t i = 0; group && i < group->member_count; i++) {
        const struct agent_record *a = RECORD_AS(model_find(&group->members[i].agent), AGENT, agent_record);

        if (a && a->is_active && !model_locked(LOCK_AGENT, a->record.id, NULL))
            return true;
    }
    return false;
}

/* Best rank of a usable grant: 0 none, 1 whole group, 2 match_resolved, above: model_rank. */
static int model_best(const struct policy_question *q, const struct user_record *u)
{
    int best = 0;

    for (unsigned i = GRANT; i < GRANT + GRANTS; i++) {
        const struct grant_record *g = RECORD_AS(all[i], GRANT, grant_record);
        const struct profile_record *p;
        int rank = 1;

        if (!g || !model_is_subject(g, u) || !model_in_force(g, &q->source))
            continue;
        p = g->profile.text[0] ? RECORD_AS(model_find(&g->profile), PROFILE, profile_record) : NULL;
        if (g->profile.text[0]) {
            rank = p ? model_rank(p, &q->target) : 0;
            if (p && rank == 0 && model_resolves(p, &q->target) &&
                !model_locked(LOCK_PROFILE, p->record.id, NULL))
                rank = 2;
        }
        if (rank > best && model_has_agent(g, p))
            best = rank;
    }
    return best;
}

static bool model_refuses_all(const struct policy_question *q, const struct user_record *u)
{
    if (!u || !u->is_active || model_locked(LOCK_USER, u->record.id, NULL) ||
        (u->group_count && model_locked(LOCK_GROUP, u->groups[0].text, NULL)) ||
        model_locked(LOCK_ADDRESS, NULL, &q->source) ||
        (q->target.is_literal && model_locked(LOCK_ADDRESS, NULL, &q->target.addr)))
        return true;
    for (unsigned i = PROFILE; i < PROFILE + PROFILES; i++) {
        const struct profile_record *p = RECORD_AS(all[i], PROFILE, profile_record);

        if (p && model_rank(p, &q->target) && model_locked(LOCK_PROFILE, p->record.id, NULL))
            return true;
    }
    return false;
}

static int rank_of(const struct policy_decision *d, const struct target *t)
{
    if (d->reason != REASON_NONE)
        return 0;
    if (!d->profile)
        return 1;
    return model_rank(d->profile, t) ? model_rank(d->profile, t) : 2;
}

static void ask(const struct policy *p)
{
    struct policy_question q = { .user = uid(USER + roll(USERS)), .now_ms = NOW_MS };
    const struct user_record *u = RECORD_AS(model_find(&q.user), USER, user_record);
    struct policy_decision d;
    struct policy_standing s;
    int64_t again_ms;
    int want;

    assert_true(addr_parse(span_str(from[roll(ARRAY_LEN(from))]), &q.source));
    q.target = to(targets[roll(ARRAY_LEN(targets))], roll(2) ? 80 : 81);
    want = model_refuses_all(&q, u) ? 0 : model_best(&q, u);
    policy_decide(p, &q, &d);
    assert_int_equal(rank_of(&d, &q.target), want);
    if (d.reason != REASON_NONE)
        return;
    policy_stand(&d, &q, NULL, NULL, &s);
    assert_int_equal(policy_still_allowed(p, &s, NOW_MS, &again_ms), REASON_NONE);
}

static void test_model(void **state)
{
    (void)state;
    for (unsigned world = 1; world <= WORLDS; world++) {
        struct policy *p = policy_new();
        char row[40];

        snprintf(row, sizeof(row), "decides as the model in world %u", world);
        check_row(row);
        seed = world * 0x9e3779b97f4a7c15u;
        for (unsigned step = 0; step < STEPS; step++) {
            p = change_some(p, step ? 6 : 1);
            for (unsigned i = 0; i < QUESTIONS; i++)
                ask(p);
        }
        policy_unref(p);
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            record_unref(TAKE(all[i]));
    }
}

/* After everything is removed again nothing is left in any index. */
static void test_empties(void **state)
{
    AUTO(policy_unrefp) struct policy *p = policy_new();
    struct policy_cursor cursor = { 0 };

    (void)state;
    seed = 77;
    for (unsigned i = 0; i < 5; i++)
        p = change_some(p, 1);
    for (size_t at = 0; at < ARRAY_LEN(ranges); at++) {
        for (unsigned n = ranges[at].first; n < ranges[at].first + ranges[at].count; n++) {
            for (enum record_kind k = 0; k < RECORD_KIND_COUNT; k++)
                p = without(p, k, n);
            record_unref(TAKE(all[n]));
        }
    }
    for (enum record_kind k = 0; k < RECORD_KIND_COUNT; k++)
        assert_int_equal(policy_count(p, k), 0);
    assert_null(policy_next(p, RECORD_USER, &cursor));
    assert_null(policy_find_name(p, RECORD_USER, SPAN("user")));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_model), cmocka_unit_test(test_empties) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
