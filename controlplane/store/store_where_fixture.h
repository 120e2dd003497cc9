#pragma once
#include "controlplane/store/store.h"
#include "lib/check/check.h"

#include <stdio.h>
#include <stdlib.h>
/*
 * store_where_fixture.h - for tests: the options of a store of one's own, in the folder `dir` (made by
 * mkdtemp()), or on PostgreSQL in a schema that is called like it.
 *
 * tools/with-postgres sets ADIT_TEST_STORE; tools/run-unit runs the tests that ask here twice.
 */
struct store_where {
    char path[128], url[512];
    struct store_options options;
};

static inline bool where_is_postgres(void)
{
    return getenv("ADIT_TEST_STORE") != NULL;
}

/* The name of a schema: letters, digits and '_' of the folder's. */
static inline void where_schema(const char *dir, char *dst, size_t size)
{
    const char *base = strrchr(dir, '/') ? strrchr(dir, '/') + 1 : dir;
    size_t n = 0;

    for (; *base && n + 3 < size; base++) {
        bool is_upper = *base >= 'A' && *base <= 'Z';

        if (is_upper)                   /* names that differ in case stay different */
            dst[n++] = '_';
        dst[n++] = is_upper ? (char)(*base + 32) : *base == '-' ? '_' : *base;
    }
    dst[n] = '\0';
}

static inline struct store_options *store_where(struct store_where *w, const char *dir)
{
    char schema[128];

    *w = (struct store_where){ .options = { .writer = "cp" } };
    assert_true((size_t)snprintf(w->path, sizeof(w->path), "%s/adit.db", dir) < sizeof(w->path));
    w->options.path = w->path;
    if (where_is_postgres()) {
        where_schema(dir, schema, sizeof(schema));
        snprintf(w->url, sizeof(w->url), "%s&options=-csearch_path%%3D%s", getenv("ADIT_TEST_STORE"), schema);
        w->options.url = w->url;
    }
    return &w->options;
}

/* What store_open() left in the folder, and the folder. */
static inline void where_remove(const char *dir)
{
    static const char *const names[] = { "adit.db", "adit.db-wal", "adit.db-shm" };
    char file[192];

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(file, sizeof(file), "%s/%s", dir, names[i]);
        unlink(file);
    }
    rmdir(dir);
}
