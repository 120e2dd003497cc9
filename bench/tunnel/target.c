/*
 * target - the service that bench/tunnel/run.py reaches through tunnels.  One epoll thread.
 *
 *   target PORT        on 127.0.0.1
 *
 * The first byte of a connection says what it is for:
 *   E  echoes what follows      S  sends without end      D  drops what follows, and counts it
 *   C  answers the count of D in 8 bytes (host order) and closes
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BLOCK (128 * 1024)
#define EVENTS 256
#define READS_A_TURN 4

struct client {
    int fd;
    char use;                   /* 0: not said yet */
    char *kept;                 /* an echo that the socket did not take */
    size_t kept_at, kept_len;
};

static int poller;
static char block[BLOCK];
static uint64_t dropped;

static void watch(struct client *c, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = c };

    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

static void client_free(struct client *c)
{
    close(c->fd);
    free(c->kept);
    free(c);
}

static bool keep(struct client *c, const char *p, size_t n)
{
    c->kept = malloc(n);
    if (!c->kept)
        return false;
    memcpy(c->kept, p, n);
    c->kept_at = 0;
    c->kept_len = n;
    watch(c, EPOLLOUT);
    return true;
}

static bool echo(struct client *c, const char *p, size_t n)
{
    ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN)
        return false;
    if (sent < 0)
        sent = 0;
    return (size_t)sent == n || keep(c, p + sent, n - (size_t)sent);
}

static bool send_kept(struct client *c)
{
    ssize_t n = send(c->fd, c->kept + c->kept_at, c->kept_len - c->kept_at, MSG_NOSIGNAL);

    if (n < 0)
        return errno == EAGAIN;
    c->kept_at += (size_t)n;
    if (c->kept_at < c->kept_len)
        return true;
    free(c->kept);
    c->kept = NULL;
    watch(c, EPOLLIN);
    return true;
}

static bool send_block(struct client *c)
{
    ssize_t n = send(c->fd, block, sizeof(block), MSG_NOSIGNAL);

    return n >= 0 || errno == EAGAIN;
}

/* False: the connection is over. */
static bool use(struct client *c, const char *p, size_t n)
{
    if (!c->use && n) {
        c->use = *p++;
        n--;
        if (c->use == 'S')
            watch(c, EPOLLOUT);
        if (c->use == 'C')
            return send(c->fd, &dropped, sizeof(dropped), MSG_NOSIGNAL) < 0;
    }
    if (c->use == 'D')
        dropped += n;
    return c->use != 'E' || !n || echo(c, p, n);
}

static bool receive(struct client *c)
{
    static char in[BLOCK];

    for (int i = 0; i < READS_A_TURN && !c->kept; i++) {
        ssize_t n = recv(c->fd, in, sizeof(in), 0);

        if (n < 0)
            return errno == EAGAIN;
        if (n == 0 || !use(c, in, (size_t)n))
            return false;
        if ((size_t)n < sizeof(in))
            return true;
    }
    return true;
}

static bool on_event(struct client *c)
{
    if (c->kept)
        return send_kept(c);
    return c->use == 'S' ? send_block(c) : receive(c);
}

static void take_clients(int listener)
{
    int fd, one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct client *c = calloc(1, sizeof(*c));
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };

        if (!c) {
            close(fd);
            continue;
        }
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
}

static int open_listener(const char *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in at = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 4096)) {
        perror("target");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    struct epoll_event events[EVENTS], e = { .events = EPOLLIN };
    int listener;

    if (argc != 2)
        return 2;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)(i * 31 + (i >> 8));
    poller = epoll_create1(0);
    listener = open_listener(argv[1]);
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(poller, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;

            if (!c)
                take_clients(listener);
            else if (!on_event(c))
                client_free(c);
        }
    }
}
