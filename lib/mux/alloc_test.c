#include "lib/check/alloc.h"
#include "lib/mux/mux_pair_test.h"

/* One of everything between two ends, once for each allocation that fails: whatever is
 * missing then, each stream that a program was given ends once, and nothing leaks. */
static struct { unsigned begun, ended; struct mux_stream *last; } w;

static void on_open(void *user, struct mux_stream *s, const struct mux_open *open)
{
    struct mux_opened opened = { .boot_id = SPAN("boot") };

    (void)user;
    w.begun++;
    if (open->port == 1)
        mux_stream_refuse(s, REASON_DIAL_REFUSED, SPAN("no"), NULL);
    else
        mux_stream_accept(s, &opened);
}

static void say(struct mux_stream *s, size_t bytes)
{
    size_t n;
    unsigned char *at = mux_stream_reserve(s, &n);

    if (!at)
        return;
    n = n < bytes ? n : bytes;
    memset(at, 's', n);
    mux_stream_commit(s, n);
}

static void on_opened(void *user, struct mux_stream *s, const struct mux_opened *opened)
{
    (void)user;
    (void)opened;
    say(s, 20);
    say(s, 5000);
    (void)!mux_stream_send_datagram(s, SPAN("datagram"));
}

static void on_readable(void *user, struct mux_stream *s)
{
    struct span span;

    (void)user;
    while (mux_stream_peek(s, &span, 1))
        mux_stream_consume(s, span.n);
    say(s, 300);
    mux_stream_fin(s);
}

static void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    (void)user;
    (void)how;
    if (w.last == s)
        w.last = NULL;
    w.ended++;
}

static const struct mux_handlers handlers = {
    .on_open = on_open, .on_opened = on_opened, .on_readable = on_readable,
    .on_ended = on_ended,
};

static struct mux_stream *open_one(struct pair *p, uint16_t port)
{
    struct mux_open open = { .kind = port == 5 ? MUX_KIND_UDP : MUX_KIND_TCP, .host = SPAN("host"), .port = port };
    struct mux_stream *s = NULL;

    open.uid[0] = (unsigned char)port;
    if (mux_stream_open(p->side[0].link, &open, port, NULL, p->now_ms, &s))
        return NULL;
    w.begun++;
    w.last = s;
    return s;
}

static void talk(struct pair *p)
{
    static const char body[20000];
    struct mux_stream *s;

    if (mux_link_hello(p->side[0].link, SPAN("{}")))
        return;
    pair_settle(p);
    (void)!mux_link_notice(p->side[0].link, 7, 42, span_of(body, 0));
    (void)open_one(p, 1);
    (void)open_one(p, 2);
    (void)open_one(p, 5);
    pair_settle(p);
    s = open_one(p, 3);
    if (s)
        mux_stream_reset(s, REASON_CLIENT_GONE, SPAN("left"), true);
    s = open_one(p, 4);
    pair_send(&p->side[0]);
    if (s && w.last == s)
        mux_stream_reset(s, REASON_CLIENT_GONE, SPAN("left"), false);
    pair_settle(p);
    pair_goaway(p->side[0].link, REASON_RELAY_DRAINING);
    pair_settle(p);
}

static void run(uint64_t seed)
{
    struct mux_config config = { .memory_limit = 8 << 20 };
    struct pair p;

    w.begun = w.ended = 0;
    pair_init(&p, &config, handlers, seed);
    p.is_split = true;
    if (p.side[0].link && p.side[1].link)
        talk(&p);
    pair_deinit(&p);
    assert_int_equal(w.begun, w.ended);
}

static void test_each_allocation(void **state)
{
    size_t nth = 0;

    (void)state;
    do {
        check_alloc_fail(++nth);
        run(1);
    } while (check_alloc_has_failed());
    check_alloc_fail(0);
    assert_true(nth > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_allocation) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
