#include "controlplane/domain/closure.h"
#include <errno.h>
#include <string.h>

bool closure_has(const struct closure *c, const struct ulid *id)
{
    for (size_t i = 0; i < c->count; i++) {
        if (!memcmp(c->ids[i].text, id->text, ULID_LEN))
            return true;
    }
    return false;
}

static int make_room(struct closure *c)
{
    size_t room = c->room ? c->room * 2 : 16;
    struct ulid *ids;

    if (c->count < c->room)
        return 0;
    ids = realloc(c->ids, room * sizeof(*ids));
    if (!ids)
        return -ENOMEM;
    c->ids = ids;
    c->room = room;
    return 0;
}

int closure_add(struct closure *c, const struct ulid *id)
{
    int r;

    if (closure_has(c, id))
        return 0;
    if (c->count == CLOSURE_IDS_MAX)
        return CLOSURE_E_SIZE;
    r = make_room(c);
    if (r)
        return r;
    c->ids[c->count++] = *id;
    return 0;
}

static int walk_level(struct closure *c, size_t from, closure_next_fn next, void *ctx)
{
    size_t to = c->count;

    for (size_t i = from; i < to; i++) {
        struct ulid id = c->ids[i];             /* the array may move */
        int r = next(ctx, &id, c);

        if (r)
            return r;
    }
    return 0;
}

int closure_walk(const struct ulid *start, closure_next_fn next, void *ctx,
                 struct closure *ret_closure)
{
    struct closure c = { 0 };
    size_t from = 0;
    int r = next(ctx, start, &c);

    while (!r && from < c.count) {
        size_t level = c.count;

        if (++c.depth > CLOSURE_DEPTH_MAX)
            r = CLOSURE_E_DEPTH;
        else
            r = walk_level(&c, from, next, ctx);
        from = level;
    }
    if (r) {
        closure_deinit(&c);
        return r;
    }
    *ret_closure = c;
    return 0;
}

void closure_deinit(struct closure *c)
{
    free(c->ids);
    *c = (struct closure){ 0 };
}
