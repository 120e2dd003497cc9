#include "agent/resolve/resolve.h"
#include "lib/base/map.h"
#include <errno.h>
#include <string.h>

struct name {                       /* one name: cached, or being asked for */
    struct map_node node;
    struct list lru;                /* most lately used at the end */
    struct list waiters;
    struct resolve *resolve;
    struct resolver_query *query;   /* in flight */
    uint64_t until_ms;              /* loop time; 0: nothing cached */
    unsigned answering;             /* it is being told to those who asked: has to stay */
    enum reason reason;
    const char *text;
    size_t count;
    struct addr *addrs;
    char text_name[254];
};

struct resolve_request {
    struct list node;
    struct name *name;
    struct loop_timer timer;        /* the deadline, or at once for a cached answer */
    bool is_cached;
    resolve_fn *fn;
    void *user;
};

struct resolve {
    struct loop *loop;
    struct resolver *resolver;
    struct resolve_config config;
    struct map names;
    struct list lru;
    struct resolve_stats stats;
};

static void name_free(struct name *n)
{
    map_remove(&n->resolve->names, &n->node);
    list_remove(&n->lru);
    if (n->query)
        resolver_cancel(n->query);
    n->resolve->stats.names--;
    free(n->addrs);
    free(n);
}

static void request_free(struct resolve_request *q)
{
    q->name->resolve->stats.waiting--;
    timer_stop(&q->timer);
    list_remove(&q->node);
    free(q);
}

static void request_answer(struct resolve_request *q, const struct resolve_answer *answer)
{
    struct name *n = q->name;
    resolve_fn *fn = q->fn;
    void *user = q->user;

    n->answering++;
    request_free(q);
    fn(user, answer);
    n->answering--;
}

static struct resolve_answer name_answer(const struct name *n, const char *source)
{
    return (struct resolve_answer){
        .reason = n->reason,
        .addrs = n->addrs,
        .count = n->count,
        .source = source,
        .text = n->text,
    };
}

/* Handlers may ask for the same name again, which joins a list of its own. */
static void answer_all(struct name *n, const char *source)
{
    struct list waiters;
    struct list *first;

    n->answering++;
    list_init(&waiters);
    while ((first = list_first(&n->waiters))) {
        list_remove(first);
        list_append(&waiters, first);
    }
    while ((first = list_first(&waiters))) {
        struct resolve_answer answer = name_answer(n, source);

        request_answer(container_of(first, struct resolve_request, node), &answer);
    }
    n->answering--;
}

static uint32_t keep_s(const struct resolve *r, const struct resolver_answer *answer)
{
    if (answer->result != RESOLVER_OK)
        return r->config.negative_s;
    return answer->ttl_s < r->config.fresh_max_s ? answer->ttl_s : r->config.fresh_max_s;
}

static void name_keep(struct name *n, const struct resolver_answer *answer)
{
    free(n->addrs);
    n->addrs = NULL;
    n->count = 0;
    n->reason = answer->result == RESOLVER_OK && answer->count ? REASON_NONE : REASON_RESOLVE_FAILED;
    n->text = answer->text;
    if (n->reason == REASON_NONE) {
        n->addrs = malloc(answer->count * sizeof(*n->addrs));
        if (n->addrs) {
            memcpy(n->addrs, answer->addrs, answer->count * sizeof(*n->addrs));
            n->count = answer->count;
        } else {
            n->reason = REASON_RESOLVE_FAILED;
            n->text = "out of memory";
        }
    }
    n->until_ms = loop_now_ms(n->resolve->loop) + keep_s(n->resolve, answer) * UINT64_C(1000);
}

static void on_resolved(void *user, const struct resolver_answer *answer)
{
    struct name *n = user;

    n->query = NULL;
    name_keep(n, answer);
    if (n->reason != REASON_NONE)
        n->resolve->stats.failures++;
    answer_all(n, "dns");
}

static void on_request_due(void *arg)
{
    struct resolve_request *q = arg;
    struct name *n = q->name;
    struct resolve_answer late = {
        .reason = REASON_RESOLVE_FAILED, .source = "dns", .text = "no answer in time",
    };
    struct resolve_answer cached = name_answer(n, "dns-cache");

    request_answer(q, q->is_cached ? &cached : &late);
}

/* Makes room by dropping the name unused longest that nobody waits for. */
static bool make_room(struct resolve *r)
{
    LIST_EACH(&r->lru, node) {
        struct name *n = container_of(node, struct name, lru);

        if (list_is_empty(&n->waiters) && !n->query && !n->answering) {
            name_free(n);
            r->stats.evicted++;
            return true;
        }
    }
    return false;
}

static int name_new(struct resolve *r, const char *text, struct name **ret_name)
{
    struct name *n;
    int error;

    if (r->stats.names >= r->config.names_max && !make_room(r))
        return -EAGAIN;

    n = calloc(1, sizeof(*n));
    if (!n)
        return -ENOMEM;
    if (!span_copy(span_str(text), n->text_name, sizeof(n->text_name))) {
        free(n);
        return -EINVAL;
    }

    error = map_insert(&r->names, &n->node, span_str(n->text_name));
    if (error) {
        free(n);
        return error;
    }
    n->resolve = r;
    list_init(&n->waiters);
    list_append(&r->lru, &n->lru);
    r->stats.names++;
    *ret_name = n;
    return 0;
}

static int name_get(struct resolve *r, const char *text, struct name **ret_name)
{
    struct map_node *node = map_find(&r->names, span_str(text));

    if (!node)
        return name_new(r, text, ret_name);

    *ret_name = container_of(node, struct name, node);
    list_remove(&(*ret_name)->lru);
    list_append(&r->lru, &(*ret_name)->lru);
    return 0;
}

static int name_ask(struct name *n, uint32_t deadline_ms)
{
    struct resolve *r = n->resolve;

    r->stats.queries++;
    return resolver_query(r->resolver, n->text_name, deadline_ms, on_resolved, n, &n->query);
}

int resolve_name(struct resolve *r, const char *text, uint32_t deadline_ms, resolve_fn *fn, void *user,
                 struct resolve_request **ret_request)
{
    AUTO(freep) struct resolve_request *q = NULL;
    struct name *n;
    bool is_cached;
    int error;

    if (r->stats.waiting >= r->config.waiting_max) {
        r->stats.refused++;
        return -EAGAIN;
    }
    q = calloc(1, sizeof(*q));
    if (!q)
        return -ENOMEM;
    error = name_get(r, text, &n);
    if (error)
        return error;

    is_cached = !n->query && n->until_ms > loop_now_ms(r->loop);
    if (!is_cached && !n->query)
        error = name_ask(n, deadline_ms);
    if (error)
        return error;

    r->stats.hits += is_cached;
    r->stats.waiting++;
    q->name = n;
    q->is_cached = is_cached;
    q->fn = fn;
    q->user = user;
    list_append(&n->waiters, &q->node);
    timer_start(r->loop, &q->timer, is_cached ? 0 : deadline_ms, on_request_due, q);
    *ret_request = TAKE(q);
    return 0;
}

void resolve_cancel(struct resolve_request *q)
{
    request_free(q);
}

void resolve_flush(struct resolve *r)
{
    LIST_EACH(&r->lru, node)
        container_of(node, struct name, lru)->until_ms = 0;
}

const struct resolve_stats *resolve_stats(const struct resolve *r)
{
    return &r->stats;
}

static void config_defaults(struct resolve_config *c)
{
    c->names_max = c->names_max ? c->names_max : 4096;
    c->waiting_max = c->waiting_max ? c->waiting_max : 4096;
    c->fresh_max_s = c->fresh_max_s ? c->fresh_max_s : 30;
    c->negative_s = c->negative_s ? c->negative_s : 5;
}

int resolve_new(struct loop *l, const struct resolve_config *config, struct resolve **ret_resolve)
{
    AUTO(freep) struct resolve *r = calloc(1, sizeof(*r));
    int error;

    if (!r)
        return -ENOMEM;

    r->loop = l;
    r->config = *config;
    config_defaults(&r->config);
    error = resolver_new(l, &r->config.resolver, &r->resolver);
    if (error)
        return error;

    map_init(&r->names, r->config.names_max);
    list_init(&r->lru);
    *ret_resolve = TAKE(r);
    return 0;
}

void resolve_free(struct resolve *r)
{
    struct list *first;

    while ((first = list_first(&r->lru))) {
        struct name *n = container_of(first, struct name, lru);
        struct list *waiter;

        while ((waiter = list_first(&n->waiters)))
            request_free(container_of(waiter, struct resolve_request, node));
        name_free(n);
    }
    map_deinit(&r->names);
    resolver_free(r->resolver);
    free(r);
}
