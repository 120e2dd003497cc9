#include "lib/tunnel/pair/pair_fixture.h"

#include "lib/check/alloc.h"

#include <pthread.h>

static const struct pair_options mutual = { .client_kind = CERT_AGENT };

/* Workers share nothing but what libraries keep to themselves. */
static void *run_worker(void *arg)
{
    struct pair p;

    (void)arg;
    pair_open(&p, &mutual);
    pair_dial(&p);
    assert_true(loop_run_until(p.loop, pair_is_up, &p, 10000));
    for (unsigned i = 0; i < PAIR_STREAMS; i++)
        pair_stream_open(&p, i, 1u << 20);
    assert_true(loop_run_until(p.loop, pair_are_streams_ended, &p, 20000));
    for (unsigned i = 0; i < PAIR_STREAMS; i++)
        assert_true(p.streams[i].got == 1u << 20 && !p.streams[i].is_wrong);
    pair_close(&p);
    return NULL;
}

static void test_workers_at_once(void **state)
{
    pthread_t threads[3];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_worker, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
}

/* A name with more than one address is tried to its end. */
static void test_name_is_resolved(void **state)
{
    struct resolver_config config = { 0 };
    struct tunnel_dial d = { 0 };
    struct pair p;

    (void)state;
    pair_open(&p, &mutual);
    assert_int_equal(resolver_new(p.loop, &config, &p.resolver), 0);
    d = (struct tunnel_dial){
        .loop = p.loop,
        .resolver = p.resolver,
        .mux = p.agent,
        .host = "localhost",
        .port = p.port,
        .tls = p.client_tls,
        .self = &p.agent_self,
        .login = &p.login,
        .handlers = &agent_handlers,
        .user = &p,
    };
    assert_int_equal(tunnel_dial(&d, &p.dialled), 0);
    assert_true(loop_run_until(p.loop, pair_is_up, &p, 5000));
    pair_close(&p);
}

static bool pair_is_settled(void *arg)
{
    struct pair *p = arg;

    return p->is_agent_up || p->is_agent_down;
}

/* Every way out for want of memory, on both ends: up, or down with a reason; no crash, no leak. */
static void test_handshake_without_memory(void **state)
{
    struct pair_options options = { .client_kind = CERT_AGENT,
                                    .handshake_ms = 300,
                                    .hello_ms = 300 };
    bool is_over = false;
    unsigned downs = 0, ups = 0;

    (void)state;
    for (size_t nth = 1, tries = 0; !is_over; tries++) {
        struct tunnel_dial d;
        struct pair p;
        bool has_failed;
        int r;

        assert_true(tries < 1000);
        pair_open(&p, &options);
        d = (struct tunnel_dial){
            .loop = p.loop,
            .mux = p.agent,
            .host = "127.0.0.1",
            .port = p.port,
            .tls = p.client_tls,
            .ready_ms = 3000,
            .self = &p.agent_self,
            .login = &p.login,
            .handlers = &agent_handlers,
            .user = &p,
        };
        check_alloc_fail(nth);
        r = tunnel_dial(&d, &p.dialled);
        if (!r)
            assert_true(loop_run_until(p.loop, pair_is_settled, &p, 5000));
        has_failed = check_alloc_has_failed();
        check_alloc_fail(0);
        is_over = !has_failed && p.is_agent_up;
        nth += has_failed;      /* a slow machine may end the handshake before: again */
        if (r)
            assert_int_equal(r, -ENOMEM);
        downs += p.is_agent_down;
        ups += p.is_agent_up;
        pair_close(&p);
    }
    assert_true(downs > 3 && ups > 0);
}

/* Connections are torn under traffic at any time; then one more must work. */
static void test_torn_connections(void **state)
{
    static struct pair_stream streams[25];
    struct pair p;
    unsigned seed = 11, opened = 0;

    (void)state;
    pair_open(&p, &mutual);
    for (int round = 0; round < 25; round++) {
        pair_dial(&p);
        loop_run_until(p.loop, pair_is_up, &p, round % 3 ? (uint32_t)(rand_r(&seed) % 12) : 5000);
        if (p.up && tunnel_is_up(p.up) && !pair_stream_try(&p, &streams[round], 1, 64u << 20))
            opened++;
        loop_run_until(p.loop, pair_is_agent_down, &p, (uint32_t)(rand_r(&seed) % 12));
        if (round % 2 && p.up && p.is_agent_up)
            tunnel_close(p.up, REASON_RELAY_DRAINING, "torn");
        else if (p.dialled)
            tunnel_close(p.dialled, REASON_AGENT_DRAINING, "torn");
        assert_true(loop_run_until(p.loop, pair_is_agent_down, &p, 5000));
    }
    assert_true(opened > 2);
    pair_dial(&p);
    assert_true(loop_run_until(p.loop, pair_is_up, &p, 5000));
    assert_int_equal(tunnel_server_stats(p.server)->handshakes, 0);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_at_once),
        cmocka_unit_test(test_name_is_resolved),
        cmocka_unit_test(test_handshake_without_memory),
        cmocka_unit_test(test_torn_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
