#include "controlplane/routes/remove.h"
#include "controlplane/routes/guard.h"
#include "controlplane/routes/used.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_MAX 50            /* of the referrers in a problem */

struct referrer {
    struct ulid id;
    char kind[STORE_KIND_MAX + 1], name[STORE_NAME_MAX + 1], field[STORE_KIND_MAX + 1];
};

struct referrers {
    struct referrer *items;
    size_t count;
};

struct removal {
    struct call *c;
    struct json_writer w;
    bool is_cascade;
    size_t count;
};

static int add(void *ctx, const struct store_referrer *from)
{
    struct referrers *list = ctx;
    struct referrer *to = &list->items[list->count];

    if (list->count == REMOVE_MAX)
        return 0;
    to->id = from->id;
    snprintf(to->kind, sizeof(to->kind), "%s", from->kind);
    snprintf(to->name, sizeof(to->name), "%s", from->name);
    snprintf(to->field, sizeof(to->field), "%s", from->field);
    list->count++;
    return 0;
}

static int find_referrers(struct store_tx *tx, const struct ulid *id, struct referrers *list)
{
    list->count = 0;
    list->items = calloc(REMOVE_MAX, sizeof(*list->items));
    return list->items ? store_referrers(tx, id, REMOVE_MAX, add, list) : -ENOMEM;
}

static void put_referrer(struct json_writer *w, const struct referrer *r)
{
    json_open_object(w, NULL);
    json_put_text(w, "kind", r->kind);
    json_put_text(w, "id", r->id.text);
    json_put_text(w, "name", r->name);
    json_put_text(w, "field", r->field);
    json_close_object(w);
}

static int refuse_in_use(struct call *c, const struct referrers *list)
{
    struct json_writer w;

    buf_clear(&c->res->extra);
    buf_put_str(&c->res->extra, "\"referrers\":");
    json_begin(&w, &c->res->extra);
    json_open_array(&w, NULL);
    for (size_t i = 0; i < list->count && i < SHOWN_MAX; i++)
        put_referrer(&w, &list->items[i]);
    json_close_array(&w);
    if (!buf_error(&c->res->extra))
        c->res->problem.extra = buf_span(&c->res->extra);
    return call_refuse(c, REASON_IN_USE, "It is referred to by %zu others.", list->count);
}

static int remove_tree(struct removal *r, const struct kind *kind,
                       const struct store_object *object, unsigned depth);

static int remove_referrer(struct removal *r, const struct referrer *from, unsigned depth)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    const struct kind *kind = kind_by_name(span_str(from->kind));
    int rc;

    if (!kind || depth == REMOVE_DEPTH_MAX)
        return call_refuse(r->c, REASON_IN_USE, "It is referred to over more than %d steps.",
                           REMOVE_DEPTH_MAX);
    rc = store_object_get(r->c->tx, from->kind, &from->id, &object);
    if (rc)
        return rc == STORE_E_NOT_FOUND ? 0 : rc;        /* went with another already */
    return remove_tree(r, kind, object, depth + 1);
}

static bool goes_along(const struct removal *r, const struct referrer *from)
{
    return r->is_cascade || !strcmp(from->kind, kind_at(KIND_SESSION)->name);
}

static int remove_referrers(struct removal *r, const struct ulid *id, unsigned depth)
{
    AUTO(freep) struct referrer *items = NULL;
    struct referrers list;
    int rc = find_referrers(r->c->tx, id, &list);

    items = list.items;
    for (size_t i = 0; !rc && i < list.count; i++)
        rc = goes_along(r, &items[i]) ? remove_referrer(r, &items[i], depth)
                                      : refuse_in_use(r->c, &list);
    return rc;
}

static int remove_tree(struct removal *r, const struct kind *kind,
                       const struct store_object *object, unsigned depth)
{
    struct change change = call_change(r->c);
    struct referrer self = { .id = object->id };
    int rc;

    if (++r->count > REMOVE_MAX)
        return call_refuse(r->c, REASON_IN_USE, "More than %d objects would go.", REMOVE_MAX);
    rc = guard_delete(r->c, kind, object);
    if (!rc)
        rc = remove_referrers(r, &object->id, depth);
    if (!rc)
        rc = change_delete(&change, kind, &object->id, object->version);
    if (!rc && kind->id == KIND_QUOTA)
        rc = used_forget(r->c->tx, &object->id);
    if (rc)
        return rc;
    snprintf(self.kind, sizeof(self.kind), "%s", kind->name);
    snprintf(self.name, sizeof(self.name), "%s", object->name);
    put_referrer(&r->w, &self);
    return 0;
}

int remove_object(struct call *c, const struct store_object *object, bool is_cascade)
{
    struct removal r = { .c = c, .is_cascade = is_cascade };
    int rc;

    buf_clear(&c->res->extra);
    json_begin(&r.w, &c->res->extra);
    json_open_array(&r.w, NULL);
    rc = remove_tree(&r, c->kind, object, 0);
    if (rc)
        return rc;
    json_close_array(&r.w);
    return buf_error(&c->res->extra);
}
