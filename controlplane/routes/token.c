#include "controlplane/domain/when.h"
#include "controlplane/routes/answer.h"
#include "controlplane/routes/body.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/guard.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/secret.h"
#include "controlplane/routes/token.h"

/* POST /api-tokens/{id}/rotate: a new secret; the one before counts for a while beside it. */
#define OVERLAP_S 3600
#define OVERLAP_MAX_S 604800

/* The present secret becomes the one before; with no overlap it is gone at once. */
static int keep_previous(struct call *c, const struct ulid *id, bool has_overlap)
{
    struct store_secret old;
    int r = store_secret_get(c->tx, id, TOKEN_PURPOSE, &old);

    if (!r && has_overlap)
        return store_secret_put(c->tx, id, TOKEN_PREVIOUS, span_of(old.value, old.value_len), old.fingerprint);
    if (!r)
        r = store_secret_delete(c->tx, id, TOKEN_PREVIOUS);
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

static int put_until(const struct store_object *token, int64_t until_ms, struct buf *ret_doc)
{
    AUTO(json_value_freep) struct json_value *before = NULL, *patch = NULL, *after = NULL;
    struct json_error error;
    char text[WHEN_TEXT_MAX], mem[96];
    struct buf b;
    int r;

    buf_init_fixed(&b, mem, sizeof(mem));
    buf_printf(&b, "{\"previous_until\":\"%s\"}", when_format(until_ms, text));
    r = json_parse(token->doc, &before, &error);
    if (!r)
        r = json_parse(buf_span(&b), &patch, &error);
    if (!r)
        r = json_merge(before, patch, &after);
    if (!r)
        json_print(after, ret_doc);
    return r ? r : buf_error(ret_doc);
}

static int put_new(struct call *c, const struct store_object *token, int64_t until_ms, const struct issued *issued)
{
    AUTO(json_value_freep) struct json_value *doc = NULL;
    AUTO(buf_deinit) struct buf text;
    struct change change = call_change(c);
    struct json_error error;
    struct change_ref user = { .field = "user" };
    struct change_object object = { .kind = c->kind, .id = token->id, .refs = &user, .ref_count = 1,
                                    .secret = issued->secret };
    int64_t version;
    int r;

    buf_init_heap(&text, STORE_DOC_MAX);
    r = put_until(token, until_ms, &text);
    if (!r)
        r = json_parse(buf_span(&text), &doc, &error);
    if (r)
        return r;
    user.to = doc_id(doc, "user");
    object.doc = buf_span(&text);
    return change_update(&change, &object, token->version, &version);
}

static int rotate(struct call *c)
{
    AUTO(store_object_freep) struct store_object *token = NULL, *after = NULL;
    AUTO(issued_deinit) struct issued issued;
    int64_t overlap_s = OVERLAP_S, now_ms = (int64_t)store_now_ms(c->api->options.store);
    int r;

    issued_init(&issued);
    r = body_overlap(c, OVERLAP_MAX_S, &overlap_s);
    if (!r)
        r = call_path_object(c, 0, &token);
    if (!r)
        r = guard_sees(c, token);
    if (!r)
        r = guard_rotate(c, token);
    if (!r)
        r = issued_make_token(TOKEN_PURPOSE, &issued);
    if (!r)
        r = keep_previous(c, &token->id, overlap_s > 0);
    if (!r)
        r = put_new(c, token, now_ms + overlap_s * 1000, &issued);
    if (!r)
        r = store_object_get(c->tx, c->kind->name, &token->id, &after);
    if (!r)
        r = view_answer(c, after, SPAN_NONE, c->is_dry ? SPAN_NONE : buf_span(&issued.shown));
    if (r)
        return r;
    response_etag(c->res, after->version);
    c->res->status = 200;
    return answer_commit(c);
}

void on_token_rotate(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, rotate);
}
