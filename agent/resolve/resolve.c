#include "agent/resolve/resolve.h"
#include "lib/base/map.h"
#include <errno.h>
#include <string.h>

struct name {                       /* one name: kept, or being asked for */
    struct map_node node;
    struct list lru;                /* most lately used at the end */
    struct list waiters;
    struct resolve *resolve;
    struct resolver_query *query;   /* in flight */
    bool is_ahead;                  /* that was begun for nobody who waits */
    unsigned answering;             /* it is being told to those who asked: has to stay */
    struct life life;
    enum reason reason;
    const char *text;
    struct endpoint server;
    size_t count;
    struct addr *addrs;
    char text_name[254];
};

enum due { DUE_KEPT, DUE_STALE, DUE_DEADLINE };     /* what the timer of a request is for */

struct resolve_request {
    struct list node;
    struct name *name;
    struct loop_timer timer;
    enum due due;
    bool has_part;                  /* it was told a part of the answer */
    uint32_t deadline_ms;
    resolve_fn *fn;
    void *user;
};

struct resolve {
    struct loop *loop;
    struct resolver *resolver;
    struct resolve_config config;
    char *servers;                  /* of the configuration; NULL: the system's */
    struct map names;
    struct list lru;
    size_t ahead;                   /* queries that nobody waits for */
    struct resolve_stats stats;
};

static uint64_t now_of(const struct name *n)
{
    return loop_now_ms(n->resolve->loop);
}

static void name_query_over(struct name *n)
{
    n->query = NULL;
    n->resolve->ahead -= n->is_ahead;
    n->is_ahead = false;
}

static void name_free(struct name *n)
{
    map_remove(&n->resolve->names, &n->node);
    list_remove(&n->lru);
    if (n->query) {
        resolver_cancel(n->query);
        name_query_over(n);
    }
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

/* --- telling ------------------------------------------------------------------------------- */

/* Whoever is told may cancel: the request is not touched after that. */
static void request_answer(struct resolve_request *q, const struct resolve_answer *answer)
{
    struct name *n = q->name;
    resolve_fn *fn = q->fn;
    void *user = q->user;

    n->answering++;
    q->has_part = answer->is_part;
    if (!answer->is_part)
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
        .server = n->server,
        .text = n->text,
    };
}

/* Handlers may ask for the same name again, which joins a list of its own. */
static void answer_all(struct name *n, const char *source, bool is_part)
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

        answer.is_part = is_part;
        list_remove(first);
        list_append(&n->waiters, first);
        request_answer(container_of(first, struct resolve_request, node), &answer);
    }
    n->answering--;
}

/* --- keeping ------------------------------------------------------------------------------- */

static bool is_said(enum resolver_result result)
{
    return result == RESOLVER_NO_NAME || result == RESOLVER_NO_DATA || result == RESOLVER_BAD_NAME;
}

static void name_set(struct name *n, enum reason reason, const char *text, struct addr *addrs, size_t count)
{
    free(n->addrs);
    n->reason = reason;
    n->text = text;
    n->addrs = addrs;
    n->count = count;
}

static void name_keep_addresses(struct name *n, const struct resolver_answer *answer)
{
    struct addr *addrs = malloc(answer->count * sizeof(*addrs));

    n->server = answer->server;
    if (!addrs) {
        name_set(n, REASON_RESOLVE_FAILED, "out of memory", NULL, 0);
        n->life = (struct life){ 0 };
        return;
    }
    memcpy(addrs, answer->addrs, answer->count * sizeof(*addrs));
    name_set(n, REASON_NONE, answer->text, addrs, answer->count);
    life_answered(&n->life, &n->resolve->config.life, answer->ttl_s, now_of(n));
}

/* True: what was kept before goes on. */
static bool name_keep(struct name *n, const struct resolver_answer *answer)
{
    const struct life_config *life = &n->resolve->config.life;

    if (answer->result == RESOLVER_OK && answer->count) {
        name_keep_addresses(n, answer);
        return false;
    }
    n->resolve->stats.failures++;
    if (is_said(answer->result))
        life_denied(&n->life, life, now_of(n));
    else if (life_failed(&n->life, life, now_of(n)))
        return true;
    n->server = answer->server;
    name_set(n, REASON_RESOLVE_FAILED, answer->text, NULL, 0);
    return false;
}

static const char *kept_source(const struct name *n)
{
    return life_stage(&n->life, now_of(n)) == LIFE_STALE ? "dns-stale" : "dns-cache";
}

static void on_resolved(void *user, const struct resolver_answer *answer)
{
    struct name *n = user;
    bool goes_on;

    if (!answer->is_part)
        name_query_over(n);
    goes_on = name_keep(n, answer);
    answer_all(n, goes_on ? kept_source(n) : "dns", answer->is_part);
}

static void on_request_due(void *arg)
{
    struct resolve_request *q = arg;
    struct resolve_answer late = {
        .reason = REASON_RESOLVE_FAILED, .source = "dns", .text = "no answer in time",
    };
    struct resolve_answer kept = name_answer(q->name, q->due == DUE_STALE ? "dns-stale" : "dns-cache");
    struct resolve_answer part = name_answer(q->name, "dns");

    if (q->due != DUE_DEADLINE)
        request_answer(q, &kept);
    else
        request_answer(q, q->has_part ? &part : &late);
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

/* --- asking -------------------------------------------------------------------------------- */

static int name_ask(struct name *n, uint32_t deadline_ms)
{
    struct resolve *r = n->resolve;

    r->stats.queries++;
    return resolver_query(r->resolver, n->text_name, deadline_ms, on_resolved, n, &n->query);
}

/* What cannot be asked for now is asked for at the next use. */
static void name_ask_ahead(struct name *n, uint32_t deadline_ms)
{
    struct resolve *r = n->resolve;

    if (n->query || r->ahead >= RESOLVE_AHEAD_MAX || !life_may_ask(&n->life, now_of(n)) ||
        name_ask(n, deadline_ms))
        return;
    n->is_ahead = true;
    r->ahead++;
    r->stats.ahead++;
}

static void count_outcome(struct resolve *r, enum life_stage stage)
{
    uint64_t *const of[LIFE_STAGE_COUNT] = {
        [LIFE_NONE] = &r->stats.miss,   [LIFE_FRESH] = &r->stats.fresh,       [LIFE_AHEAD] = &r->stats.fresh,
        [LIFE_STALE] = &r->stats.stale, [LIFE_NEGATIVE] = &r->stats.negative,
    };

    (*of[stage])++;
}

/* When the request is answered by what is kept, and whether the DNS is asked. */
static int plan(struct name *n, struct resolve_request *q, uint64_t *ret_after_ms)
{
    const struct resolve *r = n->resolve;
    enum life_stage stage = life_stage(&n->life, now_of(n));

    count_outcome(n->resolve, stage);
    if (stage == LIFE_NONE) {
        q->due = DUE_DEADLINE;
        *ret_after_ms = q->deadline_ms;
        return n->query ? 0 : name_ask(n, q->deadline_ms);
    }
    if (stage == LIFE_AHEAD || stage == LIFE_STALE)
        name_ask_ahead(n, q->deadline_ms);
    q->due = stage == LIFE_STALE ? DUE_STALE : DUE_KEPT;
    *ret_after_ms = 0;
    if (stage == LIFE_STALE && n->query)
        *ret_after_ms = r->config.stale_wait_ms < q->deadline_ms ? r->config.stale_wait_ms : q->deadline_ms;
    return 0;
}

int resolve_name(struct resolve *r, const char *text, uint32_t deadline_ms, resolve_fn *fn, void *user,
                 struct resolve_request **ret_request)
{
    AUTO(freep) struct resolve_request *q = NULL;
    uint64_t after_ms;
    struct name *n;
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

    q->name = n;
    q->fn = fn;
    q->user = user;
    q->deadline_ms = deadline_ms;
    error = plan(n, q, &after_ms);
    if (error)
        return error;
    r->stats.waiting++;
    list_append(&n->waiters, &q->node);
    timer_start(r->loop, &q->timer, after_ms, on_request_due, q);
    *ret_request = TAKE(q);
    return 0;
}

void resolve_cancel(struct resolve_request *q)
{
    request_free(q);
}

/* Its query went with its resolver; whoever waits has his whole time again. */
static void name_ask_again(struct name *n)
{
    uint32_t longest_ms = 0;

    if (n->query)
        name_query_over(n);
    LIST_EACH(&n->waiters, node) {
        struct resolve_request *q = container_of(node, struct resolve_request, node);

        q->due = DUE_DEADLINE;
        timer_start(n->resolve->loop, &q->timer, q->deadline_ms, on_request_due, q);
        longest_ms = q->deadline_ms > longest_ms ? q->deadline_ms : longest_ms;
    }
    if (longest_ms && name_ask(n, longest_ms))
        n->query = NULL;            /* they are told at their deadline */
}

void resolve_flush(struct resolve *r)
{
    struct resolver *fresh;

    LIST_EACH(&r->lru, node)
        container_of(node, struct name, lru)->life = (struct life){ 0 };
    if (resolver_new(r->loop, &r->config.resolver, &fresh))
        return;                     /* the servers as they were */
    resolver_free(r->resolver);
    r->resolver = fresh;
    LIST_EACH(&r->lru, node)
        name_ask_again(container_of(node, struct name, lru));
}

const struct resolve_stats *resolve_stats(const struct resolve *r)
{
    return &r->stats;
}

static void config_defaults(struct resolve_config *c)
{
    c->names_max = c->names_max ? c->names_max : 4096;
    c->waiting_max = c->waiting_max ? c->waiting_max : 4096;
    c->life.fresh_max_s = c->life.fresh_max_s ? c->life.fresh_max_s : 30;
    c->life.negative_s = c->life.negative_s ? c->life.negative_s : 5;
    c->stale_wait_ms = c->stale_wait_ms ? c->stale_wait_ms : 500;
    c->resolver.gives_parts = true;
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
    if (config->resolver.servers) {
        r->servers = span_dup(span_str(config->resolver.servers));
        r->config.resolver.servers = r->servers;
        if (!r->servers)
            return -ENOMEM;
    }
    error = resolver_new(l, &r->config.resolver, &r->resolver);
    if (error) {
        free(r->servers);
        return error;
    }

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
    free(r->servers);
    free(r);
}
