#include "lib/net/resolver.h"
#include "lib/net/socket.h"
#include "lib/check/check.h"

#include <netinet/in.h>
#include <stdio.h>

/*
 * A small DNS server: answers "two.test" with two addresses (A and AAAA), "none.test" with
 * NXDOMAIN, and is silent about anything else.
 */
struct server {
    struct watch *watch;
    int fd;
    char address[32];
    unsigned asked;
};

static size_t answer_to(const unsigned char *q, size_t n, unsigned char *a)
{
    bool is_two = n > 17 && !memcmp(q + 12, "\3two\4test", 9);
    bool is_none = n > 17 && !memcmp(q + 12, "\4none\4test", 10);
    unsigned type = is_two ? q[12 + 10 + 1] : 0;
    size_t at = is_two ? 12 + 10 + 4 : 12 + 11 + 4;

    if (!is_two && !is_none)
        return 0;
    memcpy(a, q, at);
    a[2] = 0x81;
    a[3] = is_none ? 0x83 : 0x80;
    a[7] = is_two ? 1 : 0;
    a[10] = a[11] = 0;
    if (!is_two)
        return at;
    memcpy(a + at, "\xc0\x0c\0\0\0\1\0\0\0\x1e\0\x04\x0a\0\0\x07", 16);
    a[at + 3] = (unsigned char)type;
    if (type == 1)
        return at + 16;
    a[at + 11] = 16;
    memset(a + at + 12, 0, 16);
    memcpy(a + at + 12, "\x20\x01\x0d\xb8", 4);
    return at + 28;
}

static void on_question(void *arg, unsigned events)
{
    struct server *s = arg;
    unsigned char q[512], a[600];
    struct sockaddr_storage from;
    socklen_t len = sizeof(from);
    ssize_t n = recvfrom(s->fd, q, sizeof(q), 0, (struct sockaddr *)&from, &len);
    size_t answer;

    (void)events;
    if (n <= 0)
        return;
    s->asked++;
    answer = answer_to(q, (size_t)n, a);
    if (answer)
        assert_int_equal(sendto(s->fd, a, answer, 0, (struct sockaddr *)&from, len), answer);
}

static void server_open(struct server *s, struct loop *l)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof(at)), 0);
    snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", socket_local(s->fd).port);
    assert_int_equal(watch_new(l, s->fd, on_question, s, &s->watch), 0);
    watch_set(s->watch, WATCH_READ);
}

struct asked {
    struct resolver_answer answer;
    bool is_done;
};

static void on_answer(void *user, const struct resolver_answer *answer)
{
    struct asked *a = user;

    assert_false(a->is_done);
    a->answer = *answer;
    a->is_done = true;
}

static bool is_done(void *arg) { return ((struct asked *)arg)->is_done; }

static void test_answers(void **state)
{
    static const struct {
        const char *it, *name;
        uint32_t deadline_ms;
        enum resolver_result result;
        size_t count;
        uint32_t ttl_s;
    } rows[] = {
        { "finds both families", "two.test", 2000, RESOLVER_OK, 2, 30 },
        { "says that there is no such name", "none.test", 2000, RESOLVER_NO_NAME, 0, 0 },
        { "gives up at the deadline", "silent.test", 60, RESOLVER_TIMEOUT, 0, 0 },
        { "answers a literal as it stands", "10.1.2.3", 2000, RESOLVER_OK, 1, 0 },
        { "answers an IPv6 literal", "2001:db8::9", 2000, RESOLVER_OK, 1, 0 },
        { "knows itself without asking", "localhost", 2000, RESOLVER_OK, 2, 0 },
        { "refuses a name that is too long",
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test",
          2000, RESOLVER_BAD_NAME, 0, 0 },
    };
    AUTO(loop_freep) struct loop *l = NULL;
    struct resolver_config config = { .is_search_off = true };
    struct resolver *r;
    struct server s = { 0 };

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    server_open(&s, l);
    config.servers = s.address;
    assert_int_equal(resolver_new(l, &config, &r), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct asked a = { 0 };
        struct resolver_query *q;

        check_row(rows[i].it);
        assert_int_equal(resolver_query(r, rows[i].name, rows[i].deadline_ms, on_answer, &a, &q),
                         0);
        assert_false(a.is_done);
        assert_true(loop_run_until(l, is_done, &a, 4000));
        assert_int_equal(a.answer.result, rows[i].result);
        assert_int_equal(a.answer.count, rows[i].count);
        assert_int_equal(a.answer.ttl_s, rows[i].ttl_s);
    }
    resolver_free(r);
    watch_free(s.watch);
    close(s.fd);
}

static void test_cancel_and_bound(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct resolver_config config = { .is_search_off = true };
    struct asked never = { 0 };
    struct resolver_query *q, *first = NULL;
    struct resolver *r;
    struct server s = { 0 };
    size_t count = 0;
    int e;

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    server_open(&s, l);
    config.servers = s.address;
    assert_int_equal(resolver_new(l, &config, &r), 0);
    while (!(e = resolver_query(r, "10.0.0.1", 1000, on_answer, &never, &q))) {
        if (!first)
            first = q;
        else
            resolver_cancel(q);
        if (++count > 10)
            break;
    }
    assert_int_equal(e, 0);
    resolver_cancel(first);
    while (!(e = resolver_query(r, "silent.test", 60000, on_answer, &never, &q)))
        assert_true(++count < RESOLVER_QUERIES_MAX + 100);
    assert_int_equal(e, -EAGAIN);
    resolver_free(r);
    assert_false(never.is_done);
    watch_free(s.watch);
    close(s.fd);
}

static void test_reload(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct resolver_config config = { .is_search_off = true };
    struct asked waits = { 0 }, after = { 0 };
    struct resolver_query *q, *gone;
    struct resolver *r;
    struct server s = { 0 };

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    server_open(&s, l);
    config.servers = s.address;
    assert_int_equal(resolver_new(l, &config, &r), 0);
    check_row("tells those who wait that it will not answer");
    assert_int_equal(resolver_query(r, "silent.test", 60000, on_answer, &waits, &q), 0);
    assert_int_equal(resolver_query(r, "silent.too.test", 60000, on_answer, &waits, &gone), 0);
    resolver_cancel(gone);
    assert_int_equal(resolver_reload(r), 0);
    assert_false(waits.is_done);
    assert_true(loop_run_until(l, is_done, &waits, 4000));
    assert_int_equal(waits.answer.result, RESOLVER_FAILED);

    check_row("asks the same servers afterwards");
    assert_int_equal(resolver_query(r, "two.test", 20000, on_answer, &after, &q), 0);
    assert_true(loop_run_until(l, is_done, &after, 20000));
    assert_int_equal(after.answer.count, 2);
    resolver_free(r);
    watch_free(s.watch);
    close(s.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_cancel_and_bound),
        cmocka_unit_test(test_reload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
