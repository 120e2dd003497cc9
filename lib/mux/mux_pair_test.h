#pragma once
#include "lib/check/check.h"
#include "lib/mux/mux_internal.h"
#include <stdio.h>
/*
 * mux_pair_test.h - two ends in one process over a pipe that cuts messages at random, with
 * fake time; what the tests of this room share.
 *
 * Side 0 accepts, side 1 dials.  Programs on both sides are struct prog: they send a
 * pattern that depends on the stream and the offset, and check what they get.
 */
#define PIPE_MAX (64u << 20)

static inline uint64_t rng_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline unsigned rng_below(uint64_t *state, unsigned n)
{
    return (unsigned)(rng_next(state) >> 16) % n;
}

struct pipe_message {
    struct list node;
    size_t len, taken;
    uint64_t due_ms;
    unsigned char bytes[];
};

struct side {
    struct mux *mux;
    struct mux_link *link;
    struct list in;                 /* messages on their way to this side */
    struct pair *pair;
    int index;
    unsigned wakes, accepted, failed, goaways, proved, notices;
    unsigned wakes_seen;
    uint64_t due_ms;                /* when the carrier has to call tick() */
    enum reason why;
    size_t notice_len;
    struct mux_goaway goaway;       /* the last one, without its spans */
    char elsewhere[256];            /* the last of its list */
};

struct pair {
    struct side side[2];
    uint64_t now_ms, rng;
    size_t cap_least;               /* produce() gets between this and cap_most */
    size_t cap_most;
    uint64_t delay_ms;              /* of every message */
    bool is_split;                  /* parts of messages instead of whole ones */
};

static inline void pair_send(struct side *from)
{
    struct pair *p = from->pair;
    size_t span = p->cap_most - p->cap_least;
    size_t cap = p->cap_least + (span ? rng_below(&p->rng, (unsigned)span) : 0);
    struct pipe_message *m = malloc(sizeof(*m) + cap), *fitting;

    if (!m)
        return;                 /* the tests let allocations fail: a carrier tries again */
    m->len = mux_link_produce(from->link, m->bytes, cap, p->now_ms);
    m->taken = 0;
    m->due_ms = p->now_ms + p->delay_ms;
    if (m->len == 0) {
        free(m);
        return;
    }
    assert_true(m->len <= cap);
    fitting = realloc(m, sizeof(*m) + m->len);      /* so that a sanitizer sees its end */
    m = fitting ? fitting : m;
    list_append(&p->side[!from->index].in, &m->node);
}

/* Delivers a message, or a part of one; false: nothing is on the way. */
static inline bool pair_deliver(struct side *to)
{
    struct pair *p = to->pair;
    struct list *node = list_first(&to->in);
    struct pipe_message *m;
    unsigned char *copy;
    size_t n;

    if (!node)
        return false;
    m = container_of(node, struct pipe_message, node);
    if (m->due_ms > p->now_ms)
        return false;
    n = m->len - m->taken;
    if (p->is_split && n > 1 && rng_below(&p->rng, 2))
        n = 1 + rng_below(&p->rng, (unsigned)n);
    copy = malloc(n);
    if (!copy)
        return true;
    memcpy(copy, m->bytes + m->taken, n);
    m->taken += n;
    (void)!mux_link_take(to->link, span_of(copy, n), m->taken == m->len, p->now_ms);
    free(copy);
    if (m->taken == m->len) {
        list_remove(node);
        free(m);
    }
    return true;
}

static inline void pair_drop_pipe(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        LIST_EACH(&p->side[i].in, node) {
            list_remove(node);
            free(container_of(node, struct pipe_message, node));
        }
    }
}

/* Both ends talk until neither has anything to say at this time. */
static inline void pair_settle(struct pair *p)
{
    bool is_moving = true;

    while (is_moving) {
        is_moving = false;
        for (int i = 0; i < 2; i++) {
            struct side *s = &p->side[i];

            if (mux_link_has_output(s->link)) {
                pair_send(s);
                is_moving = true;
            }
            is_moving |= pair_deliver(s);
        }
    }
}

static inline void pair_on_hello(void *user, struct mux_link *l, struct span json)
{
    struct side *s = user;

    (void)json;
    if (s->index == 0)
        mux_link_accept(l, s->pair->now_ms);
    else
        (void)!mux_link_hello(l, SPAN("{\"dial\":1}"));
}

static inline void pair_on_accepted(void *user, struct mux_link *l)
{
    (void)l;
    ((struct side *)user)->accepted++;
}

static inline void pair_on_want_send(void *user, struct mux_link *l)
{
    (void)l;
    ((struct side *)user)->wakes++;
}

static inline void pair_on_failed(void *user, struct mux_link *l, enum reason why, const char *text)
{
    struct side *s = user;

    (void)l;
    (void)text;
    s->failed++;
    s->why = why;
}

static inline void pair_on_goaway(void *user, struct mux_link *l, const struct mux_goaway *goaway)
{
    struct side *s = user;

    (void)l;
    s->goaways++;
    s->why = goaway->why;
    s->goaway = *goaway;
    memset(&s->goaway.text, 0, sizeof(s->goaway.text));     /* dead after the call, as the list is */
    memset(s->goaway.elsewhere, 0, sizeof(s->goaway.elsewhere));
    if (goaway->elsewhere_count)
        (void)span_copy(goaway->elsewhere[goaway->elsewhere_count - 1], s->elsewhere, sizeof(s->elsewhere));
}

/* For 30 s, this link alone. */
static inline void pair_goaway(struct mux_link *l, enum reason why)
{
    mux_link_goaway(l, &(struct mux_goaway){ .why = why, .text = SPAN("bye"), .ms_left = 30000 });
}

static inline void pair_on_proved(void *user, struct mux_link *l, uint32_t rtt_us)
{
    (void)l;
    (void)rtt_us;
    ((struct side *)user)->proved++;
}

static inline void pair_on_notice(void *user, struct mux_link *l, uint8_t kind, uint64_t revision,
                           struct span body)
{
    struct side *s = user;

    (void)l;
    assert_int_equal(kind, 7);
    assert_int_equal(revision, 42);
    for (size_t i = 0; i < body.n; i++)
        assert_int_equal((unsigned char)body.p[i], (unsigned char)(i * 7));
    s->notices++;
    s->notice_len = body.n;
}

static inline void pair_init(struct pair *p, const struct mux_config *config,
                             struct mux_handlers on, uint64_t seed)
{
    *p = (struct pair){ .now_ms = 1000, .rng = seed * 2654435761u + 88172645463325252u,
                        .cap_least = MUX_MESSAGE_MAX, .cap_most = MUX_MESSAGE_MAX };
    on.on_hello = pair_on_hello;
    on.on_accepted = pair_on_accepted;
    on.on_want_send = pair_on_want_send;
    on.on_failed = pair_on_failed;
    on.on_goaway = pair_on_goaway;
    on.on_proved = pair_on_proved;
    on.on_notice = pair_on_notice;
    for (int i = 0; i < 2; i++) {
        struct mux_config c = *config;

        c.is_accepting = i == 0;
        p->side[i].pair = p;
        p->side[i].index = i;
        list_init(&p->side[i].in);
        p->side[i].mux = mux_new(&c, &on);
        if (p->side[i].mux)
            p->side[i].link = mux_link_new(p->side[i].mux, &p->side[i], p->now_ms);
    }
}

static inline void pair_greet(struct pair *p)
{
    assert_int_equal(mux_link_hello(p->side[0].link, SPAN("{\"accept\":1}")), 0);
    pair_settle(p);
    assert_int_equal(mux_link_state(p->side[0].link), MUX_LINK_OPEN);
    assert_int_equal(mux_link_state(p->side[1].link), MUX_LINK_OPEN);
}

static inline void pair_deinit(struct pair *p)
{
    pair_drop_pipe(p);
    for (int i = 0; i < 2; i++)
        mux_free(p->side[i].mux);
}
