/*
 * PUT /config: a document by name, as an owner, in one transaction; each object as if it were sent
 * alone: same checks, same rights, same audit.
 */
#include "controlplane/domain/right.h"
#include "controlplane/routes/answer.h"
#include "controlplane/routes/body.h"
#include "controlplane/routes/config.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/effect.h"
#include "controlplane/routes/guard.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/remove.h"
#include "lib/base/map.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OBJECTS_MAX 500000
#define DELETES_MAX 10000
#define DELETES_DEFAULT 10

struct named {                  /* an object that the document names */
    struct map_node node;
    struct ulid id;
};

struct apply {
    struct call *c;
    struct json_value *doc;
    struct span owner;
    bool is_prune, is_take_over, is_cascade;
    uint64_t deletes_max, deletes;
    struct map named;
    struct config_changes changes;
};

struct place {                  /* "/users/3" */
    char text[64];
};

static const char *place_of(const struct kind *kind, size_t i, struct place *place)
{
    snprintf(place->text, sizeof(place->text), "/%s/%zu", kind->plural, i);
    return place->text;
}

/* ---- what was asked ---- */
static int read_number(struct call *c, const char *name, uint64_t max, uint64_t *value)
{
    struct span text;
    char pointer[32];

    if (!request_query(c->req, name, &text) || span_to_u64(text, max, value))
        return 0;
    snprintf(pointer, sizeof(pointer), "?%s", name);
    return call_refuse_at(c, REASON_INVALID, pointer, "must be a whole number, and not too large");
}

static int read_owner(struct call *c, struct span *ret_owner)
{
    struct check_limits none = { 0 };
    unsigned char scratch[64];
    const char *message;
    struct buf out;

    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (!request_query(c->req, "owner", ret_owner))
        return call_refuse_at(c, REASON_INVALID, "?owner", "is required");
    if (check_text(LEAF_NAME, &none, *ret_owner, &out, &message) != CHECK_OK)
        return call_refuse_at(c, REASON_INVALID, "?owner", message);
    return 0;
}

static int read_modes(struct apply *a)
{
    int r = read_owner(a->c, &a->owner);

    a->deletes_max = DELETES_DEFAULT;
    if (!r)
        r = call_flag(a->c, "prune", &a->is_prune);
    if (!r)
        r = call_flag(a->c, "take_over", &a->is_take_over);
    if (!r)
        r = call_flag(a->c, "cascade", &a->is_cascade);
    if (!r)
        r = read_number(a->c, "max_deletes", DELETES_MAX, &a->deletes_max);
    return r;
}

/* Every member is a kind, and an array of named objects. */
static int check_document(struct apply *a)
{
    int r = body_parse(a->c, &a->doc);

    for (size_t i = 0; !r && i < json_count(a->doc); i++) {
        struct span key;
        const struct json_value *list = json_member(a->doc, i, &key);
        char pointer[64];

        snprintf(pointer, sizeof(pointer), "/" SPAN_FMT, SPAN_ARG(span_first(key, 60)));
        if (!config_kind_by_plural(key))
            r = call_refuse_at(a->c, REASON_INVALID, pointer, "is no part of a configuration");
        else if (json_kind_of(list) != JSON_IS_ARRAY)
            r = call_refuse_at(a->c, REASON_INVALID, pointer, "must be an array");
    }
    return r;
}

/* ---- one object ---- */
static int note_named(struct apply *a, const struct ulid *id, const char *pointer)
{
    struct named *named = calloc(1, sizeof(*named));
    int r;

    if (!named)
        return -ENOMEM;
    named->id = *id;
    r = map_insert(&a->named, &named->node, ulid_span(&named->id));
    if (r)
        free(named);
    if (r == -EEXIST)
        return call_refuse_at(a->c, REASON_CONFLICT, pointer, "is there twice");
    if (r == -ENOSPC)
        return call_refuse(a->c, REASON_CONFLICT, "More than %d objects.", OBJECTS_MAX);
    return r;
}

/* All of it but the members, which come when everybody is there. */
static void print_item(const struct kind *kind, const struct json_value *item, struct buf *out)
{
    struct json_writer w;

    json_begin(&w, out);
    json_open_object(&w, NULL);
    for (size_t i = 0; i < json_count(item); i++) {
        struct span key;
        const struct json_value *value = json_member(item, i, &key);
        char name[64];

        if (!span_copy(span_first(key, 63), name, sizeof(name)) || (kind->relation && strcmp(name, "members") == 0))
            continue;
        json_put_value(&w, name, value);
    }
    json_close_object(&w);
}

static int check_item(struct apply *a, const struct kind *kind, const struct json_value *item,
                      const char *pointer)
{
    const struct field *field;
    char at[128];

    if (json_kind_of(item) != JSON_IS_OBJECT)
        return call_refuse_at(a->c, REASON_INVALID, pointer, "must be an object");
    snprintf(at, sizeof(at), "%s/name", pointer);
    if (!doc_text(item, "name").n)
        return call_refuse_at(a->c, REASON_INVALID, at, "is required");
    for (size_t i = 0; (field = kind_field_at(kind, i)); i++) {
        snprintf(at, sizeof(at), "%s/%s", pointer, field->name);
        if ((field->flags & FIELD_SECRET) && json_get(item, field->name))
            return call_refuse_at(a->c, REASON_INVALID, at, "is a secret, which has no place here");
    }
    return 0;
}

static struct change_object object_of(const struct apply *a, const struct config_step *step,
                                      const struct body *body, struct ulid id)
{
    return (struct change_object){
        .kind = step->call.kind, .id = id, .name = body->name, .doc = buf_span(&body->text),
        .refs = body->refs, .ref_count = body->ref_count, .created_by = a->c->req->principal.id,
    };
}

static int create(struct apply *a, struct config_step *step, const char *pointer)
{
    AUTO(body_deinit) struct body body = { 0 };
    struct change change = call_change(&step->call);
    struct change_object object;
    char owner[64] = "";
    int r = body_create(&step->call, &body);

    if (!r)
        r = guard_create(&step->call, &body);
    if (r)
        return r;
    (void)span_copy(a->owner, owner, sizeof(owner));
    object = object_of(a, step, &body, store_new_id(a->c->api->options.store));
    object.managed_by = owner;
    r = change_insert(&change, &object);
    if (!r)
        r = note_named(a, &object.id, pointer);
    return r ? r : config_changes_add(&a->changes, a->c->tx, CONFIG_CREATE, step->call.kind, body.name, NULL, NULL);
}

/* What never changes must be as it was. */
static int check_fixed(struct config_step *step, const struct json_value *before, const struct body *body)
{
    const struct field *field;

    for (size_t i = 0; (field = kind_field_at(step->call.kind, i)); i++) {
        AUTO(buf_deinit) struct buf was, is;
        char at[72];

        buf_init_heap(&was, STORE_DOC_MAX);
        buf_init_heap(&is, STORE_DOC_MAX);
        if (!(field->flags & FIELD_IMMUTABLE))
            continue;
        if (json_get(before, field->name))
            json_print(json_get(before, field->name), &was);
        if (json_get(body->doc, field->name))
            json_print(json_get(body->doc, field->name), &is);
        snprintf(at, sizeof(at), "/%s", field->name);
        if (!span_eq(buf_span(&was), buf_span(&is)))
            return call_refuse_at(&step->call, REASON_CONFLICT, at, "cannot be changed: give it another name");
    }
    return 0;
}

static int write_update(struct apply *a, struct config_step *step, const struct store_object *object,
                        struct body *body)
{
    struct change change = call_change(&step->call);
    struct change_object changed = object_of(a, step, body, object->id);
    char owner[64] = "";
    int64_t version;
    int r = 0;

    (void)span_copy(a->owner, owner, sizeof(owner));
    if (strcmp(object->managed_by, owner) != 0) {
        r = store_object_manage(a->c->tx, step->call.kind->name, &object->id, owner);
        a->changes.taken_over++;
    }
    return r ? r : change_update(&change, &changed, object->version, &version);
}

static int update(struct apply *a, struct config_step *step, const struct store_object *object)
{
    AUTO(json_value_freep) struct json_value *before = NULL;
    AUTO(body_deinit) struct body body = { 0 };
    bool is_ours = span_eq(span_str(object->managed_by), a->owner);
    struct json_error error;
    int r = body_create(&step->call, &body);

    if (!r)
        r = json_parse(object->doc, &before, &error);
    if (!r)
        r = check_fixed(step, before, &body);
    if (r)
        return r;
    if (is_ours && span_eq(object->doc, buf_span(&body.text)))
        return config_changes_add(&a->changes, a->c->tx, CONFIG_SAME, step->call.kind, body.name, NULL, NULL);
    r = guard_update(&step->call, object, &body);
    if (!r)
        r = write_update(a, step, object, &body);
    return r ? r : config_changes_add(&a->changes, a->c->tx, CONFIG_UPDATE, step->call.kind, body.name,
                                      before, body.doc);
}

static int check_owner(struct apply *a, const struct store_object *object, const char *pointer)
{
    char message[160];

    if (a->is_take_over || span_eq(span_str(object->managed_by), a->owner))
        return 0;
    snprintf(message, sizeof(message), "is managed by %s: take_over=true takes it over",
             object->managed_by[0] ? object->managed_by : "nobody");
    return call_refuse_at(a->c, REASON_CONFLICT, pointer, message);
}

static int apply_item(struct apply *a, const struct kind *kind, const struct json_value *item, size_t i)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    AUTO(config_step_deinit) struct config_step step = { 0 };
    AUTO(buf_deinit) struct buf text;
    struct place place;
    const char *pointer = place_of(kind, i, &place);
    int r = check_item(a, kind, item, pointer);

    buf_init_heap(&text, 2 * STORE_DOC_MAX);
    if (r)
        return r;
    r = store_object_find(a->c->tx, kind->name, doc_text(item, "name"), &object);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    print_item(kind, item, &text);
    r = buf_error(&text);
    if (!r && object)
        r = note_named(a, &object->id, pointer);
    if (!r && object)
        r = check_owner(a, object, pointer);
    if (!r)
        r = config_step_init(&step, a->c, kind, object ? "update" : "create", buf_span(&text));
    if (!r)
        r = object ? update(a, &step, object) : create(a, &step, pointer);
    return config_step_end(&step, r, pointer, doc_text(item, "name"));
}

/* ---- members ---- */
static int apply_members(struct apply *a, const struct kind *kind, const struct json_value *item, size_t i)
{
    AUTO(store_object_freep) struct store_object *group = NULL;
    const struct json_value *members = json_get(item, "members");
    struct place place;
    int r;

    if (!kind->relation || !members)
        return 0;
    r = store_object_find(a->c->tx, kind->name, doc_text(item, "name"), &group);
    return r ? r : config_members_apply(a->c, kind, group, members, place_of(kind, i, &place), &a->changes);
}

static int each_item(struct apply *a, int (*one)(struct apply *a, const struct kind *kind,
                                                const struct json_value *item, size_t i))
{
    const struct kind *kind;
    int r = 0;

    for (size_t k = 0; !r && (kind = config_kind_at(k)); k++) {
        const struct json_value *list = json_get(a->doc, kind->plural);

        for (size_t i = 0; !r && list && i < json_count(list); i++)
            r = one(a, kind, json_at(list, i), i);
    }
    return r;
}

/* ---- what the owner has and the document has not ---- */
struct doomed {
    struct apply *a;
    struct ulid *ids;
    size_t count;
};

static int add_doomed(void *ctx, const struct store_object *row)
{
    struct doomed *d = ctx;

    if (map_find(&d->a->named, ulid_span(&row->id)))
        return 0;
    if (d->count == d->a->deletes_max)
        return call_refuse(d->a->c, REASON_CONFLICT,
                           "More than max_deletes=%llu objects would go: they are not in the document.",
                           (unsigned long long)d->a->deletes_max);
    d->ids[d->count++] = row->id;
    return 0;
}

static int check_deletes(struct apply *a, size_t more)
{
    a->deletes += more;
    if (a->deletes <= a->deletes_max)
        return 0;
    return call_refuse(a->c, REASON_CONFLICT, "More than max_deletes=%llu objects would go.",
                       (unsigned long long)a->deletes_max);
}

static int delete_one(struct apply *a, const struct kind *kind, const struct ulid *id)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    AUTO(config_step_deinit) struct config_step step = { 0 };
    char pointer[64];
    size_t count = 0;
    int r = store_object_get(a->c->tx, kind->name, id, &object);

    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;          /* went along with another */
    if (span_eq(ulid_span(id), span_str(a->c->req->principal.id)))
        return call_refuse(a->c, REASON_CONFLICT, "It would delete you: name %s in the document, or let "
                           "somebody else do it.", object->name);
    snprintf(pointer, sizeof(pointer), "/%s", kind->plural);
    r = config_step_init(&step, a->c, kind, "delete", SPAN_NONE);
    if (!r)
        r = remove_object(&step.call, object, a->is_cascade);
    if (!r)
        r = config_changes_removed(&a->changes, buf_span(&step.res.extra), &count);
    r = config_step_end(&step, r, pointer, span_str(object->name));
    return r ? r : check_deletes(a, count);
}

static int prune_kind(struct apply *a, const struct kind *kind)
{
    AUTO(freep) struct ulid *ids = calloc(a->deletes_max + 1, sizeof(*ids));
    struct doomed doomed = { .a = a, .ids = ids };
    struct store_query query = { .source = STORE_OBJECTS, .kind = kind->name, .limit = STORE_LIMIT_MAX,
                                 .filter_count = 1 };
    int r;

    if (!ids)
        return -ENOMEM;
    query.filters[0] = (struct store_filter){ .field = "managed_by", .text = a->owner };
    r = store_list_all(a->c->tx, &query, add_doomed, &doomed);
    for (size_t i = 0; !r && i < doomed.count; i++)
        r = delete_one(a, kind, &doomed.ids[i]);
    return r;
}

/* Of the kinds that the document speaks of; the last ones first, since they refer to the others. */
static int prune(struct apply *a)
{
    size_t count = 0;
    int r = 0;

    if (!a->is_prune)
        return 0;
    while (config_kind_at(count))
        count++;
    while (!r && count-- > 0) {
        const struct kind *kind = config_kind_at(count);

        if (json_get(a->doc, kind->plural))
            r = prune_kind(a, kind);
    }
    return r;
}

/* ---- the whole ---- */
static int answer(struct apply *a)
{
    struct json_writer w;
    int r = call_settle(a->c);

    if (r)
        return r;
    json_close_array(&a->changes.w);
    json_begin(&w, &a->c->res->body);
    json_open_object(&w, NULL);
    json_put_str(&w, "owner", a->owner);
    json_put_bool(&w, "dry_run", a->c->is_dry);
    if (a->c->is_dry)
        json_put_int(&w, "revision", (int64_t)a->c->position.revision);
    config_changes_print(&a->changes, &w);
    effect_put(a->c, &w);
    json_close_object(&w);
    buf_clear(&a->c->res->extra);
    a->c->res->status = 200;
    r = buf_error(&a->c->res->body);
    if (!r)
        r = call_commit(a->c);
    if (!r && !a->c->is_dry)
        call_wait(a->c);
    return r;
}

static void forget_named(struct apply *a)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&a->named, &cursor))) {
        map_remove(&a->named, node);
        free(container_of(node, struct named, node));
    }
    map_deinit(&a->named);
}

static int put_config(struct call *c)
{
    struct apply a = { .c = c };
    int r;

    map_init(&a.named, OBJECTS_MAX);
    config_changes_init(&a.changes);
    r = read_modes(&a);
    if (!r)
        r = check_document(&a);
    if (!r)
        r = each_item(&a, apply_item);
    if (!r)
        r = each_item(&a, apply_members);
    if (!r)
        r = prune(&a);
    if (!r)
        r = answer(&a);
    forget_named(&a);
    config_changes_deinit(&a.changes);
    json_value_free(a.doc);
    return r;
}

void on_config_put(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, put_config);
}
