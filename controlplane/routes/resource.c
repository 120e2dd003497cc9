#include "controlplane/routes/answer.h"
#include "controlplane/routes/guard.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/query.h"
#include "controlplane/routes/remove.h"
#include "controlplane/routes/secret.h"

/* ---- list, get ---- */
struct page {
    struct view *view;
    struct json_writer *w;
};

static int put_row(void *ctx, const struct store_object *row)
{
    struct page *page = ctx;

    return view_object(page->view, row, NULL, SPAN_NONE, page->w);
}

static int list_objects(struct call *c)
{
    AUTO(view_deinit) struct view view;
    struct asked asked;
    struct json_writer w;
    int r;

    view_init(&view, c, SPAN_NONE);
    r = asked_read(c, &asked);
    if (!r)
        r = view_names(c, &view);
    if (!r)
        r = asked_own(c, c->kind->owner, &asked);
    if (r)
        return r;
    view.fields = asked.fields;
    json_begin(&w, &c->res->body);
    return answer_page(c, &asked, put_row, &(struct page){ &view, &w }, &w);
}

static int get_object(struct call *c)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    struct span fields;
    int r = view_fields(c, &fields);

    if (!r)
        r = call_path_object(c, 0, &object);
    if (!r)
        r = guard_sees(c, object);
    if (!r)
        r = view_answer(c, object, fields, SPAN_NONE);
    if (r)
        return r;
    response_etag(c->res, object->version);
    c->res->status = 200;
    return 0;
}

/* ---- create ---- */
static struct change_object object_of(const struct call *c, const struct body *body, struct ulid id)
{
    return (struct change_object){
        .kind = c->kind,
        .id = id,
        .name = body->name,
        .doc = buf_span(&body->text),
        .refs = body->refs,
        .ref_count = body->ref_count,
        .created_by = c->req->principal.id,
    };
}

/* What the client gave: a password was hashed before, anything else is sealed into `s`. */
static int use_secret(struct call *c, const struct body *body, struct issued *s,
                      struct change_object *object)
{
    int r;

    if (!body->has_secret)
        return 0;
    if (c->kind->id == KIND_USER) {
        object->secret = (struct change_secret){ "password", span_str(c->password), "" };
        return 0;
    }
    r = issued_seal(c, body->secret, s);
    object->secret = s->secret;
    return r;
}

static int answer_created(struct call *c, const struct ulid *id, struct span shown)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    int r = store_object_get(c->tx, c->kind->name, id, &object);

    if (!r)
        r = view_answer(c, object, SPAN_NONE, SPAN_NONE);
    if (r)
        return r;
    response_etag(c->res, object->version);
    response_header(c->res, "Location", "/api/v1/%s/%s", c->kind->plural, id->text);
    c->res->status = 201;
    r = answer_keep(c);
    if (r || !shown.n || c->is_dry)
        return r;
    buf_clear(&c->res->body);
    return view_answer(c, object, SPAN_NONE, shown);
}

static int create_object(struct call *c)
{
    AUTO(body_deinit) struct body body = { 0 };
    AUTO(issued_deinit) struct issued issued;
    struct ulid id = store_new_id(c->api->options.store);
    struct change change = call_change(c);
    struct change_object object;
    int r;

    issued_init(&issued);
    r = body_create(c, &body);
    if (!r)
        r = guard_create(c, &body);
    if (!r)
        r = issued_make(c, &id, body.doc, &issued);
    if (r)
        return r;
    object = object_of(c, &body, id);
    object.secret = issued.secret;
    r = use_secret(c, &body, &issued, &object);
    if (!r)
        r = change_insert(&change, &object);
    if (!r)
        r = answer_created(c, &id, buf_span(&issued.shown));
    return r ? r : answer_commit(c);
}

/* ---- update ---- */
static int update_object(struct call *c)
{
    AUTO(store_object_freep) struct store_object *before = NULL, *after = NULL;
    AUTO(body_deinit) struct body body = { 0 };
    AUTO(issued_deinit) struct issued issued;
    struct change change = call_change(c);
    struct change_object object;
    int64_t version;
    int r;

    issued_init(&issued);
    if (!request_expected_version(c->req, c->res, &version))
        return CALL_E_ANSWERED;
    r = call_path_object(c, 0, &before);
    if (!r)
        r = guard_sees(c, before);
    if (!r && !request_matches(c->req, before->version, c->res))
        r = CALL_E_ANSWERED;
    if (!r)
        r = body_update(c, before, &body);
    if (!r)
        r = guard_update(c, before, &body);
    if (r)
        return r;
    object = object_of(c, &body, before->id);
    r = use_secret(c, &body, &issued, &object);
    if (!r)
        r = change_update(&change, &object, before->version, &version);
    if (!r)
        r = store_object_get(c->tx, c->kind->name, &before->id, &after);
    if (!r)
        r = view_answer(c, after, SPAN_NONE, SPAN_NONE);
    if (r)
        return r;
    response_etag(c->res, version);
    c->res->status = 200;
    return answer_commit(c);
}

/* ---- delete ---- */
static int delete_object(struct call *c)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    bool is_cascade;
    int64_t version;
    int r;

    if (!request_expected_version(c->req, c->res, &version))
        return CALL_E_ANSWERED;
    r = call_flag(c, "cascade", &is_cascade);
    if (!r)
        r = call_path_object(c, 0, &object);
    if (!r)
        r = guard_sees(c, object);
    if (!r && !request_matches(c->req, object->version, c->res))
        r = CALL_E_ANSWERED;
    if (!r)
        r = remove_object(c, object, is_cascade);
    if (r)
        return r;
    c->res->status = 204;
    return answer_commit(c);
}

void on_object_list(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, list_objects);
}

void on_object_get(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, get_object);
}

void on_object_create(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, create_object);
}

void on_object_update(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, update_object);
}

void on_object_delete(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, delete_object);
}
