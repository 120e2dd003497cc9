/* GET /config: what PUT takes, out of what is there; by name, without secrets and what we set. */
#include "controlplane/routes/answer.h"
#include "controlplane/routes/config.h"
#include "controlplane/routes/handlers.h"
#include <errno.h>
#include <stdio.h>

#define PAGE 500

struct export {
    struct call *c;
    const struct kind *kind;
    struct json_writer w;
    struct ulid last;
    size_t page;
};

static int put_ref(struct export *e, const struct field *field, struct span text)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    struct ulid id;
    int r = ulid_parse(text, &id) ? store_object_get(e->c->tx, kind_at(field->ref)->name, &id, &object)
                                  : STORE_E_NOT_FOUND;

    if (!r)
        json_put_text(&e->w, field->name, object->name);
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

static int put_fields(struct export *e, const struct json_value *doc)
{
    const struct field *field;
    int r = 0;

    for (size_t i = 0; !r && (field = kind_field_at(e->kind, i)); i++) {
        const struct json_value *value = json_get(doc, field->name);
        struct span text;

        if (!value || (field->flags & (FIELD_SERVER | FIELD_SECRET)))
            continue;
        if (field->leaf == LEAF_REF && field->shape == SHAPE_ONE && json_as_str(value, &text))
            r = put_ref(e, field, text);
        else
            json_put_value(&e->w, field->name, value);
    }
    return r;
}

/* ---- members ---- */
static int put_member(void *ctx, const struct store_member *m)
{
    struct export *e = ctx;
    AUTO(store_object_freep) struct store_object *object = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = json_parse(m->doc, &doc, &error);

    if (!r && e->kind->member_kind_count > 1)
        r = store_object_get(e->c->tx, NULL, &m->member, &object);
    if (r)
        return r;
    e->last = m->member;
    e->page++;
    json_open_object(&e->w, NULL);
    json_put_text(&e->w, "name", m->member_name);
    if (object)
        json_put_text(&e->w, "kind", object->kind);
    for (size_t i = 0; i < e->kind->member_field_count; i++) {
        const char *name = e->kind->member_fields[i].name;

        if (json_get(doc, name))
            json_put_value(&e->w, name, json_get(doc, name));
    }
    json_close_object(&e->w);
    return 0;
}

static int put_members(struct export *e, const struct ulid *group)
{
    const struct ulid *after = NULL;
    struct ulid last;
    int r;

    json_open_array(&e->w, "members");
    do {
        e->page = 0;
        r = store_members_of(e->c->tx, e->kind->relation, group, after, PAGE, put_member, e);
        last = e->last;
        after = &last;
    } while (!r && e->page == PAGE);
    json_close_array(&e->w);
    return r;
}

/* ---- objects ---- */
static int put_object(void *ctx, const struct store_object *row)
{
    struct export *e = ctx;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = json_parse(row->doc, &doc, &error);

    if (r)
        return r;
    json_open_object(&e->w, NULL);
    json_put_text(&e->w, "name", row->name);
    r = put_fields(e, doc);
    if (!r && e->kind->relation)
        r = put_members(e, &row->id);
    json_close_object(&e->w);
    return r ? r : buf_error(&e->c->res->body);
}

/* Kinds that the caller may not list are left out: PUT does not touch what is not spoken of. */
static bool may_list(const struct call *c, const struct kind *kind)
{
    char operation[64], scope[64];
    const struct right *right;

    snprintf(operation, sizeof(operation), "%s.list", kind->plural);
    snprintf(scope, sizeof(scope), "%s:read", kind->plural);
    right = right_find(span_str(operation));
    return right && (right->any & c->req->principal.roles) && principal_has_scope(&c->req->principal, scope);
}

static int put_kind(struct export *e, struct span owner)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = e->kind->name, .limit = STORE_LIMIT_MAX,
                                 .sort = "name" };
    int r;

    if (owner.n)
        query.filters[query.filter_count++] = (struct store_filter){ .field = "managed_by", .text = owner };
    json_open_array(&e->w, e->kind->plural);
    r = store_list_all(e->c->tx, &query, put_object, e);
    json_close_array(&e->w);
    return r;
}

static int get_config(struct call *c)
{
    struct check_limits none = { 0 };
    struct export e = { .c = c };
    struct span owner = SPAN_NONE;
    unsigned char scratch[64];
    const char *message;
    struct buf out;
    int r = 0;

    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (request_query(c->req, "owner", &owner) && check_text(LEAF_NAME, &none, owner, &out, &message) != CHECK_OK)
        return call_refuse_at(c, REASON_INVALID, "?owner", message);
    json_begin(&e.w, &c->res->body);
    json_open_object(&e.w, NULL);
    for (size_t k = 0; !r && (e.kind = config_kind_at(k)); k++) {
        if (may_list(c, e.kind))
            r = put_kind(&e, owner);
    }
    json_close_object(&e.w);
    c->res->status = 200;
    return r ? r : buf_error(&c->res->body);
}

void on_config_get(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, get_config);
}
