#include "agent/dial/race.h"
#include <errno.h>
#include <string.h>

struct runner {
    struct race *race;
    struct conn *conn;              /* NULL: not begun, or failed */
    uint64_t began_ms;
    struct endpoint to;
};

struct race {
    struct loop *loop;
    struct loop_timer next, deadline;
    uint32_t deadline_ms;
    race_fn *on_done;
    void *user;
    size_t count, begun, failed;
    struct runner runners[RACE_ADDRS_MAX];
    struct race_result result;
};

enum reason race_reason(int error)
{
    switch (error < 0 ? -error : error) {
    case ECONNREFUSED:
    case ENOENT:                    /* a Unix socket that is not there */
        return REASON_DIAL_REFUSED;
    case ETIMEDOUT:
        return REASON_DIAL_TIMEOUT;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return REASON_DIAL_UNREACHABLE;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        return REASON_OVERLOAD;
    default:
        return REASON_DIAL_FAILED;
    }
}

static void stop(struct race *r)
{
    timer_stop(&r->next);
    timer_stop(&r->deadline);
    for (size_t i = 0; i < r->begun; i++) {
        if (r->runners[i].conn)
            conn_free(TAKE(r->runners[i].conn));
    }
}

void race_free(struct race *r)
{
    stop(r);
    free(r);
}

static void note_try(struct runner *runner, enum reason why)
{
    struct race *r = runner->race;
    struct mux_try *t;

    if (r->result.try_count == MUX_TRIES_MAX)
        return;
    t = &r->result.tries[r->result.try_count++];
    t->to = runner->to;
    t->took_ms = (uint32_t)(loop_now_ms(r->loop) - runner->began_ms);
    t->result = why;
}

static void finish(struct race *r)
{
    struct race_result result = r->result;
    race_fn *on_done = r->on_done;
    void *user = r->user;

    stop(r);                        /* the losers; and nothing is told twice */
    on_done(user, &result);
}

static void begin_next(void *arg);

static void on_runner_ready(void *user)
{
    struct runner *runner = user;
    struct race *r = runner->race;

    note_try(runner, REASON_NONE);
    r->result.reason = REASON_NONE;
    r->result.used = runner->to;
    r->result.conn = TAKE(runner->conn);
    finish(r);
}

static void fail_runner(struct runner *runner, int error)
{
    struct race *r = runner->race;

    note_try(runner, race_reason(error));
    r->result.reason = race_reason(error);
    if (runner->conn)
        conn_free(TAKE(runner->conn));
    if (++r->failed == r->count)
        finish(r);
    else if (r->begun < r->count)
        timer_start(r->loop, &r->next, 0, begin_next, r);
}

static void on_runner_failed(void *user, int error)
{
    fail_runner(user, error);
}

static const struct conn_handlers handlers = {
    .on_ready = on_runner_ready,
    .on_failed = on_runner_failed,
};

static void begin_next(void *arg)
{
    struct race *r = arg;
    struct runner *runner = &r->runners[r->begun++];
    struct conn_options options = { .is_abortive = true, .ready_ms = r->deadline_ms };
    int error;

    runner->began_ms = loop_now_ms(r->loop);
    if (r->begun < r->count)
        timer_start(r->loop, &r->next, RACE_DELAY_MS, begin_next, r);

    error = conn_dial(r->loop, &runner->to, &options, &handlers, runner, &runner->conn);
    if (error)
        fail_runner(runner, error);
}

static void on_deadline(void *arg)
{
    struct race *r = arg;

    for (size_t i = 0; i < r->begun; i++) {
        if (r->runners[i].conn)
            note_try(&r->runners[i], REASON_DIAL_TIMEOUT);
    }
    r->result.reason = REASON_DIAL_TIMEOUT;
    finish(r);
}

int race_start(struct loop *l, const struct endpoint *to, size_t count, uint32_t deadline_ms,
               race_fn *on_done, void *user, struct race **ret_race)
{
    struct race *r;

    if (count == 0 || count > RACE_ADDRS_MAX)
        return -EINVAL;

    r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;

    r->loop = l;
    r->on_done = on_done;
    r->user = user;
    r->count = count;
    r->deadline_ms = deadline_ms;
    for (size_t i = 0; i < count; i++) {
        r->runners[i].race = r;
        r->runners[i].to = to[i];
    }
    timer_start(l, &r->next, 0, begin_next, r);
    timer_start(l, &r->deadline, deadline_ms, on_deadline, r);
    *ret_race = r;
    return 0;
}
