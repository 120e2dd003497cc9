#include "controlplane/routes/config.h"

#include "controlplane/routes/doc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_declared(const struct kind *kind)
{
    return (kind->flags & KIND_CREATE) && !kind->secret;
}

/* The kinds stand in an order in which none refers to a later one (a test proves it). */
const struct kind *config_kind_at(size_t i)
{
    for (enum kind_id id = 0; id < KIND_COUNT; id++) {
        if (is_declared(kind_at(id)) && !i--)
            return kind_at(id);
    }
    return NULL;
}

const struct kind *config_kind_by_plural(struct span plural)
{
    const struct kind *kind = kind_by_plural(plural);

    return kind && is_declared(kind) ? kind : NULL;
}

/* ---- steps ---- */
static const struct route *route_of(const struct api *api, const char *operation)
{
    for (size_t i = 0; i < api->route_count; i++) {
        if (strcmp(api->routes[i].operation, operation) == 0)
            return &api->routes[i];
    }
    return NULL;
}

int config_step_init(struct config_step *step, struct call *whole, const struct kind *kind,
                     const char *verb, struct span body)
{
    const struct principal *p = &whole->req->principal;
    const struct route *route;
    char operation[64];

    snprintf(operation, sizeof(operation), "%s.%s", kind->plural, verb);
    route = route_of(whole->api, operation);
    *step = (struct config_step){ .call = *whole, .req = *whole->req, .whole = whole };
    buf_init_heap(&step->res.body, 64u << 10);
    buf_init_heap(&step->res.extra, 64u << 10);
    if (!route || !(p->roles & route->roles))
        return call_refuse(whole, REASON_FORBIDDEN, "your role does not allow %s", operation);
    if (route->scope && !principal_has_scope(p, route->scope))
        return call_refuse(whole, REASON_FORBIDDEN, "the token's scopes do not hold %s", route->scope);
    step->req.route = route;
    step->req.body = body;
    step->call.req = &step->req;
    step->call.res = &step->res;
    step->call.kind = kind;
    step->call.right = right_find(span_str(operation));
    return 0;
}

static void hand_on(struct config_step *step, const char *pointer, struct span name)
{
    struct problem *to = &step->whole->res->problem;
    char detail[sizeof_field(struct problem, detail)];

    *to = step->res.problem;
    to->extra = SPAN_NONE;
    snprintf(detail, sizeof(detail), "%.32s " SPAN_FMT ": %.400s", step->call.kind->name, SPAN_ARG(span_first(name, 64)),
             step->res.problem.detail);
    memcpy(to->detail, detail, sizeof(detail));
    for (size_t i = 0; i < to->error_count; i++) {
        char *text = to->errors[i].pointer;
        char joined[sizeof_field(struct problem_error, pointer)];

        snprintf(joined, sizeof(joined), "%s%.80s", pointer, text);
        memcpy(text, joined, sizeof(joined));
    }
    buf_clear(&step->whole->res->extra);
    buf_put_span(&step->whole->res->extra, step->res.problem.extra);
    if (step->res.problem.extra.n && !buf_error(&step->whole->res->extra))
        to->extra = buf_span(&step->whole->res->extra);
    step->whole->res->status = step->res.status;
}

int config_step_end(struct config_step *step, int r, const char *pointer, struct span name)
{
    if (r == CALL_E_ANSWERED && step->res.problem.reason != REASON_NONE)
        hand_on(step, pointer, name);
    return r;
}

void config_step_deinit(struct config_step *step)
{
    buf_deinit(&step->res.body);
    buf_deinit(&step->res.extra);
}

/* ---- changes ---- */
void config_changes_init(struct config_changes *changes)
{
    *changes = (struct config_changes){ 0 };
    buf_init_heap(&changes->text, 32u << 20);
    json_begin(&changes->w, &changes->text);
    json_open_array(&changes->w, NULL);
}

void config_changes_deinit(struct config_changes *changes)
{
    buf_deinit(&changes->text);
}

static bool is_listed(struct config_changes *changes)
{
    bool is_room = changes->listed < CONFIG_LISTED_MAX;

    if (is_room)
        changes->listed++;
    else
        changes->left_out++;
    return is_room;
}

static void open_change(struct config_changes *changes, const char *action, const char *kind,
                        struct span name)
{
    json_open_object(&changes->w, NULL);
    json_put_text(&changes->w, "action", action);
    json_put_text(&changes->w, "kind", kind);
    json_put_str(&changes->w, "name", name);
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

/* A reference by its name, all else as it is. */
static int put_value(struct json_writer *w, const char *key, struct store_tx *tx,
                     const struct field *field, const struct json_value *value)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    struct span text;
    struct ulid id;
    int r = STORE_E_NOT_FOUND;

    if (value && field->leaf == LEAF_REF && json_as_str(value, &text) && ulid_parse(text, &id))
        r = store_object_get(tx, kind_at(field->ref)->name, &id, &object);
    if (!r)
        json_put_text(w, key, object->name);
    else if (r == STORE_E_NOT_FOUND && value)
        json_put_value(w, key, value);
    else if (r == STORE_E_NOT_FOUND)
        json_put_null(w, key);
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

static int put_fields(struct config_changes *changes, struct store_tx *tx, const struct kind *kind,
                      const struct json_value *before, const struct json_value *after)
{
    const struct field *field;
    int r = 0;

    json_open_array(&changes->w, "fields");
    for (size_t i = 0; !r && (field = kind_field_at(kind, i)); i++) {
        const struct json_value *was = json_get(before, field->name), *is = json_get(after, field->name);

        if (is_same(was, is))
            continue;
        json_open_object(&changes->w, NULL);
        json_put_text(&changes->w, "field", field->name);
        r = put_value(&changes->w, "before", tx, field, was);
        if (!r)
            r = put_value(&changes->w, "after", tx, field, is);
        json_close_object(&changes->w);
    }
    json_close_array(&changes->w);
    return r;
}

int config_changes_add(struct config_changes *changes, struct store_tx *tx, enum config_action action,
                       const struct kind *kind, struct span name, const struct json_value *before,
                       const struct json_value *after)
{
    static const char *const names[CONFIG_ACTIONS] = {
        [CONFIG_CREATE] = "create", [CONFIG_UPDATE] = "update", [CONFIG_DELETE] = "delete",
    };
    int r = 0;

    changes->counts[action]++;
    if (!names[action] || !is_listed(changes))
        return 0;
    open_change(changes, names[action], kind->name, name);
    if (before && after)
        r = put_fields(changes, tx, kind, before, after);
    json_close_object(&changes->w);
    return r ? r : buf_error(&changes->text);
}

void config_changes_member(struct config_changes *changes, const char *what, const struct kind *kind,
                           struct span group, struct span member)
{
    char action[32];

    changes->counts[CONFIG_MEMBER]++;
    if (!is_listed(changes))
        return;
    snprintf(action, sizeof(action), "%s-member", what);
    open_change(changes, action, kind->name, group);
    json_put_str(&changes->w, "member", member);
    json_close_object(&changes->w);
}

int config_changes_removed(struct config_changes *changes, struct span list, size_t *ret_count)
{
    AUTO(json_value_freep) struct json_value *items = NULL;
    struct json_error error;
    int r = json_parse(list, &items, &error);

    if (r)
        return r;
    for (size_t i = 0; i < json_count(items); i++) {
        const struct json_value *item = json_at(items, i);
        const struct kind *kind = kind_by_name(doc_text(item, "kind"));

        r = kind ? config_changes_add(changes, NULL, CONFIG_DELETE, kind, doc_text(item, "name"), NULL, NULL) : 0;
        if (r)
            return r;
    }
    *ret_count = json_count(items);
    return 0;
}

void config_changes_print(const struct config_changes *changes, struct json_writer *w)
{
    static const char *const names[CONFIG_ACTIONS] = { "created", "updated", "deleted", "members", "unchanged" };

    for (size_t i = 0; i < CONFIG_ACTIONS; i++)
        json_put_int(w, names[i], (int64_t)changes->counts[i]);
    json_put_int(w, "taken_over", (int64_t)changes->taken_over);
    json_put_raw(w, "changes", buf_span(&changes->text));
    if (changes->left_out)
        json_put_int(w, "changes_left_out", (int64_t)changes->left_out);
}
