#include "controlplane/routes/internal_events.h"
#include "controlplane/routes/counting.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/internal.h"
#include "controlplane/routes/internal_refused.h"
#include "controlplane/routes/tell.h"
#include "controlplane/routes/used.h"
#include "controlplane/routes/uses.h"
#include "lib/base/reason.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EVENTS_MAX 1000
#define DOC_MAX 16384
#define DATA_MEMBERS_MAX 64

/* One event on its way into the store. */
struct incoming {
    struct internal *in;
    struct store_tx *tx;
    const struct request *req;
    struct counting *counting;
    struct ulid id;
    struct span type, boot, data;       /* data: an object as it came */
    int64_t at_ms;
    char newest_boot[64];               /* of the relay; "": not known */
    bool is_boot_read;
    bool has_refused;                   /* of any event so far */
};

/* ---- records: members of the event under the names of the API ---- */

#define LEFT_OUT NULL

struct naming {
    struct span told;
    const char *kept;
};

/* What the document says by other means may not be said by a relay. */
static const struct naming stream_names[] = {
    { SPAN_INIT("target"), LEFT_OUT },
    { SPAN_INIT("host"), LEFT_OUT },
    { SPAN_INIT("port"), LEFT_OUT },
    { SPAN_INIT("stream"), LEFT_OUT },
    { SPAN_INIT("relay"), LEFT_OUT },
    { SPAN_INIT("boot_id"), LEFT_OUT },
    { SPAN_INIT("state"), LEFT_OUT },
    { SPAN_INIT("at_ms"), LEFT_OUT },
    { SPAN_INIT("bytes_out"), LEFT_OUT },
    { SPAN_INIT("bytes_in"), LEFT_OUT },
    { SPAN_INIT("datagrams_out"), LEFT_OUT },
    { SPAN_INIT("datagrams_in"), LEFT_OUT },
    { SPAN_INIT("sent_bytes"), "bytes_out" },
    { SPAN_INIT("received_bytes"), "bytes_in" },
    { SPAN_INIT("sent_datagrams"), "datagrams_out" },
    { SPAN_INIT("received_datagrams"), "datagrams_in" },
};

/* What each decision says by other means. */
#define DECISION_LEAVES_OUT                                                       \
    { SPAN_INIT("target"), LEFT_OUT }, { SPAN_INIT("host"), LEFT_OUT },           \
    { SPAN_INIT("port"), LEFT_OUT }, { SPAN_INIT("allowed"), LEFT_OUT },          \
    { SPAN_INIT("relay"), LEFT_OUT }, { SPAN_INIT("state"), LEFT_OUT },           \
    { SPAN_INIT("at_ms"), LEFT_OUT }

static const struct naming decision_names[] = { DECISION_LEAVES_OUT };

/* A decision that came with its stream: what became of the stream is not part of it. */
static const struct naming allowed_names[] = {
    DECISION_LEAVES_OUT,
    { SPAN_INIT("stream"), LEFT_OUT },
    { SPAN_INIT("reason"), LEFT_OUT },
    { SPAN_INIT("credential"), LEFT_OUT },
    { SPAN_INIT("closed_at_ms"), LEFT_OUT },
    { SPAN_INIT("sent_bytes"), LEFT_OUT },
    { SPAN_INIT("received_bytes"), LEFT_OUT },
    { SPAN_INIT("sent_datagrams"), LEFT_OUT },
    { SPAN_INIT("received_datagrams"), LEFT_OUT },
    { SPAN_INIT("address"), LEFT_OUT },
    { SPAN_INIT("resolved_by"), LEFT_OUT },
    { SPAN_INIT("tries"), LEFT_OUT },
    { SPAN_INIT("opened_at_ms"), "at_ms" },
};

/* A document on its way into the store. */
struct draft {
    const struct naming *names;
    size_t name_count;
    struct json_writer w;
    struct buf doc;
};

#define DRAFT(names_) { .names = names_, .name_count = ARRAY_LEN(names_) }

static void draft_deinit(struct draft *r)
{
    buf_deinit(&r->doc);
}

static void draft_begin(struct draft *r, const struct incoming *e)
{
    buf_init_heap(&r->doc, DOC_MAX);
    json_begin(&r->w, &r->doc);
    json_open_object(&r->w, NULL);
    json_put_text(&r->w, "relay", e->req->principal.id);
}

/* Empty: too large to be true. */
static struct span draft_end(struct draft *r)
{
    json_close_object(&r->w);
    return buf_error(&r->doc) ? SPAN_NONE : buf_span(&r->doc);
}

static void put_member(struct draft *r, struct span key, struct span value)
{
    for (size_t i = 0; i < r->name_count; i++) {
        if (!span_eq(r->names[i].told, key))
            continue;
        if (r->names[i].kept)
            json_put_raw(&r->w, r->names[i].kept, value);
        return;
    }
    json_put_walked(&r->w, key, value);
}

/* "host:port", "[v6]:port" as two members. */
static void put_target(struct draft *r, struct span target)
{
    struct span host;
    uint16_t port;

    if (!authority_parse(target, 0, &host, &port))
        return;
    json_put_str(&r->w, "host", host);
    json_put_int(&r->w, "port", port);
}

static bool was_seen(const struct span *seen, size_t count, struct span key)
{
    for (size_t i = 0; i < count; i++)
        if (seen[i].n == key.n && memcmp(seen[i].p, key.p, key.n) == 0)
            return true;
    return false;
}

/* The event's members into each of the drafts, by its names. */
static int put_data(struct draft *drafts, size_t count, struct span data)
{
    struct span seen[DATA_MEMBERS_MAX], value;
    struct json_walk walk;
    int r;

    r = json_walk_begin(data, &walk);
    for (size_t i = 0; !r && i < DATA_MEMBERS_MAX; i++) {
        r = json_walk_next(&walk, &seen[i], &value);
        if (r)
            break;
        if (was_seen(seen, i, seen[i]) || (json_raw_is_nested(value) && !json_raw_is_valid(value)))
            return -EINVAL;
        for (size_t k = 0; k < count; k++) {
            put_member(&drafts[k], seen[i], value);
            if (span_eq(seen[i], SPAN("target")))
                put_target(&drafts[k], json_raw_str(value));
        }
    }
    return r == JSON_E_END ? 0 : -EINVAL;
}

/* ---- what each type of event becomes ---- */

typedef int (*record_fn)(struct store_tx *tx, enum store_source source, const struct ulid *id, struct span doc);

/* How a stream is kept. */
enum stream_state { STREAM_OPEN, STREAM_CLOSED, STREAM_LOST };

static void stream_begin(struct draft *stream, const struct incoming *e, enum stream_state state)
{
    draft_begin(stream, e);
    json_put_text(&stream->w, "state", state == STREAM_OPEN ? "open" : "closed");
    json_put_str(&stream->w, "stream", ulid_span(&e->id));
    json_put_int(&stream->w, "at_ms", e->at_ms);
    if (e->boot.n)
        json_put_str(&stream->w, "boot_id", e->boot);
    if (state != STREAM_LOST)
        return;
    json_put_int(&stream->w, "closed_at_ms", e->at_ms);
    json_put_text(&stream->w, "reason", reason_text(REASON_SESSION_LOST));
}

/* The stream was allowed: the decision has its id. */
static void allowed_begin(struct draft *decision, const struct incoming *e)
{
    draft_begin(decision, e);
    json_put_bool(&decision->w, "allowed", true);
    json_put_text(&decision->w, "reason", reason_text(REASON_NONE));
    json_put_str(&decision->w, "stream", ulid_span(&e->id));
}

static int keep(const struct incoming *e, enum store_source source, struct draft *draft, record_fn fn)
{
    struct span doc = draft_end(draft);

    return doc.n ? fn(e->tx, source, &e->id, doc) : 0;
}

static int keep_allowed(const struct incoming *e, enum stream_state state, record_fn fn)
{
    enum { STREAM, DECISION, COUNT };
    struct draft drafts[COUNT] = { DRAFT(stream_names), DRAFT(allowed_names) };
    int r;

    stream_begin(&drafts[STREAM], e, state);
    allowed_begin(&drafts[DECISION], e);
    r = put_data(drafts, COUNT, e->data);
    if (!r)
        r = keep(e, STORE_STREAMS, &drafts[STREAM], fn);
    if (!r)
        r = keep(e, STORE_DECISIONS, &drafts[DECISION], store_record_put);
    draft_deinit(&drafts[STREAM]);
    draft_deinit(&drafts[DECISION]);
    return r;
}

/* Which start of the relay runs now; "": it has not said. */
int internal_read_boot(struct store_tx *tx, const struct ulid *relay, char dst[64])
{
    AUTO(json_value_freep) struct json_value *doc = NULL;
    AUTO(buf_deinit) struct buf text;
    struct json_error error;
    int64_t at_ms;
    int r;

    dst[0] = 0;
    buf_init_heap(&text, 1024);
    r = store_report_get(tx, relay, "relay.boot", &text, &at_ms);
    if (!r)
        r = json_parse(buf_span(&text), &doc, &error);
    if (!r && !span_copy(doc_text(doc, "boot_id"), dst, 64))
        dst[0] = 0;
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

/* Ids of starts rise.  What a relay had to tell when it was killed comes after it started anew. */
static int is_of_dead_boot(struct incoming *e, bool *ret_is_dead)
{
    struct ulid relay;
    int r = 0;

    if (e->boot.n && !e->is_boot_read && ulid_parse(span_str(e->req->principal.id), &relay)) {
        r = internal_read_boot(e->tx, &relay, e->newest_boot);
        e->is_boot_read = !r;
    }
    *ret_is_dead = e->boot.n && e->newest_boot[0] && span_cmp(e->boot, span_str(e->newest_boot)) < 0;
    return r;
}

/* Events may come twice and, after a lost answer, late: an end is not undone by a beginning. */
static int on_stream_opened(struct incoming *e)
{
    bool is_dead;
    int r = is_of_dead_boot(e, &is_dead);

    return r ? r : keep_allowed(e, is_dead ? STREAM_LOST : STREAM_OPEN, store_record_add);
}

static int on_stream_passed(struct incoming *e)
{
    return keep_allowed(e, STREAM_CLOSED, store_record_merge);
}

static int on_stream_closed(struct incoming *e)
{
    AUTO(draft_deinit) struct draft stream = DRAFT(stream_names);
    int r;

    stream_begin(&stream, e, STREAM_CLOSED);
    r = put_data(&stream, 1, e->data);
    return r ? r : keep(e, STORE_STREAMS, &stream, store_record_merge);
}

static int on_decision(struct incoming *e)
{
    AUTO(draft_deinit) struct draft decision = DRAFT(decision_names);
    struct span reason;
    int r;

    r = json_walk_find(e->data, "reason", &reason);
    if (r)
        return r;
    draft_begin(&decision, e);
    json_put_bool(&decision.w, "allowed", span_eq(json_raw_str(reason), span_str(reason_text(REASON_NONE))));
    json_put_int(&decision.w, "at_ms", e->at_ms);
    r = put_data(&decision, 1, e->data);
    return r ? r : keep(e, STORE_DECISIONS, &decision, store_record_put);
}

static int on_presence(struct incoming *e)
{
    AUTO(draft_deinit) struct draft presence = DRAFT(stream_names);
    struct span text, doc;
    struct ulid agent;
    int r;

    r = json_walk_find(e->data, "agent", &text);
    if (r || !ulid_parse(json_raw_str(text), &agent))
        return r;
    draft_begin(&presence, e);
    json_put_bool(&presence.w, "is_up", span_eq(e->type, SPAN("agent.up")));
    json_put_int(&presence.w, "at_ms", e->at_ms);
    r = put_data(&presence, 1, e->data);
    doc = draft_end(&presence);
    if (!r && doc.n)
        r = store_report_put(e->tx, &agent, "agent.presence", doc);
    return r ? r : tell_agent(e->tx, &agent, e->req->principal.id, span_eq(e->type, SPAN("agent.up")));
}

static int on_alarm(struct incoming *e)
{
    AUTO(json_value_freep) struct json_value *data = NULL;
    char action[64];
    struct store_audit event = { .actor_kind = "relay", .actor_id = span_str(e->req->principal.id),
                                 .action = action, .outcome = "ok", .trace_id = e->req->trace_id,
                                 .after = e->data };
    struct json_error error;
    int r;

    r = json_parse(e->data, &data, &error);
    if (r || e->data.n > DOC_MAX)
        return r;
    event.object_id = doc_text(data, "object");
    snprintf(action, sizeof(action), "alarm." SPAN_FMT, SPAN_ARG(span_first(doc_text(data, "reason"), 48)));
    r = store_audit_append(e->tx, &event, NULL);
    return r ? r : tell_alarm(e->tx, doc_text(data, "reason"), event.object_id, doc_text(data, "text"));
}

static int on_quota_used(struct incoming *e)
{
    return used_keep(e->tx, e->req->principal.id, e->boot, e->at_ms, e->data);
}

/* A link that went meanwhile needs no last use. */
static int on_pac_served(struct incoming *e)
{
    struct span text, from;
    struct ulid link;
    int r;

    r = json_walk_find(e->data, "link", &text);
    if (!r)
        r = json_walk_find(e->data, "source", &from);
    if (r || !ulid_parse(json_raw_str(text), &link) || json_raw_str(from).n >= ADDR_TEXT_MAX)
        return r;
    r = store_secret_put(e->tx, &link, USES_PURPOSE, json_raw_str(from), "");
    return r > 0 ? 0 : r;
}

static const struct {
    const char *type;
    int (*take)(struct incoming *e);
} takers[] = {
    { "stream.opened", on_stream_opened }, { "stream.closed", on_stream_closed },
    { "stream.passed", on_stream_passed }, { "decision", on_decision },
    { "agent.up", on_presence },           { "agent.down", on_presence },
    { "alarm", on_alarm },                 { "quota.used", on_quota_used },
    { "pac.served", on_pac_served },
};

static int read_event(struct incoming *e, struct span event)
{
    struct span key, value;
    struct json_walk w;
    int r;

    e->id = (struct ulid){ 0 };
    e->type = e->boot = e->data = SPAN_NONE;
    e->at_ms = 0;
    r = json_walk_begin(event, &w);
    while (!r && !(r = json_walk_next(&w, &key, &value))) {
        if (span_eq(key, SPAN("id")))
            (void)ulid_parse(json_raw_str(value), &e->id);
        else if (span_eq(key, SPAN("type")))
            e->type = json_raw_str(value);
        else if (span_eq(key, SPAN("at_ms")))
            e->at_ms = json_raw_int(value);
        else if (span_eq(key, SPAN("boot_id")))
            e->boot = json_raw_str(value);
        else if (span_eq(key, SPAN("data")))
            e->data = value;
    }
    return r == JSON_E_END ? 0 : r;
}

/* Unknown types come from newer relays: they are passed over. */
static int take_event(struct incoming *e, struct span event)
{
    int r;

    if (!span_starts(event, SPAN("{")))
        return 0;
    r = read_event(e, event);
    e->has_refused |= span_eq(e->type, SPAN(INTERNAL_REFUSED));
    if (r || !e->id.text[0] || !span_starts(e->data, SPAN("{")))
        return r;
    r = counting_take(e->counting, &(struct counted){ e->type, e->id, e->at_ms, e->data });
    for (size_t i = 0; !r && i < ARRAY_LEN(takers); i++)
        if (span_eq(e->type, span_str(takers[i].type)))
            return takers[i].take(e);
    return r;
}

/* The bounds are kept to a tenth: looking for the oldest costs a walk over all that are kept. */
static int trim(struct incoming *e, uint64_t *untrimmed, enum store_source source, uint64_t kept)
{
    if (*untrimmed < kept / 10)
        return 0;
    *untrimmed = 0;
    return store_records_trim(e->tx, source, kept);
}

static int take_events(struct incoming *e, struct span list)
{
    struct internal *in = e->in;
    struct span key, event;
    struct json_walk w;
    size_t count = 0;
    int r;

    r = json_walk_begin(list, &w);
    while (!r && !(r = json_walk_next(&w, &key, &event)))
        r = count++ < EVENTS_MAX ? take_event(e, event) : -EINVAL;
    if (r != JSON_E_END || w.is_object)
        return r == JSON_E_END ? -EINVAL : r;
    in->untrimmed_streams += count;
    in->untrimmed_decisions += count;
    r = trim(e, &in->untrimmed_streams, STORE_STREAMS, INTERNAL_STREAMS_KEPT);
    return r ? r : trim(e, &in->untrimmed_decisions, STORE_DECISIONS, INTERNAL_DECISIONS_KEPT);
}

static int keep_events(struct internal *in, const struct request *req)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(counting_freep) struct counting *counting = NULL;
    struct incoming e = { .in = in, .req = req };
    struct span list;
    int r;

    r = json_walk_find(req->body, "events", &list);
    if (!r)
        r = store_begin(in->enrol.store, STORE_WRITE, &tx);
    if (!r)
        counting = counting_new(tx);
    e.tx = tx;
    e.counting = counting;
    if (!r)
        r = counting ? take_events(&e, list) : -ENOMEM;
    if (!r)
        r = counting_flush(counting);
    if (!r)
        r = store_commit(&tx, NULL);
    if (!r && e.has_refused)
        internal_note_refused(in, req, list);
    return r;
}

void internal_finish(struct response *res, int r)
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
    int r = keep_events(route->ctx, req);

    if (r == -EINVAL)
        response_problem(res, REASON_BAD_REQUEST, "events must be an array of at most %d", EVENTS_MAX);
    else
        internal_finish(res, r);
}
