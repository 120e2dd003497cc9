#include "controlplane/routes/listener.h"
#include "controlplane/domain/when.h"
#include "lib/json/json.h"
#include <errno.h>

struct listener_told {
    enum topic topic;
    char kind[STORE_KIND_MAX + 1], object[64];
    uint64_t sent_ms;
    int64_t number;             /* of what waits; 0: nothing does */
    struct buf waiting;         /* its data */
};

#define DATA_MAX 4096

void listener_init(struct listener *l, unsigned topics, uint64_t epoch, int64_t cursor)
{
    *l = (struct listener){ .topics = topics, .epoch = epoch, .cursor = cursor, .told_id = cursor };
}

static void forget(struct listener *l, size_t i)
{
    buf_deinit(&l->told[i]->waiting);
    free(l->told[i]);
    l->told[i] = l->told[--l->told_count];
}

void listener_deinit(struct listener *l)
{
    while (l->told_count)
        forget(l, l->told_count - 1);
}

/* ---- what goes out ---- */
static int64_t safe_id(const struct listener *l)
{
    int64_t id = l->summary_from ? l->summary_from - 1 : l->cursor;

    for (size_t i = 0; i < l->told_count; i++) {
        if (l->told[i]->number && l->told[i]->number - 1 < id)
            id = l->told[i]->number - 1;
    }
    return id;
}

void listener_put(struct listener *l, const char *name, struct span json, struct buf *out)
{
    int64_t id = safe_id(l);

    if (id > l->told_id || !l->sent)
        buf_printf(out, "id: %llu-%lld\n", (unsigned long long)l->epoch, (long long)id);
    l->told_id = id;
    l->sent++;
    buf_printf(out, "event: %s\ndata: " SPAN_FMT "\n\n", name, SPAN_ARG(json));
}

static void put_data(const struct store_event *event, struct buf *out)
{
    char text[WHEN_TEXT_MAX];
    struct json_writer w;

    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_put_int(&w, "number", event->number);
    json_put_text(&w, "at", when_format(event->at_ms, text));
    json_put_str(&w, "kind", event->kind);
    json_put_str(&w, "id", event->object);
    json_put_raw(&w, "detail", event->doc);
    json_close_object(&w);
}

/* ---- pace ---- */
static bool has_leave(struct listener *l, uint64_t now_ms)
{
    if (now_ms - l->window_ms >= LISTENER_PACE_MS) {
        l->window_ms = now_ms;
        l->window_sent = 0;
    }
    return l->window_sent < LISTENER_RATE;
}

static void sum_up(struct listener *l, enum topic topic, int64_t number)
{
    if (!l->summary_from || number < l->summary_from)
        l->summary_from = number;
    if (number > l->summary_to)
        l->summary_to = number;
    l->summary_counts[topic]++;
}

static void put_summary(struct listener *l, uint64_t now_ms, struct buf *out)
{
    char mem[512];
    struct json_writer w;
    struct buf data;

    buf_init_fixed(&data, mem, sizeof(mem));
    json_begin(&w, &data);
    json_open_object(&w, NULL);
    json_put_int(&w, "from", l->summary_from);
    json_put_int(&w, "to", l->summary_to);
    json_open_object(&w, "counts");
    for (enum topic topic = 0; topic < TOPIC_COUNT; topic++) {
        if (l->summary_counts[topic])
            json_put_int(&w, topic_name(topic), (int64_t)l->summary_counts[topic]);
        l->summary_counts[topic] = 0;
    }
    json_close_object(&w);
    json_close_object(&w);
    l->summary_from = l->summary_to = 0;
    l->summary_ms = now_ms;
    listener_put(l, "summary", buf_span(&data), out);
}

static struct listener_told *find(const struct listener *l, enum topic topic, const struct store_event *e)
{
    for (size_t i = 0; i < l->told_count; i++) {
        struct listener_told *t = l->told[i];

        if (t->topic == topic && span_eq(span_str(t->object), e->object) && span_eq(span_str(t->kind), e->kind))
            return t;
    }
    return NULL;
}

/* NULL: no room, or no memory. */
static struct listener_told *add(struct listener *l, enum topic topic, const struct store_event *e)
{
    struct listener_told *t = l->told_count < LISTENER_TOLD_MAX ? calloc(1, sizeof(*t)) : NULL;

    if (!t)
        return NULL;
    t->topic = topic;
    (void)span_copy(span_first(e->kind, sizeof(t->kind) - 1), t->kind, sizeof(t->kind));
    (void)span_copy(span_first(e->object, sizeof(t->object) - 1), t->object, sizeof(t->object));
    buf_init_heap(&t->waiting, DATA_MAX);
    l->told[l->told_count++] = t;
    return t;
}

static void send_waiting(struct listener *l, struct listener_told *t, uint64_t now_ms, struct buf *out)
{
    t->number = 0;
    t->sent_ms = now_ms;
    l->window_sent++;
    listener_put(l, topic_name(t->topic), buf_span(&t->waiting), out);
}

static bool is_wanted(const struct listener *l, enum topic topic, const struct store_event *e)
{
    if (topic == TOPIC_COUNT || !(l->topics & 1u << topic))
        return false;
    for (size_t i = 0; i < l->id_count; i++) {
        if (span_eq(ulid_span(&l->ids[i]), e->object))
            return true;
    }
    return !l->id_count;
}

int listener_take(struct listener *l, const struct store_event *event, bool is_allowed, uint64_t now_ms,
                  struct buf *out)
{
    enum topic topic = topic_find(event->topic);
    struct listener_told *t;
    bool is_early;

    l->cursor = event->number;
    if (!is_allowed || !is_wanted(l, topic, event))
        return 0;
    t = find(l, topic, event);
    is_early = t && now_ms - t->sent_ms < LISTENER_PACE_MS;
    if (!t && has_leave(l, now_ms))
        t = add(l, topic, event);
    if (!t || (!is_early && !has_leave(l, now_ms))) {
        sum_up(l, topic, event->number);
        return 0;
    }
    buf_clear(&t->waiting);
    put_data(event, &t->waiting);
    if (buf_error(&t->waiting))
        return buf_error(&t->waiting);
    if (is_early)
        t->number = event->number;
    else
        send_waiting(l, t, now_ms, out);
    return 0;
}

void listener_flush(struct listener *l, uint64_t now_ms, bool is_last, struct buf *out)
{
    for (size_t i = l->told_count; i-- > 0;) {
        struct listener_told *t = l->told[i];

        if (!is_last && now_ms - t->sent_ms < LISTENER_PACE_MS)
            continue;
        if (!t->number)
            forget(l, i);
        else if (is_last || has_leave(l, now_ms))
            send_waiting(l, t, now_ms, out);
    }
    if (l->summary_from && (is_last || now_ms - l->summary_ms >= LISTENER_PACE_MS))
        put_summary(l, now_ms, out);
}
