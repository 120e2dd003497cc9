/*
 * POST …/batch: what a filter finds, changed or deleted item by item, each as if it were sent alone.
 * The operation that comes of it is kept with a result for each item.
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
#include "controlplane/routes/tell.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BATCH_MAX 1000
#define OPERATIONS_KEPT 1000
#define ITEMS_KEPT 20000

/* What became of one; written when all is over, since a dry run undoes all of them together. */
struct item {
    struct ulid id;
    enum reason reason;
    char name[STORE_NAME_MAX + 1], detail[301];
};

struct batch {
    struct call *c;
    struct ulid id;
    struct item items[BATCH_MAX];
    size_t count, refused;
    struct buf patch;           /* empty: delete */
    bool is_cascade, is_dry;
};

static void batch_free(struct batch *b)
{
    buf_deinit(&b->patch);
    free(b);
}
DEFINE_FREEP(batch, batch_free)

/* ---- what was asked ---- */
static bool is_patch(const struct batch *b, const struct json_value *patch)
{
    if (json_kind_of(patch) != JSON_IS_OBJECT || !(b->c->kind->flags & KIND_UPDATE))
        return false;
    for (size_t i = 0; i < json_count(patch); i++) {
        struct span key;

        (void)json_member(patch, i, &key);
        for (size_t k = 0; k < key.n; k++) {
            if (key.p[k] != '_' && (key.p[k] < 'a' || key.p[k] > 'z'))
                return false;
        }
        if (!key.n || key.n > 32)
            return false;
    }
    return true;
}

static int read_change(struct batch *b, const struct json_value *body)
{
    const struct json_value *patch = json_get(body, "patch");
    bool is_delete = false;

    for (size_t i = 0; i < json_count(body); i++) {
        struct span key;

        (void)json_member(body, i, &key);
        if (!span_eq(key, SPAN("patch")) && !span_eq(key, SPAN("delete")) && !span_eq(key, SPAN("cascade")))
            return call_refuse_at(b->c, REASON_INVALID, "", "takes patch, delete and cascade");
    }
    if ((json_get(body, "delete") && !json_get_bool(body, "delete", &is_delete)) ||
        (json_get(body, "cascade") && !json_get_bool(body, "cascade", &b->is_cascade)))
        return call_refuse_at(b->c, REASON_INVALID, "", "delete and cascade are true or false");
    if (patch && !is_patch(b, patch))
        return call_refuse_at(b->c, REASON_INVALID, "/patch", "must be an object of fields");
    if (is_delete == (patch != NULL))
        return call_refuse_at(b->c, REASON_CONFLICT, "", "either patch or delete must be given");
    if (patch)
        json_print(patch, &b->patch);
    return buf_error(&b->patch);
}

static int keep_id(void *ctx, const struct store_object *row)
{
    struct batch *b = ctx;

    if (b->count < BATCH_MAX)
        b->items[b->count++].id = row->id;
    return 0;
}

/* How many the caller saw: what came or went since is looked at first. */
static int find_items(struct batch *b)
{
    struct asked asked;
    struct span text = SPAN_NONE;
    uint64_t expected, count;
    int r = asked_read(b->c, &asked);

    if (!r && (!request_query(b->c->req, "expected", &text) || !span_to_u64(text, BATCH_MAX, &expected)))
        r = call_refuse_at(b->c, REASON_INVALID, "?expected", "must be a whole number of at most 1000");
    if (!r)
        r = asked_own(b->c, b->c->kind->owner, &asked);
    if (!r)
        r = store_count(b->c->tx, &asked.query, &count);
    if (r)
        return r;
    if (count != expected)
        return call_refuse(b->c, REASON_CONFLICT, "%llu match, not %llu.", (unsigned long long)count,
                           (unsigned long long)expected);
    asked.query.limit = STORE_LIMIT_MAX;
    return store_list_all(b->c->tx, &asked.query, keep_id, b);
}

/* ---- one item ---- */

/* Nobody takes from himself what he asks with. */
static bool is_harm_to_oneself(const struct batch *b, const struct ulid *id)
{
    const struct principal *p = &b->c->req->principal;

    return span_eq(ulid_span(id), span_str(p->id)) || span_eq(ulid_span(id), span_str(p->token_id));
}

static int update_item(struct call *c, const struct store_object *object)
{
    AUTO(body_deinit) struct body body = { 0 };
    struct change change = call_change(c);
    struct change_object changed;
    int64_t version;
    int r = body_update(c, object, &body);

    if (!r && body.has_secret)
        r = call_refuse_at(c, REASON_CONFLICT, "/patch", "holds a secret, which is not set for many at a time");
    if (!r)
        r = guard_update(c, object, &body);
    if (r)
        return r;
    changed = (struct change_object){ .kind = c->kind, .id = object->id, .name = body.name,
                                      .doc = buf_span(&body.text), .refs = body.refs, .ref_count = body.ref_count,
                                      .created_by = c->req->principal.id };
    return change_update(&change, &changed, object->version, &version);
}

static int do_item(struct batch *b, const struct store_object *object, struct config_step *step)
{
    bool is_update = b->patch.len > 0;
    int r = config_step_init(step, b->c, b->c->kind, is_update ? "update" : "delete", buf_span(&b->patch));

    if (r)
        return r;
    step->call.is_dry = false;
    if (is_harm_to_oneself(b, &object->id))
        return call_refuse(&step->call, REASON_CONFLICT, "It is what you ask with.");
    r = guard_sees(&step->call, object);
    if (r)
        return r;
    return is_update ? update_item(&step->call, object) : remove_object(&step->call, object, b->is_cascade);
}

/* What the store's conditions mean to an item. */
static enum reason reason_of(int r)
{
    return r == STORE_E_NOT_FOUND ? REASON_NOT_FOUND : r == STORE_E_IN_USE ? REASON_IN_USE : REASON_CONFLICT;
}

static void note_item(struct batch *b, struct item *item, enum reason reason, const char *detail)
{
    item->reason = reason;
    (void)span_copy(span_first(span_str(detail), sizeof(item->detail) - 1), item->detail, sizeof(item->detail));
    b->refused += reason != REASON_NONE;
}

/* A refused item leaves nothing behind. */
static int run_item(struct batch *b, struct item *item)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    AUTO(config_step_deinit) struct config_step step = { 0 };
    const struct problem *problem = &step.res.problem;
    enum reason reason = REASON_NONE;
    int r = store_object_get(b->c->tx, b->c->kind->name, &item->id, &object), done;

    if (r == STORE_E_NOT_FOUND) {       /* it went with another */
        note_item(b, item, REASON_NOT_FOUND, reason_what(REASON_NOT_FOUND));
        return 0;
    }
    if (!r)
        r = store_mark(b->c->tx);
    if (r)
        return r;
    (void)span_copy(span_str(object->name), item->name, sizeof(item->name));
    done = do_item(b, object, &step);
    if (done < 0 || done == STORE_E_BUSY || (done == CALL_E_ANSWERED && problem->reason == REASON_NONE))
        return done;                    /* nothing of the item's: all of it may be asked for again */
    if (done)
        reason = done == CALL_E_ANSWERED ? problem->reason : reason_of(done);
    note_item(b, item, reason, done == CALL_E_ANSWERED ? problem->detail : reason_what(reason));
    return done ? store_undo_to_mark(b->c->tx) : store_drop_mark(b->c->tx);
}

/* A dry run does all, looks at what came of it, and undoes all. */
static int run_items(struct batch *b)
{
    int r = b->is_dry ? store_mark(b->c->tx) : 0;

    for (size_t i = 0; !r && i < b->count; i++)
        r = run_item(b, &b->items[i]);
    if (!r)
        r = call_settle(b->c);
    return r || !b->is_dry ? r : store_undo_to_mark(b->c->tx);
}

static int keep_item(struct batch *b, const struct item *item)
{
    struct ulid id = store_new_id(b->c->api->options.store);
    char mem[3072];                     /* each byte of the detail may become six */
    struct json_writer w;
    struct buf doc;

    buf_init_fixed(&doc, mem, sizeof(mem));
    json_begin(&w, &doc);
    json_open_object(&w, NULL);
    json_put_text(&w, "operation", b->id.text);
    json_put_text(&w, "object", item->id.text);
    json_put_text(&w, "name", item->name);
    json_put_text(&w, "outcome", reason_text(item->reason));
    if (item->reason != REASON_NONE)
        json_put_text(&w, "detail", item->detail);
    json_close_object(&w);
    return buf_error(&doc) ? buf_error(&doc)
                           : store_record_put(b->c->tx, STORE_OPERATION_ITEMS, &id, buf_span(&doc));
}

static int keep_items(struct batch *b)
{
    int r = 0;

    for (size_t i = 0; !r && i < b->count; i++)
        r = keep_item(b, &b->items[i]);
    return r;
}

/* ---- the operation ---- */
static void print_operation(const struct batch *b, bool has_effect, struct buf *out)
{
    const struct request *req = b->c->req;
    struct json_writer w;

    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_put_text(&w, "user", req->principal.id);
    json_put_text(&w, "operation", req->route->operation);
    json_put_text(&w, "state", "done");
    json_put_bool(&w, "dry_run", b->is_dry);
    json_put_int(&w, "total", (int64_t)b->count);
    json_put_int(&w, "done", (int64_t)(b->count - b->refused));
    json_put_int(&w, "refused", (int64_t)b->refused);
    if (has_effect) {
        json_put_int(&w, "revision", (int64_t)b->c->position.revision);
        effect_put(b->c, &w);
    }
    json_close_object(&w);
}

/* The audit and those who listen are told how it went; the effect of a dry run is for who asked. */
static int keep_operation(struct batch *b)
{
    AUTO(buf_deinit) struct buf doc, whole;
    struct change change = call_change(b->c);
    int r;

    buf_init_heap(&doc, 1024);
    buf_init_heap(&whole, STORE_DOC_MAX);
    print_operation(b, false, &doc);
    print_operation(b, b->is_dry, &whole);
    change.event.object_kind = "operation";
    change.event.object_id = ulid_span(&b->id);
    change.event.after = buf_span(&doc);
    change.event.outcome = "ok";
    r = buf_error(&doc) ? buf_error(&doc) : buf_error(&whole);
    if (!r)
        r = store_record_put(b->c->tx, STORE_OPERATIONS, &b->id, buf_span(&whole));
    if (!r)
        r = store_audit_append(b->c->tx, &change.event, NULL);
    if (!r)
        r = tell_operation(b->c->tx, &b->id, span_str(b->c->req->principal.id), buf_span(&doc));
    if (!r)
        r = store_records_trim(b->c->tx, STORE_OPERATIONS, OPERATIONS_KEPT);
    return r ? r : store_records_trim(b->c->tx, STORE_OPERATION_ITEMS, ITEMS_KEPT);
}

static int answer_operation(struct batch *b)
{
    AUTO(store_object_freep) struct store_object *row = NULL;
    AUTO(view_deinit) struct view view;
    struct call *c = b->c;
    struct json_writer w;
    int r;

    view_init(&view, c, SPAN_NONE);
    r = store_row_get(c->tx, STORE_OPERATIONS, &b->id, &row);
    json_begin(&w, &c->res->body);
    if (!r)
        r = view_record(&view, row, &w);
    if (r)
        return r;
    response_header(c->res, "Location", "/api/v1/operations/%s", b->id.text);
    c->res->status = 202;
    return buf_error(&c->res->body) ? buf_error(&c->res->body) : call_commit(c);
}

static int run_batch(struct call *c)
{
    AUTO(batch_freep) struct batch *b = calloc(1, sizeof(*b));
    AUTO(json_value_freep) struct json_value *body = NULL;
    int r;

    if (!b)
        return -ENOMEM;
    buf_init_heap(&b->patch, STORE_DOC_MAX);
    b->c = c;
    b->id = store_new_id(c->api->options.store);
    b->is_dry = c->is_dry;
    c->is_dry = false;                  /* what would be done is kept all the same */
    r = body_parse(c, &body);
    if (!r)
        r = read_change(b, body);
    if (!r)
        r = find_items(b);
    if (!r)
        r = run_items(b);
    if (!r)
        r = keep_items(b);
    if (!r)
        r = keep_operation(b);
    return r ? r : answer_operation(b);
}

void on_batch(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, run_batch);
}

/* ---- GET /operations/{id}/items ---- */
struct page {
    struct view *view;
    struct json_writer *w;
};

static int put_row(void *ctx, const struct store_object *row)
{
    struct page *page = ctx;

    return view_record(page->view, row, page->w);
}

static int check_own(struct call *c, const struct ulid *id)
{
    AUTO(store_object_freep) struct store_object *row = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = store_row_get(c->tx, STORE_OPERATIONS, id, &row);

    if (!r)
        r = json_parse(row->doc, &doc, &error);
    if (r)
        return r == STORE_E_NOT_FOUND ? call_not_found(c) : r;
    return call_sees_all(c) || call_is_own(c, doc_text(doc, "user")) ? 0 : call_not_found(c);
}

static int list_items(struct call *c)
{
    static const struct asked_filter filters[] = { { "outcome", "outcome", KIND_COUNT, NULL } };
    AUTO(view_deinit) struct view view;
    struct json_writer w;
    struct asked asked;
    struct ulid id;
    int r;

    view_init(&view, c, SPAN_NONE);
    if (!ulid_parse(c->req->params[0], &id))
        return call_not_found(c);
    r = check_own(c, &id);
    if (!r)
        r = asked_read_records(c, STORE_OPERATION_ITEMS, filters, ARRAY_LEN(filters), &asked);
    if (r)
        return r;
    asked.query.is_descending = false;
    asked.query.filters[asked.query.filter_count++] =
        (struct store_filter){ .field = "operation", .text = ulid_span(&id) };
    json_begin(&w, &c->res->body);
    return answer_page(c, &asked, put_row, &(struct page){ &view, &w }, &w);
}

void on_operation_items(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, list_items);
}
