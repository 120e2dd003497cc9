#include "dataplane/route/meter.h"
#include <errno.h>
#include <stdlib.h>

#define SHARES_MAX 1000000          /* of a worker; there are no more pools than quotas_max */
#define TURN_LEAST 4096             /* there for each that is let go on */
#define LEASE_MOST (1 << 20)
#define WORTH_BYTES 256             /* a read or a write, where more is wanted */

struct share {
    struct map_node node;
    struct meters *meters;
    struct quota_pool *pool;        /* the key */
    unsigned refs;                  /* legs of meters */
    int64_t leased;
    uint64_t carried;               /* that the pool does not know of */
    struct list waiting;            /* meters, who came first first */
    unsigned waiting_count;
    size_t turn_bytes;              /* for each of those who were let go on last */
    struct loop_timer timer;
};

struct leg {
    struct quota_pool *pool;
    struct share *share;            /* NULL: under way to another worker */
};

struct meter {
    struct pipe_gate gate;
    struct meters *meters;
    struct list waiting;
    struct share *waits_at;         /* NULL: in no line */
    void (*resume)(void *user);
    void *user;
    bool is_stopped;                /* it was told 0 */
    bool has_turn;                  /* its wait is over: it goes before those who wait */
    size_t count;
    struct leg legs[];
};

void meters_init(struct meters *m, struct loop *loop, struct quotas *quotas)
{
    *m = (struct meters){ .loop = loop, .quotas = quotas };
    map_init(&m->shares, SHARES_MAX);
}

void meters_deinit(struct meters *m)
{
    map_deinit(&m->shares);
}

struct quota_time meters_now(const struct meters *m)
{
    (void)m;
    return (struct quota_time){ .wall_ms = (int64_t)wall_ms(), .mono_ms = mono_ms() };
}

/* --- shares ----------------------------------------------------------------------------------- */

static void on_turn(void *arg);

static struct share *share_get(struct meters *m, struct quota_pool *pool)
{
    struct map_node *node = map_find(&m->shares, span_of((const char *)&pool, sizeof(pool)));
    struct share *s = node ? container_of(node, struct share, node) : NULL;

    if (s) {
        s->refs++;
        return s;
    }
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->meters = m;
    s->pool = pool;
    s->refs = 1;
    list_init(&s->waiting);
    if (map_insert(&m->shares, &s->node, span_of((const char *)&s->pool, sizeof(s->pool)))) {
        free(s);
        return NULL;
    }
    return s;
}

static void flush(struct share *s)
{
    if (s->carried)
        quota_count(s->pool, s->carried, (int64_t)wall_ms());
    s->carried = 0;
}

static void share_put(struct share *s)
{
    flush(s);
    if (--s->refs)
        return;
    timer_stop(&s->timer);
    quota_return(s->pool, s->leased);
    map_remove(&s->meters->shares, &s->node);
    free(s);
}

/* What may go by the rate; 0: nothing now. */
static int64_t rate_room(struct share *s, int64_t most)
{
    int64_t more = s->leased < most ? quota_lease(s->pool, most - s->leased, mono_ms()) : 0;
    int64_t worth = most < WORTH_BYTES ? most : WORTH_BYTES;

    if (more == INT64_MAX) {
        s->leased = 0;              /* there is no rate (any more) */
        return most;
    }
    s->leased += more;
    return s->leased < worth ? 0 : s->leased < most ? s->leased : most;
}

static uint64_t day_room(const struct share *s)
{
    uint64_t left = quota_day_left(s->pool);

    return left == UINT64_MAX ? left : left > s->carried ? left - s->carried : 0;
}

static void leave_line(struct meter *m)
{
    if (!m->waits_at)
        return;
    list_remove(&m->waiting);
    TAKE(m->waits_at)->waiting_count--;
}

/* Whoever was let go on and found nothing left stays the next one. */
static void wait_in(struct meter *m, struct share *s)
{
    m->is_stopped = true;
    m->waits_at = s;
    s->waiting_count++;
    if (m->has_turn)
        list_prepend(&s->waiting, &m->waiting);
    else
        list_append(&s->waiting, &m->waiting);
    m->has_turn = false;
    if (!timer_is_on(&s->timer))
        timer_start(s->meters->loop, &s->timer, quota_lease_wait_ms(s->pool), on_turn, s);
}

/* So many go on as there is something for; they carry it on their own calls. */
static void on_turn(void *arg)
{
    struct share *s = arg;
    int64_t left = rate_room(s, LEASE_MOST);

    s->refs++;                      /* whoever goes on may end */
    s->turn_bytes = s->waiting_count ? (size_t)left / s->waiting_count : 0;
    if (s->turn_bytes < TURN_LEAST)
        s->turn_bytes = TURN_LEAST;
    for (; left > 0 && !list_is_empty(&s->waiting); left -= (int64_t)s->turn_bytes) {
        struct meter *m = container_of(list_first(&s->waiting), struct meter, waiting);

        leave_line(m);
        m->has_turn = true;
        m->is_stopped = false;
        m->resume(m->user);
    }
    if (!list_is_empty(&s->waiting))
        timer_start(s->meters->loop, &s->timer, quota_lease_wait_ms(s->pool), on_turn, s);
    share_put(s);
}

/* --- one stream ------------------------------------------------------------------------------------ */

static struct meter *of_gate(struct pipe_gate *gate)
{
    return container_of(gate, struct meter, gate);
}

static size_t gate_room(struct pipe_gate *gate, size_t most)
{
    return meter_room(of_gate(gate), most);
}

static void gate_carried(struct pipe_gate *gate, size_t bytes)
{
    meter_carried(of_gate(gate), bytes);
}

static int find_shares(struct meter *m)
{
    for (size_t i = 0; i < m->count; i++) {
        m->legs[i].share = share_get(m->meters, m->legs[i].pool);
        if (!m->legs[i].share)
            return -ENOMEM;
    }
    return 0;
}

int meter_new(struct meters *meters, struct quota_pool *const *pools, size_t n, void (*resume)(void *user),
              void *user, struct meter **ret_meter)
{
    struct meter *m = calloc(1, sizeof(*m) + n * sizeof(m->legs[0]));

    if (!m) {
        quotas_put(meters->quotas, pools, n);
        return -ENOMEM;
    }
    m->gate = (struct pipe_gate){ gate_room, gate_carried };
    m->meters = meters;
    m->resume = resume;
    m->user = user;
    m->count = n;
    list_init(&m->waiting);
    for (size_t i = 0; i < n; i++)
        m->legs[i].pool = pools[i];
    if (find_shares(m)) {
        meter_free(m);
        return -ENOMEM;
    }
    *ret_meter = m;
    return 0;
}

static void leave_shares(struct meter *m)
{
    leave_line(m);
    for (size_t i = 0; i < m->count; i++) {
        struct share *s = TAKE(m->legs[i].share);

        if (s)
            share_put(s);
    }
}

void meter_free(struct meter *m)
{
    struct quota_pool *pools[POLICY_QUOTAS_MAX];

    if (!m)
        return;
    leave_shares(m);
    for (size_t i = 0; i < m->count; i++)
        pools[i] = m->legs[i].pool;
    quotas_put(m->meters->quotas, pools, m->count);
    free(m);
}

struct pipe_gate *meter_gate(struct meter *m)
{
    return &m->gate;
}

/* Those who wait go first. */
static size_t leg_room(struct meter *m, struct share *s, size_t most)
{
    bool is_line = !list_is_empty(&s->waiting);
    uint64_t day = day_room(s);
    int64_t room;

    if (day == 0) {
        flush(s);                   /* the pool may not know yet: then all its streams are cut */
        m->is_stopped = true;
        return 0;
    }
    if (most > day)
        most = day;
    if ((is_line || m->has_turn) && most > s->turn_bytes && s->turn_bytes)
        most = s->turn_bytes;
    room = is_line && !m->has_turn ? 0 : rate_room(s, (int64_t)most);
    if (room == 0)
        wait_in(m, s);
    return (size_t)room;
}

size_t meter_room(struct meter *m, size_t most)
{
    if (m->waits_at)
        return 0;
    for (size_t i = 0; i < m->count && most; i++)
        most = leg_room(m, m->legs[i].share, most);
    return most;
}

/* What is left of a day and is less than a datagram is of no use to it: the day is used up, so that its
 * streams are cut. */
static bool fits_day(struct share *s, size_t bytes)
{
    uint64_t left = day_room(s);

    if (left >= bytes)
        return true;
    s->carried += left < QUOTA_STEP ? left : 0;
    flush(s);
    return false;
}

bool meter_fits(struct meter *m, size_t bytes)
{
    for (size_t i = 0; i < m->count; i++) {
        struct share *s = m->legs[i].share;

        if (!fits_day(s, bytes) || rate_room(s, (int64_t)bytes) < (int64_t)bytes)
            return false;
    }
    return true;
}

/* What was leased before a rate was taken away is no debt. */
void meter_carried(struct meter *m, size_t bytes)
{
    m->has_turn = false;
    for (size_t i = 0; i < m->count; i++) {
        struct share *s = m->legs[i].share;

        s->leased -= (int64_t)bytes;
        s->carried += bytes;
        if (s->carried >= QUOTA_STEP)
            flush(s);
    }
}

bool meter_is_on(const struct meter *m, struct quotas *q, const struct quota_record *const *quotas, size_t n)
{
    struct quota_pool *pools[POLICY_QUOTAS_MAX];
    size_t count = m ? m->count : 0;

    for (size_t i = 0; i < count; i++)
        pools[i] = m->legs[i].pool;
    return quotas_are(q, quotas, n, pools, count);
}

enum reason meter_over(const struct meter *m)
{
    int64_t now_ms = (int64_t)wall_ms();
    enum reason why = REASON_NONE;

    for (size_t i = 0; i < m->count && why == REASON_NONE; i++)
        why = quota_over(m->legs[i].pool, now_ms);
    return why;
}

void meter_kick(struct meter *m)
{
    if (!m->is_stopped || m->waits_at)
        return;
    m->is_stopped = false;
    m->resume(m->user);
}

void meter_leave(struct meter *m)
{
    leave_shares(m);
}

int meter_arrive(struct meter *m, struct meters *there)
{
    m->meters = there;
    return find_shares(m);
}
