#include "controlplane/routes/internal_events.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EVENTS_MAX 1000
#define DOC_MAX 16384

/* One event on its way into the store. */
struct incoming {
    struct internal *in;
    struct store_tx *tx;
    const struct request *req;
    struct ulid id;
    struct span type;
    const struct json_value *data;
    int64_t at_ms;
};

/* "host:port", "[v6]:port" as two members. */
static void put_target(struct json_writer *w, struct span target)
{
    struct span host;
    uint16_t port;

    if (!authority_parse(target, 0, &host, &port))
        return;
    json_put_str(w, "host", host);
    json_put_int(w, "port", port);
}

static const struct {
    const char *told, *kept;            /* kept NULL: written otherwise */
} renamed[] = {
    { "target", NULL },
    { "sent_bytes", "bytes_out" },
    { "received_bytes", "bytes_in" },
    { "stream", NULL },
    { "relay", NULL },
    { "state", NULL },
    { "at_ms", NULL },
};

/* The member's name in the store; NULL: not taken over. */
static const char *kept_name(const char *told)
{
    for (size_t i = 0; i < ARRAY_LEN(renamed); i++)
        if (strcmp(told, renamed[i].told) == 0)
            return renamed[i].kept;
    return told;
}

static void put_data(struct json_writer *w, const struct json_value *data)
{
    for (size_t i = 0; i < json_count(data); i++) {
        struct span key;
        const struct json_value *value = json_member(data, i, &key);
        char name[64];
        const char *kept;

        if (!span_copy(key, name, sizeof(name)))
            continue;
        kept = kept_name(name);
        if (kept)
            json_put_value(w, kept, value);
    }
    put_target(w, doc_text(data, "target"));
}

static int keep_stream(struct incoming *e)
{
    bool is_closed = span_eq(e->type, SPAN("stream.closed"));
    AUTO(buf_deinit) struct buf doc;
    struct json_writer w;

    buf_init_heap(&doc, DOC_MAX);
    json_begin(&w, &doc);
    json_open_object(&w, NULL);
    json_put_text(&w, "state", is_closed ? "closed" : "open");
    json_put_str(&w, "stream", ulid_span(&e->id));
    json_put_text(&w, "relay", e->req->principal.id);
    json_put_int(&w, "at_ms", e->at_ms);
    put_data(&w, e->data);
    json_close_object(&w);
    if (buf_error(&doc))
        return 0;               /* too large to be true */
    return store_record_put(e->tx, STORE_STREAMS, &e->id, buf_span(&doc));
}

/* Events may come twice and, after a lost answer, late: an end is not undone by a beginning. */
static int on_stream_opened(struct incoming *e)
{
    AUTO(store_object_freep) struct store_object *known = NULL;
    int r;

    r = store_row_get(e->tx, STORE_STREAMS, &e->id, &known);
    if (!r)
        return 0;
    return r == STORE_E_NOT_FOUND ? keep_stream(e) : r;
}

static int on_decision(struct incoming *e)
{
    struct span reason = doc_text(e->data, "reason");
    AUTO(buf_deinit) struct buf doc;
    struct json_writer w;

    buf_init_heap(&doc, DOC_MAX);
    json_begin(&w, &doc);
    json_open_object(&w, NULL);
    json_put_bool(&w, "allowed", span_eq(reason, SPAN("ok")));
    json_put_text(&w, "relay", e->req->principal.id);
    json_put_int(&w, "at_ms", e->at_ms);
    put_data(&w, e->data);
    json_close_object(&w);
    if (buf_error(&doc))
        return 0;
    return store_record_put(e->tx, STORE_DECISIONS, &e->id, buf_span(&doc));
}

static int on_presence(struct incoming *e)
{
    AUTO(buf_deinit) struct buf doc;
    struct ulid agent = doc_id(e->data, "agent");
    struct json_writer w;

    buf_init_heap(&doc, DOC_MAX);
    if (!agent.text[0])
        return 0;
    json_begin(&w, &doc);
    json_open_object(&w, NULL);
    json_put_bool(&w, "is_up", span_eq(e->type, SPAN("agent.up")));
    json_put_text(&w, "relay", e->req->principal.id);
    json_put_int(&w, "at_ms", e->at_ms);
    put_data(&w, e->data);
    json_close_object(&w);
    return buf_error(&doc) ? 0 : store_report_put(e->tx, &agent, "agent.presence", buf_span(&doc));
}

static int on_alarm(struct incoming *e)
{
    AUTO(buf_deinit) struct buf doc;
    char action[64];
    struct store_audit event = { .actor_kind = "relay", .actor_id = span_str(e->req->principal.id),
                                 .action = action, .object_id = doc_text(e->data, "object"),
                                 .outcome = "ok", .trace_id = e->req->trace_id };

    buf_init_heap(&doc, DOC_MAX);
    snprintf(action, sizeof(action), "alarm." SPAN_FMT, SPAN_ARG(span_first(doc_text(e->data, "reason"), 48)));
    json_print(e->data, &doc);
    if (buf_error(&doc))
        return 0;
    event.after = buf_span(&doc);
    return store_audit_append(e->tx, &event, NULL);
}

/* ---- whom a relay itself refused ---- */

static const struct {
    const char *place, *action;
} places[] = {
    { "tunnel", "relay.tunnel" }, { "http", "relay.http" },       { "https", "relay.https" },
    { "socks5", "relay.socks5" }, { "socks5s", "relay.socks5s" },
};

static const char *action_at(struct span place)
{
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (span_eq(place, span_str(places[i].place)))
            return places[i].action;
    return "relay.others";
}

static void put_source(struct span text, struct refusal *what, char ret_source[ADDR_TEXT_MAX])
{
    struct addr address, source;

    if (!addr_parse(text, &address))
        return;
    source = addr_source(&address);
    what->source = span_str(addr_format(&source, ret_source));
    what->event.address = text;
}

/* A relay vouches for the agent: it has seen its certificate. */
static void note_refused(struct internal *in, const struct request *req, const struct json_value *event)
{
    const struct json_value *data = json_get(event, "data");
    struct ulid agent = doc_id(data, "agent");
    char source[ADDR_TEXT_MAX];
    struct refusal what = {
        .reason = reason_find(doc_text(data, "reason")),
        .is_known = agent.text[0],
        .event = { .actor_kind = agent.text[0] ? "agent" : "anonymous",
                   .actor_id = ulid_span(&agent),
                   .action = action_at(doc_text(data, "place")),
                   .object_kind = "relay",
                   .object_id = span_str(req->principal.id),
                   .trace_id = "" },
        .count = (uint64_t)doc_int(data, "count"),
        .first_ms = doc_int(data, "first_at_ms"),
        .last_ms = doc_int(data, "last_at_ms"),
    };

    if (what.reason == REASON_COUNT || what.reason == REASON_NONE || !what.count || what.count > UINT32_MAX)
        return;                         /* of a newer relay, or nothing */
    put_source(doc_text(data, "source"), &what, source);
    refusals_note(in->refusals, &what);
}

/* Once the rest is in the database: an answer that fails comes again. */
static void note_all_refused(struct internal *in, const struct request *req, const struct json_value *list)
{
    for (size_t i = 0; in->refusals && i < json_count(list); i++)
        if (span_eq(doc_text(json_at(list, i), "type"), SPAN("refused")))
            note_refused(in, req, json_at(list, i));
}

static const struct {
    const char *type;
    int (*take)(struct incoming *e);
} takers[] = {
    { "stream.opened", on_stream_opened }, { "stream.closed", keep_stream }, { "decision", on_decision },
    { "agent.up", on_presence },           { "agent.down", on_presence },    { "alarm", on_alarm },
};

/* Unknown types come from newer relays: they are passed over. */
static int take_event(struct incoming *e, const struct json_value *event)
{
    e->type = doc_text(event, "type");
    e->data = json_get(event, "data");
    e->at_ms = doc_int(event, "at_ms");
    e->id = doc_id(event, "id");
    if (!e->id.text[0] || !e->data || json_kind_of(e->data) != JSON_IS_OBJECT)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(takers); i++)
        if (span_eq(e->type, span_str(takers[i].type)))
            return takers[i].take(e);
    return 0;
}

static int take_events(struct incoming *e, const struct json_value *list)
{
    int r = 0;

    for (size_t i = 0; !r && i < json_count(list); i++)
        r = take_event(e, json_at(list, i));
    if (!r)
        r = store_records_trim(e->tx, STORE_STREAMS, INTERNAL_STREAMS_KEPT);
    return r ? r : store_records_trim(e->tx, STORE_DECISIONS, INTERNAL_DECISIONS_KEPT);
}

static void finish(struct response *res, int r)
{
    if (r == STORE_E_BUSY)
        response_problem(res, REASON_OVERLOAD, "the database is busy");
    else if (r)
        response_fail(res, r);
    else
        res->status = 204;
}

void on_relay_events(const struct route *route, struct request *req, struct response *res)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(json_value_freep) struct json_value *body = NULL;
    struct incoming e = { .in = route->ctx, .req = req };
    const struct json_value *list;
    struct json_error error;
    int r;

    r = json_parse(req->body, &body, &error);
    list = r ? NULL : json_get(body, "events");
    if (!list || json_kind_of(list) != JSON_IS_ARRAY || json_count(list) > EVENTS_MAX) {
        response_problem(res, REASON_BAD_REQUEST, "events must be an array of at most %d", EVENTS_MAX);
        return;
    }
    r = store_begin(e.in->enrol.store, STORE_WRITE, &tx);
    e.tx = tx;
    if (!r)
        r = take_events(&e, list);
    if (!r)
        r = store_commit(&tx, NULL);
    if (!r)
        note_all_refused(e.in, req, list);
    finish(res, r);
}

/* ---- what a relay runs ---- */

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

    buf_init_heap(&text, 2 * DOC_MAX);
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

/* A relay that started anew holds none of the streams that it had. */
static int close_orphans(struct store_tx *tx, const char *relay, int64_t now_ms)
{
    struct store_query q = { .source = STORE_STREAMS, .filter_count = 2, .limit = STORE_LIMIT_MAX,
        .filters = { { .field = "relay", .op = STORE_EQ, .text = span_str(relay) },
                     { .field = "state", .op = STORE_EQ, .text = SPAN("open") } } };
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

static int was_same_boot(struct store_tx *tx, const struct ulid *relay, struct span boot_id, bool *ret_is_same)
{
    AUTO(json_value_freep) struct json_value *old = NULL;
    AUTO(buf_deinit) struct buf text;
    struct json_error error;
    int64_t at_ms;
    int r;

    buf_init_heap(&text, STORE_DOC_MAX);
    r = store_report_get(tx, relay, "relay.applied", &text, &at_ms);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    *ret_is_same = !r && !json_parse(buf_span(&text), &old, &error) &&
                   span_eq(doc_text(old, "boot_id"), boot_id);
    return 0;
}

static int keep_applied(struct internal *in, const struct request *req, const struct json_value *body)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(buf_deinit) struct buf doc;
    struct ulid relay;
    bool is_same = false;
    int r;

    buf_init_heap(&doc, STORE_DOC_MAX);
    json_print(body, &doc);
    if (buf_error(&doc) || !ulid_parse(span_str(req->principal.id), &relay))
        return -EINVAL;
    r = store_begin(in->enrol.store, STORE_WRITE, &tx);
    if (!r)
        r = was_same_boot(tx, &relay, doc_text(body, "boot_id"), &is_same);
    if (!r && !is_same)
        r = close_orphans(tx, relay.text, (int64_t)store_now_ms(in->enrol.store));
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
    finish(res, r);
    if (!r && in->on_applied)
        in->on_applied(in->ctx);
}
