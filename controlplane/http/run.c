#include "controlplane/http/server_internal.h"
#include "lib/log/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

uint64_t monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static bool is_read(const struct exchange *x)
{
    return strcmp(x->req.method, "GET") == 0 || strcmp(x->req.method, "HEAD") == 0;
}

static void settle_problem(struct exchange *x)
{
    struct response *res = &x->res;

    buf_clear(&res->body);
    if (res->problem.retry_after_s)
        response_header(res, "Retry-After", "%u", res->problem.retry_after_s);
    res->status = problem_status(&res->problem);
    res->content_type = "application/problem+json";
    if (res->status == 401)
        response_header(res, "WWW-Authenticate", "Bearer realm=\"adit\"");
    problem_encode(&res->problem, x->req.trace_id, &res->body);
}

static void log_request(const struct exchange *x)
{
    const struct response *res = &x->res;
    const char *reason = res->problem.reason ? reason_text(res->problem.reason) : "ok";
    char peer[ADDR_TEXT_MAX];

    if (is_read(x) && res->problem.reason == REASON_NONE)
        LOG(DEBUG, "http.request", S("method", x->req.method), SP("path", x->req.path),
            N("status", res->status), S("reason", reason), S("principal", x->req.principal.id),
            S("trace_id", x->req.trace_id));
    else
        LOG(INFO, "http.request", S("method", x->req.method), SP("path", x->req.path),
            N("status", res->status), S("reason", reason), S("principal", x->req.principal.id),
            S("peer", addr_format(&x->req.peer, peer)),
            U("took_us", monotonic_us() - x->started_us), S("trace_id", x->req.trace_id));
}

static void tell_refusal(const struct exchange *x)
{
    const struct server_hooks *hooks = &x->server->options.hooks;

    if (x->res.problem.reason != REASON_NONE && hooks->refused)
        hooks->refused(hooks->refused_ctx, &x->req, &x->res);
}

void exchange_finish(struct exchange *x)
{
    struct response *res = &x->res;

    if (res->problem.reason == REASON_NONE && (!res->status || buf_error(&res->body)))
        response_problem(res, REASON_INTERNAL, "%s", "");
    if (res->problem.reason != REASON_NONE) {
        settle_problem(x);
    } else if (is_read(x) && res->status == 200) {
        struct span known = request_header(&x->req, "If-None-Match");

        if (known.n && response_is_unchanged(res, known)) {
            buf_clear(&res->body);
            res->status = 304;
        }
    }
    log_request(x);
    tell_refusal(x);
    pthread_mutex_lock(&x->server->lock);
    x->server->stats.requests++;
    x->server->stats.refused += res->status >= 400 && res->status < 500;
    x->server->stats.errors += res->status >= 500;
    x->server->stats.by_reason[res->problem.reason] += res->problem.reason != REASON_NONE;
    list_remove(&x->running);
    pthread_mutex_unlock(&x->server->lock);
}

/* ---- parking ---- */

static struct lane *lane_of(struct exchange *x)
{
    return x->req.route->flags & ROUTE_SLOW ? &x->server->slow : &x->server->normal;
}

/* With the lock held. */
static void unpark(struct exchange *x, bool is_expired)
{
    list_remove(&x->node);
    x->server->parked_count--;
    x->req.is_woken = !is_expired;
    x->req.is_expired = is_expired;
    (void)lane_push(lane_of(x), &x->node, true);
}

/* False: there is no room, and a problem is set. */
static bool park(struct exchange *x)
{
    struct server *server = x->server;
    bool has_room;

    pthread_mutex_lock(&server->lock);
    has_room = server->parked_count < server->options.parked_max;
    if (has_room) {
        x->deadline_ms = monotonic_us() / 1000 + x->res.park_ms;
        x->res.park_ms = 0;
        server->parked_count++;
        list_append(&server->parked, &x->node);
        if (server->is_draining)
            unpark(x, true);
        else if (server->generations[x->req.route->topic & 7] != x->generation)
            unpark(x, false);           /* rung while the handler ran */
        else
            pthread_cond_broadcast(&server->has_changed);
    }
    pthread_mutex_unlock(&server->lock);
    if (!has_room) {
        x->res.problem.retry_after_s = 1;
        response_problem(&x->res, REASON_OVERLOAD, "too many long polls");
    }
    return has_room;
}

void server_ring(struct server *server, unsigned topic)
{
    pthread_mutex_lock(&server->lock);
    server->generations[topic & 7]++;
    LIST_EACH(&server->parked, node) {
        struct exchange *x = container_of(node, struct exchange, node);

        if ((x->req.route->topic & 7) == (topic & 7))
            unpark(x, false);
    }
    pthread_mutex_unlock(&server->lock);
}

void parked_expire_all(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    LIST_EACH(&server->parked, node)
        unpark(container_of(node, struct exchange, node), true);
    pthread_mutex_unlock(&server->lock);
}

/* With the lock held: expires what is due; when the next one is (at most 1 s ahead). */
static uint64_t expire_due(struct server *server, uint64_t now_ms)
{
    uint64_t next_ms = now_ms + 1000;

    LIST_EACH(&server->parked, node) {
        struct exchange *x = container_of(node, struct exchange, node);

        if (x->deadline_ms <= now_ms)
            unpark(x, true);
        else if (x->deadline_ms < next_ms)
            next_ms = x->deadline_ms;
    }
    return next_ms;
}

static void wait_for_change(struct server *server, uint64_t until_ms)
{
    struct timespec until = { .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000 };

    pthread_cond_clockwait(&server->has_changed, &server->lock, CLOCK_MONOTONIC, &until);
}

void *clock_main(void *arg)
{
    struct server *server = arg;
    bool is_stopping;

    do {
        deadlines_look(server);
        pthread_mutex_lock(&server->lock);
        is_stopping = server->is_stopping;
        if (!is_stopping)
            wait_for_change(server, expire_due(server, monotonic_us() / 1000));
        pthread_mutex_unlock(&server->lock);
    } while (!is_stopping);
    return NULL;
}

/* ---- on a pool thread ---- */

static void run_handler(struct exchange *x)
{
    if (!x->is_checked) {
        x->is_checked = true;
        if (!exchange_check(x))
            return;
    }
    x->req.route->handler(x->req.route, &x->req, &x->res);
}

void exchange_run(void *ctx, struct list *job)
{
    struct exchange *x = container_of(job, struct exchange, node);
    struct server *server = ctx;

    pthread_mutex_lock(&server->lock);
    x->generation = server->generations[x->req.route->topic & 7];
    pthread_mutex_unlock(&server->lock);
    run_handler(x);
    if (x->res.park_ms && x->res.problem.reason == REASON_NONE && !x->req.is_expired && park(x))
        return;                 /* another thread may have it already */
    exchange_finish(x);
    x->stage = STAGE_DONE;
    MHD_resume_connection(x->connection);
}
