#include "lib/check/alloc.h"
#include "lib/net/conn.h"
#include "lib/net/listener.h"
#include "lib/net/resolver.h"
#include "lib/net/tls_fixture.h"

/* Every way out of this room for want of memory. */
struct end {
    struct conn *conn;
    bool is_ready, is_over;
    int error;
};

struct run {
    struct tls_ctx *client, *server;
    struct loop *loop;
    struct listener *listener;
    struct end a, b;
    bool is_answered;
};

static void on_ready(void *user)
{
    struct end *e = user;

    e->is_ready = true;
    conn_want(e->conn, CONN_READ);
}

static void on_failed(void *user, int error)
{
    struct end *e = user;

    e->is_over = true;
    e->error = error;
}

static void on_readable(void *user)
{
    struct end *e = user;
    char bytes[16];
    ssize_t n = conn_read(e->conn, bytes, sizeof(bytes));

    if (n == -EAGAIN)
        return;
    conn_want(e->conn, 0);
    e->is_over = true;
    e->error = n < 0 ? (int)n : 0;
}

static const struct conn_handlers handlers = {
    .on_ready = on_ready, .on_readable = on_readable, .on_failed = on_failed,
};

static void on_accept(void *user, int fd, const struct endpoint *peer)
{
    struct run *r = user;
    struct conn_options options = { .tls = r->server };

    (void)peer;
    r->b.error = conn_adopt(r->loop, fd, &options, &handlers, &r->b, &r->b.conn);
    r->b.is_over = r->b.error != 0;
}

static bool are_over(void *arg)
{
    struct run *r = arg;

    if (r->a.is_ready && r->b.is_ready && !r->b.is_over && conn_write(r->a.conn, "hello", 5) < 0)
        r->a.is_over = true;
    return r->a.is_over || r->b.is_over;
}

static int talk(struct run *r)
{
    struct listener_config config = { .on_accept = on_accept, .user = r };
    struct conn_options options = { .tls = r->client };
    unsigned char memory[128];
    struct endpoint at;
    struct buf err;
    int e;

    buf_init_fixed(&err, memory, sizeof(memory));
    assert_true(endpoint_parse(SPAN("127.0.0.1:0"), &config.at));
    e = listener_open(r->loop, &config, &r->listener, &err);
    if (e)
        return e;
    at = listener_endpoint(r->listener);
    e = conn_dial(r->loop, &at, &options, &handlers, &r->a, &r->a.conn);
    if (e)
        return e;
    assert_true(loop_run_until(r->loop, are_over, r, 5000));
    /* One end runs out of memory, the other sees the connection break. */
    return check_alloc_has_failed() ? -ENOMEM : r->b.error;
}

static int run_conns(void *data)
{
    struct run *r = data;
    int e;

    r->a = r->b = (struct end){ 0 };
    e = loop_new(&r->loop);
    if (e)
        return e;
    e = talk(r);
    conn_free(r->a.conn);
    conn_free(r->b.conn);
    listener_free(TAKE(r->listener));
    loop_free(r->loop);
    return e;
}

static void test_conns(void **state)
{
    struct tls_world w;
    struct run r = { 0 };

    (void)state;
    tls_world_open(&w);
    r.client = tls_world_ctx(&w, false, CERT_AGENT, 100, TLS_KIND(CERT_RELAY), TLS_VERIFY_REQUIRED);
    r.server = tls_world_ctx(&w, true, CERT_RELAY, 100, TLS_KIND(CERT_AGENT), TLS_VERIFY_REQUIRED);
    check_each_alloc(run_conns, &r);
    tls_ctx_unref(r.client);
    tls_ctx_unref(r.server);
    tls_world_close(&w);
}

static void on_answer(void *user, const struct resolver_answer *answer)
{
    struct run *r = user;

    assert_int_equal(answer->result, RESOLVER_OK);
    r->is_answered = true;
}

static bool is_answered(void *arg)
{
    return ((struct run *)arg)->is_answered;
}

static int run_resolver(void *data)
{
    AUTO(loop_freep) struct loop *l = NULL;
    AUTO(resolver_freep) struct resolver *resolver = NULL;
    struct resolver_config config = { .servers = "127.0.0.1" };
    struct resolver_query *q;
    struct run *r = data;
    int e = loop_new(&l);

    if (!e)
        e = resolver_new(l, &config, &resolver);
    if (!e)
        e = resolver_query(resolver, "10.0.0.1", 1000, on_answer, r, &q);
    if (!e)
        assert_true(loop_run_until(l, is_answered, r, 5000));
    return e;
}

static void test_resolver(void **state)
{
    struct run r = { 0 };

    (void)state;
    check_each_alloc(run_resolver, &r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conns),
        cmocka_unit_test(test_resolver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
