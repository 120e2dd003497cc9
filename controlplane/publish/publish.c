#include "controlplane/publish/publish_internal.h"
#include "lib/log/log.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define RETRY_MS 1000           /* after a step that failed */

static uint64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* With the lock held. */
static void wait_until(struct publisher *p, uint64_t until_ms, bool is_ring_enough)
{
    struct timespec until = { .tv_sec = (time_t)(until_ms / 1000),
                              .tv_nsec = (long)(until_ms % 1000) * 1000000 };

    while (!p->is_stopping && !(is_ring_enough && p->is_rung) &&
           pthread_cond_clockwait(&p->has_work, &p->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
        ;
}

/* With the lock held: until there is work or the beat is due; false at the end.  After a step
 * that failed no bell shortens the wait: what hinders it would be in the log for each change. */
static bool wait_for_work(struct publisher *p, uint64_t beat_at_ms)
{
    wait_until(p, beat_at_ms, !p->trouble);
    if (p->is_rung && !p->trouble)
        wait_until(p, p->published_ms + PUBLISH_GATHER_MS, false);
    p->is_rung = false;
    return !p->is_stopping;
}

/* One that leads looks for what was written elsewhere; the others look for what was published. */
static int turn(struct publisher *p, bool is_due, bool *ret_is_news)
{
    bool has_work = is_due, is_waiting;
    int r = publish_keys(p);

    if (r)
        return r;
    if (store_is_shared(p->options.store) && !p->leads)
        r = publish_errno(p, publish_follow(p, ret_is_news, &has_work));
    else if (!is_due)
        r = publish_peek(p, &has_work);
    has_work |= p->leads && p->is_resigning;
    is_waiting = r == -EAGAIN;          /* perhaps there is nobody to wait for */
    if (is_waiting || (!r && (has_work || is_due)))
        r = publish_step(p, ret_is_news);
    if (!r && is_waiting && !p->leads)
        r = -EAGAIN;
    if (!r && !*ret_is_news && is_due)
        r = publish_head(p);            /* a new beat */
    return r;
}

static void one_turn(struct publisher *p, bool is_due)
{
    bool is_news = false;
    int r = turn(p, is_due, &is_news);

    if (r && r != p->trouble)
        LOG(ERROR, "publish.failed", E(r), S("detail", p->trouble_text));
    if (is_news && p->options.ring)
        p->options.ring(p->options.ring_ctx);
    pthread_mutex_lock(&p->lock);
    p->trouble = r;
    p->is_leader = p->leads;
    p->published_ms = monotonic_ms();
    pthread_cond_broadcast(&p->has_news);
    pthread_mutex_unlock(&p->lock);
}

static void *publisher_main(void *arg)
{
    struct publisher *p = arg;
    bool is_shared = store_is_shared(p->options.store);
    uint64_t beat_ms = 0, next_ms;

    for (;;) {
        if (!beat_ms || p->trouble)
            beat_ms = monotonic_ms() + (p->trouble ? RETRY_MS : p->options.beat_ms);
        next_ms = monotonic_ms() + PUBLISH_POLL_MS;
        if (!is_shared || p->trouble || next_ms > beat_ms)
            next_ms = beat_ms;
        pthread_mutex_lock(&p->lock);
        if (!wait_for_work(p, next_ms)) {
            pthread_mutex_unlock(&p->lock);
            return NULL;
        }
        pthread_mutex_unlock(&p->lock);
        if (!is_shared || p->trouble || monotonic_ms() >= beat_ms)
            beat_ms = 0;
        one_turn(p, !beat_ms);
    }
}

void publisher_wake(void *publisher)
{
    struct publisher *p = publisher;

    pthread_mutex_lock(&p->lock);
    p->is_rung = true;
    pthread_cond_signal(&p->has_work);
    pthread_mutex_unlock(&p->lock);
}

static struct publisher *publisher_new(const struct publisher_options *options)
{
    struct publisher *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->options = *options;
    if (!p->options.beat_ms)
        p->options.beat_ms = 5000;
    p->at = p->snapshot_at = STATE_POSITION_NONE;
    p->is_resigning = true;             /* whoever was here before may have begun to */
    deltas_init(&p->deltas);
    reach_cache_init(&p->reach);
    buf_init_heap(&p->snapshot, DOCUMENT_SIZE_MAX);
    buf_init_heap(&p->head, 4096);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->has_work, NULL);
    pthread_cond_init(&p->has_news, NULL);
    return p;
}

int publisher_start(const struct publisher_options *options, struct publisher **ret_publisher,
                    struct buf *reterr)
{
    AUTO(publisher_freep) struct publisher *p = publisher_new(options);
    int r;

    if (!p)
        return -ENOMEM;
    r = publish_load(p);
    p->is_leader = p->leads;
    if (r == -EAGAIN) {                 /* the leader is about to publish */
        p->trouble = r;
        r = 0;
    }
    if (!r)
        r = -pthread_create(&p->thread, NULL, publisher_main, p);
    if (r) {
        buf_printf(reterr, "the state cannot be published: %s %s", strerrordesc_np(-r), p->trouble_text);
        return r;
    }
    p->has_thread = true;
    *ret_publisher = TAKE(p);
    return 0;
}

void publisher_free(struct publisher *p)
{
    if (p->has_thread) {
        pthread_mutex_lock(&p->lock);
        p->is_stopping = true;
        pthread_cond_signal(&p->has_work);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->thread, NULL);
    }
    snapshot_join(p);
    deltas_clear(&p->deltas);
    reach_cache_deinit(&p->reach);
    buf_deinit(&p->snapshot);
    buf_deinit(&p->head);
    policy_unref(p->policy);
    pthread_cond_destroy(&p->has_work);
    pthread_cond_destroy(&p->has_news);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

struct policy *publisher_policy(struct publisher *p)
{
    struct policy *policy;

    pthread_mutex_lock(&p->lock);
    policy = policy_ref(p->policy);
    pthread_mutex_unlock(&p->lock);
    return policy;
}

static bool is_reached(const struct publisher *p, const struct store_position *at)
{
    return p->at.epoch > at->epoch || (p->at.epoch == at->epoch && p->at.revision >= at->revision);
}

struct policy *publisher_policy_now(void *publisher, struct store_position *ret_at)
{
    struct publisher *p = publisher;
    struct policy *policy;

    pthread_mutex_lock(&p->lock);
    policy = policy_ref(p->policy);
    *ret_at = (struct store_position){ .epoch = p->at.epoch, .revision = p->at.revision };
    pthread_mutex_unlock(&p->lock);
    return policy;
}
struct policy *publisher_policy_at(struct publisher *p, const struct store_position *at,
                                   unsigned wait_ms)
{
    uint64_t until_ms = monotonic_ms() + wait_ms;
    struct timespec until = { .tv_sec = (time_t)(until_ms / 1000),
                              .tv_nsec = (long)(until_ms % 1000) * 1000000 };
    struct policy *policy;

    pthread_mutex_lock(&p->lock);
    while (!is_reached(p, at) && !p->trouble && !p->is_stopping &&
           pthread_cond_clockwait(&p->has_news, &p->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
        ;
    policy = policy_ref(p->policy);
    pthread_mutex_unlock(&p->lock);
    return policy;
}

struct store_position publisher_position(struct publisher *p)
{
    struct store_position position;

    pthread_mutex_lock(&p->lock);
    position = (struct store_position){ p->at.epoch, p->at.revision };
    pthread_mutex_unlock(&p->lock);
    return position;
}

/* With the lock held. */
static void put_news(struct publisher *p, struct store_position at, struct buf *out)
{
    if (at.epoch == p->at.epoch &&
        deltas_from(&p->deltas, at.epoch, at.revision, PUBLISH_ANSWER_MAX, out))
        return;
    buf_put_span(out, buf_span(&p->snapshot));
    (void)deltas_from(&p->deltas, p->at.epoch, p->snapshot_at.revision, PUBLISH_ANSWER_MAX, out);
}

int publisher_answer(struct publisher *p, struct store_position at, struct buf *out,
                     bool *ret_is_news)
{
    pthread_mutex_lock(&p->lock);
    if (!p->head.len) {
        pthread_mutex_unlock(&p->lock);
        return -EAGAIN;
    }
    buf_put_span(out, buf_span(&p->head));
    *ret_is_news = at.epoch != p->at.epoch || at.revision != p->at.revision;
    if (*ret_is_news)
        put_news(p, at, out);
    pthread_mutex_unlock(&p->lock);
    return buf_error(out);
}

bool publisher_leads(struct publisher *p)
{
    bool leads;

    pthread_mutex_lock(&p->lock);
    leads = p->is_leader;
    pthread_mutex_unlock(&p->lock);
    return leads;
}

bool publisher_is_well(struct publisher *p, struct buf *ret_why)
{
    bool is_well;

    pthread_mutex_lock(&p->lock);
    is_well = !p->trouble;
    if (!is_well)
        buf_printf(ret_why, "publication fails: %s %s\n", strerrordesc_np(-p->trouble), p->trouble_text);
    pthread_mutex_unlock(&p->lock);
    return is_well;
}
