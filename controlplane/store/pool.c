#include "controlplane/store/store_internal.h"

#include <errno.h>
#include <time.h>

struct waiter {
    struct list node;
    pthread_cond_t is_served;
    struct dbconn *conn;
};

void pool_init(struct pool *pool)
{
    pthread_mutex_init(&pool->lock, NULL);
    list_init(&pool->idle);
    list_init(&pool->waiting);
}

void pool_deinit(struct pool *pool)
{
    LIST_EACH(&pool->idle, node) {
        list_remove(node);
        dbconn_close(container_of(node, struct dbconn, node));
    }
    pthread_mutex_destroy(&pool->lock);
}

static void waiter_init(struct waiter *w)
{

    list_init(&w->node);
    w->conn = NULL;
    pthread_cond_init(&w->is_served, NULL);
}

void pool_give(struct pool *pool, struct dbconn *conn)
{
    struct list *first;

    pthread_mutex_lock(&pool->lock);
    first = list_first(&pool->waiting);
    if (first) {
        struct waiter *w = container_of(first, struct waiter, node);

        list_remove(first);
        w->conn = conn;
        pthread_cond_signal(&w->is_served);
    } else {
        list_prepend(&pool->idle, &conn->node);
    }
    pthread_mutex_unlock(&pool->lock);
}

static struct timespec deadline_in(unsigned wait_ms)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += wait_ms / 1000;
    at.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

/* With the lock held: queues behind those who asked before. */
static struct dbconn *wait_turn(struct pool *pool, unsigned wait_ms)
{
    struct timespec until = deadline_in(wait_ms);
    struct waiter w;

    waiter_init(&w);
    list_append(&pool->waiting, &w.node);
    while (!w.conn &&
           pthread_cond_clockwait(&w.is_served, &pool->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
        ;
    list_remove(&w.node);
    pthread_cond_destroy(&w.is_served);
    return w.conn;
}

struct dbconn *pool_take(struct pool *pool, unsigned wait_ms)
{
    struct dbconn *conn;
    struct list *first;

    pthread_mutex_lock(&pool->lock);
    first = list_first(&pool->idle);
    if (first) {
        list_remove(first);
        conn = container_of(first, struct dbconn, node);
    } else {
        conn = wait_turn(pool, wait_ms);
    }
    pthread_mutex_unlock(&pool->lock);
    return conn;
}
