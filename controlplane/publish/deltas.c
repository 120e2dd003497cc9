#include "controlplane/publish/publish_internal.h"

#include <errno.h>
#include <string.h>

void deltas_init(struct chain_of_deltas *c)
{
    list_init(&c->deltas);
    c->count = c->bytes = 0;
}

static struct delta *delta_of(struct list *node)
{
    return container_of(node, struct delta, node);
}

static void drop(struct chain_of_deltas *c, struct delta *d)
{
    list_remove(&d->node);
    c->count--;
    c->bytes -= d->len;
    free(d);
}

void deltas_clear(struct chain_of_deltas *c)
{
    LIST_EACH(&c->deltas, node)
        drop(c, delta_of(node));
}

static struct delta *delta_new(struct chain_of_deltas *c, uint64_t epoch, uint64_t revision,
                               uint64_t after, struct span document)
{
    struct delta *d = malloc(sizeof(*d) + document.n);

    if (!d)
        return NULL;
    *d = (struct delta){ .epoch = epoch, .revision = revision, .after = after, .len = document.n };
    memcpy(d->document, document.p, document.n);
    c->count++;
    c->bytes += d->len;
    return d;
}

int deltas_prepend(struct chain_of_deltas *c, uint64_t epoch, uint64_t revision, uint64_t after,
                   struct span document)
{
    struct delta *d = delta_new(c, epoch, revision, after, document);

    if (!d)
        return -ENOMEM;
    list_prepend(&c->deltas, &d->node);
    return 0;
}

int deltas_append(struct chain_of_deltas *c, uint64_t epoch, uint64_t revision, uint64_t after,
                  struct span document)
{
    struct delta *d = delta_new(c, epoch, revision, after, document);

    if (!d)
        return -ENOMEM;
    list_append(&c->deltas, &d->node);
    while (c->count > 1 && (c->count > PUBLISH_DELTAS_MAX || c->bytes > PUBLISH_BYTES_MAX))
        drop(c, delta_of(list_first(&c->deltas)));
    return 0;
}

bool deltas_from(const struct chain_of_deltas *c, uint64_t epoch, uint64_t revision, size_t max,
                 struct buf *out)
{
    bool is_found = false;
    size_t taken = 0;

    LIST_EACH(&c->deltas, node) {
        const struct delta *d = delta_of(node);

        is_found |= d->epoch == epoch && d->after == revision;
        if (!is_found)
            continue;
        if (taken && taken + d->len > max)
            break;
        buf_put(out, d->document, d->len);
        taken += d->len;
    }
    return is_found;
}
