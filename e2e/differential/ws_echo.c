#include "lib/base/encode.h"
#include "lib/crypto/digest.h"
#include "lib/crypto/random.h"
#include "lib/http1/http1.h"
#include "lib/ws/ws.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
/*
 * ws_echo.c - lib/ws as the echoing client that Autobahn's fuzzing server wants, for autobahn.py.
 *
 * ws_echo PORT: asks for the number of cases, runs each on a connection of its own, then asks
 * for the report.  Blocking sockets; one thing at a time.
 */
#define MESSAGE_MAX ((size_t)32 << 20)
#define AGENT "agent=adit"

struct client {
    int fd;
    struct ws_parser parser;
    struct buf message;
    bool is_closed;
};

static unsigned char frame[WS_HEADER_MAX + MESSAGE_MAX];

static bool send_all(int fd, const unsigned char *p, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool send_message(struct client *c, enum ws_opcode opcode)
{
    unsigned char mask[4];
    size_t header;

    random_bytes(mask, sizeof(mask));
    header = ws_header_write(frame, opcode, true, c->message.len, mask);
    ws_mask_copy(frame + header, c->message.data, c->message.len, mask, 0);
    header += c->message.len;
    buf_clear(&c->message);
    return send_all(c->fd, frame, header);
}

static bool send_control(struct client *c, enum ws_opcode opcode, struct span payload)
{
    unsigned char dst[WS_CONTROL_FRAME_MAX], mask[4];

    random_bytes(mask, sizeof(mask));
    return send_all(c->fd, dst, ws_control_write(dst, opcode, payload, mask));
}

static void send_close(struct client *c, uint16_t code)
{
    unsigned char dst[WS_CONTROL_FRAME_MAX], mask[4];

    random_bytes(mask, sizeof(mask));
    send_all(c->fd, dst, ws_close_write(dst, code, SPAN_NONE, mask));
    c->is_closed = true;
}

/* False: the connection is over. */
static bool on_event(struct client *c, const struct ws_event *e, bool is_echo)
{
    switch (e->kind) {
    case WS_EVENT_NONE:
    case WS_EVENT_PONG:
        return true;
    case WS_EVENT_PING:
        return send_control(c, WS_PONG, e->data);
    case WS_EVENT_CLOSE:
        send_close(c, e->close_code);
        return false;
    case WS_EVENT_DATA:
        buf_put_span(&c->message, e->data);
        return !e->is_last || !is_echo || send_message(c, e->opcode);
    }
    return false;
}

static bool take(struct client *c, struct span in, bool is_echo)
{
    for (;;) {
        struct ws_event e;
        size_t bytes;
        int r = ws_parser_take(&c->parser, in, &bytes, &e);

        if (r) {
            send_close(c, ws_error_close_code(r));
            return false;
        }
        in = span_skip(in, bytes);
        if (!on_event(c, &e, is_echo))
            return false;
        if (e.kind == WS_EVENT_NONE)
            return true;
    }
}

static int check_answer(const struct http1_head *h, struct span key)
{
    struct ws_answer a = {
        .status = h->status,
        .has_upgrade = http1_has_token(h, SPAN("Upgrade"), SPAN("websocket")),
        .has_connection = http1_has_token(h, SPAN("Connection"), SPAN("upgrade")),
        .accept_count = http1_count(h, SPAN("Sec-WebSocket-Accept")),
        .protocol_count = http1_count(h, SPAN("Sec-WebSocket-Protocol")),
        .extension_count = http1_count(h, SPAN("Sec-WebSocket-Extensions")),
    };
    char input[WS_ACCEPT_INPUT_BYTES], want[32];
    unsigned char digest[SHA1_LEN];
    struct buf out;

    http1_find(h, SPAN("Sec-WebSocket-Accept"), &a.accept);
    ws_accept_input(key, input);
    sha1_for_websocket(span_of(input, sizeof(input)), digest);
    buf_init_fixed(&out, want, sizeof(want));
    base64_encode(span_of(digest, sizeof(digest)), &out);
    return ws_answer_check(&a, buf_span(&out), SPAN_NONE);
}

/* The handshake; *ret_rest: what came behind the answer's head, in `mem`. */
static bool upgrade(struct client *c, struct span authority, const char *path, char *mem,
                    size_t cap, struct span *ret_rest)
{
    struct http1_scan scan = { 0 };
    unsigned char random[16];
    struct http1_head h;
    char key_text[WS_KEY_BYTES];
    struct buf out, key;
    size_t have = 0;
    int r = HTTP1_E_MORE;

    random_bytes(random, sizeof(random));
    buf_init_fixed(&key, key_text, sizeof(key_text));
    base64_encode(span_of(random, sizeof(random)), &key);
    buf_init_fixed(&out, mem, cap);
    ws_request_write(&out, &(struct ws_request){
        .authority = authority, .path = span_str(path), .key = buf_span(&key),
    });
    if (buf_error(&out) || !send_all(c->fd, out.data, out.len))
        return false;
    while (r == HTTP1_E_MORE && have < cap) {
        ssize_t n = recv(c->fd, mem + have, cap - have, 0);

        if (n <= 0)
            return false;
        have += (size_t)n;
        r = http1_response_parse(&scan, span_of(mem, have), SPAN("GET"), &h);
    }
    if (r || check_answer(&h, buf_span(&key)))
        return false;
    *ret_rest = span_of(mem + h.bytes, have - h.bytes);
    return true;
}

static int dial(uint16_t port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct timeval limit = { .tv_sec = 60 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit))
        || connect(fd, (struct sockaddr *)&to, sizeof(to))) {
        perror("connect");
        exit(1);
    }
    return fd;
}

/* One connection to its end; what was received and not echoed stays in c->message. */
static bool session(struct client *c, uint16_t port, const char *path, bool is_echo)
{
    static const struct ws_options options = { .message_max = MESSAGE_MAX, .take_text = true };
    AUTO(fd_closep) int fd = dial(port);
    char mem[65536], authority[32];
    struct span in;

    c->fd = fd;
    c->is_closed = false;
    buf_clear(&c->message);
    ws_parser_init(&c->parser, &options);
    snprintf(authority, sizeof(authority), "127.0.0.1:%u", port);
    if (!upgrade(c, span_str(authority), path, mem, sizeof(mem), &in)) {
        fprintf(stderr, "%s: the handshake failed\n", path);
        return false;
    }
    while (take(c, in, is_echo)) {
        ssize_t n = recv(fd, mem, sizeof(mem), 0);

        if (n <= 0)
            return false;
        in = span_of(mem, (size_t)n);
    }
    shutdown(fd, SHUT_WR);
    while (recv(fd, mem, sizeof(mem), 0) > 0)
        continue;
    return c->is_closed;
}

int main(int argc, char **argv)
{
    struct client c = { 0 };
    uint64_t port, cases;

    if (argc != 2 || !span_to_u64(span_str(argv[1]), UINT16_MAX, &port))
        return 2;
    buf_init_heap(&c.message, MESSAGE_MAX);
    if (!session(&c, (uint16_t)port, "/getCaseCount", false)
        || !span_to_u64(buf_span(&c.message), 10000, &cases))
        return 1;

    for (uint64_t i = 1; i <= cases; i++) {
        char path[64];

        snprintf(path, sizeof(path), "/runCase?case=%lu&" AGENT, (unsigned long)i);
        session(&c, (uint16_t)port, path, true);
    }
    session(&c, (uint16_t)port, "/updateReports?" AGENT, false);
    buf_deinit(&c.message);
    return 0;
}
