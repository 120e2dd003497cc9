#include "dataplane/policy/breaker.h"
#include "lib/base/list.h"
#include "lib/base/map.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define TRYING_LEFT_MS 1000         /* said while another one tries */
#define KEY_MAX (ULID_LEN + 2 + TARGET_NAME_MAX + 1)

enum state { STATE_CLOSED, STATE_OPEN, STATE_HALF_OPEN, STATE_COUNT };
enum event {
    EVENT_GOOD,                     /* a stream reached the target */
    EVENT_TRIPPED,                  /* one more failure, and that was the last that is borne */
    EVENT_COOLED,                   /* somebody comes after the cool-down */
    EVENT_LOST,                     /* the try ended without an outcome */
    EVENT_COUNT
};

#define TO(s) ((s) + 1)             /* 0 in the table: not allowed */
static const unsigned char next_state[STATE_COUNT][EVENT_COUNT] = {
    /*                     GOOD               TRIPPED         COOLED               LOST            */
    [STATE_CLOSED]    = {  TO(STATE_CLOSED),  TO(STATE_OPEN), 0,                   0 },
    [STATE_OPEN]      = {  TO(STATE_CLOSED),  0,              TO(STATE_HALF_OPEN), 0 },
    [STATE_HALF_OPEN] = {  TO(STATE_CLOSED),  TO(STATE_OPEN), TO(STATE_HALF_OPEN), TO(STATE_OPEN) },
};

struct breaker {
    struct map_node node;
    struct list lately;
    struct list not_closed;         /* among the owner's, while it is not */
    enum state state;
    enum reason why;
    uint32_t failures;
    uint32_t cool_down_ms;          /* the present one */
    uint64_t until_ms;              /* open: its end; half open: of the waiting for an outcome */
    int64_t opened_ms;
    struct ulid id, agentgroup;
    uint16_t port;
    size_t key_n;
    char host[TARGET_NAME_MAX + 1];
    char key[KEY_MAX];
};

struct breakers {
    struct breakers_config config;
    pthread_mutex_t lock;
    struct map map;
    struct list lately;             /* used least lately first */
    struct list not_closed;         /* opened first; those who look at them see no others */
    struct breakers_stats stats;
    _Atomic size_t count;           /* read without the lock */
};

enum breaker_outcome breaker_outcome_of(enum reason why)
{
    static const enum reason bad[] = {
        REASON_DIAL_REFUSED, REASON_DIAL_TIMEOUT, REASON_DIAL_UNREACHABLE, REASON_RESOLVE_FAILED,
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (bad[i] == why)
            return BREAKER_BAD;
    }
    return BREAKER_UNKNOWN;
}

/* --- the table ---------------------------------------------------------------------------------- */

int breakers_new(const struct breakers_config *config, struct breakers **ret_breakers)
{
    struct breakers *b = calloc(1, sizeof(*b));

    if (!b)
        return -ENOMEM;
    b->config = *config;
    pthread_mutex_init(&b->lock, NULL);
    map_init(&b->map, config->breakers_max);
    list_init(&b->lately);
    list_init(&b->not_closed);
    *ret_breakers = b;
    return 0;
}

static void forget(struct breakers *b, struct breaker *one)
{
    map_remove(&b->map, &one->node);
    list_remove(&one->lately);
    atomic_store(&b->count, b->map.count);
    if (one->state != STATE_CLOSED) {
        list_remove(&one->not_closed);
        b->stats.open--;
        b->stats.version++;
    }
    free(one);
}

void breakers_free(struct breakers *b)
{
    LIST_EACH(&b->lately, node)
        forget(b, container_of(node, struct breaker, lately));
    map_deinit(&b->map);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static size_t make_key(const struct ulid *agentgroup, const struct target *target, char key[KEY_MAX])
{
    size_t n = strnlen(target->name, TARGET_NAME_MAX);

    memcpy(key, agentgroup->text, ULID_LEN);
    memcpy(key + ULID_LEN, &target->port, 2);
    memcpy(key + ULID_LEN + 2, target->name, n);
    return ULID_LEN + 2 + n;
}

static struct breaker *find(struct breakers *b, const struct ulid *agentgroup, const struct target *target)
{
    char key[KEY_MAX];
    size_t n = make_key(agentgroup, target, key);
    struct map_node *node = map_find(&b->map, span_of(key, n));
    struct breaker *one = node ? container_of(node, struct breaker, node) : NULL;

    if (!one)
        return NULL;
    list_remove(&one->lately);
    list_append(&b->lately, &one->lately);
    return one;
}

/* NULL: no memory, and the failure is not counted. */
static struct breaker *make(struct breakers *b, const struct ulid *agentgroup, const struct target *target)
{
    struct breaker *one = calloc(1, sizeof(*one));

    if (!one)
        return NULL;
    if (b->map.count >= b->config.breakers_max) {
        forget(b, container_of(list_first(&b->lately), struct breaker, lately));
        b->stats.evicted++;
    }
    one->agentgroup = *agentgroup;
    one->port = target->port;
    span_copy(span_first(span_str(target->name), TARGET_NAME_MAX), one->host, sizeof(one->host));
    one->key_n = make_key(agentgroup, target, one->key);
    if (map_insert(&b->map, &one->node, span_of(one->key, one->key_n))) {
        free(one);
        return NULL;
    }
    list_append(&b->lately, &one->lately);
    atomic_store(&b->count, b->map.count);
    return one;
}

/* --- one breaker ----------------------------------------------------------------------------------- */

/* False: that event means nothing there. */
static bool go(struct breakers *b, struct breaker *one, enum event event)
{
    unsigned next = next_state[one->state][event];

    if (!next)
        return false;
    if (next - 1 != STATE_CLOSED && one->state == STATE_CLOSED)
        list_append(&b->not_closed, &one->not_closed);
    else if (next - 1 == STATE_CLOSED && one->state != STATE_CLOSED)
        list_remove(&one->not_closed);
    b->stats.open += (next - 1 != STATE_CLOSED) - (one->state != STATE_CLOSED);
    b->stats.version++;
    one->state = next - 1;
    return true;
}

static bool is_refusing(const struct breaker *one, uint64_t now_ms, uint64_t *ret_left_ms)
{
    uint64_t left_ms = now_ms < one->until_ms ? one->until_ms - now_ms : 0;

    if (one->state == STATE_CLOSED || !left_ms)
        return false;
    *ret_left_ms = one->state == STATE_OPEN ? left_ms : TRYING_LEFT_MS;
    return true;
}

bool breakers_is_open(struct breakers *b, const struct ulid *agentgroup, const struct target *target,
                      uint64_t now_ms, uint64_t *ret_left_ms)
{
    struct breaker *one;
    bool is_open;

    if (!atomic_load_explicit(&b->count, memory_order_relaxed))
        return false;
    pthread_mutex_lock(&b->lock);
    one = find(b, agentgroup, target);
    is_open = one && is_refusing(one, now_ms, ret_left_ms);
    pthread_mutex_unlock(&b->lock);
    return is_open;
}

static enum breaker_pass enter(struct breakers *b, struct breaker *one, uint64_t now_ms, uint64_t *ret_left_ms)
{
    if (is_refusing(one, now_ms, ret_left_ms))
        return BREAKER_REFUSES;
    if (!go(b, one, EVENT_COOLED))
        return BREAKER_CLOSED;
    one->until_ms = now_ms + BREAKER_TRY_MS;
    return BREAKER_TRIES;
}

enum breaker_pass breakers_enter(struct breakers *b, const struct ulid *agentgroup, const struct target *target,
                                 uint64_t now_ms, uint64_t *ret_left_ms)
{
    enum breaker_pass pass = BREAKER_CLOSED;
    struct breaker *one;

    if (!atomic_load_explicit(&b->count, memory_order_relaxed))
        return pass;
    pthread_mutex_lock(&b->lock);
    one = find(b, agentgroup, target);
    if (one)
        pass = enter(b, one, now_ms, ret_left_ms);
    pthread_mutex_unlock(&b->lock);
    return pass;
}

/* Longer each time, and never for all relays and targets to the same moment. */
static void open_it(struct breakers *b, struct breaker *one, const struct breaker_end *end)
{
    uint32_t first = b->config.cool_down_ms, most = b->config.cool_down_max_ms;

    if (!one->cool_down_ms) {
        one->id = end->id;
        one->opened_ms = end->wall_ms;
        one->cool_down_ms = first;
    } else {
        one->cool_down_ms = one->cool_down_ms < most / 2 ? one->cool_down_ms * 2 : most;
    }
    one->until_ms = end->now_ms + one->cool_down_ms - one->cool_down_ms / 4 + end->random % (one->cool_down_ms / 2 + 1);
    b->stats.opened++;
}

/* What comes of streams that were opened before it opened changes nothing, unless it is good. */
static bool fail(struct breakers *b, struct breaker *one, const struct breaker_end *end)
{
    if (one->state != STATE_CLOSED && !end->tried)
        return false;
    one->failures++;
    one->why = end->why;
    if (one->state == STATE_CLOSED && one->failures < b->config.failures)
        return false;
    if (!go(b, one, EVENT_TRIPPED))
        return false;
    open_it(b, one, end);
    return true;
}

static bool settle(struct breakers *b, const struct ulid *agentgroup, const struct target *target,
                   const struct breaker_end *end)
{
    struct breaker *one = find(b, agentgroup, target);

    if (!one && end->outcome == BREAKER_BAD)
        one = make(b, agentgroup, target);
    if (!one)
        return false;
    switch (end->outcome) {
    case BREAKER_BAD:
        return fail(b, one, end);
    case BREAKER_GOOD:
        if (go(b, one, EVENT_GOOD))
            forget(b, one);
        return false;
    case BREAKER_UNKNOWN:
        if (end->tried && go(b, one, EVENT_LOST))
            one->until_ms = end->now_ms;        /* the next one may try */
        return false;
    default:
        return false;
    }
}

bool breakers_leave(struct breakers *b, const struct ulid *agentgroup, const struct target *target,
                    const struct breaker_end *end)
{
    bool has_opened;

    if (!b->config.failures)
        return false;
    if (end->outcome != BREAKER_BAD && !atomic_load_explicit(&b->count, memory_order_relaxed))
        return false;
    pthread_mutex_lock(&b->lock);
    has_opened = settle(b, agentgroup, target, end);
    pthread_mutex_unlock(&b->lock);
    return has_opened;
}

/* --- those who look and reset -------------------------------------------------------------------------- */

void breakers_sync(struct breakers *b, const struct policy *p)
{
    if (policy_count(p, RECORD_CUT) == 0)
        return;
    pthread_mutex_lock(&b->lock);
    LIST_EACH(&b->not_closed, node) {
        struct breaker *one = container_of(node, struct breaker, not_closed);

        if (!policy_resets_breaker(p, &one->id))
            continue;
        forget(b, one);
        b->stats.reset++;
    }
    pthread_mutex_unlock(&b->lock);
}

/* Copied, so that nobody who opens a stream waits while they are told. */
static size_t copy_not_closed(struct breakers *b, struct breaker *copies, size_t max)
{
    size_t n = 0;

    LIST_EACH(&b->not_closed, node) {
        if (n == max)
            break;
        copies[n++] = *container_of(node, struct breaker, not_closed);
    }
    return n;
}

size_t breakers_each(struct breakers *b, uint64_t now_ms, size_t max,
                     void (*fn)(void *ctx, const struct breaker_row *row), void *ctx)
{
    struct breaker *copies = calloc(max ? max : 1, sizeof(*copies));
    size_t n, all;

    pthread_mutex_lock(&b->lock);
    n = copies ? copy_not_closed(b, copies, max) : 0;
    all = (size_t)b->stats.open;
    pthread_mutex_unlock(&b->lock);
    for (size_t i = 0; i < n; i++) {
        const struct breaker *one = &copies[i];

        fn(ctx, &(struct breaker_row){
            .id = &one->id,
            .agentgroup = &one->agentgroup,
            .host = one->host,
            .port = one->port,
            .is_trying = one->state == STATE_HALF_OPEN,
            .why = one->why,
            .failures = one->failures,
            .opened_ms = one->opened_ms,
            .left_ms = one->state == STATE_OPEN && one->until_ms > now_ms ? one->until_ms - now_ms : 0,
        });
    }
    free(copies);
    return all;
}

void breakers_get_stats(struct breakers *b, struct breakers_stats *ret_stats)
{
    pthread_mutex_lock(&b->lock);
    *ret_stats = b->stats;
    ret_stats->count = b->map.count;
    pthread_mutex_unlock(&b->lock);
}
