// room: lib/mux
// parser: lib/mux/frame.c lib/mux/open.c lib/mux/tags.c
/* A frame and the payload of every type: what was read can be written and reads the same. */
#include "lib/mux/frame.h"
#include "lib/mux/open.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

static unsigned char mem[1 << 16];

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static struct buf fresh(void)
{
    struct buf b;

    buf_init_fixed(&b, mem, sizeof(mem));
    return b;
}

static void check_open(struct span payload)
{
    struct mux_open o, again;
    uint64_t limit, limit_again = 0;
    struct buf b = fresh();

    if (open_decode(payload, &o, &limit))
        return;
    open_encode(&b, &o, limit);
    must(buf_error(&b) == 0 && open_decode(buf_span(&b), &again, &limit_again) == 0);
    must(limit == limit_again && span_eq(o.host, again.host) && o.port == again.port);
    must(o.range_count == again.range_count && o.resolve_count == again.resolve_count);
    must(span_eq(o.principal, again.principal) && o.allow_special == again.allow_special);
}

static void check_opened(struct span payload)
{
    struct mux_opened o, again;
    uint64_t limit, limit_again = 0;
    struct buf b = fresh();

    if (opened_decode(payload, &o, &limit))
        return;
    opened_encode(&b, &o, limit);
    must(buf_error(&b) == 0 && opened_decode(buf_span(&b), &again, &limit_again) == 0);
    must(limit == limit_again && o.try_count == again.try_count && o.used.kind == again.used.kind);
}

static void check_refused(struct span payload)
{
    struct mux_opened o, o_again;
    struct why w, again;
    struct buf b = fresh();

    if (refused_decode(payload, &w, &o))
        return;
    refused_encode(&b, &w, &o);
    must(buf_error(&b) == 0 && refused_decode(buf_span(&b), &again, &o_again) == 0);
    must(w.reason == again.reason && span_eq(w.text, again.text));
    must(o.try_count == o_again.try_count);
}

static void check_reset(struct span payload)
{
    struct why w, again;
    uint64_t final_offset, final_again = 0;
    struct buf b = fresh();

    if (reset_decode(payload, &final_offset, &w))
        return;
    reset_encode(&b, final_offset, &w);
    must(buf_error(&b) == 0 && reset_decode(buf_span(&b), &final_again, &again) == 0);
    must(final_offset == final_again && w.reason == again.reason && w.ms == again.ms);
}

static void check_goaway(struct span payload)
{
    struct mux_goaway g, again;
    struct buf b = fresh();

    if (goaway_decode(payload, &g))
        return;
    goaway_encode(&b, &g);
    must(buf_error(&b) == 0 && b.len <= GOAWAY_LEN_MAX && goaway_decode(buf_span(&b), &again) == 0);
    must(g.why == again.why && g.ms_left == again.ms_left && g.retry_ms == again.retry_ms);
    must(g.scope == again.scope && g.elsewhere_count == again.elsewhere_count);
    for (size_t i = 0; i < g.elsewhere_count; i++)
        must(span_eq(g.elsewhere[i], again.elsewhere[i]));
}

static void check_attach(struct span payload)
{
    struct frame_attach a, again;
    struct frame f;
    struct buf b = fresh();

    if (frame_attach_read(payload, &a))
        return;
    frame_attach_put(&b, FRAME_ATTACH, 1, &a);
    must(buf_error(&b) == 0 && frame_read(buf_span(&b), &f) == 0);
    must(frame_attach_read(f.payload, &again) == 0 && a.received == again.received);
    must(span_eq(a.ticket, again.ticket) && span_eq(a.proof, again.proof));
}

static void check_fixed(struct span payload)
{
    struct frame_notice notice;
    struct frame_credit credit;
    struct frame_data d;
    uint64_t value;
    struct why w;

    if (frame_data_read(payload, &d) == 0)
        must(d.bytes.n == payload.n - 8);
    if (frame_credit_read(payload, &credit) == 0)
        must(credit.received <= credit.limit && payload.n == 16);
    if (frame_notice_read(payload, &notice) == 0)
        must(notice.offset + notice.part.n <= notice.total);
    (void)!frame_fin_read(payload, &value);
    (void)!frame_echo_read(payload, &value);
    (void)!why_decode(payload, &w);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    struct frame f;

    if (frame_read(span_of(data, n), &f) == 0)
        must(f.payload.n + FRAME_HEADER_LEN <= n);
    if (n <= FRAME_HEADER_LEN)
        return 0;

    f.payload = span_of(data + FRAME_HEADER_LEN, n - FRAME_HEADER_LEN);
    check_open(f.payload);
    check_opened(f.payload);
    check_refused(f.payload);
    check_reset(f.payload);
    check_attach(f.payload);
    check_goaway(f.payload);
    check_fixed(f.payload);
    return 0;
}
