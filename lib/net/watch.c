#include "lib/net/loop_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/*
 * Watches live in an epoll set of our own, which libuv polls as one descriptor: uv_poll asks
 * the kernel five times to add a descriptor and twice for each change of mind.  Here taking
 * interest away asks nothing; the event that comes though nobody wants it does.
 */
#define EVENTS_A_TURN 128

struct watch {
    struct loop *loop;
    struct loop_reap reap;
    void (*fn)(void *arg, unsigned events);
    void *arg;
    int fd;
    uint8_t wanted, armed;      /* armed: what the kernel was told last; 0: not in the set */
    bool is_freed;
};

/* What is taken away, the kernel refuses only where it has not got it, or by an accident that passes. */
#define DEL_TRIES 3

static int tell_kernel(struct watch *w, int op, unsigned events)
{
    struct epoll_event e = {
        .events = (events & WATCH_READ ? EPOLLIN : 0) | (events & WATCH_WRITE ? EPOLLOUT : 0),
        .data.ptr = w,
    };

    for (int i = 0; i < (op == EPOLL_CTL_DEL ? DEL_TRIES : 1); i++) {
        if (epoll_ctl(w->loop->poller, op, w->fd, &e) == 0)
            return 0;
    }
    return -errno;
}

/* Refused: what was armed stays so. */
static int arm(struct watch *w, unsigned events)
{
    int op = !events ? EPOLL_CTL_DEL : w->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int r = tell_kernel(w, op, events);

    if (op == EPOLL_CTL_DEL && (r == -ENOENT || r == -EBADF))
        r = 0;
    if (!r)
        w->armed = (uint8_t)events;
    return r;
}

static void on_event(struct watch *w, uint32_t events)
{
    unsigned seen = (events & EPOLLIN ? WATCH_READ : 0) | (events & EPOLLOUT ? WATCH_WRITE : 0);

    /* Whoever reads or writes next will learn what is wrong. */
    if (events & (EPOLLERR | EPOLLHUP))
        seen |= w->wanted;
    if (w->armed & ~w->wanted && (seen & ~w->wanted || !w->wanted))
        (void)arm(w, w->wanted);        /* refused: it is seen again */
    if (seen & w->wanted)
        w->fn(w->arg, (seen & w->wanted) | (events & (EPOLLERR | EPOLLHUP) ? WATCH_FAULT : 0));
}

static void on_reap(struct loop_reap *reap)
{
    free(container_of(reap, struct watch, reap));
}

/* As long as the kernel has its address it stays. */
static void forget(struct watch *w)
{
    if (!w->armed || !arm(w, 0))
        loop_reap(w->loop, &w->reap, on_reap);
}

static void on_poller(uv_poll_t *handle, int status, int what)
{
    struct loop *l = handle->data;
    struct epoll_event events[EVENTS_A_TURN];
    int n = epoll_wait(l->poller, events, EVENTS_A_TURN, 0);

    (void)status, (void)what;
    for (int i = 0; i < n; i++) {
        struct watch *w = events[i].data.ptr;

        if (!w->is_freed)       /* by a handler of this turn: it is reaped at its end */
            on_event(w, events[i].events);
        else if (w->armed)
            forget(w);
    }
}

int loop_poller_init(struct loop *l)
{
    int r;

    l->poller = epoll_create1(EPOLL_CLOEXEC);
    if (l->poller < 0)
        return -errno;
    r = uv_poll_init(&l->uv, &l->poll, l->poller);
    if (r) {
        close(l->poller);
        return r;
    }
    l->poll.data = l;
    return uv_poll_start(&l->poll, UV_READABLE, on_poller);
}

static void on_poller_closed(uv_handle_t *handle)
{
    struct loop *l = handle->data;

    close(l->poller);
}

void loop_poller_deinit(struct loop *l)
{
    uv_close((uv_handle_t *)&l->poll, on_poller_closed);
}

int watch_new(struct loop *l, int fd, void (*fn)(void *arg, unsigned events), void *arg,
              struct watch **ret_watch)
{
    struct watch *w = calloc(1, sizeof(*w));

    if (!w)
        return -ENOMEM;
    w->loop = l;
    w->fd = fd;
    w->fn = fn;
    w->arg = arg;
    *ret_watch = w;
    return 0;
}

int watch_set(struct watch *w, unsigned events)
{
    w->wanted = (uint8_t)events;
    return events & ~(unsigned)w->armed ? arm(w, events) : 0;
}

/* No event of this turn is under way any more, and the kernel gives none from here on. */
void watch_detach(struct watch *w)
{
    if (w->armed)
        (void)arm(w, 0);
    w->wanted = 0;
    w->loop = NULL;
}

void watch_attach(struct watch *w, struct loop *l)
{
    w->loop = l;
}

void watch_settle(struct watch *w)
{
    if (w->armed & ~w->wanted)
        (void)arm(w, w->wanted);
}

void watch_free(struct watch *w)
{
    if (!w || w->is_freed)
        return;
    w->is_freed = true;
    forget(w);
}
