#include "controlplane/routes/session.h"
#include "controlplane/domain/closure.h"
#include "controlplane/domain/when.h"
#include "controlplane/routes/view.h"
#include <stdio.h>

#define ENROLLING_MS (15 * 60 * 1000LL)
#define PAGE 100

/* ---- ending ---- */
static int collect(void *ctx, const struct store_object *row)
{
    return closure_add(ctx, &row->id);
}

static int end_each(struct change *change, const struct closure *ids, struct span kept)
{
    int r = 0;

    for (size_t i = 0; !r && i < ids->count; i++) {
        if (kept.n && span_eq(ulid_span(&ids->ids[i]), kept))
            continue;
        r = change_delete(change, kind_at(KIND_SESSION), &ids->ids[i], 0);
    }
    return r;
}

static struct store_query sessions_of(const struct ulid *user)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = kind_at(KIND_SESSION)->name,
                                 .limit = PAGE, .filter_count = 1 };

    query.filters[0] = (struct store_filter){ .field = "user", .op = STORE_REFERS, .text = ulid_span(user) };
    return query;
}

int sessions_end(struct change *change, const struct ulid *user, struct span kept)
{
    struct store_query query = sessions_of(user);
    AUTO(buf_deinit) struct buf next;
    bool is_full;
    int r;

    buf_init_heap(&next, 4096);
    do {
        AUTO(closure_deinit) struct closure ids = { 0 };

        buf_clear(&next);
        r = store_list(change->tx, &query, collect, &ids, &next);
        is_full = ids.count == PAGE;
        if (!r)
            r = end_each(change, &ids, kept);
    } while (!r && is_full);
    return r;
}

int sessions_end_of_provider(struct change *change, const struct ulid *provider)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = kind_at(KIND_USER)->name, .limit = PAGE,
                                 .filter_count = 1 };
    AUTO(buf_deinit) struct buf next, after;
    int r = 0;

    buf_init_heap(&next, 4096);
    buf_init_heap(&after, 4096);
    query.filters[0] = (struct store_filter){ .field = "identity_provider", .op = STORE_REFERS,
                                              .text = ulid_span(provider) };
    do {
        AUTO(closure_deinit) struct closure users = { 0 };

        buf_clear(&next);
        r = store_list(change->tx, &query, collect, &users, &next);
        for (size_t i = 0; !r && i < users.count; i++)
            r = sessions_end(change, &users.ids[i], SPAN_NONE);
        buf_clear(&after);
        buf_put_span(&after, buf_span(&next));
        query.after = buf_span(&after);
    } while (!r && query.after.n);
    return r;
}

/* ---- making ---- */
/* What is over goes without a word: everybody knew when. */
static int forget_old(struct call *c, const struct ulid *user, int64_t now_ms)
{
    struct store_query query = sessions_of(user);
    AUTO(closure_deinit) struct closure ids = { 0 };
    AUTO(buf_deinit) struct buf next;
    char now[WHEN_TEXT_MAX];
    int r;

    buf_init_heap(&next, 4096);
    when_format(now_ms, now);
    query.filters[query.filter_count++] =
        (struct store_filter){ .field = "expires_at", .op = STORE_LT, .text = span_str(now) };
    r = store_list(c->tx, &query, collect, &ids, &next);
    for (size_t i = 0; !r && i < ids.count; i++)
        r = store_object_delete(c->tx, query.kind, &ids.ids[i], 0);
    return r;
}

/* Ids grow with time: the first of the list is the oldest. */
static int make_room(struct call *c, struct change *change, const struct ulid *user)
{
    const uint64_t max = c->api->options.sessions_max ? c->api->options.sessions_max : SESSIONS_MAX_DEFAULT;
    struct store_query query = sessions_of(user);
    AUTO(closure_deinit) struct closure ids = { 0 };
    AUTO(buf_deinit) struct buf next;
    uint64_t count;
    int r;

    buf_init_heap(&next, 4096);
    r = store_count(c->tx, &query, &count);
    if (r || count < max)
        return r;
    query.limit = count - max + 1 < PAGE ? (size_t)(count - max + 1) : PAGE;
    r = store_list(c->tx, &query, collect, &ids, &next);
    return r ? r : end_each(change, &ids, SPAN_NONE);
}

static int insert(struct call *c, struct change *change, const struct session_of *of, const struct issued *s,
                  const struct ulid *id, int64_t now_ms)
{
    char doc[256], expires[WHEN_TEXT_MAX], peer[ADDR_TEXT_MAX];
    int64_t life_ms = of->is_enrolling ? ENROLLING_MS : SESSION_MS;

    snprintf(doc, sizeof(doc), "{\"user\":\"%s\",%s\"expires_at\":\"%s\",\"source\":\"%s\"}", of->user.text,
             of->is_enrolling ? "\"scopes\":[\"totp:write\"]," : "", when_format(now_ms + life_ms, expires),
             addr_format(&c->req->peer, peer));
    return change_insert(change, &(struct change_object){
                                     .kind = kind_at(KIND_SESSION),
                                     .id = *id,
                                     .doc = span_str(doc),
                                     .secret = s->secret,
                                     .refs = &(struct change_ref){ "user", of->user },
                                     .ref_count = 1,
                                     .created_by = of->user.text,
                                 });
}

int session_make(struct call *c, const struct session_of *of, struct issued *s, struct ulid *ret_id)
{
    int64_t now_ms = (int64_t)store_now_ms(c->api->options.store);
    struct change change = call_change(c);
    struct ulid id = store_new_id(c->api->options.store);
    int r;

    change.event.actor_kind = "user";
    change.event.actor_id = ulid_span(&of->user);
    change.event.actor_name = of->name;
    r = forget_old(c, &of->user, now_ms);
    if (!r)
        r = make_room(c, &change, &of->user);
    if (!r)
        r = issued_make_token("api-token", s);
    if (!r)
        r = insert(c, &change, of, s, &id, now_ms);
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
