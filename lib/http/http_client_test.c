#include "lib/http/http_client.h"
#include "lib/net/conn.h"
#include "lib/net/listener.h"
#include "lib/net/tls_fixture.h"

#include <stdio.h>

/* A server with one answer for everybody; it closes after it, or keeps silent. */
struct server {
    struct loop *loop;
    struct listener *listener;
    struct tls_ctx *tls;
    struct conn *conns[8];
    size_t count;
    const char *answer;         /* NULL: silence */
    bool is_kept;               /* the connection stays open after the answer */
    char request[2048];
    size_t len;
    unsigned requests;
};

static void on_readable(void *user)
{
    struct server *s = user;
    struct conn *c = s->conns[s->count - 1];
    ssize_t n = conn_read(c, s->request + s->len, sizeof(s->request) - 1 - s->len);

    if (n <= 0) {
        if (n != -EAGAIN)
            conn_want(c, 0);
        return;
    }
    s->len += (size_t)n;
    s->request[s->len] = 0;
    if (!strstr(s->request, "\r\n\r\n") || !s->answer)
        return;
    s->requests++;
    s->len = 0;
    assert_int_equal(conn_write(c, s->answer, strlen(s->answer)), strlen(s->answer));
    if (!s->is_kept)
        conn_shutdown_write(c);
}

static void on_ready(void *user)
{
    struct server *s = user;

    conn_want(s->conns[s->count - 1], CONN_READ);
}

static void on_failed(void *user, int error)
{
    (void)user, (void)error;
}

static const struct conn_handlers handlers = { .on_ready = on_ready,
                                               .on_readable = on_readable,
                                               .on_failed = on_failed };

static void on_accept(void *user, int fd, const struct endpoint *peer)
{
    struct server *s = user;
    struct conn_options options = { .tls = s->tls };

    (void)peer;
    assert_true(s->count < ARRAY_LEN(s->conns));
    assert_int_equal(conn_adopt(s->loop, fd, &options, &handlers, s, &s->conns[s->count++]), 0);
}

struct asked {
    bool is_done;
    int error;
    unsigned status;
    enum reason refusal;
    char body[128], header[64];
    size_t body_len;
};

static void on_answer(void *user, const struct http_answer *a)
{
    struct asked *x = user;

    assert_false(x->is_done);
    x->is_done = true;
    x->error = a->error;
    x->status = a->status;
    x->refusal = a->refusal;
    x->body_len = a->body.n;
    assert_true(a->error || span_copy(span_first(a->body, 100), x->body, sizeof(x->body)));
    assert_true(span_copy(http_answer_header(a, "x-mark"), x->header, sizeof(x->header)));
    if (a->error)
        assert_true(a->text[0]);
}

static bool is_done(void *arg) { return ((struct asked *)arg)->is_done; }

static void server_open(struct server *s, struct loop *l, const char *answer)
{
    struct listener_config config = { .on_accept = on_accept, .user = s };
    unsigned char memory[128];
    struct buf err;

    s->loop = l;
    s->answer = answer;
    buf_init_fixed(&err, memory, sizeof(memory));
    assert_true(endpoint_parse(SPAN("127.0.0.1:0"), &config.at));
    assert_int_equal(listener_open(l, &config, &s->listener, &err), 0);
}

static void server_close(struct server *s)
{
    listener_free(s->listener);
    for (size_t i = 0; i < s->count; i++)
        conn_free(s->conns[i]);
    tls_ctx_unref(s->tls);
}

static void test_answers(void **state)
{
    static const struct {
        const char *it, *answer, *scheme;
        enum cert_kind server;
        uint32_t timeout_ms;
        size_t answer_max;
        int error;
        unsigned status;
        enum reason refusal;
        const char *body;
    } rows[] = {
        { "gets an answer", "HTTP/1.1 200 OK\r\nX-Mark: a b \r\nContent-Length: 2\r\n\r\nhi",
          "http", CERT_KIND_COUNT, 0, 0, 0, 200, REASON_NONE, "hi" },
        { "gets a problem as an answer", "HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\nx", "https",
          CERT_CONTROL, 0, 0, 0, 403, REASON_NONE, "x" },
        { "follows no redirect",
          "HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "https",
          CERT_CONTROL, 0, 0, 0, 302, REASON_NONE, "" },
        { "refuses an agent that plays the control plane", "HTTP/1.1 200 OK\r\n\r\n", "https",
          CERT_AGENT, 0, 0, -EIO, 0, REASON_BAD_CERTIFICATE, "" },
        { "gives up in time", NULL, "https", CERT_CONTROL, 80, 0, -ETIMEDOUT, 0, REASON_NONE, "" },
        { "refuses a body over the limit", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789",
          "http", CERT_KIND_COUNT, 0, 8, -EMSGSIZE, 0, REASON_NONE, "" },
        { "refuses a body that is cut", "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n123456789",
          "https", CERT_CONTROL, 0, 0, -EIO, 0, REASON_NONE, "" },
        { "speaks no other scheme", "x", "ftp", CERT_KIND_COUNT, 0, 0, -EINVAL, 0, REASON_NONE,
          "" },
    };
    struct tls_world w;

    (void)state;
    tls_world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(loop_freep) struct loop *l = NULL;
        struct tls_ctx *tls =
            tls_world_ctx(&w, false, CERT_RELAY, 100, TLS_KIND(CERT_CONTROL), TLS_VERIFY_REQUIRED);
        struct server s = { 0 };
        struct asked a = { 0 };
        struct http_client *client;
        struct http_call *call;
        char url[128];
        struct http_request request = { .method = "POST",
                                        .url = url,
                                        .body = SPAN("{}"),
                                        .timeout_ms = rows[i].timeout_ms,
                                        .answer_max = rows[i].answer_max };

        check_row(rows[i].it);
        assert_int_equal(loop_new(&l), 0);
        server_open(&s, l, rows[i].answer);
        if (rows[i].server != CERT_KIND_COUNT)
            s.tls = tls_world_ctx(&w, true, rows[i].server, 100, TLS_KIND(CERT_RELAY),
                                  TLS_VERIFY_REQUIRED);
        snprintf(url, sizeof(url), "%s://127.0.0.1:%u/x", rows[i].scheme,
                 listener_endpoint(s.listener).port);
        assert_int_equal(http_client_new(l, tls, &client), 0);
        tls_ctx_unref(tls);
        assert_int_equal(http_client_send(client, &request, on_answer, &a, &call), 0);
        assert_false(a.is_done);
        assert_true(loop_run_until(l, is_done, &a, 5000));
        assert_int_equal(a.error, rows[i].error);
        assert_int_equal(a.status, rows[i].status);
        assert_int_equal(a.refusal, rows[i].refusal);
        assert_string_equal(a.body, rows[i].body);
        if (i == 0)
            assert_string_equal(a.header, "a b");
        http_client_free(client);
        server_close(&s);
    }
    tls_world_close(&w);
}

static void test_connection_is_kept_and_headers_are_sent(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct server s = { .is_kept = true };
    struct http_client *client;
    struct http_call *call;
    char url[128];
    struct http_request request = {
        .method = "GET", .url = url, .headers = { { SPAN("X-One"), SPAN("1") } }, .header_count = 1
    };

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    server_open(&s, l, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/path?q=1", listener_endpoint(s.listener).port);
    assert_int_equal(http_client_new(l, NULL, &client), 0);
    for (unsigned i = 0; i < 3; i++) {
        struct asked a = { 0 };

        assert_int_equal(http_client_send(client, &request, on_answer, &a, &call), 0);
        assert_true(loop_run_until(l, is_done, &a, 5000));
        assert_int_equal(a.status, 200);
    }
    assert_int_equal(s.count, 1);
    assert_int_equal(s.requests, 3);
    assert_ptr_equal(strstr(s.request, "GET /path?q=1 HTTP/1.1\r\n"), s.request);
    assert_non_null(strstr(s.request, "\r\nX-One: 1\r\n"));
    request.headers[0].value = SPAN("1\r\nX-Two: 2");
    assert_int_equal(http_client_send(client, &request, on_answer, NULL, &call), -EINVAL);
    http_client_free(client);
    server_close(&s);
}

static void test_cancel_and_free(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct server s = { 0 };
    struct http_client *client;
    struct http_call *call;
    struct asked never = { 0 }, a = { 0 };
    char url[128];
    struct http_request request = { .method = "GET", .url = url, .timeout_ms = 50 };
    int r;
    size_t count = 0;

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    server_open(&s, l, NULL);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", listener_endpoint(s.listener).port);
    assert_int_equal(http_client_new(l, NULL, &client), 0);
    assert_int_equal(http_client_send(client, &request, on_answer, &never, &call), 0);
    http_call_cancel(call);
    assert_int_equal(http_client_send(client, &request, on_answer, &a, &call), 0);
    assert_true(loop_run_until(l, is_done, &a, 5000));
    assert_false(never.is_done);
    while (!(r = http_client_send(client, &request, on_answer, &never, &call)))
        assert_true(++count <= HTTP_CALLS_MAX);
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(count, HTTP_CALLS_MAX);
    http_client_free(client);
    server_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_connection_is_kept_and_headers_are_sent),
        cmocka_unit_test(test_cancel_and_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
