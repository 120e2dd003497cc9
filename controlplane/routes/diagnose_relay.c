#include "controlplane/routes/diagnose.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/internal_events.h"
#include "controlplane/routes/view.h"
#include "lib/diagnosis/diagnosis.h"
#include "lib/diagnosis/order.h"
#include "lib/log/log.h"
#include <errno.h>
#include <string.h>

/* What relays fetch and answer, and what nobody answered. */
#define DOC_MAX ((size_t)96 << 10)      /* of a whole diagnosis: lists of them are bounded by it */
#define ORDER_ROOM (ORDER_BYTES_MAX + 512)

/* --- a try's end --------------------------------------------------------------------------------- */

struct ending {
    const struct json_value *doc;       /* of the diagnosis, as it is */
    int64_t index;                      /* of the try among its results */
    enum reason why;
    struct span detail;
    const struct diagnosis *result;     /* NULL: the agent did not say */
    int64_t now_ms;
    bool is_last;
    enum reason first_bad;              /* of all tries, when it is the last */
};

/* What the caller asked for stays; steps come from the agent. */
static void put_try(const struct ending *e, const struct json_value *before, struct json_writer *w)
{
    static const char *const kept[] = { "agent", "agent_name", "relay" };

    json_open_object(w, NULL);
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        if (json_get(before, kept[i]))
            json_put_value(w, kept[i], json_get(before, kept[i]));
    }
    json_put_text(w, "state", "finished");
    json_put_text(w, "reason", reason_text(e->why));
    json_put_str(w, "detail", e->detail);
    if (e->result)
        diagnosis_encode(e->result, w, "found");
    json_close_object(w);
}

static void put_tries(struct ending *e, struct json_writer *w)
{
    const struct json_value *tries = json_get(e->doc, "results");

    e->is_last = true;
    json_open_array(w, "results");
    for (size_t i = 0; tries && i < json_count(tries); i++) {
        const struct json_value *each = json_at(tries, i);
        enum reason why = reason_find(doc_text(each, "reason"));

        if ((int64_t)i == e->index)
            put_try(e, each, w);
        else
            json_put_value(w, NULL, each);
        if ((int64_t)i == e->index)
            why = e->why;
        else if (!doc_is(each, "state", "finished"))
            e->is_last = false;
        if (e->first_bad == REASON_NONE && why != REASON_NONE && why != REASON_COUNT)
            e->first_bad = why;
    }
    json_close_array(w);
}

static int write_doc(struct ending *e, struct buf *out)
{
    static const char *const anew[] = { "results", "state", "reason", "finished_at" };
    struct json_writer w;

    e->first_bad = REASON_NONE;
    json_begin(&w, out);
    json_open_object(&w, NULL);
    for (size_t i = 0; i < json_count(e->doc); i++) {
        struct span key;
        const struct json_value *value = json_member(e->doc, i, &key);
        char name[64];
        bool is_anew = false;

        for (size_t k = 0; k < ARRAY_LEN(anew); k++)
            is_anew |= span_eq(key, span_str(anew[k]));
        if (!is_anew && span_copy(key, name, sizeof(name)))
            json_put_value(&w, name, value);
    }
    put_tries(e, &w);
    json_put_text(&w, "state", e->is_last ? "finished" : "running");
    if (e->is_last) {
        json_put_text(&w, "reason", reason_text(e->first_bad));
        view_time(&w, "finished_at", e->now_ms);
    }
    json_close_object(&w);
    return buf_error(out);
}

/* Where so much would be kept that lists grow too long, the verdict alone is. */
static int end_in(struct store_tx *tx, const struct ulid *diagnosis, struct ending *e)
{
    AUTO(store_object_freep) struct store_object *row = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    AUTO(buf_deinit) struct buf out = { 0 };
    struct json_error error;
    int r = store_row_get(tx, STORE_DIAGNOSTICS, diagnosis, &row);

    if (!r)
        r = json_parse(row->doc, &doc, &error);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;          /* the history is bounded: it went */
    e->doc = doc;
    buf_init_heap(&out, DOC_MAX);
    r = write_doc(e, &out);
    if (r == -ENOBUFS && e->result) {
        e->result = NULL;
        buf_deinit(&out);
        buf_init_heap(&out, STORE_DOC_MAX);
        r = write_doc(e, &out);
    }
    return r ? r : store_record_put(tx, STORE_DIAGNOSTICS, diagnosis, buf_span(&out));
}

int diagnose_end(struct store_tx *tx, const struct ulid *try, const char *relay, enum reason why, struct span detail,
                 const struct diagnosis *result)
{
    AUTO(json_value_freep) struct json_value *waiting = NULL;
    AUTO(buf_deinit) struct buf text;
    struct ending e = { .why = why, .detail = detail, .result = result,
                        .now_ms = (int64_t)store_now_ms(store_of(tx)) };
    struct json_error error;
    struct ulid diagnosis;
    int64_t at_ms;
    int r;

    buf_init_heap(&text, ORDER_ROOM);
    r = store_report_get(tx, try, DIAGNOSE_TOPIC, &text, &at_ms);
    if (!r)
        r = json_parse(buf_span(&text), &waiting, &error);
    if (r)
        return r;
    if (relay && !doc_is(waiting, "relay", relay))
        return STORE_E_NOT_FOUND;
    diagnosis = doc_id(waiting, "diagnosis");
    e.index = doc_int(waiting, "index");
    r = end_in(tx, &diagnosis, &e);
    return r ? r : store_report_delete(tx, try, DIAGNOSE_TOPIC);
}

/* --- those that wait ----------------------------------------------------------------------------- */

struct waiting {                        /* those that `is_wanted` takes, at most DIAGNOSE_UNDER_WAY_MAX */
    const char *relay;                  /* to be fetched by it; NULL: over time */
    int64_t now_ms;
    struct ulid ids[DIAGNOSE_UNDER_WAY_MAX];
    char *docs[DIAGNOSE_UNDER_WAY_MAX];
    size_t count;
};

static void waiting_deinit(struct waiting *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->docs[i]);
}

static bool is_wanted(const struct waiting *w, const struct json_value *doc)
{
    bool is_over = doc_int(doc, "until_ms") < w->now_ms;

    return w->relay ? !is_over && !doc_bool(doc, "is_fetched") && doc_is(doc, "relay", w->relay) : is_over;
}

static int take_waiting(void *ctx, const struct ulid *try, struct span doc, int64_t at_ms)
{
    struct waiting *w = ctx;
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct json_error error;
    int r;

    (void)at_ms;
    if (w->count == DIAGNOSE_UNDER_WAY_MAX)
        return 0;
    r = json_parse(doc, &v, &error);
    if (r || !is_wanted(w, v))
        return r;
    w->ids[w->count] = *try;
    w->docs[w->count] = span_dup(doc);
    return w->docs[w->count++] ? 0 : -ENOMEM;
}

static int find_waiting(struct store_tx *tx, struct waiting *w)
{
    w->now_ms = (int64_t)store_now_ms(store_of(tx));
    return store_reports(tx, DIAGNOSE_TOPIC, take_waiting, w);
}

/* Mostly there is none: that is seen without a write. */
static int is_any(struct store *store, const char *relay, bool *ret_is_any)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(waiting_deinit) struct waiting w = { .relay = relay };
    int r = store_begin(store, STORE_READ, &tx);

    if (!r)
        r = find_waiting(tx, &w);
    *ret_is_any = w.count > 0;
    return r;
}

/* --- over time ----------------------------------------------------------------------------------- */

int diagnose_settle(struct store *store, bool *ret_is_news)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(waiting_deinit) struct waiting w = { .relay = NULL };
    int r = is_any(store, NULL, ret_is_news);

    if (r || !*ret_is_news)
        return r;
    r = store_begin(store, STORE_WRITE, &tx);
    if (!r)
        r = find_waiting(tx, &w);
    for (size_t i = 0; !r && i < w.count; i++)
        r = diagnose_end(tx, &w.ids[i], NULL, REASON_DIAL_TIMEOUT,
                         SPAN("neither the relay nor the agent answered in time"), NULL);
    return r ? r : store_commit(&tx, NULL);
}

/* --- GET /internal/v1/commands ------------------------------------------------------------------- */

/* Each is handed out once: what is lost on the way is over when its time is. */
static int mark_fetched(struct store_tx *tx, const struct ulid *try, const struct json_value *doc)
{
    AUTO(buf_deinit) struct buf out;
    struct json_writer w;

    buf_init_heap(&out, ORDER_ROOM);
    json_begin(&w, &out);
    json_open_object(&w, NULL);
    json_put_str(&w, "diagnosis", doc_text(doc, "diagnosis"));
    json_put_int(&w, "index", doc_int(doc, "index"));
    json_put_str(&w, "relay", doc_text(doc, "relay"));
    json_put_int(&w, "until_ms", doc_int(doc, "until_ms"));
    json_put_bool(&w, "is_fetched", true);
    json_close_object(&w);
    return buf_error(&out) ? buf_error(&out) : store_report_put(tx, try, DIAGNOSE_TOPIC, buf_span(&out));
}

static int hand_out(struct store *store, const char *relay, struct json_writer *out)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(waiting_deinit) struct waiting w = { .relay = relay };
    int r = store_begin(store, STORE_WRITE, &tx);

    if (!r)
        r = find_waiting(tx, &w);
    for (size_t i = 0; !r && i < w.count; i++) {
        AUTO(json_value_freep) struct json_value *doc = NULL;
        struct json_error error;

        r = json_parse(span_str(w.docs[i]), &doc, &error);
        if (!r)
            json_put_value(out, NULL, json_get(doc, "order"));
        if (!r)
            r = mark_fetched(tx, &w.ids[i], doc);
    }
    return r ? r : store_commit(&tx, NULL);
}

void on_relay_commands(const struct route *route, struct request *req, struct response *res)
{
    struct internal *in = route->ctx;
    struct json_writer w;
    bool has = false;
    int r = is_any(in->enrol.store, req->principal.id, &has);

    if (!r && !has && !req->is_expired) {
        response_park(res, INTERNAL_POLL_MS);
        return;
    }
    json_begin(&w, &res->body);
    json_open_object(&w, NULL);
    json_open_array(&w, "diagnose");
    if (!r && has)
        r = hand_out(in->enrol.store, req->principal.id, &w);
    json_close_array(&w);
    json_close_object(&w);
    internal_finish(res, r);
    if (!r)
        res->status = 200;
}

/* --- POST /internal/v1/answers ------------------------------------------------------------------- */

struct told {
    char id[ULID_LEN + 1], reason[65];
    char text[DIAGNOSIS_TEXT_MAX + 1];
    struct json_value *result;
};

#define AT(member) offsetof(struct told, member), sizeof_field(struct told, member)
static const struct json_field told_fields[] = {
    { "id", J_TEXT, AT(id), ULID_LEN, ULID_LEN, JSON_REQUIRED },
    { "reason", J_TEXT, AT(reason), 1, 64, JSON_REQUIRED },
    { "text", J_TEXT, AT(text), 0, DIAGNOSIS_TEXT_MAX, 0 },
    { "result", J_OBJECT, AT(result), 0, 0, 0 },
};

static inline void told_deinit(struct told *t)
{
    json_free_fields(told_fields, ARRAY_LEN(told_fields), t);
}

static int keep_answer(struct internal *in, const char *relay, const struct told *told)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(freep) struct diagnosis *d = calloc(1, sizeof(*d));
    enum reason why = reason_find(span_str(told->reason));
    bool has_result = told->result && d && diagnosis_decode(told->result, d) == 0;
    char detail[DIAGNOSIS_TEXT_MAX + 1];
    struct ulid id;
    int r;

    if (!d)
        return -ENOMEM;
    if (!ulid_parse(span_str(told->id), &id))
        return STORE_E_NOT_FOUND;
    diagnosis_text(detail, sizeof(detail), span_str(told->text));
    if (has_result) {
        why = d->reason;
        memcpy(detail, d->detail, sizeof(detail));
    } else if (why == REASON_NONE || why == REASON_COUNT) {
        why = REASON_PROTOCOL_ERROR;
        diagnosis_text(detail, sizeof(detail), SPAN("the agent's answer is malformed"));
    }
    r = store_begin(in->enrol.store, STORE_WRITE, &tx);
    if (!r)
        r = diagnose_end(tx, &id, relay, why, span_str(detail), has_result ? d : NULL);
    return r ? r : store_commit(&tx, NULL);
}

void on_relay_answer(const struct route *route, struct request *req, struct response *res)
{
    struct internal *in = route->ctx;
    AUTO(told_deinit) struct told told = { .id = "" };
    struct json_error error;
    int r = json_decode_text(req->body, told_fields, ARRAY_LEN(told_fields), JSON_ALLOW_UNKNOWN, &told, &error);

    if (r) {
        response_problem(res, REASON_BAD_REQUEST, "%s %s", error.pointer, error.message);
        return;
    }
    r = keep_answer(in, req->principal.id, &told);
    if (r == STORE_E_NOT_FOUND)
        r = 0;                          /* too late, or told twice */
    internal_finish(res, r);
    if (!r)
        res->status = 204;
    if (!r && in->on_applied)
        in->on_applied(in->ctx);        /* who waits for it looks again */
}
