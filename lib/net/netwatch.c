#include "lib/net/netwatch.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READS_PER_TURN 16

struct netwatch {
    struct loop *loop;
    struct watch *watch;
    int fd;
    struct loop_timer timer;
    uint64_t told_ms;           /* 0: never */
    void (*fn)(void *arg);
    void *arg;
};

static void on_rested(void *arg)
{
    struct netwatch *n = arg;

    n->told_ms = loop_now_ms(n->loop);
    n->fn(n->arg);
}

static void note_change(struct netwatch *n)
{
    uint64_t now_ms = loop_now_ms(n->loop), after_ms = NETWATCH_REST_MS;

    if (timer_is_on(&n->timer))
        return;
    if (n->told_ms && now_ms - n->told_ms < NETWATCH_GAP_MS)
        after_ms += NETWATCH_GAP_MS - (now_ms - n->told_ms);
    timer_start(n->loop, &n->timer, after_ms, on_rested, n);
}

/* What is said is not read: whoever is told looks for himself.  So a message that was lost (ENOBUFS)
 * is as good as one that came. */
static void on_readable(void *arg, unsigned events)
{
    struct netwatch *n = arg;
    char bytes[8192];

    (void)events;
    for (int i = 0; i < READS_PER_TURN; i++) {
        if (recv(n->fd, bytes, sizeof(bytes), MSG_DONTWAIT) < 0 && errno != ENOBUFS)
            break;
    }
    note_change(n);
}

static int open_socket(void)
{
    const struct sockaddr_nl at = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
                     RTMGRP_IPV6_ROUTE,
    };
    AUTO(fd_closep) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)))
        return -errno;
    return TAKE_FD(fd);
}

int netwatch_new(struct loop *l, void (*fn)(void *arg), void *arg, struct netwatch **ret_watch)
{
    struct netwatch *n = calloc(1, sizeof(*n));
    int r;

    if (!n)
        return -ENOMEM;
    n->loop = l;
    n->fn = fn;
    n->arg = arg;
    n->fd = open_socket();
    r = n->fd < 0 ? n->fd : watch_new(l, n->fd, on_readable, n, &n->watch);
    if (r) {
        netwatch_free(n);
        return r;
    }
    r = watch_set(n->watch, WATCH_READ);
    if (r) {
        netwatch_free(n);
        return r;
    }
    *ret_watch = n;
    return 0;
}

void netwatch_free(struct netwatch *n)
{
    timer_stop(&n->timer);
    watch_free(n->watch);
    if (n->fd >= 0)
        close(n->fd);
    free(n);
}
