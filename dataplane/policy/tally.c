#include "dataplane/policy/tally.h"
#include <errno.h>
#include <stdlib.h>

struct grant_count {
    struct map_node node;
    struct ulid grant;
    uint64_t streams;
};

struct tally {
    pthread_mutex_t lock;           /* guards `grants` and the counts in it */
    struct map grants;
    uint32_t streams_max;
    size_t memory_limit;
    _Atomic uint32_t streams;
    _Atomic size_t memory;          /* that nobody has taken */
    _Atomic int32_t links;
    _Atomic uint64_t told;          /* the second, and in the low byte how many */
};

int tally_new(uint32_t streams_max, size_t memory_limit, struct tally **ret_tally)
{
    struct tally *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOMEM;
    pthread_mutex_init(&t->lock, NULL);
    map_init(&t->grants, streams_max);
    t->streams_max = streams_max;
    t->memory_limit = memory_limit;
    atomic_init(&t->memory, memory_limit);
    *ret_tally = t;
    return 0;
}

void tally_free(struct tally *t)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&t->grants, &cursor))) {
        map_remove(&t->grants, node);
        free(container_of(node, struct grant_count, node));
    }
    map_deinit(&t->grants);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* --- streams ---------------------------------------------------------------------------------- */

bool tally_take_stream(struct tally *t)
{
    if (atomic_fetch_add(&t->streams, 1) < t->streams_max)
        return true;
    atomic_fetch_sub(&t->streams, 1);
    return false;
}

void tally_put_stream(struct tally *t)
{
    atomic_fetch_sub(&t->streams, 1);
}

uint32_t tally_streams(const struct tally *t)
{
    return atomic_load(&t->streams);
}

/* --- streams on a grant ----------------------------------------------------------------------- */

static int count_get(struct tally *t, const struct ulid *grant, struct grant_count **ret_count)
{
    struct map_node *node = map_find(&t->grants, ulid_span(grant));
    struct grant_count *c;
    int r;

    if (node) {
        *ret_count = container_of(node, struct grant_count, node);
        return 0;
    }
    c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->grant = *grant;
    r = map_insert(&t->grants, &c->node, ulid_span(&c->grant));
    if (r) {
        free(c);
        return r;
    }
    *ret_count = c;
    return 0;
}

int tally_take_grant(struct tally *t, const struct ulid *grant, uint64_t limit, struct grant_count **ret_count)
{
    struct grant_count *c;
    int r;

    pthread_mutex_lock(&t->lock);
    r = count_get(t, grant, &c);
    if (!r && limit && c->streams >= limit)
        r = -EDQUOT;
    if (!r) {
        c->streams++;
        *ret_count = c;
    }
    pthread_mutex_unlock(&t->lock);
    return r;
}

void tally_put_grant(struct tally *t, struct grant_count *c)
{
    pthread_mutex_lock(&t->lock);
    if (--c->streams == 0) {
        map_remove(&t->grants, &c->node);
        free(c);
    }
    pthread_mutex_unlock(&t->lock);
}

uint64_t tally_grant_streams(struct tally *t, const struct ulid *grant)
{
    const struct map_node *node;
    uint64_t streams;

    pthread_mutex_lock(&t->lock);
    node = map_find(&t->grants, ulid_span(grant));
    streams = node ? container_of(node, const struct grant_count, node)->streams : 0;
    pthread_mutex_unlock(&t->lock);
    return streams;
}

/* --- memory ------------------------------------------------------------------------------------ */

size_t tally_take_memory(struct tally *t, size_t n)
{
    size_t left = atomic_load(&t->memory), took;

    do
        took = n < left ? n : left;
    while (took && !atomic_compare_exchange_weak(&t->memory, &left, left - took));
    return took;
}

void tally_put_memory(struct tally *t, size_t n)
{
    atomic_fetch_add(&t->memory, n);
}

size_t tally_memory_limit(const struct tally *t)
{
    return t->memory_limit;
}

/* --- links, and what is told ------------------------------------------------------------------- */

void tally_add_links(struct tally *t, int32_t more)
{
    atomic_fetch_add(&t->links, more);
}

uint32_t tally_links(const struct tally *t)
{
    int32_t links = atomic_load(&t->links);

    return links > 0 ? (uint32_t)links : 0;
}

bool tally_may_tell(struct tally *t, uint64_t now_s)
{
    uint64_t seen = atomic_load(&t->told), next;

    do {
        next = seen >> 8 == now_s ? seen + 1 : now_s << 8 | 1;
        if ((next & 0xff) > TALLY_TOLD_PER_S)
            return false;
    } while (!atomic_compare_exchange_weak(&t->told, &seen, next));
    return true;
}
