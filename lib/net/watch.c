#include "lib/net/loop_internal.h"

#include <errno.h>

struct watch {
    uv_poll_t uv;
    void (*fn)(void *arg, unsigned events);
    void *arg;
    unsigned wanted;
    bool is_freed;
};

static void on_poll(uv_poll_t *handle, int status, int events);

static void start(struct watch *w)
{
    int events =
        (w->wanted & WATCH_READ ? UV_READABLE : 0) | (w->wanted & WATCH_WRITE ? UV_WRITABLE : 0);

    if (events)
        uv_poll_start(&w->uv, events, on_poll);
    else
        uv_poll_stop(&w->uv);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct watch *w = handle->data;
    unsigned seen =
        (events & UV_READABLE ? WATCH_READ : 0) | (events & UV_WRITABLE ? WATCH_WRITE : 0);

    /* libuv stops a handle on an error; whoever reads or writes next will learn which. */
    w->fn(w->arg, status < 0 ? w->wanted : seen);
    if (status < 0 && !w->is_freed)
        start(w);
}

int watch_new(struct loop *l, int fd, void (*fn)(void *arg, unsigned events), void *arg,
              struct watch **ret_watch)
{
    AUTO(freep) struct watch *w = calloc(1, sizeof(*w));
    int r;

    if (!w)
        return -ENOMEM;
    r = uv_poll_init(&l->uv, &w->uv, fd);
    if (r)
        return r;
    w->uv.data = w;
    w->fn = fn;
    w->arg = arg;
    *ret_watch = TAKE(w);
    return 0;
}

void watch_set(struct watch *w, unsigned events)
{
    if (events == w->wanted)
        return;
    w->wanted = events;
    start(w);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void watch_free(struct watch *w)
{
    if (!w || w->is_freed)
        return;
    w->is_freed = true;
    uv_poll_stop(&w->uv);
    uv_close((uv_handle_t *)&w->uv, on_closed);
}
