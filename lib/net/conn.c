#include "lib/net/conn_internal.h"
#include "lib/net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define READY_MS 10000
#define FLUSH_MS 5000
#define LINGER_MS 1000

static void on_event(void *arg, unsigned events);
static void on_held(void *arg);
static void on_begin(void *arg);

/* The kernel will not tell of the socket: its owner hears so, in a turn of its own. */
static void cannot_wait(struct conn *c, int error)
{
    c->error = error;
    if (c->state == CONN_CONNECTING || c->state == CONN_HANDSHAKE)
        loop_defer(c->loop, &c->task, on_begin, c);
    else if (c->state == CONN_READY)
        loop_defer(c->loop, &c->task, on_held, c);
    /* Else it is closing, and a timer ends that. */
}

/* What the socket has to tell us of, by state. */
static void update(struct conn *c)
{
    unsigned events = 0;
    int r;

    switch (c->state) {
    case CONN_CONNECTING:
        events = WATCH_WRITE;
        break;
    case CONN_HANDSHAKE:
        events = WATCH_READ | (c->kept_len ? WATCH_WRITE : 0);
        break;
    case CONN_READY:
        events = (c->wanted & CONN_READ ? WATCH_READ : 0) |
                 (c->wanted & CONN_WRITE || c->kept_len ? WATCH_WRITE : 0);
        if ((c->ssl && !c->is_drained && c->wanted & CONN_READ) || (c->error && c->wanted))
            loop_defer(c->loop, &c->task, on_held, c);
        break;
    case CONN_FLUSHING:
        events = WATCH_WRITE;
        break;
    case CONN_LINGERING:
        events = WATCH_READ;
        break;
    case CONN_FAILED:
        break;
    case CONN_DEAD:
        return;
    }
    r = watch_set(c->watch, events);
    if (r)
        cannot_wait(c, r);
    if (c->has_ended)
        watch_settle(c->watch);
}

static void on_reap(struct loop_reap *reap)
{
    struct conn *c = container_of(reap, struct conn, reap);

    free(c->peer);
    free(c);
}

/* The end of a connection; its memory stays until the turn is over. */
static void dispose(struct conn *c)
{
    c->state = CONN_DEAD;
    timer_stop(&c->timer);
    loop_defer_cancel(&c->task);
    if (c->owned.end)
        list_remove(&c->owned.node);
    watch_free(c->watch);
    conn_tls_deinit(c);
    free(TAKE(c->kept));
    if (c->fd >= 0)
        close(c->fd);
    loop_reap(c->loop, &c->reap, on_reap);
}

static void fail(struct conn *c, int error)
{
    c->state = CONN_FAILED;
    c->error = error;
    timer_stop(&c->timer);
    update(c);
    if (c->handlers->on_failed)
        c->handlers->on_failed(c->user, error);
}

static void become_ready(struct conn *c)
{
    c->state = CONN_READY;
    timer_stop(&c->timer);
    update(c);
    if (c->handlers->on_ready)
        c->handlers->on_ready(c->user);
}

static void shake_hands(struct conn *c)
{
    int r = conn_flush_kept(c);

    if (!r)
        r = conn_tls_handshake(c);
    if (!r)
        become_ready(c);
    else if (r == -EAGAIN)
        update(c);
    else
        fail(c, r);
}

static int connect_error(const struct conn *c)
{
    int error = 0;
    socklen_t len = sizeof(error);

    return getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) ? -errno : -error;
}

static void on_connected(struct conn *c, bool may_have_failed)
{
    int error = may_have_failed ? connect_error(c) : 0;

    if (error) {
        fail(c, error);
        return;
    }
    if (c->is_abortive && !c->is_accepted)
        socket_set_abortive(c->fd, true);
    if (!c->ssl) {
        become_ready(c);
        return;
    }
    c->state = CONN_HANDSHAKE;
    shake_hands(c);
}

static void on_closing_late(void *arg)
{
    dispose(arg);
}

static void on_loop_ends(struct loop_owned *o)
{
    dispose(container_of(o, struct conn, owned));
}

static void drop_input(struct conn *c)
{
    char sink[4096];
    ssize_t n;

    do
        n = recv(c->fd, sink, sizeof(sink), 0);
    while (n > 0);
    if (n == 0 || errno != EAGAIN)
        dispose(c);
}

static void go_on_closing(struct conn *c)
{
    int r = conn_flush_kept(c);

    if (r == -EAGAIN)
        return;
    if (r) {
        dispose(c);
        return;
    }
    conn_finish_write(c);
    c->state = CONN_LINGERING;
    timer_start(c->loop, &c->timer, LINGER_MS, on_closing_late, c);
    update(c);
    drop_input(c);
}

static void on_io(struct conn *c, unsigned events)
{
    if (c->kept_len && events & WATCH_WRITE) {
        int r = conn_flush_kept(c);

        if (r && r != -EAGAIN)
            c->error = r;       /* the owner learns it from its next read or write */
        if (!r && c->is_fin_wanted)
            conn_finish_write(c);
    }
    if (c->wanted & CONN_READ && (events & WATCH_READ || c->error) && c->handlers->on_readable)
        c->handlers->on_readable(c->user);
    if (c->state == CONN_READY && c->wanted & CONN_WRITE && (!c->kept_len || c->error) &&
        events & WATCH_WRITE && c->handlers->on_writable)
        c->handlers->on_writable(c->user);
    update(c);
}

static void on_event(void *arg, unsigned events)
{
    struct conn *c = arg;

    switch (c->state) {
    case CONN_CONNECTING:
        on_connected(c, events & WATCH_FAULT);
        return;
    case CONN_HANDSHAKE:
        shake_hands(c);
        return;
    case CONN_READY:
        on_io(c, events);
        return;
    case CONN_FLUSHING:
        go_on_closing(c);
        return;
    case CONN_LINGERING:
        drop_input(c);
        return;
    case CONN_FAILED:
    case CONN_DEAD:
        return;
    }
}

/* The socket will not say it: TLS holds input, or an error is still to be told. */
static void on_held(void *arg)
{
    struct conn *c = arg;

    if (c->state == CONN_READY)
        on_io(c, WATCH_READ | (c->error ? WATCH_WRITE : 0));
}

static void on_late(void *arg)
{
    fail(arg, -ETIMEDOUT);
}

/* The first deferred step: an adopted plain connection, or a dial that failed at once. */
static void on_begin(void *arg)
{
    struct conn *c = arg;

    if (c->error)
        fail(c, c->error);
    else
        on_connected(c, !c->is_accepted);
}

static int make(struct loop *l, int fd, const struct conn_options *options,
                const struct conn_handlers *handlers, void *user, struct conn **ret_conn)
{
    AUTO(fd_closep) int owned = fd;
    AUTO(conn_freep) struct conn *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    c->loop = l;
    c->handlers = handlers;
    c->user = user;
    c->is_accepted = options->is_accepted;
    c->is_abortive = options->is_abortive;
    c->fd = TAKE_FD(owned);
    r = watch_new(l, c->fd, on_event, c, &c->watch);
    if (!r && options->tls)
        r = conn_tls_init(c, options->tls, options->server_name);
    if (r)
        return r;
    timer_start(l, &c->timer, options->ready_ms ? options->ready_ms : READY_MS, on_late, c);
    *ret_conn = TAKE(c);
    return 0;
}

int conn_adopt(struct loop *l, int fd, const struct conn_options *options,
               const struct conn_handlers *handlers, void *user, struct conn **ret_conn)
{
    struct conn *c;
    int r;

    if (!options->is_accepted)
        socket_tune(fd);
    r = make(l, fd, options, handlers, user, &c);
    if (r)
        return r;
    loop_defer(l, &c->task, on_begin, c);
    *ret_conn = c;
    return 0;
}

int conn_dial(struct loop *l, const struct endpoint *to, const struct conn_options *options,
              const struct conn_handlers *handlers, void *user, struct conn **ret_conn)
{
    struct sockaddr_storage sa;
    socklen_t len = sockaddr_from_endpoint(to, &sa);
    struct conn *c;
    int fd, r;

    if (!len)
        return -EINVAL;
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    socket_set_options(fd);
    r = make(l, fd, options, handlers, user, &c);
    if (r)
        return r;
    if (connect(fd, (struct sockaddr *)&sa, len) && errno != EINPROGRESS) {
        c->error = -errno;
        loop_defer(l, &c->task, on_begin, c);
    }
    update(c);
    *ret_conn = c;
    return 0;
}

void conn_set_handlers(struct conn *c, const struct conn_handlers *handlers, void *user)
{
    c->handlers = handlers;
    c->user = user;
}

void conn_want(struct conn *c, unsigned events)
{
    c->wanted = events;
    update(c);
}

unsigned conn_wanted(const struct conn *c)
{
    return c->wanted;
}

void conn_shutdown_write(struct conn *c)
{
    if (c->is_fin_wanted || c->state != CONN_READY)
        return;
    c->is_fin_wanted = true;
    if (c->ssl)
        conn_tls_close_notify(c);
    conn_finish_write(c);
    update(c);
}

void conn_close(struct conn *c)
{
    static const struct conn_handlers nobody = { 0 };
    char byte;

    if (c->state != CONN_READY || c->error) {
        conn_free(c);
        return;
    }
    conn_shutdown_write(c);
    c->handlers = &nobody;
    c->wanted = 0;
    loop_defer_cancel(&c->task);
    if (c->is_abortive)
        socket_set_abortive(c->fd, false);
    /* Closing over input that nobody read would send an RST, and take away what we wrote. */
    if (c->is_fin_sent && (c->has_ended || recv(c->fd, &byte, 1, MSG_PEEK) == 0)) {
        dispose(c);
        return;
    }
    c->state = CONN_FLUSHING;
    timer_start(c->loop, &c->timer, FLUSH_MS, on_closing_late, c);
    loop_own(c->loop, &c->owned, on_loop_ends);
    update(c);
}

void conn_reset(struct conn *c)
{
    socket_set_abortive(c->fd, true);
    conn_free(c);
}

void conn_free(struct conn *c)
{
    if (c && c->state != CONN_DEAD)
        dispose(c);
}

bool conn_is_ready(const struct conn *c)
{
    return c->state == CONN_READY;
}

int conn_fd(const struct conn *c)
{
    return c->fd;
}

struct loop *conn_loop(const struct conn *c)
{
    return c->loop;
}

struct endpoint conn_peer(const struct conn *c)
{
    return socket_peer(c->fd);
}

struct endpoint conn_local(const struct conn *c)
{
    return socket_local(c->fd);
}

const struct identity *conn_tls_peer(const struct conn *c)
{
    return c->has_peer ? c->peer : NULL;
}

enum reason conn_refusal(const struct conn *c)
{
    return c->refusal;
}

enum reason conn_why(const struct conn *c, const char *doing, int error, char *ret_text, size_t room)
{
    const char *what = error ? strerrordesc_np(-error) : "the other side closed";

    snprintf(ret_text, room, "%s: %s", doing, c->refusal ? reason_what(c->refusal) : what);
    return c->refusal ? c->refusal : REASON_SESSION_LOST;
}

/* What TLS holds of input is looked at again by attach(): is_drained says so. */
void conn_detach(struct conn *c)
{
    timer_stop(&c->timer);
    loop_defer_cancel(&c->task);
    watch_detach(c->watch);
    c->loop = NULL;
}

void conn_attach(struct conn *c, struct loop *l)
{
    c->loop = l;
    watch_attach(c->watch, l);
    update(c);
}

int conn_release_fd(struct conn *c)
{
    int fd;

    if (c->ssl)
        return -1;
    /* It must be out of this loop's set before another thread polls it. */
    watch_free(TAKE(c->watch));
    fd = TAKE_FD(c->fd);
    dispose(c);
    return fd;
}
