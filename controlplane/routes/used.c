#include "controlplane/routes/used.h"
#include "controlplane/routes/doc.h"
#include <errno.h>

#define TOPIC "quota.used"
#define ANSWER_MAX ((size_t)16 << 20)
#define TOLD_MAX ((int64_t)1 << 50)     /* as much as a quota can say; what relays tell has a sum */
#define FORGET_MS ((int64_t)2 * 86400000)   /* after its day, what a relay told that tells no more */

const char *const used_limits[USED_LIMITS] = {
    "max_streams", "streams_per_second", "bytes_per_second", "bytes_per_day",
};

/* What one relay told of one quota. */
struct told {
    struct span relay, boot;
    int64_t day_ms, day_end_ms, at_ms;
    int64_t bytes, before;          /* since that start of the relay; in earlier ones */
    int64_t streams;
    unsigned saturated;
};

static unsigned read_saturated(const struct json_value *row)
{
    unsigned bits = 0;

    for (size_t i = 0; i < doc_count(row, "saturated"); i++) {
        for (unsigned k = 0; k < USED_LIMITS; k++) {
            if (span_eq(doc_item(row, "saturated", i), span_str(used_limits[k])))
                bits |= 1u << k;
        }
    }
    return bits;
}

static struct told read_told(const struct json_value *row)
{
    return (struct told){
        .relay = doc_text(row, "relay"),
        .boot = doc_text(row, "boot_id"),
        .day_ms = doc_int(row, "day_ms"),
        .day_end_ms = doc_int(row, "day_end_ms"),
        .at_ms = doc_int(row, "at_ms"),
        .bytes = doc_int(row, "bytes"),
        .before = doc_int(row, "before"),
        .streams = doc_int(row, "streams"),
        .saturated = read_saturated(row),
    };
}

static void write_told(struct json_writer *w, const struct told *t)
{
    json_open_object(w, NULL);
    json_put_str(w, "relay", t->relay);
    json_put_str(w, "boot_id", t->boot);
    json_put_int(w, "day_ms", t->day_ms);
    json_put_int(w, "day_end_ms", t->day_end_ms);
    json_put_int(w, "at_ms", t->at_ms);
    json_put_int(w, "bytes", t->bytes);
    json_put_int(w, "before", t->before);
    json_put_int(w, "streams", t->streams);
    json_open_array(w, "saturated");
    for (unsigned k = 0; k < USED_LIMITS; k++) {
        if (t->saturated & 1u << k)
            json_put_text(w, NULL, used_limits[k]);
    }
    json_close_array(w);
    json_close_object(w);
}

/* NULL: nothing was told yet. */
static int read_kept(struct store_tx *tx, const struct ulid *quota, struct json_value **ret_doc)
{
    AUTO(buf_deinit) struct buf text;
    struct json_error error;
    int64_t at_ms;
    int r;

    *ret_doc = NULL;
    buf_init_heap(&text, STORE_DOC_MAX);
    r = store_report_get(tx, quota, TOPIC, &text, &at_ms);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    return json_parse(buf_span(&text), ret_doc, &error);
}

/* ---- keeping ---- */
static int64_t at_most(int64_t n)
{
    return n < TOLD_MAX ? n : TOLD_MAX;
}

/* False: it is older than what is known. */
static bool follows(const struct told *known, struct told *news)
{
    int starts = span_cmp(news->boot, known->boot);

    if (news->day_ms < known->day_ms || starts < 0)
        return false;
    if (news->day_ms > known->day_ms)
        return true;
    news->before = at_most(known->before + (starts > 0 ? known->bytes : 0));
    if (starts == 0 && news->bytes < known->bytes)
        news->bytes = known->bytes;
    return true;
}

static int write_kept(struct store_tx *tx, const struct ulid *quota, const struct json_value *doc, struct told *news)
{
    const struct json_value *relays = json_get(doc, "relays");
    AUTO(buf_deinit) struct buf out;
    struct json_writer w;

    buf_init_heap(&out, STORE_DOC_MAX);
    json_begin(&w, &out);
    json_open_object(&w, NULL);
    json_open_array(&w, "relays");
    for (size_t i = 0; relays && i < json_count(relays); i++) {
        struct told known = read_told(json_at(relays, i));

        if (!span_eq(known.relay, news->relay)) {
            if (known.day_end_ms + FORGET_MS > news->at_ms)
                write_told(&w, &known);
        } else if (!follows(&known, news)) {
            return 0;
        }
    }
    write_told(&w, news);
    json_close_array(&w);
    json_close_object(&w);
    return buf_error(&out) ? buf_error(&out) : store_report_put(tx, quota, TOPIC, buf_span(&out));
}

static int keep_one(struct store_tx *tx, const struct json_value *row, struct told *news)
{
    AUTO(store_object_freep) struct store_object *quota = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct ulid id = doc_id(row, "id");
    int r = id.text[0] ? store_object_get(tx, "quota", &id, &quota) : STORE_E_NOT_FOUND;

    if (r == STORE_E_NOT_FOUND || news->bytes < 0 || news->streams < 0)
        return 0;
    if (!r)
        r = read_kept(tx, &id, &doc);
    return r ? r : write_kept(tx, &id, doc, news);
}

int used_keep(struct store_tx *tx, const char *relay, struct span boot, int64_t at_ms, struct span data)
{
    AUTO(json_value_freep) struct json_value *body = NULL;
    const struct json_value *list;
    struct json_error error;
    int r = json_parse(data, &body, &error);

    list = r ? NULL : json_get(body, "quotas");
    for (size_t i = 0; !r && list && i < json_count(list); i++) {
        struct told news = read_told(json_at(list, i));

        news.relay = span_str(relay);
        news.boot = boot;
        news.at_ms = at_ms;
        news.before = 0;
        news.bytes = at_most(news.bytes);
        news.streams = at_most(news.streams);
        r = keep_one(tx, json_at(list, i), &news);
    }
    return r;
}

int used_forget(struct store_tx *tx, const struct ulid *quota)
{
    return store_report_delete(tx, quota, TOPIC);
}

/* ---- reading ---- */
static bool is_connected(const struct live *live, struct span relay)
{
    struct ulid id;
    const struct live_relay *found = ulid_parse(relay, &id) ? live_relay_find(live, &id) : NULL;

    return found && found->is_connected;
}

int used_read(struct store_tx *tx, const struct live *live, const struct ulid *quota, struct used *ret_used)
{
    AUTO(json_value_freep) struct json_value *doc = NULL;
    int64_t now_ms = (int64_t)store_now_ms(store_of(tx));
    const struct json_value *relays;
    int r = read_kept(tx, quota, &doc);

    *ret_used = (struct used){ 0 };
    relays = r || !doc ? NULL : json_get(doc, "relays");
    for (size_t i = 0; relays && i < json_count(relays); i++) {
        struct told t = read_told(json_at(relays, i));

        if (t.at_ms > ret_used->told_ms)
            ret_used->told_ms = t.at_ms;
        if (t.day_end_ms > ret_used->day_end_ms && t.day_end_ms > now_ms)
            ret_used->day_end_ms = t.day_end_ms;
        if (t.day_end_ms > now_ms)
            ret_used->bytes += t.bytes + t.before;
        if (!is_connected(live, t.relay))
            continue;
        ret_used->streams += t.streams;
        ret_used->saturated |= t.saturated;
    }
    return r;
}

/* ---- giving back ---- */
struct others {
    struct json_writer *w;
    struct span relay, boot;
    int64_t now_ms;
};

static int put_others(void *ctx, const struct ulid *quota, struct span doc, int64_t at_ms)
{
    const struct others *o = ctx;
    AUTO(json_value_freep) struct json_value *value = NULL;
    const struct json_value *relays;
    int64_t bytes = 0, day_ms = 0;
    struct json_error error;

    (void)at_ms;
    if (json_parse(doc, &value, &error))
        return 0;
    relays = json_get(value, "relays");
    for (size_t i = 0; relays && i < json_count(relays); i++) {
        struct told t = read_told(json_at(relays, i));
        bool is_own = span_eq(t.relay, o->relay) && span_eq(t.boot, o->boot);

        if (t.day_end_ms <= o->now_ms)
            continue;
        bytes += t.before + (is_own ? 0 : t.bytes);
        day_ms = t.day_ms > day_ms ? t.day_ms : day_ms;
    }
    if (!bytes)
        return 0;
    json_open_object(o->w, NULL);
    json_put_text(o->w, "id", quota->text);
    json_put_int(o->w, "day_ms", day_ms);
    json_put_int(o->w, "bytes", bytes);
    json_close_object(o->w);
    return 0;
}

int used_write_others(struct store_tx *tx, const char *relay, struct span boot, struct buf *out)
{
    struct json_writer w;
    struct others o = { &w, span_str(relay), boot, (int64_t)store_now_ms(store_of(tx)) };
    int r;

    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_open_array(&w, "quotas");
    r = store_reports(tx, TOPIC, put_others, &o);
    json_close_array(&w);
    json_close_object(&w);
    return r ? r : buf_error(out);
}

int used_answer(struct store *store, const char *relay, struct span boot, struct buf *ret_body)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int r;

    buf_deinit(ret_body);
    buf_init_heap(ret_body, ANSWER_MAX);
    r = store_begin(store, STORE_READ, &tx);
    return r ? r : used_write_others(tx, relay, boot, ret_body);
}
