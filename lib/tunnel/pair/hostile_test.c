#include "lib/tunnel/pair/pair_fixture.h"

#include "lib/net/conn.h"

/* A peer that writes what it likes, without TLS, and keeps what it is told. */
struct raw {
    struct conn *conn;
    char got[4096];
    size_t len;
    bool is_ready, is_over;
};

static void raw_on_ready(void *user)
{
    struct raw *r = user;

    r->is_ready = true;
    conn_want(r->conn, CONN_READ);
}

static void raw_on_readable(void *user)
{
    struct raw *r = user;
    ssize_t n = conn_read(r->conn, r->got + r->len, sizeof(r->got) - 1 - r->len);

    if (n == -EAGAIN)
        return;
    if (n > 0) {
        r->len += (size_t)n;
        return;
    }
    r->is_over = true;
    conn_want(r->conn, 0);
}

static void raw_on_failed(void *user, int error)
{
    (void)error;
    ((struct raw *)user)->is_over = true;
}

static const struct conn_handlers raw_handlers = {
    .on_ready = raw_on_ready, .on_readable = raw_on_readable, .on_failed = raw_on_failed,
};

static bool raw_is_ready(void *arg) { return ((struct raw *)arg)->is_ready; }
static bool raw_is_over(void *arg) { return ((struct raw *)arg)->is_over; }
static bool raw_is_closed(void *arg)
{
    return raw_is_over(arg) || memchr(((struct raw *)arg)->got, 0x88, ((struct raw *)arg)->len);
}
static bool raw_is_upgraded(void *arg)
{
    return strstr(((struct raw *)arg)->got, "\r\n\r\n") != NULL;
}

/* Under TLS if the pair is. */
static void raw_open(struct raw *r, struct pair *p)
{
    struct conn_options options = { .tls = p->client_tls };
    struct endpoint to = { .kind = ENDPOINT_IP, .addr = addr_v4(127, 0, 0, 1), .port = p->port };

    *r = (struct raw){ 0 };
    assert_int_equal(conn_dial(p->loop, &to, &options, &raw_handlers, r, &r->conn), 0);
    assert_true(loop_run_until(p->loop, raw_is_ready, r, 2000));
}

#define UPGRADE "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static void test_heads(void **state)
{
    static const struct { const char *it, *head, *status;
    } rows[] = {
        { "takes path and subprotocol",
          "GET /tunnel HTTP/1.1\r\n" UPGRADE "Sec-WebSocket-Protocol: adit.v1\r\n\r\n", "101" },
        { "agrees on no compression",
          "GET /tunnel HTTP/1.1\r\n" UPGRADE
          "Sec-WebSocket-Protocol: adit.v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
          "101" },
        { "refuses another path",
          "GET /other HTTP/1.1\r\n" UPGRADE "Sec-WebSocket-Protocol: adit.v1\r\n\r\n", "404" },
        { "refuses no subprotocol", "GET /tunnel HTTP/1.1\r\n" UPGRADE "\r\n", "400" },
        { "takes one of several subprotocols",
          "GET /tunnel HTTP/1.1\r\n" UPGRADE "Sec-WebSocket-Protocol: adit.v2, adit.v1\r\n\r\n", "101" },
        { "refuses another subprotocol",
          "GET /tunnel HTTP/1.1\r\n" UPGRADE "Sec-WebSocket-Protocol: adit.v2\r\n\r\n", "400" },
        { "refuses a request without an upgrade", "GET /tunnel HTTP/1.1\r\nHost: a\r\n\r\n",
          "426" },
        { "refuses two keys", "GET /tunnel HTTP/1.1\r\n" UPGRADE
          "Sec-WebSocket-Protocol: adit.v1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "400" },
        { "refuses two hosts", "GET /tunnel HTTP/1.1\r\nHost: b\r\n" UPGRADE
          "Sec-WebSocket-Protocol: adit.v1\r\n\r\n", "400" },
        { "refuses a body", "POST /tunnel HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
          "400" },
        { "refuses what is not HTTP", "\x16\x03\x01\x02\x03\x01\xfc\x03\x03 \r\n\r\n", "400" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair_options options = { .is_plain = true, .handshake_ms = 400 };
        bool is_good = !strcmp(rows[i].status, "101");
        struct pair p;
        struct raw r;

        check_row(rows[i].it);
        pair_open(&p, &options);
        raw_open(&r, &p);
        assert_true(conn_write(r.conn, rows[i].head, strlen(rows[i].head)) > 0);
        assert_true(loop_run_until(p.loop, is_good ? raw_is_upgraded : raw_is_over, &r, 3000));
        assert_null(strcasestr(r.got, "permessage"));
        if (rows[i].status[0])
            assert_memory_equal(r.got + 9, rows[i].status, 3);
        assert_int_equal(tunnel_server_stats(p.server)->upgraded, is_good);
        conn_free(r.conn);
        pair_close(&p);
    }
}

static void test_slow_heads_time_out(void **state)
{
    static const struct { const char *it, *head;
    } rows[] = {
        { "gives up on silence", "" },
        { "gives up on half a head", "GET /tunnel HTTP/1.1\r\nHost: a\r\n" },
        { "gives up on no HELLO",
          "GET /tunnel HTTP/1.1\r\n" UPGRADE "Sec-WebSocket-Protocol: adit.v1\r\n\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair_options options = { .is_plain = true, .handshake_ms = 120 };
        struct pair p;
        struct raw r;

        check_row(rows[i].it);
        pair_open(&p, &options);
        raw_open(&r, &p);
        if (rows[i].head[0])
            assert_true(conn_write(r.conn, rows[i].head, strlen(rows[i].head)) > 0);
        assert_true(loop_run_until(p.loop, raw_is_over, &r, 4000));
        assert_int_equal(tunnel_server_stats(p.server)->timed_out, 1);
        assert_int_equal(tunnel_server_stats(p.server)->handshakes, 0);
        conn_free(r.conn);
        pair_close(&p);
    }
}

static void test_handshakes_are_bounded(void **state)
{
    struct pair_options options = { .is_plain = true, .handshakes_max = 2 };
    struct raw r[3];
    struct pair p;

    (void)state;
    pair_open(&p, &options);
    for (size_t i = 0; i < 3; i++)
        raw_open(&r[i], &p);
    assert_true(loop_run_until(p.loop, raw_is_over, &r[2], 2000));
    assert_false(r[0].is_over || r[1].is_over);
    assert_int_equal(tunnel_server_stats(p.server)->refused_overload, 1);
    assert_int_equal(tunnel_server_stats(p.server)->handshakes, 2);
    for (size_t i = 0; i < 3; i++)
        conn_free(r[i].conn);
    pair_close(&p);
}

#define ASK(more) "GET /tunnel HTTP/1.1\r\n" UPGRADE "Sec-WebSocket-Protocol: adit.v1\r\n" more "\r\n"

/* Of those beyond the rate that are looked at, whoever has living streams comes in. */
static void test_living_streams_go_first(void **state)
{
    static const struct { const char *it, *request, *status; } rows[] = {
        { "puts off who says nothing", ASK(""), "503" },
        { "lets in an agent with living streams", ASK("Adit-Streams: 3\r\n"), "101" },
        { "puts off one with none", ASK("Adit-Streams: 0\r\n"), "503" },
        { "puts off one whose number is none", ASK("Adit-Streams: 3, 4\r\n"), "503" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair_options options = { .is_plain = true, .handshakes_per_s = 1 };
        bool is_let_in = rows[i].status[0] == '1';
        struct raw first, r, beyond;
        struct pair p;

        check_row(rows[i].it);
        pair_open(&p, &options);
        raw_open(&first, &p);           /* takes the one token that there is */
        raw_open(&r, &p);
        raw_open(&beyond, &p);          /* is not looked at any more */
        assert_true(conn_write(r.conn, rows[i].request, strlen(rows[i].request)) > 0);
        assert_true(loop_run_until(p.loop, raw_is_upgraded, &r, 2000));
        assert_memory_equal(r.got + 9, rows[i].status, 3);
        assert_int_equal(tunnel_server_stats(p.server)->living, is_let_in);
        assert_int_equal(tunnel_server_stats(p.server)->put_off, !is_let_in);
        assert_true(loop_run_until(p.loop, raw_is_over, &beyond, 2000));
        conn_free(beyond.conn);
        conn_free(r.conn);
        conn_free(first.conn);
        pair_close(&p);
    }
}

static void test_handshakes_are_rationed(void **state)
{
    struct pair_options options = { .is_plain = true, .handshakes_per_s = 1 };
    struct raw first, told, second;
    struct pair p;

    (void)state;
    pair_open(&p, &options);
    raw_open(&first, &p);
    raw_open(&told, &p);
    assert_true(conn_write(told.conn, "GET /tunnel HTTP/1.1\r\n" UPGRADE
                                      "Sec-WebSocket-Protocol: adit.v1\r\n\r\n",
                           22 + sizeof(UPGRADE) - 1 + 35) > 0);
    assert_true(loop_run_until(p.loop, raw_is_upgraded, &told, 2000));
    assert_memory_equal(told.got + 9, "503", 3);
    assert_non_null(strcasestr(told.got, "\r\nretry-after: 2\r\n"));
    assert_non_null(strcasestr(told.got, "\r\nadit-reason: overload\r\n"));
    assert_true(loop_run_until(p.loop, raw_is_over, &told, 2000));
    assert_int_equal(tunnel_server_stats(p.server)->put_off, 1);
    conn_free(told.conn);
    raw_open(&second, &p);
    assert_true(loop_run_until(p.loop, raw_is_over, &second, 2000));
    assert_int_equal(tunnel_server_stats(p.server)->refused_overload, 1);
    conn_free(second.conn);
    loop_run_until(p.loop, raw_is_over, &first, 1100);  /* time for one more */
    raw_open(&second, &p);
    assert_false(loop_run_until(p.loop, raw_is_over, &second, 50));
    assert_int_equal(tunnel_server_stats(p.server)->adopted, 2);
    conn_free(first.conn);
    conn_free(second.conn);
    pair_close(&p);
}

/* A frame with a zero mask. */
static size_t frame(unsigned char *dst, unsigned first, const void *payload, size_t n)
{
    size_t at = 0;

    dst[at++] = (unsigned char)first;
    if (n < 126) {
        dst[at++] = (unsigned char)(0x80 | n);
    } else {
        dst[at++] = 0x80 | 126;
        dst[at++] = (unsigned char)(n >> 8);
        dst[at++] = (unsigned char)n;
    }
    memset(dst + at, 0, 4);
    memcpy(dst + at + 4, payload, n);
    return at + 4 + n;
}

static void test_messages(void **state)
{
    static const struct {
        const char *it;
        unsigned first;
        const char *payload;
        size_t n;
        enum reason why;
    } rows[] = {
        { "refuses text", 0x81, "hello", 5, REASON_PROTOCOL_ERROR },
        { "refuses a reserved bit", 0xc2, "hello", 5, REASON_PROTOCOL_ERROR },
        { "refuses a reserved opcode", 0x83, "hello", 5, REASON_PROTOCOL_ERROR },
        { "refuses a frame of the mux that is none", 0x82, "\xff\0\0\0\0\0\0\0", 8,
          REASON_PROTOCOL_ERROR },
        { "refuses half a frame of the mux", 0x82, "\x01\0\0", 3, REASON_PROTOCOL_ERROR },
        { "refuses a HELLO that is no JSON", 0x82, "\x01\0\0\2\0\0\0\0{{", 10,
          REASON_PROTOCOL_ERROR },
        { "goes when the other side closes", 0x88, "", 0, REASON_SESSION_LOST },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair_options options = { .is_plain = true };
        unsigned char bytes[256];
        struct pair p;
        struct raw r;
        size_t n = frame(bytes, rows[i].first, rows[i].payload, rows[i].n);

        check_row(rows[i].it);
        pair_open(&p, &options);
        raw_open(&r, &p);
        assert_true(conn_write(r.conn,
                               "GET /tunnel HTTP/1.1\r\n" UPGRADE
                               "Sec-WebSocket-Protocol: adit.v1\r\n\r\n",
                               22 + sizeof(UPGRADE) - 1 + 35)
                    > 0);
        assert_true(loop_run_until(p.loop, raw_is_upgraded, &r, 2000));
        assert_int_equal(conn_write(r.conn, bytes, n), n);
        /* A Close is the last that we hear, or the end of the connection. */
        assert_true(loop_run_until(p.loop, raw_is_closed, &r, 4000));
        conn_free(r.conn);
        assert_true(loop_run_until(p.loop, pair_is_relay_down, &p, 4000));
        assert_int_equal(p.relay_why, rows[i].why);
        pair_close(&p);
    }
}

static bool raw_has_pongs(void *arg)
{
    struct raw *r = arg;
    char pong[] = { (char)0x8a, 1, '0' };

    while (pong[2] <= '9' && memmem(r->got, r->len, pong, sizeof(pong)))
        pong[2]++;
    return pong[2] > '9';
}

/* Each record of TLS by itself, all of them in one read: OpenSSL has them, the socket is silent. */
static void test_control_frames_hold_nothing_up(void **state)
{
    static const struct { const char *it; unsigned first; bool (*is_done)(void *arg);
    } rows[] = {
        { "answers each PING, and the Close behind them", 0x89, raw_has_pongs },
        { "answers the Close behind PONGs", 0x8a, raw_is_closed },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair_options options = { .client_kind = CERT_AGENT };
        unsigned char bytes[16];
        struct pair p;
        struct raw r;

        check_row(rows[i].it);
        pair_open(&p, &options);
        raw_open(&r, &p);
        assert_true(conn_write(r.conn, "GET /tunnel HTTP/1.1\r\n" UPGRADE
                                       "Sec-WebSocket-Protocol: adit.v1\r\n\r\n",
                               22 + sizeof(UPGRADE) - 1 + 35) > 0);
        assert_true(loop_run_until(p.loop, raw_is_upgraded, &r, 2000));
        r.len = 0;
        for (char c = '0'; c <= '9'; c++) {
            size_t n = frame(bytes, rows[i].first, &c, 1);

            assert_int_equal(conn_write(r.conn, bytes, n), n);
        }
        assert_int_equal(conn_write(r.conn, bytes, frame(bytes, 0x88, "", 0)), 6);
        assert_true(loop_run_until(p.loop, rows[i].is_done, &r, 4000));
        assert_true(loop_run_until(p.loop, raw_is_closed, &r, 4000));
        conn_free(r.conn);
        assert_true(loop_run_until(p.loop, pair_is_relay_down, &p, 4000));
        pair_close(&p);
    }
}

/* Parts of one message without end, none of which alone is too large. */
static void test_endless_message_is_refused(void **state)
{
    struct pair_options options = { .is_plain = true };
    static unsigned char bytes[16400], part[16384];
    struct pair p;
    struct raw r;

    (void)state;
    pair_open(&p, &options);
    raw_open(&r, &p);
    /* A mux frame of a type that is to be ignored, again and again. */
    for (size_t i = 0; i < sizeof(part); i += 8)
        part[i] = 0x3f;
    assert_true(conn_write(r.conn,
                           "GET /tunnel HTTP/1.1\r\n" UPGRADE
                           "Sec-WebSocket-Protocol: adit.v1\r\n\r\n",
                           22 + sizeof(UPGRADE) - 1 + 35)
                > 0);
    assert_true(loop_run_until(p.loop, raw_is_upgraded, &r, 2000));
    for (int i = 0; i < 100 && !p.is_relay_down; i++) {
        size_t n = frame(bytes, i ? 0x00 : 0x02, part, sizeof(part)), at = 0;

        while (at < n && !p.is_relay_down) {
            ssize_t k = conn_write(r.conn, bytes + at, n - at);

            if (k < 0 && k != -EAGAIN)
                break;
            at += k > 0 ? (size_t)k : 0;
            loop_run_until(p.loop, pair_is_relay_down, &p, 1);
        }
    }
    assert_true(loop_run_until(p.loop, pair_is_relay_down, &p, 4000));
    assert_int_equal(p.relay_why, REASON_PROTOCOL_ERROR);
    conn_free(r.conn);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_slow_heads_time_out),
        cmocka_unit_test(test_handshakes_are_bounded),
        cmocka_unit_test(test_handshakes_are_rationed),
        cmocka_unit_test(test_living_streams_go_first),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_control_frames_hold_nothing_up),
        cmocka_unit_test(test_endless_message_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
