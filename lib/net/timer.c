#include "lib/net/loop_internal.h"

/* A pairing heap: no allocation, and a stopped timer is out of it at once. */
static bool is_before(const struct loop_timer *a, const struct loop_timer *b)
{
    if (a->due_ms != b->due_ms)
        return a->due_ms < b->due_ms;
    return a->order < b->order;
}

static struct loop_timer *meld(struct loop_timer *a, struct loop_timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (is_before(b, a)) {
        struct loop_timer *swap = a;
        a = b;
        b = swap;
    }
    b->next = a->child;
    if (b->next)
        b->next->link = &b->next;
    b->link = &a->child;
    a->child = b;
    a->next = NULL;
    return a;
}

static struct loop_timer *meld_all(struct loop_timer *first)
{
    struct loop_timer *pairs = NULL, *all = NULL;

    while (first) {
        struct loop_timer *a = first, *b = a->next;

        first = b ? b->next : NULL;
        a->next = NULL;
        if (b)
            b->next = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct loop_timer *next = pairs->next;

        pairs->next = NULL;
        all = meld(all, pairs);
        pairs = next;
    }
    return all;
}

static void set_root(struct loop *l, struct loop_timer *root)
{
    l->timers = root;
    if (root)
        root->link = &l->timers;
}

void timer_stop(struct loop_timer *t)
{
    struct loop *l = t->loop;
    struct loop_timer *children;

    if (!t->link)
        return;
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    children = meld_all(t->child);
    t->child = t->next = NULL;
    t->link = NULL;
    set_root(l, meld(l->timers, children));
}

void timer_start(struct loop *l, struct loop_timer *t, uint64_t after_ms, void (*fn)(void *arg),
                 void *arg)
{
    timer_stop(t);
    *t = (struct loop_timer){
        .loop = l,
        .due_ms = loop_now_ms(l) + after_ms,
        .order = l->timer_order++,
        .fn = fn,
        .arg = arg,
    };
    set_root(l, meld(l->timers, t));
}

static void on_timer(uv_timer_t *handle)
{
    struct loop *l = handle->data;
    uint64_t now_ms = loop_now_ms(l), last = l->timer_order;

    l->armed_ms = 0;
    /* Timers that these start wait for the next turn, due or not. */
    while (l->timers && l->timers->due_ms <= now_ms && l->timers->order < last) {
        struct loop_timer *t = l->timers;

        timer_stop(t);
        t->fn(t->arg);
    }
}

void loop_timers_arm(struct loop *l)
{
    uint64_t now_ms = loop_now_ms(l), due_ms;

    if (!l->timers) {
        if (l->armed_ms)
            uv_timer_stop(&l->timer);
        l->armed_ms = 0;
        return;
    }
    due_ms = l->timers->due_ms;
    if (l->armed_ms == due_ms)
        return;
    uv_timer_start(&l->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
    l->armed_ms = due_ms;
}
