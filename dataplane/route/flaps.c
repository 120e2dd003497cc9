#include "dataplane/route/flaps.h"
#include "lib/base/list.h"
#include "lib/base/map.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PARTS 8                 /* of one link; what a link with living streams costs is 1 */
#define WAIT_LEAST_MS 1000

enum flap_kind { FLAP_AGENT, FLAP_SOURCE };

struct flap {
    struct map_node node;
    struct list order;          /* by when it was touched */
    char key[1 + ULID_LEN];
    enum flap_kind kind;
    uint64_t left;              /* parts */
    uint64_t filled_ms;
    bool is_slowed;
};

struct flaps {
    struct flaps_config config;
    pthread_mutex_t lock;       /* guards the rest */
    struct map by_key;
    struct list order;
    uint64_t forgotten;
};

int flaps_new(const struct flaps_config *config, struct flaps **ret_flaps)
{
    struct flaps *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    f->config = *config;
    pthread_mutex_init(&f->lock, NULL);
    map_init(&f->by_key, config->known_max);
    list_init(&f->order);
    *ret_flaps = f;
    return 0;
}

static void forget(struct flaps *f, struct flap *one)
{
    map_remove(&f->by_key, &one->node);
    list_remove(&one->order);
    free(one);
}

void flaps_free(struct flaps *f)
{
    struct list *node;

    while ((node = list_first(&f->order)))
        forget(f, container_of(node, struct flap, order));
    map_deinit(&f->by_key);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* --- counts ---------------------------------------------------------------------------------- */

static uint64_t most(const struct flaps *f, enum flap_kind kind)
{
    return (uint64_t)PARTS * (kind == FLAP_AGENT ? f->config.links : f->config.faults);
}

static void refill(const struct flaps *f, struct flap *one, uint64_t now_ms)
{
    uint64_t full = most(f, one->kind);
    uint64_t gone_ms = now_ms > one->filled_ms ? now_ms - one->filled_ms : 0;
    uint64_t back = gone_ms >= f->config.back_ms ? full : gone_ms * full / f->config.back_ms;

    if (!back)
        return;
    /* The rest of a part stays with it, else who comes often gets less back than who comes seldom. */
    one->filled_ms = gone_ms >= f->config.back_ms ? now_ms : one->filled_ms + back * f->config.back_ms / full;
    one->left = back > full - one->left ? full : one->left + back;
    if (one->left >= full / 2)
        one->is_slowed = false;
}

/* NULL: no memory; then nobody is slowed. */
static struct flap *add(struct flaps *f, enum flap_kind kind, struct span key, uint64_t now_ms)
{
    struct flap *one;

    if (f->by_key.count >= f->config.known_max && list_first(&f->order)) {
        forget(f, container_of(list_first(&f->order), struct flap, order));
        f->forgotten++;
    }
    one = calloc(1, sizeof(*one));
    if (!one)
        return NULL;
    one->kind = kind;
    one->left = most(f, kind);
    one->filled_ms = now_ms;
    list_init(&one->order);
    memcpy(one->key, key.p, key.n);
    if (map_insert(&f->by_key, &one->node, span_of(one->key, key.n))) {
        free(one);
        return NULL;
    }
    return one;
}

static struct flap *find(struct flaps *f, struct span key)
{
    struct map_node *node = map_find(&f->by_key, key);

    return node ? container_of(node, struct flap, node) : NULL;
}

static struct flap *touch(struct flaps *f, enum flap_kind kind, struct span key, uint64_t now_ms)
{
    struct flap *one = find(f, key);

    if (!one)
        one = add(f, kind, key, now_ms);
    if (!one)
        return NULL;
    list_remove(&one->order);
    list_append(&f->order, &one->order);
    refill(f, one, now_ms);
    return one;
}

/* 0: there is enough; else until there is. */
static uint32_t wait_ms(const struct flaps *f, struct flap *one, uint64_t cost, bool *ret_is_news)
{
    uint64_t ms;

    *ret_is_news = false;
    if (one->left >= cost)
        return 0;
    *ret_is_news = !one->is_slowed;
    one->is_slowed = true;
    ms = (cost - one->left) * f->config.back_ms / most(f, one->kind);
    return ms > WAIT_LEAST_MS ? (uint32_t)ms : WAIT_LEAST_MS;
}

/* --- who comes ------------------------------------------------------------------------------- */

static struct span agent_key(const struct ulid *agent, char dst[1 + ULID_LEN])
{
    dst[0] = 'a';
    memcpy(dst + 1, agent->text, ULID_LEN);
    return span_of(dst, 1 + ULID_LEN);
}

static struct span source_key(const struct addr *source, char dst[1 + ULID_LEN])
{
    const struct addr whole = addr_source(source);

    dst[0] = 's';
    memcpy(dst + 1, whole.ip, sizeof(whole.ip));
    return span_of(dst, 1 + sizeof(whole.ip));
}

uint32_t flaps_agent(struct flaps *f, const struct ulid *agent, bool has_streams, uint64_t now_ms, bool *ret_is_news)
{
    uint64_t cost = has_streams ? 1 : PARTS;
    char mem[1 + ULID_LEN];
    struct flap *one;
    uint32_t ms = 0;

    *ret_is_news = false;
    if (!f->config.links)
        return 0;
    pthread_mutex_lock(&f->lock);
    one = touch(f, FLAP_AGENT, agent_key(agent, mem), now_ms);
    if (one)
        ms = wait_ms(f, one, cost, ret_is_news);
    if (one && !ms)
        one->left -= cost;
    pthread_mutex_unlock(&f->lock);
    return ms;
}

/* Who never brought a fault is not in the table, and does not come in by coming. */
uint32_t flaps_source(struct flaps *f, const struct addr *source, uint64_t now_ms, bool *ret_is_news)
{
    char mem[1 + ULID_LEN];
    struct flap *one;
    uint32_t ms = 0;

    *ret_is_news = false;
    if (!f->config.faults)
        return 0;
    pthread_mutex_lock(&f->lock);
    one = find(f, source_key(source, mem));
    if (one) {
        refill(f, one, now_ms);
        ms = wait_ms(f, one, PARTS, ret_is_news);
    }
    pthread_mutex_unlock(&f->lock);
    return ms;
}

void flaps_charge(struct flaps *f, const struct addr *source, uint64_t now_ms)
{
    char mem[1 + ULID_LEN];
    struct flap *one;

    if (!f->config.faults)
        return;
    pthread_mutex_lock(&f->lock);
    one = touch(f, FLAP_SOURCE, source_key(source, mem), now_ms);
    if (one)
        one->left -= one->left < PARTS ? one->left : PARTS;
    pthread_mutex_unlock(&f->lock);
}

void flaps_get_stats(struct flaps *f, struct flaps_stats *ret_stats)
{
    pthread_mutex_lock(&f->lock);
    *ret_stats = (struct flaps_stats){ .known = f->by_key.count, .forgotten = f->forgotten };
    pthread_mutex_unlock(&f->lock);
}
