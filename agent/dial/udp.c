#include "agent/dial/udp.h"
#include "agent/dial/race.h"
#include "lib/net/socket.h"
#include <errno.h>
#include <unistd.h>

struct udp {
    struct loop *loop;
    struct mux_stream *stream;
    struct watch *watch;            /* NULL: over */
    int fd;
    struct loop_timer idle;
    uint64_t active_ms;
    uint32_t idle_ms;
    struct udp_stats *stats;
};

int udp_connect(const struct endpoint *to, int *ret_fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sockaddr_from_endpoint(to, &sa);
    int fd;

    if (to->kind != ENDPOINT_IP)
        return -EAFNOSUPPORT;
    fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&sa, len)) {
        int error = errno;

        close(fd);
        return -error;
    }
    *ret_fd = fd;
    return 0;
}

static void stop(struct udp *u)
{
    timer_stop(&u->idle);
    if (u->watch)
        watch_free(TAKE(u->watch));
    if (u->fd >= 0)
        close(TAKE_FD(u->fd));
}

void udp_cut(struct udp *u, enum reason why, struct span text)
{
    stop(u);
    mux_stream_reset(u->stream, why, text, true);
}

static void on_idle(void *arg)
{
    struct udp *u = arg;
    uint64_t quiet_ms = loop_now_ms(u->loop) - u->active_ms;

    if (quiet_ms >= u->idle_ms)
        udp_cut(u, REASON_IDLE_TIMEOUT, SPAN_NONE);
    else
        timer_start(u->loop, &u->idle, u->idle_ms - quiet_ms, on_idle, u);
}

/* What the kernel says of one datagram or of the target; false: the stream is over. */
static bool survives(struct udp *u, int error)
{
    switch (error) {
    case EMSGSIZE:
    case ENOBUFS:
    case EAGAIN:
        u->stats->dropped++;
        return true;
    case EINTR:
        return true;
    default:
        udp_cut(u, race_reason(error), SPAN("the network said so of the target"));
        return false;
    }
}

/* --- from the target ---------------------------------------------------------------------- */

static void pass_on(struct udp *u, const unsigned char *bytes, size_t n)
{
    u->active_ms = loop_now_ms(u->loop);
    u->stats->received++;
    if (n > MUX_DATAGRAM_MAX)
        u->stats->dropped++;
    else
        (void)!mux_stream_send_datagram(u->stream, span_of(bytes, n));  /* counts what it drops */
}

static void on_socket(void *arg, unsigned events)
{
    struct udp *u = arg;
    unsigned char bytes[MUX_DATAGRAM_MAX + 1];     /* one more: a longer one shows itself */

    (void)events;
    for (int i = 0; i < UDP_TURN && u->watch; i++) {
        ssize_t n = recv(u->fd, bytes, sizeof(bytes), 0);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n >= 0)
            pass_on(u, bytes, (size_t)n);
        else
            survives(u, errno);
    }
}

int udp_start(struct loop *l, int fd, struct mux_stream *stream, uint32_t idle_ms,
              struct udp_stats *stats, struct udp **ret_udp)
{
    AUTO(udp_freep) struct udp *u = calloc(1, sizeof(*u));
    int r;

    if (!u) {
        close(fd);
        return -ENOMEM;
    }
    u->fd = fd;
    u->loop = l;
    u->stream = stream;
    u->idle_ms = idle_ms;
    u->stats = stats;
    u->active_ms = loop_now_ms(l);
    r = watch_new(l, fd, on_socket, u, &u->watch);
    if (r)
        return r;
    r = watch_set(u->watch, WATCH_READ);
    if (r)
        return r;
    if (idle_ms)
        timer_start(l, &u->idle, idle_ms, on_idle, u);
    *ret_udp = TAKE(u);
    return 0;
}

void udp_free(struct udp *u)
{
    stop(u);
    free(u);
}

/* --- from the entry ------------------------------------------------------------------------- */

void udp_on_datagram(struct udp *u, struct span bytes)
{
    if (!u->watch)
        return;
    u->active_ms = loop_now_ms(u->loop);
    if (send(u->fd, bytes.p, bytes.n, MSG_NOSIGNAL) < 0)
        survives(u, errno);
    else
        u->stats->sent++;
}

void udp_on_readable(struct udp *u)
{
    if (!u->watch || !mux_stream_at_fin(u->stream))
        return;
    stop(u);
    mux_stream_fin(u->stream);
}
