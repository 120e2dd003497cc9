#include "lib/pipe/peer_fixture.h"
#include "lib/pipe/pipe.h"
#include "lib/pipe/wire_fixture.h"

/* One side of a carried connection: its pipe, and the program at the far end of the socket. */
struct half {
    struct loop *loop;
    struct pipe pipe;
    struct peer peer;
    struct conn *conn;              /* ours, until the pipe takes it */
    char *early;                    /* spoilt once it was given */
    size_t early_n;
    uint32_t idle_ms;
    enum reason lost, reset_why, how;
    unsigned resets, ends;
};

struct carried {
    struct loop *loop;
    struct wire wire;
    struct half half[2];            /* entry, target side */
    struct mux_stream *stream;
};

static bool is_conn_ready(void *arg) { return conn_is_ready(arg); }

static void half_start(struct half *h, struct mux_stream *s)
{
    mux_stream_set_user(s, h);
    pipe_start(&h->pipe, TAKE(h->conn), s, h->lost, h->idle_ms, span_of(h->early, h->early_n));
    if (h->early)
        memset(h->early, 0, h->early_n);
}

static void on_open(void *link_user, struct mux_stream *s, const struct mux_open *open)
{
    struct wire_end *e = link_user;
    const struct mux_opened opened = { .boot_id = SPAN("boot") };

    (void)open;
    mux_stream_accept(s, &opened);
    half_start(e->program, s);
}

static void on_opened(void *user, struct mux_stream *s, const struct mux_opened *opened)
{
    (void)opened;
    half_start(user, s);
}

static void on_readable(void *user, struct mux_stream *s)
{
    (void)s;
    pipe_on_readable(&((struct half *)user)->pipe);
}

static void on_writable(void *user, struct mux_stream *s)
{
    (void)s;
    pipe_on_writable(&((struct half *)user)->pipe);
}

static void on_reset(void *user, struct mux_stream *s, enum reason why, struct span text)
{
    struct half *h = user;

    (void)s, (void)text;
    h->resets++;
    h->reset_why = why;
    pipe_on_reset(&h->pipe);
}

static void on_ended(void *user, struct mux_stream *s, enum reason how)
{
    struct half *h = user;

    (void)s;
    h->ends++;
    h->how = how;
    pipe_on_ended(&h->pipe, how);
}

static const struct mux_handlers handlers = {
    .on_open = on_open, .on_opened = on_opened, .on_readable = on_readable, .on_writable = on_writable,
    .on_reset = on_reset, .on_ended = on_ended,
};

static void half_open(struct half *h, struct loop *loop, uint64_t seed, uint64_t peer_seed)
{
    const struct conn_options options = { .is_abortive = true };
    int fds[2];

    tcp_pair(fds);
    h->loop = loop;
    h->peer.seed = seed;
    h->peer.peer_seed = peer_seed;
    peer_adopt(&h->peer, loop, fds[0]);
    assert_int_equal(conn_adopt(loop, fds[1], &options, &(struct conn_handlers){ 0 }, NULL, &h->conn), 0);
    assert_true(loop_run_until(loop, is_conn_ready, h->conn, 5000));
}

/* Everything is in place; bytes flow when the loop runs. */
static void carried_open(struct carried *c)
{
    struct mux_open open = { .kind = MUX_KIND_TCP, .host = SPAN("t"), .port = 1, .uid = { 1 }, .secret = { 2 } };

    assert_int_equal(loop_new(&c->loop), 0);
    wire_open(&c->wire, c->loop, &handlers, &handlers);
    c->half[0].lost = REASON_CLIENT_GONE;
    c->half[1].lost = REASON_TARGET_RESET;
    half_open(&c->half[0], c->loop, 11, 22);
    half_open(&c->half[1], c->loop, 22, 11);
    c->wire.end[1].program = &c->half[1];
    assert_int_equal(mux_stream_open(c->wire.end[0].link, &open, 1, &c->half[0], loop_now_ms(c->loop), &c->stream), 0);
}

static void carried_close(struct carried *c)
{
    wire_close(&c->wire);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(c->half[i].ends, 1);
        assert_false(pipe_is_on(&c->half[i].pipe));
        peer_close(&c->half[i].peer);
        if (c->half[i].conn)
            conn_free(c->half[i].conn);
    }
    loop_free(c->loop);
}

static bool have_ended(void *arg)
{
    const struct carried *c = arg;

    return c->half[0].ends && c->half[1].ends;
}

static bool is_over(void *arg)
{
    const struct carried *c = arg;
    const struct peer *a = &c->half[0].peer, *b = &c->half[1].peer;

    return have_ended(arg) && (a->is_eof || a->error) && (b->is_eof || b->error);
}

static bool are_flowing(void *arg)
{
    const struct carried *c = arg;

    return c->half[0].peer.got > 0 && c->half[1].peer.got > 0;
}

static void test_whole(void **state)
{
    static const struct {
        const char *it;
        uint64_t up, down;
        bool target_waits, client_waits;
    } rows[] = {
        { "ends without a byte", 0, 0, false, false },
        { "carries one byte up", 1, 0, false, false },
        { "carries one byte down", 0, 1, false, false },
        { "carries both ways at once, beyond every window", 6 << 20, 5 << 20, false, false },
        { "carries an answer that begins after the request's end", 300000, 2 << 20, true, false },
        { "carries a request that begins after the answer's end", 2 << 20, 300000, false, true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct carried c = { 0 };

        check_row(rows[i].it);
        c.half[0].peer.total = rows[i].up;
        c.half[1].peer.total = rows[i].down;
        c.half[0].peer.waits_for_end = rows[i].client_waits;
        c.half[1].peer.waits_for_end = rows[i].target_waits;
        carried_open(&c);
        assert_true(loop_run_until(c.loop, is_over, &c, 20000));
        for (int side = 0; side < 2; side++) {
            const struct half *h = &c.half[side];

            assert_int_equal(h->how, REASON_NONE);
            assert_int_equal(h->resets, 0);
            assert_true(h->peer.is_eof);
            assert_false(h->peer.is_wrong);
            assert_int_equal(h->peer.got, c.half[!side].peer.total);
        }
        assert_int_equal(mux_stats(c.wire.end[0].mux)->held_bytes, 0);
        assert_int_equal(mux_stats(c.wire.end[1].mux)->held_bytes, 0);
        carried_close(&c);
    }
}

/* Lets so many bytes through at a time. */
struct sluice {
    struct pipe_gate gate;
    struct pipe *pipe;
    struct loop_timer timer;
    struct loop *loop;
    uint64_t left, carried;
    unsigned stops;
};

enum { SLUICE_BYTES = 30000 };

static size_t sluice_room(struct pipe_gate *gate, size_t most)
{
    struct sluice *s = container_of(gate, struct sluice, gate);

    s->stops += s->left == 0;
    return most < s->left ? most : s->left;
}

static void sluice_carried(struct pipe_gate *gate, size_t bytes)
{
    struct sluice *s = container_of(gate, struct sluice, gate);

    assert_true(bytes <= s->left);
    s->left -= bytes;
    s->carried += bytes;
}

static void on_sluice(void *arg)
{
    struct sluice *s = arg;

    s->left = SLUICE_BYTES;
    pipe_resume(s->pipe);
    timer_start(s->loop, &s->timer, 1, on_sluice, s);
}

static void test_gate(void **state)
{
    struct carried c = { 0 };
    struct sluice s = { .gate = { sluice_room, sluice_carried }, .pipe = &c.half[0].pipe };

    (void)state;
    check_row("carries no more at a time than its gate lets through, and all of it in the end");
    c.half[0].peer.total = 1 << 20;
    c.half[1].peer.total = 2 << 20;
    c.half[0].pipe.gate = &s.gate;
    carried_open(&c);
    s.loop = c.loop;
    on_sluice(&s);
    assert_true(loop_run_until(c.loop, is_over, &c, 30000));
    for (int side = 0; side < 2; side++) {
        assert_int_equal(c.half[side].how, REASON_NONE);
        assert_int_equal(c.half[side].peer.got, c.half[!side].peer.total);
        assert_false(c.half[side].peer.is_wrong);
    }
    assert_int_equal(s.carried, 3 << 20);
    assert_true(s.stops >= s.carried / SLUICE_BYTES / 2);
    timer_stop(&s.timer);
    carried_close(&c);
}

/* What a side did to its socket, and what the other side's program sees of it. */
static void test_broken(void **state)
{
    static const struct {
        const char *it;
        int who;                    /* whose program resets its socket; -1: nobody */
        bool is_cut, is_link_lost;
        enum reason how;
    } rows[] = {
        { "passes a client's RST on", 0, false, false, REASON_CLIENT_GONE },
        { "passes a target's RST on", 1, false, false, REASON_TARGET_RESET },
        { "is cut by us with a reason", -1, true, false, REASON_REVOKED },
        { "ends when the link is lost", -1, false, true, REASON_SESSION_LOST },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct carried c = { 0 };

        check_row(rows[i].it);
        for (int side = 0; side < 2; side++) {
            c.half[side].peer.total = 100000;
            c.half[side].peer.keeps_open = true;
        }
        carried_open(&c);
        assert_true(loop_run_until(c.loop, are_flowing, &c, 5000));
        if (rows[i].who >= 0)
            conn_reset(TAKE(c.half[rows[i].who].peer.conn));
        if (rows[i].is_cut)
            pipe_cut(&c.half[0].pipe, REASON_REVOKED, SPAN("gone"));
        if (rows[i].is_link_lost)
            wire_cut(&c.wire);
        assert_true(loop_run_until(c.loop, have_ended, &c, 5000));
        for (int side = 0; side < 2; side++) {
            struct peer *p = &c.half[side].peer;

            assert_int_equal(c.half[side].how, rows[i].how);
            assert_false(p->is_wrong);
            if (!p->conn)
                continue;
            for (int n = 0; n < 100 && !p->error; n++)
                peer_on_readable(p);
            assert_int_equal(p->error, -ECONNRESET);
            assert_false(p->is_eof);
        }
        carried_close(&c);
    }
}

static void test_early(void **state)
{
    static const size_t sizes[] = { 1, 4096, 36 * 1024, 400000 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct carried c = { 0 };
        struct half *entry = &c.half[0];

        check_row("sends what was read before first");
        entry->early = malloc(sizes[i]);
        entry->early_n = sizes[i];
        for (size_t k = 0; k < sizes[i]; k++)
            entry->early[k] = (char)peer_byte(11, k);
        entry->peer.sent = sizes[i];
        entry->peer.total = sizes[i] + 70000;
        carried_open(&c);
        assert_true(loop_run_until(c.loop, is_over, &c, 5000));
        assert_int_equal(c.half[1].peer.got, entry->peer.total);
        assert_false(c.half[1].peer.is_wrong);
        assert_int_equal(entry->how, REASON_NONE);
        carried_close(&c);
        free(entry->early);
    }
}

static bool has_stopped(void *arg)
{
    const struct carried *c = arg;
    static uint64_t last, since_ms;

    if (c->half[0].peer.sent != last) {
        last = c->half[0].peer.sent;
        since_ms = mono_ms();
    }
    return last && mono_ms() - since_ms > 150;
}

static void test_stalled(void **state)
{
    struct carried c = { 0 };
    size_t window = 256 * 1024;

    (void)state;
    check_row("holds no more than its windows for a reader that stalls, and loses nothing");
    c.half[0].peer.total = 40 << 20;
    c.half[1].peer.is_stalled = true;
    carried_open(&c);
    assert_true(loop_run_until(c.loop, has_stopped, &c, 10000));
    assert_true(c.half[0].peer.sent < c.half[0].peer.total);
    assert_true(mux_stats(c.wire.end[0].mux)->held_bytes <= window + 128 * 1024);
    assert_true(mux_stats(c.wire.end[1].mux)->held_bytes <= window + 128 * 1024);

    c.half[1].peer.is_stalled = false;
    peer_want(&c.half[1].peer);
    assert_true(loop_run_until(c.loop, is_over, &c, 20000));
    assert_int_equal(c.half[1].peer.got, c.half[0].peer.total);
    assert_false(c.half[1].peer.is_wrong);
    assert_int_equal(c.half[1].how, REASON_NONE);
    carried_close(&c);
}

static void test_idle(void **state)
{
    struct carried c = { 0 };

    (void)state;
    check_row("ends when nothing moves for the idle time");
    for (int side = 0; side < 2; side++) {
        c.half[side].peer.total = 10;
        c.half[side].peer.keeps_open = true;
    }
    c.half[0].idle_ms = 60;
    carried_open(&c);
    assert_true(loop_run_until(c.loop, are_flowing, &c, 5000));
    assert_int_equal(c.half[0].ends, 0);
    assert_true(loop_run_until(c.loop, have_ended, &c, 5000));
    assert_int_equal(c.half[0].how, REASON_IDLE_TIMEOUT);
    assert_int_equal(c.half[1].how, REASON_IDLE_TIMEOUT);
    assert_int_equal(c.half[1].reset_why, REASON_IDLE_TIMEOUT);
    carried_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole), cmocka_unit_test(test_gate), cmocka_unit_test(test_broken), cmocka_unit_test(test_early),
        cmocka_unit_test(test_stalled), cmocka_unit_test(test_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
