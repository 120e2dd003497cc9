#include "controlplane/http/server_internal.h"
#include "controlplane/http/stream.h"
#include "lib/check/check.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>

/* ---- a server with routes of its own ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_open;
    int runs;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

#define GATE_WAIT_S 30

static void gate_set(bool is_open)
{
    pthread_mutex_lock(&gate.lock);
    gate.is_open = is_open;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void gate_wait_runs(int runs)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += GATE_WAIT_S;
    pthread_mutex_lock(&gate.lock);
    while (gate.runs < runs && pthread_cond_timedwait(&gate.changed, &gate.lock, &until) == 0)
        ;
    assert_true(gate.runs >= runs);
    pthread_mutex_unlock(&gate.lock);
}

static void on_gate(const struct route *route, struct request *req, struct response *res)
{
    (void)route;
    (void)req;
    pthread_mutex_lock(&gate.lock);
    gate.runs++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.is_open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    res->status = 204;
}

static void on_echo(const struct route *route, struct request *req, struct response *res)
{
    struct span q = SPAN("-");

    (void)request_query(req, "q", &q);
    buf_printf(&res->body, "{\"op\":\"%s\",\"p\":\"" SPAN_FMT "\",\"q\":\"" SPAN_FMT "\",\"n\":%zu}",
               route->operation, SPAN_ARG(req->params[0]), SPAN_ARG(q), req->body.n);
    res->status = 200;
}

static void on_tagged(const struct route *route, struct request *req, struct response *res)
{
    (void)route;
    if (strcmp(req->method, "PATCH") == 0 && !request_matches(req, 7, res))
        return;
    response_etag(res, 7);
    buf_put_str(&res->body, "{}");
    res->status = 200;
}

static void on_nothing(const struct route *route, struct request *req, struct response *res)
{
    (void)route;
    (void)req;
    (void)res;
}

static void on_injection(const struct route *route, struct request *req, struct response *res)
{
    (void)route;
    response_header(res, "Location", "/x/" SPAN_FMT "\r\nEvil: 1", SPAN_ARG(req->params[0]));
    res->status = 201;
}

static void on_poll(const struct route *route, struct request *req, struct response *res)
{
    (void)route;
    if (req->is_woken || req->is_expired) {
        buf_put_str(&res->body, req->is_woken ? "\"woken\"" : "\"expired\"");
        res->status = 200;
        return;
    }
    pthread_mutex_lock(&gate.lock);
    gate.runs++;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    response_park(res, req->params[0].p[0] == 's' ? 50 : 20000);
}

/* An answer that goes on, for the test to hold. */
static _Atomic(struct stream *) flow;

static void on_flow(const struct route *route, struct request *req, struct response *res)
{
    (void)route;
    atomic_store(&flow, response_stream(req, res, "text/plain", 4096));
}

static bool on_authenticate(void *ctx, struct request *req, struct response *res)
{
    struct span token = request_header(req, "Authorization");

    (void)ctx;
    (void)res;
    /* Asked again: whoever writes meanwhile is not held up. */
    if (atomic_load(&flow) && stream_write(atomic_load(&flow), SPAN("written while asked\n")) == STREAM_E_FULL)
        return false;
    if (!span_starts(token, SPAN("Bearer ")))
        return false;
    token = span_skip(token, 7);
    snprintf(req->principal.id, sizeof(req->principal.id), SPAN_FMT, SPAN_ARG(span_first(token, 26)));
    req->principal.roles = span_eq(token, SPAN("root")) ? ROLE_ADMIN : ROLE_USER;
    snprintf(req->principal.scopes, sizeof(req->principal.scopes), "%s",
             span_eq(token, SPAN("narrow")) ? "b:read a:write" : "*:*");
    return true;
}

static const struct route routes[] = {
    { "GET", "/a", "a.list", NULL, 0, ROUTE_PUBLIC, 0, "q r", 0, on_echo, NULL, NULL },
    { "POST", "/a", "a.create", NULL, 0, ROUTE_PUBLIC, 100, NULL, 0, on_echo, NULL, NULL },
    { "GET", "/a/{id}", "a.get", NULL, 0, ROUTE_PUBLIC, 0, NULL, 0, on_echo, NULL, NULL },
    { "GET", "/a/me", "a.me", NULL, 0, ROUTE_PUBLIC, 0, NULL, 0, on_echo, NULL, NULL },
    { "GET", "/tagged", "t.get", NULL, 0, ROUTE_PUBLIC, 0, NULL, 0, on_tagged, NULL, NULL },
    { "PATCH", "/tagged", "t.patch", NULL, 0, ROUTE_PUBLIC, 100, NULL, 0, on_tagged, NULL, NULL },
    { "GET", "/mine", "mine.get", "a:read", ROLE_ANY, 0, 0, NULL, 0, on_echo, NULL, NULL },
    { "GET", "/flow", "flow", NULL, ROLE_ANY, 0, 0, NULL, 0, on_flow, NULL, NULL },
    { "GET", "/root", "root.get", NULL, ROLE_ADMIN, 0, 0, NULL, 0, on_echo, NULL, NULL },
    { "POST", "/once", "once", NULL, ROLE_ANY, ROUTE_IDEMPOTENT, 100, NULL, 0, on_gate, NULL, NULL },
    { "GET", "/nothing", "nothing", NULL, 0, ROUTE_PUBLIC, 0, NULL, 0, on_nothing, NULL, NULL },
    { "GET", "/inject/{x}", "inject", NULL, 0, ROUTE_PUBLIC, 0, NULL, 0, on_injection, NULL, NULL },
    { "GET", "/gate", "gate", NULL, 0, ROUTE_PUBLIC, 0, NULL, 0, on_gate, NULL, NULL },
    { "GET", "/poll/{how}", "poll", NULL, 0, ROUTE_PUBLIC | ROUTE_LONG_POLL, 0, NULL, 3, on_poll, NULL, NULL },
};

static int setup(void **state)
{
    struct server_options options = {
        .name = "test", .listen = "127.0.0.1:0", .routes = routes, .route_count = ARRAY_LEN(routes),
        .threads = 2, .slow_threads = 1, .queue_max = 2, .parked_max = 3,
        .hooks = { .authenticate = on_authenticate },
    };
    AUTO(buf_deinit) struct buf err;
    struct server *server = NULL;

    buf_init_heap(&err, 1024);
    gate.runs = 0;
    gate.is_open = true;
    assert_int_equal(server_start(&options, &server, &err), 0);
    *state = server;
    return 0;
}

static int teardown(void **state)
{
    gate_set(true);
    server_free(*state);
    return 0;
}

/* ---- a client that sends bytes ---- */

static int dial(struct server *server)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(server_port(server)),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&sa, sizeof(sa)), 0);
    return fd;
}

static void say(int fd, const char *text, size_t n)
{
    assert_int_equal(send(fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* The answer up to the end of its body, as Content-Length says. */
static void hear(int fd, char *answer, size_t size, bool is_head)
{
    size_t len = 0;

    memset(answer, 0, size);
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        const char *end = strstr(answer, "\r\n\r\n"), *length;
        ssize_t n;

        if (end) {
            length = strstr(answer, "Content-Length: ");
            if (is_head || !length || len >= (size_t)(end + 4 - answer) + strtoul(length + 16, NULL, 10))
                return;
        }
        assert_int_equal(poll(&p, 1, 5000), 1);
        n = recv(fd, answer + len, size - 1 - len, 0);
        if (n <= 0)
            return;
        len += (size_t)n;
    }
}

static void ask(struct server *server, const char *request, char *answer, size_t size)
{
    AUTO(fd_closep) int fd = dial(server);

    say(fd, request, strlen(request));
    hear(fd, answer, size, strncmp(request, "HEAD", 4) == 0);
}

#define H " HTTP/1.1\r\nHost: x\r\n"
#define JSON "Content-Type: application/json\r\n"

static void test_requests(void **state)
{
    static const struct {
        const char *it, *request;
        int status;
        const char *has, *lacks;
    } rows[] = {
        { "serves", "GET /a?q=1%202" H "\r\n", 200, "{\"op\":\"a.list\",\"p\":\"\",\"q\":\"1 2\"", NULL },
        { "takes plus as space in queries", "GET /a?q=a+b" H "\r\n", 200, "\"q\":\"a b\"", NULL },
        { "decodes parameters", "GET /a/x%2Fy+" H "\r\n", 200, "\"p\":\"x/y+\"", NULL },
        { "prefers the literal", "GET /a/me" H "\r\n", 200, "a.me", NULL },
        { "serves HEAD without a body", "HEAD /a" H "\r\n", 200, "Content-Length: ", "a.list" },
        { "sets security headers", "GET /a" H "\r\n", 200, "nosniff", NULL },
        { "gives a trace id", "GET /a" H "\r\n", 200, "Adit-Trace-Id: ", NULL },
        { "keeps the caller's trace id",
          "GET /a" H "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n", 200,
          "Adit-Trace-Id: 0af7651916cd43dd8448eb211c80319c", NULL },
        { "drops a malformed trace id", "GET /a" H "traceparent: 00-XYZ-b7-01\r\n\r\n", 200,
          "Adit-Trace-Id: ", "XYZ" },
        { "refuses unknown paths", "GET /b" H "\r\n", 404, "\"reason\":\"not-found\"", NULL },
        { "refuses a trailing slash", "GET /a/me/" H "\r\n", 404, "problem+json", NULL },
        { "refuses an empty parameter", "GET /a/" H "\r\n", 404, "problem+json", NULL },
        { "names what it takes", "DELETE /a" H "\r\n", 405, "Allow: GET, HEAD, POST", NULL },
        { "refuses OPTIONS", "OPTIONS /a" H "\r\n", 405, "Allow: GET", NULL },
        { "does not fall back from the literal", "POST /a/me" H "Content-Length: 0\r\n\r\n", 405,
          "Allow: GET, HEAD\r\n", NULL },
        { "refuses unknown queries", "GET /a?z=1" H "\r\n", 422, "\"pointer\":\"z\"", NULL },
        { "refuses repeated queries", "GET /a?q=1&q=2" H "\r\n", 422, "more than once", NULL },
        { "refuses bad encoding", "GET /a?q=%4" H "\r\n", 400, "not well encoded", NULL },
        { "refuses an encoded NUL", "GET /a/%00" H "\r\n", 400, "not well encoded", NULL },
        { "takes a body", "POST /a" H JSON "Content-Length: 2\r\n\r\n{}", 200, "\"n\":2", NULL },
        { "takes a charset", "POST /a" H "Content-Type: Application/JSON; charset=utf-8\r\n"
          "Content-Length: 2\r\n\r\n{}", 200, "\"n\":2", NULL },
        { "takes chunks", "POST /a" H JSON "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200,
          "\"n\":2", NULL },
        { "refuses another media type", "POST /a" H "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
          415, "unsupported-media-type", NULL },
        { "refuses no media type", "POST /a" H "Content-Length: 2\r\n\r\n{}", 415, "unsupported", NULL },
        { "wants a body", "POST /a" H JSON "Content-Length: 0\r\n\r\n", 400, "takes a body", NULL },
        { "refuses a body where none is taken", "GET /a" H "Content-Length: 2\r\n\r\n{}", 400,
          "takes no body", NULL },
        { "refuses a very long body by its head", "POST /a" H JSON "Content-Length: 20000000\r\n\r\n", 413,
          NULL, NULL },
        { "refuses a long body before it is sent", "POST /a" H JSON "Expect: 100-continue\r\n"
          "Content-Length: 2000000\r\n\r\n", 413, NULL, NULL },
        { "refuses a number that is none", "POST /a" H JSON "Content-Length: 2x\r\n\r\n{}", 400, NULL, NULL },
        { "wants a token", "GET /mine" H "\r\n", 401, "WWW-Authenticate: Bearer", NULL },
        { "takes a token", "GET /mine" H "Authorization: Bearer me\r\n\r\n", 200, "mine.get", NULL },
        { "wants the scope", "GET /mine" H "Authorization: Bearer narrow\r\n\r\n", 403, "a:read", NULL },
        { "wants the role", "GET /root" H "Authorization: Bearer me\r\n\r\n", 403, "forbidden", NULL },
        { "takes the role", "GET /root" H "Authorization: Bearer root\r\n\r\n", 200, "root.get", NULL },
        { "shows the tag", "GET /tagged" H "\r\n", 200, "ETag: \"7\"", NULL },
        { "answers 304", "GET /tagged" H "If-None-Match: \"3\", W/\"7\"\r\n\r\n", 304, "ETag: \"7\"", "{}" },
        { "answers 200 to another tag", "GET /tagged" H "If-None-Match: \"8\"\r\n\r\n", 200, "{}", NULL },
        { "wants If-Match", "PATCH /tagged" H JSON "Content-Length: 2\r\n\r\n{}", 428, "precondition-required", NULL },
        { "refuses a stale tag", "PATCH /tagged" H JSON "If-Match: \"6\"\r\nContent-Length: 2\r\n\r\n{}", 412,
          "version 7", NULL },
        { "takes the tag", "PATCH /tagged" H "Content-Type: application/merge-patch+json\r\n"
          "If-Match: \"7\"\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", NULL },
        { "takes any tag", "PATCH /tagged" H JSON "If-Match: *\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", NULL },
        { "is 500 without an answer", "GET /nothing" H "\r\n", 500, "\"reason\":\"internal\"", NULL },
        { "lets no line break into headers", "GET /inject/a" H "\r\n", 500, "internal", "Evil" },
        { "refuses spaces in keys", "POST /once" H JSON "Authorization: Bearer me\r\nIdempotency-Key: a b\r\n"
          "Content-Length: 2\r\n\r\n{}", 400, "Idempotency-Key", NULL },
        { "expires polls", "GET /poll/short" H "\r\n", 200, "expired", NULL },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char answer[8192], status[16];

        check_row(rows[i].it);
        ask(*state, rows[i].request, answer, sizeof(answer));
        snprintf(status, sizeof(status), "HTTP/1.1 %d ", rows[i].status);
        assert_memory_equal(answer, status, strlen(status));
        if (rows[i].has)
            assert_non_null(strstr(answer, rows[i].has));
        if (rows[i].lacks)
            assert_null(strstr(answer, rows[i].lacks));
        /* A good request passes afterwards. */
        ask(*state, "GET /a" H "\r\n", answer, sizeof(answer));
        assert_memory_equal(answer, "HTTP/1.1 200", 12);
    }
}

static void test_long_uri(void **state)
{
    char request[6000], answer[8192];

    memset(request, 'a', sizeof(request));
    memcpy(request, "GET /", 5);
    snprintf(request + 5000, 100, H "\r\n");
    ask(*state, request, answer, sizeof(answer));
    assert_memory_equal(answer, "HTTP/1.1 414", 12);
    assert_non_null(strstr(answer, "problem+json"));
}

/* Chunked, so that only counting can notice; the connection goes on afterwards. */
static void test_counted_body(void **state)
{
    AUTO(fd_closep) int fd = dial(*state);
    char request[512], answer[4096];
    int n;

    n = snprintf(request, sizeof(request), "POST /a" H JSON "Transfer-Encoding: chunked\r\n\r\n"
                 "65\r\n%0101d\r\n0\r\n\r\n", 1);
    say(fd, request, (size_t)n);
    hear(fd, answer, sizeof(answer), false);
    assert_memory_equal(answer, "HTTP/1.1 413", 12);
    say(fd, "GET /a" H "\r\n", strlen("GET /a" H "\r\n"));
    hear(fd, answer, sizeof(answer), false);
    assert_memory_equal(answer, "HTTP/1.1 200", 12);
}

/* All of it is sent before the answer is read, as most clients do. */
static void test_long_body(void **state)
{
    AUTO(fd_closep) int fd = dial(*state);
    static char body[3000000];
    static const char head[] = "POST /a" H JSON "Content-Length: 3000000\r\n\r\n";
    char answer[4096];

    memset(body, ' ', sizeof(body));
    say(fd, head, strlen(head));
    say(fd, body, sizeof(body));
    hear(fd, answer, sizeof(answer), false);
    assert_memory_equal(answer, "HTTP/1.1 413", 12);
}

static void test_overload(void **state)
{
    static const char request[] = "GET /gate" H "\r\n";
    int fds[4];
    char answer[4096];
    struct server_stats stats = { 0 };

    gate_set(false);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {      /* two run, two wait */
        fds[i] = dial(*state);
        say(fds[i], request, strlen(request));
        if (i == 1)
            gate_wait_runs(2);
    }
    while (stats.waiting < 2)
        server_get_stats(*state, &stats);
    ask(*state, request, answer, sizeof(answer));
    assert_memory_equal(answer, "HTTP/1.1 503", 12);
    assert_non_null(strstr(answer, "Retry-After: 1"));
    gate_set(true);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        hear(fds[i], answer, sizeof(answer), false);
        assert_memory_equal(answer, "HTTP/1.1 204", 12);
        close(fds[i]);
    }
}

static void test_idempotency_in_flight(void **state)
{
    static const char request[] = "POST /once" H JSON "Authorization: Bearer me\r\nIdempotency-Key: k1\r\n"
                                  "Content-Length: 2\r\n\r\n{}";
    AUTO(fd_closep) int fd = dial(*state);
    char answer[4096];

    gate_set(false);
    say(fd, request, strlen(request));
    gate_wait_runs(1);
    ask(*state, request, answer, sizeof(answer));
    assert_memory_equal(answer, "HTTP/1.1 409", 12);
    gate_set(true);
    hear(fd, answer, sizeof(answer), false);
    assert_memory_equal(answer, "HTTP/1.1 204", 12);
    ask(*state, request, answer, sizeof(answer));
    assert_memory_equal(answer, "HTTP/1.1 204", 12);
}

static void test_polls(void **state)
{
    static const char request[] = "GET /poll/long" H "\r\n";
    struct server_stats stats = { 0 };
    char answer[4096];
    int fds[3];

    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = dial(*state);
        say(fds[i], request, strlen(request));
        gate_wait_runs((int)i + 1);     /* one by one: the queue is short */
    }
    while (stats.parked < 3)
        server_get_stats(*state, &stats);
    ask(*state, request, answer, sizeof(answer));
    assert_memory_equal(answer, "HTTP/1.1 503", 12);    /* parked_max */
    ask(*state, "GET /a" H "\r\n", answer, sizeof(answer));
    assert_memory_equal(answer, "HTTP/1.1 200", 12);    /* no thread is held */
    server_ring(*state, 2);                             /* another topic wakes nobody */
    server_get_stats(*state, &stats);
    assert_int_equal(stats.parked, 3);
    server_ring(*state, 3);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        hear(fds[i], answer, sizeof(answer), false);
        assert_non_null(strstr(answer, "woken"));
        close(fds[i]);
    }
}

static void test_drain(void **state)
{
    AUTO(fd_closep) int running = dial(*state), polling = dial(*state);
    char answer[4096];

    gate_set(false);
    say(running, "GET /gate" H "\r\n", strlen("GET /gate" H "\r\n"));
    say(polling, "GET /poll/long" H "\r\n", strlen("GET /poll/long" H "\r\n"));
    gate_wait_runs(2);
    assert_false(server_drain(*state, 50));     /* one still runs */
    hear(polling, answer, sizeof(answer), false);
    assert_non_null(strstr(answer, "expired"));
    gate_set(true);
    hear(running, answer, sizeof(answer), false);
    assert_memory_equal(answer, "HTTP/1.1 204", 12);
    assert_true(server_drain(*state, 5000));
}

/* Clients that leave while their request runs or is parked. */
static void test_leavers(void **state)
{
    char answer[4096];

    gate_set(false);
    for (int i = 0; i < 2; i++) {
        int fd = dial(*state);

        say(fd, i ? "GET /gate" H "\r\n" : "GET /poll/long" H "\r\n",
            strlen(i ? "GET /gate" H "\r\n" : "GET /poll/long" H "\r\n"));
        gate_wait_runs(i + 1);
        close(fd);
    }
    server_ring(*state, 3);
    gate_set(true);
    ask(*state, "GET /a" H "\r\n", answer, sizeof(answer));
    assert_memory_equal(answer, "HTTP/1.1 200", 12);
    assert_true(server_drain(*state, 5000));
}

/* Who listens is asked again who he is while the stream goes on, and by copies when it is gone. */
static void test_ask_again(void **state)
{
    struct principal principal = { .id = "" };
    char text[2048] = "";
    size_t len = 0;
    int fd = dial(*state);

    atomic_store(&flow, NULL);
    say(fd, "GET /flow" H "Authorization: Bearer one\r\n\r\n", strlen("GET /flow" H "Authorization: Bearer one\r\n\r\n"));
    while (!atomic_load(&flow))
        sched_yield();
    assert_int_equal(stream_authenticate(atomic_load(&flow), &principal), REASON_NONE);
    assert_string_equal(principal.id, "one");
    while (!strstr(text, "written while asked")) {
        ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);

        assert_true(n > 0);
        len += (size_t)n;
        text[len] = '\0';
    }
    close(fd);
    while (!stream_is_gone(atomic_load(&flow)))
        if (stream_write(atomic_load(&flow), SPAN("x")))
            sched_yield();
    assert_int_equal(stream_authenticate(atomic_load(&flow), &principal), REASON_NONE);
    assert_string_equal(principal.id, "one");
    stream_unref(atomic_exchange(&flow, NULL));
}

static void test_rates(void **state)
{
    struct rate_table t;
    char name[32];

    (void)state;
    rate_init(&t, 2, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rate_take(&t, SPAN("a"), 1000), 0);
    assert_int_equal(rate_take(&t, SPAN("a"), 1000), 1);
    assert_int_equal(rate_take(&t, SPAN("b"), 1000), 0);
    assert_int_equal(rate_take(&t, SPAN("a"), 1500), 0);
    assert_int_equal(rate_take(&t, SPAN("a"), 1500), 1);
    for (int i = 0; i < 10000; i++) {           /* strangers cannot fill the memory */
        snprintf(name, sizeof(name), "s%d", i);
        assert_int_equal(rate_take(&t, span_str(name), 2000), 0);
    }
    assert_true(t.map.count <= 8192);
    rate_deinit(&t);
}

static void test_port_taken(void **state)
{
    struct server_options options = { .name = "test", .routes = routes, .route_count = 1 };
    AUTO(buf_deinit) struct buf err;
    struct server *server = NULL;
    char listen[32];

    buf_init_heap(&err, 1024);
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", server_port(*state));
    options.listen = listen;
    assert_int_equal(server_start(&options, &server, &err), -EADDRINUSE);
    assert_non_null(strstr(buf_text(&err), listen));
}

#define HTTP_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_requests), HTTP_TEST(test_long_uri), HTTP_TEST(test_counted_body),
        HTTP_TEST(test_overload), HTTP_TEST(test_idempotency_in_flight), HTTP_TEST(test_polls),
        HTTP_TEST(test_drain),    HTTP_TEST(test_leavers),  cmocka_unit_test(test_rates),
        HTTP_TEST(test_port_taken), HTTP_TEST(test_long_body), HTTP_TEST(test_ask_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
