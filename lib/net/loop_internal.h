#pragma once
#include "lib/net/loop.h"
#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>
/*
 * loop_internal.h - the loop as the files of this room see it.
 */
#define LOOP_SCRATCH_BYTES (96 * 1024)

struct loop_item {              /* a post */
    void (*fn)(void *arg);
    void *arg;
};

struct loop_items {
    struct loop_item *items;
    size_t count, room;
};

/* What nobody owns any more but the loop: connections that are being flushed. */
struct loop_owned {
    struct list node;
    void (*end)(struct loop_owned *o);
};

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare;       /* the end of each turn */
    uv_idle_t idle;             /* on while something is deferred to the next turn */
    uv_timer_t timer;           /* stands for the earliest of the heap */
    uv_async_t async;
    uv_poll_t poll;             /* of `poller` */
    int poller;                 /* epoll: the watches */
    struct loop_timer *timers;  /* root of the heap */
    uint64_t timer_order, armed_ms;
    struct list deferred;
    struct loop_reap *reaped;
    struct list signals;
    struct list background;     /* struct loop_owned */
    struct list ends;           /* struct loop_end */
    unsigned works;             /* in the pool */
    unsigned char *scratch;     /* LOOP_SCRATCH_BYTES, for one call at a time */
    bool is_idle_on;
    bool (*is_done)(void *arg); /* of loop_run_until(); NULL: not in one */
    void *is_done_arg;
    bool is_late;               /* its time is up */
    atomic_bool is_stopping;
    pthread_mutex_t lock;       /* of `posted` */
    struct loop_items posted;   /* filled by any thread */
    struct loop_items running;  /* the loop's own, swapped with it */
};

/* Arms the one timer for the earliest of the heap. */
void loop_timers_arm(struct loop *l);
/* Memory for the call under way; NULL: none. */
unsigned char *loop_scratch(struct loop *l);
void loop_signals_close(struct loop *l);
MUST_CHECK int loop_poller_init(struct loop *l);
void loop_poller_deinit(struct loop *l);
/* loop_free() calls end() unless it was disowned before. */
void loop_own(struct loop *l, struct loop_owned *o, void (*end)(struct loop_owned *o));
