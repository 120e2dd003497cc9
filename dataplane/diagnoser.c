#include "dataplane/diagnoser.h"
#include "dataplane/route/look.h"
#include "lib/crypto/random.h"
#include "lib/diagnosis/diagnosis.h"
#include "lib/log/log.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define POLL_TIMEOUT_MS 15000
#define POLL_BYTES_MAX (DIAGNOSER_JOBS_MAX * ORDER_BYTES_MAX)
#define POLL_AGAIN_MS 20
#define POLL_FAILED_MS 2000         /* and as much again, drawn */
#define POLL_UNKNOWN_MS 60000       /* a control plane that knows no commands */
#define ANSWER_GRACE_MS 2000        /* on the way to the agent and back */
#define ANSWER_BYTES_MAX (DIAGNOSIS_BYTES_MAX + 4096)

struct diagnoser {
    struct diagnoser_config config;
    struct roster_reader agents;
    struct loop_timer poll;
    atomic_bool is_stopping;
    pthread_mutex_t lock;           /* of what follows */
    struct list jobs;
    size_t job_count;
    struct diagnoser_stats stats;
};

struct job {                        /* the control loop's, then its worker's */
    struct list node;
    struct diagnoser *diagnoser;
    struct diagnosis_order order;
    unsigned worker;
    struct route *route;
    struct loop_timer deadline;     /* the worker's */
    struct buf text;                /* what the agent found */
};

/* --- a job's end --------------------------------------------------------------------------------- */

static void job_free(struct job *j)
{
    struct diagnoser *d = j->diagnoser;

    pthread_mutex_lock(&d->lock);
    list_remove(&j->node);
    d->job_count--;
    pthread_mutex_unlock(&d->lock);
    buf_deinit(&j->text);
    order_deinit(&j->order);
    free(j);
}

static void on_told(void *user, const struct control_answer *answer)
{
    (void)user;
    if (answer->reason != REASON_NONE)
        LOG(WARNING, "diagnose.not_told", R("reason", answer->reason), S("detail", answer->text));
}

static int write_answer(const struct job *j, enum reason why, struct span text, struct buf *out)
{
    bool has_result = why == REASON_NONE;
    struct json_writer w;

    if (has_result && !json_raw_is_valid(buf_span(&j->text))) {
        has_result = false;
        why = REASON_PROTOCOL_ERROR;
        text = SPAN("the agent's answer is not JSON");
    }
    json_begin(&w, out);
    json_open_object(&w, NULL);
    json_put_text(&w, "id", j->order.id);
    json_put_text(&w, "reason", reason_text(why));
    json_put_str(&w, "text", span_first(text, DIAGNOSIS_TEXT_MAX));
    if (has_result)
        json_put_raw(&w, "result", buf_span(&j->text));
    json_close_object(&w);
    return buf_error(out);
}

/* On any loop: the answer goes by post. */
static void finish(struct job *j, struct loop *at, enum reason why, struct span text)
{
    struct diagnoser *d = j->diagnoser;
    AUTO(buf_deinit) struct buf body;

    buf_init_heap(&body, ANSWER_BYTES_MAX);
    if (why != REASON_NONE) {
        LOG(INFO, "diagnose.failed", S("agent", j->order.agent), R("reason", why), SP("detail", text));
        pthread_mutex_lock(&d->lock);
        d->stats.failed++;
        pthread_mutex_unlock(&d->lock);
    }
    if (!atomic_load(&d->is_stopping) && write_answer(j, why, text, &body) == 0 &&
        control_ask(d->config.control, "/internal/v1/answers", buf_span(&body), at, on_told, NULL))
        LOG(WARNING, "diagnose.not_told", R("reason", REASON_OVERLOAD));
    job_free(j);
}

/* --- at the worker ------------------------------------------------------------------------------- */

static struct loop *loop_of(const struct job *j)
{
    return router_loop(roster_router(j->diagnoser->config.roster, j->worker));
}

static void end(struct job *j, enum reason why, struct span text)
{
    timer_stop(&j->deadline);
    finish(j, loop_of(j), why, text);
}

static void on_deadline(void *arg)
{
    struct job *j = arg;

    route_abandon(TAKE(j->route), REASON_DIAL_TIMEOUT);
    end(j, REASON_DIAL_TIMEOUT, SPAN("the agent did not answer in time"));
}

static void on_refused(void *user, struct route *r, enum reason why, struct span text)
{
    (void)r;
    end(user, why == REASON_NONE ? REASON_SESSION_LOST : why, text);
}

static void on_ended(void *user, struct route *r, enum reason how)
{
    (void)r;
    end(user, how == REASON_NONE ? REASON_PROTOCOL_ERROR : how, SPAN("the agent's answer is not whole"));
}

static void on_readable(void *user, struct route *r)
{
    struct job *j = user;
    struct mux_stream *stream = route_stream(r);
    struct span span;

    while (mux_stream_peek(stream, &span, 1)) {
        buf_put_span(&j->text, span);
        mux_stream_consume(stream, span.n);
    }
    if (buf_error(&j->text)) {
        route_abandon(TAKE(j->route), REASON_PROTOCOL_ERROR);
        end(j, REASON_PROTOCOL_ERROR, SPAN("the agent's answer is too long"));
    } else if (mux_stream_at_fin(stream)) {
        route_release(TAKE(j->route));
        end(j, REASON_NONE, SPAN_NONE);
    }
}

static const struct route_handlers handlers = {
    .on_refused = on_refused, .on_readable = on_readable, .on_ended = on_ended,
};

static void on_worker(void *arg)
{
    struct job *j = arg;
    struct router *router = roster_router(j->diagnoser->config.roster, j->worker);
    enum reason why = route_look(router, &j->order, &handlers, j, &j->route);

    if (why != REASON_NONE)
        finish(j, router_loop(router), why, SPAN_NONE);
    else
        timer_start(router_loop(router), &j->deadline, (uint64_t)j->order.timeout_ms + ANSWER_GRACE_MS, on_deadline, j);
}

/* --- orders -------------------------------------------------------------------------------------- */

/* The worker whose links to the agent were proved last, or, where none is, one that has any; false: the
 * agent is not here. */
static bool find_worker(struct diagnoser *d, const struct diagnosis_order *order, unsigned *ret_worker)
{
    uint64_t now_ms = loop_now_ms(d->config.loop), newest = 0;
    const struct seat *seat;
    bool is_found = false;
    struct ulid agent;

    if (!ulid_parse(span_str(order->agent), &agent))
        return false;
    seat = roster_find(&d->agents, &agent);
    for (unsigned i = 0; seat && i < seat->berth_count; i++) {
        uint64_t usable_ms = atomic_load(&seat->berths[i].usable_ms);

        bool is_proved = usable_ms > newest && roster_is_recent(d->config.roster, usable_ms, now_ms);

        if (!is_proved && (is_found || !atomic_load(&seat->berths[i].takers)))
            continue;
        newest = is_proved ? usable_ms : newest;
        is_found = true;
        *ret_worker = i;
    }
    return is_found;
}

static bool has_room(struct diagnoser *d, struct job *j)
{
    bool has;

    pthread_mutex_lock(&d->lock);
    has = d->job_count < DIAGNOSER_JOBS_MAX;
    list_append(&d->jobs, &j->node);
    d->job_count++;
    d->stats.orders++;
    pthread_mutex_unlock(&d->lock);
    return has;
}

static void begin(struct job *j)
{
    struct diagnoser *d = j->diagnoser;

    buf_init_heap(&j->text, DIAGNOSIS_BYTES_MAX);
    if (!has_room(d, j))
        finish(j, d->config.loop, REASON_OVERLOAD, SPAN("too many diagnoses at this relay"));
    else if (!find_worker(d, &j->order, &j->worker))
        finish(j, d->config.loop, REASON_NO_AGENT, SPAN_NONE);
    else if (loop_post(loop_of(j), on_worker, j))
        finish(j, d->config.loop, REASON_OVERLOAD, SPAN("the relay's worker is stuck"));
}

static void take_order(struct diagnoser *d, const struct json_value *v)
{
    struct job *j = calloc(1, sizeof(*j));
    struct json_error error = { .message = "out of memory" };

    if (!j || order_decode(v, &j->order, &error)) {
        LOG(WARNING, "diagnose.malformed", S("pointer", error.pointer), S("detail", error.message));
        free(j);
        return;
    }
    j->diagnoser = d;
    begin(j);
}

static void poll(void *arg);

static void poll_after(struct diagnoser *d, uint64_t ms)
{
    if (!atomic_load(&d->is_stopping))
        timer_start(d->config.loop, &d->poll, ms, poll, d);
}

static void on_commands(void *user, const struct control_answer *answer)
{
    struct diagnoser *d = user;
    AUTO(json_value_freep) struct json_value *v = NULL;
    const struct json_value *orders;
    struct json_error error;

    if (answer->status != 200 || json_parse(answer->body, &v, &error)) {
        poll_after(d, answer->status == 404 ? POLL_UNKNOWN_MS : POLL_FAILED_MS + random_u64() % POLL_FAILED_MS);
        return;
    }
    orders = json_get(v, "diagnose");
    for (size_t i = 0; orders && i < json_count(orders); i++)
        take_order(d, json_at(orders, i));
    poll_after(d, POLL_AGAIN_MS);
}

static void poll(void *arg)
{
    struct diagnoser *d = arg;

    if (control_send(d->config.control, "/internal/v1/commands", SPAN_NONE, POLL_BYTES_MAX, POLL_TIMEOUT_MS,
                     on_commands, d))
        poll_after(d, POLL_FAILED_MS);
}

/* --- life ---------------------------------------------------------------------------------------- */

int diagnoser_new(const struct diagnoser_config *config, struct diagnoser **ret_diagnoser)
{
    struct diagnoser *d = calloc(1, sizeof(*d));

    if (!d)
        return -ENOMEM;
    d->config = *config;
    list_init(&d->jobs);
    pthread_mutex_init(&d->lock, NULL);
    roster_reader_init(&d->agents, config->roster);
    timer_start(config->loop, &d->poll, 0, poll, d);
    *ret_diagnoser = d;
    return 0;
}

void diagnoser_stop(struct diagnoser *d)
{
    atomic_store(&d->is_stopping, true);
    timer_stop(&d->poll);
}

void diagnoser_free(struct diagnoser *d)
{
    LIST_EACH(&d->jobs, node)
        job_free(container_of(node, struct job, node));
    roster_reader_deinit(&d->agents);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

void diagnoser_get_stats(struct diagnoser *d, struct diagnoser_stats *ret_stats)
{
    pthread_mutex_lock(&d->lock);
    *ret_stats = d->stats;
    ret_stats->running = d->job_count;
    pthread_mutex_unlock(&d->lock);
}
