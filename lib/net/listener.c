#include "lib/net/listener.h"
#include "lib/net/listener_owner.h"
#include "lib/net/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

#define PAUSE_MS 100
#define NEW_MS 1000

struct listener {
    struct loop *loop;
    struct listener_config config;
    struct endpoint at;
    struct watch *watch;
    struct loop_timer timer;    /* on while accepting pauses */
    struct loop_reap reap;
    struct listener_stats stats;
    uint64_t paused_ms;         /* 0: never */
    int fd;
    bool is_freed;
};

static void on_pause_over(void *arg)
{
    struct listener *s = arg;

    if (watch_set(s->watch, WATCH_READ))
        timer_start(s->loop, &s->timer, PAUSE_MS, on_pause_over, s);
}

static void pause_accepting(struct listener *s, int error)
{
    uint64_t now_ms = loop_now_ms(s->loop);
    bool is_new = !s->paused_ms || now_ms - s->paused_ms > NEW_MS;

    s->stats.paused++;
    s->paused_ms = now_ms;
    watch_set(s->watch, 0);
    timer_start(s->loop, &s->timer, PAUSE_MS, on_pause_over, s);
    if (s->config.on_paused)
        s->config.on_paused(s->config.user, &s->at, error, is_new);
}

/* False: no more in this turn. */
static bool accept_failed(struct listener *s, int error)
{
    switch (error) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        pause_accepting(s, error);
        return false;
    default:                    /* the connection was gone before it was accepted */
        s->stats.errors++;
        return true;
    }
}

static void on_listening(void *arg, unsigned events)
{
    struct listener *s = arg;
    uint32_t left = s->config.turn_max ? s->config.turn_max : 32;

    (void)events;
    while (left-- && !s->is_freed) {
        struct sockaddr_storage sa;
        socklen_t len = sizeof(sa);
        struct endpoint peer;
        int fd = accept4(s->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && !accept_failed(s, errno))
            return;
        if (fd < 0)
            continue;
        s->stats.accepted++;
        peer = endpoint_from_sockaddr(&sa, len);
        s->config.on_accept(s->config.user, fd, &peer);
    }
}

/* A Unix socket's file that nobody listens on is in the way. */
static void unlink_stale(const struct endpoint *at)
{
    struct sockaddr_storage sa;
    socklen_t len = sockaddr_from_endpoint(at, &sa);
    struct stat st;
    int fd;

    if (lstat(at->path, &st) || !S_ISSOCK(st.st_mode))
        return;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (struct sockaddr *)&sa, len) && errno == ECONNREFUSED)
        unlink(at->path);
    close(fd);
}

/* SO_REUSEPORT would let a second process of ours in beside the first, in silence: both would
 * get some of the connections.  Only this process may share. */
static int check_unshared(const struct listener_config *config, const struct sockaddr_storage *sa,
                          socklen_t len)
{
    int fd, on = 1, r;

    if (!config->is_shared || !config->at.port)
        return 0;
    fd = socket(sa->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    r = bind(fd, (const struct sockaddr *)sa, len) ? -errno : 0;
    close(fd);
    return r == -EADDRINUSE && listener_owner_is_self(&config->at) ? 0 : r;
}

static int bind_and_listen(const struct listener_config *config, int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sockaddr_from_endpoint(&config->at, &sa);
    bool is_unix = config->at.kind == ENDPOINT_UNIX;
    int on = 1;
    mode_t mask;
    int r = check_unshared(config, &sa, len);

    if (r)
        return r;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (config->is_shared && !is_unix && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)))
        return -errno;
    if (sa.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 0 }, sizeof(int));
    /* The file must not be open to others even for a moment. */
    mask = is_unix ? umask(0177) : 0;
    r = bind(fd, (struct sockaddr *)&sa, len) ? -errno : 0;
    if (is_unix)
        umask(mask);
    if (r)
        return r;
    if (is_unix && config->mode && chmod(config->at.path, config->mode))
        return -errno;
    return listen(fd, config->backlog ? config->backlog : 1024) ? -errno : 0;
}

static void explain(const struct endpoint *at, int error, struct buf *out)
{
    char text[ADDR_UNIX_MAX + 8];

    buf_printf(out, "cannot listen on %s: %s", endpoint_format(at, text, sizeof(text)),
               strerrordesc_np(-error));
    if (error == -EADDRINUSE && at->kind == ENDPOINT_IP) {
        size_t len;

        buf_put_str(out, ", held by process ");
        len = out->len;
        listener_owner_put(at, out);
        if (out->len == len)
            buf_put_str(out, "of another user");
    }
    if (error == -EACCES && at->kind == ENDPOINT_IP && at->port < 1024)
        buf_put_str(out, "; ports below 1024 need CAP_NET_BIND_SERVICE");
}

static int open_socket(const struct listener_config *config, struct buf *reterr)
{
    struct sockaddr_storage sa;
    int r, fd;

    if (!sockaddr_from_endpoint(&config->at, &sa)) {
        buf_put_str(reterr, "cannot listen on nothing: no address is given");
        return -EINVAL;
    }
    if (config->at.kind == ENDPOINT_UNIX)
        unlink_stale(&config->at);
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        socket_tune(fd);        /* what it accepts inherits it */
    if (fd >= 0 && config->is_abortive)
        socket_set_abortive(fd, true);
    r = fd < 0 ? -errno : bind_and_listen(config, fd);
    if (!r)
        return fd;
    if (fd >= 0)
        close(fd);
    explain(&config->at, r, reterr);
    return r;
}

int listener_open(struct loop *l, const struct listener_config *config,
                  struct listener **ret_listener, struct buf *reterr)
{
    AUTO(freep) struct listener *s = calloc(1, sizeof(*s));
    AUTO(fd_closep) int fd = -1;
    int r;

    if (!s)
        return -ENOMEM;
    fd = open_socket(config, reterr);
    if (fd < 0)
        return fd;
    r = watch_new(l, fd, on_listening, s, &s->watch);
    if (r)
        return r;
    r = watch_set(s->watch, WATCH_READ);
    if (r) {
        watch_free(s->watch);
        return r;
    }
    s->loop = l;
    s->config = *config;
    s->at = config->at.kind == ENDPOINT_UNIX ? config->at : socket_local(fd);
    s->fd = TAKE_FD(fd);
    *ret_listener = TAKE(s);
    return 0;
}

static void on_reap(struct loop_reap *reap)
{
    free(container_of(reap, struct listener, reap));
}

void listener_free(struct listener *s)
{
    if (!s || s->is_freed)
        return;
    s->is_freed = true;
    timer_stop(&s->timer);
    watch_free(s->watch);
    close(s->fd);
    if (s->at.kind == ENDPOINT_UNIX)
        unlink(s->at.path);
    loop_reap(s->loop, &s->reap, on_reap);
}

struct endpoint listener_endpoint(const struct listener *s)
{
    return s->at;
}

const struct listener_stats *listener_stats(const struct listener *s)
{
    return &s->stats;
}
