#include "dataplane/route/meter.h"
#include "lib/policy/base_fixture.h"

enum { STREAMS = 10 };

/* Streams that carry all they may, all the time, and what they share. */
struct stream {
    struct world *world;
    struct meter *meter;
    struct loop_task go;
    uint64_t carried;
    size_t most;
};

struct world {
    struct loop *loop;
    struct quotas *quotas;
    struct policy *policy;
    struct meters meters, elsewhere;
    struct stream streams[STREAMS];
    uint64_t carried, goal;
};

static void world_open(struct world *w, int64_t per_s, int64_t per_day)
{
    struct quota_record *q = make_quota(Q1, QUOTA_ALL, 0);

    q->streams = 0;
    q->bytes_per_s = per_s;
    q->bytes_per_day = per_day;
    assert_int_equal(loop_new(&w->loop), 0);
    assert_int_equal(quotas_new(10, &w->quotas), 0);
    w->policy = with(policy_new(), q);
    meters_init(&w->meters, w->loop, w->quotas);
    meters_init(&w->elsewhere, w->loop, w->quotas);
    const struct quota_time now = meters_now(&w->meters);
    quotas_sync(w->quotas, w->policy, &now);
}

static void world_close(struct world *w)
{
    for (size_t i = 0; i < STREAMS; i++) {
        loop_defer_cancel(&w->streams[i].go);
        meter_free(TAKE(w->streams[i].meter));
    }
    meters_deinit(&w->meters);
    meters_deinit(&w->elsewhere);
    quotas_free(w->quotas);
    policy_unref(w->policy);
    loop_free(w->loop);
}

static void on_resume(void *user);

static void go(void *arg)
{
    struct stream *s = arg;
    size_t n = s->world->carried < s->world->goal ? meter_room(s->meter, s->most) : 0;

    if (!n)
        return;
    meter_carried(s->meter, n);
    s->carried += n;
    s->world->carried += n;
    on_resume(s);
}

static void on_resume(void *user)
{
    struct stream *s = user;

    loop_defer(s->world->loop, &s->go, go, s);
}

static void start(struct world *w, size_t i, size_t most)
{
    const struct ulid id = uid(Q1);
    const struct quota_record *quota = RECORD_AS(policy_find(w->policy, RECORD_QUOTA, ulid_span(&id)), QUOTA, quota_record);
    const struct quota_time now = meters_now(&w->meters);
    struct stream *s = &w->streams[i];
    struct quota_pool *pool;
    struct quota_refusal refusal;
    size_t n;

    *s = (struct stream){ .world = w, .most = most };
    assert_int_equal(quotas_take(w->quotas, &quota, 1, &now, &pool, &n, &refusal), REASON_NONE);
    assert_int_equal(meter_new(&w->meters, &pool, n, on_resume, s, &s->meter), 0);
    on_resume(s);
}

static bool has_carried(void *arg)
{
    const struct world *w = arg;

    return w->carried >= w->goal;
}

/* One of them asks for little, one for all there is; the bytes of ten go alike to those who want them. */
static void test_shares(void **state)
{
    struct world w = { .goal = 3000000 };
    uint64_t start_ms;

    (void)state;
    world_open(&w, 4000000, 0);
    for (size_t i = 0; i < STREAMS; i++)
        start(&w, i, i == 0 ? 131072 : 16384);
    start_ms = mono_ms();
    assert_true(loop_run_until(w.loop, has_carried, &w, 60000));
    check_row("carries no more than the rate, and what came in a tenth of a second");
    assert_true(w.carried <= 4000 * (mono_ms() - start_ms + 10) + 400000);
    check_row("gives each alike");
    for (size_t i = 0; i < STREAMS; i++)
        assert_in_range(w.streams[i].carried, w.carried / STREAMS / 3, w.carried / STREAMS * 3);
    world_close(&w);
}

static void test_late_comer(void **state)
{
    struct world w = { .goal = 600000 };

    (void)state;
    check_row("lets one in who comes later, beside those who want more than there is");
    world_open(&w, 1000000, 0);
    for (size_t i = 0; i + 1 < STREAMS; i++)
        start(&w, i, 131072);
    assert_true(loop_run_until(w.loop, has_carried, &w, 60000));
    w.goal = 1800000;
    for (size_t i = 0; i + 1 < STREAMS; i++)
        on_resume(&w.streams[i]);
    start(&w, STREAMS - 1, 131072);
    assert_true(loop_run_until(w.loop, has_carried, &w, 60000));
    assert_true(w.streams[STREAMS - 1].carried > 1200000 / STREAMS / 10);    /* a slow machine's turns are uneven */
    world_close(&w);
}

static void test_day(void **state)
{
    struct world w = { .goal = UINT64_MAX };
    struct stream *s = &w.streams[0];

    (void)state;
    check_row("stops to the byte where the day's are used up");
    world_open(&w, 0, 100000);
    start(&w, 0, 30000);
    start(&w, 1, 30000);
    while (meter_room(s->meter, 30000) > 0)
        meter_carried(s->meter, meter_room(s->meter, 30000));
    assert_int_equal(meter_room(w.streams[1].meter, 1), 0);
    assert_true(quotas_over_count(w.quotas) > 0);       /* it was told, though it was less than a step */
    assert_int_equal(meter_over(s->meter), REASON_QUOTA_ALL);
    assert_false(meter_fits(s->meter, 1));
    loop_defer_cancel(&s->go);
    loop_defer_cancel(&w.streams[1].go);

    check_row("goes on when it is told that there is more");
    meter_kick(s->meter);
    assert_true(loop_defer_is_on(&s->go));
    loop_defer_cancel(&s->go);
    world_close(&w);
}

static void test_datagrams(void **state)
{
    struct world w = { .goal = UINT64_MAX };
    struct stream *s = &w.streams[0];
    size_t sent = 0;

    (void)state;
    check_row("drops the datagram that is beyond the day, and the day is over");
    world_open(&w, 0, 10000);
    start(&w, 0, 1400);
    loop_defer_cancel(&s->go);
    for (; sent < 20 && meter_fits(s->meter, 1400); sent++)
        meter_carried(s->meter, 1400);
    assert_int_equal(sent, 7);
    assert_int_equal(meter_over(s->meter), REASON_QUOTA_ALL);
    assert_true(quotas_over_count(w.quotas) > 0);
    world_close(&w);
}

static void test_moves(void **state)
{
    struct world w = { .goal = UINT64_MAX };
    struct stream *s = &w.streams[0];
    const struct quota_record *quota;
    const struct ulid id = uid(Q1);

    (void)state;
    check_row("takes its place along to another worker, out of the line");
    world_open(&w, 2048, 0);
    start(&w, 0, 131072);
    loop_defer_cancel(&s->go);
    while (meter_room(s->meter, 131072) > 0)
        meter_carried(s->meter, meter_room(s->meter, 131072));
    meter_leave(s->meter);
    assert_int_equal(w.meters.shares.count, 0);
    assert_int_equal(meter_arrive(s->meter, &w.elsewhere), 0);
    assert_int_equal(w.elsewhere.shares.count, 1);
    quota = RECORD_AS(policy_find(w.policy, RECORD_QUOTA, ulid_span(&id)), QUOTA, quota_record);
    assert_true(meter_is_on(s->meter, w.quotas, &quota, 1));
    assert_false(meter_is_on(s->meter, w.quotas, &quota, 0));
    assert_false(meter_is_on(NULL, w.quotas, &quota, 1));
    assert_true(meter_is_on(NULL, w.quotas, &quota, 0));
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares), cmocka_unit_test(test_late_comer), cmocka_unit_test(test_day), cmocka_unit_test(test_datagrams),
        cmocka_unit_test(test_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
