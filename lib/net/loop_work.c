#include "lib/net/loop_internal.h"

#include <errno.h>

struct work {
    uv_work_t uv;
    struct loop *loop;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void on_pool(uv_work_t *uv)
{
    struct work *w = uv->data;

    w->work(w->arg);
}

static void on_pool_done(uv_work_t *uv, int status)
{
    AUTO(freep) struct work *w = uv->data;

    (void)status;               /* never cancelled */
    w->loop->works--;
    w->done(w->arg);
}

int loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct work *w;
    int r;

    if (l->works >= LOOP_WORK_MAX)
        return -EAGAIN;
    w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    *w = (struct work){ .loop = l, .work = work, .done = done, .arg = arg };
    w->uv.data = w;
    r = uv_queue_work(&l->uv, &w->uv, on_pool, on_pool_done);
    if (r) {
        free(w);
        return r;
    }
    l->works++;
    return 0;
}

struct signal_watch {
    uv_signal_t uv;
    struct list node;
    void (*fn)(void *arg, int signo);
    void *arg;
};

static void on_signal(uv_signal_t *handle, int signo)
{
    struct signal_watch *s = handle->data;

    s->fn(s->arg, signo);
}

static void on_signal_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg)
{
    struct signal_watch *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    r = uv_signal_init(&l->uv, &s->uv);
    if (r) {
        free(s);
        return r;
    }
    s->uv.data = s;
    s->fn = fn;
    s->arg = arg;
    list_append(&l->signals, &s->node);
    return uv_signal_start(&s->uv, on_signal, signo);
}

void loop_signals_close(struct loop *l)
{
    LIST_EACH(&l->signals, node) {
        struct signal_watch *s = container_of(node, struct signal_watch, node);

        list_remove(&s->node);
        uv_close((uv_handle_t *)&s->uv, on_signal_closed);
    }
}
