#include "controlplane/routes/tell.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/live.h"

static const char *const names[TOPIC_COUNT] = {
#define TOPIC_TEXT(name_, text_) [TOPIC_##name_] = text_,
    TOPICS(TOPIC_TEXT)
#undef TOPIC_TEXT
};

const char *topic_name(enum topic topic)
{
    return names[topic];
}

enum topic topic_find(struct span name)
{
    enum topic topic = 0;

    while (topic < TOPIC_COUNT && !span_eq(name, span_str(names[topic])))
        topic++;
    return topic;
}

#define OBJECT_MAX 63

/* One event on its way. */
struct telling {
    enum topic topic;
    struct span kind, object, owner;
    struct json_writer w;
    struct buf doc;
    char mem[3072];             /* less than a listener keeps of one */
};

static void telling_begin(struct telling *t, enum topic topic, const char *kind, struct span object)
{
    t->topic = topic;
    t->kind = span_str(kind);
    t->object = object;
    t->owner = SPAN("");
    buf_init_fixed(&t->doc, t->mem, sizeof(t->mem));
    json_begin(&t->w, &t->doc);
    json_open_object(&t->w, NULL);
}

static int telling_end(struct telling *t, struct store_tx *tx)
{
    json_close_object(&t->w);
    if (buf_error(&t->doc))
        return buf_error(&t->doc);
    return store_event_add(tx, &(struct store_event){
        .topic = span_str(names[t->topic]), .kind = t->kind, .object = t->object, .owner = t->owner,
        .doc = buf_span(&t->doc),
    });
}

/* The user whose object it is. */
static struct span owner_of(const struct kind *kind, const struct ulid *id, struct span doc)
{
    struct span raw;

    if (!kind->owner)
        return SPAN("");
    if (span_eq(span_str(kind->owner), SPAN("id")))
        return ulid_span(id);
    if (json_walk_find(doc, kind->owner, &raw))
        return SPAN("");
    raw = json_raw_str(raw);
    return raw.p ? raw : SPAN("");
}

int tell_change(struct store_tx *tx, const char *what, const struct kind *kind, const struct ulid *id,
                struct span name, struct span doc)
{
    struct store_position at;
    struct telling t;
    int r = store_position(tx, &at);

    if (r)
        return r;
    telling_begin(&t, TOPIC_CHANGES, kind->name, ulid_span(id));
    t.owner = owner_of(kind, id, doc);
    json_put_text(&t.w, "what", what);
    if (name.n)
        json_put_str(&t.w, "name", name);
    json_put_int(&t.w, "revision", (int64_t)at.revision);
    return telling_end(&t, tx);
}

static int put_name(struct store_tx *tx, const char *kind, const struct ulid *id, struct json_writer *w)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    int r = store_object_get(tx, kind, id, &object);

    if (!r)
        json_put_text(w, "name", object->name);
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

int tell_agent(struct store_tx *tx, const struct ulid *agent, const char *relay, bool is_up)
{
    struct telling t;
    int r;

    telling_begin(&t, TOPIC_AGENTS, "agent", ulid_span(agent));
    json_put_text(&t.w, "what", is_up ? "up" : "down");
    json_put_text(&t.w, "relay", relay);
    r = put_name(tx, "agent", agent, &t.w);
    return r ? r : telling_end(&t, tx);
}

int tell_alarm(struct store_tx *tx, struct span reason, struct span object, struct span text)
{
    struct telling t;

    /* Relays' own words: quoted, each byte may become six. */
    telling_begin(&t, TOPIC_ALARMS, "alarm", object.n <= OBJECT_MAX ? object : SPAN(""));
    json_put_text(&t.w, "what", "alarm");
    json_put_str(&t.w, "reason", span_first(reason, 64));
    json_put_str(&t.w, "text", span_first(text, 300));
    return telling_end(&t, tx);
}

/* A relay reports every few seconds; what it reported last is still there. */
static int was_applied(struct store_tx *tx, const struct ulid *relay, uint64_t epoch, uint64_t revision,
                       bool *ret_was_told)
{
    AUTO(buf_deinit) struct buf before;
    struct span was_epoch, was_revision;
    int64_t at_ms;
    int r;

    *ret_was_told = false;
    buf_init_heap(&before, STORE_DOC_MAX);
    r = store_report_get(tx, relay, "relay.applied", &before, &at_ms);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    if (!json_walk_find(buf_span(&before), "epoch", &was_epoch) &&
        !json_walk_find(buf_span(&before), "revision", &was_revision))
        *ret_was_told = json_raw_int(was_epoch) == (int64_t)epoch && json_raw_int(was_revision) == (int64_t)revision;
    return 0;
}

int tell_applied(struct store_tx *tx, const struct ulid *relay, uint64_t epoch, uint64_t revision)
{
    struct telling t;
    bool is_told;
    int r = was_applied(tx, relay, epoch, revision, &is_told);

    if (r || is_told)
        return r;
    telling_begin(&t, TOPIC_RELAYS, "relay", ulid_span(relay));
    json_put_text(&t.w, "what", "applied");
    json_put_int(&t.w, "epoch", (int64_t)epoch);
    json_put_int(&t.w, "revision", (int64_t)revision);
    r = put_name(tx, "relay", relay, &t.w);
    return r ? r : telling_end(&t, tx);
}

int tell_operation(struct store_tx *tx, const struct ulid *id, struct span owner, struct span doc)
{
    struct telling t;

    telling_begin(&t, TOPIC_OPERATIONS, "operation", ulid_span(id));
    t.owner = owner;
    json_put_text(&t.w, "what", "changed");
    json_put_raw(&t.w, "operation", doc);
    return telling_end(&t, tx);
}

/* ---- relays that come and go ---- */
#define ABSENCES_MAX 64         /* at one look */
#define TOLD "relay.told"

struct absences {
    int64_t now_ms;
    struct {
        struct ulid relay;
        bool is_up;
    } items[ABSENCES_MAX];
    size_t count;
};

static int add_report(void *ctx, const struct ulid *relay, struct span doc, int64_t at_ms)
{
    struct absences *a = ctx;

    (void)doc;
    if (a->count < ABSENCES_MAX) {
        a->items[a->count].relay = *relay;
        a->items[a->count++].is_up = at_ms + LIVE_FRESH_MS > a->now_ms;
    }
    return 0;
}

/* Whether it was told so already; a relay that was never told of counts as up. */
static int was_told(struct store_tx *tx, const struct ulid *relay, bool is_up, bool *ret_was_told)
{
    char mem[64];
    struct buf doc;
    int64_t at_ms;
    int r;

    buf_init_fixed(&doc, mem, sizeof(mem));
    r = store_report_get(tx, relay, TOLD, &doc, &at_ms);
    *ret_was_told = r ? is_up : span_eq(buf_span(&doc), is_up ? SPAN("{\"up\":true}") : SPAN("{\"up\":false}"));
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

static int tell_presence(struct store_tx *tx, const struct ulid *relay, bool is_up)
{
    struct telling t;
    int r;

    telling_begin(&t, TOPIC_RELAYS, "relay", ulid_span(relay));
    json_put_text(&t.w, "what", is_up ? "up" : "down");
    r = put_name(tx, "relay", relay, &t.w);
    if (!r)
        r = telling_end(&t, tx);
    return r ? r : store_report_put(tx, relay, TOLD, is_up ? SPAN("{\"up\":true}") : SPAN("{\"up\":false}"));
}

/* What is not told yet stays in `a`. */
static int find_news(struct store_tx *tx, struct absences *a)
{
    size_t kept = 0;
    int r;

    a->count = 0;
    r = store_reports(tx, "relay.applied", add_report, a);
    for (size_t i = 0; !r && i < a->count; i++) {
        bool is_told = true;

        r = was_told(tx, &a->items[i].relay, a->items[i].is_up, &is_told);
        if (!r && !is_told)
            a->items[kept++] = a->items[i];
    }
    a->count = kept;
    return r;
}

static int look(struct store *store, enum store_mode mode, struct absences *a)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int r = store_begin(store, mode, &tx);

    if (!r)
        r = find_news(tx, a);
    for (size_t i = 0; !r && mode == STORE_WRITE && i < a->count; i++)
        r = tell_presence(tx, &a->items[i].relay, a->items[i].is_up);
    return r || mode == STORE_READ ? r : store_commit(&tx, NULL);
}

int tell_absences(struct store *store)
{
    struct absences a = { .now_ms = (int64_t)store_now_ms(store) };
    int r = look(store, STORE_READ, &a);

    return r || !a.count ? r : look(store, STORE_WRITE, &a);
}
