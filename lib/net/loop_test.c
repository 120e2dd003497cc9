#include "lib/net/loop.h"
#include "lib/check/check.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

struct trace {
    struct loop *loop;
    char text[64];
    size_t len;
    struct loop_timer timers[8];
    struct loop_task task;
};

static void put(struct trace *t, char c)
{
    if (t->len + 1 < sizeof(t->text))
        t->text[t->len++] = c;
}

static bool has_len(void *arg)
{
    struct trace *t = arg;
    return t->len >= 4;
}

static void on_a(void *arg) { put(arg, 'a'); }
static void on_b(void *arg) { put(arg, 'b'); }
static void on_c(void *arg) { put(arg, 'c'); }

static void on_stop_other(void *arg)
{
    struct trace *t = arg;

    put(t, 'x');
    timer_stop(&t->timers[3]);
}

static void test_timers(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct trace t = { 0 };

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    timer_start(l, &t.timers[0], 12, on_c, &t);
    timer_start(l, &t.timers[1], 5, on_a, &t);
    timer_start(l, &t.timers[2], 5, on_b, &t);
    timer_start(l, &t.timers[3], 8, on_a, &t);
    timer_start(l, &t.timers[4], 6, on_stop_other, &t);
    timer_start(l, &t.timers[5], 1, on_c, &t);
    timer_stop(&t.timers[5]);
    timer_stop(&t.timers[5]);
    assert_false(timer_is_on(&t.timers[5]));
    assert_true(loop_run_until(l, has_len, &t, 2000));
    assert_string_equal(t.text, "abxc");
}

/* Against a sorted list: many timers, some stopped, in random order. */
static uint64_t last_due;
static unsigned fired;

struct many {
    struct loop_timer timer;
    uint64_t due;
};

static void on_many(void *arg)
{
    struct many *m = arg;

    assert_true(m->due >= last_due);
    last_due = m->due;
    fired++;
}

static bool all_fired(void *arg)
{
    return fired == *(unsigned *)arg;
}

static void test_timer_heap(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    static struct many many[2000];
    unsigned seed = 7, expected = 0;

    (void)state;
    fired = 0;
    last_due = 0;
    assert_int_equal(loop_new(&l), 0);
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        many[i].due = (uint64_t)rand_r(&seed) % 40;
        timer_start(l, &many[i].timer, many[i].due, on_many, &many[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        if (rand_r(&seed) % 3 == 0)
            timer_stop(&many[i].timer);
        else
            expected++;
    assert_true(loop_run_until(l, all_fired, &expected, 5000));
}

static void on_defer_again(void *arg)
{
    struct trace *t = arg;

    put(t, 'd');
    if (t->len < 4)
        loop_defer(t->loop, &t->task, on_defer_again, t);
}

static void test_deferred_again_runs_next_turn(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct trace t = { 0 };

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    t.loop = l;
    loop_defer(l, &t.task, on_defer_again, &t);
    loop_defer(l, &t.task, on_defer_again, &t);
    assert_true(loop_run_until(l, has_len, &t, 2000));
    assert_string_equal(t.text, "dddd");
}

static void *post_from_thread(void *arg)
{
    struct trace *t = arg;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(loop_post(t->loop, on_a, t), 0);
        assert_int_equal(loop_post(t->loop, on_b, t), 0);
    }
    return NULL;
}

static void test_post_keeps_order(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct trace t = { 0 };
    pthread_t thread;

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    t.loop = l;
    pthread_create(&thread, NULL, post_from_thread, &t);
    assert_true(loop_run_until(l, has_len, &t, 2000));
    pthread_join(thread, NULL);
    assert_string_equal(t.text, "abab");
}

static void test_post_is_bounded(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct trace t = { 0 };
    int r = 0;
    unsigned posted = 0;

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    while (!(r = loop_post(l, on_a, &t)))
        posted++;
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(posted, LOOP_POSTS_MAX);
}

static void on_work(void *arg) { put(arg, 'w'); }

static void on_work_done(void *arg)
{
    struct trace *t = arg;

    put(t, 'd');
    loop_stop(t->loop);
}

static void test_work_and_stop(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct trace t = { 0 };

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    t.loop = l;
    assert_int_equal(loop_work(l, on_work, on_work_done, &t), 0);
    loop_run(l);
    assert_string_equal(t.text, "wd");
}

static void on_usr1(void *arg, int signo)
{
    struct trace *t = arg;

    assert_int_equal(signo, SIGUSR1);
    loop_stop(t->loop);
    put(t, 's');
}

static void test_signal(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct trace t = { 0 };

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    t.loop = l;
    assert_int_equal(loop_on_signal(l, SIGUSR1, on_usr1, &t), 0);
    raise(SIGUSR1);
    loop_run(l);
    assert_string_equal(t.text, "s");
}

struct reaped {
    struct loop_reap reap;
    bool *is_dead;
};

static void on_reap(struct loop_reap *r)
{
    struct reaped *x = container_of(r, struct reaped, reap);

    *x->is_dead = true;
    free(x);
}

static bool is_true(void *arg) { return *(bool *)arg; }

static void test_reap(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct reaped *x = calloc(1, sizeof(*x));
    bool is_dead = false;

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    x->is_dead = &is_dead;
    loop_reap(l, &x->reap, on_reap);
    assert_false(is_dead);
    assert_true(loop_run_until(l, is_true, &is_dead, 2000));
}

struct pipe_watch {
    struct watch *watch;
    int fds[2];
    bool is_seen;
};

static void on_pipe(void *arg, unsigned events)
{
    struct pipe_watch *p = arg;

    assert_int_equal(events, WATCH_READ);
    p->is_seen = true;
    watch_free(p->watch);
}

static void test_watch_freed_in_its_callback(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct pipe_watch p = { 0 };

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    assert_int_equal(pipe2(p.fds, O_CLOEXEC), 0);
    assert_int_equal(watch_new(l, p.fds[0], on_pipe, &p, &p.watch), 0);
    watch_set(p.watch, WATCH_READ);
    assert_int_equal(write(p.fds[1], "x", 1), 1);
    assert_true(loop_run_until(l, is_true, &p.is_seen, 2000));
    close(p.fds[0]);
    close(p.fds[1]);
}

static void test_watch_that_the_kernel_refuses(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct watch *watch;
    bool is_seen = false;
    int fd;

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);      /* a file is always ready: EPERM */
    assert_true(fd >= 0);
    assert_int_equal(watch_new(l, fd, on_pipe, NULL, &watch), 0);
    assert_int_equal(watch_set(watch, WATCH_READ), -EPERM);
    assert_int_equal(watch_set(watch, 0), 0);
    assert_false(loop_run_until(l, is_true, &is_seen, 20));
    watch_free(watch);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_timer_heap),
        cmocka_unit_test(test_deferred_again_runs_next_turn),
        cmocka_unit_test(test_post_keeps_order),
        cmocka_unit_test(test_post_is_bounded),
        cmocka_unit_test(test_work_and_stop),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_reap),
        cmocka_unit_test(test_watch_freed_in_its_callback),
        cmocka_unit_test(test_watch_that_the_kernel_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
