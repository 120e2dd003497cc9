#include "agent/dial/race.h"
#include <errno.h>
#include <string.h>

struct runner {
    struct race *race;
    struct conn *conn;              /* NULL: not begun, or failed */
    uint64_t began_ms;
    uint32_t took_ms;               /* once it has failed */
    enum reason why;                /* likewise */
    struct endpoint to;
};

struct race {
    struct loop *loop;
    struct loop_timer next, deadline;
    uint32_t deadline_ms;
    race_fn *on_done;
    void *user;
    bool is_open;
    enum reason why;                /* of the last that failed */
    size_t count, begun, failed;
    struct runner runners[];        /* an open race has room for RACE_ADDRS_MAX */
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

size_t race_interleave(struct endpoint *list, size_t count)
{
    struct endpoint sorted[RACE_ADDRS_MAX];
    size_t n = 0, next[2] = { 0, 0 };
    bool want_v4 = count && addr_is_v4(&list[0].addr);

    while (n < count && n < RACE_ADDRS_MAX) {
        size_t *i = &next[want_v4];

        while (*i < count && addr_is_v4(&list[*i].addr) != want_v4)
            (*i)++;
        if (*i < count)
            sorted[n++] = list[(*i)++];
        else if (next[!want_v4] >= count)
            break;
        want_v4 = !want_v4;
    }
    memcpy(list, sorted, n * sizeof(*list));
    return n;
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

static uint32_t time_of(const struct runner *runner)
{
    return (uint32_t)(loop_now_ms(runner->race->loop) - runner->began_ms);
}

/* Those that are still running end now, for that reason. */
static void note_tries(const struct race *r, enum reason why_running, struct race_result *result)
{
    _Static_assert(RACE_ADDRS_MAX <= MUX_TRIES_MAX, "each has its place");

    for (size_t i = 0; i < r->begun; i++) {
        const struct runner *runner = &r->runners[i];

        result->tries[i] = (struct mux_try){
            .to = runner->to,
            .took_ms = runner->conn ? time_of(runner) : runner->took_ms,
            .result = runner->conn ? why_running : runner->why,
        };
    }
    result->try_count = r->begun;
}

/* `winner`: NULL: nobody won. */
static void finish(struct race *r, struct runner *winner, enum reason why, enum reason why_running)
{
    race_fn *on_done = r->on_done;
    void *user = r->user;
    struct race_result result;

    result.reason = why;
    result.conn = winner ? TAKE(winner->conn) : NULL;
    result.used = winner ? winner->to : (struct endpoint){ 0 };
    note_tries(r, why_running, &result);
    stop(r);                        /* the losers; and nothing is told twice */
    on_done(user, &result);
}

static void begin_next(void *arg);

static void on_runner_ready(void *user)
{
    struct runner *runner = user;

    runner->why = REASON_NONE;
    runner->took_ms = time_of(runner);
    finish(runner->race, runner, REASON_NONE, REASON_DIAL_OVERTAKEN);
}

/* All have failed. */
static void on_all_failed(void *arg)
{
    struct race *r = arg;

    finish(r, NULL, r->why, REASON_DIAL_TIMEOUT);
}

static void go_on(struct race *r)
{
    if (r->begun < r->count)
        timer_start(r->loop, &r->next, 0, begin_next, r);
    else if (r->failed == r->count && !r->is_open)
        timer_start(r->loop, &r->next, 0, on_all_failed, r);
}

static void fail_runner(struct runner *runner, int error)
{
    struct race *r = runner->race;

    runner->took_ms = time_of(runner);
    runner->why = r->why = race_reason(error);
    if (runner->conn)
        conn_free(TAKE(runner->conn));
    r->failed++;
    go_on(r);
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
    finish(arg, NULL, REASON_DIAL_TIMEOUT, REASON_DIAL_TIMEOUT);
}

int race_start(struct loop *l, const struct endpoint *to, size_t count, bool is_open, uint32_t deadline_ms,
               race_fn *on_done, void *user, struct race **ret_race)
{
    struct race *r;

    if (count == 0 || count > RACE_ADDRS_MAX)
        return -EINVAL;

    r = calloc(1, sizeof(*r) + (is_open ? RACE_ADDRS_MAX : count) * sizeof(r->runners[0]));
    if (!r)
        return -ENOMEM;

    r->loop = l;
    r->on_done = on_done;
    r->user = user;
    r->count = count;
    r->is_open = is_open;
    r->deadline_ms = deadline_ms;
    for (size_t i = 0; i < count; i++) {
        r->runners[i].race = r;
        r->runners[i].to = to[i];
    }
    timer_start(l, &r->deadline, deadline_ms, on_deadline, r);
    begin_next(r);                  /* what fails at once is told on a later turn */
    *ret_race = r;
    return 0;
}

static bool is_in(const struct race *r, const struct endpoint *to)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->runners[i].to.port == to->port && addr_eq(&r->runners[i].to.addr, &to->addr))
            return true;
    }
    return false;
}

/* Behind what has begun, by turns with what waits. */
static void insert(struct race *r, size_t at, const struct endpoint *to)
{
    if (at > r->count)
        at = r->count;
    if (r->count == RACE_ADDRS_MAX)
        r->count--;                 /* the last of those that wait */
    memmove(&r->runners[at + 1], &r->runners[at], (r->count - at) * sizeof(r->runners[0]));
    r->runners[at] = (struct runner){ .race = r, .to = *to };
    r->count++;
}

void race_close(struct race *r, const struct endpoint *to, size_t count)
{
    size_t at = r->begun;

    for (size_t i = 0; i < count; i++) {
        if (is_in(r, &to[i]) || at >= RACE_ADDRS_MAX)
            continue;
        insert(r, at, &to[i]);
        at += 2;
    }
    r->is_open = false;
    if (r->failed == r->begun)
        go_on(r);
    else if (r->begun < r->count && !timer_is_on(&r->next))
        timer_start(r->loop, &r->next, RACE_DELAY_MS, begin_next, r);
}
