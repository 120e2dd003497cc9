#include "lib/base/map.h"
#include <errno.h>

#define FIRST_BUCKETS 16

void map_init(struct map *m, size_t cap)
{
    *m = (struct map){ .cap = cap };
}

void map_deinit(struct map *m)
{
    free(m->buckets);
    map_init(m, m->cap);
}

static struct map_node **bucket_of(const struct map *m, uint64_t hash)
{
    return &m->buckets[hash & (m->bucket_count - 1)];
}

static void push(struct map *m, struct map_node *node)
{
    struct map_node **bucket = bucket_of(m, node->hash);

    node->next = *bucket;
    *bucket = node;
}

static int grow(struct map *m)
{
    struct map next = { .bucket_count = m->bucket_count ? m->bucket_count * 2 : FIRST_BUCKETS };

    next.buckets = calloc(next.bucket_count, sizeof(struct map_node *));
    if (!next.buckets)
        return -ENOMEM;

    for (size_t i = 0; i < m->bucket_count; i++) {
        for (struct map_node *node = m->buckets[i], *after; node; node = after) {
            after = node->next;
            push(&next, node);
        }
    }
    free(m->buckets);
    m->buckets = next.buckets;
    m->bucket_count = next.bucket_count;
    return 0;
}

static struct map_node *find_hashed(const struct map *m, uint64_t hash, struct span key)
{
    struct map_node *node = m->bucket_count ? *bucket_of(m, hash) : NULL;

    while (node && (node->hash != hash || !span_eq(node->key, key)))
        node = node->next;
    return node;
}

int map_insert(struct map *m, struct map_node *node, struct span key)
{
    uint64_t hash = hash_bytes(key);
    int r;

    if (find_hashed(m, hash, key))
        return -EEXIST;
    if (m->count >= m->cap)
        return -ENOSPC;
    if (m->count >= m->bucket_count) {
        r = grow(m);
        if (r)
            return r;
    }

    node->key = key;
    node->hash = hash;
    push(m, node);
    m->count++;
    return 0;
}

struct map_node *map_find(const struct map *m, struct span key)
{
    return m->count ? find_hashed(m, hash_bytes(key), key) : NULL;
}

void map_remove(struct map *m, struct map_node *node)
{
    struct map_node **at;

    if (!m->bucket_count)
        return;
    at = bucket_of(m, node->hash);
    while (*at && *at != node)
        at = &(*at)->next;
    if (!*at)
        return;

    *at = node->next;
    node->next = NULL;
    m->count--;
}

struct map_node *map_next(const struct map *m, struct map_cursor *cursor)
{
    struct map_node *node = cursor->next;

    if (!cursor->is_started)
        *cursor = (struct map_cursor){ .is_started = true };
    while (!node && cursor->bucket < m->bucket_count)
        node = m->buckets[cursor->bucket++];
    cursor->next = node ? node->next : NULL;
    return node;
}
