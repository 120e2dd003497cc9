#pragma once
#include "lib/check/alloc.h"
#include "lib/check/check.h"
#include "lib/mux/mux.h"
#include "lib/net/loop.h"
/*
 * wire_fixture.h - for tests: two muxes on one loop, whose link is memory.
 *
 * End 0 accepts (a relay), end 1 dials (an agent).  The test brings the stream handlers of
 * each end; a link's user is its struct wire_end.
 */
struct wire;

struct wire_end {
    struct wire *wire;
    struct mux *mux;
    struct mux_link *link;
    struct loop_task send;
    void *program;
    bool is_up;
};

struct wire {
    struct loop *loop;
    struct wire_end end[2];
    struct loop_timer tick;
    bool is_held;               /* nothing gets through */
};

static inline void wire_send(void *arg)
{
    struct wire_end *from = arg, *to = &from->wire->end[from == &from->wire->end[0]];
    uint64_t now_ms = loop_now_ms(from->wire->loop);
    unsigned char *bytes = check_alloc_own(MUX_MESSAGE_MAX);
    size_t n;

    while (from->link && to->link && !from->wire->is_held &&
           (n = mux_link_produce(from->link, bytes, MUX_MESSAGE_MAX, now_ms)))
        (void)!mux_link_take(to->link, span_of(bytes, n), true, now_ms);
    free(bytes);
}

static inline void wire_on_want_send(void *user, struct mux_link *l)
{
    struct wire_end *e = user;

    (void)l;
    loop_defer(e->wire->loop, &e->send, wire_send, e);
}

static inline void wire_on_hello(void *user, struct mux_link *l, struct span json)
{
    struct wire_end *e = user;

    (void)json;
    e->is_up = true;
    if (e == &e->wire->end[0])
        mux_link_accept(l, loop_now_ms(e->wire->loop));
    else
        assert_int_equal(mux_link_hello(l, SPAN("{}")), 0);
}

static inline void wire_on_tick(void *arg)
{
    struct wire *w = arg;

    for (int i = 0; i < 2; i++) {
        if (w->end[i].link)
            mux_link_tick(w->end[i].link, loop_now_ms(w->loop));
        mux_tick(w->end[i].mux, loop_now_ms(w->loop));
    }
    timer_start(w->loop, &w->tick, 10, wire_on_tick, w);
}

static inline bool wire_is_up(void *arg)
{
    const struct wire *w = arg;

    return w->end[0].is_up && w->end[1].is_up && mux_link_state(w->end[1].link) == MUX_LINK_OPEN;
}

static inline void wire_open(struct wire *w, struct loop *loop, const struct mux_handlers *relay,
                             const struct mux_handlers *agent)
{
    *w = (struct wire){ .loop = loop };
    for (int i = 0; i < 2; i++) {
        const struct mux_config config = {
            .is_accepting = i == 0, .memory_limit = 64 << 20, .streams_max = 1000, .random_seed = 7,
        };
        struct mux_handlers on = i == 0 ? *relay : *agent;

        on.on_hello = wire_on_hello;
        on.on_want_send = wire_on_want_send;
        w->end[i].wire = w;
        w->end[i].mux = mux_new(&config, &on);
        w->end[i].link = mux_link_new(w->end[i].mux, &w->end[i], loop_now_ms(loop));
        assert_non_null(w->end[i].link);
    }
    assert_int_equal(mux_link_hello(w->end[0].link, SPAN("{}")), 0);
    wire_on_tick(w);
    assert_true(loop_run_until(loop, wire_is_up, w, 5000));
}

/* The link is lost for both ends. */
static inline void wire_cut(struct wire *w)
{
    mux_link_free(TAKE(w->end[0].link));
    mux_link_free(TAKE(w->end[1].link));
}

static inline void wire_close(struct wire *w)
{
    timer_stop(&w->tick);
    mux_free(w->end[0].mux);
    mux_free(w->end[1].mux);
    loop_defer_cancel(&w->end[0].send);
    loop_defer_cancel(&w->end[1].send);
}
