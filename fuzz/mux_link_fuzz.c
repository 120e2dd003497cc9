// room: lib/mux
// parser: lib/mux/link_in.c lib/mux/stream_in.c
// beside: drop_unacked
/*
 * A whole end of the mux, fed with bytes that a peer made up, while its program acts: takes,
 * answers, writes, resets.  Whatever comes: within memory, every stream told its end once,
 * what goes out are whole frames.
 *
 * The first byte chooses the side and the program's temper; then come frames, each cut to
 * its length and delivered in parts.  A byte before each frame says what else happens.
 */
#include "lib/mux/frame.h"
#include "lib/mux/mux.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

#define MEMORY_LIMIT (1u << 20)
#define STREAMS_MAX 16

static struct {
    struct mux *mux;
    struct mux_link *link;
    struct mux_stream *streams[STREAMS_MAX * 4];
    unsigned temper;
    uint64_t now_ms;
    unsigned seen;
    bool is_failed;
} w;

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static void remember(struct mux_stream *s)
{
    for (size_t i = 0; i < ARRAY_LEN(w.streams); i++) {
        if (!w.streams[i]) {
            w.streams[i] = s;
            mux_stream_set_user(s, &w.streams[i]);
            return;
        }
    }
    abort();
}

static void write_some(struct mux_stream *s, size_t most)
{
    size_t n;
    unsigned char *at = mux_stream_reserve(s, &n);

    if (!at)
        return;
    n = n < most ? n : most;
    memset(at, 'w', n);
    mux_stream_commit(s, n);
}

static void read_some(struct mux_stream *s, size_t most)
{
    struct span span;

    while (most && mux_stream_peek(s, &span, 1)) {
        size_t n = span.n < most ? span.n : most;

        mux_stream_consume(s, n);
        most -= n;
    }
}

/* Spans that a program is given can be read to their end. */
static unsigned read_all(struct span s)
{
    unsigned sum = 0;

    for (size_t i = 0; i < s.n; i++)
        sum += (unsigned char)s.p[i];
    return sum;
}

static void on_proved(void *user, struct mux_link *l, uint32_t rtt_us)
{
    (void)user;
    (void)rtt_us;
    must(l == w.link);
}

static void on_goaway(void *user, struct mux_link *l, const struct mux_goaway *goaway)
{
    (void)user;
    must(l == w.link && goaway->why < REASON_COUNT && goaway->elsewhere_count <= MUX_ELSEWHERE_MAX);
    w.seen += read_all(goaway->text);
    for (size_t i = 0; i < goaway->elsewhere_count; i++)
        w.seen += read_all(goaway->elsewhere[i]);
}

static void on_notice(void *user, struct mux_link *l, uint8_t kind, uint64_t revision, struct span body)
{
    (void)user;
    (void)l;
    w.seen += read_all(body) + kind + (unsigned)revision;
}

static void on_refused(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    must(*(struct mux_stream **)user == s && why < REASON_COUNT);
    w.seen += read_all(text);
}

static void on_tries(void *user, struct mux_stream *s, const struct mux_opened *tries)
{
    must(*(struct mux_stream **)user == s && tries->try_count <= MUX_TRIES_MAX);
}

static void on_hello(void *user, struct mux_link *l, struct span json)
{
    (void)user;
    if (w.temper & 1)
        mux_link_accept(l, w.now_ms);
    else
        (void)!mux_link_hello(l, json);
}

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    struct mux_opened opened = { .boot_id = open->host.n < 60 ? open->host : SPAN_NONE };

    (void)user;
    if (open->kind != MUX_KIND_PROBE)
        remember(s);
    if (w.temper & 2)
        mux_stream_accept(s, &opened);
    else if (open->port & 1)
        mux_stream_refuse(s, REASON_NO_AGENT, open->host, NULL);
}

static void on_opened(void *user, struct mux_stream *s, const struct mux_opened *opened)
{
    (void)user;
    (void)opened;
    write_some(s, 100);
}

static void on_readable(void *user, struct mux_stream *s)
{
    (void)user;
    if (w.temper & 4)
        read_some(s, 1000);
    if (mux_stream_at_fin(s) && w.temper & 8)
        mux_stream_fin(s);
}

static void on_writable(void *user, struct mux_stream *s)
{
    (void)user;
    write_some(s, 5000);
}

static void on_datagram(void *user, struct mux_stream *s, struct span bytes)
{
    (void)user;
    must(bytes.n <= MUX_DATAGRAM_MAX);
    (void)!mux_stream_send_datagram(s, bytes);
}

static void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    (void)how;
    must(*(struct mux_stream **)user == s);
    *(struct mux_stream **)user = NULL;
}

static void on_failed(void *user, struct mux_link *l, enum reason why, const char *text)
{
    (void)user;
    (void)l;
    (void)text;
    must(!w.is_failed && why != REASON_NONE);
    w.is_failed = true;
}

/* Sixteen zeros prove everything: the fuzzer is to come through. */
static void mac(const unsigned char secret[MUX_SECRET_LEN], struct span message,
                unsigned char ret_mac[32])
{
    (void)secret;
    (void)message;
    memset(ret_mac, 0, 32);
}

static void on_want_path(void *user, struct mux_stream *s)
{
    (void)user;
    if (w.temper & 0x20)
        (void)!mux_stream_attach(s, w.link, SPAN("boot"), w.now_ms);
    else if (w.temper & 0x40)
        mux_stream_abandon(s, REASON_AGENT_RESTARTED);
}

static const struct mux_handlers handlers = {
    .on_hello = on_hello, .on_open = on_open, .on_opened = on_opened,
    .on_readable = on_readable, .on_writable = on_writable, .on_ended = on_ended,
    .on_failed = on_failed, .on_want_path = on_want_path, .on_datagram = on_datagram,
    .on_proved = on_proved, .on_goaway = on_goaway, .on_notice = on_notice,
    .on_refused = on_refused, .on_tries = on_tries,
};

static void produce(void)
{
    static unsigned char message[MUX_MESSAGE_MAX];
    size_t n = mux_link_produce(w.link, message, sizeof(message), w.now_ms);
    struct span rest = span_of(message, n);
    struct frame f;

    while (rest.n) {
        must(frame_read(rest, &f) == 0);
        rest = span_skip(rest, FRAME_HEADER_LEN + f.payload.n);
    }
}

static void open_one(unsigned char id)
{
    struct mux_open open = { .kind = id & 8 ? MUX_KIND_UDP : MUX_KIND_TCP, .host = SPAN("host"), .port = 80 };
    struct mux_stream *s;

    open.grace_ms = w.temper & 0x10 ? 60000 : 0;
    open.uid[0] = 0xff;
    open.uid[1] = id;
    if (mux_stream_open(w.link, &open, id % 3, NULL, w.now_ms, &s) == 0)
        remember(s);
}

/* What the program does between two frames. */
static void act(unsigned char what)
{
    struct mux_stream *s;

    w.now_ms += what % 16 == 15 ? 3001 : what % 4;
    if (what & 0x80)
        produce();
    if (what & 0x40)
        (void)mux_link_tick(w.link, w.now_ms);
    if (what % 8 == 1)
        open_one(what);
    if (what % 8 == 6)
        (void)mux_tick(w.mux, w.now_ms += what * 500u);
    s = w.streams[what % ARRAY_LEN(w.streams) / 4];
    if (!s)
        return;
    if (what % 8 == 2)
        write_some(s, what * 50u);
    if (what % 8 == 6)
        (void)!mux_stream_send_datagram(s, span_of(&w, what * 60u % sizeof(w)));
    if (what % 8 == 3)
        read_some(s, what * 50u);
    if (what % 8 == 4)
        mux_stream_fin(s);
    if (what % 8 == 7)
        (void)!mux_stream_attach(s, w.link, SPAN("boot"), w.now_ms);
    if (what % 8 == 5)
        mux_stream_reset(s, REASON_REVOKED, SPAN("fuzz"), what & 0x20);
}

static void begin(unsigned char temper)
{
    struct mux_config config = { .is_accepting = temper & 1, .memory_limit = MEMORY_LIMIT,
                                 .streams_max = STREAMS_MAX, .random_seed = temper,
                                 .mac = temper & 0x10 ? mac : NULL, .boot_id = "boot" };

    memset(&w, 0, sizeof(w));
    w.temper = temper;
    w.now_ms = 1;
    w.mux = mux_new(&config, &handlers);
    w.link = mux_link_new(w.mux, NULL, w.now_ms);
    if (temper & 1)
        (void)!mux_link_hello(w.link, SPAN("{}"));
    produce();
}

static size_t feed(const unsigned char *data, size_t n)
{
    size_t whole = FRAME_HEADER_LEN, half;

    if (n >= FRAME_HEADER_LEN)
        whole += (size_t)data[2] << 8 | data[3];
    if (whole > n)
        whole = n;
    half = whole / 2;
    (void)!mux_link_take(w.link, span_of(data, half), false, w.now_ms);
    (void)!mux_link_take(w.link, span_of(data + half, whole - half), true, w.now_ms);
    return whole;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    if (n < 1)
        return 0;
    begin(data[0]);
    data++;
    n--;
    while (n > 1) {
        size_t used;

        act(data[0]);
        used = 1 + feed(data + 1, n - 1);
        must(mux_stats(w.mux)->held_bytes <= MEMORY_LIMIT);
        must(mux_stats(w.mux)->streams <= STREAMS_MAX);
        data += used;
        n -= used;
    }
    produce();
    mux_free(w.mux);
    for (size_t i = 0; i < ARRAY_LEN(w.streams); i++)
        must(!w.streams[i]);
    return 0;
}
