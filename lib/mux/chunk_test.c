#include "lib/mux/chunk.h"
#include "lib/check/check.h"

static void put(struct chunk_queue *q, size_t n, unsigned char fill)
{
    size_t room;
    unsigned char *at = chunk_queue_reserve(q, CHUNK_LARGE, &room);

    assert_non_null(at);
    assert_true(room >= n);
    memset(at, fill, n);
    chunk_queue_commit(q, n);
}

static void test_idle_holds_nothing(void **state)
{
    struct chunk_queue q = { 0 };
    size_t room;

    (void)state;
    assert_non_null(chunk_queue_reserve(&q, CHUNK_LARGE, &room));
    assert_int_equal(room, CHUNK_LARGE_ROOM);
    assert_int_equal(q.held, CHUNK_LARGE);
    chunk_queue_commit(&q, 0);
    assert_int_equal(q.held, 0);
    put(&q, 100, 1);
    assert_int_equal(q.held, CHUNK_SMALL);
    chunk_queue_drop(&q, 100);
    assert_int_equal(q.held, 0);
    assert_null(q.head);
}

static void test_room_outlives_drop(void **state)
{
    struct chunk_queue q = { 0 };
    unsigned char *at, copy[3000];
    size_t room;

    (void)state;
    put(&q, 3000, 1);
    chunk_queue_copy(&q, copy, 3000);
    at = chunk_queue_reserve(&q, CHUNK_LARGE, &room);
    chunk_queue_drop(&q, 3000);             /* all acknowledged while the room is lent */
    memset(at, 2, 100);
    chunk_queue_commit(&q, 100);
    assert_int_equal(q.len, 100);
    chunk_queue_copy(&q, copy, 100);
    assert_int_equal(copy[99], 2);
    chunk_queue_drop(&q, 100);
    assert_int_equal(q.held, 0);
}

static void test_copy_and_rewind(void **state)
{
    struct chunk_queue q = { 0 };
    unsigned char a[40000], b[40000];

    (void)state;
    for (int i = 0; i < 10; i++)
        put(&q, 4000, (unsigned char)i);
    chunk_queue_copy(&q, a, 12345);
    chunk_queue_copy(&q, a + 12345, 40000 - 12345);
    for (size_t i = 0; i < 40000; i++)
        assert_int_equal(a[i], i / 4000);
    chunk_queue_drop(&q, 9999);
    chunk_queue_rewind(&q);
    chunk_queue_copy(&q, b, 30001);
    assert_memory_equal(b, a + 9999, 30001);
    chunk_queue_drop_all(&q);
    assert_int_equal(q.held, 0);
}

static void test_append_and_peek(void **state)
{
    static const char bytes[CHUNK_LARGE_ROOM];
    struct chunk_queue q = { 0 };
    struct span spans[8];
    size_t n, sum = 0;

    (void)state;
    assert_int_equal(chunk_queue_cost(&q, 10), CHUNK_SMALL);
    assert_int_equal(chunk_queue_append(&q, span_of(bytes, 10)), 0);
    assert_int_equal(chunk_queue_cost(&q, 10), 0);
    assert_int_equal(chunk_queue_append(&q, span_of(bytes, CHUNK_LARGE_ROOM)), 0);
    assert_int_equal(chunk_queue_append(&q, span_of(bytes, CHUNK_LARGE_ROOM)), 0);
    n = chunk_queue_peek(&q, spans, 8);
    for (size_t i = 0; i < n; i++)
        sum += spans[i].n;
    assert_int_equal(sum, 10 + 2 * CHUNK_LARGE_ROOM);
    assert_int_equal(q.len, sum);
    chunk_queue_drop(&q, sum - 1);
    assert_int_equal(chunk_queue_peek(&q, spans, 8), 1);
    assert_int_equal(spans[0].n, 1);
    chunk_queue_drop(&q, 1);
    assert_int_equal(q.held, 0);
}

static void test_cut(void **state)
{
    static char bytes[CHUNK_LARGE_ROOM];
    struct chunk_queue q = { 0 };
    struct span spans[8];

    (void)state;
    for (size_t cut = 0; cut <= 100 + 2 * sizeof(bytes); cut += cut < 3 ? 1 : 4099) {
        size_t left = 100 + 2 * sizeof(bytes) - cut, sum = 0, n;

        memset(bytes, 'a', sizeof(bytes));
        for (int i = 0; i < 2; i++)
            assert_int_equal(chunk_queue_append(&q, span_of(bytes, sizeof(bytes))), 0);
        assert_int_equal(chunk_queue_append(&q, span_of(bytes, 100)), 0);
        chunk_queue_cut(&q, cut);
        assert_int_equal(q.len, left);
        assert_int_equal(chunk_queue_append(&q, SPAN("tail")), 0);
        chunk_queue_drop(&q, left);
        n = chunk_queue_peek(&q, spans, 8);
        for (size_t i = 0; i < n; i++)
            sum += spans[i].n;
        assert_int_equal(sum, 4);
        assert_memory_equal(spans[0].p, "tail", spans[0].n);
        chunk_queue_cut(&q, 4);
        assert_int_equal(q.held, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_holds_nothing),
        cmocka_unit_test(test_room_outlives_drop),
        cmocka_unit_test(test_copy_and_rewind),
        cmocka_unit_test(test_append_and_peek),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
