#include "controlplane/routes/session.h"
#include "controlplane/domain/closure.h"
#include "controlplane/domain/when.h"
#include <stdio.h>

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

int session_make(struct call *c, const struct store_object *user, struct issued *s, struct ulid *ret_id)
{
    int64_t now_ms = (int64_t)store_now_ms(c->api->options.store);
    struct change change = call_change(c);
    struct ulid id = store_new_id(c->api->options.store);
    char doc[256], expires[WHEN_TEXT_MAX], peer[ADDR_TEXT_MAX];
    int r;

    snprintf(doc, sizeof(doc), "{\"user\":\"%s\",\"expires_at\":\"%s\",\"source\":\"%s\"}", user->id.text,
             when_format(now_ms + SESSION_MS, expires), addr_format(&c->req->peer, peer));
    change.event.actor_kind = "user";
    change.event.actor_id = ulid_span(&user->id);
    change.event.actor_name = span_str(user->name);
    r = forget_old(c, &user->id, now_ms);
    if (!r)
        r = issued_make_token("api-token", s);
    if (!r)
        r = change_insert(&change, &(struct change_object){
                                       .kind = kind_at(KIND_SESSION),
                                       .id = id,
                                       .doc = span_str(doc),
                                       .secret = s->secret,
                                       .refs = &(struct change_ref){ "user", user->id },
                                       .ref_count = 1,
                                       .created_by = user->id.text,
                                   });
    if (!r)
        *ret_id = id;
    return r;
}
