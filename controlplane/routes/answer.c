#include "controlplane/routes/answer.h"
#include "controlplane/routes/effect.h"

int answer_page(struct call *c, const struct asked *asked, store_row_fn put, void *ctx,
                struct json_writer *w)
{
    AUTO(buf_deinit) struct buf next;
    uint64_t count = 0;
    int r;

    buf_init_heap(&next, 4096);
    json_open_object(w, NULL);
    json_open_array(w, "items");
    r = store_list(c->tx, &asked->query, put, ctx, &next);
    json_close_array(w);
    if (!r && next.len)
        json_put_str(w, "next_cursor", buf_span(&next));
    if (!r && asked->has_count)
        r = store_count(c->tx, &asked->query, &count);
    if (!r && asked->has_count)
        json_put_int(w, "count", (int64_t)count);
    json_close_object(w);
    c->res->status = 200;
    return r ? r : buf_error(&c->res->body);
}

/* What would have been answered becomes `object`; what would be deleted was noted in extra. */
static int answer_dry(struct call *c)
{
    AUTO(buf_deinit) struct buf object;
    struct json_writer w;

    buf_init_heap(&object, STORE_DOC_MAX);
    buf_put_span(&object, buf_span(&c->res->body));
    buf_clear(&c->res->body);
    json_begin(&w, &c->res->body);
    json_open_object(&w, NULL);
    json_put_bool(&w, "dry_run", true);
    json_put_int(&w, "revision", (int64_t)c->position.revision);
    if (object.len)
        json_put_raw(&w, "object", buf_span(&object));
    if (c->res->extra.len)
        json_put_raw(&w, "deleted", buf_span(&c->res->extra));
    effect_put(c, &w);
    json_close_object(&w);
    c->res->status = 200;
    c->res->header_count = 0;
    return buf_error(&object) ? buf_error(&object) : buf_error(&c->res->body);
}

int answer_commit(struct call *c)
{
    int r = call_commit(c);

    if (r)
        return r;
    if (c->is_dry)
        return answer_dry(c);
    call_wait(c);
    return 0;
}

static const char *header_of(const struct response *res, const char *name)
{
    for (size_t i = 0; i < res->header_count; i++) {
        if (span_eq_nocase(span_str(res->headers[i].name), span_str(name)))
            return res->headers[i].value;
    }
    return "";
}

int answer_keep(struct call *c)
{
    struct store_answer answer = { .status = c->res->status };
    int r;

    if (!c->req->idempotency_key.n || c->is_dry)
        return 0;
    api_request_hash(c->req, answer.body_hash);
    (void)span_copy(span_str(header_of(c->res, "Location")), answer.location,
                    sizeof(answer.location));
    (void)span_copy(span_str(header_of(c->res, "ETag")), answer.etag, sizeof(answer.etag));
    buf_init_heap(&answer.body, c->res->body.len + 1);
    buf_put_span(&answer.body, buf_span(&c->res->body));
    r = buf_error(&answer.body);
    if (!r)
        r = store_answer_put(c->tx, span_str(c->req->principal.id), c->req->idempotency_key,
                             c->req->route->operation, &answer);
    buf_deinit(&answer.body);
    return r;
}
