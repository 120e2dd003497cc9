#include "dataplane/sync/events.h"
#include "dataplane/sync/refused.h"
#include "dataplane/sync/spool.h"
#include "lib/base/list.h"
#include "lib/crypto/random.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define BATCH_BYTES_MAX ((size_t)900 << 10)
#define LINES_BYTES_MAX (BATCH_BYTES_MAX + EVENTS_DATA_MAX + 1024)
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
    struct ulid boot_id;
    struct refused *refused;
    uint64_t refused_ms;
    pthread_mutex_t lock;           /* guards the five below */
    struct list waiting;
    struct event *young[YOUNG_COUNT];
    _Atomic size_t count;           /* this and dropped are read without the lock, too */
    size_t bytes;
    _Atomic uint64_t dropped;
    bool is_woken;
    struct spool *spool;            /* control loop only, as all below */
    struct buf lines;               /* gathered; the disk did not take them yet */
    size_t line_count;
    struct buf body;                /* of the batch under way */
    struct spool_mark mark;         /* where it ends; lines 0: it is `lines` */
    struct loop_timer gather, retry, telling;
    uint32_t failures;
    bool is_sending, is_disk_bad;
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

static void on_gather(void *arg);

static void on_woken(void *arg)
{
    struct events *e = arg;

    if (!timer_is_on(&e->gather))
        timer_start(control_loop(e->control), &e->gather, GATHER_MS, on_gather, e);
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
    struct event *event = data.n <= EVENTS_DATA_MAX ? malloc(sizeof(*event) + data.n) : NULL;

    if (!event) {
        atomic_fetch_add(&e->dropped, 1);
        return;
    }
    event->type = type;
    event->id = *id;
    event->at_ms = wall_ms();
    event->n = data.n;
    memcpy(event->data, data.p, data.n);
    /* A full post queue means that the loop is awake: whoever comes next wakes it again. */
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

/* --- from memory to disk ------------------------------------------------------------------------- */

static void write_line(struct events *e, const struct event *event)
{
    struct json_writer w;

    json_begin(&w, &e->lines);
    json_open_object(&w, NULL);
    json_put_str(&w, "id", ulid_span(&event->id));
    json_put_text(&w, "type", event->type);
    json_put_int(&w, "at_ms", (int64_t)event->at_ms);
    json_put_str(&w, "boot_id", ulid_span(&e->boot_id));
    json_put_raw(&w, "data", span_of(event->data, event->n));
    json_close_object(&w);
    buf_put_u8(&e->lines, '\n');
}

static bool take_event(struct events *e, struct event **ret_event)
{
    struct list *first;

    pthread_mutex_lock(&e->lock);
    first = list_first(&e->waiting);
    if (first) {
        *ret_event = container_of(first, struct event, node);
        leave_queue(e, *ret_event);
    }
    e->is_woken = first != NULL;
    pthread_mutex_unlock(&e->lock);
    return first != NULL;
}

/* What waits is made lines, as much as a batch holds. */
static void make_lines(struct events *e)
{
    while (e->line_count < EVENTS_BATCH_MAX && e->lines.len < BATCH_BYTES_MAX) {
        struct event *event;

        if (!take_event(e, &event))
            return;
        write_line(e, event);
        e->line_count++;
        free(event);
    }
}

static void forget_lines(struct events *e)
{
    buf_clear(&e->lines);
    e->line_count = 0;
}

/* Once for each change of mind. */
static void note_disk(struct events *e, int r)
{
    if (r && !e->is_disk_bad)
        LOG(ERROR, "events.not_kept", E(r), S("detail", "they wait in memory until the disk takes them"));
    if (!r && e->is_disk_bad)
        LOG(INFO, "events.kept", U("events", e->line_count));
    e->is_disk_bad = r != 0;
}

static bool are_lines_on_their_way(const struct events *e)
{
    return e->is_sending && !e->mark.lines;
}

static void keep(struct events *e)
{
    int r = 0;

    while (!r && !are_lines_on_their_way(e)) {
        make_lines(e);
        if (buf_error(&e->lines)) {             /* no memory */
            e->dropped += e->line_count;
            forget_lines(e);
        }
        if (!e->line_count)
            return;
        r = spool_append(e->spool, buf_span(&e->lines), e->line_count);
        note_disk(e, r);
        if (!r)
            forget_lines(e);
    }
}

/* --- from disk to the control plane -------------------------------------------------------------- */

static void on_sent(void *user, const struct control_answer *answer);

/* Lines become the members of a list. */
static void close_body(struct buf *body, size_t from)
{
    unsigned char *at = body->data + from, *last = body->data + body->len - 1;

    while ((at = memchr(at, '\n', (size_t)(last - at))))
        *at = ',';
    buf_put_str(body, "]}");
}

enum { NOTHING_TO_SEND = 1 };

static int make_body(struct events *e)
{
    size_t from;
    int r;

    buf_clear(&e->body);
    buf_put_str(&e->body, "{\"events\":[");
    from = e->body.len;
    r = spool_read(e->spool, EVENTS_BATCH_MAX, BATCH_BYTES_MAX, &e->body, &e->mark);
    if (r)
        return r;
    if (!e->mark.lines)
        buf_put_span(&e->body, buf_span(&e->lines));
    if (e->body.len == from)
        return NOTHING_TO_SEND;
    close_body(&e->body, from);
    return buf_error(&e->body);
}

static void retry_later(struct events *e)
{
    uint32_t wait_ms = RETRY_FIRST_MS;

    for (uint32_t i = 0; i < e->failures && wait_ms < RETRY_MAX_MS; i++)
        wait_ms *= 2;
    e->failures++;
    timer_start(control_loop(e->control), &e->retry, wait_ms / 2 + random_u64() % wait_ms, on_gather, e);
}

static void send_next(struct events *e)
{
    int r;

    if (e->is_sending || timer_is_on(&e->retry))
        return;
    r = make_body(e);
    if (r == NOTHING_TO_SEND)
        return;
    if (r || control_send(e->control, "/internal/v1/events", buf_span(&e->body), 65536, 10000, on_sent, e))
        retry_later(e);
    else
        e->is_sending = true;
}

static void on_gather(void *arg)
{
    struct events *e = arg;

    keep(e);
    send_next(e);
}

static void forget_batch(struct events *e)
{
    if (e->mark.lines)
        spool_forget(e->spool, &e->mark);
    else
        forget_lines(e);
}

/* For its content: sent again it would be refused again.  Any other refusal may pass. */
static bool is_refused_for_good(unsigned status)
{
    return status == 400 || status == 413 || status == 422;
}

/* It may take long: from now on what waits is to outlive the machine's power as well. */
static void note_delay(struct events *e, const struct control_answer *answer)
{
    int r = spool_sync(e->spool);

    if (r)
        note_disk(e, r);
    if (!e->failures)
        LOG(WARNING, "events.delayed", U("status", answer->status), R("reason", answer->reason),
            U("waiting", events_waiting(e)));
}

static void on_sent(void *user, const struct control_answer *answer)
{
    struct events *e = user;

    e->is_sending = false;
    if (answer->status >= 200 && answer->status < 300) {
        e->failures = 0;
        forget_batch(e);
        timer_start(control_loop(e->control), &e->gather, 0, on_gather, e);
        return;
    }
    if (is_refused_for_good(answer->status)) {
        LOG(ERROR, "events.refused", U("status", answer->status), R("reason", answer->reason));
        e->dropped += e->mark.lines ? e->mark.lines : e->line_count;
        forget_batch(e);
    } else {
        note_delay(e, answer);
    }
    retry_later(e);
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

/* --- making it ------------------------------------------------------------------------------------- */

int events_new(const struct events_config *config, struct events **ret_events)
{
    AUTO(events_freep) struct events *e = calloc(1, sizeof(*e));
    int r;

    if (!e)
        return -ENOMEM;
    e->control = config->control;
    e->boot_id = config->boot_id;
    e->refused_ms = config->refused_ms ? config->refused_ms : 2000;
    pthread_mutex_init(&e->lock, NULL);
    list_init(&e->waiting);
    buf_init_heap(&e->lines, LINES_BYTES_MAX);
    buf_init_heap(&e->body, LINES_BYTES_MAX + 1024);
    r = refused_new(config->refused_max ? config->refused_max : 256, &e->refused);
    if (!r)
        r = spool_open(config->dir, config->spool_bytes, &e->spool);
    if (r)
        return r;
    if (spool_lines(e->spool))
        LOG(INFO, "events.found", U("events", spool_lines(e->spool)));
    timer_start(control_loop(e->control), &e->gather, 0, on_gather, e);
    *ret_events = TAKE(e);
    return 0;
}

void events_free(struct events *e)
{
    timer_stop(&e->gather);
    timer_stop(&e->retry);
    timer_stop(&e->telling);
    e->is_sending = false;          /* nobody will answer */
    if (e->spool) {
        keep(e);
        spool_free(e->spool);
    }
    while (e->count)
        drop_oldest(e);
    if (e->refused)
        refused_free(e->refused);
    buf_deinit(&e->lines);
    buf_deinit(&e->body);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

uint64_t events_dropped(const struct events *e)
{
    return atomic_load_explicit(&e->dropped, memory_order_relaxed) + spool_dropped(e->spool);
}

size_t events_waiting(const struct events *e)
{
    return atomic_load_explicit(&e->count, memory_order_relaxed) + e->line_count + spool_lines(e->spool);
}

size_t events_spooled_bytes(const struct events *e)
{
    return spool_bytes(e->spool);
}
