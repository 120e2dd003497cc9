#include "lib/net/socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

/* netinet/tcp.h has an older tcp_info; this one knows the delivery rate. */
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <sys/ioctl.h>

static socklen_t from_ip(const struct endpoint *e, struct sockaddr_storage *ret_sa)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_sa;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_sa;

    if (addr_is_v4(&e->addr)) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(e->port);
        memcpy(&v4->sin_addr, e->addr.ip + 12, 4);
        return sizeof(*v4);
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(e->port);
    memcpy(&v6->sin6_addr, e->addr.ip, 16);
    return sizeof(*v6);
}

socklen_t sockaddr_from_endpoint(const struct endpoint *e, struct sockaddr_storage *ret_sa)
{
    struct sockaddr_un *un = (struct sockaddr_un *)ret_sa;

    memset(ret_sa, 0, sizeof(*ret_sa));
    if (e->kind == ENDPOINT_IP)
        return from_ip(e, ret_sa);
    if (e->kind != ENDPOINT_UNIX)
        return 0;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, e->path, strnlen(e->path, sizeof(un->sun_path) - 1));
    return sizeof(*un);
}

struct endpoint endpoint_from_sockaddr(const struct sockaddr_storage *sa, socklen_t len)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
    const struct sockaddr_un *un = (const struct sockaddr_un *)sa;
    struct endpoint e = { 0 };

    if (sa->ss_family == AF_INET) {
        const unsigned char *ip = (const unsigned char *)&v4->sin_addr;

        e.kind = ENDPOINT_IP;
        e.addr = addr_v4(ip[0], ip[1], ip[2], ip[3]);
        e.port = ntohs(v4->sin_port);
    } else if (sa->ss_family == AF_INET6) {
        e.kind = ENDPOINT_IP;
        memcpy(e.addr.ip, &v6->sin6_addr, 16);
        e.port = ntohs(v6->sin6_port);
    } else if (sa->ss_family == AF_UNIX) {
        e.kind = ENDPOINT_UNIX;
        if (len > offsetof(struct sockaddr_un, sun_path))
            memcpy(e.path, un->sun_path, strnlen(un->sun_path, sizeof(e.path) - 1));
    }
    return e;
}

struct endpoint socket_peer(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);

    if (getpeername(fd, (struct sockaddr *)&sa, &len))
        return (struct endpoint){ 0 };
    return endpoint_from_sockaddr(&sa, len);
}

struct endpoint socket_local(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);

    if (getsockname(fd, (struct sockaddr *)&sa, &len))
        return (struct endpoint){ 0 };
    return endpoint_from_sockaddr(&sa, len);
}

/* The kernel asks all that came in the same two seconds at once, and a virtual interface takes a
 * thousand packets at once (net.core.netdev_max_backlog): of thousands only some are heard each
 * time.  So it is asked often before one counts as gone, after 90 s. */
void socket_set_options(int fd)
{
    static const struct { int level, name, value; } rows[] = {
        { IPPROTO_TCP, TCP_NODELAY, 1 },
        { SOL_SOCKET, SO_KEEPALIVE, 1 },
        { IPPROTO_TCP, TCP_KEEPIDLE, 45 },
        { IPPROTO_TCP, TCP_KEEPINTVL, 3 },
        { IPPROTO_TCP, TCP_KEEPCNT, 15 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (setsockopt(fd, rows[i].level, rows[i].name, &rows[i].value, sizeof(int)))
            return;             /* a Unix socket has none of these */
}

void socket_tune(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0 && !(flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    socket_set_options(fd);
}

void socket_set_abortive(int fd, bool is_on)
{
    struct linger linger = { .l_onoff = is_on };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

size_t socket_unsent(int fd)
{
    int n = 0;

    return ioctl(fd, SIOCOUTQ, &n) || n < 0 ? 0 : (size_t)n;
}

void socket_bound_input(int fd, int bytes)
{
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

void socket_bound_output(int fd, int bytes)
{
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

bool socket_path(int fd, struct socket_path *ret_path)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
        return false;
    if (len < offsetof(struct tcp_info, tcpi_delivery_rate) + sizeof(info.tcpi_delivery_rate))
        return false;
    *ret_path = (struct socket_path){
        .lowest_rtt_us =
            info.tcpi_min_rtt && info.tcpi_min_rtt != UINT32_MAX ? info.tcpi_min_rtt : info.tcpi_rtt,
        .rtt_us = info.tcpi_rtt,
        .bytes_per_s = info.tcpi_delivery_rate,
    };
    return info.tcpi_delivery_rate != 0;
}

bool socket_source_to(const struct addr *a, struct addr *ret_source)
{
    const struct endpoint to = { .kind = ENDPOINT_IP, .addr = *a, .port = 9 };
    struct sockaddr_storage sa;
    socklen_t len = sockaddr_from_endpoint(&to, &sa);
    AUTO(fd_closep) int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, len))
        return false;
    *ret_source = socket_local(fd).addr;
    return true;
}

bool socket_has_route(const struct addr *a)
{
    struct addr source;

    return socket_source_to(a, &source);
}
