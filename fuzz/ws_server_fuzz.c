// room: lib/ws/server
// parser: lib/ws/server/ws_request.c lib/ws/handshake.c lib/ws/parser.c
// beside: is_plain request_is_good ws_request_write ws_answer_check
#include "lib/ws/server/ws_request.h"
#include "lib/ws/ws.h"
/*
 * A client's request and the frames behind it: whoever is agreed with asked rightly, every answer fits
 * and is HTTP, and frames split anywhere give the same payload.
 */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct sums {
    int r;
    uint64_t bytes;
    uint32_t sum;
};

static void add(struct sums *s, const struct ws_event *e)
{
    unsigned char open[64];

    for (size_t at = 0; at < e->data.n; at += sizeof(open)) {
        struct span part = span_first(span_skip(e->data, at), sizeof(open));

        memcpy(open, part.p, part.n);
        if (e->is_masked)
            ws_mask_copy(open, part.p, part.n, e->mask, at);
        for (size_t i = 0; i < part.n; i++)
            s->sum = s->sum * 31 + open[i];
    }
    s->bytes += e->data.n;
}

static struct sums take(struct span in, size_t step)
{
    static const struct ws_options options = { .message_max = 1 << 16, .is_server = true };
    struct sums s = { 0 };
    struct ws_parser p;

    ws_parser_init(&p, &options);
    while (in.n && !s.r) {
        struct span part = span_first(in, step);
        struct ws_event e = { .kind = WS_EVENT_PING };

        in = span_skip(in, part.n);
        while (!s.r && e.kind != WS_EVENT_NONE) {
            size_t taken = 0;

            s.r = ws_parser_take(&p, part, &taken, &e);
            if (s.r)
                break;
            part = span_skip(part, taken);
            if (e.kind != WS_EVENT_NONE)
                add(&s, &e);
        }
    }
    return s;
}

static void check_frames(struct span in)
{
    struct sums whole = take(in, in.n), split = take(in, 3);

    CHECK(whole.r == split.r);
    CHECK(whole.r || (whole.bytes == split.bytes && whole.sum == split.sum));
}

static void check_answer(const struct http1_head *head, int error)
{
    unsigned char memory[1024];
    struct http1_scan scan = { 0 };
    struct http1_head answer;
    struct buf out;

    buf_init_fixed(&out, memory, sizeof(memory));
    if (error)
        ws_request_refuse(&out, error);
    else
        ws_request_agree(&out, head, SPAN("adit.v1"));
    CHECK(!buf_error(&out));
    CHECK(!http1_response_parse(&scan, buf_span(&out), SPAN("GET"), &answer));
    CHECK(error ? answer.status == 400 || answer.status == 426 : answer.status == 101);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct http1_scan scan = { .limit = 8192 };
    struct http1_head head;
    struct span in = span_of(data, n);
    int r = http1_request_parse(&scan, in, &head);

    if (r) {
        check_frames(in);
        return 0;
    }
    r = ws_request_check(&head, SPAN("adit.v1"));
    CHECK(r || (span_eq(head.method, SPAN("GET")) && http1_count(&head, SPAN("Sec-WebSocket-Key")) == 1));
    check_answer(&head, r);
    check_frames(span_skip(in, head.bytes));
    return 0;
}
