// room: lib/mux
/*
 * Two ends of the mux, memory to memory in one thread: what the mux alone costs, without
 * sockets and TLS.  Prints; asserts nothing.
 *
 *   mux_bench [MiB a run]
 */
#include "lib/mux/mux.h"
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define IDLE_STREAMS 20000
#define STREAMS_MAX 32768

static struct {
    struct mux *mux[2];
    struct mux_link *link[2];
    uint64_t now_ms, received, target;
    size_t write_bytes;
    unsigned opened;
} w;

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void write_all(struct mux_stream *s)
{
    unsigned char *at;
    size_t n;

    while ((at = mux_stream_reserve(s, &n))) {
        if (n > w.write_bytes)
            n = w.write_bytes;
        memset(at, 'x', n);         /* stands for the read from the socket */
        mux_stream_commit(s, n);
    }
}

static void on_hello(void *user, struct mux_link *l, struct span json)
{
    (void)json;
    if (user == &w.link[0])
        mux_link_accept(l, w.now_ms);
    else if (mux_link_hello(l, SPAN("{}")))
        abort();
}

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    struct mux_opened opened = { .boot_id = SPAN("bench") };

    (void)user;
    (void)open;
    mux_stream_accept(s, &opened);
}

static void on_opened(void *user, struct mux_stream *s, const struct mux_opened *opened)
{
    (void)user;
    (void)opened;
    w.opened++;
    if (w.write_bytes)
        write_all(s);
}

static void on_writable(void *user, struct mux_stream *s)
{
    (void)user;
    write_all(s);
}

static void on_readable(void *user, struct mux_stream *s)
{
    struct span span;

    (void)user;
    while (mux_stream_peek(s, &span, 1)) {
        w.received += span.n;
        mux_stream_consume(s, span.n);
    }
}

static const struct mux_handlers handlers = {
    .on_hello = on_hello, .on_open = on_open, .on_opened = on_opened,
    .on_writable = on_writable, .on_readable = on_readable,
};

static bool pass(int from)
{
    static unsigned char message[MUX_MESSAGE_MAX];
    size_t n = mux_link_produce(w.link[from], message, sizeof(message), w.now_ms);

    if (n == 0)
        return false;
    if (mux_link_take(w.link[!from], span_of(message, n), true, w.now_ms))
        abort();
    return true;
}

static void settle(void)
{
    while (pass(0) | pass(1))
        ;
}

static void begin(size_t write_bytes)
{
    memset(&w, 0, sizeof(w));
    w.now_ms = 1;
    w.write_bytes = write_bytes;
    for (int i = 0; i < 2; i++) {
        struct mux_config config = { .is_accepting = i == 0, .memory_limit = 8ul << 30,
                                     .streams_max = STREAMS_MAX };

        w.mux[i] = mux_new(&config, &handlers);
        w.link[i] = mux_link_new(w.mux[i], &w.link[i], w.now_ms);
    }
    if (mux_link_hello(w.link[0], SPAN("{}")))
        abort();
    settle();
}

static void open_streams(unsigned n)
{
    struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("host"), .port = 80 };
    struct mux_stream *s;

    for (unsigned i = 0; i < n; i++) {
        memcpy(open.uid, &i, sizeof(i));
        if (mux_stream_open(w.link[0], &open, i % 100, NULL, w.now_ms, &s))
            abort();
    }
}

static void end(void)
{
    mux_free(w.mux[0]);
    mux_free(w.mux[1]);
}

static void run_throughput(unsigned streams, size_t write_bytes, uint64_t bytes)
{
    double start, took;

    begin(write_bytes);
    start = seconds();
    open_streams(streams);
    while (w.received < bytes) {
        pass(0);
        pass(1);
        w.now_ms += w.received % 64 == 0;
    }
    took = seconds() - start;
    printf("%6u streams, writes of %6zu bytes: %8.0f MB/s, %9.0f frames/s\n", streams,
           write_bytes, (double)w.received / took / 1e6,
           (double)mux_stats(w.mux[0])->frames_out[0x43] / took);
    end();
}

static void run_opens(unsigned streams)
{
    double start;
    size_t before;

    begin(0);
    before = mallinfo2().uordblks;
    start = seconds();
    open_streams(streams);
    settle();
    printf("%6u streams opened: %.0f a second; at rest %zu bytes each and end\n", w.opened,
           w.opened / (seconds() - start),
           (mallinfo2().uordblks - before) / streams / 2);
    end();
}

int main(int argc, char **argv)
{
    uint64_t mib = 2048;

    if (argc > 1 && !span_to_u64(span_str(argv[1]), 1 << 20, &mib))
        return 2;
    run_throughput(1, 16384, mib << 20);
    run_throughput(100, 16384, mib << 20);
    run_throughput(1000, 16384, mib << 20);
    run_throughput(100, 1024, (mib << 20) / 4);
    run_throughput(100, 64, (mib << 20) / 32);
    run_opens(IDLE_STREAMS);
    return 0;
}
