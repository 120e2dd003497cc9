#include "lib/net/resolver.h"

#include "lib/net/socket.h"

#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>

#define TRY_MS 2000
#define TRIES 2

#define FAMILY_ADDRS_MAX (RESOLVER_ADDRS_MAX / 2)

enum { V6, V4, FAMILIES };

struct family {                 /* what one of the two has answered */
    struct resolver_query *query;
    bool is_in_ares, is_done;
    int status;
    uint32_t ttl_s;
    size_t count;
    struct addr addrs[FAMILY_ADDRS_MAX];
};

/* A query ends twice: once for its owner (answer, deadline, cancel) and once for c-ares. */
struct resolver_query {
    struct resolver *resolver;
    struct list node;
    struct loop_timer timer, delay;
    struct loop_task task;
    struct family families[FAMILIES];
    struct endpoint server;
    struct addr literal;
    void (*on_answer)(void *user, const struct resolver_answer *answer);
    void *user;
    bool is_literal;
    bool is_over;               /* the owner knows or does not care */
    bool is_giving;             /* the owner is being told: stay */
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
    struct resolver_config config;
    char *servers;              /* of it; NULL: the system's */
    struct endpoint answering;  /* whose answer c-ares reads at this moment */
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

    r->answering = socket_peer(fd);
    /* `s` may be gone after this. */
    ares_process_fd(r->channel, events & WATCH_READ ? fd : ARES_SOCKET_BAD,
                    events & WATCH_WRITE ? fd : ARES_SOCKET_BAD);
    r->answering.kind = ENDPOINT_NONE;
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
    if (!q->is_over || q->is_giving || q->families[V6].is_in_ares || q->families[V4].is_in_ares)
        return;
    timer_stop(&q->timer);
    timer_stop(&q->delay);
    loop_defer_cancel(&q->task);
    list_remove(&q->node);
    q->resolver->count--;
    free(q);
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

/* What was said of the name counts less than that somebody said nothing of it. */
static bool is_no(int status)
{
    enum resolver_result result = result_of(status);

    return result == RESOLVER_NO_NAME || result == RESOLVER_NO_DATA;
}

static int worst(const struct resolver_query *q)
{
    int v6 = q->families[V6].status, v4 = q->families[V4].status;

    if (!is_no(v6))
        return v6;
    return v4 == ARES_ENODATA ? v6 : v4;
}

static void add(struct resolver_answer *a, const struct family *f)
{
    memcpy(a->addrs + a->count, f->addrs, f->count * sizeof(f->addrs[0]));
    a->count += f->count;
    if (f->count && f->ttl_s < a->ttl_s)
        a->ttl_s = f->ttl_s;
}

/* IPv6 first, where there is a way to it. */
static void compile(const struct resolver_query *q, struct resolver_answer *ret)
{
    const struct family *v6 = &q->families[V6], *v4 = &q->families[V4];
    bool is_v6_first = v6->count && (!v4->count || socket_has_route(&v6->addrs[0]));
    int status;

    *ret = (struct resolver_answer){ .ttl_s = UINT32_MAX, .server = q->server };
    if (q->is_literal) {
        ret->addrs[ret->count++] = q->literal;
        ret->text = "literal";
        ret->ttl_s = 0;
        return;
    }
    add(ret, is_v6_first ? v6 : v4);
    add(ret, is_v6_first ? v4 : v6);
    status = ret->count ? ARES_SUCCESS : worst(q);
    ret->result = result_of(status);
    ret->text = ares_strerror(status);
    if (ret->count)
        return;
    ret->ttl_s = 0;
    if (!v6->is_done || !v4->is_done) {
        ret->result = RESOLVER_TIMEOUT;
        ret->text = "no answer in time";
    }
}

static void give(struct resolver_query *q, bool is_part)
{
    struct resolver_answer answer;

    compile(q, &answer);
    answer.is_part = is_part;
    if (!is_part) {
        timer_stop(&q->timer);
        timer_stop(&q->delay);
        q->is_over = true;
    }
    q->is_giving = true;
    q->on_answer(q->user, &answer);
    q->is_giving = false;
    free_query_if_over(q);
}

static bool is_whole(const struct resolver_query *q)
{
    return q->is_literal || (q->families[V6].is_done && q->families[V4].is_done);
}

static void on_give(void *arg)
{
    struct resolver_query *q = arg;

    give(q, !is_whole(q));
}

static void on_delay(void *arg)
{
    struct resolver_query *q = arg;

    give(q, q->resolver->config.gives_parts);
}

static void on_deadline(void *arg)
{
    struct resolver_query *q = arg;

    loop_defer_cancel(&q->task);
    give(q, false);
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

static void collect(struct family *f, const struct ares_addrinfo *info)
{
    f->ttl_s = UINT32_MAX;
    for (const struct ares_addrinfo_node *n = info->nodes; n && f->count < FAMILY_ADDRS_MAX;
         n = n->ai_next) {
        if (!address_of(n, &f->addrs[f->count]))
            continue;
        f->count++;
        if (n->ai_ttl >= 0 && (uint32_t)n->ai_ttl < f->ttl_s)
            f->ttl_s = (uint32_t)n->ai_ttl;
    }
    if (!f->count)
        f->status = ARES_ENODATA;
}

/* One family is in.  Handlers are not called within c-ares. */
static void settle(struct resolver_query *q, const struct family *f)
{
    struct loop *loop = q->resolver->loop;

    if (is_whole(q) || (f->count && q->resolver->config.gives_parts && f == &q->families[V6]))
        loop_defer(loop, &q->task, on_give, q);
    else if (f->count)
        timer_start(loop, &q->delay, RESOLVER_DELAY_MS, on_delay, q);
}

static void on_addrinfo(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct family *f = arg;
    struct resolver_query *q = f->query;

    (void)timeouts;
    f->is_in_ares = false;
    if (!q->is_over) {
        f->is_done = true;
        f->status = status;
        if (info)
            collect(f, info);
        if (q->resolver->answering.kind != ENDPOINT_NONE)
            q->server = q->resolver->answering;
        settle(q, f);
    }
    ares_freeaddrinfo(info);
    free_query_if_over(q);
}

/* c-ares may answer within the call; a name that is over by then must stay for the second. */
static void ask(struct resolver *r, struct resolver_query *q, const char *name)
{
    static const int family_of[FAMILIES] = { [V6] = AF_INET6, [V4] = AF_INET };

    q->families[V6].is_in_ares = q->families[V4].is_in_ares = true;
    for (unsigned i = 0; i < FAMILIES; i++) {
        const struct ares_addrinfo_hints hints = { .ai_family = family_of[i], .ai_socktype = SOCK_STREAM };

        q->families[i].query = q;
        ares_getaddrinfo(r->channel, name, NULL, &hints, on_addrinfo, &q->families[i]);
    }
    arm(r);
}

/* RFC 6761 section 6.3.  Also: c-ares leaks memory for each time that it is asked for its IPv6. */
static bool take_localhost(struct resolver_query *q, const char *name)
{
    if (!span_eq_nocase(span_str(name), SPAN("localhost")))
        return false;
    q->families[V4] = (struct family){ .is_done = true, .count = 1, .addrs = { addr_v4(127, 0, 0, 1) } };
    q->families[V6] = (struct family){ .is_done = true, .count = 1, .addrs = { { .ip = { [15] = 1 } } } };
    return true;
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
    q->is_literal = addr_parse(span_str(name), &q->literal);
    if (q->is_literal || take_localhost(q, name))
        loop_defer(r->loop, &q->task, on_give, q);
    else
        ask(r, q, name);
    *ret_query = q;
    return 0;
}

void resolver_cancel(struct resolver_query *q)
{
    if (!q || q->is_over)
        return;
    q->is_over = true;
    timer_stop(&q->timer);
    timer_stop(&q->delay);
    loop_defer_cancel(&q->task);
    free_query_if_over(q);
}

/* --- life ---------------------------------------------------------------------------- */
static int error_of(int status)
{
    return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
}

static int open_channel(struct resolver *r, ares_channel *ret_channel)
{
    const struct resolver_config *config = &r->config;
    struct ares_options options = {
        .flags = config->is_search_off ? ARES_FLAG_NOSEARCH : 0,
        .timeout = config->try_ms ? (int)config->try_ms : TRY_MS,
        .tries = TRIES,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = r,
    };
    ares_channel channel;
    int status = ares_init_options(&channel, &options, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS |
                                   ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);

    if (status)
        return error_of(status);
    if (config->servers)
        status = ares_set_servers_ports_csv(channel, config->servers);
    if (status) {
        ares_destroy(channel);
        return error_of(status);
    }
    *ret_channel = channel;
    return 0;
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
    r->config = *config;
    if (config->servers) {
        r->servers = span_dup(span_str(config->servers));
        r->config.servers = r->servers;
    }
    list_init(&r->queries);
    list_init(&r->sockets);
    e = config->servers && !r->servers ? -ENOMEM : open_channel(r, &r->channel);
    if (e) {
        free(r->servers);
        return e;
    }
    *ret_resolver = TAKE(r);
    return 0;
}

int resolver_reload(struct resolver *r)
{
    ares_channel channel;
    int e = open_channel(r, &channel);

    if (e)
        return e;
    ares_destroy(r->channel);   /* queries fail, on a later turn */
    r->channel = channel;
    arm(r);
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
    free(r->servers);
    free(r);
}
