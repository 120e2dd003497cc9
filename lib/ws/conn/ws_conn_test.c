#include "lib/ws/conn/ws_conn.h"

#include "lib/check/check.h"
#include "lib/ws/conn/ws_accept.h"

#include <fcntl.h>
#include <sys/socket.h>

/* One end, ours or one that writes what it likes. */
struct end {
    struct ws_conn ws;
    struct buf got;
    unsigned messages, writables, pongs;
    bool is_over;
    enum reason why;
    char text[200];
};

struct pair {
    struct loop *loop;
    struct end server, client;
    int raw;                    /* in place of the client; -1: there is one */
    unsigned char said[70000];
    size_t said_len, want;
};

static void on_data(void *user, enum ws_opcode opcode, struct span part, bool is_last)
{
    struct end *e = user;

    assert_int_equal(opcode, WS_BINARY);
    buf_put_span(&e->got, part);
    e->messages += is_last;
}

static void on_writable(void *user)
{
    ((struct end *)user)->writables++;
}

static void on_closed(void *user, enum reason why, const char *text)
{
    struct end *e = user;

    assert_false(e->is_over);
    assert_false(ws_conn_is_open(&e->ws));
    e->is_over = true;
    e->why = why;
    assert_true(span_copy(span_str(text), e->text, sizeof(e->text)));
}

static const struct ws_conn_handlers handlers = {
    .on_data = on_data, .on_writable = on_writable, .on_closed = on_closed,
};

static void end_open(struct pair *p, struct end *e, int fd, bool is_server, struct span early)
{
    static const struct conn_handlers nobody = { 0 };
    const struct conn_options plain = { 0 };
    const struct ws_options options = { .message_max = 1 << 20, .is_server = is_server };
    struct conn *conn;

    buf_init_heap(&e->got, 4 << 20);
    assert_int_equal(conn_adopt(p->loop, fd, &plain, &nobody, NULL, &conn), 0);
    ws_conn_init(&e->ws, conn, &options, &handlers, e, early);
}

static void pair_open(struct pair *p, bool is_raw, struct span early)
{
    int fds[2];

    memset(p, 0, sizeof(*p));
    assert_int_equal(loop_new(&p->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    p->raw = is_raw ? fds[1] : -1;
    end_open(p, &p->server, fds[0], true, early);
    if (!is_raw)
        end_open(p, &p->client, fds[1], false, SPAN_NONE);
}

static void pair_close(struct pair *p)
{
    ws_conn_deinit(&p->server.ws);
    ws_conn_deinit(&p->client.ws);
    buf_deinit(&p->server.got);
    buf_deinit(&p->client.got);
    if (p->raw >= 0)
        close(p->raw);
    loop_free(p->loop);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static bool is_client_over(void *arg) { return ((struct pair *)arg)->client.is_over; }
static bool is_server_over(void *arg) { return ((struct pair *)arg)->server.is_over; }
static bool has_all(void *arg)
{
    struct pair *p = arg;

    return p->client.got.len >= p->want && p->server.got.len >= p->want;
}

static bool has_said(void *arg)
{
    struct pair *p = arg;
    ssize_t n = recv(p->raw, p->said + p->said_len, sizeof(p->said) - p->said_len, 0);

    p->said_len += n > 0 ? (size_t)n : 0;
    return p->said_len >= p->want;
}

static void say(struct pair *p, const char *bytes, size_t n)
{
    assert_int_equal(send(p->raw, bytes, n, MSG_NOSIGNAL), n);
}

static void send_pattern(struct end *e, size_t n, unsigned seed)
{
    static unsigned char memory[WS_HEADER_MAX + WS_CONN_MESSAGE_MAX];

    for (size_t i = 0; i < n; i++)
        memory[WS_HEADER_MAX + i] = (unsigned char)(i * 7 + seed);
    ws_conn_send(&e->ws, WS_BINARY, true, memory + WS_HEADER_MAX, n);
}

/* More than a socket takes: what it did not take comes later, and there is no room meanwhile. */
static void test_messages(void **state)
{
    static const struct { const char *it; size_t n; } rows[] = {
        { "carries nothing", 0 }, { "carries a byte", 1 }, { "carries 125", 125 },
        { "carries 126", 126 }, { "carries the longest", WS_CONN_MESSAGE_MAX },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair p;
        unsigned sent = 0;

        check_row(rows[i].it);
        pair_open(&p, false, SPAN_NONE);
        loop_run_until(p.loop, never, &p, 1);
        while (sent < 20 && ws_conn_has_room(&p.server.ws) && ws_conn_has_room(&p.client.ws)) {
            send_pattern(&p.server, rows[i].n, sent);
            send_pattern(&p.client, rows[i].n, sent++);
        }
        assert_int_equal(sent < 20, rows[i].n == WS_CONN_MESSAGE_MAX);
        p.want = sent * rows[i].n;
        assert_true(loop_run_until(p.loop, has_all, &p, 5000));
        loop_run_until(p.loop, never, &p, 5);
        assert_int_equal(p.client.messages, sent);
        assert_int_equal(p.server.messages, sent);
        for (size_t at = 0; at < p.want; at++) {
            assert_int_equal(p.client.got.data[at], (unsigned char)(at % rows[i].n * 7 + at / rows[i].n));
            assert_int_equal(p.server.got.data[at], p.client.got.data[at]);
        }
        assert_int_equal(p.server.writables + p.client.writables > 0, sent < 20);
        assert_true(ws_conn_has_room(&p.server.ws) && ws_conn_is_sent(&p.server.ws));
        assert_null(p.server.ws.rest);
        pair_close(&p);
    }
}

#define MASK "\0\0\0\0"
#define ROW(it, in, out, why, text) { it, in, sizeof(in) - 1, out, sizeof(out) - 1, why, text }
static void test_answers(void **state)
{
    static const struct {
        const char *it, *in; size_t in_len; const char *out; size_t out_len; enum reason why; const char *text;
    } rows[] = {
        ROW("answers PINGs in order", "\x89\x81" MASK "a" "\x89\x80" MASK "\x89\x82" MASK "bc",
            "\x8a\x01" "a" "\x8a\x00\x8a\x02" "bc", 0, NULL),
        ROW("answers a PING inside a message", "\x02\x81" MASK "a" "\x89\x81" MASK "p" "\x80\x81" MASK "b",
            "\x8a\x01p", 0, NULL),
        ROW("lets PONGs pass", "\x8a\x81" MASK "x" "\x89\x80" MASK, "\x8a\x00", 0, NULL),
        ROW("answers a Close with its code", "\x88\x85" MASK "\x03\xe9" "bye", "\x88\x02\x03\xe9",
            REASON_SESSION_LOST, "the other side closed: 1001 bye"),
        ROW("answers a Close without one", "\x88\x80" MASK, "\x88\x00", REASON_SESSION_LOST,
            "the other side closed: 1005 "),
        ROW("answers what came before a Close", "\x89\x81" MASK "p" "\x88\x80" MASK, "\x8a\x01p\x88\x00",
            REASON_SESSION_LOST, "the other side closed: 1005 "),
        ROW("reads nothing behind a Close", "\x88\x80" MASK "\xff\xff", "\x88\x00", REASON_SESSION_LOST,
            "the other side closed: 1005 "),
        ROW("refuses frames without a mask", "\x82\x01" "a", "\x88\x02\x03\xea", REASON_PROTOCOL_ERROR,
            "a frame from the client is not masked"),
        ROW("refuses text", "\x81\x81" MASK "a", "\x88\x02\x03\xeb", REASON_PROTOCOL_ERROR,
            "a text message, and only binary ones are taken"),
        ROW("refuses what is too big", "\x82\xff\0\0\0\0\0\x10\0\x01" MASK, "\x88\x02\x03\xf1",
            REASON_PROTOCOL_ERROR, "a message larger than the limit"),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int is_early = 0; is_early <= 1; is_early++) {
            struct pair p;

            check_row(rows[i].it);
            pair_open(&p, true, SPAN_NONE);
            loop_run_until(p.loop, never, &p, 1);
            if (is_early) {     /* in two pieces */
                say(&p, rows[i].in, 3);
                loop_run_until(p.loop, never, &p, 1);
            }
            say(&p, rows[i].in + is_early * 3, rows[i].in_len - (size_t)is_early * 3);
            p.want = rows[i].out_len;
            assert_true(loop_run_until(p.loop, has_said, &p, 5000));
            assert_int_equal(p.said_len, rows[i].out_len);
            assert_memory_equal(p.said, rows[i].out, rows[i].out_len);
            assert_int_equal(p.server.is_over, rows[i].text != NULL);
            assert_int_equal(p.server.why, rows[i].why);
            if (rows[i].text)
                assert_string_equal(p.server.text, rows[i].text);
            pair_close(&p);
        }
}

/* What came behind the opening is taken as if it had come later. */
static void test_early_bytes(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, true, SPAN("\x82\x82\x01\x01\x01\x01\x60\x63\x82"));
    assert_int_equal(p.server.messages, 1);
    assert_true(span_eq(buf_span(&p.server.got), SPAN("ab")));
    say(&p, "\x80" MASK "\x88\x80" MASK, 11);
    assert_true(loop_run_until(p.loop, is_server_over, &p, 5000));
    assert_int_equal(p.server.messages, 2);
    pair_close(&p);
}

static void test_close(void **state)
{
    struct pair p;

    (void)state;
    check_row("says Close behind the last message, and the other side hears both");
    pair_open(&p, false, SPAN_NONE);
    loop_run_until(p.loop, never, &p, 1);
    send_pattern(&p.server, 100, 0);
    ws_conn_close(&p.server.ws, WS_CLOSE_GOING_AWAY, "restart");
    assert_false(ws_conn_is_open(&p.server.ws));
    assert_true(loop_run_until(p.loop, is_client_over, &p, 5000));
    assert_int_equal(p.client.got.len, 100);
    assert_string_equal(p.client.text, "the other side closed: 1001 restart");
    assert_false(p.server.is_over);     /* who closes is not told */
    pair_close(&p);
}

static void test_lost(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, true, SPAN_NONE);
    loop_run_until(p.loop, never, &p, 1);
    close(TAKE_FD(p.raw));
    assert_true(loop_run_until(p.loop, is_server_over, &p, 5000));
    assert_int_equal(p.server.why, REASON_SESSION_LOST);
    assert_string_equal(p.server.text, "receiving: the other side closed");
    pair_close(&p);
}

static void say_times(struct pair *p, const char *bytes, size_t n, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        say(p, bytes, n);
}

/* PINGs and PONGs without end from somebody who reads nothing: bounded, and it ends. */
static void test_flood_of_controls(void **state)
{
    static const struct { const char *it; char first; } rows[] = {
        { "ends a flood of PINGs", (char)0x89 }, { "ends a flood of PONGs", (char)0x8a },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char frame[131];
        struct pair p;

        check_row(rows[i].it);
        memset(frame, 'x', sizeof(frame));
        memcpy(frame, "\x89\xfd" MASK, 6);
        frame[0] = rows[i].first;
        pair_open(&p, true, SPAN_NONE);
        for (unsigned round = 0; round < 3; round++) {
            say_times(&p, frame, sizeof(frame), WS_CONN_CONTROLS_MAX);
            loop_run_until(p.loop, never, &p, 20);
            assert_false(p.server.is_over);
            assert_true(p.server.ws.control_len <= WS_CONN_CONTROL_MAX);
            p.server.ws.controls_ms -= 1000 * WS_CONN_CONTROLS_MAX / WS_CONN_CONTROLS_PER_S;    /* so much later */
        }
        say_times(&p, frame, sizeof(frame), 3 * WS_CONN_CONTROLS_MAX);
        assert_true(loop_run_until(p.loop, is_server_over, &p, 5000));
        assert_int_equal(p.server.why, REASON_PROTOCOL_ERROR);
        assert_string_equal(p.server.text, ws_error_text(WS_E_CONTROL_FLOOD));
        pair_close(&p);
    }
}

static void test_accept(void **state)
{
    char accept[WS_ACCEPT_CHARS + 1];

    (void)state;
    ws_accept_value(SPAN("dGhlIHNhbXBsZSBub25jZQ=="), accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");        /* RFC 6455 section 1.3 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_early_bytes),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_flood_of_controls),
        cmocka_unit_test(test_accept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
