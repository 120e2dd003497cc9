#include "dataplane/policy/quota.h"
#include "lib/base/map.h"
#include "lib/policy/window.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_US ((int64_t)1000000)
#define DEPTH_MIN 4096
#define QUANTUM_MAX 16384           /* worth a wake-up */

struct quota_pool {
    struct map_node node;
    struct quotas *owner;
    struct ulid id;
    _Atomic int reason;             /* an enum reason: of its scope */
    struct quota_record *record;    /* this and what follows: under the owner's lock */
    bool is_known;                  /* its quota stands in the state */
    uint64_t streams;
    int64_t next_us;                /* when the next new stream would be due at the even rate */
    int64_t day_ms;
    struct quota_usage told;
    _Atomic int64_t bytes_per_s, bytes_per_day;     /* from here on: any thread */
    _Atomic int64_t tokens;
    _Atomic int64_t filled_us;
    _Atomic uint64_t bytes, others; /* of the day */
    _Atomic int64_t day_end_ms;
    _Atomic bool is_over;
    _Atomic unsigned hits;
};

struct quotas {
    pthread_mutex_t lock;
    struct map pools;
    struct pmap seen;               /* the quotas of the state that the pools were made from; at first none */
    uint64_t over_bound;
    _Atomic uint64_t over_count;
};

/* --- making it -------------------------------------------------------------------------------- */

int quotas_new(size_t pools_max, struct quotas **ret_quotas)
{
    struct quotas *q = calloc(1, sizeof(*q));

    if (!q)
        return -ENOMEM;
    pthread_mutex_init(&q->lock, NULL);
    map_init(&q->pools, pools_max);
    *ret_quotas = q;
    return 0;
}

static void pool_free(struct quota_pool *p)
{
    map_remove(&p->owner->pools, &p->node);
    record_unref(&p->record->record);
    free(p);
}

void quotas_free(struct quotas *q)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&q->pools, &cursor)))
        pool_free(container_of(node, struct quota_pool, node));
    map_deinit(&q->pools);
    pmap_deinit(&q->seen);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

static struct span id_of(const struct quota_record *quota)
{
    return span_of(quota->record.id, ULID_LEN);
}

static struct quota_pool *find(const struct quotas *q, struct span id)
{
    struct map_node *node = map_find(&q->pools, id);

    return node ? container_of(node, struct quota_pool, node) : NULL;
}

/* --- the day ------------------------------------------------------------------------------------ */

/* Streams that stopped there may go on, as soon as they are looked at. */
static void note_not_over(struct quota_pool *p)
{
    if (atomic_exchange(&p->is_over, false))
        atomic_fetch_add(&p->owner->over_count, 1);
}

static void enter_day(struct quota_pool *p, int64_t wall_ms)
{
    struct window_day day = window_day(p->record->offsets, p->record->offset_count, wall_ms);

    p->day_ms = day.begin_ms;
    atomic_store(&p->day_end_ms, day.end_ms);
    atomic_store(&p->bytes, 0);
    atomic_store(&p->others, 0);
    note_not_over(p);
}

static void look_at_day(struct quota_pool *p, int64_t wall_ms)
{
    if (wall_ms >= atomic_load(&p->day_end_ms) || wall_ms < p->day_ms)
        enter_day(p, wall_ms);
}

static uint64_t used(const struct quota_pool *p)
{
    return atomic_load(&p->bytes) + atomic_load(&p->others);
}

uint64_t quota_day_left(const struct quota_pool *p)
{
    int64_t limit = atomic_load(&p->bytes_per_day);
    uint64_t bytes = used(p);

    if (!limit)
        return UINT64_MAX;
    return bytes < (uint64_t)limit ? (uint64_t)limit - bytes : 0;
}

/* Once for each day, or change of it: living streams are looked at. */
static void note_over(struct quota_pool *p)
{
    if (quota_day_left(p) || atomic_exchange(&p->is_over, true))
        return;
    atomic_fetch_or(&p->hits, QUOTA_HIT_BYTES_PER_DAY);
    atomic_fetch_add(&p->owner->over_count, 1);
}

void quota_count(struct quota_pool *p, uint64_t bytes, int64_t wall_ms)
{
    if (wall_ms >= atomic_load(&p->day_end_ms)) {
        pthread_mutex_lock(&p->owner->lock);
        look_at_day(p, wall_ms);
        pthread_mutex_unlock(&p->owner->lock);
    }
    atomic_fetch_add(&p->bytes, bytes);
    note_over(p);
}

enum reason quota_over(struct quota_pool *p, int64_t wall_ms)
{
    bool has_ended = wall_ms >= atomic_load(&p->day_end_ms);

    return has_ended || quota_day_left(p) ? REASON_NONE : (enum reason)atomic_load(&p->reason);
}

uint64_t quotas_over_count(const struct quotas *q)
{
    return atomic_load(&q->over_count);
}

void quotas_set_others(struct quotas *q, struct span id, int64_t day_ms, uint64_t bytes)
{
    struct quota_pool *p;

    pthread_mutex_lock(&q->lock);
    p = find(q, id);
    if (p && p->day_ms == day_ms) {
        atomic_store(&p->others, bytes);
        if (quota_day_left(p))
            note_not_over(p);
        note_over(p);
    }
    pthread_mutex_unlock(&q->lock);
}

/* --- what the state says --------------------------------------------------------------------------- */

static int64_t depth_of(int64_t rate)
{
    return rate / 10 > DEPTH_MIN ? rate / 10 : DEPTH_MIN;
}

static void set_limits(struct quota_pool *p, const struct quota_record *record)
{
    int64_t was = atomic_exchange(&p->bytes_per_s, record->bytes_per_s);

    atomic_store(&p->reason, (int)policy_quota_reason(record->scope));
    if (was != record->bytes_per_s)
        atomic_store(&p->tokens, depth_of(record->bytes_per_s));
    atomic_store(&p->bytes_per_day, record->bytes_per_day);
    atomic_store(&p->is_over, false);
    note_over(p);
}

static bool has_same_zone(const struct quota_record *a, const struct quota_record *b)
{
    return a->offset_count == b->offset_count &&
           (a->offset_count == 0 || !memcmp(a->offsets, b->offsets, a->offset_count * sizeof(*a->offsets)));
}

static void change_pool(struct quota_pool *p, const struct quota_record *record, const struct quota_time *now)
{
    bool is_same_zone = has_same_zone(p->record, record);

    record_ref((struct record *)&record->record);
    record_unref(&p->record->record);
    p->record = (struct quota_record *)record;
    p->is_known = true;
    if (!is_same_zone)
        enter_day(p, now->wall_ms);
    set_limits(p, record);
}

static int make_pool(struct quotas *q, const struct quota_record *record, const struct quota_time *now)
{
    struct quota_pool *p = calloc(1, sizeof(*p));
    int r;

    if (!p)
        return -ENOMEM;
    p->owner = q;
    span_copy(id_of(record), p->id.text, sizeof(p->id.text));
    r = map_insert(&q->pools, &p->node, ulid_span(&p->id));
    if (r) {
        free(p);
        return r;
    }
    p->record = (struct quota_record *)record;
    record_ref(&p->record->record);
    p->is_known = true;
    atomic_init(&p->filled_us, (int64_t)now->mono_ms * 1000);
    enter_day(p, now->wall_ms);
    set_limits(p, record);
    return 0;
}

static void take_record(struct quotas *q, const struct quota_record *record, const struct quota_time *now)
{
    struct quota_pool *p = find(q, id_of(record));

    if (p && p->record != record)
        change_pool(p, record, now);
    else if (!p && make_pool(q, record, now))
        q->over_bound++;
}

/* What has gone limits nothing more; who has a place in it frees it. */
static void drop_unknown(struct quotas *q)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;

    while ((node = map_next(&q->pools, &cursor))) {
        struct quota_pool *p = container_of(node, struct quota_pool, node);

        p->is_known = pmap_get(&q->seen, ulid_span(&p->id)) != NULL;
        if (p->is_known)
            continue;
        atomic_store(&p->bytes_per_s, 0);
        atomic_store(&p->bytes_per_day, 0);
        if (!p->streams)
            pool_free(p);
    }
}

/* Those that go make room for those that come. */
static void make_pools(struct quotas *q, const struct quota_time *now)
{
    struct pmap_cursor cursor = { 0 };
    struct span id;
    void *record;

    drop_unknown(q);
    q->over_bound = 0;
    while (pmap_next(&q->seen, &cursor, &id, &record))
        take_record(q, RECORD_AS((const struct record *)record, QUOTA, quota_record), now);
}

/* Two versions that share their root have the same quotas. */
void quotas_sync(struct quotas *q, const struct policy *p, const struct quota_time *now)
{
    struct pmap quotas = policy_records(p, RECORD_QUOTA);
    bool is_other;

    pthread_mutex_lock(&q->lock);
    is_other = quotas.root != q->seen.root;
    pmap_deinit(&q->seen);
    q->seen = quotas;
    if (is_other)
        make_pools(q, now);
    pthread_mutex_unlock(&q->lock);
}

/* --- streams ----------------------------------------------------------------------------------- */

static int64_t step_us(const struct quota_record *record)
{
    return SECOND_US / record->streams_per_s;
}

/* How long until the rate gives one more; 0: now. */
static int64_t rate_wait_us(const struct quota_pool *p, uint64_t mono_ms)
{
    const struct quota_record *record = p->record;
    int64_t now_us = (int64_t)mono_ms * 1000, most_us;

    if (!record->streams_per_s)
        return 0;
    most_us = now_us + (record->burst - 1) * step_us(record);
    return p->next_us > most_us ? p->next_us - most_us : 0;
}

/* 0: one more fits; else the limit that says no. */
static unsigned limit_of(struct quota_pool *p, const struct quota_time *now, uint64_t *ret_wait_ms)
{
    int64_t wait_us;

    *ret_wait_ms = 0;
    look_at_day(p, now->wall_ms);
    if (p->record->streams && p->streams >= (uint64_t)p->record->streams)
        return QUOTA_HIT_STREAMS;
    if (!quota_day_left(p)) {
        *ret_wait_ms = (uint64_t)(atomic_load(&p->day_end_ms) - now->wall_ms);
        return QUOTA_HIT_BYTES_PER_DAY;
    }
    wait_us = rate_wait_us(p, now->mono_ms);
    *ret_wait_ms = (uint64_t)(wait_us + 999) / 1000;
    return wait_us ? QUOTA_HIT_STREAMS_PER_S : 0;
}

static void enter(struct quota_pool *p, uint64_t mono_ms)
{
    int64_t now_us = (int64_t)mono_ms * 1000;

    p->streams++;
    if (p->record->streams_per_s)
        p->next_us = (p->next_us > now_us ? p->next_us : now_us) + step_us(p->record);
}

static void leave(struct quota_pool *p)
{
    p->streams--;
    if (!p->streams && !p->is_known)
        pool_free(p);
}

bool quotas_have_room(struct quotas *q, const struct quota_record *quota, const struct quota_time *now,
                      uint64_t *ret_wait_ms)
{
    struct quota_pool *p;
    unsigned hit = 0;

    pthread_mutex_lock(&q->lock);
    p = find(q, id_of(quota));
    if (p)
        hit = limit_of(p, now, ret_wait_ms);
    if (hit)
        atomic_fetch_or(&p->hits, hit);
    pthread_mutex_unlock(&q->lock);
    return hit == 0;
}

/* Under the lock: each pool is looked at before one is entered. */
static enum reason look_at_all(struct quotas *q, const struct quota_record *const *quotas, size_t n,
                               const struct quota_time *now, struct quota_pool **ret_pools, size_t *ret_count,
                               struct quota_refusal *reterr_refusal)
{
    *ret_count = 0;
    for (size_t i = 0; i < n; i++) {
        struct quota_pool *p = find(q, id_of(quotas[i]));
        unsigned hit = p && now ? limit_of(p, now, &reterr_refusal->wait_ms) : 0;

        if (!p && q->over_bound)
            return REASON_OVERLOAD;
        if (p)
            ret_pools[(*ret_count)++] = p;
        if (!hit)
            continue;
        atomic_fetch_or(&p->hits, hit);
        reterr_refusal->quota = p->id;
        return (enum reason)atomic_load(&p->reason);
    }
    return REASON_NONE;
}

static enum reason take(struct quotas *q, const struct quota_record *const *quotas, size_t n,
                        const struct quota_time *now, struct quota_pool **ret_pools, size_t *ret_count,
                        struct quota_refusal *reterr_refusal)
{
    enum reason why;

    pthread_mutex_lock(&q->lock);
    why = look_at_all(q, quotas, n, now, ret_pools, ret_count, reterr_refusal);
    for (size_t i = 0; why == REASON_NONE && i < *ret_count; i++) {
        if (now)
            enter(ret_pools[i], now->mono_ms);
        else
            ret_pools[i]->streams++;
    }
    pthread_mutex_unlock(&q->lock);
    return why;
}

enum reason quotas_take(struct quotas *q, const struct quota_record *const *quotas, size_t n,
                        const struct quota_time *now, struct quota_pool **ret_pools, size_t *ret_count,
                        struct quota_refusal *reterr_refusal)
{
    return take(q, quotas, n, now, ret_pools, ret_count, reterr_refusal);
}

enum reason quotas_join(struct quotas *q, const struct quota_record *const *quotas, size_t n,
                        struct quota_pool **ret_pools, size_t *ret_count)
{
    struct quota_refusal none;

    return take(q, quotas, n, NULL, ret_pools, ret_count, &none);
}

bool quotas_are(struct quotas *q, const struct quota_record *const *quotas, size_t n,
                struct quota_pool *const *pools, size_t count)
{
    bool are_same = true;
    size_t same = 0;

    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < n && are_same; i++) {
        const struct quota_pool *p = find(q, id_of(quotas[i]));

        are_same = p ? same < count && pools[same] == p : !q->over_bound;
        same += p != NULL;
    }
    pthread_mutex_unlock(&q->lock);
    return are_same && same == count;
}

void quotas_put(struct quotas *q, struct quota_pool *const *pools, size_t n)
{
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < n; i++)
        leave(pools[i]);
    pthread_mutex_unlock(&q->lock);
}

struct span quota_id(const struct quota_pool *p)
{
    return ulid_span(&p->id);
}

/* --- bytes of a second ------------------------------------------------------------------------------ */

/* Time is used up by whole bytes, so that slow rates lose none. */
static void refill(struct quota_pool *p, int64_t rate, uint64_t mono_ms)
{
    int64_t now_us = (int64_t)mono_ms * 1000, last_us = atomic_load(&p->filled_us), next_us;
    int64_t elapsed_us = now_us > last_us ? now_us - last_us : 0, depth = depth_of(rate), more, left, next;

    more = elapsed_us >= SECOND_US ? depth : elapsed_us * rate / SECOND_US;
    if (more == 0)
        return;
    next_us = elapsed_us >= SECOND_US ? now_us : last_us + (more * SECOND_US + rate - 1) / rate;
    if (!atomic_compare_exchange_strong(&p->filled_us, &last_us, next_us))
        return;                         /* another worker did */
    left = atomic_load(&p->tokens);
    do
        next = left + more < depth ? left + more : depth;
    while (!atomic_compare_exchange_weak(&p->tokens, &left, next));
}

static int64_t quantum_of(int64_t rate)
{
    int64_t quantum = rate / 50;

    return quantum < 1 ? 1 : quantum > QUANTUM_MAX ? QUANTUM_MAX : quantum;
}

int64_t quota_lease(struct quota_pool *p, int64_t want, uint64_t mono_ms)
{
    int64_t rate = atomic_load(&p->bytes_per_s), most, left, took;

    if (!rate)
        return INT64_MAX;
    refill(p, rate, mono_ms);
    most = depth_of(rate) / 4;
    if (want > most)
        want = most;
    left = atomic_load(&p->tokens);
    do {
        took = want < left ? want : left;
        if (took < want && took < quantum_of(rate)) {
            atomic_fetch_or(&p->hits, QUOTA_HIT_BYTES_PER_S);
            return 0;
        }
    } while (!atomic_compare_exchange_weak(&p->tokens, &left, left - took));
    return took;
}

void quota_return(struct quota_pool *p, int64_t bytes)
{
    atomic_fetch_add(&p->tokens, bytes);
}

uint32_t quota_lease_wait_ms(const struct quota_pool *p)
{
    int64_t rate = atomic_load(&p->bytes_per_s);
    int64_t wait_ms = rate ? quantum_of(rate) * 1000 / rate + 1 : 1;

    return wait_ms < 2 ? 2 : wait_ms > 1000 ? 1000 : (uint32_t)wait_ms;
}

/* --- telling ------------------------------------------------------------------------------------------ */

static bool is_news(const struct quota_usage *a, const struct quota_usage *b)
{
    return a->day_ms != b->day_ms || a->day_end_ms != b->day_end_ms || a->bytes != b->bytes ||
           a->streams != b->streams || a->hits != b->hits;
}

/* A day that is used up stays so until it ends. */
static struct quota_usage usage_of(struct quota_pool *p)
{
    unsigned hits = atomic_exchange(&p->hits, 0);

    return (struct quota_usage){
        .id = ulid_span(&p->id),
        .day_ms = p->day_ms,
        .day_end_ms = atomic_load(&p->day_end_ms),
        .bytes = atomic_load(&p->bytes),
        .streams = p->streams,
        .hits = hits | (quota_day_left(p) ? 0 : QUOTA_HIT_BYTES_PER_DAY) |
                (p->record->streams && p->streams >= (uint64_t)p->record->streams ? QUOTA_HIT_STREAMS : 0),
    };
}

struct told {
    struct quota_usage usage;       /* its id points to the pool's, which may be gone by now */
    struct ulid id;
};

/* The rest is news the next time. */
static size_t copy_news(struct quotas *q, const struct quota_time *now, struct told *told, size_t max)
{
    struct map_cursor cursor = { 0 };
    struct map_node *node;
    size_t n = 0;

    if (q->over_bound && q->pools.count < q->pools.cap)
        make_pools(q, now);             /* streams of quotas that had gone have ended */
    while (n < max && (node = map_next(&q->pools, &cursor))) {
        struct quota_pool *p = container_of(node, struct quota_pool, node);
        struct quota_usage usage;

        look_at_day(p, now->wall_ms);
        usage = usage_of(p);
        if (!p->is_known || !is_news(&usage, &p->told))
            continue;
        p->told = usage;
        told[n++] = (struct told){ usage, p->id };
    }
    return n;
}

/* Told without the lock: who is told may write to a disk, and streams would wait. */
size_t quotas_tell(struct quotas *q, const struct quota_time *now,
                   void (*fn)(void *ctx, const struct quota_usage *usage), void *ctx)
{
    struct quotas_stats stats;
    struct told *told;
    size_t n;

    quotas_get_stats(q, &stats);
    told = calloc(stats.pools + 1, sizeof(*told));
    if (!told)
        return 0;
    pthread_mutex_lock(&q->lock);
    n = copy_news(q, now, told, stats.pools);
    pthread_mutex_unlock(&q->lock);
    for (size_t i = 0; i < n; i++) {
        told[i].usage.id = ulid_span(&told[i].id);
        fn(ctx, &told[i].usage);
    }
    free(told);
    return n;
}

void quotas_get_stats(struct quotas *q, struct quotas_stats *ret_stats)
{
    pthread_mutex_lock(&q->lock);
    *ret_stats = (struct quotas_stats){ .pools = q->pools.count, .over_bound = q->over_bound };
    pthread_mutex_unlock(&q->lock);
}
