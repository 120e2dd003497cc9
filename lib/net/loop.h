#pragma once
#include "lib/base/list.h"
#include <stdint.h>
/*
 * loop.h - one thread's event loop: timers, descriptors, posts, deferred and blocking work.
 *
 * A turn: due timers, ready descriptors, posts; then what was deferred (writes that were
 * gathered), then what was reaped is freed, then the loop sleeps.
 *
 * Units      milliseconds.
 * Ownership  nodes (timer, task, reap) are embedded in their owner; stopped or cancelled
 *            they may be freed at once.  loop_free() wants every watch, listener, conn,
 *            resolver freed before it; it waits for work that is in the pool.
 * Threads    all on the loop's thread, but loop_post(), loop_stop() and wall_ms(): any.
 * Errors     0 or -errno.
 */
struct loop;

MUST_CHECK int loop_new(struct loop **ret_loop);
void loop_free(struct loop *l);
DEFINE_FREEP(loop, loop_free)
/* Until loop_stop(); posts that are queued then are run first. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* Until is_done(arg) says so (asked after each turn): true; or timeout_ms passed: false. */
bool loop_run_until(struct loop *l, bool (*is_done)(void *arg), void *arg, uint32_t timeout_ms);
uint64_t loop_now_ms(const struct loop *l);     /* monotonic, of this turn */
uint64_t mono_ms(void);                         /* monotonic, now */
uint64_t wall_ms(void);                         /* Unix time, now */
/* The uv_loop_t, for the rooms that put another library on it. */
void *loop_uv(struct loop *l);

/* --- timers: one shot; a zeroed struct is a stopped timer ---------------------------- */
struct loop_timer {
    struct loop_timer *child, *next, **link;    /* pairing heap; link NULL: stopped */
    struct loop *loop;
    uint64_t due_ms, order;
    void (*fn)(void *arg);
    void *arg;
};
/* (Re)starts: fn runs once, not before after_ms passed. */
void timer_start(struct loop *l, struct loop_timer *t, uint64_t after_ms, void (*fn)(void *arg),
                 void *arg);
void timer_stop(struct loop_timer *t);          /* stopped already: does nothing */
static inline bool timer_is_on(const struct loop_timer *t) { return t->link != NULL; }

/* --- the end of this turn ------------------------------------------------------------ */
struct loop_task {              /* zeroed: not queued */
    struct list node;
    void (*fn)(void *arg);
    void *arg;
};
/* Runs fn once at the end of this turn; queued already: does nothing. */
void loop_defer(struct loop *l, struct loop_task *t, void (*fn)(void *arg), void *arg);
void loop_defer_cancel(struct loop_task *t);
bool loop_defer_is_on(const struct loop_task *t);

struct loop_reap {
    struct loop_reap *next;
    void (*free_fn)(struct loop_reap *r);
};
/* For what dies in its own callback: free_fn runs at the end of this turn. */
void loop_reap(struct loop *l, struct loop_reap *r, void (*free_fn)(struct loop_reap *r));

struct loop_end {
    struct list node;
    void (*fn)(struct loop_end *e);
};
/* For libraries on loop_uv() that end in two steps: fn runs in loop_free(), when all handles
 * are closed. */
void loop_at_end(struct loop *l, struct loop_end *e, void (*fn)(struct loop_end *e));

/* --- from other threads -------------------------------------------------------------- */
#define LOOP_POSTS_MAX 65536
/* Order kept.  -EAGAIN: the queue is full; nothing was queued. */
MUST_CHECK int loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

/* --- blocking work in the pool ------------------------------------------------------- */
#define LOOP_WORK_MAX 64        /* of one loop, at a time */
/* work(arg) on a pool thread, then done(arg) on the loop.  -EAGAIN: LOOP_WORK_MAX are busy. */
MUST_CHECK int loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg),
                         void *arg);

/* --- signals ------------------------------------------------------------------------- */
MUST_CHECK int loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo),
                              void *arg);

/* --- descriptors that are no conn (UDP, eventfd, another library's) ------------------ */
enum {
    WATCH_READ = 1,
    WATCH_WRITE = 2,
    WATCH_FAULT = 4,            /* told along with the others: an error, or nobody is there any more */
};
struct watch;
/* The descriptor stays the caller's and has to outlive the watch. */
MUST_CHECK int watch_new(struct loop *l, int fd, void (*fn)(void *arg, unsigned events), void *arg,
                         struct watch **ret_watch);
/* Level-triggered; 0: none.  -errno: the kernel has no room for more than it was told before; never
 * where no new interest is added. */
int watch_set(struct watch *w, unsigned events);
/* Interest that was taken away is told to the kernel now: it would wake us for what is known to come. */
void watch_settle(struct watch *w);
/* From one thread's loop to another's: detach() at a turn's end, then attach() there and set(). */
void watch_detach(struct watch *w);
void watch_attach(struct watch *w, struct loop *l);
void watch_free(struct watch *w); /* no call after it; then close the descriptor */
DEFINE_FREEP(watch, watch_free)
