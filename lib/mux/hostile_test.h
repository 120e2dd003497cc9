#pragma once
#include "lib/check/check.h"
#include "lib/mux/mux_internal.h"
/*
 * hostile_test.h - one end of a link, fed with frames that a peer made up.
 */
#define PROTOCOL REASON_PROTOCOL_ERROR

static struct {
    struct mux *mux;
    struct mux_link *link;
    struct mux_stream *s;           /* the stream that the peer opened, id 1 */
    unsigned failed, ended, reset, opened;
    enum reason why, how;
    uint64_t now_ms;
    unsigned char out[MUX_MESSAGE_MAX];
    size_t out_len;
} w;

static inline void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    struct mux_opened opened = { .boot_id = SPAN("b") };

    (void)user;
    w.s = s;
    w.opened++;
    if (open->port == 80)
        mux_stream_accept(s, &opened);
}

static inline void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    (void)user;
    if (w.s == s)
        w.s = NULL;
    w.ended++;
    w.how = how;
}

static inline void on_reset(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    (void)user;
    (void)s;
    (void)text;
    w.reset++;
    w.how = why;
}

static inline void on_failed(void *user, struct mux_link *l, enum reason why, const char *text)
{
    (void)user;
    (void)l;
    (void)text;
    w.failed++;
    w.why = why;
}

static const struct mux_handlers handlers = {
    .on_open = on_open, .on_ended = on_ended, .on_reset = on_reset, .on_failed = on_failed,
};

static inline void take(const struct buf *b)
{
    assert_int_equal(buf_error(b), 0);
    (void)!mux_link_take(w.link, buf_span(b), true, w.now_ms);
}

/* All that the end says now, into w.out. */
static inline void produce(void)
{
    size_t n;

    w.out_len = 0;
    while ((n = mux_link_produce(w.link, w.out + w.out_len, sizeof(w.out) - w.out_len, w.now_ms)))
        w.out_len += n;
}

static inline bool said(uint8_t type, struct frame *ret_frame)
{
    struct span rest = span_of(w.out, w.out_len);
    struct frame f;

    while (rest.n) {
        assert_int_equal(frame_read(rest, &f), 0);
        rest = span_skip(rest, FRAME_HEADER_LEN + f.payload.n);
        if (f.type == type) {
            *ret_frame = f;
            return true;
        }
    }
    return false;
}

static inline struct mux_open an_open(uint8_t uid, uint16_t port)
{
    struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("h"), .port = port, .path = 1 };

    open.uid[0] = uid;
    return open;
}

static inline void put_open(struct buf *b, uint32_t id, uint8_t uid, uint16_t port, uint64_t limit)
{
    struct mux_open open = an_open(uid, port);
    unsigned char mem[1024];
    struct buf payload;

    buf_init_fixed(&payload, mem, sizeof(mem));
    open_encode(&payload, &open, limit);
    frame_put(b, FRAME_OPEN, 0, id, buf_span(&payload));
}

static inline void put_data(struct buf *b, uint32_t id, uint64_t offset, size_t n)
{
    static const char zeros[FRAME_DATA_MAX];

    frame_header_put(b, FRAME_DATA, 0, FRAME_OFFSET_LEN + n, id);
    buf_put_u64(b, offset);
    buf_put(b, zeros, n);
}

static inline void put_credit(struct buf *b, uint32_t id, uint64_t limit, uint64_t received,
                              uint8_t flags)
{
    frame_credit_put(b, id, (struct frame_credit){ limit, received }, flags);
}

static inline void begin(uint32_t streams_max)
{
    struct mux_config config = { .is_accepting = true, .memory_limit = 4 << 20,
                                 .streams_max = streams_max };
    unsigned char mem[64];
    struct buf b;

    memset(&w, 0, sizeof(w));
    w.now_ms = 1000;
    w.mux = mux_new(&config, &handlers);
    w.link = mux_link_new(w.mux, NULL, w.now_ms);
    assert_int_equal(mux_link_hello(w.link, SPAN("{}")), 0);
    produce();
    buf_init_fixed(&b, mem, sizeof(mem));
    frame_put(&b, FRAME_HELLO, 0, 0, SPAN("{}"));
    take(&b);
    mux_link_accept(w.link, w.now_ms);
    produce();
}

static inline void end(void)
{
    mux_free(w.mux);
    assert_int_equal(w.ended, w.opened);
}
