#include "dataplane/policy/tally.h"
#include "lib/check/check.h"
#include <errno.h>

enum { THREADS = 4, TRIES = 2000 };

static void test_streams(void **state)
{
    struct tally *t;

    (void)state;
    check_row("takes so many streams, and another when one is given back");
    assert_int_equal(tally_new(2, 1 << 20, &t), 0);
    assert_true(tally_take_stream(t) && tally_take_stream(t));
    assert_false(tally_take_stream(t));
    assert_int_equal(tally_streams(t), 2);
    tally_put_stream(t);
    assert_true(tally_take_stream(t));
    tally_free(t);
}

static void test_grants(void **state)
{
    const struct ulid one = { "01J00000000000000000000001" }, other = { "01J00000000000000000000002" };
    struct grant_count *a, *b, *c;
    struct tally *t;

    (void)state;
    check_row("keeps each grant to its own limit");
    assert_int_equal(tally_new(10, 1 << 20, &t), 0);
    assert_int_equal(tally_take_grant(t, &one, 2, &a), 0);
    assert_int_equal(tally_take_grant(t, &one, 2, &b), 0);
    assert_int_equal(tally_take_grant(t, &one, 2, &c), -EDQUOT);
    assert_int_equal(tally_take_grant(t, &other, 1, &c), 0);
    assert_int_equal(tally_grant_streams(t, &one), 2);
    tally_put_grant(t, a);
    assert_int_equal(tally_take_grant(t, &one, 2, &a), 0);

    check_row("counts without a limit, too, and forgets a grant with its last stream");
    assert_int_equal(tally_take_grant(t, &one, 0, &c), 0);
    assert_int_equal(tally_grant_streams(t, &one), 3);
    for (int i = 0; i < 3; i++)
        tally_put_grant(t, a);
    assert_int_equal(tally_grant_streams(t, &one), 0);
    tally_free(t);
}

static void test_memory(void **state)
{
    struct tally *t;

    (void)state;
    check_row("gives what there is and no more");
    assert_int_equal(tally_new(1, 100, &t), 0);
    assert_int_equal(tally_take_memory(t, 60), 60);
    assert_int_equal(tally_take_memory(t, 60), 40);
    assert_int_equal(tally_take_memory(t, 60), 0);
    tally_put_memory(t, 10);
    assert_int_equal(tally_take_memory(t, 60), 10);
    tally_free(t);
}

static void test_told(void **state)
{
    struct tally *t;
    unsigned told = 0;

    (void)state;
    check_row("tells so many in a second, and again in the next");
    assert_int_equal(tally_new(1, 1, &t), 0);
    for (unsigned i = 0; i < 3 * TALLY_TOLD_PER_S; i++)
        told += tally_may_tell(t, 7);
    assert_int_equal(told, TALLY_TOLD_PER_S);
    assert_true(tally_may_tell(t, 8));
    tally_free(t);
}

struct taker {
    struct tally *tally;
    unsigned took;
    size_t bytes;
};

static void *take_all(void *arg)
{
    struct taker *me = arg;

    for (int i = 0; i < TRIES; i++) {
        me->took += tally_take_stream(me->tally);
        me->bytes += tally_take_memory(me->tally, 7);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct taker takers[THREADS] = { 0 };
    pthread_t threads[THREADS];
    unsigned took = 0;
    size_t bytes = 0;
    struct tally *t;

    (void)state;
    check_row("is exact, however many take at once");
    assert_int_equal(tally_new(THREADS * TRIES / 2, 9999, &t), 0);
    for (int i = 0; i < THREADS; i++) {
        takers[i].tally = t;
        assert_int_equal(pthread_create(&threads[i], NULL, take_all, &takers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        took += takers[i].took;
        bytes += takers[i].bytes;
    }
    assert_int_equal(took, THREADS * TRIES / 2);
    assert_int_equal(bytes, 9999);
    tally_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams), cmocka_unit_test(test_grants), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_told), cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
