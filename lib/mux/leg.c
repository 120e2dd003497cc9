#include "lib/mux/mux_internal.h"
#include <errno.h>

const struct leg_class *const leg_classes[LEG_KIND_COUNT] = {
    [LEG_STREAM] = &stream_leg,
    [LEG_HOP] = &hop_leg,
};

static struct span key_span(const uint64_t *key)
{
    return span_of(key, sizeof(*key));
}

static struct owner *owner_get(struct mux_link *l, uint64_t key)
{
    struct map_node *node = map_find(&l->owners, key_span(&key));
    struct owner *o = node ? container_of(node, struct owner, node) : calloc(1, sizeof(*o));

    if (!o)
        return NULL;
    if (!node) {
        o->link = l;
        o->key = key;
        list_init(&o->busy);
        list_init(&o->legs);
        if (map_insert(&l->owners, &o->node, key_span(&o->key))) {
            free(o);
            return NULL;
        }
    }
    o->refs++;
    return o;
}

static void owner_put(struct owner *o)
{
    if (--o->refs)
        return;
    map_remove(&o->link->owners, &o->node);
    list_remove(&o->busy);
    free(o);
}

void leg_init(struct leg *g, enum leg_kind kind, uint64_t owner_key)
{
    g->kind = kind;
    g->owner_key = owner_key;
    list_init(&g->send);
    list_init(&g->owing);
}

int leg_join(struct leg *g, struct mux_link *l, const uint32_t *id)
{
    g->owner = owner_get(l, g->owner_key);
    if (!g->owner)
        return -ENOMEM;
    if (map_insert(&l->by_id, &g->by_id, span_of(id, sizeof(*id)))) {
        owner_put(TAKE(g->owner));
        return -ENOMEM;
    }
    return 0;
}

void leg_leave(struct leg *g)
{
    sched_remove(g);
    list_remove(&g->owing);
    g->listed = LISTED_NOWHERE;
    map_remove(&g->owner->link->by_id, &g->by_id);
    owner_put(TAKE(g->owner));
}
