#include "lib/ws/ws.h"
#include <string.h>

#define FIN 0x80
#define RSV 0x70
#define OPCODE 0x0f
#define MASKED 0x80
#define LENGTH 0x7f
#define IS_CONTROL 0x08
#define PREFIX_BYTES 2
#define MASK_BYTES 4
#define TEXT_PART 512

enum {
    AT_HEADER,
    AT_DATA,
    AT_CONTROL,
    AT_CLOSED,
};

void ws_parser_init(struct ws_parser *p, const struct ws_options *options)
{
    *p = (struct ws_parser){ .options = *options, .header_want = PREFIX_BYTES };
}

static void next_frame(struct ws_parser *p)
{
    p->state = AT_HEADER;
    p->header_have = 0;
    p->header_want = PREFIX_BYTES;
}

/* The first two bytes: all that can be refused is refused now. */
static int prefix_read(struct ws_parser *p)
{
    unsigned char first = p->header[0], second = p->header[1];
    unsigned length = second & LENGTH, opcode = first & OPCODE;
    bool is_fin = first & FIN;

    if (first & RSV)
        return WS_E_RSV;
    if (!(second & MASKED) == p->options.is_server)
        return p->options.is_server ? WS_E_UNMASKED : WS_E_MASKED;
    if (opcode & IS_CONTROL) {
        if (opcode > WS_PONG)
            return WS_E_OPCODE;
        if (!is_fin || length > WS_CONTROL_MAX)
            return WS_E_CONTROL;
    } else {
        if (opcode > WS_BINARY)
            return WS_E_OPCODE;
        if ((opcode == WS_CONTINUATION) != (p->message != WS_CONTINUATION))
            return WS_E_CONTINUATION;
        if (opcode == WS_TEXT && !p->options.take_text)
            return WS_E_TEXT;
    }

    p->opcode = (enum ws_opcode)opcode;
    p->fin = is_fin;
    p->left = length;
    p->header_want = PREFIX_BYTES + (length == 126 ? 2 : length == 127 ? 8 : 0);
    if (p->options.is_server)
        p->header_want += MASK_BYTES;
    return 0;
}

/* The length where it has bytes of its own, and the mask. */
static int rest_read(struct ws_parser *p)
{
    struct reader r;
    bool is_right = true;

    reader_init(&r, span_of(p->header + PREFIX_BYTES, p->header_want - PREFIX_BYTES));
    if (p->left == 126) {
        p->left = read_u16(&r);
        is_right = p->left > WS_CONTROL_MAX;
    } else if (p->left == 127) {
        p->left = read_u64(&r);
        is_right = p->left > UINT16_MAX && p->left <= INT64_MAX;
    }
    if (p->options.is_server)
        memcpy(p->mask, r.p, MASK_BYTES);
    return is_right ? 0 : WS_E_LENGTH;
}

static int data_begin(struct ws_parser *p)
{
    p->state = AT_DATA;
    p->is_first = p->opcode != WS_CONTINUATION;
    if (p->is_first) {
        p->message = p->opcode;
        p->message_bytes = 0;
        p->utf8 = 0;
    }
    if (p->left > p->options.message_max - p->message_bytes)
        return WS_E_TOO_BIG;
    p->message_bytes += p->left;

    p->empties = p->left ? 0 : p->empties + 1;
    return p->empties > WS_EMPTY_MAX ? WS_E_FLOOD : 0;
}

static int frame_begin(struct ws_parser *p)
{
    p->frames++;
    if (!(p->opcode & IS_CONTROL))
        return data_begin(p);
    p->state = AT_CONTROL;
    p->control_have = 0;
    return 0;
}

/* Takes header bytes; the frame has begun when the state is no longer AT_HEADER. */
static int header_take(struct ws_parser *p, struct span *in)
{
    int r = 0;

    while (!r && in->n && p->header_have < p->header_want) {
        p->header[p->header_have++] = (unsigned char)in->p[0];
        *in = span_skip(*in, 1);
        if (p->header_have == PREFIX_BYTES)
            r = prefix_read(p);
    }
    if (!r && p->header_have == p->header_want)
        r = rest_read(p);
    if (!r && p->header_have == p->header_want)
        r = frame_begin(p);
    return r;
}

/* Text under a mask is laid open for the check, a part at a time. */
static bool feed_text(struct ws_parser *p, struct span data)
{
    unsigned char open[TEXT_PART];
    bool is_good = true;

    if (!p->options.is_server)
        return ws_utf8_feed(&p->utf8, data);
    for (uint64_t at = 0; data.n && is_good; at += sizeof(open)) {
        struct span part = span_first(data, sizeof(open));

        ws_mask_copy(open, part.p, part.n, p->mask, at);
        is_good = ws_utf8_feed(&p->utf8, span_of(open, part.n));
        data = span_skip(data, part.n);
    }
    return is_good;
}

static int text_check(struct ws_parser *p, struct span data, bool is_last)
{
    if (p->message != WS_TEXT)
        return 0;
    return feed_text(p, data) && !(is_last && p->utf8) ? 0 : WS_E_UTF8;
}

/* The mask as it goes on behind n bytes. */
static void turn_mask(struct ws_parser *p, size_t n)
{
    unsigned char before[MASK_BYTES];

    memcpy(before, p->mask, sizeof(before));
    for (size_t i = 0; i < sizeof(before); i++)
        p->mask[i] = before[(i + n) % sizeof(before)];
}

static int data_take(struct ws_parser *p, struct span *in, struct ws_event *event)
{
    struct span data = p->left < in->n ? span_first(*in, (size_t)p->left) : *in;
    bool is_last;
    int r;

    if (p->left && data.n == 0)
        return 0;
    *in = span_skip(*in, data.n);
    p->left -= data.n;
    is_last = p->fin && p->left == 0;
    r = text_check(p, data, is_last);
    if (r)
        return r;

    *event = (struct ws_event){
        .kind = WS_EVENT_DATA, .opcode = p->message, .data = data,
        .is_first = p->is_first, .is_last = is_last, .is_masked = p->options.is_server,
    };
    memcpy(event->mask, p->mask, sizeof(event->mask));
    turn_mask(p, data.n);
    p->is_first = false;
    if (is_last)
        p->message = WS_CONTINUATION;
    if (p->left == 0)
        next_frame(p);
    return 0;
}

static bool may_be_sent(unsigned code)
{
    static const struct { unsigned low, high; } ranges[] = {
        { 1000, 1003 }, { 1007, 1014 }, { 3000, 4999 },
    };

    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        if (code >= ranges[i].low && code <= ranges[i].high)
            return true;
    }
    return false;
}

static int close_read(struct ws_parser *p, struct span payload, struct ws_event *event)
{
    unsigned utf8 = 0;
    struct reader r;

    p->state = AT_CLOSED;
    *event = (struct ws_event){ .kind = WS_EVENT_CLOSE, .close_code = WS_CLOSE_NONE };
    if (payload.n == 0)
        return 0;
    reader_init(&r, payload);
    event->close_code = read_u16(&r);
    if (r.error || !may_be_sent(event->close_code))
        return WS_E_CLOSE_PAYLOAD;

    event->data = span_skip(payload, 2);
    return ws_utf8_feed(&utf8, event->data) && !utf8 ? 0 : WS_E_UTF8;
}

static int control_take(struct ws_parser *p, struct span *in, struct ws_event *event)
{
    size_t n = p->left < in->n ? (size_t)p->left : in->n;
    struct span payload;

    if (n && p->options.is_server)
        ws_mask_copy(p->control + p->control_have, in->p, n, p->mask, p->control_have);
    else if (n)
        memcpy(p->control + p->control_have, in->p, n);
    p->control_have += (unsigned)n;
    p->left -= n;
    *in = span_skip(*in, n);
    if (p->left)
        return 0;

    payload = span_of(p->control, p->control_have);
    if (p->opcode == WS_CLOSE)
        return close_read(p, payload, event);
    next_frame(p);
    event->kind = p->opcode == WS_PING ? WS_EVENT_PING : WS_EVENT_PONG;
    event->data = payload;
    return 0;
}

/* Until there is an event, or nothing left that could make one. */
static int event_take(struct ws_parser *p, struct span *in, struct ws_event *event)
{
    int r = 0;

    if (p->state == AT_CLOSED)
        *in = SPAN_NONE;
    if (p->state == AT_HEADER)
        r = header_take(p, in);
    if (!r && p->state == AT_DATA)
        r = data_take(p, in, event);
    else if (!r && p->state == AT_CONTROL)
        r = control_take(p, in, event);
    return r;
}

int ws_parser_take(struct ws_parser *p, struct span in, size_t *ret_bytes,
                   struct ws_event *ret_event)
{
    struct ws_event event = { .kind = WS_EVENT_NONE };
    struct span rest = in;

    if (!p->error)
        p->error = event_take(p, &rest, &event);
    if (p->error)
        return p->error;

    *ret_bytes = in.n - rest.n;
    *ret_event = event;
    return 0;
}
