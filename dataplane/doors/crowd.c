#include "dataplane/doors/crowd.h"
#include "lib/base/map.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SOURCES_MAX 65536

struct source_count {
    struct map_node node;
    struct addr addr;
    uint32_t visits;
};

struct crowd {
    pthread_mutex_t lock;           /* guards `sources` and what is in it */
    struct map sources;
    _Atomic uint32_t visits, associations;
    uint32_t visits_max, per_source_max;
};

int crowd_new(uint32_t visits_max, uint32_t per_source_max, struct crowd **ret_crowd)
{
    struct crowd *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    pthread_mutex_init(&c->lock, NULL);
    map_init(&c->sources, SOURCES_MAX);
    c->visits_max = visits_max;
    c->per_source_max = per_source_max;
    *ret_crowd = c;
    return 0;
}

void crowd_free(struct crowd *c)
{
    map_deinit(&c->sources);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

bool crowd_enter(struct crowd *c)
{
    if (atomic_fetch_add(&c->visits, 1) < c->visits_max)
        return true;
    atomic_fetch_sub(&c->visits, 1);
    return false;
}

void crowd_leave(struct crowd *c)
{
    atomic_fetch_sub(&c->visits, 1);
}

bool crowd_enter_association(struct crowd *c, uint32_t max)
{
    if (atomic_fetch_add(&c->associations, 1) < max)
        return true;
    atomic_fetch_sub(&c->associations, 1);
    return false;
}

void crowd_leave_association(struct crowd *c)
{
    atomic_fetch_sub(&c->associations, 1);
}

static struct source_count *source_get(struct crowd *c, const struct addr *source)
{
    struct map_node *node = map_find(&c->sources, span_of(source->ip, sizeof(source->ip)));
    struct source_count *s;

    if (node)
        return container_of(node, struct source_count, node);
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->addr = *source;
    if (map_insert(&c->sources, &s->node, span_of(s->addr.ip, sizeof(s->addr.ip)))) {
        free(s);
        return NULL;
    }
    return s;
}

struct source_count *crowd_enter_source(struct crowd *c, const struct addr *addr)
{
    struct addr source = addr_source(addr);
    struct source_count *s;

    pthread_mutex_lock(&c->lock);
    s = source_get(c, &source);
    if (s && s->visits >= c->per_source_max)
        s = NULL;
    if (s)
        s->visits++;
    pthread_mutex_unlock(&c->lock);
    return s;
}

void crowd_leave_source(struct crowd *c, struct source_count *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&c->lock);
    if (--s->visits == 0) {
        map_remove(&c->sources, &s->node);
        free(s);
    }
    pthread_mutex_unlock(&c->lock);
}
