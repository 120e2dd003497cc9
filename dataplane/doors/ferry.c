#include "dataplane/doors/ferry.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>

struct ferry {
    struct ferry_config config;
    struct roster *roster;
    unsigned home;
    atomic_uint refs;
    pthread_mutex_t lock;           /* guards `at`, and that nothing overtakes a route that moves */
    unsigned at;                    /* the worker that has the route */
    bool is_let_go, is_here;        /* home's thread only; here: so is the route */
    struct route *route;            /* the thread's that has it; NULL: over */
    atomic_bool is_over;            /* home could not be told */
    _Atomic uint32_t waiting;       /* bytes under way, both ways */
};

enum kind { ARRIVE, SEND, RELEASE, ABANDON, OPENED, DATAGRAM, FIN, OVER };

struct parcel {
    struct ferry *ferry;            /* a reference */
    enum kind kind;
    unsigned to;                    /* worker */
    enum reason why;
    struct endpoint at;
    uint32_t n;
    unsigned char bytes[];
};

static void ferry_unref(struct ferry *f)
{
    if (atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* --- parcels ----------------------------------------------------------------------------------- */

static void open_parcel(struct parcel *p);

static void on_parcel(void *arg)
{
    struct parcel *p = arg;
    struct ferry *f = p->ferry;

    atomic_fetch_sub(&f->waiting, p->n);
    open_parcel(p);
    free(p);
    ferry_unref(f);
}

static bool post(struct ferry *f, unsigned to, const struct parcel *what, struct span bytes)
{
    struct router *router = roster_router(f->roster, to);
    bool has_room = atomic_fetch_add(&f->waiting, (uint32_t)bytes.n) + bytes.n <= FERRY_WAITING_MAX;
    struct parcel *p = has_room && router ? malloc(sizeof(*p) + bytes.n) : NULL;

    if (p) {
        *p = *what;
        p->ferry = f;
        p->to = to;
        p->n = (uint32_t)bytes.n;
        if (bytes.n)
            memcpy(p->bytes, bytes.p, bytes.n);
        atomic_fetch_add(&f->refs, 1);
        if (loop_post(router_loop(router), on_parcel, p) == 0)
            return true;
        atomic_fetch_sub(&f->refs, 1);
        free(p);
    }
    atomic_fetch_sub(&f->waiting, (uint32_t)bytes.n);
    return false;
}

static bool post_to_route(struct ferry *f, const struct parcel *what, struct span bytes)
{
    bool is_sent;

    pthread_mutex_lock(&f->lock);
    is_sent = post(f, f->at, what, bytes);
    pthread_mutex_unlock(&f->lock);
    return is_sent;
}

static bool is_at(struct ferry *f, unsigned worker)
{
    bool is_here;

    pthread_mutex_lock(&f->lock);
    is_here = f->at == worker;
    pthread_mutex_unlock(&f->lock);
    return is_here;
}

/* --- home -------------------------------------------------------------------------------------- */

static void let_go(struct ferry *f)
{
    f->is_let_go = true;
    ferry_unref(f);
}

static void hear(struct ferry *f, const struct parcel *p, struct span bytes)
{
    const struct ferry_handlers *h = f->config.handlers;

    if (f->is_let_go)
        return;
    if (p->kind == OPENED) {
        h->on_opened(f->config.user, &p->at);
    } else if (p->kind == DATAGRAM) {
        h->on_datagram(f->config.user, bytes);
    } else if (p->kind == FIN) {
        h->on_fin(f->config.user);
    } else {
        h->on_over(f->config.user);
        let_go(f);
    }
}

static void drop(struct ferry *f)
{
    metric_add_at(f->config.metrics, M_DATAGRAMS_DROPPED, DROP_waiting, 0, 1);
}

/* From the thread that has the route. */
static void tell_home(struct ferry *f, const struct parcel *p, struct span bytes)
{
    if (is_at(f, f->home)) {
        hear(f, p, bytes);
        return;
    }
    if (post(f, f->home, p, bytes))
        return;
    if (p->kind == DATAGRAM)
        drop(f);
    else
        atomic_store(&f->is_over, true);
}

/* --- the route, wherever it is ------------------------------------------------------------------ */

static void on_opened(void *user, struct route *r, const struct endpoint *at)
{
    const struct parcel p = { .kind = OPENED, .at = *at };

    (void)r;
    tell_home(user, &p, SPAN_NONE);
}

static void tell_over(struct ferry *f)
{
    const struct parcel p = { .kind = OVER };

    f->route = NULL;
    tell_home(f, &p, SPAN_NONE);
    ferry_unref(f);
}

static void on_refused(void *user, struct route *r, enum reason why, struct span text)
{
    (void)r, (void)why, (void)text;
    tell_over(user);
}

static void on_ended(void *user, struct route *r, enum reason how)
{
    (void)r, (void)how;
    tell_over(user);
}

static void on_datagram(void *user, struct route *r, struct span bytes)
{
    const struct parcel p = { .kind = DATAGRAM };

    (void)r;
    tell_home(user, &p, bytes);
}

static void on_readable(void *user, struct route *r)
{
    const struct parcel p = { .kind = FIN };

    if (mux_stream_at_fin(route_stream(r)))
        tell_home(user, &p, SPAN_NONE);
}

/* What is posted to the route from now on comes behind it. */
static void on_move(void *user, struct route *r, unsigned worker)
{
    struct ferry *f = user;
    const struct parcel p = { .kind = ARRIVE };
    unsigned here = f->at;
    bool is_posted;

    route_leave(r);
    pthread_mutex_lock(&f->lock);
    if (here == f->home)
        f->is_here = false;
    is_posted = post(f, worker, &p, SPAN_NONE);
    if (is_posted)
        f->at = worker;
    else if (here == f->home)
        f->is_here = true;
    pthread_mutex_unlock(&f->lock);
    if (!is_posted)
        route_arrive(r, roster_router(f->roster, here), REASON_OVERLOAD);
}

static const struct route_handlers handlers = {
    .on_opened = on_opened, .on_refused = on_refused, .on_move = on_move, .on_datagram = on_datagram,
    .on_readable = on_readable, .on_ended = on_ended,
};

static void arrive(struct ferry *f, unsigned worker)
{
    if (is_at(f, worker) && worker == f->home)
        f->is_here = true;
    route_arrive(f->route, roster_router(f->roster, worker), REASON_NONE);
}

static void end_route(struct ferry *f, bool in_order, enum reason why)
{
    struct route *r = TAKE(f->route);

    if (!r)
        return;
    if (in_order)
        route_release(r);
    else
        route_abandon(r, why);
    ferry_unref(f);
}

static void open_parcel(struct parcel *p)
{
    struct ferry *f = p->ferry;
    struct span bytes = span_of(p->bytes, p->n);

    if (p->kind == ARRIVE)
        arrive(f, p->to);
    else if (p->kind >= OPENED)
        hear(f, p, bytes);
    else if (!is_at(f, p->to))
        (void)!post_to_route(f, p, bytes);      /* it has gone on meanwhile */
    else if (p->kind == SEND && f->route)
        (void)!route_send_datagram(f->route, bytes);
    else if (p->kind != SEND)
        end_route(f, p->kind == RELEASE, p->why);
}

/* --- for home ------------------------------------------------------------------------------------ */

enum reason ferry_open(const struct ferry_config *config, const struct route_request *request,
                       struct ferry **ret_ferry)
{
    struct ferry *f = calloc(1, sizeof(*f));
    enum reason why;

    if (!f)
        return REASON_OVERLOAD;
    f->config = *config;
    f->roster = router_holders(config->router)->roster;
    f->home = f->at = router_holders(config->router)->worker;
    f->is_here = true;
    atomic_init(&f->refs, 2);
    pthread_mutex_init(&f->lock, NULL);
    why = route_open(config->router, request, &handlers, f, &f->route);
    if (why == REASON_NONE) {
        *ret_ferry = f;
        return why;
    }
    ferry_unref(f);
    ferry_unref(f);
    return why;
}

bool ferry_send(struct ferry *f, struct span bytes)
{
    const struct parcel p = { .kind = SEND }, over = { .kind = OVER };

    if (f->is_here)
        return route_send_datagram(f->route, bytes);
    if (atomic_load(&f->is_over)) {
        hear(f, &over, SPAN_NONE);
        return false;
    }
    if (post_to_route(f, &p, bytes))
        return true;
    drop(f);
    return false;
}

static void end(struct ferry *f, const struct parcel *p)
{
    f->is_let_go = true;
    if (f->is_here)
        end_route(f, p->kind == RELEASE, p->why);
    else
        (void)!post_to_route(f, p, SPAN_NONE);  /* without memory its silence ends it */
    ferry_unref(f);
}

void ferry_release(struct ferry *f)
{
    end(f, &(struct parcel){ .kind = RELEASE });
}

void ferry_abandon(struct ferry *f, enum reason why)
{
    end(f, &(struct parcel){ .kind = ABANDON, .why = why });
}
