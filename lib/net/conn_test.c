#include "lib/net/conn.h"
#include "lib/net/listener.h"
#include "lib/net/loop_internal.h"
#include "lib/check/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* One end of a connection that notes what happens to it. */
struct end {
    struct conn *conn;
    char got[256];
    size_t len;
    bool is_ready, is_eof, is_dropping;
    int error;
    struct listener *listener;
};

static void on_ready(void *user)
{
    struct end *e = user;

    e->is_ready = true;
    conn_want(e->conn, CONN_READ);
}

static void on_readable(void *user)
{
    struct end *e = user;
    ssize_t n = conn_read(e->conn, e->got + e->len, sizeof(e->got) - e->len);

    if (n > 0) {
        e->len += (size_t)n;
        return;
    }
    if (n == -EAGAIN)
        return;
    e->is_eof = n == 0;
    e->error = (int)n;
    conn_want(e->conn, 0);
}

static void on_failed(void *user, int error)
{
    struct end *e = user;

    e->error = error;
    conn_free(TAKE(e->conn));
}

static const struct conn_handlers handlers = {
    .on_ready = on_ready, .on_readable = on_readable, .on_failed = on_failed,
};

static bool is_ready(void *arg) { return ((struct end *)arg)->is_ready; }
static bool is_eof(void *arg) { return ((struct end *)arg)->is_eof; }
static bool is_error(void *arg) { return ((struct end *)arg)->error < 0; }
static bool has_5(void *arg) { return ((struct end *)arg)->len == 5; }

struct pair {
    struct loop *loop;
    struct end a, b;
};

static const struct conn_options plain = { .is_abortive = false };

static void on_accept(void *user, int fd, const struct endpoint *peer)
{
    struct pair *p = user;

    assert_int_equal(peer->kind, ENDPOINT_IP);
    assert_int_equal(conn_adopt(p->loop, fd, &plain, &handlers, &p->b, &p->b.conn), 0);
    listener_free(TAKE(p->b.listener));
}

static void pair_open(struct pair *p, const struct conn_options *dial)
{
    struct listener_config config = { .on_accept = on_accept, .user = p };
    unsigned char memory[256];
    struct endpoint at;
    struct buf err;

    *p = (struct pair){ 0 };
    buf_init_fixed(&err, memory, sizeof(memory));
    assert_int_equal(loop_new(&p->loop), 0);
    assert_true(endpoint_parse(SPAN("127.0.0.1:0"), &config.at));
    assert_int_equal(listener_open(p->loop, &config, &p->b.listener, &err), 0);
    at = listener_endpoint(p->b.listener);
    assert_int_not_equal(at.port, 0);
    assert_int_equal(conn_dial(p->loop, &at, dial, &handlers, &p->a, &p->a.conn), 0);
    assert_true(loop_run_until(p->loop, is_ready, &p->a, 2000));
    assert_true(loop_run_until(p->loop, is_ready, &p->b, 2000));
}

static void pair_close(struct pair *p)
{
    conn_free(p->a.conn);
    conn_free(p->b.conn);
    loop_free(p->loop);
}

static void test_bytes_and_half_close(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, &plain);
    assert_int_equal(conn_write(p.a.conn, "hello", 5), 5);
    conn_shutdown_write(p.a.conn);
    assert_int_equal(conn_write(p.a.conn, "x", 1), -EPIPE);
    assert_true(loop_run_until(p.loop, is_eof, &p.b, 2000));
    assert_memory_equal(p.b.got, "hello", 5);
    assert_int_equal(conn_write(p.b.conn, "world", 5), 5);
    conn_want(p.a.conn, CONN_READ);
    pair_close(&p);
}

static void test_answer_after_half_close(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, &plain);
    conn_shutdown_write(p.a.conn);
    assert_true(loop_run_until(p.loop, is_eof, &p.b, 2000));
    assert_int_equal(conn_write(p.b.conn, "world", 5), 5);
    assert_true(loop_run_until(p.loop, has_5, &p.a, 2000));
    assert_memory_equal(p.a.got, "world", 5);
    pair_close(&p);
}

static void test_reset_is_an_error(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, &plain);
    conn_reset(TAKE(p.a.conn));
    assert_true(loop_run_until(p.loop, is_error, &p.b, 2000));
    assert_int_equal(p.b.error, -ECONNRESET);
    pair_close(&p);
}

static void test_dropping_an_abortive_one_is_an_error(void **state)
{
    struct conn_options abortive = { .is_abortive = true };
    struct pair p;

    (void)state;
    pair_open(&p, &abortive);
    conn_free(TAKE(p.a.conn));
    assert_true(loop_run_until(p.loop, is_error, &p.b, 2000));
    assert_int_equal(p.b.error, -ECONNRESET);
    pair_close(&p);
}

static void test_close_of_an_abortive_one_is_clean(void **state)
{
    struct conn_options abortive = { .is_abortive = true };
    struct pair p;

    (void)state;
    pair_open(&p, &abortive);
    assert_int_equal(conn_write(p.a.conn, "hello", 5), 5);
    /* Input that it never reads would turn a plain close(2) into an RST. */
    assert_int_equal(conn_write(p.b.conn, "input", 5), 5);
    conn_close(TAKE(p.a.conn));
    assert_true(loop_run_until(p.loop, is_eof, &p.b, 2000));
    assert_memory_equal(p.b.got, "hello", 5);
    pair_close(&p);
}

static void test_dial_refused(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct end e = { 0 };
    struct endpoint nowhere;

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    assert_true(endpoint_parse(SPAN("127.0.0.1:1"), &nowhere));
    assert_int_equal(conn_dial(l, &nowhere, &plain, &handlers, &e, &e.conn), 0);
    assert_true(loop_run_until(l, is_error, &e, 2000));
    assert_int_equal(e.error, -ECONNREFUSED);
}

static void test_released_descriptor_lives_on(void **state)
{
    struct pair p;
    int fd;

    (void)state;
    pair_open(&p, &plain);
    fd = conn_release_fd(TAKE(p.a.conn));
    assert_true(fd >= 0);
    assert_int_equal(conn_adopt(p.loop, fd, &plain, &handlers, &p.a, &p.a.conn), 0);
    assert_int_equal(conn_write(p.b.conn, "hello", 5), 5);
    assert_true(loop_run_until(p.loop, has_5, &p.a, 2000));
    pair_close(&p);
}

static void on_accept_nobody(void *user, int fd, const struct endpoint *peer)
{
    (void)user, (void)peer;
    close(fd);
}

static void test_taken_address_names_its_owner(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct listener_config config = { .on_accept = on_accept_nobody };
    struct listener *first, *second;
    unsigned char memory[256];
    char expected[64];
    struct buf err;

    (void)state;
    buf_init_fixed(&err, memory, sizeof(memory));
    assert_int_equal(loop_new(&l), 0);
    assert_true(endpoint_parse(SPAN("127.0.0.1:0"), &config.at));
    assert_int_equal(listener_open(l, &config, &first, &err), 0);
    config.at = listener_endpoint(first);
    assert_int_equal(listener_open(l, &config, &second, &err), -EADDRINUSE);
    snprintf(expected, sizeof(expected), "held by process %d (conn_test)", (int)getpid());
    assert_non_null(strstr(buf_text(&err), expected));
    listener_free(first);
}

static void test_only_one_process_shares(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct listener_config config = { .on_accept = on_accept_nobody, .is_shared = true };
    struct listener *first, *second, *third;
    unsigned char memory[256];
    struct buf err;
    pid_t child;
    int status;

    (void)state;
    buf_init_fixed(&err, memory, sizeof(memory));
    assert_int_equal(loop_new(&l), 0);
    assert_true(endpoint_parse(SPAN("127.0.0.1:0"), &config.at));
    assert_int_equal(listener_open(l, &config, &first, &err), 0);
    config.at = listener_endpoint(first);
    assert_int_equal(listener_open(l, &config, &second, &err), 0);
    child = fork();
    if (!child) {
        for (int fd = 3; fd < 256; fd++)
            close(fd);
        if (loop_new(&l))
            _exit(2);
        _exit(listener_open(l, &config, &third, &err) == -EADDRINUSE ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    listener_free(first);
    listener_free(second);
}

static void test_unix_listener(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct listener_config config = { .on_accept = on_accept_nobody };
    char path[] = "/tmp/adit-conn-test-XXXXXX", text[64];
    struct end e = { 0 };
    struct listener *s;
    struct buf err;
    unsigned char memory[256];

    (void)state;
    assert_non_null(mkdtemp(path));
    snprintf(text, sizeof(text), "unix:%s/s", path);
    buf_init_fixed(&err, memory, sizeof(memory));
    assert_int_equal(loop_new(&l), 0);
    assert_true(endpoint_parse(span_str(text), &config.at));
    assert_int_equal(listener_open(l, &config, &s, &err), 0);
    assert_int_equal(conn_dial(l, &config.at, &plain, &handlers, &e, &e.conn), 0);
    assert_true(loop_run_until(l, is_eof, &e, 2000));
    conn_free(e.conn);
    listener_free(s);
    assert_int_equal(access(text + 5, F_OK), -1);
    rmdir(path);
}

/* What is no epoll set: the kernel takes no descriptor.  Gives back the one that was there. */
static int break_poller(struct loop *l)
{
    int kept = l->poller;

    l->poller = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(l->poller >= 0);
    return kept;
}

static void mend_poller(struct loop *l, int kept)
{
    close(l->poller);
    l->poller = kept;
}

static void test_dial_without_a_watch_fails(void **state)
{
    AUTO(loop_freep) struct loop *l = NULL;
    struct endpoint at;
    struct end e = { 0 };
    int kept;

    (void)state;
    assert_int_equal(loop_new(&l), 0);
    assert_true(endpoint_parse(SPAN("127.0.0.1:9"), &at));
    kept = break_poller(l);
    assert_int_equal(conn_dial(l, &at, &plain, &handlers, &e, &e.conn), 0);
    assert_true(loop_run_until(l, is_error, &e, 2000));
    assert_int_equal(e.error, -EINVAL);
    mend_poller(l, kept);
}

static void test_ready_without_a_watch_is_an_error(void **state)
{
    struct pair p;
    int kept;

    (void)state;
    pair_open(&p, &plain);
    conn_want(p.b.conn, 0);
    kept = break_poller(p.loop);
    conn_want(p.b.conn, CONN_READ | CONN_WRITE);
    assert_true(loop_run_until(p.loop, is_error, &p.b, 2000));
    assert_int_equal(p.b.error, -EINVAL);
    assert_int_equal(conn_write(p.b.conn, "x", 1), -EINVAL);
    mend_poller(p.loop, kept);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_and_half_close),
        cmocka_unit_test(test_answer_after_half_close),
        cmocka_unit_test(test_reset_is_an_error),
        cmocka_unit_test(test_dropping_an_abortive_one_is_an_error),
        cmocka_unit_test(test_close_of_an_abortive_one_is_clean),
        cmocka_unit_test(test_dial_refused),
        cmocka_unit_test(test_released_descriptor_lives_on),
        cmocka_unit_test(test_taken_address_names_its_owner),
        cmocka_unit_test(test_only_one_process_shares),
        cmocka_unit_test(test_unix_listener),
        cmocka_unit_test(test_dial_without_a_watch_fails),
        cmocka_unit_test(test_ready_without_a_watch_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
