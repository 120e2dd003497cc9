#include "controlplane/routes/breaker.h"
#include "controlplane/routes/answer.h"
#include "controlplane/routes/cut.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/handlers.h"
#include <errno.h>
#include <string.h>

#define SEEN_MAX (STORE_LIMIT_MAX + 1)  /* of one answer: a page, and whether there is more */

#define ID_AT 7                         /* in {"id":"… */

/* ---- reading ---- */
struct reading {
    const struct live *live;
    breaker_fn fn;
    void *ctx;
};

static int read_report(void *ctx, const struct ulid *relay, struct span doc, int64_t at_ms)
{
    const struct reading *reading = ctx;
    const struct live_relay *known = live_relay_find(reading->live, relay);
    AUTO(json_value_freep) struct json_value *report = NULL;
    const struct json_value *list;
    struct json_error error;
    int r = 0;

    if (!known || !known->is_connected || json_parse(doc, &report, &error))
        return 0;
    list = json_get(report, "breakers");
    for (size_t i = 0; !r && list && i < json_count(list); i++) {
        const struct json_value *row = json_at(list, i);
        struct breaker_seen seen = {
            .id = doc_id(row, "id"),
            .agentgroup = doc_id(row, "agentgroup"),
            .relay = *relay,
            .host = doc_text(row, "host"),
            .reason = doc_text(row, "reason"),
            .port = doc_int(row, "port"),
            .failures = doc_int(row, "failures"),
            .opened_ms = doc_int(row, "opened_at_ms"),
            .is_trying = doc_bool(row, "is_trying"),
        };

        seen.until_ms = seen.is_trying ? 0 : at_ms + doc_int(row, "left_ms");
        if (seen.id.text[0])
            r = reading->fn(reading->ctx, &seen);
    }
    return r;
}

int breakers_seen(struct store_tx *tx, const struct live *live, breaker_fn fn, void *ctx)
{
    struct reading reading = { live, fn, ctx };

    return store_reports(tx, "relay.applied", read_report, &reading);
}

/* ---- what was asked for ---- */
struct wanted {
    struct call *c;
    struct ulid id;                 /* of one; empty: all */
    struct ulid agentgroup;         /* empty: of all */
    struct span host;
    struct ulid after;
    char *texts[SEEN_MAX];          /* each as JSON, its id first: sorted by it */
    size_t count;
};

static void wanted_free(struct wanted *w)
{
    for (size_t i = 0; w && i < w->count; i++)
        free(w->texts[i]);
    free(w);
}

static inline void wanted_freep(struct wanted **w)
{
    wanted_free(*w);
}

static bool is_wanted(const struct wanted *w, const struct breaker_seen *b)
{
    return (!w->id.text[0] || span_eq(ulid_span(&w->id), ulid_span(&b->id))) &&
           (!w->agentgroup.text[0] || span_eq(ulid_span(&w->agentgroup), ulid_span(&b->agentgroup))) &&
           (!w->host.n || span_eq(w->host, b->host)) && strcmp(b->id.text, w->after.text) > 0;
}

static void put_group_name(struct call *c, const struct ulid *id, struct json_writer *w)
{
    AUTO(store_object_freep) struct store_object *group = NULL;

    if (store_object_get(c->tx, "agent-group", id, &group) == 0)
        json_put_text(w, "agent_group_name", group->name);
}

/* The lowest ids are kept, whatever order relays told them in. */
static bool is_beyond(const struct wanted *w, const struct breaker_seen *b)
{
    return w->count == SEEN_MAX && strncmp(w->texts[SEEN_MAX - 1] + ID_AT, b->id.text, ULID_LEN) <= 0;
}

static int insert(struct wanted *w, struct span text)
{
    char *copy = span_dup(text);
    size_t at;

    if (!copy)
        return -ENOMEM;
    if (w->count == SEEN_MAX)
        free(w->texts[--w->count]);
    for (at = w->count++; at && strcmp(w->texts[at - 1], copy) > 0; at--)
        w->texts[at] = w->texts[at - 1];
    w->texts[at] = copy;
    return 0;
}

static int keep_wanted(struct wanted *wanted, const struct breaker_seen *b)
{
    AUTO(buf_deinit) struct buf out;
    struct json_writer w;

    buf_init_heap(&out, 4096);
    json_begin(&w, &out);
    json_open_object(&w, NULL);
    json_put_text(&w, "id", b->id.text);
    json_put_text(&w, "state", b->is_trying ? "half-open" : "open");
    json_put_text(&w, "agent_group", b->agentgroup.text);
    put_group_name(wanted->c, &b->agentgroup, &w);
    json_put_str(&w, "host", b->host);
    json_put_int(&w, "port", b->port);
    json_put_str(&w, "reason", b->reason);
    json_put_int(&w, "failures", b->failures);
    view_time(&w, "opened_at", b->opened_ms);
    view_time(&w, "tries_again_at", b->until_ms);
    json_put_text(&w, "relay", b->relay.text);
    json_close_object(&w);
    return buf_error(&out) ? buf_error(&out) : insert(wanted, buf_span(&out));
}

static int keep(void *ctx, const struct breaker_seen *b)
{
    struct wanted *wanted = ctx;

    return is_wanted(wanted, b) && !is_beyond(wanted, b) ? keep_wanted(wanted, b) : 0;
}

static int find(struct call *c, struct wanted *w)
{
    struct live live = { .now_ms = 0 };
    int r = live_read(c->tx, &live);

    if (!r)
        r = breakers_seen(c->tx, &live, keep, w);
    live_deinit(&live);
    return r;
}

/* ---- list ---- */
static int read_wanted(struct call *c, struct wanted *w, size_t *ret_limit)
{
    AUTO(store_object_freep) struct store_object *group = NULL;
    struct span text;
    int r = asked_limit(c, ret_limit);

    if (r)
        return r;
    if (request_query(c->req, "cursor", &text) && !ulid_parse(text, &w->after))
        return call_refuse_at(c, REASON_CONFLICT, "?cursor", "was not made for this list");
    r = asked_plain(c, "host", &w->host);
    if (r || !request_query(c->req, "agent_group", &text))
        return r;
    r = call_find(c, KIND_AGENT_GROUP, text, &group);
    if (r)
        return r == STORE_E_NOT_FOUND ? call_not_found(c) : r;
    w->agentgroup = group->id;
    return 0;
}

static int list_breakers(struct call *c)
{
    AUTO(wanted_freep) struct wanted *w = calloc(1, sizeof(*w));
    struct json_writer out;
    size_t limit = 0;
    int r;

    if (!w)
        return -ENOMEM;
    w->c = c;
    r = read_wanted(c, w, &limit);
    if (!r)
        r = find(c, w);
    if (r)
        return r;
    json_begin(&out, &c->res->body);
    json_open_object(&out, NULL);
    json_open_array(&out, "items");
    for (size_t i = 0; i < w->count && i < limit; i++)
        json_put_raw(&out, NULL, span_str(w->texts[i]));
    json_close_array(&out);
    if (w->count > limit)
        json_put_str(&out, "next_cursor", span_of(w->texts[limit - 1] + ID_AT, ULID_LEN));
    json_close_object(&out);
    c->res->status = 200;
    return buf_error(&c->res->body);
}

/* ---- one ---- */
static int find_one(struct call *c, struct wanted *w)
{
    int r;

    if (!w)
        return -ENOMEM;
    w->c = c;
    if (!ulid_parse(c->req->params[0], &w->id))
        return call_not_found(c);
    r = find(c, w);
    return r ? r : w->count ? 0 : call_not_found(c);
}

static int get_breaker(struct call *c)
{
    AUTO(wanted_freep) struct wanted *w = calloc(1, sizeof(*w));
    int r = find_one(c, w);

    if (r)
        return r;
    buf_put_str(&c->res->body, w->texts[0]);
    c->res->status = 200;
    return buf_error(&c->res->body);
}

/* The relays that have it hear of it by the state. */
static int reset_breaker(struct call *c)
{
    AUTO(wanted_freep) struct wanted *w = calloc(1, sizeof(*w));
    struct change change = call_change(c);
    int r = find_one(c, w);

    if (!r)
        r = cut_put(c, CUT_BREAKER, ulid_span(&w->id));
    if (r)
        return r;
    change.event.object_kind = "breaker";
    change.event.object_id = ulid_span(&w->id);
    change.event.before = span_str(w->texts[0]);
    change.event.outcome = "ok";
    r = store_audit_append(c->tx, &change.event, NULL);
    if (r)
        return r;
    c->res->status = 204;
    return answer_commit(c);
}

void on_breaker_list(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, list_breakers);
}

void on_breaker_get(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, get_breaker);
}

void on_breaker_reset(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, reset_breaker);
}
