#include "lib/policy/base_fixture.h"
#include "lib/policy/compare.h"
#include "lib/policy/random_fixture.h"

/*
 * What is said to be gained and lost against what is: questions before and after the same change.
 */
enum { ITEMS = 4096, COMPARED_WORLDS = 40, COMPARED_STEPS = 10, PAIRS = 40 };

static struct {
    struct compare_item items[ITEMS];
    size_t count;
} heard;

static void hear(void *ctx, const struct compare_item *item)
{
    (void)ctx;
    assert_true(heard.count < ITEMS);
    heard.items[heard.count++] = *item;
}

static struct compare_summary compare(const struct policy *before, const struct policy *after,
                                      const struct compare_changed *changed, size_t n, size_t max)
{
    struct compare_summary s;

    heard.count = 0;
    assert_int_equal(policy_compare(&(struct compare_question){
        .before = before, .after = after, .changed = changed, .changed_count = n, .now_ms = NOW_MS,
        .decisions_max = max, .item = hear }, &s), 0);
    assert_int_equal(s.gains + s.losses, heard.count);
    return s;
}

static const struct compare_item *find(bool is_gain, const char *host, uint16_t first, uint16_t last)
{
    for (size_t i = 0; i < heard.count; i++) {
        const struct compare_item *item = &heard.items[i];

        if (item->is_gain == is_gain && strcmp(item->host, host) == 0 && item->ports.first == first &&
            item->ports.last == last)
            return item;
    }
    return NULL;
}

/* ---- one change of the base world ---- */
static struct policy *grant_less(struct policy *p) { return without(p, RECORD_GRANT, GR + 3); }
static struct policy *user_off(struct policy *p)
{
    struct user_record *u = make_user(ANN, "ann", STAFF);

    u->is_active = false;
    return with(p, u);
}
static struct policy *bob_whole(struct policy *p)
{
    return with(with(p, make_user(BOB, "bob", 0)), make_grant(GR + 9, SUBJECT_USER, BOB, 0, G2));
}
static struct policy *lock_suffix(struct policy *p) { return with(p, make_lock(L1, LOCK_PROFILE, P_SUFFIX)); }
static struct policy *same(struct policy *p) { return with(p, make_quota(Q1, QUOTA_ALL, 0)); }

static void test_says_what_one_change_does(void **state)
{
    static const struct {
        const char *it;
        world_change *change;
        struct compare_changed changed[2];
        size_t gains, losses;
        const char *host;
        uint16_t first, last;
    } rows[] = {
        { "a grant on a network goes, but for what a narrower one gives", grant_less,
          { { RECORD_GRANT, { "" } } }, 0, 1, "10.0.0.0/8", 1, 65535 },
        { "a user is disabled", user_off, { { RECORD_USER, { "" } } }, 0, 10, "db.x", 5432, 5432 },
        { "a user comes, who may use a whole group", bob_whole, { { RECORD_USER, { "" } }, { RECORD_GRANT, { "" } } },
          3, 0, "*", 1, 65535 },
        { "a profile is locked, for all that it names", lock_suffix, { { RECORD_LOCK, { "" } } },
          0, 4, "*.x", 80, 80 },
        { "nothing", same, { { RECORD_QUOTA, { "" } } }, 0, 0, NULL, 0, 0 },
    };
    static const unsigned ids[][2] = { { GR + 3 }, { ANN }, { BOB, GR + 9 }, { L1 }, { Q1 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(policy_unrefp) struct policy *before = base_world(), *after = NULL;
        struct compare_changed changed[2];
        struct compare_summary s;

        check_row(rows[i].it);
        after = rows[i].change(policy_ref(before));
        for (size_t k = 0; k < 2; k++)
            changed[k] = (struct compare_changed){ rows[i].changed[k].kind, uid(ids[i][k]) };
        s = compare(before, after, changed, ids[i][1] ? 2 : 1, 0);
        assert_int_equal(s.gains, rows[i].gains);
        assert_int_equal(s.losses, rows[i].losses);
        assert_false(s.is_truncated || s.is_rough);
        if (rows[i].host)
            assert_non_null(find(rows[i].gains > 0, rows[i].host, rows[i].first, rows[i].last));
        if (s.losses) {
            s = compare(before, after, changed, 1, 2);          /* one piece of several */
            assert_true(s.is_truncated);
        }
    }
}

/* ---- random changes ---- */
static bool allowed(const struct policy *p, const struct policy_question *q)
{
    static struct policy_decision d;

    return policy_decide(p, q, &d) == REASON_NONE;
}

/* The change of the pair that some item speaks of: 1 gained, -1 lost, 0: of none. */
static bool is_said(const struct policy_question *q, bool is_gain)
{
    for (size_t i = 0; i < heard.count; i++) {
        const struct compare_item *item = &heard.items[i];
        struct host_pattern p = pattern(item->host);
        bool is_it = item->is_gain == is_gain && strcmp(item->user->record.id, q->user.text) == 0 &&
                     (host_pattern_matches(&p, &q->target)) && item->ports.first <= q->target.port &&
                     q->target.port <= item->ports.last;

        host_pattern_deinit(&p);
        if (is_it)
            return true;
    }
    return false;
}

static void check_items(const struct policy *before, const struct policy *after)
{
    for (size_t i = 0; i < heard.count; i++) {
        const struct compare_item *item = &heard.items[i];
        struct policy_question q = { .now_ms = NOW_MS, .source = item->source, .target = item->witness };

        span_copy(record_id(&item->user->record), q.user.text, sizeof(q.user.text));
        q.target.port = item->ports.first;
        assert_int_equal(allowed(before, &q), !item->is_gain);
        assert_int_equal(allowed(after, &q), item->is_gain);
        q.target.port = item->ports.last;
        assert_int_equal(allowed(after, &q), item->is_gain);
    }
}

static unsigned changed_pairs;

static void check_pair(const struct policy *before, const struct policy *after)
{
    struct policy_question q = { .user = uid(USER + roll(USERS)), .now_ms = NOW_MS };
    bool was, is;

    assert_true(addr_parse(span_str(from[roll(ARRAY_LEN(from))]), &q.source));
    q.target = to(targets[roll(ARRAY_LEN(targets))], (uint16_t)(79 + roll(4)));
    was = allowed(before, &q);
    is = allowed(after, &q);
    changed_pairs += was != is;
    if (was != is && !is_said(&q, is))
        fail_msg("%s %s %s:%u, which nothing tells", q.user.text, is ? "gains" : "loses", q.target.name, q.target.port);
}

/* All that differs between two versions. */
static size_t find_changed(const struct policy *before, const struct policy *after, struct compare_changed *changed)
{
    static const enum record_kind kinds[] = { RECORD_USER, RECORD_AGENT, RECORD_AGENTGROUP, RECORD_PROFILE,
                                              RECORD_GRANT, RECORD_LOCK };
    size_t n = 0;

    for (size_t at = 0; at < ARRAY_LEN(ranges); at++) {
        for (unsigned i = ranges[at].first; i < ranges[at].first + ranges[at].count; i++) {
            const struct ulid id = uid(i);

            if (policy_find(before, kinds[at], ulid_span(&id)) != policy_find(after, kinds[at], ulid_span(&id)))
                changed[n++] = (struct compare_changed){ kinds[at], id };
        }
    }
    return n;
}

static void test_misses_nothing(void **state)
{
    static struct compare_changed changed[ARRAY_LEN(all)];

    (void)state;
    for (unsigned world = 1; world <= COMPARED_WORLDS; world++) {
        struct policy *p = policy_new();
        char row[40];

        snprintf(row, sizeof(row), "says all that changes in world %u", world);
        check_row(row);
        seed = world * 0x9e3779b97f4a7c15u;
        has_lists = world % 2;
        p = change_some(p, 1);
        for (unsigned step = 0; step < COMPARED_STEPS; step++) {
            AUTO(policy_unrefp) struct policy *before = policy_ref(p);

            p = change_some(p, 12);
            compare(before, p, changed, find_changed(before, p, changed), 4000000);
            check_items(before, p);
            for (unsigned i = 0; i < PAIRS; i++)
                check_pair(before, p);
        }
        policy_unref(p);
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            record_unref(TAKE(all[i]));
    }
    assert_true(changed_pairs > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_what_one_change_does),
        cmocka_unit_test(test_misses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
