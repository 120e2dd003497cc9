#include "controlplane/http/server.h"
#include "lib/check/check.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SHORT_MS 300
#define LONG_MS 2000                    /* in which a loaded machine sends a head */
#define PATIENCE_MS 20000
#define LARGE ((size_t)32 << 20)        /* more than sockets hold */

static _Atomic(unsigned) told;

static void on_ok(const struct route *route, struct request *req, struct response *res)
{
    (void)route;
    (void)req;
    buf_put_str(&res->body, "{}");
    res->status = 200;
}

static void on_large(const struct route *route, struct request *req, struct response *res)
{
    (void)route;
    (void)req;
    while (res->body.len < LARGE && !buf_error(&res->body))
        buf_put_str(&res->body, "it goes on and on and on and on and on and on and on and on and on");
    res->status = 200;
}

static void on_wait(const struct route *route, struct request *req, struct response *res)
{
    if (req->is_expired)
        on_ok(route, req, res);
    else
        response_park(res, LONG_MS + 500);
}

static void on_refused(void *ctx, const struct request *req, const struct response *res)
{
    (void)ctx;
    assert_true(addr_eq(&req->peer, &(struct addr){ 0 }) || addr_is_v4(&req->peer));
    told += res->problem.reason == REASON_REQUEST_TIMEOUT;
}

static const struct route routes[] = {
    { "GET", "/ok", "ok", NULL, 0, ROUTE_PUBLIC, 0, NULL, 0, on_ok, NULL, NULL },
    { "POST", "/body", "body", NULL, 0, ROUTE_PUBLIC | ROUTE_ANY_TYPE, 10000, NULL, 0, on_ok, NULL, NULL },
    { "GET", "/large", "large", NULL, 0, ROUTE_PUBLIC, 0, NULL, 0, on_large, NULL, NULL },
    { "GET", "/wait", "wait", NULL, 0, ROUTE_PUBLIC | ROUTE_LONG_POLL, 0, NULL, 0, on_wait, NULL, NULL },
};

static int start(void **state, unsigned ms, unsigned idle_s)
{
    const struct server_options options = {
        .name = "test", .listen = "127.0.0.1:0", .routes = routes, .route_count = ARRAY_LEN(routes),
        .idle_s = idle_s, .head_ms = ms, .body_ms = ms, .answer_ms = ms,
        .hooks = { .refused = on_refused },
    };
    AUTO(buf_deinit) struct buf err;
    struct server *server = NULL;

    buf_init_heap(&err, 1024);
    told = 0;
    assert_int_equal(server_start(&options, &server, &err), 0);
    *state = server;
    return 0;
}

static int setup_short(void **state)
{
    return start(state, SHORT_MS, 4);
}

static int setup_long(void **state)
{
    return start(state, LONG_MS, 60);
}

static int teardown(void **state)
{
    server_free(*state);
    return 0;
}

static int dial(struct server *server)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(server_port(server)),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&sa, sizeof(sa)), 0);
    return fd;
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t connections(struct server *server)
{
    struct server_stats stats;

    server_get_stats(server, &stats);
    return stats.connections;
}

static uint64_t late(struct server *server)
{
    struct server_stats stats;

    server_get_stats(server, &stats);
    assert_int_equal(stats.late, stats.by_reason[REASON_REQUEST_TIMEOUT]);
    return stats.late;
}

#define HEAD " HTTP/1.1\r\nHost: x\r\n"

static const struct {
    const char *it, *first, *more;
} slow[] = {
    { "ends who says nothing", "", "" },
    { "ends who sends a head byte by byte", "GET /ok" HEAD "X: ", "y" },
    { "ends who sends empty lines", "", "\r\n" },
    { "ends who sends a body byte by byte", "POST /body" HEAD "Content-Length: 10000\r\n\r\n", "y" },
    { "ends who sends a body in chunks of one byte", "POST /body" HEAD "Transfer-Encoding: chunked\r\n\r\n",
      "1\r\ny\r\n" },
    { "ends who sends his second head byte by byte", "GET /ok" HEAD "\r\nGET /ok" HEAD "X: ", "y" },
    { "ends who does not take his answer", "GET /large" HEAD "\r\n", "" },
};
#define SLOW ARRAY_LEN(slow)
#define NEVER_READS (SLOW - 1)

/* Says its words over and over and takes what comes; false once the server has ended it. */
static bool trickle(int fd, size_t i)
{
    char answer[4096];
    ssize_t n;

    (void)!send(fd, slow[i].more, strlen(slow[i].more), MSG_NOSIGNAL);
    n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static void test_late(void **state)
{
    struct server *server = *state;
    uint64_t until_ms = now_ms() + PATIENCE_MS;
    bool is_open[SLOW];
    int fds[SLOW];

    for (size_t i = 0; i < SLOW; i++) {
        fds[i] = dial(server);
        is_open[i] = true;
        assert_int_equal(send(fds[i], slow[i].first, strlen(slow[i].first), MSG_NOSIGNAL), strlen(slow[i].first));
    }
    while (now_ms() < until_ms && late(server) < SLOW) {
        for (size_t i = 0; i < NEVER_READS; i++)
            is_open[i] = is_open[i] && trickle(fds[i], i);
        poll(NULL, 0, 30);
    }
    for (size_t i = 0; i < NEVER_READS; i++) {
        check_row(slow[i].it);
        while (is_open[i] && now_ms() < until_ms)
            is_open[i] = trickle(fds[i], i);
        assert_false(is_open[i]);
    }
    check_row(slow[NEVER_READS].it);
    while (connections(server) && now_ms() < until_ms)
        poll(NULL, 0, 10);
    assert_int_equal(connections(server), 0);
    assert_int_equal(late(server), SLOW);
    assert_int_equal(told, SLOW);
    for (size_t i = 0; i < SLOW; i++)
        close(fds[i]);
}

static void test_in_time(void **state)
{
    static const struct {
        const char *it, *request;
        unsigned times;
    } rows[] = {
        { "bears a request whose answer takes longer than its head may", "GET /wait" HEAD "\r\n", 1 },
        { "bears one that is used again after a pause", "GET /ok" HEAD "\r\n", 2 },
    };
    struct server *server = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(fd_closep) int fd = dial(server);

        check_row(rows[i].it);
        for (unsigned times = 0; times < rows[i].times; times++) {
            struct pollfd p = { .fd = fd, .events = POLLIN };
            char answer[4096] = "";

            poll(NULL, 0, times ? LONG_MS + 500 : 0);
            assert_int_equal(send(fd, rows[i].request, strlen(rows[i].request), MSG_NOSIGNAL), strlen(rows[i].request));
            assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
            assert_true(recv(fd, answer, sizeof(answer) - 1, 0) > 0);
            assert_non_null(strstr(answer, " 200 "));
        }
    }
    assert_int_equal(late(server), 0);
    assert_int_equal(told, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_late, setup_short, teardown),
        cmocka_unit_test_setup_teardown(test_in_time, setup_long, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
