#include "controlplane/routes/doc.h"
#include "controlplane/routes/internal.h"
#include "controlplane/routes/internal_events.h"
#include "controlplane/routes/tell.h"
#include "controlplane/routes/used.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What a relay says that it runs, and what it no longer does. */
#define STREAM_DOC_MAX 32768

struct orphans {
    struct ulid ids[STORE_LIMIT_MAX];
    size_t count;
};

static int add_orphan(void *ctx, const struct store_object *row)
{
    struct orphans *o = ctx;

    o->ids[o->count++] = row->id;
    return 0;
}

static int close_stream(struct store_tx *tx, const struct ulid *id, int64_t now_ms)
{
    AUTO(store_object_freep) struct store_object *row = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL, *merged = NULL, *patch = NULL;
    AUTO(buf_deinit) struct buf text;
    struct json_error error;
    char change[128];
    int r;

    buf_init_heap(&text, STREAM_DOC_MAX);
    snprintf(change, sizeof(change), "{\"state\":\"closed\",\"closed_at_ms\":%lld,\"reason\":\"session-lost\"}",
             (long long)now_ms);
    r = store_row_get(tx, STORE_STREAMS, id, &row);
    if (!r)
        r = json_parse(row->doc, &doc, &error);
    if (!r)
        r = json_parse(span_str(change), &patch, &error);
    if (!r)
        r = json_merge(doc, patch, &merged);
    if (r)
        return r;
    json_print(merged, &text);
    return buf_error(&text) ? buf_error(&text) : store_record_put(tx, STORE_STREAMS, id, buf_span(&text));
}

/* A relay that started anew holds none of the streams that it had; what it told of its own
 * before it said that it had started is its own. */
static int close_orphans(struct store_tx *tx, const char *relay, const char *boot, int64_t now_ms)
{
    struct store_query q = { .source = STORE_STREAMS, .filter_count = 3, .limit = STORE_LIMIT_MAX,
        .filters = { { .field = "relay", .op = STORE_EQ, .text = span_str(relay) },
                     { .field = "state", .op = STORE_EQ, .text = SPAN("open") },
                     { .field = "boot_id", .op = STORE_NE, .text = span_str(boot) } } };
    AUTO(freep) struct orphans *o = calloc(1, sizeof(*o));
    AUTO(buf_deinit) struct buf next;
    int r;

    buf_init_heap(&next, 4096);
    if (!o)
        return -ENOMEM;
    do {
        o->count = 0;
        buf_clear(&next);
        r = store_list(tx, &q, add_orphan, o, &next);
        for (size_t i = 0; !r && i < o->count; i++)
            r = close_stream(tx, &o->ids[i], now_ms);
    } while (!r && o->count == STORE_LIMIT_MAX);
    return r;
}

static int note_boot(struct store_tx *tx, const struct ulid *relay, struct span boot, int64_t now_ms)
{
    AUTO(buf_deinit) struct buf doc;
    char before[64], now[64];
    struct json_writer w;
    int r;

    buf_init_heap(&doc, 1024);
    if (!span_copy(boot, now, sizeof(now)))
        return -EINVAL;
    r = internal_read_boot(tx, relay, before);
    if (r || strcmp(before, now) == 0)
        return r;
    r = close_orphans(tx, relay->text, now, now_ms);
    if (r)
        return r;
    json_begin(&w, &doc);
    json_open_object(&w, NULL);
    json_put_text(&w, "boot_id", now);
    json_close_object(&w);
    return buf_error(&doc) ? buf_error(&doc) : store_report_put(tx, relay, "relay.boot", buf_span(&doc));
}

static int keep_applied(struct internal *in, const struct request *req, const struct json_value *body)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(buf_deinit) struct buf doc;
    struct ulid relay;
    int r;

    buf_init_heap(&doc, STORE_DOC_MAX);
    json_print(body, &doc);
    if (buf_error(&doc) || !ulid_parse(span_str(req->principal.id), &relay))
        return -EINVAL;
    r = store_begin(in->enrol.store, STORE_WRITE, &tx);
    if (!r)
        r = note_boot(tx, &relay, doc_text(body, "boot_id"), (int64_t)store_now_ms(in->enrol.store));
    if (!r)
        r = tell_applied(tx, &relay, (uint64_t)doc_int(body, "epoch"), (uint64_t)doc_int(body, "revision"));
    if (!r)
        r = store_report_put(tx, &relay, "relay.applied", buf_span(&doc));
    return r ? r : store_commit(&tx, NULL);
}

void on_relay_applied(const struct route *route, struct request *req, struct response *res)
{
    struct internal *in = route->ctx;
    AUTO(json_value_freep) struct json_value *body = NULL;
    struct json_error error;
    int r;

    r = json_parse(req->body, &body, &error);
    if (r || json_kind_of(body) != JSON_IS_OBJECT) {
        response_problem(res, REASON_BAD_REQUEST, "the body must be an object");
        return;
    }
    r = keep_applied(in, req, body);
    if (!r)
        r = used_answer(in->enrol.store, req->principal.id, doc_text(body, "boot_id"), &res->body);
    internal_finish(res, r);
    if (!r)
        res->status = 200;
    if (!r && in->on_applied)
        in->on_applied(in->ctx);
}
