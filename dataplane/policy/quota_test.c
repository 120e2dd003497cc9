#include "dataplane/policy/quota.h"
#include "lib/policy/base_fixture.h"
#include <pthread.h>
#include <stdatomic.h>

#define DAY_MS (24 * HOUR_MS)
#define DAY ((int64_t)20000 * DAY_MS)           /* a midnight in UTC */

static const struct quota_time at_start = { .wall_ms = DAY + 1000, .mono_ms = 1000 };

static struct quota_time later(uint64_t ms)
{
    return (struct quota_time){ at_start.wall_ms + (int64_t)ms, at_start.mono_ms + ms };
}

struct world {
    struct quotas *quotas;
    struct policy *policy;
};

static void sync_all(struct world *w)
{
    quotas_sync(w->quotas, w->policy, &at_start);
}

static struct quota_record *put(struct world *w, struct quota_record *q)
{
    w->policy = with(w->policy, q);
    sync_all(w);
    return q;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    assert_int_equal(quotas_new(3, &w->quotas), 0);
    w->policy = policy_new();
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    quotas_free(w->quotas);
    policy_unref(w->policy);
    free(w);
    return 0;
}

static const struct quota_record *quota_of(const struct world *w, unsigned n)
{
    const struct ulid id = uid(n);

    return RECORD_AS(policy_find(w->policy, RECORD_QUOTA, ulid_span(&id)), QUOTA, quota_record);
}

/* One stream on each of the quotas first … first + n - 1. */
static enum reason take(struct world *w, unsigned first, unsigned n, struct quota_time now,
                        struct quota_pool **ret_pools, struct quota_refusal *ret_refusal)
{
    const struct quota_record *quotas[4];
    size_t count;

    for (unsigned i = 0; i < n; i++)
        quotas[i] = quota_of(w, first + i);
    return quotas_take(w->quotas, quotas, n, &now, ret_pools, &count, ret_refusal);
}

static void test_streams(void **state)
{
    struct world *w = *state;
    struct quota_pool *a[2], *b[2], *c[2];
    struct quota_refusal refusal;
    const struct ulid second = uid(Q1 + 1);

    put(w, make_quota(Q1, QUOTA_USER, ANN))->streams = 2;
    put(w, make_quota(Q1 + 1, QUOTA_ALL, 0));
    check_row("takes a place in each, or in none");
    assert_int_equal(take(w, Q1, 2, at_start, a, &refusal), REASON_NONE);
    assert_int_equal(take(w, Q1, 2, at_start, b, &refusal), REASON_QUOTA_ALL);
    assert_string_equal(refusal.quota.text, second.text);
    assert_int_equal(refusal.wait_ms, 0);
    assert_int_equal(take(w, Q1, 1, at_start, b, &refusal), REASON_NONE);
    assert_int_equal(take(w, Q1, 1, at_start, c, &refusal), REASON_QUOTA_USER);

    check_row("has room again when one is given back");
    quotas_put(w->quotas, a, 2);
    assert_int_equal(take(w, Q1, 2, at_start, c, &refusal), REASON_NONE);
    quotas_put(w->quotas, b, 1);
    quotas_put(w->quotas, c, 2);

    check_row("counts a stream that lives already beyond the limit, too");
    assert_int_equal(take(w, Q1 + 1, 1, at_start, a, &refusal), REASON_NONE);
    const struct quota_record *all = quota_of(w, Q1 + 1);
    size_t count;
    assert_int_equal(quotas_join(w->quotas, &all, 1, b, &count), REASON_NONE);
    assert_int_equal(count, 1);
    quotas_put(w->quotas, a, 1);
    assert_int_equal(take(w, Q1 + 1, 1, at_start, c, &refusal), REASON_QUOTA_ALL);
    quotas_put(w->quotas, b, 1);
}

static void test_rate(void **state)
{
    static const struct { const char *it; uint64_t at_ms; bool is_taken; uint64_t wait_ms; } rows[] = {
        { "takes a burst", 0, true, 0 },
        { "to its end", 0, true, 0 },
        { "then says how long", 0, false, 250 },
        { "and how long is left", 100, false, 150 },
        { "takes the next in time", 250, true, 0 },
        { "and no other", 250, false, 250 },
        { "gathers no more than the burst", 60000, true, 0 },
        { "however long it waits", 60000, true, 0 },
        { "beyond it nothing", 60000, false, 250 },
    };
    struct world *w = *state;
    struct quota_record *q = make_quota(Q1, QUOTA_USER, ANN);

    q->streams = 0;
    q->streams_per_s = 4;
    q->burst = 2;
    put(w, q);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct quota_time now = later(rows[i].at_ms);
        struct quota_refusal refusal = { .wait_ms = 0 };
        struct quota_pool *pool;
        uint64_t wait_ms = 0;

        check_row(rows[i].it);
        assert_int_equal(quotas_have_room(w->quotas, q, &now, &wait_ms), rows[i].is_taken);
        assert_int_equal(wait_ms, rows[i].wait_ms);
        assert_int_equal(take(w, Q1, 1, now, &pool, &refusal), rows[i].is_taken ? REASON_NONE : REASON_QUOTA_USER);
        if (rows[i].is_taken)
            quotas_put(w->quotas, &pool, 1);
        else
            assert_int_equal(refusal.wait_ms, rows[i].wait_ms);
    }
}

static struct quota_pool *pool_with(struct world *w, int64_t per_s, int64_t per_day)
{
    struct quota_record *q = make_quota(Q1, QUOTA_USER, ANN);
    struct quota_refusal refusal;
    struct quota_pool *pool;

    q->streams = 0;
    q->bytes_per_s = per_s;
    q->bytes_per_day = per_day;
    put(w, q);
    assert_int_equal(take(w, Q1, 1, at_start, &pool, &refusal), REASON_NONE);
    return pool;
}

/* Whoever asks all the time gets the rate, and what came in a tenth of a second before. */
static void test_bytes_per_s(void **state)
{
    static const int64_t rates[] = { 1024, 1500, 100000, 10000000, (int64_t)1 << 40 };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        struct quota_pool *pool = pool_with(w, rates[i], 0);
        int64_t depth = rates[i] / 10 > 4096 ? rates[i] / 10 : 4096, sum = 0, got;
        char row[64];

        snprintf(row, sizeof(row), "gives %lld a second", (long long)rates[i]);
        check_row(row);
        for (uint64_t ms = 0; ms < 10000; ms++) {
            while ((got = quota_lease(pool, INT64_MAX / 2, at_start.mono_ms + ms)) > 0)
                sum += got;
        }
        assert_true(sum <= 10 * rates[i] + depth);
        assert_true(sum >= 10 * rates[i] - rates[i] / 10);
        quotas_put(w->quotas, &pool, 1);
        w->policy = without(w->policy, RECORD_QUOTA, Q1);
        sync_all(w);
    }
    check_row("gives all there is where there is no rate");
    struct quota_pool *pool = pool_with(w, 0, 0);
    assert_int_equal(quota_lease(pool, 5, at_start.mono_ms), INT64_MAX);
    quotas_put(w->quotas, &pool, 1);
}

enum { THREADS = 4 };
static struct quota_pool *shared;
static _Atomic int64_t leased;
static _Atomic uint64_t clock_ms;

static void *lease_much(void *arg)
{
    uint64_t now_ms;

    (void)arg;
    while ((now_ms = atomic_load(&clock_ms)) < 3000) {
        int64_t got = quota_lease(shared, 20000, at_start.mono_ms + now_ms);

        atomic_fetch_add(&leased, got);
        quota_count(shared, (uint64_t)got, at_start.wall_ms);
        atomic_compare_exchange_strong(&clock_ms, &now_ms, now_ms + 1);
    }
    return NULL;
}

static uint64_t told_bytes;

static void keep_bytes(void *ctx, const struct quota_usage *usage)
{
    (void)ctx;
    told_bytes = usage->bytes;
}

static void test_threads(void **state)
{
    struct world *w = *state;
    pthread_t threads[THREADS];

    check_row("gives several together no more, and counts what all carried");
    shared = pool_with(w, 10000000, 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, lease_much, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&leased) <= 30000000 + 1000000);
    assert_true(atomic_load(&leased) > 20000000);
    quotas_tell(w->quotas, &at_start, keep_bytes, NULL);
    assert_int_equal(told_bytes, atomic_load(&leased));
    quotas_put(w->quotas, &shared, 1);
}

static void test_day(void **state)
{
    struct world *w = *state;
    struct quota_pool *pool = pool_with(w, 0, 1000), *more;
    struct quota_refusal refusal;
    uint64_t overs = quotas_over_count(w->quotas);
    struct quota_time tomorrow = later(DAY_MS);

    check_row("counts down");
    quota_count(pool, 600, at_start.wall_ms);
    assert_int_equal(quota_day_left(pool), 400);
    assert_int_equal(quota_over(pool, at_start.wall_ms), REASON_NONE);
    check_row("is over at the limit, and says so once");
    quota_count(pool, 400, at_start.wall_ms);
    quota_count(pool, 5, at_start.wall_ms);
    assert_int_equal(quota_day_left(pool), 0);
    assert_int_equal(quota_over(pool, at_start.wall_ms), REASON_QUOTA_USER);
    assert_int_equal(quotas_over_count(w->quotas), overs + 1);
    check_row("refuses until the day ends");
    assert_int_equal(take(w, Q1, 1, at_start, &more, &refusal), REASON_QUOTA_USER);
    assert_int_equal(refusal.wait_ms, DAY_MS - 1000);
    check_row("and not longer");
    assert_int_equal(quota_over(pool, tomorrow.wall_ms), REASON_NONE);
    assert_int_equal(take(w, Q1, 1, tomorrow, &more, &refusal), REASON_NONE);
    assert_int_equal(quota_day_left(pool), 1000);
    quotas_put(w->quotas, &more, 1);

    check_row("counts what others used on that day, and forgets it with the day");
    quotas_set_others(w->quotas, quota_id(pool), DAY, 700);
    assert_int_equal(quota_day_left(pool), 1000);
    quotas_set_others(w->quotas, quota_id(pool), DAY + DAY_MS, 700);
    assert_int_equal(quota_day_left(pool), 300);
    quotas_set_others(w->quotas, quota_id(pool), DAY + DAY_MS, 800);
    assert_int_equal(quota_day_left(pool), 200);
    quota_count(pool, 1, tomorrow.wall_ms + DAY_MS);
    assert_int_equal(quota_day_left(pool), 999);
    check_row("says when it is over no longer: who stopped at its end goes on");
    quota_count(pool, 999, tomorrow.wall_ms + DAY_MS);
    overs = quotas_over_count(w->quotas);
    assert_true(overs > 0 && quota_day_left(pool) == 0);
    quota_count(pool, 1, tomorrow.wall_ms + 2 * DAY_MS);
    assert_int_equal(quotas_over_count(w->quotas), overs + 1);
    check_row("is over by others alone, too");
    overs = quotas_over_count(w->quotas);
    quotas_set_others(w->quotas, quota_id(pool), DAY + 3 * DAY_MS, 999);
    assert_int_equal(quotas_over_count(w->quotas), overs + 1);
    quotas_put(w->quotas, &pool, 1);
}

static size_t told_count;
static struct quota_usage told;

static void keep(void *ctx, const struct quota_usage *usage)
{
    (void)ctx;
    told = *usage;
    told_count++;
}

static size_t tell(struct world *w)
{
    size_t n;

    told_count = 0;
    n = quotas_tell(w->quotas, &at_start, keep, NULL);
    assert_int_equal(n, told_count);
    return n;
}

static void test_telling(void **state)
{
    struct world *w = *state;
    struct quota_refusal refusal;
    struct quota_pool *pool, *none;

    put(w, make_quota(Q1, QUOTA_USER, ANN));
    check_row("tells a quota once, and when something changed");
    assert_int_equal(tell(w), 1);
    assert_true(told.day_ms == DAY && told.day_end_ms == DAY + DAY_MS);
    assert_int_equal(tell(w), 0);
    assert_int_equal(take(w, Q1, 1, at_start, &pool, &refusal), REASON_NONE);
    quota_count(pool, 7, at_start.wall_ms);
    assert_int_equal(tell(w), 1);
    assert_true(told.streams == 1 && told.bytes == 7 && told.hits == QUOTA_HIT_STREAMS);
    assert_int_equal(take(w, Q1, 1, at_start, &none, &refusal), REASON_QUOTA_USER);
    assert_int_equal(tell(w), 0);
    quotas_put(w->quotas, &pool, 1);
    assert_int_equal(tell(w), 1);
    assert_true(told.streams == 0 && told.hits == 0);
}

static void test_changes(void **state)
{
    struct world *w = *state;
    struct quota_pool *pool = pool_with(w, 0, 1000), *other;
    struct quota_refusal refusal;
    struct quotas_stats stats;
    struct quota_record *q = make_quota(Q1, QUOTA_USER, ANN);

    check_row("keeps the count when a limit changes");
    quota_count(pool, 900, at_start.wall_ms);
    q->streams = 0;
    q->bytes_per_day = 2000;
    put(w, q);
    assert_int_equal(quota_day_left(pool), 1100);

    check_row("gives the reason of the scope that it has now");
    q = make_quota(Q1, QUOTA_GROUP, STAFF);
    q->streams = 0;
    q->bytes_per_day = 800;
    put(w, q);
    assert_int_equal(quota_over(pool, at_start.wall_ms), REASON_QUOTA_GROUP);

    check_row("limits nothing when its quota goes, until its streams are gone");
    w->policy = without(w->policy, RECORD_QUOTA, Q1);
    sync_all(w);
    assert_true(quota_day_left(pool) == UINT64_MAX);
    quotas_get_stats(w->quotas, &stats);
    assert_int_equal(stats.pools, 1);
    quotas_put(w->quotas, &pool, 1);
    quotas_get_stats(w->quotas, &stats);
    assert_int_equal(stats.pools, 0);

    check_row("refuses what it cannot count beyond its bound");
    for (unsigned i = 0; i < 4; i++)
        put(w, make_quota(Q1 + i, QUOTA_USER, ANN));
    quotas_get_stats(w->quotas, &stats);
    assert_true(stats.pools == 3 && stats.over_bound == 1);
    unsigned refused = 0;
    for (unsigned i = 0; i < 4; i++) {
        enum reason why = take(w, Q1 + i, 1, at_start, &other, &refusal);

        refused += why == REASON_OVERLOAD;
        if (why == REASON_NONE)
            quotas_put(w->quotas, &other, 1);
    }
    assert_int_equal(refused, 1);
}

static struct quotas_stats stats_of(const struct world *w)
{
    struct quotas_stats stats;

    quotas_get_stats(w->quotas, &stats);
    return stats;
}

static void exchange(struct world *w, unsigned gone, unsigned come)
{
    for (unsigned i = 0; i < 3; i++) {
        w->policy = without(w->policy, RECORD_QUOTA, gone + i);
        w->policy = with(w->policy, make_quota(come + i, QUOTA_USER, ANN));
    }
    sync_all(w);
}

static void test_bound(void **state)
{
    struct world *w = *state;
    struct quota_pool *pools[3];
    struct quota_refusal refusal;

    check_row("counts as many others at once, where all that were there go");
    for (unsigned i = 0; i < 3; i++)
        put(w, make_quota(Q1 + i, QUOTA_USER, ANN));
    exchange(w, Q1, Q1 + 3);
    assert_true(stats_of(w).pools == 3 && stats_of(w).over_bound == 0);

    check_row("counts those that found no room as soon as there is some");
    assert_int_equal(take(w, Q1 + 3, 3, at_start, pools, &refusal), REASON_NONE);
    exchange(w, Q1 + 3, Q1);
    assert_int_equal(stats_of(w).over_bound, 3);
    quotas_put(w->quotas, pools, 3);
    quotas_tell(w->quotas, &at_start, keep, NULL);
    assert_true(stats_of(w).pools == 3 && stats_of(w).over_bound == 0);
    assert_int_equal(take(w, Q1, 3, at_start, pools, &refusal), REASON_NONE);
    quotas_put(w->quotas, pools, 3);
}

#define WITH_WORLD(test_) cmocka_unit_test_setup_teardown(test_, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(test_streams), WITH_WORLD(test_rate),    WITH_WORLD(test_bytes_per_s), WITH_WORLD(test_threads),
        WITH_WORLD(test_day),     WITH_WORLD(test_telling), WITH_WORLD(test_changes),
        WITH_WORLD(test_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
