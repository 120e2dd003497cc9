#include "lib/base/map.h"
#include "lib/check/alloc.h"
#include "lib/check/check.h"
#include <stdio.h>

#define ITEMS 300

struct item {
    struct map_node node;
    char name[16];
    bool is_in;
};

static struct item items[ITEMS];

static int setup(void **state)
{
    (void)state;
    memset(items, 0, sizeof(items));
    for (size_t i = 0; i < ITEMS; i++)
        snprintf(items[i].name, sizeof(items[i].name), "item-%zu", i);
    return 0;
}

static void check_same(const struct map *m)
{
    struct map_cursor cursor = { 0 };
    size_t count = 0, seen = 0;

    for (size_t i = 0; i < ITEMS; i++) {
        assert_ptr_equal(map_find(m, span_str(items[i].name)),
                         items[i].is_in ? &items[i].node : NULL);
        count += items[i].is_in;
    }
    for (struct map_node *n; (n = map_next(m, &cursor)); seen++)
        assert_true(container_of(n, struct item, node)->is_in);
    assert_int_equal(m->count, count);
    assert_int_equal(seen, count);
}

static void test_random(void **state)
{
    uint64_t seed = 7;
    struct map m;

    (void)state;
    map_init(&m, ITEMS);
    for (int step = 0; step < 5000; step++) {
        struct item *item;

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        item = &items[(seed >> 33) % ITEMS];
        if (item->is_in)
            map_remove(&m, &item->node);
        else
            assert_int_equal(map_insert(&m, &item->node, span_str(item->name)), 0);
        item->is_in = !item->is_in;
        if (step % 500 == 0)
            check_same(&m);
    }
    check_same(&m);
    map_deinit(&m);
}

static void test_refusals(void **state)
{
    struct map m;

    (void)state;
    map_init(&m, 2);
    check_row("does nothing when an absent node is removed");
    map_remove(&m, &items[0].node);
    assert_int_equal(map_insert(&m, &items[0].node, SPAN("a")), 0);
    map_remove(&m, &items[1].node);
    assert_int_equal(m.count, 1);
    check_row("refuses a key that is there");
    assert_int_equal(map_insert(&m, &items[1].node, SPAN("a")), -EEXIST);
    assert_int_equal(map_insert(&m, &items[1].node, SPAN("b")), 0);
    check_row("refuses more than its cap");
    assert_int_equal(map_insert(&m, &items[2].node, SPAN("c")), -ENOSPC);
    check_row("takes a node again after its removal");
    map_remove(&m, &items[0].node);
    map_remove(&m, &items[0].node);
    assert_int_equal(map_insert(&m, &items[0].node, SPAN("c")), 0);
    map_deinit(&m);
}

static void test_remove_while_iterating(void **state)
{
    struct map_cursor cursor = { 0 };
    struct map m;

    (void)state;
    map_init(&m, ITEMS);
    for (size_t i = 0; i < ITEMS; i++)
        assert_int_equal(map_insert(&m, &items[i].node, span_str(items[i].name)), 0);
    for (struct map_node *n; (n = map_next(&m, &cursor)); )
        map_remove(&m, n);
    assert_int_equal(m.count, 0);
    map_deinit(&m);
}

static int fill(void *data)
{
    struct map m;
    int r = 0;

    (void)data;
    map_init(&m, ITEMS);
    for (size_t i = 0; i < 100 && !r; i++)
        r = map_insert(&m, &items[i].node, span_str(items[i].name));
    map_deinit(&m);
    return r;
}

static void test_no_memory(void **state)
{
    (void)state;
    check_each_alloc(fill, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_random, setup),
        cmocka_unit_test_setup(test_refusals, setup),
        cmocka_unit_test_setup(test_remove_while_iterating, setup),
        cmocka_unit_test_setup(test_no_memory, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
