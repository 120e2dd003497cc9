#include "lib/obs/admin.h"
#include "lib/check/check.h"
#include "lib/net/conn.h"
#include <sys/socket.h>

#define WAIT_MS 5000

struct scene {
    struct loop *loop;
    struct admin *admin;
    struct conn *conn;
    struct span request;
    char got[8192];
    size_t got_len;
    bool is_ready, is_over;
};

static bool is_ready(void *arg, struct buf *ret_why)
{
    const struct scene *s = arg;

    buf_put_str(ret_why, "no verified snapshot\n");
    return s->is_ready;
}

static void write_metrics(void *arg, struct buf *out)
{
    (void)arg;
    buf_put_str(out, "adit_test 1\n");
}

static void on_client_ready(void *user)
{
    struct scene *s = user;

    assert_int_equal(conn_write(s->conn, s->request.p, s->request.n), s->request.n);
    conn_want(s->conn, CONN_READ);
}

static void on_client_readable(void *user)
{
    struct scene *s = user;
    ssize_t n = conn_read(s->conn, s->got + s->got_len, sizeof(s->got) - 1 - s->got_len);

    if (n == -EAGAIN)
        return;
    if (n > 0)
        s->got_len += (size_t)n;
    else
        s->is_over = true;
    if (s->is_over)
        conn_want(s->conn, 0);
}

static void on_client_failed(void *user, int error)
{
    (void)error;
    ((struct scene *)user)->is_over = true;
}

static const struct conn_handlers client = { on_client_ready, on_client_readable, NULL,
                                             on_client_failed };

static bool is_over(void *arg)
{
    return ((struct scene *)arg)->is_over;
}

static void scene_open(struct scene *s, uint32_t conn_ms, unsigned conns_max)
{
    struct admin_config config = { .is_ready = is_ready, .write_metrics = write_metrics, .arg = s,
                                   .conn_ms = conn_ms, .conns_max = conns_max };
    char mem[200];
    struct buf error;

    buf_init_fixed(&error, mem, sizeof(mem));
    assert_true(endpoint_parse(SPAN("127.0.0.1:0"), &config.at));
    assert_int_equal(loop_new(&s->loop), 0);
    assert_int_equal(admin_open(s->loop, &config, &s->admin, &error), 0);
}

static void scene_close(struct scene *s)
{
    admin_free(s->admin);
    loop_free(s->loop);
}

/* Sends the request and reads to the end; what came is in s->got. */
static void ask(struct scene *s, struct span request)
{
    struct endpoint at = admin_endpoint(s->admin);
    struct conn_options plain = { 0 };

    s->request = request;
    s->got_len = 0;
    s->is_over = false;
    assert_int_equal(conn_dial(s->loop, &at, &plain, &client, s, &s->conn), 0);
    assert_true(loop_run_until(s->loop, is_over, s, WAIT_MS));
    s->got[s->got_len] = 0;
    conn_free(s->conn);
}

static void test_answers(void **state)
{
    static const struct {
        const char *it, *request;
        bool is_ready;
        const char *starts, *ends;
    } rows[] = {
        { "is healthy", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", false, "HTTP/1.1 200 ",
          "\r\n\r\nok\n" },
        { "is not ready and says why", "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n", false,
          "HTTP/1.1 503 ", "\r\n\r\nno verified snapshot\n" },
        { "is ready", "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n", true, "HTTP/1.1 200 ",
          "\r\n\r\nready\n" },
        { "gives metrics", "GET /metrics?x=y HTTP/1.1\r\nHost: a\r\n\r\n", true, "HTTP/1.1 200 ",
          "\r\n\r\nadit_test 1\n" },
        { "gives no body to HEAD", "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", true,
          "HTTP/1.1 200 ", "\r\n\r\n" },
        { "takes HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", true, "HTTP/1.1 200 ",
          "\r\n\r\nok\n" },
        { "refuses other paths", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, "HTTP/1.1 404 ", "" },
        { "refuses other methods",
          "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", true, "HTTP/1.1 405 ",
          "" },
        { "refuses what is no HTTP", "\x16\x03\x01 hello\r\n\r\n", true, "HTTP/1.1 400 ", "" },
    };
    struct scene s = { 0 };

    (void)state;
    scene_open(&s, 0, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        s.is_ready = rows[i].is_ready;
        ask(&s, span_str(rows[i].request));
        print_message("%s\n", s.got);
        assert_true(span_starts(span_str(s.got), span_str(rows[i].starts)));
        assert_true(span_ends(span_str(s.got), span_str(rows[i].ends)));
    }
    scene_close(&s);
}

static void test_limits(void **state)
{
    struct scene s = { 0 }, other = { 0 };
    struct endpoint at;
    struct conn_options plain = { 0 };
    char large[5000];

    (void)state;
    scene_open(&s, 200, 1);
    memset(large, 'a', sizeof(large));
    memcpy(large, "GET /", 5);
    check_row("refuses a head past 4 KiB");
    ask(&s, span_of(large, sizeof(large)));
    assert_true(span_starts(span_str(s.got), SPAN("HTTP/1.1 431 ")));

    check_row("drops who says nothing");
    ask(&s, SPAN("GET /healthz HTTP/1.1\r\n"));
    assert_string_equal(s.got, "");

    check_row("drops connections past its cap");
    at = admin_endpoint(s.admin);
    other.loop = s.loop;
    other.request = SPAN("GET");
    assert_int_equal(conn_dial(s.loop, &at, &plain, &client, &other, &other.conn), 0);
    ask(&s, SPAN("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_string_equal(s.got, "");
    assert_false(other.is_over);
    check_row("takes the next when one has gone");
    assert_true(loop_run_until(s.loop, is_over, &other, WAIT_MS));
    conn_free(other.conn);
    ask(&s, SPAN("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_true(span_starts(span_str(s.got), SPAN("HTTP/1.1 200 ")));
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
