#include "lib/mux/frame.h"
#include "lib/mux/tags.h"
#include <errno.h>

#define UID_LEN 16
#define BOOT_ID_MAX 64
#define TICKET_MAX 4096

enum attach_tag { ATTACH_TAG_BOOT_ID = 1, ATTACH_TAG_TICKET, ATTACH_TAG_HOPS };

static const char *const names[128] = {
    [FRAME_HELLO] = "HELLO",       [FRAME_PING] = "PING",
    [FRAME_PONG] = "PONG",         [FRAME_GOAWAY] = "GOAWAY",
    [FRAME_NOTICE] = "NOTICE",     [FRAME_OPEN] = "OPEN",
    [FRAME_OPEN_OK] = "OPEN_OK",   [FRAME_OPEN_ERR] = "OPEN_ERR",
    [FRAME_DATA] = "DATA",         [FRAME_CREDIT] = "CREDIT",
    [FRAME_FIN] = "FIN",           [FRAME_RESET] = "RESET",
    [FRAME_END] = "END",           [FRAME_ATTACH] = "ATTACH",
    [FRAME_ATTACH_OK] = "ATTACH_OK", [FRAME_ATTACH_ERR] = "ATTACH_ERR",
    [FRAME_DETACH] = "DETACH",     [FRAME_DATAGRAM] = "DATAGRAM",
};

const char *frame_name(uint8_t type)
{
    return type < ARRAY_LEN(names) && names[type] ? names[type] : "?";
}

static size_t payload_max(uint8_t type, size_t data_max)
{
    return type == FRAME_DATA ? FRAME_OFFSET_LEN + data_max : FRAME_PAYLOAD_MAX;
}

int frame_read(struct span bytes, struct frame *ret_frame)
{
    return frame_read_upto(bytes, FRAME_DATA_MAX, ret_frame);
}

int frame_read_upto(struct span bytes, size_t data_max, struct frame *ret_frame)
{
    struct frame f = { 0 };
    struct reader r;
    size_t length;

    if (bytes.n < FRAME_HEADER_LEN)
        return FRAME_E_PARTIAL;

    reader_init(&r, bytes);
    f.type = read_u8(&r);
    f.flags = read_u8(&r);
    length = read_u16(&r);
    f.stream = read_u32(&r);
    if (length > payload_max(f.type, data_max))
        return FRAME_E_LENGTH;
    if ((f.type & FRAME_BIT_STREAM) ? f.stream == 0 : f.stream != 0)
        return FRAME_E_STREAM;
    if (length > r.n)
        return FRAME_E_PARTIAL;

    f.payload = read_span(&r, length);
    *ret_frame = f;
    return 0;
}

int frame_data_read(struct span payload, struct frame_data *ret_data)
{
    struct frame_data d;
    struct reader r;

    if (payload.n <= FRAME_OFFSET_LEN)
        return FRAME_E_LENGTH;

    reader_init(&r, payload);
    d.offset = read_u64(&r);
    d.bytes = read_span(&r, r.n);
    if (d.offset > UINT64_MAX - d.bytes.n)
        return FRAME_E_VALUE;

    *ret_data = d;
    return 0;
}

int frame_credit_read(struct span payload, struct frame_credit *ret_credit)
{
    struct frame_credit c;
    struct reader r;

    reader_init(&r, payload);
    c.limit = read_u64(&r);
    c.received = read_u64(&r);
    if (r.error || r.n)
        return FRAME_E_LENGTH;
    if (c.received > c.limit)
        return FRAME_E_VALUE;

    *ret_credit = c;
    return 0;
}

int frame_fin_read(struct span payload, uint64_t *ret_final)
{
    struct reader r;
    uint64_t final_offset;

    reader_init(&r, payload);
    final_offset = read_u64(&r);
    if (r.error || r.n)
        return FRAME_E_LENGTH;

    *ret_final = final_offset;
    return 0;
}

int frame_end_read(struct span payload)
{
    return payload.n ? FRAME_E_LENGTH : 0;
}

int frame_echo_read(struct span payload, uint64_t *ret_value)
{
    if (payload.n > FRAME_PING_MAX)
        return FRAME_E_LENGTH;
    return frame_fin_read(span_first(payload, 8), ret_value);
}

int frame_notice_read(struct span payload, struct frame_notice *ret_notice)
{
    struct frame_notice n;
    struct reader r;

    reader_init(&r, payload);
    n.kind = read_u8(&r);
    n.revision = read_u64(&r);
    n.total = read_u32(&r);
    n.offset = read_u32(&r);
    if (r.error)
        return FRAME_E_LENGTH;

    n.part = read_span(&r, r.n);
    if (n.total > FRAME_NOTICE_TOTAL_MAX || n.offset > n.total ||
        n.part.n > n.total - n.offset)
        return FRAME_E_VALUE;
    if (n.part.n == 0 && n.total != 0)
        return FRAME_E_LENGTH;

    *ret_notice = n;
    return 0;
}

static int attach_tags_read(struct span bytes, struct frame_attach *a, bool may_skip)
{
    const struct tag_rule rules[] = {
        { ATTACH_TAG_BOOT_ID, 1, BOOT_ID_MAX, false, tag_take_span, &a->boot_id },
        { ATTACH_TAG_TICKET, 1, TICKET_MAX, false, tag_take_span, &a->ticket },
        { ATTACH_TAG_HOPS, 1, 1, false, tag_take_u8, &a->hop_count },
    };

    if (may_skip ? tags_skim(bytes, rules, ARRAY_LEN(rules)) : tags_read(bytes, rules, ARRAY_LEN(rules)))
        return FRAME_E_VALUE;
    return 0;
}

static int attach_read(struct span payload, struct frame_attach *ret_attach, bool may_skip)
{
    struct frame_attach a = { 0 };
    struct reader r;
    uint8_t fin;
    int e;

    reader_init(&r, payload);
    a.uid = read_span(&r, UID_LEN);
    a.path = read_u32(&r);
    a.received = read_u64(&r);
    a.limit = read_u64(&r);
    fin = read_u8(&r);
    a.proof = read_span(&r, FRAME_PROOF_LEN);
    if (r.error)
        return FRAME_E_LENGTH;
    if (fin > 1 || a.path == 0 || a.received > a.limit)
        return FRAME_E_VALUE;

    a.is_fin_seen = fin;
    e = attach_tags_read(read_span(&r, r.n), &a, may_skip);
    if (e)
        return e;

    *ret_attach = a;
    return 0;
}

int frame_attach_read(struct span payload, struct frame_attach *ret_attach)
{
    return attach_read(payload, ret_attach, false);
}

int frame_attach_skim(struct span payload, struct frame_attach *ret_attach)
{
    return attach_read(payload, ret_attach, true);
}

void frame_header_put(struct buf *out, uint8_t type, uint8_t flags, size_t payload_len,
                      uint32_t stream)
{
    if (payload_len > payload_max(type, FRAME_DATA_LARGE) && !out->error)
        out->error = -ENOBUFS;
    buf_put_u8(out, type);
    buf_put_u8(out, flags);
    buf_put_u16(out, (uint16_t)payload_len);
    buf_put_u32(out, stream);
}

void frame_put(struct buf *out, uint8_t type, uint8_t flags, uint32_t stream,
               struct span payload)
{
    frame_header_put(out, type, flags, payload.n, stream);
    buf_put_span(out, payload);
}

void frame_credit_put(struct buf *out, uint32_t stream, struct frame_credit credit,
                      uint8_t flags)
{
    frame_header_put(out, FRAME_CREDIT, flags, 16, stream);
    buf_put_u64(out, credit.limit);
    buf_put_u64(out, credit.received);
}

void frame_fin_put(struct buf *out, uint32_t stream, uint64_t final_offset)
{
    frame_header_put(out, FRAME_FIN, 0, FRAME_OFFSET_LEN, stream);
    buf_put_u64(out, final_offset);
}

void frame_echo_put(struct buf *out, uint8_t type, uint64_t value)
{
    frame_header_put(out, type, 0, 8, 0);
    buf_put_u64(out, value);
}

void frame_notice_put(struct buf *out, const struct frame_notice *notice)
{
    frame_header_put(out, FRAME_NOTICE, 0, FRAME_NOTICE_HEADER_LEN + notice->part.n, 0);
    buf_put_u8(out, notice->kind);
    buf_put_u64(out, notice->revision);
    buf_put_u32(out, notice->total);
    buf_put_u32(out, notice->offset);
    buf_put_span(out, notice->part);
}

static void attach_payload_put(struct buf *out, const struct frame_attach *a)
{
    buf_put_span(out, a->uid);
    buf_put_u32(out, a->path);
    buf_put_u64(out, a->received);
    buf_put_u64(out, a->limit);
    buf_put_u8(out, a->is_fin_seen);
    buf_put_span(out, a->proof);
    tag_put_span(out, ATTACH_TAG_BOOT_ID, a->boot_id);
    tag_put_span(out, ATTACH_TAG_TICKET, a->ticket);
    if (a->hop_count)
        tag_put_u8(out, ATTACH_TAG_HOPS, a->hop_count);
}

void frame_attach_put(struct buf *out, uint8_t type, uint32_t stream,
                      const struct frame_attach *attach)
{
    unsigned char mem[FRAME_HEADER_LEN + 64 + BOOT_ID_MAX + TICKET_MAX];
    struct buf payload;

    buf_init_fixed(&payload, mem, sizeof(mem));
    attach_payload_put(&payload, attach);
    if (buf_error(&payload) && !out->error)
        out->error = buf_error(&payload);
    frame_put(out, type, 0, stream, buf_span(&payload));
}
