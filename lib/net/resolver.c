#include "lib/net/resolver.h"

#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>

#define TRY_MS 2000
#define TRIES 2

/* A query ends twice: once for its owner (answer, deadline, cancel) and once for c-ares. */
struct resolver_query {
    struct resolver *resolver;
    struct list node;
    struct loop_timer timer;
    struct loop_task task;
    struct resolver_answer answer;
    void (*on_answer)(void *user, const struct resolver_answer *answer);
    void *user;
    bool is_over;               /* the owner knows or does not care */
    bool is_in_ares;
};

struct socket_watch {
    struct list node;
    struct resolver *resolver;
    struct watch *watch;
    ares_socket_t fd;
};

struct resolver {
    struct loop *loop;
    ares_channel channel;
    struct loop_timer timer;
    struct list queries, sockets;
    size_t count;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int library_status;

static void init_library(void)
{
    library_status = ares_library_init(ARES_LIB_INIT_ALL);
}

/* --- c-ares on the loop -------------------------------------------------------------- */
static void on_ares_timer(void *arg);

static void arm(struct resolver *r)
{
    struct timeval max = { .tv_sec = 3600 }, wait;
    struct timeval *t = ares_timeout(r->channel, &max, &wait);

    if (list_is_empty(&r->queries))
        timer_stop(&r->timer);
    else
        timer_start(r->loop, &r->timer,
                    (uint64_t)t->tv_sec * 1000 + (uint64_t)t->tv_usec / 1000 + 1, on_ares_timer, r);
}

static void on_ares_timer(void *arg)
{
    struct resolver *r = arg;

    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(r);
}

static void on_socket(void *arg, unsigned events)
{
    struct socket_watch *s = arg;
    struct resolver *r = s->resolver;
    ares_socket_t fd = s->fd;

    /* `s` may be gone after this. */
    ares_process_fd(r->channel, events & WATCH_READ ? fd : ARES_SOCKET_BAD,
                    events & WATCH_WRITE ? fd : ARES_SOCKET_BAD);
    arm(r);
}

static struct socket_watch *find_socket(struct resolver *r, ares_socket_t fd)
{
    LIST_EACH(&r->sockets, node) {
        struct socket_watch *s = container_of(node, struct socket_watch, node);

        if (s->fd == fd)
            return s;
    }
    return NULL;
}

static struct socket_watch *add_socket(struct resolver *r, ares_socket_t fd)
{
    AUTO(freep) struct socket_watch *s = calloc(1, sizeof(*s));

    /* Without a watch the query runs into its time-out. */
    if (!s || watch_new(r->loop, fd, on_socket, s, &s->watch))
        return NULL;
    s->resolver = r;
    s->fd = fd;
    list_append(&r->sockets, &s->node);
    return TAKE(s);
}

static void on_socket_state(void *arg, ares_socket_t fd, int is_reading, int is_writing)
{
    struct resolver *r = arg;
    struct socket_watch *s = find_socket(r, fd);

    if (!is_reading && !is_writing) {
        if (!s)
            return;
        list_remove(&s->node);
        watch_free(s->watch);
        free(s);
        return;
    }
    if (!s)
        s = add_socket(r, fd);
    if (s)
        watch_set(s->watch, (is_reading ? WATCH_READ : 0) | (is_writing ? WATCH_WRITE : 0));
}

/* --- queries ------------------------------------------------------------------------- */
static void free_query_if_over(struct resolver_query *q)
{
    if (!q->is_over || q->is_in_ares)
        return;
    timer_stop(&q->timer);
    loop_defer_cancel(&q->task);
    list_remove(&q->node);
    q->resolver->count--;
    free(q);
}

static void on_give_answer(void *arg)
{
    struct resolver_query *q = arg;

    timer_stop(&q->timer);
    q->is_over = true;
    q->on_answer(q->user, &q->answer);
    free_query_if_over(q);
}

static void on_deadline(void *arg)
{
    struct resolver_query *q = arg;

    loop_defer_cancel(&q->task);
    q->answer = (struct resolver_answer){ .result = RESOLVER_TIMEOUT, .text = "no answer in time" };
    on_give_answer(q);
}

static enum resolver_result result_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return RESOLVER_OK;
    case ARES_ENOTFOUND:
        return RESOLVER_NO_NAME;
    case ARES_ENODATA:
        return RESOLVER_NO_DATA;
    case ARES_ETIMEOUT:
        return RESOLVER_TIMEOUT;
    case ARES_ECONNREFUSED:
    case ARES_EREFUSED:
    case ARES_ESERVFAIL:
        return RESOLVER_REFUSED;
    case ARES_EBADNAME:
    case ARES_EFORMERR:
        return RESOLVER_BAD_NAME;
    default:
        return RESOLVER_FAILED;
    }
}

static bool address_of(const struct ares_addrinfo_node *node, struct addr *ret_addr)
{
    if (node->ai_family == AF_INET) {
        const struct sockaddr_in *sa = (const struct sockaddr_in *)(const void *)node->ai_addr;
        const unsigned char *ip = (const unsigned char *)&sa->sin_addr;

        *ret_addr = addr_v4(ip[0], ip[1], ip[2], ip[3]);
        return true;
    }
    if (node->ai_family == AF_INET6) {
        const struct sockaddr_in6 *sa = (const struct sockaddr_in6 *)(const void *)node->ai_addr;

        memcpy(ret_addr->ip, &sa->sin6_addr, sizeof(ret_addr->ip));
        return true;
    }
    return false;
}

static void collect(struct resolver_answer *a, const struct ares_addrinfo *info)
{
    uint32_t ttl_s = UINT32_MAX;

    for (const struct ares_addrinfo_node *n = info->nodes; n && a->count < RESOLVER_ADDRS_MAX;
         n = n->ai_next) {
        if (!address_of(n, &a->addrs[a->count]))
            continue;
        a->count++;
        if (n->ai_ttl >= 0 && (uint32_t)n->ai_ttl < ttl_s)
            ttl_s = (uint32_t)n->ai_ttl;
    }
    a->ttl_s = a->count ? ttl_s : 0;
    if (!a->count)
        a->result = RESOLVER_NO_DATA;
}

static void on_addrinfo(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct resolver_query *q = arg;

    (void)timeouts;
    q->is_in_ares = false;
    if (q->is_over) {
        ares_freeaddrinfo(info);
        free_query_if_over(q);
        return;
    }
    q->answer =
        (struct resolver_answer){ .result = result_of(status), .text = ares_strerror(status) };
    if (info)
        collect(&q->answer, info);
    ares_freeaddrinfo(info);
    loop_defer(q->resolver->loop, &q->task, on_give_answer, q);
}

static void ask(struct resolver *r, struct resolver_query *q, const char *name)
{
    static const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC,
                                                      .ai_socktype = SOCK_STREAM };

    q->is_in_ares = true;
    ares_getaddrinfo(r->channel, name, NULL, &hints, on_addrinfo, q);
    arm(r);
}

int resolver_query(struct resolver *r, const char *name, uint32_t deadline_ms,
                   void (*on_answer)(void *user, const struct resolver_answer *answer),
                   void *user, struct resolver_query **ret_query)
{
    struct resolver_query *q;

    if (r->count >= RESOLVER_QUERIES_MAX)
        return -EAGAIN;
    q = calloc(1, sizeof(*q));
    if (!q)
        return -ENOMEM;
    q->resolver = r;
    q->on_answer = on_answer;
    q->user = user;
    list_append(&r->queries, &q->node);
    r->count++;
    timer_start(r->loop, &q->timer, deadline_ms, on_deadline, q);
    if (addr_parse(span_str(name), &q->answer.addrs[0])) {
        q->answer.count = 1;
        q->answer.text = "literal";
        loop_defer(r->loop, &q->task, on_give_answer, q);
    } else {
        ask(r, q, name);
    }
    *ret_query = q;
    return 0;
}

void resolver_cancel(struct resolver_query *q)
{
    if (!q || q->is_over)
        return;
    q->is_over = true;
    timer_stop(&q->timer);
    loop_defer_cancel(&q->task);
    free_query_if_over(q);
}

/* --- life ---------------------------------------------------------------------------- */
static int error_of(int status)
{
    return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
}

static int open_channel(struct resolver *r, const struct resolver_config *config)
{
    struct ares_options options = {
        .flags = config->is_search_off ? ARES_FLAG_NOSEARCH : 0,
        .timeout = config->try_ms ? (int)config->try_ms : TRY_MS,
        .tries = TRIES,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = r,
    };
    int status = ares_init_options(&r->channel, &options, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS |
                                   ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);

    if (status)
        return error_of(status);
    if (!config->servers)
        return 0;
    status = ares_set_servers_ports_csv(r->channel, config->servers);
    if (!status)
        return 0;
    ares_destroy(r->channel);
    return error_of(status);
}

int resolver_new(struct loop *l, const struct resolver_config *config,
                 struct resolver **ret_resolver)
{
    AUTO(freep) struct resolver *r = NULL;
    int e;

    pthread_once(&once, init_library);
    if (library_status)
        return error_of(library_status);
    r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->loop = l;
    list_init(&r->queries);
    list_init(&r->sockets);
    e = open_channel(r, config);
    if (e)
        return e;
    *ret_resolver = TAKE(r);
    return 0;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    LIST_EACH(&r->queries, node)
        resolver_cancel(container_of(node, struct resolver_query, node));
    ares_destroy(r->channel);   /* ends those that it still has */
    timer_stop(&r->timer);
    free(r);
}
