#include "controlplane/http/server_internal.h"

#include <errno.h>

static struct list *next_job(struct lane *lane)
{
    struct list *job;

    while (list_is_empty(&lane->queue) && !lane->is_stopping)
        pthread_cond_wait(&lane->has_work, &lane->lock);
    job = list_first(&lane->queue);
    if (!job)
        return NULL;
    list_remove(job);
    lane->waiting--;
    lane->running++;
    return job;
}

static void *lane_main(void *arg)
{
    struct lane *lane = arg;
    struct list *job;

    pthread_mutex_lock(&lane->lock);
    while ((job = next_job(lane))) {
        pthread_mutex_unlock(&lane->lock);
        lane->run(lane->ctx, job);
        pthread_mutex_lock(&lane->lock);
        lane->running--;
    }
    pthread_mutex_unlock(&lane->lock);
    return NULL;
}

int lane_start(struct lane *lane, unsigned threads, unsigned waiting_max,
               void (*run)(void *ctx, struct list *job), void *ctx)
{
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->has_work, NULL);
    list_init(&lane->queue);
    lane->waiting_max = waiting_max;
    lane->run = run;
    lane->ctx = ctx;
    lane->threads = calloc(threads, sizeof(*lane->threads));
    if (!lane->threads)
        return -ENOMEM;
    for (; lane->thread_count < threads; lane->thread_count++) {
        int r = pthread_create(&lane->threads[lane->thread_count], NULL, lane_main, lane);

        if (r)
            return -r;
    }
    return 0;
}

bool lane_push(struct lane *lane, struct list *job, bool is_owed)
{
    bool is_taken;

    pthread_mutex_lock(&lane->lock);
    is_taken = is_owed || (lane->waiting < lane->waiting_max && !lane->is_stopping);
    if (is_taken) {
        list_append(&lane->queue, job);
        lane->waiting++;
        pthread_cond_signal(&lane->has_work);
    }
    pthread_mutex_unlock(&lane->lock);
    return is_taken;
}

void lane_counts(struct lane *lane, uint64_t *ret_running, uint64_t *ret_waiting)
{
    pthread_mutex_lock(&lane->lock);
    *ret_running = lane->running;
    *ret_waiting = lane->waiting;
    pthread_mutex_unlock(&lane->lock);
}

void lane_stop(struct lane *lane)
{
    if (!lane->threads)
        return;
    pthread_mutex_lock(&lane->lock);
    lane->is_stopping = true;
    pthread_cond_broadcast(&lane->has_work);
    pthread_mutex_unlock(&lane->lock);
    for (unsigned i = 0; i < lane->thread_count; i++)
        pthread_join(lane->threads[i], NULL);
    lane->thread_count = 0;
}

void lane_deinit(struct lane *lane)
{
    if (!lane->threads)
        return;
    free(TAKE(lane->threads));
    pthread_cond_destroy(&lane->has_work);
    pthread_mutex_destroy(&lane->lock);
}
