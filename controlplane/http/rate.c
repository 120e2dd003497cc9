#include "controlplane/http/server_internal.h"

/* Names beyond this push out the ones that were quiet longest (whose buckets are full). */
#define RATE_NAMES_MAX 8192
#define MILLI 1000              /* tokens are counted in thousandths */

struct bucket {
    struct map_node map_node;
    struct list node;
    uint64_t milli_tokens, at_ms;
    char name[64];
};

void rate_init(struct rate_table *t, unsigned per_s, unsigned burst)
{
    pthread_mutex_init(&t->lock, NULL);
    map_init(&t->map, RATE_NAMES_MAX);
    list_init(&t->recent);
    t->per_s = per_s;
    t->burst = burst > per_s ? burst : per_s;
}

static void bucket_drop(struct rate_table *t, struct bucket *b)
{
    map_remove(&t->map, &b->map_node);
    list_remove(&b->node);
    free(b);
}

void rate_deinit(struct rate_table *t)
{
    LIST_EACH(&t->recent, node)
        bucket_drop(t, container_of(node, struct bucket, node));
    map_deinit(&t->map);
    pthread_mutex_destroy(&t->lock);
}

static struct bucket *bucket_add(struct rate_table *t, struct span name, uint64_t now_ms)
{
    AUTO(freep) struct bucket *b = calloc(1, sizeof(*b));

    if (t->map.count == RATE_NAMES_MAX)
        bucket_drop(t, container_of(list_first(&t->recent), struct bucket, node));
    if (!b || !span_copy(name, b->name, sizeof(b->name)))
        return NULL;
    b->milli_tokens = (uint64_t)t->burst * MILLI;
    b->at_ms = now_ms;
    list_init(&b->node);
    if (map_insert(&t->map, &b->map_node, span_str(b->name)))
        return NULL;
    return TAKE(b);
}

static unsigned bucket_take(const struct rate_table *t, struct bucket *b, uint64_t now_ms)
{
    uint64_t full = (uint64_t)t->burst * MILLI, gained = (now_ms - b->at_ms) * t->per_s;

    b->at_ms = now_ms;
    b->milli_tokens = gained > full - b->milli_tokens ? full : b->milli_tokens + gained;
    if (b->milli_tokens >= MILLI) {
        b->milli_tokens -= MILLI;
        return 0;
    }
    return 1 + (unsigned)((MILLI - b->milli_tokens) / ((uint64_t)t->per_s * MILLI));
}

unsigned rate_take(struct rate_table *t, struct span name, uint64_t now_ms)
{
    struct map_node *found;
    struct bucket *b;
    unsigned wait_s = 0;

    if (!t->per_s)
        return 0;
    pthread_mutex_lock(&t->lock);
    found = map_find(&t->map, name);
    b = found ? container_of(found, struct bucket, map_node) : bucket_add(t, name, now_ms);
    if (b) {
        list_remove(&b->node);
        list_append(&t->recent, &b->node);
        wait_s = bucket_take(t, b, now_ms);
    }
    pthread_mutex_unlock(&t->lock);
    return wait_s;
}
