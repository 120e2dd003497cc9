#include "controlplane/http/server_internal.h"
#include "lib/log/log.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* Browsers and tools may come with TLS 1.2; our own programs, who show certificates, need not. */
#define AEAD ":-RSA:-CIPHER-ALL:+AES-256-GCM:+AES-128-GCM:+CHACHA20-POLY1305"
#define PRIORITIES_PUBLIC "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2" AEAD
#define PRIORITIES_OWN "NORMAL:-VERS-ALL:+VERS-TLS1.3" AEAD
#define HEAD_MEMORY (32 * 1024)

static socklen_t socket_address(const struct endpoint *e, struct sockaddr_storage *ret_sa)
{
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)ret_sa;
    struct sockaddr_in *four = (struct sockaddr_in *)(void *)ret_sa;

    memset(ret_sa, 0, sizeof(*ret_sa));
    if (!addr_is_v4(&e->addr)) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(e->port);
        memcpy(&six->sin6_addr, e->addr.ip, 16);
        return sizeof(*six);
    }
    four->sin_family = AF_INET;
    four->sin_port = htons(e->port);
    memcpy(&four->sin_addr, e->addr.ip + 12, 4);
    return sizeof(*four);
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof(sa);

    if (getsockname(fd, (struct sockaddr *)(void *)&sa, &n))
        return 0;
    return ntohs(((struct sockaddr_in *)(void *)&sa)->sin_port);
}

static int open_listener(struct server *server, struct buf *reterr)
{
    struct sockaddr_storage sa;
    struct endpoint e;
    socklen_t n;
    int one = 1;

    if (!endpoint_parse(span_str(server->options.listen), &e) || e.kind != ENDPOINT_IP) {
        buf_printf(reterr, "%s: not an address and port", server->options.listen);
        return -EINVAL;
    }
    n = socket_address(&e, &sa);
    server->listen_fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->listen_fd < 0)
        return -errno;
    setsockopt(server->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(server->listen_fd, (struct sockaddr *)(void *)&sa, n) ||
        listen(server->listen_fd, 512)) {
        int r = -errno;

        buf_printf(reterr, "%s: %s%s", server->options.listen, strerrordesc_np(-r),
                   r == -EADDRINUSE ? ": choose another address, or end who has it" : "");
        return r;
    }
    server->port = bound_port(server->listen_fd);
    return 0;
}

static void PRINTF_LIKE(2, 0) on_log(void *cls, const char *format, va_list args)
{
    const struct server *server = cls;
    char text[512];

    vsnprintf(text, sizeof(text), format, args);
    LOG(DEBUG, "http.library", S("listener", server->options.name),
        SP("text", span_first(span_str(text), strcspn(text, "\n"))));
}

static int start_daemon(struct server *server, struct buf *reterr)
{
    const struct server_options *o = &server->options;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC |
                     MHD_USE_ERROR_LOG | (o->certificate_pem ? MHD_USE_TLS : 0);
    const char *priorities = o->client_ca_pem ? PRIORITIES_OWN : PRIORITIES_PUBLIC;
    struct MHD_OptionItem tls[] = {
        { MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)o->certificate_pem },
        { MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)o->key_pem },
        { MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)priorities },
        { o->client_ca_pem ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0,
          (void *)(uintptr_t)o->client_ca_pem },
        { MHD_OPTION_END, 0, NULL },
    };
    struct MHD_OptionItem none[] = { { MHD_OPTION_END, 0, NULL } };

    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, server,
        MHD_OPTION_LISTEN_SOCKET, server->listen_fd,
        MHD_OPTION_THREAD_POOL_SIZE, 2u,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_MEMORY,
        MHD_OPTION_CONNECTION_LIMIT, o->connections_max,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, o->per_address_max,
        MHD_OPTION_CONNECTION_TIMEOUT, o->idle_s,
        MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_URI_LOG_CALLBACK, on_uri, server,
        MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, server,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
        MHD_OPTION_ARRAY, o->certificate_pem ? tls : none,
        MHD_OPTION_END);
    if (server->daemon)
        return 0;
    buf_printf(reterr, "%s: the listener %s could not be started (certificate or key?)", o->listen,
               o->name);
    return -EINVAL;
}

static void set_default(unsigned *value, unsigned fallback)
{
    if (!*value)
        *value = fallback;
}

static struct server *server_new(const struct server_options *options)
{
    struct server *server = calloc(1, sizeof(*server));
    struct server_options *o;

    if (!server)
        return NULL;
    server->options = *options;
    o = &server->options;
    set_default(&o->threads, 4);
    set_default(&o->slow_threads, 2);
    set_default(&o->queue_max, 256);
    set_default(&o->connections_max, 1000);
    set_default(&o->per_address_max, 200);
    set_default(&o->parked_max, o->connections_max / 2);
    set_default(&o->streams_max, o->connections_max / 4 + 1);
    set_default(&o->idle_s, 30);
    set_default(&o->head_ms, 10000);
    set_default(&o->body_ms, 60000);
    set_default(&o->answer_ms, 600000);
    if (!o->body_total_max)
        o->body_total_max = 64u << 20;
    server->listen_fd = server->quiesced_fd = -1;
    list_init(&server->parked);
    list_init(&server->in_flight);
    list_init(&server->streams);
    deadlines_init(&server->deadlines);
    rate_init(&server->rates, o->rate_per_s, o->rate_burst);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->has_changed, NULL);
    return server;
}

static int start_threads(struct server *server)
{
    const struct server_options *o = &server->options;
    int r;

    r = lane_start(&server->normal, o->threads, o->queue_max, exchange_run, server);
    if (!r)
        r = lane_start(&server->slow, o->slow_threads, o->queue_max, exchange_run, server);
    if (!r)
        r = -pthread_create(&server->clock, NULL, clock_main, server);
    server->has_clock = !r;
    return r;
}

int server_start(const struct server_options *options, struct server **ret_server,
                 struct buf *reterr)
{
    AUTO(server_freep) struct server *server = server_new(options);
    int r;

    if (!server)
        return -ENOMEM;
    r = open_listener(server, reterr);
    if (!r)
        r = start_threads(server);
    if (!r)
        r = start_daemon(server, reterr);
    if (r)
        return r;
    LOG(INFO, "http.listening", S("listener", options->name), S("address", options->listen),
        N("port", server->port));
    *ret_server = TAKE(server);
    return 0;
}

uint16_t server_port(const struct server *server)
{
    return server->port;
}

void server_get_stats(struct server *server, struct server_stats *ret_stats)
{
    const union MHD_DaemonInfo *info;
    uint64_t running, waiting;

    pthread_mutex_lock(&server->lock);
    *ret_stats = server->stats;
    ret_stats->parked = server->parked_count;
    ret_stats->streams = server->stream_count;
    pthread_mutex_unlock(&server->lock);
    lane_counts(&server->normal, &ret_stats->running, &ret_stats->waiting);
    lane_counts(&server->slow, &running, &waiting);
    ret_stats->running += running;
    ret_stats->waiting += waiting;
    info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    ret_stats->connections = info ? info->num_connections : 0;
}

static bool wait_until_idle(struct server *server, unsigned timeout_ms)
{
    uint64_t until_ms = monotonic_us() / 1000 + timeout_ms;
    struct timespec until = { .tv_sec = (time_t)(until_ms / 1000),
                              .tv_nsec = (long)(until_ms % 1000) * 1000000 };
    bool is_idle;

    pthread_mutex_lock(&server->lock);
    while (server->active &&
           pthread_cond_clockwait(&server->has_changed, &server->lock, CLOCK_MONOTONIC, &until) !=
               ETIMEDOUT)
        ;
    is_idle = !server->active;
    pthread_mutex_unlock(&server->lock);
    return is_idle;
}

bool server_drain(struct server *server, unsigned timeout_ms)
{
    pthread_mutex_lock(&server->lock);
    server->is_draining = true;
    pthread_mutex_unlock(&server->lock);
    if (server->quiesced_fd < 0)
        server->quiesced_fd = MHD_quiesce_daemon(server->daemon);
    parked_expire_all(server);
    streams_end_all(server);
    return wait_until_idle(server, timeout_ms);
}

static void stop_clock(struct server *server)
{
    if (!server->has_clock)
        return;
    pthread_mutex_lock(&server->lock);
    server->is_stopping = true;
    server->is_draining = true;
    pthread_cond_broadcast(&server->has_changed);
    pthread_mutex_unlock(&server->lock);
    pthread_join(server->clock, NULL);
}

/* Nothing may be suspended when the library stops: lanes run empty first. */
void server_free(struct server *server)
{
    stop_clock(server);
    parked_expire_all(server);
    if (server->daemon && server->quiesced_fd < 0)
        server->quiesced_fd = MHD_quiesce_daemon(server->daemon);
    lane_stop(&server->normal);
    lane_stop(&server->slow);
    streams_end_all(server);
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    lane_deinit(&server->normal);
    lane_deinit(&server->slow);
    if (server->listen_fd >= 0)
        close(server->listen_fd);
    rate_deinit(&server->rates);
    deadlines_deinit(&server->deadlines);
    pthread_cond_destroy(&server->has_changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
