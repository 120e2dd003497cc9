#pragma once
#include "controlplane/store/store_internal.h"
#include "controlplane/store/store_where_fixture.h"

#include <stdio.h>
/*
 * store_fixture.h - for tests of this room: a store in a folder of its own, a clock that ticks.
 */

static char dir[64];
static uint64_t clock_ms = 1700000000000;

static inline uint64_t test_clock(void)
{
    return clock_ms++;
}

static inline struct store *open_store(void)
{
    AUTO(buf_deinit) struct buf err;
    struct store_where where;
    struct store_options *options = store_where(&where, dir);
    struct store *store = NULL;

    buf_init_heap(&err, 4096);
    options->readers = 2;
    options->wait_ms = 300;
    options->now_ms = test_clock;
    assert_int_equal(store_open(options, &store, &err), 0);
    return store;
}

static inline int setup(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/adit-store-XXXXXX");
    assert_non_null(mkdtemp(dir));
    *state = open_store();
    return 0;
}

static inline int teardown(void **state)
{
    if (*state)
        store_close(*state);
    where_remove(dir);
    return 0;
}

static inline struct store_tx *begin(struct store *store, enum store_mode mode)
{
    struct store_tx *tx = NULL;

    assert_int_equal(store_begin(store, mode, &tx), 0);
    return tx;
}

static inline struct ulid add(struct store_tx *tx, const char *kind, const char *name, const char *doc)
{
    struct store_new_object o = { .id = store_new_id(store_of(tx)), .kind = kind,
                                  .name = span_str(name), .doc = span_str(doc) };

    assert_int_equal(store_object_insert(tx, &o), 0);
    return o.id;
}

#define STORE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
