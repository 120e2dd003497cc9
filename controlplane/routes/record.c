#include "controlplane/routes/answer.h"
#include "controlplane/routes/cut.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/record.h"
#include "lib/state/record_codec.h"
#include <errno.h>
#include <string.h>

#define CUT_KEPT_MS 3600000             /* longer than any relay is without its state */
#define CUTS_MAX 1000                   /* in that time */
#define CUT_SHOWN 20                    /* ids in the answer */

/* ---- streams, route decisions, audit events: as they were reported ---- */
static const struct asked_filter stream_filters[] = {
    { "user", "user", KIND_USER, NULL },
    { "agent", "agent", KIND_AGENT, NULL },
    { "state", "state", KIND_COUNT, "open closed" },
};

static const struct asked_filter decision_filters[] = {
    { "user", "user", KIND_USER, NULL },
    { "reason", "reason", KIND_COUNT, NULL },
};

static const struct asked_filter audit_filters[] = {
    { "action", "action", KIND_COUNT, NULL },
    { "outcome", "outcome", KIND_COUNT, NULL },
    { "actor_id", "actor.id", KIND_COUNT, NULL },
    { "actor", "actor.name", KIND_COUNT, NULL },
    { "trace_id", "trace_id", KIND_COUNT, NULL },
    { "object_id", "object.id", KIND_COUNT, NULL },
    { "object_kind", "object.kind", KIND_COUNT, NULL },
};

static const struct asked_filter operation_filters[] = {
    { "user", "user", KIND_USER, NULL },
    { "operation", "operation", KIND_COUNT, NULL },
};

static const struct asked_filter diagnostic_filters[] = {
    { "state", "state", KIND_COUNT, "running finished" },
    { "reason", "reason", KIND_COUNT, NULL },
    { "host", "host", KIND_COUNT, NULL },
};

#define FILTERS(table_) .filters = (table_), .filter_count = ARRAY_LEN(table_)

static const struct record_source sources[] = {
    { .plural = "streams", .source = STORE_STREAMS, FILTERS(stream_filters), .owner = "user" },
    { .plural = "route-decisions",
      .source = STORE_DECISIONS,
      FILTERS(decision_filters),
      .owner = "user" },
    { .plural = "operations", .source = STORE_OPERATIONS, FILTERS(operation_filters), .owner = "user" },
    { .plural = "diagnostics", .source = STORE_DIAGNOSTICS, FILTERS(diagnostic_filters), .owner = "asked_by",
      .has_own_get = true },
    { .plural = "audit-events", .source = STORE_AUDIT, FILTERS(audit_filters) },
};

const struct record_source *record_source_at(size_t i)
{
    return i < ARRAY_LEN(sources) ? &sources[i] : NULL;
}

static const struct record_source *source_of(const struct call *c)
{
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        struct span operation = span_str(c->req->route->operation);

        if (span_starts(operation, span_str(sources[i].plural)))
            return &sources[i];
    }
    return NULL;
}

struct page {
    struct view *view;
    struct json_writer *w;
};

static int put_row(void *ctx, const struct store_object *row)
{
    struct page *page = ctx;

    return view_record(page->view, row, page->w);
}

static int list_records(struct call *c)
{
    const struct record_source *source = source_of(c);
    AUTO(view_deinit) struct view view;
    struct json_writer w;
    struct asked asked;
    int r;

    view_init(&view, c, SPAN_NONE);
    r = asked_read_records(c, source->source, source->filters, source->filter_count, &asked);
    if (!r)
        r = asked_own(c, source->owner, &asked);
    if (r)
        return r;
    view.fields = asked.fields;
    json_begin(&w, &c->res->body);
    return answer_page(c, &asked, put_row, &(struct page){ &view, &w }, &w);
}

int record_find(struct call *c, struct store_object **ret_row, struct json_value **ret_doc)
{
    const struct record_source *source = source_of(c);
    AUTO(store_object_freep) struct store_object *row = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    struct ulid id;
    int r;

    if (!ulid_parse(c->req->params[0], &id))
        return call_not_found(c);
    r = store_row_get(c->tx, source->source, &id, &row);
    if (!r)
        r = json_parse(row->doc, &doc, &error);
    if (r)
        return r == STORE_E_NOT_FOUND ? call_not_found(c) : r;
    if (!call_sees_all(c) && (!source->owner || !call_is_own(c, doc_text(doc, source->owner))))
        return call_not_found(c);
    *ret_row = TAKE(row);
    *ret_doc = TAKE(doc);
    return 0;
}

static int get_record(struct call *c)
{
    AUTO(store_object_freep) struct store_object *row = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    AUTO(view_deinit) struct view view;
    struct json_writer w;
    int r;

    view_init(&view, c, SPAN_NONE);
    r = record_find(c, &row, &doc);
    if (r)
        return r;
    json_begin(&w, &c->res->body);
    c->res->status = 200;
    r = view_record(&view, row, &w);
    return r ? r : buf_error(&c->res->body);
}

/* ---- cutting a stream: a record that every relay obeys ---- */
static int forget_cut(struct store_tx *tx, struct span id)
{
    return store_state_put(tx, "cut", id, SPAN_NONE);
}

/* The ids of the cuts in the state are noted, oldest first, so that old ones can go: an id
 * tells its time. */
static int note_cut(struct call *c, const struct ulid *id, int64_t now_ms)
{
    AUTO(buf_deinit) struct buf before, after;
    struct span rest, one;
    struct ulid old;
    int r;

    buf_init_heap(&before, (ULID_LEN + 1) * (CUTS_MAX + 1));
    buf_init_heap(&after, (ULID_LEN + 1) * CUTS_MAX);
    r = store_meta_get(c->tx, "cuts", &before);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    rest = buf_span(&before);
    for (r = 0; !r && span_cut(&rest, ' ', &one);) {
        if (!ulid_parse(one, &old))
            continue;
        if ((int64_t)ulid_unix_ms(&old) + CUT_KEPT_MS < now_ms)
            r = forget_cut(c->tx, one);
        else
            buf_printf(&after, SPAN_FMT " ", SPAN_ARG(one));
    }
    buf_put_span(&after, ulid_span(id));
    if (!r && buf_error(&after))
        return call_refuse(c, REASON_OVERLOAD, "More than %d streams were cut within the hour.",
                           CUTS_MAX);
    return r ? r : store_meta_put(c->tx, "cuts", buf_span(&after));
}

int cut_put(struct call *c, enum cut_kind kind, struct span target)
{
    AUTO(record_unrefp) struct record *record = NULL;
    AUTO(buf_deinit) struct buf json;
    int64_t now_ms = (int64_t)store_now_ms(c->api->options.store);
    struct ulid id = store_new_id(c->api->options.store);
    struct cut_record *cut;
    int r;

    buf_init_heap(&json, RECORD_LINE_MAX);
    record = record_new(RECORD_CUT, ulid_span(&id));
    if (!record)
        return -ENOMEM;
    cut = container_of(record, struct cut_record, record);
    cut->cut_kind = kind;
    cut->before_ms = now_ms;
    cut->until_ms = now_ms + CUT_KEPT_MS;
    (void)span_copy(span_str(c->req->trace_id), cut->reason, sizeof(cut->reason));
    if (!span_copy(target, cut->target, sizeof(cut->target)))
        return call_not_found(c);
    r = record_encode(record, &json);
    if (!r)
        r = note_cut(c, &id, now_ms);
    return r ? r : store_state_put(c->tx, "cut", record_id(record), buf_span(&json));
}

static int cut_one(struct call *c, const struct store_object *row, const struct json_value *doc)
{
    struct change change = call_change(c);
    int r = cut_put(c, CUT_STREAM, doc_text(doc, "stream"));

    if (r)
        return r;
    change.event.object_kind = "stream";
    change.event.object_id = ulid_span(&row->id);
    change.event.before = row->doc;
    change.event.outcome = "ok";
    return store_audit_append(c->tx, &change.event, NULL);
}

static int cut_stream(struct call *c)
{
    AUTO(store_object_freep) struct store_object *row = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    int r = record_find(c, &row, &doc);

    if (r)
        return r;
    if (doc_is(doc, "state", "closed"))
        return call_refuse(c, REASON_CONFLICT, "The stream has ended already.");
    r = cut_one(c, row, doc);
    if (r)
        return r;
    c->res->status = 204;
    return answer_commit(c);
}

/* ---- cutting what a filter finds ---- */
static const struct asked_filter cut_filters[] = {
    { "user", "user", KIND_USER, NULL },
    { "agent", "agent", KIND_AGENT, NULL },
    { "destination_profile", "profile", KIND_PROFILE, NULL },
    { "grant", "grant", KIND_GRANT, NULL },
    { "host", "host", KIND_COUNT, NULL },
};

struct found {
    struct store_object **rows;
    size_t count;
};

static int keep_found(void *ctx, const struct store_object *row)
{
    struct found *found = ctx;
    struct store_object *kept;

    if (found->count == CUTS_MAX)
        return 0;
    kept = calloc(1, sizeof(*kept) + row->doc.n + 1);
    if (!kept)
        return -ENOMEM;
    *kept = *row;
    memcpy(kept + 1, row->doc.p, row->doc.n);
    kept->doc.p = (const char *)(kept + 1);
    found->rows[found->count++] = kept;
    return 0;
}

static void found_deinit(struct found *found)
{
    for (size_t i = 0; found->rows && i < found->count; i++)
        free(found->rows[i]);
    free(found->rows);
}

static int cut_found(struct call *c, const struct store_object *row)
{
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = json_parse(row->doc, &doc, &error);

    return r ? r : cut_one(c, row, doc);
}

/* How many the caller saw: what came or went since is looked at first. */
static int check_expected(struct call *c, uint64_t count)
{
    struct span text;
    uint64_t expected;

    if (!request_query(c->req, "expected", &text))
        return c->is_dry ? 0 : call_refuse_at(c, REASON_CONFLICT, "?expected", "is required of what is no dry run");
    if (!span_to_u64(text, CUTS_MAX, &expected))
        return call_refuse_at(c, REASON_INVALID, "?expected", "must be a whole number of at most 1000");
    if (count == expected || c->is_dry)
        return 0;
    return call_refuse(c, REASON_CONFLICT, "%llu open streams match, not %llu.", (unsigned long long)count,
                       (unsigned long long)expected);
}

static int answer_cut(struct call *c, const struct found *found, uint64_t count)
{
    struct json_writer w;
    int r;

    json_begin(&w, &c->res->body);
    json_open_object(&w, NULL);
    json_put_bool(&w, "dry_run", c->is_dry);
    json_put_int(&w, "count", (int64_t)count);
    json_open_array(&w, "streams");
    for (size_t i = 0; i < found->count && i < CUT_SHOWN; i++)
        json_put_text(&w, NULL, found->rows[i]->id.text);
    json_close_array(&w);
    json_close_object(&w);
    c->res->status = 200;
    r = buf_error(&c->res->body);
    if (!r)
        r = call_commit(c);
    if (!r && !c->is_dry)
        call_wait(c);
    return r;
}

static int cut_streams(struct call *c)
{
    AUTO(found_deinit) struct found found = { .rows = calloc(CUTS_MAX, sizeof(*found.rows)) };
    struct asked asked;
    uint64_t count = 0;
    int r = found.rows ? 0 : -ENOMEM;

    if (!r)
        r = asked_read_records(c, STORE_STREAMS, cut_filters, ARRAY_LEN(cut_filters), &asked);
    if (r)
        return r;
    asked.query.filters[asked.query.filter_count++] =
        (struct store_filter){ .field = "state", .text = SPAN("open") };
    r = store_count(c->tx, &asked.query, &count);
    if (!r)
        r = check_expected(c, count);
    if (!r)
        r = store_list_all(c->tx, &asked.query, keep_found, &found);
    for (size_t i = 0; !r && !c->is_dry && i < found.count; i++)
        r = cut_found(c, found.rows[i]);
    return r ? r : answer_cut(c, &found, count);
}

void on_streams_cut(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, cut_streams);
}

void on_record_list(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, list_records);
}

void on_record_get(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, get_record);
}

void on_stream_cut(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, cut_stream);
}
