#pragma once
#include "lib/base/hash.h"
/*
 * map.h - intrusive hash table with a hard cap, keyed by bytes.
 *
 * A node is embedded in its owner and carries the key as a span into that owner
 * (so the key must not move while the node is in the map).
 *
 * Units      entries.
 * Ownership  the map owns its bucket array only.
 * Errors     map_insert: -EEXIST, -ENOSPC at the cap, -ENOMEM.
 * Cost       O(1); the array doubles and is never shrunk below its first size.
 */
struct map_node {
    struct map_node *next;
    struct span key;
    uint64_t hash;
};

struct map {
    struct map_node **buckets;
    size_t bucket_count;        /* power of two, 0 before the first insert */
    size_t count;
    size_t cap;
};

void map_init(struct map *m, size_t cap);
void map_deinit(struct map *m);                 /* nodes are left alone */
MUST_CHECK int map_insert(struct map *m, struct map_node *node, struct span key);
struct map_node *map_find(const struct map *m, struct span key);
void map_remove(struct map *m, struct map_node *node);      /* not in the map: does nothing */
/* Iteration: any order; the node given back may be removed before the next call.
 * Start with a zeroed cursor. */
struct map_cursor {
    size_t bucket;
    struct map_node *next;
    bool is_started;
};
struct map_node *map_next(const struct map *m, struct map_cursor *cursor);
