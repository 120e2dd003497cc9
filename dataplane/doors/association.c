#include "dataplane/doors/association.h"
#include "dataplane/doors/ferry.h"
#include "lib/base/map.h"
#include "lib/log/log.h"
#include "lib/net/socket.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define KEY_MAX (3 + 255)
#define IN_MAX (SOCKS5_DATAGRAM_HEADER_MAX + MUX_DATAGRAM_MAX)
#define WAITING_COST 64
#define REPLY_BUDGET_MAX ((int64_t)1 << 28)
#define TICK_MAX_MS 1000
#define TICK_MIN_MS 20

struct association {
    struct association_config config;
    struct watch *watch;
    int fd;
    uint16_t port;                  /* the client's; 0: not pinned yet */
    struct map by_key;
    struct list targets;            /* least recently used first */
    struct loop_timer tick, idle;
    uint64_t active_ms;
    uint32_t waiting_bytes;
    uint32_t fresh_left;            /* new targets that may be asked for */
    uint64_t fresh_ms;
    int64_t reply_budget;
    uint64_t asked, answered, dropped;
};

struct waiting {
    struct list node;
    size_t n;
    unsigned char bytes[];
};

struct peer {                       /* one target */
    struct list node;
    struct map_node by_key;
    struct association *association;
    struct ferry *route;            /* NULL: refused, or ended, and held off until */
    uint64_t until_ms;
    uint64_t active_ms;
    struct list waiting;            /* for the route to open */
    bool is_open;
    struct addr addr;               /* what answers are said to come from, unless named */
    bool is_named;
    uint16_t port;
    size_t key_n;
    unsigned char key[];
};

static uint64_t now_ms(const struct association *a)
{
    return loop_now_ms(a->config.loop);
}

static void drop(struct association *a, unsigned why, unsigned count)
{
    a->dropped += count;
    metric_add_at(a->config.metrics, M_DATAGRAMS_DROPPED, why, 0, count);
}

/* --- targets ----------------------------------------------------------------------------------- */

/* The kind of address, the port, the name or address. */
static size_t key_of(const struct socks5_datagram *d, unsigned char key[KEY_MAX])
{
    const void *host = d->name.n ? (const void *)d->name.p : d->addr.ip;
    size_t n = d->name.n ? d->name.n : sizeof(d->addr.ip);

    key[0] = d->name.n > 0;
    key[1] = (unsigned char)(d->port >> 8);
    key[2] = (unsigned char)d->port;
    memcpy(key + 3, host, n);
    return n + 3;
}

static struct span name_of(const struct peer *p)
{
    return p->key[0] ? span_of(p->key + 3, p->key_n - 3) : SPAN_NONE;
}

static unsigned forget_waiting(struct peer *p)
{
    unsigned count = 0;

    LIST_EACH(&p->waiting, node) {
        struct waiting *w = container_of(node, struct waiting, node);

        list_remove(node);
        p->association->waiting_bytes -= (uint32_t)w->n + WAITING_COST;
        free(w);
        count++;
    }
    return count;
}

static void peer_free(struct peer *p)
{
    drop(p->association, DROP_refused, forget_waiting(p));
    list_remove(&p->node);
    map_remove(&p->association->by_key, &p->by_key);
    free(p);
}

/* What waited is dropped, and so is what comes for it in the next moment. */
static void hold_off(struct peer *p)
{
    p->route = NULL;
    p->is_open = false;
    p->until_ms = now_ms(p->association) + ASSOCIATION_HOLD_MS;
    drop(p->association, DROP_refused, forget_waiting(p));
}

/* In order, so that the last datagrams still go. */
static void end_peer(struct peer *p, enum reason why)
{
    struct ferry *f = TAKE(p->route);

    if (f && p->is_open)
        ferry_release(f);
    else if (f)
        ferry_abandon(f, why);
    peer_free(p);
}

static uint32_t idle_ms(const struct association *a)
{
    uint32_t ms = a->config.limits.idle_ms;

    return router_is_draining(a->config.router) && ms > ASSOCIATION_DRAIN_IDLE_MS ? ASSOCIATION_DRAIN_IDLE_MS : ms;
}

static void start_tick(struct association *a);

static void on_tick(void *arg)
{
    struct association *a = arg;
    uint64_t now = now_ms(a), idle = idle_ms(a);

    LIST_EACH(&a->targets, node) {
        struct peer *p = container_of(node, struct peer, node);

        if (!p->route && now >= p->until_ms) {
            peer_free(p);
        } else if (p->is_open && now - p->active_ms >= idle) {
            metric_add(a->config.metrics, M_TARGETS_IDLE, 1);
            end_peer(p, REASON_IDLE_TIMEOUT);
        }
    }
    start_tick(a);
}

static void start_tick(struct association *a)
{
    uint32_t ms = a->config.limits.idle_ms / 4;

    if (list_is_empty(&a->targets) || timer_is_on(&a->tick))
        return;
    ms = ms > TICK_MAX_MS ? TICK_MAX_MS : ms < TICK_MIN_MS ? TICK_MIN_MS : ms;
    timer_start(a->config.loop, &a->tick, ms, on_tick, a);
}

/* --- to the client ----------------------------------------------------------------------------- */

static bool may_answer(struct association *a, size_t n)
{
    if (a->config.limits.reply_ratio == 0)
        return true;
    if (a->reply_budget < (int64_t)n)
        return false;
    a->reply_budget -= (int64_t)n;
    return true;
}

static void answer(struct peer *p, struct span bytes)
{
    struct association *a = p->association;
    const struct endpoint to = { .kind = ENDPOINT_IP, .addr = a->config.client, .port = a->port };
    const struct socks5_datagram d = { p->is_named ? name_of(p) : SPAN_NONE, p->addr, p->port, bytes };
    unsigned char mem[IN_MAX];
    struct sockaddr_storage sa;
    socklen_t len = sockaddr_from_endpoint(&to, &sa);
    struct buf out;

    buf_init_fixed(&out, mem, sizeof(mem));
    socks5_datagram_write(&out, &d);
    if (!may_answer(a, out.len)) {
        drop(a, DROP_ratio, 1);
        return;
    }
    if (buf_error(&out) || sendto(a->fd, out.data, out.len, MSG_NOSIGNAL, (struct sockaddr *)&sa, len) < 0) {
        drop(a, DROP_socket, 1);
        return;
    }
    a->answered++;
    metric_add(a->config.metrics, M_TARGET_DATAGRAMS, 1);
}

/* --- the route's side ---------------------------------------------------------------------------- */

static void pass_on(struct peer *p, struct span bytes)
{
    struct association *a = p->association;

    if (!ferry_send(p->route, bytes))
        return;                     /* counted where it was dropped: in the mux */
    a->asked++;
    metric_add(a->config.metrics, M_USER_DATAGRAMS, 1);
}

/* Answers come from the address that a name stands for, as they would without a proxy. */
static void on_opened(void *user, const struct endpoint *at)
{
    struct peer *p = user;

    p->is_open = true;
    if (p->is_named && at->kind == ENDPOINT_IP) {
        p->addr = at->addr;
        p->is_named = false;
    }
    LIST_EACH(&p->waiting, node) {
        struct waiting *w = container_of(node, struct waiting, node);

        pass_on(p, span_of(w->bytes, w->n));
    }
    forget_waiting(p);
}

static void on_over(void *user)
{
    hold_off(user);
}

static void on_datagram(void *user, struct span bytes)
{
    struct peer *p = user;

    p->active_ms = p->association->active_ms = now_ms(p->association);
    answer(p, bytes);
}

/* The agent says FIN: it will send no more, so there is nothing left to talk about. */
static void on_fin(void *user)
{
    end_peer(user, REASON_NONE);
}

static const struct ferry_handlers ferry_events = {
    .on_opened = on_opened, .on_datagram = on_datagram, .on_fin = on_fin, .on_over = on_over,
};

/* --- from the client ----------------------------------------------------------------------------- */

static bool may_ask(struct association *a)
{
    uint64_t now = now_ms(a), fresh = (now - a->fresh_ms) * ASSOCIATION_TARGETS_PER_S / 1000;
    uint32_t max = a->config.limits.targets_max;

    if (fresh) {
        a->fresh_ms = now;
        a->fresh_left = fresh > max - a->fresh_left ? max : a->fresh_left + (uint32_t)fresh;
    }
    if (a->fresh_left == 0)
        return false;
    a->fresh_left--;
    return true;
}

/* One that was refused makes room; one that is open does not. */
static bool make_room(struct association *a)
{
    if (a->by_key.count < a->config.limits.targets_max)
        return true;
    LIST_EACH(&a->targets, node) {
        struct peer *p = container_of(node, struct peer, node);

        if (p->route)
            continue;
        peer_free(p);
        return true;
    }
    return false;
}

static struct peer *peer_new(struct association *a, struct span key, const struct socks5_datagram *d)
{
    struct peer *p = calloc(1, sizeof(*p) + key.n);

    if (!p)
        return NULL;
    p->association = a;
    p->addr = d->addr;
    p->is_named = d->name.n > 0;
    p->port = d->port;
    p->key_n = key.n;
    memcpy(p->key, key.p, key.n);
    list_init(&p->waiting);
    list_init(&p->node);
    if (map_insert(&a->by_key, &p->by_key, span_of(p->key, p->key_n))) {
        free(p);
        return NULL;
    }
    list_append(&a->targets, &p->node);
    return p;
}

static void ask(struct peer *p)
{
    struct association *a = p->association;
    char text[ADDR_TEXT_MAX];
    const struct route_request request = {
        .door = a->config.door,
        .principal = a->config.principal,
        .source = a->config.client,
        .host = p->is_named ? name_of(p) : span_str(addr_format(&p->addr, text)),
        .port = p->port,
        .is_udp = true,
    };
    const struct ferry_config ferry = {
        .router = a->config.router, .metrics = a->config.metrics, .handlers = &ferry_events, .user = p,
    };

    if (ferry_open(&ferry, &request, &p->route) != REASON_NONE)
        hold_off(p);
}

/* NULL: there is no room for one more; counted. */
static struct peer *peer_get(struct association *a, const struct socks5_datagram *d)
{
    unsigned char mem[KEY_MAX];
    struct span key = span_of(mem, key_of(d, mem));
    struct map_node *node = map_find(&a->by_key, key);
    struct peer *p = node ? container_of(node, struct peer, by_key) : NULL;
    bool is_over = p && !p->route && now_ms(a) >= p->until_ms;

    if (p && !is_over) {
        list_remove(&p->node);
        list_append(&a->targets, &p->node);
        return p;
    }
    if (is_over)
        peer_free(p);
    if (!may_ask(a)) {
        drop(a, DROP_rate, 1);
        return NULL;
    }
    p = make_room(a) ? peer_new(a, key, d) : NULL;
    if (p)
        ask(p);
    else
        drop(a, DROP_targets, 1);
    start_tick(a);
    return p;
}

static void keep_waiting(struct peer *p, struct span bytes)
{
    struct association *a = p->association;
    struct waiting *w = NULL;

    if (a->waiting_bytes + bytes.n + WAITING_COST <= ASSOCIATION_WAITING_MAX)
        w = malloc(sizeof(*w) + bytes.n);
    if (!w) {
        drop(a, DROP_waiting, 1);
        return;
    }
    w->n = bytes.n;
    if (bytes.n)
        memcpy(w->bytes, bytes.p, bytes.n);
    list_append(&p->waiting, &w->node);
    a->waiting_bytes += (uint32_t)bytes.n + WAITING_COST;
}

static void forward(struct association *a, const struct socks5_datagram *d)
{
    struct peer *p = peer_get(a, d);

    if (!p)
        return;
    p->active_ms = now_ms(a);
    if (!p->route)
        drop(a, DROP_refused, 1);
    else if (!p->is_open)
        keep_waiting(p, d->bytes);
    else
        pass_on(p, d->bytes);
}

static bool is_from_client(const struct association *a, const struct endpoint *from)
{
    return from->kind == ENDPOINT_IP && addr_eq(&from->addr, &a->config.client) &&
           (a->port == 0 || from->port == a->port);
}

static void earn(struct association *a, size_t n)
{
    a->reply_budget += (int64_t)n * a->config.limits.reply_ratio;
    if (a->reply_budget > REPLY_BUDGET_MAX)
        a->reply_budget = REPLY_BUDGET_MAX;
}

static void take(struct association *a, const struct endpoint *from, struct span in, bool is_whole)
{
    struct socks5_datagram d;
    int e;

    if (!is_from_client(a, from)) {
        drop(a, DROP_source, 1);
        return;
    }
    e = socks5_datagram_parse(in, &d);
    if (e || !is_whole || d.bytes.n > MUX_DATAGRAM_MAX) {
        drop(a, e == SOCKS5_E_FRAGMENT ? DROP_fragment : e ? DROP_malformed : DROP_too_long, 1);
        return;
    }
    a->port = from->port;
    a->active_ms = now_ms(a);
    earn(a, in.n);
    forward(a, &d);
}

static void on_socket(void *arg, unsigned events)
{
    struct association *a = arg;
    unsigned char mem[IN_MAX];

    (void)events;
    for (int i = 0; i < ASSOCIATION_TURN; i++) {
        struct sockaddr_storage sa;
        socklen_t len = sizeof(sa);
        ssize_t n = recvfrom(a->fd, mem, sizeof(mem), MSG_TRUNC, (struct sockaddr *)&sa, &len);
        struct endpoint from;

        if (n < 0)
            return;
        from = endpoint_from_sockaddr(&sa, len);
        take(a, &from, span_of(mem, (size_t)n < sizeof(mem) ? (size_t)n : sizeof(mem)), (size_t)n <= sizeof(mem));
    }
}

/* --- life ---------------------------------------------------------------------------------------- */

static void on_idle(void *arg)
{
    struct association *a = arg;
    uint64_t quiet_ms = now_ms(a) - a->active_ms, most = a->config.limits.association_idle_ms;

    if (quiet_ms < most) {
        timer_start(a->config.loop, &a->idle, most - quiet_ms, on_idle, a);
        return;
    }
    metric_add(a->config.metrics, M_ASSOCIATIONS_IDLE, 1);
    a->config.on_idle(a->config.user);
}

static int attach(struct association *a)
{
    uint32_t idle = a->config.limits.association_idle_ms;
    int r = watch_new(a->config.loop, a->fd, on_socket, a, &a->watch);

    if (!r)
        r = watch_set(a->watch, WATCH_READ);
    if (r) {
        watch_free(a->watch);
        return r;
    }
    if (idle)
        timer_start(a->config.loop, &a->idle, idle, on_idle, a);
    start_tick(a);
    return 0;
}

static int bind_at(const struct addr *at, int *ret_fd)
{
    const struct endpoint e = { .kind = ENDPOINT_IP, .addr = *at };
    struct sockaddr_storage sa;
    socklen_t len = sockaddr_from_endpoint(&e, &sa);
    int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&sa, len)) {
        int error = errno;

        close(fd);
        return -error;
    }
    *ret_fd = fd;
    return 0;
}

int association_open(const struct association_config *config, struct association **ret_association)
{
    AUTO(freep) struct association *a = calloc(1, sizeof(*a));
    int r;

    if (!a)
        return -ENOMEM;
    a->config = *config;
    a->port = config->client_port;
    a->active_ms = a->fresh_ms = now_ms(a);
    a->fresh_left = config->limits.targets_max;
    a->reply_budget = ASSOCIATION_REPLY_START;
    list_init(&a->targets);
    map_init(&a->by_key, config->limits.targets_max);
    r = bind_at(&config->at, &a->fd);
    if (r)
        return r;
    r = attach(a);
    if (r) {
        close(a->fd);
        return r;
    }
    metric_add(config->metrics, M_ASSOCIATIONS, 1);
    metric_add(config->metrics, M_ASSOCIATIONS_TOTAL, 1);
    *ret_association = TAKE(a);
    return 0;
}

void association_close(struct association *a)
{
    LIST_EACH(&a->targets, node)
        end_peer(container_of(node, struct peer, node), REASON_CLIENT_GONE);
    timer_stop(&a->tick);
    timer_stop(&a->idle);
    watch_free(a->watch);
    close(a->fd);
    map_deinit(&a->by_key);
    metric_add(a->config.metrics, M_ASSOCIATIONS, -1);
    LOG(INFO, "association.closed", S("user", a->config.principal.user_name), U("asked", a->asked),
        U("answered", a->answered), U("dropped", a->dropped));
    free(a);
}

struct endpoint association_endpoint(const struct association *a)
{
    return socket_local(a->fd);
}
