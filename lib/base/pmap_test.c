#include "lib/base/pmap.h"
#include "lib/check/alloc.h"
#include "lib/check/check.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define KEYS 512
#define STEPS 20000

struct value {
    atomic_int refs;
    char key[16];
};

static struct value values[KEYS];

static void value_ref(void *v)
{
    atomic_fetch_add(&((struct value *)v)->refs, 1);
}

static void value_unref(void *v)
{
    atomic_fetch_sub(&((struct value *)v)->refs, 1);
}

static uint64_t hash_same(struct span key)
{
    (void)key;
    return 42;
}

/* Alike in all but the last four bits, which only the deepest level sees. */
static uint64_t hash_deep(struct span key)
{
    return ((uint64_t)(unsigned char)key.p[key.n - 1] << 60) | 0x123456789abcdef;
}

static uint64_t hash_short(struct span key)
{
    return (unsigned char)key.p[key.n - 1] & 63;
}

static bool value_has_key(const void *v, struct span key)
{
    return span_eq(span_str(((const struct value *)v)->key), key);
}

static const struct pmap_values counted = { value_ref, value_unref, NULL, NULL };
static const struct pmap_values by_hash[] = {
    { value_ref, value_unref, NULL, NULL },
    { value_ref, value_unref, hash_same, NULL },
    { value_ref, value_unref, hash_deep, NULL },
    { value_ref, value_unref, hash_short, NULL },
    { value_ref, value_unref, NULL, value_has_key },
    { value_ref, value_unref, hash_same, value_has_key },
    { value_ref, value_unref, hash_short, value_has_key },
};

static uint64_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static struct span key_of(size_t i, char *mem)
{
    int n = snprintf(mem, 16, "key-%zu", i);

    return span_of(mem, (size_t)n);
}

/* Of n keys, key i may have values i, i + n, i + 2n … */
static void name_values(size_t n)
{
    for (size_t i = 0; i < KEYS; i++)
        key_of(i % n, values[i].key);
}

/* Eight look-ups at once, the last of a key that is not there, answer as one by one. */
static void check_all(const struct pmap *m, const int *model, size_t keys)
{
    struct pmap_probe probes[9];
    char mem[9][16];

    for (size_t first = 0; first < keys; first += 8) {
        size_t n = 0;

        for (; n < 8 && first + n < keys; n++)
            probes[n] = (struct pmap_probe){ .map = m, .key = key_of(first + n, mem[n]) };
        probes[n] = (struct pmap_probe){ .map = m, .key = key_of(KEYS + first, mem[n]) };
        for (size_t i = 0; i <= n; i++)
            probes[i].hash = pmap_hash(m, probes[i].key);
        pmap_get_all(probes, n + 1);
        assert_null(probes[n].value);
        while (n-- > 0) {
            int at = model[first + n];

            assert_ptr_equal(probes[n].value, at < 0 ? NULL : &values[at]);
        }
    }
}

/* The map holds exactly what the model does: by look-up, by iteration, by count. */
static void check_same(const struct pmap *m, const int *model, size_t keys)
{
    struct pmap_cursor cursor = { 0 };
    size_t count = 0, seen = 0;
    struct span key;
    void *value;
    char mem[16];

    for (size_t i = 0; i < keys; i++) {
        struct value *want = model[i] < 0 ? NULL : &values[model[i]];

        count += want != NULL;
        assert_ptr_equal(pmap_get(m, key_of(i, mem)), want);
    }
    while (pmap_next(m, &cursor, &key, &value)) {
        if (m->values->has_key)
            key = span_str(((struct value *)value)->key);
        assert_ptr_equal(pmap_get(m, key), value);
        seen++;
    }
    assert_int_equal(m->count, count);
    assert_int_equal(seen, count);
    check_all(m, model, keys);
}

static void run_random(const struct pmap_values *kind, size_t keys, size_t steps, uint64_t seed)
{
    int model[KEYS], old_model[KEYS];
    struct pmap m, old;
    char mem[16];

    name_values(keys);
    memset(model, -1, sizeof(model));
    memset(old_model, -1, sizeof(old_model));
    pmap_init(&m, kind);
    old = pmap_share(&m);
    for (size_t step = 0; step < steps; step++) {
        size_t i = random_next(&seed) % keys;

        if (random_next(&seed) % 5 < 3) {
            model[i] = (int)(i + keys * (random_next(&seed) % (KEYS / keys)));
            assert_int_equal(pmap_set(&m, key_of(i, mem), &values[model[i]]), 0);
        } else {
            model[i] = -1;
            assert_int_equal(pmap_unset(&m, key_of(i, mem)), 0);
        }
        if (step % 1000 == 999) {
            check_same(&m, model, keys);
            check_same(&old, old_model, keys);
            pmap_deinit(&old);
            old = pmap_share(&m);
            memcpy(old_model, model, sizeof(model));
        }
    }
    pmap_deinit(&old);
    check_same(&m, model, keys);
    for (size_t i = 0; i < keys; i++)
        assert_int_equal(pmap_unset(&m, key_of(i, mem)), 0);
    assert_null(m.root);
    pmap_deinit(&m);
    for (size_t i = 0; i < KEYS; i++)
        assert_int_equal(values[i].refs, 0);
}

static void test_random(void **state)
{
    static const struct { const char *it; size_t hash, keys, steps; } rows[] = {
        { "agrees with a plain model", 0, KEYS, STEPS },
        { "agrees where all hashes collide", 1, 24, 5000 },
        { "agrees where hashes part at the last level", 2, 300, 5000 },
        { "agrees where few hashes are shared by many", 3, KEYS, STEPS },
        { "agrees with few keys, so that it often becomes empty", 0, 3, 5000 },
        { "agrees where values know their keys", 4, KEYS / 2, STEPS },
        { "agrees where they do and all hashes collide", 5, 24, 5000 },
        { "agrees where they do and few hashes are shared by many", 6, KEYS / 2, STEPS },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        run_random(&by_hash[rows[i].hash], rows[i].keys, rows[i].steps, i + 1);
    }
}

static void test_edges(void **state)
{
    struct pmap m, next;

    (void)state;
    pmap_init(&m, &counted);
    check_row("refuses NULL as a value");
    assert_int_equal(pmap_put(&m, SPAN("a"), NULL, &next), -EINVAL);
    check_row("has nothing when empty");
    assert_null(pmap_get(&m, SPAN("a")));
    check_row("takes the empty key, and keys with NUL");
    assert_int_equal(pmap_set(&m, SPAN_NONE, &values[0]), 0);
    assert_int_equal(pmap_set(&m, SPAN("\0"), &values[1]), 0);
    assert_ptr_equal(pmap_get(&m, SPAN_NONE), &values[0]);
    assert_ptr_equal(pmap_get(&m, SPAN("\0")), &values[1]);
    check_row("gives the same version when there is nothing to remove");
    assert_int_equal(pmap_remove(&m, SPAN("absent"), &next), 0);
    assert_ptr_equal(next.root, m.root);
    pmap_deinit(&next);
    check_row("lets go of a value that was replaced");
    assert_int_equal(pmap_set(&m, SPAN_NONE, &values[2]), 0);
    assert_int_equal(values[0].refs, 0);
    pmap_deinit(&m);
    assert_int_equal(values[1].refs + values[2].refs, 0);
}

struct version {
    struct pmap map;
    int *model;
};

/* One put and one remove on a version that others hold; what is given must stay as it was. */
static int put_and_remove(void *data)
{
    const struct version *given = data;
    struct pmap with, without;
    int r;

    r = pmap_put(&given->map, SPAN("key-511"), &values[KEYS - 1], &with);
    if (!r) {
        r = pmap_remove(&with, SPAN("key-7"), &without);
        if (!r)
            pmap_deinit(&without);
        pmap_deinit(&with);
    }
    check_same(&given->map, given->model, KEYS);
    return r;
}

static void test_no_memory(void **state)
{
    (void)state;
    for (size_t hash = 0; hash < ARRAY_LEN(by_hash); hash++) {
        size_t keys = by_hash[hash].hash == hash_same ? 20 : 200;
        struct version v;
        int model[KEYS];
        char mem[16];

        name_values(KEYS);
        memset(model, -1, sizeof(model));
        pmap_init(&v.map, &by_hash[hash]);
        v.model = model;
        for (size_t i = 0; i < keys; i++) {
            model[i] = (int)i;
            assert_int_equal(pmap_set(&v.map, key_of(i, mem), &values[i]), 0);
        }
        check_each_alloc(put_and_remove, &v);
        pmap_deinit(&v.map);
        for (size_t i = 0; i < KEYS; i++)
            assert_int_equal(values[i].refs, 0);
    }
}

#define THREADS 4

/* Each thread makes versions of its own out of one that all share. */
static void *derive(void *data)
{
    struct pmap m = pmap_share(data);
    uint64_t seed = (uintptr_t)&m;
    bool is_good = true;
    char mem[16];

    for (int i = 0; i < 2000; i++) {
        size_t key = random_next(&seed) % 100;

        is_good &= i % 3 ? pmap_set(&m, key_of(key, mem), &values[key]) == 0
                         : pmap_unset(&m, key_of(key, mem)) == 0;
    }
    pmap_deinit(&m);
    return is_good ? data : NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    struct pmap m;
    char mem[16];

    (void)state;
    pmap_init(&m, &counted);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(pmap_set(&m, key_of(i, mem), &values[i]), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, derive, &m), 0);
    for (int i = 0; i < THREADS; i++) {
        void *done;

        assert_int_equal(pthread_join(threads[i], &done), 0);
        assert_ptr_equal(done, &m);
    }
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(values[i].refs, 1);
    pmap_deinit(&m);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(values[i].refs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
