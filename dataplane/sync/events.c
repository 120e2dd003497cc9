#include "dataplane/sync/events.h"
#include "dataplane/sync/refused.h"
#include "lib/base/list.h"
#include "lib/crypto/random.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define BATCH_BYTES_MAX ((size_t)900 << 10)
#define GATHER_MS 50                /* many streams are over by then, and are one event */
#define RETRY_FIRST_MS 200
#define RETRY_MAX_MS 5000

static const char stream_opened[] = "stream.opened";

struct event {
    struct list node;
    const char *type;               /* static */
    struct ulid id;
    uint64_t at_ms;
    size_t n;
    char data[];
};

/* Streams whose beginning still waits, by the end of their random ids: most streams end before the
 * next batch goes.  A newer stream takes the place of an older one: then two events are sent. */
#define YOUNG_COUNT 1024u

struct events {
    struct control *control;
    struct refused *refused;
    uint64_t refused_ms;
    pthread_mutex_t lock;           /* guards the five below */
    struct list waiting;
    struct event *young[YOUNG_COUNT];
    _Atomic size_t count;           /* this and dropped are read without the lock, too */
    size_t bytes;
    _Atomic uint64_t dropped;
    bool is_woken;
    struct list sending;            /* control loop only, as all below */
    struct loop_timer timer, telling;
    uint32_t failures;
    bool is_sending;
};

static struct event **young_of(struct events *e, const struct ulid *id)
{
    uint32_t tail;

    memcpy(&tail, id->text + ULID_LEN - sizeof(tail), sizeof(tail));
    return &e->young[(tail * 2654435761u) >> 22];
}

static void leave_queue(struct events *e, struct event *event)
{
    struct event **young = young_of(e, &event->id);

    list_remove(&event->node);
    e->count--;
    e->bytes -= event->n;
    if (*young == event)
        *young = NULL;
}

static void drop_oldest(struct events *e)
{
    struct event *oldest = container_of(list_first(&e->waiting), struct event, node);

    leave_queue(e, oldest);
    e->dropped++;
    free(oldest);
}

static void send_batch(void *arg);

static void on_woken(void *arg)
{
    struct events *e = arg;

    if (!e->is_sending && !timer_is_on(&e->timer))
        timer_start(control_loop(e->control), &e->timer, GATHER_MS, send_batch, e);
}

static void enqueue(struct events *e, struct event *event)
{
    list_append(&e->waiting, &event->node);
    e->count++;
    e->bytes += event->n;
    if (event->type == stream_opened)
        *young_of(e, &event->id) = event;
}

static bool append(struct events *e, struct event *event)
{
    bool wake;

    pthread_mutex_lock(&e->lock);
    enqueue(e, event);
    while (e->count > EVENTS_MAX || e->bytes > EVENTS_BYTES_MAX)
        drop_oldest(e);
    wake = !e->is_woken;
    e->is_woken = true;
    pthread_mutex_unlock(&e->lock);
    return wake;
}

static void add(struct events *e, const char *type, const struct ulid *id, struct span data)
{
    struct event *event = malloc(sizeof(*event) + data.n);

    if (!event) {
        pthread_mutex_lock(&e->lock);
        e->dropped++;
        pthread_mutex_unlock(&e->lock);
        return;
    }
    event->type = type;
    event->id = *id;
    event->at_ms = wall_ms();
    event->n = data.n;
    memcpy(event->data, data.p, data.n);
    /* A full post queue means that the loop is awake: its next batch takes this one along. */
    if (append(e, event) && loop_post(control_loop(e->control), on_woken, e)) {
        pthread_mutex_lock(&e->lock);
        e->is_woken = false;
        pthread_mutex_unlock(&e->lock);
    }
}

void events_add(struct events *e, const char *type, const struct ulid *id, struct span data)
{
    add(e, type, id, data);
}

void events_stream_opened(struct events *e, const struct ulid *id, struct span data)
{
    add(e, stream_opened, id, data);
}

/* NULL: it is on its way already, or forgotten. */
static struct event *take_young(struct events *e, const struct ulid *id)
{
    struct event *event = *young_of(e, id);

    if (!event || !span_eq(ulid_span(&event->id), ulid_span(id)))
        return NULL;
    leave_queue(e, event);
    return event;
}

/* The members behind those of the beginning, in one object. */
static struct event *join_data(struct event *event, struct span members)
{
    struct event *joined = realloc(event, sizeof(*event) + event->n + members.n);

    if (!joined)
        return NULL;
    joined->data[joined->n - 1] = ',';
    memcpy(joined->data + joined->n, members.p + 1, members.n - 1);
    joined->n += members.n - 1;
    joined->type = "stream.passed";
    joined->at_ms = wall_ms();
    return joined;
}

bool events_stream_passed(struct events *e, const struct ulid *id, struct span data)
{
    struct event *event, *joined = NULL;

    pthread_mutex_lock(&e->lock);
    event = take_young(e, id);
    if (event)
        joined = join_data(event, data);
    if (event)
        enqueue(e, joined ? joined : event);
    pthread_mutex_unlock(&e->lock);
    return joined != NULL;
}

/* --- the control loop's side ----------------------------------------------------------------- */

static void take_batch(struct events *e)
{
    size_t bytes = 0;

    pthread_mutex_lock(&e->lock);
    for (size_t n = 0; n < EVENTS_BATCH_MAX && bytes < BATCH_BYTES_MAX && e->count; n++) {
        struct event *event = container_of(list_first(&e->waiting), struct event, node);

        leave_queue(e, event);
        list_append(&e->sending, &event->node);
        bytes += event->n + 128;
    }
    e->is_woken = e->count > 0;
    pthread_mutex_unlock(&e->lock);
}

static void free_sent(struct events *e)
{
    struct list *first;

    while ((first = list_first(&e->sending))) {
        list_remove(first);
        free(container_of(first, struct event, node));
    }
}

static void on_sent(void *user, const struct control_answer *answer)
{
    struct events *e = user;
    uint32_t wait_ms = RETRY_FIRST_MS;

    e->is_sending = false;
    if (answer->status >= 200 && answer->status < 300) {
        e->failures = 0;
        free_sent(e);
        timer_start(control_loop(e->control), &e->timer, 0, send_batch, e);
        return;
    }
    if (answer->status >= 400 && answer->status < 500 && answer->status != 429) {
        LOG(ERROR, "events.refused", U("status", answer->status), R("reason", answer->reason));
        free_sent(e);               /* sent again it would be refused again */
    }
    for (uint32_t i = 0; i < e->failures && wait_ms < RETRY_MAX_MS; i++)
        wait_ms *= 2;
    e->failures++;
    timer_start(control_loop(e->control), &e->timer, wait_ms / 2 + random_u64() % wait_ms, send_batch, e);
}

static void write_batch(struct events *e, struct buf *out)
{
    struct json_writer w;

    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_open_array(&w, "events");
    LIST_EACH(&e->sending, node) {
        const struct event *event = container_of(node, struct event, node);

        json_open_object(&w, NULL);
        json_put_str(&w, "id", ulid_span(&event->id));
        json_put_text(&w, "type", event->type);
        json_put_int(&w, "at_ms", (int64_t)event->at_ms);
        json_put_raw(&w, "data", span_of(event->data, event->n));
        json_close_object(&w);
    }
    json_close_array(&w);
    json_close_object(&w);
}

static void send_batch(void *arg)
{
    struct events *e = arg;
    AUTO(buf_deinit) struct buf body = { 0 };

    if (list_is_empty(&e->sending))
        take_batch(e);
    if (list_is_empty(&e->sending))
        return;

    buf_init_heap(&body, (size_t)4 << 20);
    write_batch(e, &body);
    if (!buf_error(&body) && !control_send(e->control, "/internal/v1/events", buf_span(&body), 65536, 10000,
                                           on_sent, e)) {
        e->is_sending = true;
        return;
    }
    timer_start(control_loop(e->control), &e->timer, RETRY_MAX_MS, send_batch, e);
}

/* --- refusals ---------------------------------------------------------------------------------- */

static void add_refused(void *ctx, struct span data)
{
    struct ulid id = random_ulid(wall_ms());

    events_add(ctx, REFUSED_EVENT, &id, data);
}

void events_tell_refused(struct events *e)
{
    refused_take(e->refused, add_refused, e);
}

static void on_telling(void *arg)
{
    events_tell_refused(arg);
}

static void on_first_refused(void *arg)
{
    struct events *e = arg;

    if (!timer_is_on(&e->telling))
        timer_start(control_loop(e->control), &e->telling, e->refused_ms, on_telling, e);
}

/* A post that finds no room is a loop that is busy: the timer of the next one tells of both. */
void events_refused(struct events *e, const char *place, enum reason why, const struct ulid *agent,
                    const struct addr *source)
{
    if (refused_note(e->refused, place, why, agent, source, (int64_t)wall_ms()) &&
        loop_post(control_loop(e->control), on_first_refused, e))
        refused_leave(e->refused);
}

uint64_t events_refused_others(const struct events *e)
{
    return refused_others(e->refused);
}

int events_new(const struct events_config *config, struct events **ret_events)
{
    struct events *e = calloc(1, sizeof(*e));
    int r;

    if (!e)
        return -ENOMEM;

    r = refused_new(config->refused_max ? config->refused_max : 256, &e->refused);
    if (r) {
        free(e);
        return r;
    }
    e->control = config->control;
    e->refused_ms = config->refused_ms ? config->refused_ms : 2000;
    pthread_mutex_init(&e->lock, NULL);
    list_init(&e->waiting);
    list_init(&e->sending);
    *ret_events = e;
    return 0;
}

void events_free(struct events *e)
{
    timer_stop(&e->timer);
    timer_stop(&e->telling);
    refused_free(e->refused);
    free_sent(e);
    while (e->count)
        drop_oldest(e);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

uint64_t events_dropped(const struct events *e)
{
    return atomic_load_explicit(&e->dropped, memory_order_relaxed);
}

size_t events_waiting(const struct events *e)
{
    return atomic_load_explicit(&e->count, memory_order_relaxed);
}
