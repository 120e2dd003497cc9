/*
 * POST /audit-events/{id}/revert: what a change of an object did is taken back, as if the fields before
 * were sent as a PATCH: same checks, same rights, same audit.
 */
#include "controlplane/routes/answer.h"
#include "controlplane/routes/body.h"
#include "controlplane/routes/config.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/effect.h"
#include "controlplane/routes/guard.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/record.h"
#include <stdio.h>

struct revert {
    struct call *c;
    const struct kind *kind;
    struct json_value *event, *now;
    struct store_object *object;
    struct buf patch, fields;           /* the body; what it changes, for the answer */
    size_t count;
};

static void revert_init(struct revert *v, struct call *c)
{
    *v = (struct revert){ .c = c };
    buf_init_heap(&v->patch, STORE_DOC_MAX);
    buf_init_heap(&v->fields, STORE_DOC_MAX);
}

static void revert_deinit(struct revert *v)
{
    json_value_free(v->event);
    json_value_free(v->now);
    store_object_free(v->object);
    buf_deinit(&v->patch);
    buf_deinit(&v->fields);
}

static bool is_same(const struct json_value *a, const struct json_value *b)
{
    AUTO(buf_deinit) struct buf one, other;

    buf_init_heap(&one, STORE_DOC_MAX);
    buf_init_heap(&other, STORE_DOC_MAX);
    if (!a || !b)
        return a == b;
    json_print(a, &one);
    json_print(b, &other);
    return span_eq(buf_span(&one), buf_span(&other));
}

/* Memberships, creations, deletions and what is no object have no fields to put back. */
static int read_event(struct revert *v)
{
    AUTO(store_object_freep) struct store_object *row = NULL;
    const struct json_value *object;
    char operation[64] = "";
    int r = record_find(v->c, &row, &v->event);

    if (r)
        return r;
    object = json_get(v->event, "object");
    v->kind = kind_by_name(doc_text(object, "kind"));
    if (v->kind)
        snprintf(operation, sizeof(operation), "%s.update", v->kind->plural);
    if (!v->kind || !(v->kind->flags & KIND_UPDATE) || !span_eq(doc_text(v->event, "action"), span_str(operation)) ||
        !json_get(v->event, "before") || !json_get(v->event, "after"))
        return call_refuse(v->c, REASON_CONFLICT, "Only the change of an object can be taken back, not its creation, its "
                           "deletion or a membership.");
    return 0;
}

static int read_object(struct revert *v)
{
    struct ulid id = doc_id(json_get(v->event, "object"), "id");
    struct json_error error;
    int r = store_object_get(v->c->tx, v->kind->name, &id, &v->object);

    if (r == STORE_E_NOT_FOUND)
        return call_refuse(v->c, REASON_CONFLICT, "The object is not there any more.");
    return r ? r : json_parse(v->object->doc, &v->now, &error);
}

/* A patch of a map is one of its keys. */
static void put_map(struct json_writer *w, const char *name, const struct json_value *was, const struct json_value *is)
{
    json_open_object(w, name);
    for (size_t i = 0; i < json_count(is); i++) {
        struct span key;
        char text[256];

        (void)json_member(is, i, &key);
        if (span_copy(key, text, sizeof(text)) && !json_get(was, text))
            json_put_null(w, text);
    }
    for (size_t i = 0; i < json_count(was); i++) {
        struct span key;
        const struct json_value *value = json_member(was, i, &key);
        char text[256];

        if (span_copy(key, text, sizeof(text)))
            json_put_value(w, text, value);
    }
    json_close_object(w);
}

static void put_field(struct json_writer *w, const struct field *field, const struct json_value *was,
                      const struct json_value *is)
{
    if (!was)
        json_put_null(w, field->name);
    else if (field->shape == SHAPE_MAP && is)
        put_map(w, field->name, was, is);
    else
        json_put_value(w, field->name, was);
}

/* What was changed again since is somebody's later word. */
static int make_patch(struct revert *v)
{
    const struct json_value *before = json_get(v->event, "before"), *after = json_get(v->event, "after");
    struct json_writer patch, fields;
    const struct field *field;

    json_begin(&patch, &v->patch);
    json_begin(&fields, &v->fields);
    json_open_object(&patch, NULL);
    json_open_array(&fields, NULL);
    for (size_t i = 0; (field = kind_field_at(v->kind, i)); i++) {
        const struct json_value *was = json_get(before, field->name), *is = json_get(after, field->name);

        if ((field->flags & (FIELD_SERVER | FIELD_SECRET | FIELD_IMMUTABLE)) || is_same(was, is))
            continue;
        if (!is_same(is, json_get(v->now, field->name)))
            return call_refuse(v->c, REASON_CONFLICT, "%s was changed again since.", field->name);
        put_field(&patch, field, was, is);
        json_put_text(&fields, NULL, field->name);
        v->count++;
    }
    json_close_object(&patch);
    json_close_array(&fields);
    if (!v->count)
        return call_refuse(v->c, REASON_CONFLICT, "It changed nothing that can be taken back: secrets are not kept.");
    return buf_error(&v->patch) ? buf_error(&v->patch) : buf_error(&v->fields);
}

static int write_update(struct revert *v, struct config_step *step)
{
    AUTO(body_deinit) struct body body = { 0 };
    struct change change;
    int64_t version;
    int r = body_update(&step->call, v->object, &body);

    if (!r)
        r = guard_update(&step->call, v->object, &body);
    if (r)
        return r;
    change = call_change(&step->call);
    return change_update(&change, &(struct change_object){
        .kind = v->kind, .id = v->object->id, .name = body.name, .doc = buf_span(&body.text), .refs = body.refs,
        .ref_count = body.ref_count, .created_by = v->c->req->principal.id }, v->object->version, &version);
}

static int apply(struct revert *v)
{
    AUTO(config_step_deinit) struct config_step step;
    int r = config_step_init(&step, v->c, v->kind, "update", buf_span(&v->patch));

    if (!r)
        r = write_update(v, &step);
    return config_step_end(&step, r, "", span_str(v->object->name));
}

static int revert(struct call *c)
{
    AUTO(revert_deinit) struct revert v;
    struct json_writer w;
    int r;

    revert_init(&v, c);
    r = read_event(&v);
    if (!r)
        r = read_object(&v);
    if (!r)
        r = make_patch(&v);
    if (!r)
        r = apply(&v);
    if (!r)
        r = call_commit(c);
    if (r)
        return r;
    json_begin(&w, &c->res->body);
    json_open_object(&w, NULL);
    json_put_text(&w, "kind", v.kind->name);
    json_put_text(&w, "id", v.object->id.text);
    json_put_text(&w, "name", v.object->name);
    json_put_bool(&w, "reverted", !c->is_dry);
    json_put_raw(&w, "fields", buf_span(&v.fields));
    json_put_raw(&w, "patch", buf_span(&v.patch));
    if (c->is_dry)
        json_put_int(&w, "revision", (int64_t)c->position.revision);
    effect_put(c, &w);
    json_close_object(&w);
    c->res->status = 200;
    call_wait(c);
    return buf_error(&c->res->body);
}

void on_audit_revert(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, revert);
}
