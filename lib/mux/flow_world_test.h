#pragma once
#include "lib/mux/mux_pair_test.h"
/*
 * flow_world_test.h - many streams over a link with a rate and a delay, in fake time.  Side 0 opens
 * and sends; side 1 takes what it is told to take.
 */
#define STREAMS 700

struct end {
    struct mux_stream *s;
    uint64_t got, to_send, sent;
    uint64_t asked_ms, slowest_ms;      /* small messages: when the last one left, the worst */
    bool is_stalled, is_refused, is_ended, is_small;
    enum reason how;
};

static struct {
    struct pair p;
    struct end from[STREAMS], to[STREAMS];
    unsigned count;
    uint64_t rate;                      /* bytes a ms, of side 0's link */
    uint64_t budget;
    uint64_t held_most;
    uint32_t grace_ms;                  /* of streams opened from now on */
} w;

static inline void read_all(struct end *end)
{
    struct span span;

    while (end->s && !end->is_stalled && mux_stream_peek(end->s, &span, 1)) {
        end->got += span.n;
        mux_stream_consume(end->s, span.n);
        if (end->is_small) {
            uint64_t took = w.p.now_ms - w.from[end - w.to].asked_ms;

            if (took > end->slowest_ms)
                end->slowest_ms = took;
        }
    }
}

static inline void write_all(struct end *end)
{
    size_t n;

    while (end->s && end->sent < end->to_send) {
        unsigned char *at = mux_stream_reserve(end->s, &n);

        if (!at)
            return;
        if (n > end->to_send - end->sent)
            n = (size_t)(end->to_send - end->sent);
        memset(at, 'f', n);
        mux_stream_commit(end->s, n);
        end->sent += n;
    }
}

static inline void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    struct mux_opened opened = { .boot_id = SPAN("b") };
    struct end *end = &w.to[open->port];

    (void)user;
    mux_stream_accept(s, &opened);
    if (open->kind == MUX_KIND_PROBE) {
        mux_stream_fin(s);
        return;
    }
    end->s = s;
    mux_stream_set_user(s, end);
}

static inline void on_opened(void *user, struct mux_stream *s, const struct mux_opened *opened)
{
    (void)s;
    (void)opened;
    write_all(user);
}

static inline void on_refused(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    (void)s;
    (void)text;
    ((struct end *)user)->is_refused = true;
    assert_int_equal(why, REASON_OVERLOAD);
}

static inline void on_readable(void *user, struct mux_stream *s)
{
    (void)s;
    read_all(user);
}

static inline void on_writable(void *user, struct mux_stream *s)
{
    (void)s;
    write_all(user);
}

static inline void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    struct end *end = user;

    (void)s;
    if (!end)
        return;                         /* of a probe */
    end->s = NULL;
    end->is_ended = true;
    end->how = how;
}

static inline void on_want_path(void *user, struct mux_stream *s)
{
    (void)user;
    assert_int_equal(mux_stream_attach(s, w.p.side[0].link, SPAN("b"), w.p.now_ms), 0);
}

static const struct mux_handlers handlers = {
    .on_open = on_open, .on_opened = on_opened, .on_refused = on_refused,
    .on_readable = on_readable, .on_writable = on_writable, .on_ended = on_ended,
    .on_want_path = on_want_path,
};

static inline void mac(const unsigned char secret[MUX_SECRET_LEN], struct span message,
                       unsigned char ret_mac[32])
{
    memcpy(ret_mac, secret, MUX_SECRET_LEN);
    memset(ret_mac + MUX_SECRET_LEN, (int)message.n, 32 - MUX_SECRET_LEN);
}

static inline void begin(size_t memory, uint64_t rate, uint64_t delay_ms)
{
    struct mux_config config = { .memory_limit = memory, .mac = mac, .boot_id = "b" };

    memset(&w, 0, sizeof(w));
    pair_init(&w.p, &config, handlers, 1);
    pair_greet(&w.p);
    w.p.side[0].mux->config.memory_limit = 1u << 30;    /* the sender is not what is tested */
    w.p.cap_least = w.p.cap_most = 16384;
    w.p.delay_ms = delay_ms;
    w.rate = rate;
    for (int i = 0; i < 2; i++)
        mux_link_set_rate(w.p.side[i].link, rate * 1000);
}

static inline struct end *open_stream(uint64_t owner, uint64_t to_send)
{
    struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = (uint16_t)w.count,
                             .grace_ms = w.grace_ms };
    struct end *end = &w.from[w.count];

    memcpy(open.uid, &w.count, sizeof(w.count));
    end->to_send = to_send;
    assert_int_equal(mux_stream_open(w.p.side[0].link, &open, owner, end, w.p.now_ms, &end->s), 0);
    w.count++;
    return end;
}

/* One millisecond: what the link's rate lets pass leaves, what is due arrives. */
static inline void pass_ms(void)
{
    struct side *a = &w.p.side[0], *b = &w.p.side[1];
    const struct mux_stats *stats = mux_stats(b->mux);

    w.p.now_ms++;
    w.budget = w.budget > 16384 ? 16384 : w.budget;
    w.budget += w.rate;
    while (w.budget >= 16384 && mux_link_has_output(a->link)) {
        struct pipe_message *last;

        pair_send(a);
        if (list_is_empty(&b->in))
            break;
        last = container_of(b->in.prev, struct pipe_message, node);
        w.budget -= last->len < w.budget ? last->len : w.budget;
    }
    while (mux_link_has_output(b->link))
        pair_send(b);
    while (pair_deliver(b) | pair_deliver(a))
        ;
    mux_link_tick(a->link, w.p.now_ms);
    mux_link_tick(b->link, w.p.now_ms);
    if (stats->held_bytes > w.held_most)
        w.held_most = stats->held_bytes;
}

static inline void pass(unsigned ms)
{
    while (ms--)
        pass_ms();
}

static inline void finish(void)
{
    pair_deinit(&w.p);
    for (unsigned i = 0; i < w.count; i++)
        assert_true(w.from[i].is_ended);
}
