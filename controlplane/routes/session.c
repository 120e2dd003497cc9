#include "controlplane/routes/session.h"
#include "controlplane/domain/closure.h"
#include "controlplane/domain/when.h"
#include "controlplane/routes/view.h"
#include <stdio.h>

#define ENROLLING_MS (15 * 60 * 1000LL)

static int collect(void *ctx, const struct store_object *row)
{
    return closure_add(ctx, &row->id);
}

static int forget_old(struct call *c, const struct ulid *user, int64_t now_ms)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = kind_at(KIND_SESSION)->name,
                                 .limit = 100, .filter_count = 2 };
    AUTO(closure_deinit) struct closure ids = { 0 };
    AUTO(buf_deinit) struct buf next;
    char now[WHEN_TEXT_MAX];
    int r;

    buf_init_heap(&next, 4096);
    when_format(now_ms, now);
    query.filters[0] = (struct store_filter){ .field = "user", .text = ulid_span(user) };
    query.filters[1] =
        (struct store_filter){ .field = "expires_at", .op = STORE_LT, .text = span_str(now) };
    r = store_list(c->tx, &query, collect, &ids, &next);
    for (size_t i = 0; !r && i < ids.count; i++)
        r = store_object_delete(c->tx, query.kind, &ids.ids[i], 0);
    return r;
}

int session_make(struct call *c, const struct session_of *of, struct issued *s, struct ulid *ret_id)
{
    int64_t now_ms = (int64_t)store_now_ms(c->api->options.store);
    struct change change = call_change(c);
    struct ulid id = store_new_id(c->api->options.store);
    char doc[256], expires[WHEN_TEXT_MAX], peer[ADDR_TEXT_MAX];
    int r;

    snprintf(doc, sizeof(doc), "{\"user\":\"%s\",%s\"expires_at\":\"%s\",\"source\":\"%s\"}", of->user.text,
             of->is_enrolling ? "\"scopes\":[\"totp:write\"]," : "",
             when_format(now_ms + (of->is_enrolling ? ENROLLING_MS : SESSION_MS), expires),
             addr_format(&c->req->peer, peer));
    change.event.actor_kind = "user";
    change.event.actor_id = ulid_span(&of->user);
    change.event.actor_name = of->name;
    r = forget_old(c, &of->user, now_ms);
    if (!r)
        r = issued_make_token("api-token", s);
    if (!r)
        r = change_insert(&change, &(struct change_object){
                                       .kind = kind_at(KIND_SESSION),
                                       .id = id,
                                       .doc = span_str(doc),
                                       .secret = s->secret,
                                       .refs = &(struct change_ref){ "user", of->user },
                                       .ref_count = 1,
                                       .created_by = of->user.text,
                                   });
    if (!r)
        *ret_id = id;
    return r;
}

int session_give(struct call *c, const struct session_of *of)
{
    AUTO(issued_deinit) struct issued issued;
    AUTO(store_object_freep) struct store_object *object = NULL;
    struct ulid id;
    int r;

    issued_init(&issued);
    r = session_make(c, of, &issued, &id);
    if (!r)
        r = store_object_get(c->tx, c->kind->name, &id, &object);
    if (!r)
        r = view_answer(c, object, SPAN_NONE, buf_span(&issued.shown));
    if (r)
        return r;
    response_etag(c->res, object->version);
    response_header(c->res, "Location", "/api/v1/login-sessions/%s", id.text);
    c->res->status = 201;
    return call_commit(c);
}
