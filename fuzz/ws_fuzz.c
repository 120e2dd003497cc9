// room: lib/ws
// parser: lib/ws/parser.c lib/ws/utf8.c
#include "lib/ws/ws.h"
/*
 * Frames: split anywhere they give the same events and payload, up to the same error.  The first
 * byte chooses whether text is taken, whether they come from a client, how large a message may be.
 */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct answer {
    int r;
    uint64_t frames;
    unsigned firsts, lasts, controls, close_code;
    uint32_t control_sum;
    uint64_t data_bytes;        /* and sum: of messages without error only */
    uint32_t data_sum;
};

static uint32_t sum(uint32_t sum, struct span s, const unsigned char *mask)
{
    for (size_t i = 0; i < s.n; i++)
        sum = sum * 31 + ((unsigned char)s.p[i] ^ (mask ? mask[i % 4] : 0u));
    return sum;
}

static void note(struct answer *a, const struct ws_event *e)
{
    if (e->kind == WS_EVENT_DATA) {
        a->firsts += e->is_first;
        a->lasts += e->is_last;
        a->data_bytes += e->data.n;
        a->data_sum = sum(a->data_sum, e->data, e->is_masked ? e->mask : NULL);
        CHECK(a->firsts - a->lasts <= 1);
    } else if (e->kind != WS_EVENT_NONE) {
        CHECK(e->data.n <= WS_CONTROL_MAX);
        a->controls++;
        a->close_code = e->close_code;
        a->control_sum = sum(a->control_sum + (uint32_t)e->kind, e->data, NULL);
    }
}

static struct answer feed(struct span in, size_t step, const struct ws_options *options)
{
    struct answer a = { 0 };
    struct ws_parser p;

    ws_parser_init(&p, options);
    while (in.n && !a.r) {
        struct span part = span_first(in, step);
        struct ws_event event = { .kind = WS_EVENT_PING };

        in = span_skip(in, part.n);
        while (!a.r && event.kind != WS_EVENT_NONE) {
            size_t bytes;

            a.r = ws_parser_take(&p, part, &bytes, &event);
            if (a.r)
                break;
            CHECK(bytes <= part.n);
            part = span_skip(part, bytes);
            note(&a, &event);
        }
        CHECK(a.r || part.n == 0);
    }
    a.frames = p.frames;
    return a;
}

static void check_same(const struct answer *a, const struct answer *b)
{
    CHECK(a->r == b->r && a->frames == b->frames);
    CHECK(a->controls == b->controls && a->close_code == b->close_code);
    CHECK(a->control_sum == b->control_sum && a->lasts == b->lasts);
    if (!a->r)
        CHECK(a->firsts == b->firsts && a->data_bytes == b->data_bytes
              && a->data_sum == b->data_sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct ws_options options = { 0 };
    struct answer whole, split;
    struct span in;

    if (n == 0)
        return 0;
    options.take_text = data[0] & 1;
    options.is_server = data[0] & 2;
    options.message_max = (uint64_t)1 << (data[0] >> 2);
    in = span_of(data + 1, n - 1);
    whole = feed(in, n, &options);
    split = feed(in, 1, &options);
    check_same(&whole, &split);
    split = feed(in, data[n - 1] % 16 + 2u, &options);
    check_same(&whole, &split);
    return 0;
}
