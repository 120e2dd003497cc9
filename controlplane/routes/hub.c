#include "controlplane/routes/hub.h"
#include "controlplane/domain/right.h"
#include "lib/base/list.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define PAGE 500
#define PAGES_MAX 20            /* at one tick; the rest at the next */
#define LISTENERS_MAX 4096

struct member {
    struct list node;
    struct listener listener;
    struct stream *stream;
    struct principal principal; /* the thread's */
    char caller[ULID_LEN + 1];
    uint64_t counted;           /* of what was sent */
    uint64_t end_ms;            /* 0: none */
    uint64_t check_ms, heartbeat_ms;
    bool is_over;
    struct buf out;             /* of this tick */
};

struct hub {
    struct hub_options options;
    pthread_mutex_t lock;
    pthread_cond_t has_changed;
    pthread_t thread;
    struct list members;        /* others add, the thread removes */
    unsigned count;
    bool is_stopping;
    struct hub_stats stats;
    struct member *at_work[LISTENERS_MAX];      /* the thread's */
    size_t at_work_count;
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- who may hear what ---- */
static bool may_read(const struct principal *p, const char *plural, struct span owner)
{
    char operation[80], scope[80];
    const struct right *right;

    snprintf(operation, sizeof(operation), "%s.get", plural);
    snprintf(scope, sizeof(scope), "%s:read", plural);
    right = right_find(span_str(operation));
    if (!right || !principal_has_scope(p, scope))
        return false;
    return (p->roles & right->any) || ((p->roles & right->own) && owner.n && span_eq(owner, span_str(p->id)));
}

static bool may_hear(const struct principal *p, const struct store_event *e)
{
    static const char *const plurals[TOPIC_COUNT] = {
        [TOPIC_AGENTS] = "agents", [TOPIC_RELAYS] = "relays", [TOPIC_ALARMS] = "audit-events",
        [TOPIC_OPERATIONS] = "operations",
    };
    enum topic topic = topic_find(e->topic);
    const struct kind *kind = kind_by_name(e->kind);

    if (topic == TOPIC_COUNT || (topic == TOPIC_CHANGES && !kind))
        return false;
    return may_read(p, topic == TOPIC_CHANGES ? kind->plural : plurals[topic], e->owner);
}

/* ---- one listener ---- */
static void member_free(struct member *m)
{
    listener_deinit(&m->listener);
    stream_unref(m->stream);
    buf_deinit(&m->out);
    free(m);
}

static void end(struct member *m, enum reason reason, const char *detail)
{
    char mem[256];
    struct json_writer w;
    struct buf data;

    buf_init_fixed(&data, mem, sizeof(mem));
    json_begin(&w, &data);
    json_open_object(&w, NULL);
    json_put_text(&w, "reason", reason_text(reason));
    json_put_text(&w, "detail", detail);
    json_close_object(&w);
    listener_put(&m->listener, "end", buf_span(&data), &m->out);
    stream_end(m->stream, buf_span(&m->out));
    buf_clear(&m->out);
    m->is_over = true;
    LOG(INFO, "events.ended", S("principal", m->principal.id), S("reason", reason_text(reason)),
        S("detail", detail), U("sent", m->listener.sent));
}

/* What the store cannot say now is asked again later. */
static void check_caller(struct member *m, uint64_t now)
{
    struct principal principal = { .id = "" };
    enum reason why;

    if (now < m->check_ms)
        return;
    m->check_ms = now + HUB_CHECK_MS;
    why = stream_authenticate(m->stream, &principal);
    if (stream_is_gone(m->stream))
        return;
    if (why == REASON_NONE && span_eq(span_str(principal.id), span_str(m->caller)))
        m->principal = principal;
    else if (why == REASON_NONE || reason_http_status(why) == 401 || reason_http_status(why) == 403)
        end(m, REASON_UNAUTHENTICATED, "the token, session or user has ended");
}

static void give(struct hub *hub, struct member *m)
{
    int r = m->out.len ? stream_write(m->stream, buf_span(&m->out)) : 0;

    if (r == STREAM_E_GONE)
        m->is_over = true;
    if (r != STREAM_E_FULL && !buf_error(&m->out)) {
        buf_clear(&m->out);
        return;
    }
    buf_clear(&m->out);
    pthread_mutex_lock(&hub->lock);
    hub->stats.slow++;
    pthread_mutex_unlock(&hub->lock);
    end(m, REASON_OVERLOAD, "the listener takes too little");
}

static void finish(struct hub *hub, struct member *m, uint64_t now)
{
    bool is_last = m->end_ms && now >= m->end_ms;

    if (m->is_over)
        return;
    listener_flush(&m->listener, now, is_last, &m->out);
    if (m->out.len)
        m->heartbeat_ms = now + HUB_HEARTBEAT_MS;
    if (now >= m->heartbeat_ms) {
        listener_put(&m->listener, "heartbeat", SPAN("{}"), &m->out);
        m->heartbeat_ms = now + HUB_HEARTBEAT_MS;
    }
    give(hub, m);
    if (!m->is_over && is_last)
        end(m, REASON_NONE, "its time is over");
    else if (!m->is_over && stream_is_gone(m->stream))
        m->is_over = true;
}

/* ---- all of them ---- */
static int on_event(void *ctx, const struct store_event *event)
{
    struct hub *hub = ctx;
    uint64_t now = now_ms();
    int r = 0;

    for (size_t i = 0; !r && i < hub->at_work_count; i++) {
        struct member *m = hub->at_work[i];

        if (!m->is_over && event->number > m->listener.cursor)
            r = listener_take(&m->listener, event, may_hear(&m->principal, event), now, &m->out);
    }
    return r;
}

static int64_t least_cursor(const struct hub *hub)
{
    int64_t least = INT64_MAX;

    for (size_t i = 0; i < hub->at_work_count; i++) {
        const struct member *m = hub->at_work[i];

        if (!m->is_over && m->listener.cursor < least)
            least = m->listener.cursor;
    }
    return least;
}

/* Those that are behind read on from where they are; the others pass over what they had. */
static int read_news(struct hub *hub)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int64_t from = least_cursor(hub), oldest, newest;
    int r;

    if (from == INT64_MAX)
        return 0;
    r = store_begin(hub->options.store, STORE_READ, &tx);
    if (!r)
        r = store_events_bounds(tx, &oldest, &newest);
    for (unsigned page = 0; !r && page < PAGES_MAX && from < newest; page++) {
        r = store_events(tx, from, PAGE, on_event, hub);
        for (size_t i = 0; i < hub->at_work_count; i++)
            give(hub, hub->at_work[i]);
        from = least_cursor(hub);
    }
    return r;
}

/* With the lock held. */
static void take_members(struct hub *hub)
{
    hub->at_work_count = 0;
    LIST_EACH(&hub->members, node) {
        if (hub->at_work_count < LISTENERS_MAX)
            hub->at_work[hub->at_work_count++] = container_of(node, struct member, node);
    }
}

static void put_back(struct hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    for (size_t i = 0; i < hub->at_work_count; i++) {
        struct member *m = hub->at_work[i];

        hub->stats.sent += m->listener.sent - m->counted;
        m->counted = m->listener.sent;
        if (!m->is_over)
            continue;
        list_remove(&m->node);
        hub->count--;
        member_free(m);
    }
    pthread_mutex_unlock(&hub->lock);
}

static void tick(struct hub *hub)
{
    uint64_t now = now_ms();
    int r;

    for (size_t i = 0; i < hub->at_work_count; i++)
        check_caller(hub->at_work[i], now);
    r = read_news(hub);
    if (r)
        LOG(DEBUG, "events.not-read", N("result", r));
    now = now_ms();
    for (size_t i = 0; i < hub->at_work_count; i++)
        finish(hub, hub->at_work[i], now);
    put_back(hub);
}

static void wait_for_tick(struct hub *hub)
{
    struct timespec until;
    uint64_t at = now_ms() + HUB_TICK_MS;

    until = (struct timespec){ .tv_sec = (time_t)(at / 1000), .tv_nsec = (long)(at % 1000) * 1000000 };
    if (!hub->count)
        pthread_cond_wait(&hub->has_changed, &hub->lock);
    else
        pthread_cond_clockwait(&hub->has_changed, &hub->lock, CLOCK_MONOTONIC, &until);
}

static void *hub_main(void *arg)
{
    struct hub *hub = arg;

    pthread_mutex_lock(&hub->lock);
    while (!hub->is_stopping) {
        take_members(hub);
        pthread_mutex_unlock(&hub->lock);
        tick(hub);
        pthread_mutex_lock(&hub->lock);
        if (!hub->is_stopping)
            wait_for_tick(hub);
    }
    take_members(hub);
    pthread_mutex_unlock(&hub->lock);
    for (size_t i = 0; i < hub->at_work_count; i++)
        end(hub->at_work[i], REASON_OVERLOAD, "the control plane is going down");
    put_back(hub);
    return NULL;
}

/* ---- the interface ---- */
int hub_new(const struct hub_options *options, struct hub **ret_hub)
{
    struct hub *hub = calloc(1, sizeof(*hub));
    int r;

    if (!hub)
        return -ENOMEM;
    hub->options = *options;
    if (!hub->options.listeners_max)
        hub->options.listeners_max = 256;
    if (!hub->options.per_caller_max)
        hub->options.per_caller_max = 16;
    list_init(&hub->members);
    pthread_mutex_init(&hub->lock, NULL);
    pthread_cond_init(&hub->has_changed, NULL);
    r = -pthread_create(&hub->thread, NULL, hub_main, hub);
    if (r) {
        free(hub);
        return r;
    }
    *ret_hub = hub;
    return 0;
}

void hub_stop(struct hub *hub)
{
    bool was_stopping;

    pthread_mutex_lock(&hub->lock);
    was_stopping = hub->is_stopping;
    hub->is_stopping = true;
    pthread_cond_signal(&hub->has_changed);
    pthread_mutex_unlock(&hub->lock);
    if (!was_stopping)
        pthread_join(hub->thread, NULL);
}

void hub_free(struct hub *hub)
{
    hub_stop(hub);
    pthread_cond_destroy(&hub->has_changed);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

/* With the lock held. */
static bool has_room(const struct hub *hub, const struct principal *principal)
{
    unsigned own = 0;

    LIST_EACH(&hub->members, node) {
        const struct member *m = container_of(node, struct member, node);

        own += span_eq(span_str(m->caller), span_str(principal->id));
    }
    return !hub->is_stopping && hub->count < hub->options.listeners_max && own < hub->options.per_caller_max;
}

bool hub_has_room(struct hub *hub, const struct principal *principal)
{
    bool is_free;

    pthread_mutex_lock(&hub->lock);
    is_free = has_room(hub, principal);
    pthread_mutex_unlock(&hub->lock);
    return is_free;
}

static struct member *member_new(const struct listener *listener, struct stream *stream,
                                 const struct principal *principal, int64_t seconds)
{
    struct member *m = calloc(1, sizeof(*m));
    uint64_t now = now_ms();

    if (!m)
        return NULL;
    m->listener = *listener;
    m->stream = stream_ref(stream);
    m->principal = *principal;
    (void)span_copy(span_str(principal->id), m->caller, sizeof(m->caller));
    m->end_ms = seconds < 0 ? 0 : now + (uint64_t)seconds * 1000;
    m->check_ms = now + HUB_CHECK_MS;
    m->heartbeat_ms = now + HUB_HEARTBEAT_MS;
    buf_init_heap(&m->out, 2 * HUB_WAITING_MAX);
    return m;
}

int hub_add(struct hub *hub, const struct listener *listener, struct stream *stream,
            const struct principal *principal, int64_t seconds)
{
    struct member *m = member_new(listener, stream, principal, seconds);
    bool is_taken;

    if (!m)
        return -ENOMEM;
    pthread_mutex_lock(&hub->lock);
    is_taken = has_room(hub, principal);
    if (is_taken) {
        list_append(&hub->members, &m->node);
        hub->count++;
        pthread_cond_signal(&hub->has_changed);
    }
    pthread_mutex_unlock(&hub->lock);
    if (!is_taken)
        member_free(m);
    return is_taken ? 0 : STREAM_E_FULL;
}

void hub_get_stats(struct hub *hub, struct hub_stats *ret_stats)
{
    pthread_mutex_lock(&hub->lock);
    *ret_stats = hub->stats;
    ret_stats->listeners = hub->count;
    pthread_mutex_unlock(&hub->lock);
}
