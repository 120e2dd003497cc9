#pragma once
#include "lib/check/check.h"
#include "lib/mux/hop.h"
/*
 * holder_peers_test.h - a holder between two peers that a test plays, frame by frame: E is the
 * entry's side, T the target side's.
 */
enum { E, T };

static struct {
    struct mux_holder *holder;
    struct mux *mux;
    struct mux_link *link[2];
    struct mux_hop *hop;
    struct mux_link *to;
    enum reason refuse, why;
    unsigned failed, ended;
    uint64_t now_ms;
    unsigned char out[2][6 * MUX_MESSAGE_MAX];
    size_t out_len[2];
} w;

static inline enum reason on_route(void *user, struct mux_link *from, const struct mux_asked *asked,
                            struct mux_route *route)
{
    (void)user;
    assert_ptr_equal(from, w.link[E]);
    assert_int_equal(asked->uid.n, MUX_UID_LEN);
    route->to = w.to;
    return w.refuse;
}

static inline void on_hop_ended(void *user, struct mux_hop *hop, enum reason why)
{
    (void)user;
    (void)hop;
    w.ended++;
    w.why = why;
}

static inline void on_failed(void *user, struct mux_link *l, enum reason why, const char *text)
{
    (void)user;
    (void)l;
    (void)why;
    (void)text;
    w.failed++;
}

static const struct mux_handlers handlers = {
    .on_route = on_route, .on_hop_ended = on_hop_ended, .on_failed = on_failed,
};

/* --- the peers ------------------------------------------------------------------------ */
static inline void feed(int side, const struct buf *b)
{
    assert_int_equal(buf_error(b), 0);
    (void)!mux_link_take(w.link[side], buf_span(b), true, w.now_ms);
}

static inline void say(int side, uint8_t type, uint8_t flags, uint32_t id, struct span payload)
{
    static unsigned char mem[FRAME_PAYLOAD_MAX + FRAME_HEADER_LEN];
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    frame_put(&b, type, flags, id, payload);
    feed(side, &b);
}

static inline void say_data(int side, uint32_t id, uint64_t offset, size_t n, uint8_t flags)
{
    static unsigned char mem[FRAME_PAYLOAD_MAX];
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    buf_put_u64(&b, offset);
    for (size_t i = 0; i < n; i++)
        buf_put_u8(&b, (uint8_t)((offset + i) * 7));
    say(side, FRAME_DATA, flags, id, buf_span(&b));
}

static inline void say_credit(int side, uint32_t id, uint64_t limit, uint64_t received,
                              uint8_t flags)
{
    unsigned char mem[64];
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    frame_credit_put(&b, id, (struct frame_credit){ limit, received }, flags);
    feed(side, &b);
}

static inline void say_open(uint32_t id, uint64_t limit, struct span more)
{
    struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = 80, .path = 1,
                             .principal = SPAN("p") };
    unsigned char mem[1024];
    struct buf b;

    open.uid[0] = (unsigned char)id;
    buf_init_fixed(&b, mem, sizeof(mem));
    open_encode(&b, &open, limit);
    buf_put_span(&b, more);
    say(E, FRAME_OPEN, 0, id, buf_span(&b));
}

static inline void say_open_ok(uint32_t id, uint64_t limit, uint32_t features)
{
    struct mux_opened opened = { .boot_id = SPAN("boot"), .features = features };
    unsigned char mem[256];
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    opened_encode(&b, &opened, limit);
    say(T, FRAME_OPEN_OK, 0, id, buf_span(&b));
}

/* One message, or all that there is, in w.out. */
static inline size_t hear_one(int side)
{
    w.out_len[side] = mux_link_produce(w.link[side], w.out[side], MUX_MESSAGE_MAX, w.now_ms);
    return w.out_len[side];
}

static inline void hear(int side)
{
    size_t n;

    w.out_len[side] = 0;
    while ((n = mux_link_produce(w.link[side], w.out[side] + w.out_len[side],
                                 sizeof(w.out[side]) - w.out_len[side], w.now_ms)))
        w.out_len[side] += n;
}

/* The nth frame of that type that was heard last; false: there is none. */
static inline bool nth(int side, uint8_t type, unsigned n, struct frame *ret_frame)
{
    struct span rest = span_of(w.out[side], w.out_len[side]);
    struct frame f;

    while (rest.n) {
        assert_int_equal(frame_read(rest, &f), 0);
        rest = span_skip(rest, FRAME_HEADER_LEN + f.payload.n);
        if (f.type == type && n-- == 0) {
            *ret_frame = f;
            return true;
        }
    }
    return false;
}

static inline struct frame heard(int side, uint8_t type)
{
    struct frame f = { 0 };

    if (!nth(side, type, 0, &f))
        fail_msg("no %s", frame_name(type));
    return f;
}

static inline unsigned count_of(int side, uint8_t type)
{
    struct frame f;
    unsigned n = 0;

    while (nth(side, type, n, &f))
        n++;
    return n;
}

static inline enum reason reason_in(const struct frame *f)
{
    struct span tags = f->type == FRAME_RESET ? span_skip(f->payload, 8) : f->payload;
    struct why why;

    assert_int_equal(why_decode(tags, &why), 0);
    return why.reason;
}

static inline struct frame_credit credit_of(int side)
{
    struct frame f = heard(side, FRAME_CREDIT);
    struct frame_credit c;

    assert_int_equal(frame_credit_read(f.payload, &c), 0);
    return c;
}

static inline void greet(int side)
{
    w.link[side] = mux_link_new(w.mux, NULL, w.now_ms);
    assert_int_equal(mux_link_hello(w.link[side], SPAN("{}")), 0);
    hear(side);
    say(side, FRAME_HELLO, 0, 0, SPAN("{}"));
    mux_link_accept(w.link[side], w.now_ms);
    hear(side);
}

static inline void begin(const struct mux_holder_config *config)
{
    struct mux_config mux = { .is_accepting = true };

    memset(&w, 0, sizeof(w));
    w.now_ms = 1000;
    w.holder = mux.holder = mux_holder_new(config);
    w.mux = mux_new(&mux, &handlers);
    greet(E);
    greet(T);
    w.to = w.link[T];
}

/* Id 1 at E and 2 at T, open. */
static inline void begin_open(const struct mux_holder_config *config, uint64_t limit)
{
    begin(config);
    say_open(1, limit, SPAN_NONE);
    hear(T);
    say_open_ok(2, limit, 0);
    hear(E);
}

static inline void end(void)
{
    mux_free(w.mux);
    assert_int_equal(w.ended, mux_holder_stats(w.holder)->hops_begun);
    assert_int_equal(mux_holder_stats(w.holder)->hops, 0);
    assert_int_equal(mux_holder_stats(w.holder)->held_bytes, 0);
    assert_int_equal(mux_holder_stats(w.holder)->promised_bytes, 0);
    mux_holder_free(w.holder);
}

static const struct mux_holder_config usual;

static inline void fill(uint64_t from, uint64_t to)
{
    while (from < to) {
        size_t n = to - from < 16000 ? (size_t)(to - from) : 16000;

        say_data(E, 1, from, n, 0);
        from += n;
    }
}
