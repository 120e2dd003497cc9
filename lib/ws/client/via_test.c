#include "lib/ws/client/via.h"
#include "lib/check/check.h"
#include "lib/net/listener.h"

#include <stdio.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define OK "HTTP/1.1 200 Connection established\r\n\r\n"

/* A proxy that reads one head and gives one answer. */
struct world {
    struct loop *loop;
    struct listener *listener;
    struct conn *conn;          /* the proxy's end */
    const char *answer;         /* NULL: it closes; "": it says nothing */
    size_t long_field;          /* so many bytes of it come before the answer's blank line */
    char request[4096];
    size_t request_len;
    int fd;                     /* what on_done gave; -1 */
    enum reason why;
    char text[256];
    bool is_over;
};

static void say(struct world *w)
{
    char bytes[16384];
    size_t n = strlen(w->answer);

    if (w->long_field) {
        n = (size_t)snprintf(bytes, sizeof(bytes), "HTTP/1.1 200 OK\r\nX: ");
        memset(bytes + n, 'x', w->long_field);
        n += w->long_field;
        n += (size_t)snprintf(bytes + n, sizeof(bytes) - n, "\r\n\r\n");
    } else {
        memcpy(bytes, w->answer, n);
    }
    if (n)
        assert_int_equal(conn_write(w->conn, bytes, n), (ssize_t)n);
}

static void on_readable(void *user)
{
    struct world *w = user;
    ssize_t n = conn_read(w->conn, w->request + w->request_len, sizeof(w->request) - 1 - w->request_len);

    if (n <= 0) {
        conn_want(w->conn, 0);
        return;
    }
    w->request_len += (size_t)n;
    if (!strstr(w->request, "\r\n\r\n"))
        return;
    if (w->answer)
        say(w);
    else
        conn_close(TAKE(w->conn));
}

static void on_accept(void *user, int fd, const struct endpoint *peer)
{
    static const struct conn_handlers handlers = { .on_readable = on_readable };
    static const struct conn_options options = { .is_accepted = true };
    struct world *w = user;

    (void)peer;
    assert_int_equal(conn_adopt(w->loop, fd, &options, &handlers, w, &w->conn), 0);
    conn_want(w->conn, CONN_READ);
}

static void on_done(void *user, int fd)
{
    struct world *w = user;

    w->fd = fd;
    w->is_over = true;
}

static void on_failed(void *user, enum reason why, const char *text)
{
    struct world *w = user;

    w->why = why;
    snprintf(w->text, sizeof(w->text), "%s", text);
    w->is_over = true;
}

static const struct via_handlers handlers = { .on_done = on_done, .on_failed = on_failed };

static bool is_over(void *arg)
{
    return ((struct world *)arg)->is_over;
}

static struct endpoint world_open(struct world *w)
{
    struct listener_config config = { .on_accept = on_accept, .user = w };
    char words[256];
    struct buf why;

    buf_init_fixed(&why, words, sizeof(words));
    assert_int_equal(loop_new(&w->loop), 0);
    assert_true(endpoint_parse(SPAN("127.0.0.1:0"), &config.at));
    assert_int_equal(listener_open(w->loop, &config, &w->listener, &why), 0);
    return listener_endpoint(w->listener);
}

static void world_close(struct world *w, struct via *v)
{
    via_free(v);
    conn_free(w->conn);
    if (w->listener)
        listener_free(w->listener);
    loop_free(w->loop);
    if (w->fd >= 0)
        close(w->fd);
}

static void run(struct world *w, const char *credentials, uint32_t answer_ms)
{
    struct via_config config = { .to = world_open(w), .authority = "relay.example:7443",
                                 .credentials = credentials, .answer_ms = answer_ms };
    struct via *v = NULL;

    config.loop = w->loop;
    w->fd = -1;
    assert_int_equal(via_dial(&config, &handlers, w, &v), 0);
    assert_true(loop_run_until(w->loop, is_over, w, PATIENCE_MS));
    world_close(w, v);
}

static void test_answers(void **state)
{
    static const struct {
        const char *it, *answer;
        size_t long_field;
        enum reason want;
        const char *text;
    } rows[] = {
        { "takes 200", OK, 0, REASON_NONE, "" },
        { "takes HTTP/1.0 with fields", "HTTP/1.0 200 OK\r\nProxy-agent: x\r\n\r\n", 0, REASON_NONE, "" },
        { "takes any 2xx", "HTTP/1.1 204 Fine\r\n\r\n", 0, REASON_NONE, "" },
        { "says that credentials are wanted", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", 0,
          REASON_UPLINK_PROXY_AUTH, "407 Proxy Authentication Required" },
        { "says that credentials are wrong", "HTTP/1.1 401 Unauthorized\r\n\r\n", 0, REASON_UPLINK_PROXY_AUTH,
          "401" },
        { "says that it was refused", "HTTP/1.1 403 Filtered\r\nContent-Length: 0\r\n\r\n", 0,
          REASON_UPLINK_PROXY_REFUSED, "403 Filtered" },
        { "says that the relay was not reached", "HTTP/1.1 504 Late\r\n\r\n", 0, REASON_UPLINK_PROXY_REFUSED,
          "504 Late" },
        { "follows no redirect", "HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", 0,
          REASON_UPLINK_PROXY_REFUSED, "302" },
        { "shows no control character", "HTTP/1.1 403 a\tb\r\n\r\n", 0, REASON_UPLINK_PROXY_REFUSED, "403 a" },
        { "refuses an interim answer", "HTTP/1.1 100 Continue\r\n\r\n", 0, REASON_UPLINK_PROXY_BAD_ANSWER,
          "interim" },
        { "refuses bytes behind the head", OK "x", 0, REASON_UPLINK_PROXY_BAD_ANSWER, "before they were asked" },
        { "refuses what is no HTTP", "SSH-2.0-x\r\n\r\n", 0, REASON_UPLINK_PROXY_BAD_ANSWER, "" },
        { "refuses a head that is too long", "", VIA_HEAD_MAX, REASON_UPLINK_PROXY_BAD_ANSWER, "" },
        { "says that the proxy closed", NULL, 0, REASON_UPLINK_PROXY_UNREACHABLE, "the proxy closed" },
        { "waits for no answer for ever", "", 0, REASON_UPLINK_PROXY_TIMEOUT, "in time" },
        { "waits for no half of one for ever", "HTTP/1.1 200 OK\r\n", 0, REASON_UPLINK_PROXY_TIMEOUT, "in time" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w = { .answer = rows[i].answer, .long_field = rows[i].long_field };

        check_row(rows[i].it);
        run(&w, NULL, rows[i].want == REASON_UPLINK_PROXY_TIMEOUT ? 300 : PATIENCE_MS);
        assert_int_equal(w.why, rows[i].want);
        assert_int_equal(w.fd >= 0, rows[i].want == REASON_NONE);
        assert_non_null(strstr(w.text, rows[i].text));
    }
}

static void test_request(void **state)
{
    struct world w = { .answer = OK }, plain = { .answer = OK };

    (void)state;
    run(&w, "Aladdin:open sesame", 0);
    assert_string_equal(w.request, "CONNECT relay.example:7443 HTTP/1.1\r\nHost: relay.example:7443\r\n"
                                   "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n");
    run(&plain, "", 0);
    assert_null(strstr(plain.request, "Authorization"));
}

static void test_no_listener(void **state)
{
    struct world w = { .answer = OK, .fd = -1 };
    struct via_config config = { .to = world_open(&w), .authority = "relay.example:7443" };
    struct via *v = NULL;

    (void)state;
    config.loop = w.loop;
    listener_free(TAKE(w.listener));
    assert_int_equal(via_dial(&config, &handlers, &w, &v), 0);
    assert_true(loop_run_until(w.loop, is_over, &w, PATIENCE_MS));
    assert_int_equal(w.why, REASON_UPLINK_PROXY_UNREACHABLE);
    world_close(&w, v);
}

static void test_bad_authority(void **state)
{
    struct world w = { .fd = -1 };
    struct via_config config = { .to = world_open(&w), .authority = "a:1\r\nX: y" };
    struct via *v = NULL;

    (void)state;
    config.loop = w.loop;
    assert_int_equal(via_dial(&config, &handlers, &w, &v), -EINVAL);
    config.authority = "";
    assert_int_equal(via_dial(&config, &handlers, &w, &v), -EINVAL);
    world_close(&w, v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_no_listener),
        cmocka_unit_test(test_bad_authority),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
