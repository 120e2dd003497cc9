#pragma once
#include "lib/base/span.h"
/*
 * pmap.h - persistent map: each change gives a new version, old ones stay as they were.
 *
 * A hash array mapped trie keyed by bytes.  Versions share all they have in common, so a
 * change copies the way to one bucket only, and a reader keeps its version for as long as it
 * likes.  What no other version shares is changed in place.
 *
 * Shape      struct pmap is a small value (a root and a count); {0} with `values` set is empty.
 * Cost       get O(log32 n); put, remove O(log32 n) time and bytes.
 * Ownership  a version holds a reference on each of its values through `values`; keys are
 *            copied, unless values know theirs (`has_key`).  pmap_deinit() lets a version go.
 * Threads    a version never changes: any number of threads may read it.  pmap_share() and
 *            pmap_deinit() of different `struct pmap` variables may run on any threads at
 *            once; the functions in `values` must allow that too.
 * Errors     -ENOMEM leaves the given version as it was.
 * Source     Bagwell, "Ideal Hash Trees" (2001); hash.h (SipHash, 64 bits).
 */
struct pmap_node;

struct pmap_values {
    void (*ref)(void *value);           /* NULL: values are not counted */
    void (*unref)(void *value);         /* NULL: values are not counted */
    uint64_t (*hash)(struct span key);  /* NULL: hash_bytes() */
    /* Whether that is the value's own key: saves the copy, and a cache miss for each look-up.
     * NULL: the map keeps a copy of each key. */
    bool (*has_key)(const void *value, struct span key);
};

struct pmap {
    struct pmap_node *root;
    size_t count;
    const struct pmap_values *values;   /* static */
};

void pmap_init(struct pmap *m, const struct pmap_values *values);
/* Another handle on the same version. */
struct pmap pmap_share(const struct pmap *m);
void pmap_deinit(struct pmap *m);       /* empty afterwards */

/* The value, borrowed from this version; NULL when absent. */
void *pmap_get(const struct pmap *m, struct span key);
/* Several look-ups at once, also in several maps, so that their cache misses overlap. */
struct pmap_probe {
    const struct pmap *map;
    struct span key;
    uint64_t hash;              /* pmap_hash() of the key, or put together from its parts' */
    void *value;                /* the answer; NULL when absent */
    const struct pmap_node *node;       /* pmap.c's own */
};
uint64_t pmap_hash(const struct pmap *m, struct span key);
void pmap_get_all(struct pmap_probe *probes, size_t n);
/* A new version in which `key` has `value` (a reference is taken; NULL is -EINVAL).
 * `ret_map` is overwritten, so it must not hold a version; see pmap_set(). */
MUST_CHECK int pmap_put(const struct pmap *m, struct span key, void *value, struct pmap *ret_map);
/* A new version without `key`; absent: another handle on the same version. */
MUST_CHECK int pmap_remove(const struct pmap *m, struct span key, struct pmap *ret_map);
/* The same two, replacing the version that the variable holds: in place as far as it alone
 * holds it, so that a map of n is made in O(n log n) without garbage. */
MUST_CHECK int pmap_set(struct pmap *m, struct span key, void *value);
MUST_CHECK int pmap_unset(struct pmap *m, struct span key);

/* Iteration: every entry once, in any order that is the same for the same version.  Start
 * with a zeroed cursor; the version must be held meanwhile.  `ret_key` is SPAN_NONE where
 * values know their keys. */
#define PMAP_DEPTH_MAX 15
struct pmap_cursor {
    const struct pmap_node *path[PMAP_DEPTH_MAX];
    size_t at[PMAP_DEPTH_MAX];
    unsigned depth;
    bool is_started;
};
bool pmap_next(const struct pmap *m, struct pmap_cursor *cursor, struct span *ret_key,
               void **ret_value);
