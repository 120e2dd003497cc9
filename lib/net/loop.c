#include "lib/net/loop_internal.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

static void run_deferred(struct loop *l)
{
    struct list batch;

    if (list_is_empty(&l->deferred))
        return;
    list_insert_before(&l->deferred, &batch);
    list_remove(&l->deferred);
    while (!list_is_empty(&batch)) {
        struct loop_task *t = container_of(list_first(&batch), struct loop_task, node);

        list_remove(&t->node);
        t->fn(t->arg);
    }
}

static void run_reaped(struct loop *l)
{
    while (l->reaped) {
        struct loop_reap *r = l->reaped;

        l->reaped = r->next;
        r->free_fn(r);
    }
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle;               /* it is there so that the loop does not sleep */
}

static void on_turn_end(uv_prepare_t *handle)
{
    struct loop *l = handle->data;
    bool has_more;

    run_deferred(l);
    run_reaped(l);
    /* Timers, deferred and reaped may have brought what loop_run_until() waits for: no sleep then. */
    has_more = !list_is_empty(&l->deferred) || (l->is_done && (l->is_late || l->is_done(l->is_done_arg)));
    if (has_more != l->is_idle_on) {
        l->is_idle_on = has_more;
        has_more ? uv_idle_start(&l->idle, on_idle) : uv_idle_stop(&l->idle);
    }
    loop_timers_arm(l);
}

static void run_posts(struct loop *l)
{
    struct loop_items batch;

    pthread_mutex_lock(&l->lock);
    batch = l->posted;
    l->posted = l->running;
    l->posted.count = 0;
    l->running = (struct loop_items){ 0 };
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < batch.count; i++)
        batch.items[i].fn(batch.items[i].arg);
    free(l->running.items);
    l->running = batch;
}

static void on_async(uv_async_t *handle)
{
    struct loop *l = handle->data;

    run_posts(l);
    if (atomic_load(&l->is_stopping))
        uv_stop(&l->uv);
}

static int grow(struct loop_items *v)
{
    size_t room = v->room ? v->room * 2 : 64;
    struct loop_item *items;

    if (v->room >= LOOP_POSTS_MAX)
        return -EAGAIN;
    items = reallocarray(v->items, room, sizeof(*items));
    if (!items)
        return -ENOMEM;
    v->items = items;
    v->room = room;
    return 0;
}

int loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    int r = 0;

    pthread_mutex_lock(&l->lock);
    if (l->posted.count == l->posted.room)
        r = grow(&l->posted);
    if (!r)
        l->posted.items[l->posted.count++] = (struct loop_item){ fn, arg };
    pthread_mutex_unlock(&l->lock);
    if (!r)
        uv_async_send(&l->async);
    return r;
}

static int init_handles(struct loop *l)
{
    int r = uv_async_init(&l->uv, &l->async, on_async);

    if (r)
        return r;
    uv_prepare_init(&l->uv, &l->prepare);
    uv_idle_init(&l->uv, &l->idle);
    uv_timer_init(&l->uv, &l->timer);
    l->prepare.data = l->idle.data = l->timer.data = l->async.data = l;
    uv_prepare_start(&l->prepare, on_turn_end);
    return 0;
}

int loop_new(struct loop **ret_loop)
{
    AUTO(freep) struct loop *l = calloc(1, sizeof(*l));
    int r;

    if (!l)
        return -ENOMEM;
    /* A peer that is gone is an error of the write, not a signal. */
    signal(SIGPIPE, SIG_IGN);
    r = uv_loop_init(&l->uv);
    if (r)
        return r;
    r = loop_poller_init(l);
    if (!r && (r = init_handles(l)))
        loop_poller_deinit(l);
    if (r) {
        uv_run(&l->uv, UV_RUN_NOWAIT);
        uv_loop_close(&l->uv);
        return r;
    }
    list_init(&l->deferred);
    list_init(&l->signals);
    list_init(&l->background);
    list_init(&l->ends);
    pthread_mutex_init(&l->lock, NULL);
    *ret_loop = TAKE(l);
    return 0;
}

void loop_own(struct loop *l, struct loop_owned *o, void (*end)(struct loop_owned *o))
{
    o->end = end;
    list_append(&l->background, &o->node);
}

static void end_background(struct loop *l)
{
    while (!list_is_empty(&l->background)) {
        struct loop_owned *o = container_of(list_first(&l->background), struct loop_owned, node);

        list_remove(&o->node);
        o->end(o);
    }
}

void loop_at_end(struct loop *l, struct loop_end *e, void (*fn)(struct loop_end *e))
{
    e->fn = fn;
    list_append(&l->ends, &e->node);
}

static void run_ends(struct loop *l)
{
    while (!list_is_empty(&l->ends)) {
        struct loop_end *e = container_of(list_first(&l->ends), struct loop_end, node);

        list_remove(&e->node);
        e->fn(e);
    }
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    end_background(l);
    run_reaped(l);
    loop_signals_close(l);
    uv_close((uv_handle_t *)&l->async, NULL);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->idle, NULL);
    uv_close((uv_handle_t *)&l->timer, NULL);
    loop_poller_deinit(l);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    run_reaped(l);
    run_ends(l);
    uv_loop_close(&l->uv);
    pthread_mutex_destroy(&l->lock);
    free(l->posted.items);
    free(l->running.items);
    free(l->scratch);
    free(l);
}

void loop_run(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_DEFAULT);
    atomic_store(&l->is_stopping, false);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->is_stopping, true);
    uv_async_send(&l->async);
}

static void on_time_is_up(void *arg)
{
    *(bool *)arg = true;
}

bool loop_run_until(struct loop *l, bool (*is_done)(void *arg), void *arg, uint32_t timeout_ms)
{
    struct loop_timer timer = { 0 };
    bool is_over;

    uv_update_time(&l->uv);
    timer_start(l, &timer, timeout_ms, on_time_is_up, &l->is_late);
    l->is_done = is_done;
    l->is_done_arg = arg;
    l->is_late = false;
    while (!(is_over = is_done(arg)) && !l->is_late)
        uv_run(&l->uv, UV_RUN_ONCE);
    l->is_done = NULL;
    timer_stop(&timer);
    return is_over;
}

uint64_t loop_now_ms(const struct loop *l)
{
    return uv_now(&l->uv);
}

uint64_t mono_ms(void)
{
    return uv_hrtime() / 1000000;
}

uint64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void *loop_uv(struct loop *l)
{
    return &l->uv;
}

unsigned char *loop_scratch(struct loop *l)
{
    if (!l->scratch)
        l->scratch = malloc(LOOP_SCRATCH_BYTES);
    return l->scratch;
}

bool loop_defer_is_on(const struct loop_task *t)
{
    return t->node.next && !list_is_empty(&t->node);
}

void loop_defer(struct loop *l, struct loop_task *t, void (*fn)(void *arg), void *arg)
{
    if (loop_defer_is_on(t))
        return;
    t->fn = fn;
    t->arg = arg;
    list_append(&l->deferred, &t->node);
}

void loop_defer_cancel(struct loop_task *t)
{
    if (t->node.next)
        list_remove(&t->node);
}

void loop_reap(struct loop *l, struct loop_reap *r, void (*free_fn)(struct loop_reap *r))
{
    r->free_fn = free_fn;
    r->next = l->reaped;
    l->reaped = r;
}
