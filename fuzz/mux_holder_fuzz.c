// room: lib/mux
// parser: lib/mux/hop_in.c lib/mux/hop_out.c
// beside: chunk_queue_append held_add
/*
 * A holder between two peers that both make up what they say.  Whatever comes: within memory, every
 * hop told its end once, what goes out are whole frames, the accounts of bytes hold.
 *
 * The first byte chooses memory and windows; then come frames, each cut to its length.  A byte
 * before each frame says from which side it comes and what else happens.
 */
#include "lib/mux/hop.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

#define HOPS 16

static struct {
    struct mux_holder *holder;
    struct mux *mux;
    struct mux_link *link[2];
    uint64_t now_ms;
    unsigned temper, ended, read;
} w;

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static void read_all(struct span s)
{
    for (size_t i = 0; i < s.n; i++)
        w.read += (unsigned char)s.p[i];
}

static enum reason on_route(void *user, struct mux_link *from, const struct mux_asked *asked,
                            struct mux_route *route)
{
    (void)user;
    must(asked->uid.n == MUX_UID_LEN && asked->path);
    read_all(asked->host);
    read_all(asked->principal);
    read_all(asked->grant);
    read_all(asked->entry);
    read_all(asked->boot_id);
    read_all(asked->ticket);
    if (asked->port % 8 == 1)
        return REASON_NO_AGENT;
    if (asked->port % 8 != 2)
        route->to = w.link[from == w.link[0]];
    return REASON_NONE;
}

static void on_hop_ended(void *user, struct mux_hop *hop, enum reason why)
{
    (void)user;
    must(mux_hop_counts(hop)->bytes[0] <= mux_holder_stats(w.holder)->bytes[0]);
    must(why < REASON_COUNT);
    w.ended++;
}

static const struct mux_handlers handlers = { .on_route = on_route, .on_hop_ended = on_hop_ended };

static void produce(int side)
{
    static unsigned char message[MUX_MESSAGE_MAX];
    size_t n = mux_link_produce(w.link[side], message, sizeof(message), w.now_ms);
    struct span rest = span_of(message, n);
    struct frame f;

    while (rest.n) {
        must(frame_read(rest, &f) == 0);
        rest = span_skip(rest, FRAME_HEADER_LEN + f.payload.n);
    }
}

static void say(int side, struct span frame)
{
    (void)!mux_link_take(w.link[side], frame, true, w.now_ms);
}

static void link_begin(int side)
{
    bool is_accepting = w.temper >> side & 1;

    w.link[side] = mux_link_new_as(w.mux, is_accepting, NULL, w.now_ms);
    if (!is_accepting)
        say(side, SPAN("\1\0\0\0\0\0\0\0"));
    (void)!mux_link_hello(w.link[side], SPAN("{}"));
    if (is_accepting) {
        produce(side);
        say(side, SPAN("\1\0\0\0\0\0\0\0"));
        mux_link_accept(w.link[side], w.now_ms);
    }
    produce(side);
    if (!is_accepting)
        say(side, SPAN("\2\0\0\x8\0\0\0\0" "00000000"));
}

static void begin(unsigned char temper)
{
    struct mux_holder_config config = { .memory_limit = temper & 4 ? 40000 : 400000,
                                        .hops_max = HOPS, .window = temper & 8 ? 20000 : 0 };
    struct mux_config mux = { .streams_max = HOPS };

    memset(&w, 0, sizeof(w));
    w.temper = temper;
    w.now_ms = 1;
    w.holder = mux.holder = mux_holder_new(&config);
    w.mux = mux_new(&mux, &handlers);
    link_begin(0);
    link_begin(1);
}

static void check_side(const struct side *y)
{
    must(y->acked <= y->handed && y->handed <= y->received && y->received <= y->told);
    must(y->bytes.len == y->received - y->handed);
    must(y->frames_cost <= HOP_FRAMES_MAX && y->datagrams_cost <= HOP_FRAMES_MAX);
}

static struct mux_hop *check_all(void)
{
    struct mux_hop *hop = NULL;

    for (int side = 0; side < 2; side++) {
        struct map_cursor cursor = { 0 };
        struct map_node *node;

        while (w.link[side] && (node = map_next(&w.link[side]->by_id, &cursor))) {
            struct leg *g = container_of(node, struct leg, by_id);

            if (g->kind != LEG_HOP)
                continue;
            check_side(side_of(g));
            hop = side_of(g)->hop;
        }
    }
    must(mux_holder_stats(w.holder)->held_bytes <= w.holder->config.memory_limit);
    must(mux_holder_stats(w.holder)->hops <= HOPS);
    return hop;
}

static void act(unsigned char what)
{
    struct mux_hop *hop;

    (void)check_all();
    w.now_ms += what % 16 == 15 ? 2000 : what % 4;
    if (what & 0x80)
        produce(0);
    if (what & 0x40)
        produce(1);
    if (what & 0x20)
        (void)mux_link_tick(w.link[what >> 4 & 1], w.now_ms);
    hop = check_all();
    if ((what & 0x1e) == 0x0a && hop)
        mux_hop_revoke(hop);
    if ((what & 0x1e) == 0x0c) {
        mux_link_free(w.link[what & 1]);
        link_begin(what & 1);
    }
    if ((what & 0x1e) == 0x0e)
        mux_link_set_rate(w.link[what & 1], 100000);
}

static size_t feed(int side, const unsigned char *data, size_t n)
{
    size_t whole = FRAME_HEADER_LEN;

    if (n >= FRAME_HEADER_LEN)
        whole += (size_t)data[2] << 8 | data[3];
    if (whole > n)
        whole = n;
    say(side, span_of(data, whole));
    return whole;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    const struct mux_holder_stats *stats;

    if (n < 1)
        return 0;
    begin(data[0]);
    data++;
    n--;
    while (n > 1) {
        size_t used;

        act(data[0]);
        used = 1 + feed(data[0] & 1, data + 1, n - 1);
        data += used;
        n -= used;
    }
    (void)check_all();
    produce(0);
    produce(1);
    mux_free(w.mux);
    stats = mux_holder_stats(w.holder);
    must(w.ended <= stats->hops_begun && stats->hops == 0);
    must(stats->held_bytes == 0 && stats->promised_bytes == 0);
    mux_holder_free(w.holder);
    return 0;
}
