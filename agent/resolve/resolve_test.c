#include "agent/resolve/dns_fixture.h"
#include "agent/resolve/resolve.h"
#include "lib/check/check.h"

struct world {
    struct loop *loop;
    struct dns dns;
    struct resolve *resolve;
};

struct ask {
    struct world *world;
    struct resolve_request *request;
    bool is_answered;
    enum reason reason;
    size_t count;
    struct addr addrs[RESOLVER_ADDRS_MAX];
    char source[16], server[ADDR_TEXT_MAX];
    unsigned parts;                 /* answers that were not the whole */
    size_t part_count;              /* addresses of the last of them */
    const char *then;               /* a name that is asked for within the answer, when there is no room */
};

static void world_open(struct world *w, struct resolve_config config)
{
    assert_int_equal(loop_new(&w->loop), 0);
    dns_open(&w->dns, w->loop);
    config.resolver.servers = w->dns.at;
    config.resolver.is_search_off = true;
    config.resolver.try_ms = 100;
    assert_int_equal(resolve_new(w->loop, &config, &w->resolve), 0);
}

static void world_close(struct world *w)
{
    resolve_free(w->resolve);
    dns_close(&w->dns);
    loop_free(w->loop);
}

static void on_answer(void *user, const struct resolve_answer *answer);

static int ask_for(struct ask *a, struct world *w, const char *name, uint32_t deadline_ms)
{
    a->world = w;
    a->is_answered = false;
    a->parts = 0;
    return resolve_name(w->resolve, name, deadline_ms, on_answer, a, &a->request);
}

static void on_answer(void *user, const struct resolve_answer *answer)
{
    struct ask *a = user;
    static struct ask next;

    if (answer->is_part) {
        a->parts++;
        a->part_count = answer->count;
        return;
    }
    a->is_answered = true;
    endpoint_format(&answer->server, a->server, sizeof(a->server));
    if (a->then) {
        assert_int_equal(ask_for(&next, a->world, a->then, 2000), -EAGAIN);
    }
    a->reason = answer->reason;
    a->count = answer->count;
    if (answer->count)
        memcpy(a->addrs, answer->addrs, answer->count * sizeof(a->addrs[0]));
    snprintf(a->source, sizeof(a->source), "%s", answer->source);
}

static bool is_answered(void *arg) { return ((struct ask *)arg)->is_answered; }

static void ask_and_wait(struct ask *a, struct world *w, const char *name)
{
    assert_int_equal(ask_for(a, w, name, 2000), 0);
    assert_false(a->is_answered);       /* never within the call */
    assert_true(loop_run_until(w->loop, is_answered, a, 5000));
}

static void test_answers(void **state)
{
    static const struct { const char *it, *name; enum reason reason; size_t count; } rows[] = {
        { "gives the address of a name", "a-9.test", REASON_NONE, 1 },
        { "gives all addresses", "many.test", REASON_NONE, 3 },
        { "gives both families", "both.test", REASON_NONE, 2 },
        { "fails for a name that is not there", "nothing.test", REASON_RESOLVE_FAILED, 0 },
        { "fails for a name without addresses", "none.test", REASON_RESOLVE_FAILED, 0 },
        { "fails when nobody answers", "silent.test", REASON_RESOLVE_FAILED, 0 },
        { "fails when the server does", "broken.test", REASON_RESOLVE_FAILED, 0 },
    };
    struct world w;

    (void)state;
    world_open(&w, (struct resolve_config){ 0 });
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ask a = { 0 };
        unsigned before;

        check_row(rows[i].it);
        ask_and_wait(&a, &w, rows[i].name);
        assert_int_equal(a.reason, rows[i].reason);
        assert_int_equal(a.count, rows[i].count);
        assert_string_equal(a.source, "dns");

        before = w.dns.queries;
        ask_and_wait(&a, &w, rows[i].name);
        assert_int_equal(a.reason, rows[i].reason);
        assert_int_equal(a.count, rows[i].count);
        assert_string_equal(a.source, "dns-cache");
        assert_int_equal(w.dns.queries, before);
    }
    assert_int_equal(resolve_stats(w.resolve)->fresh, 3);
    assert_int_equal(resolve_stats(w.resolve)->negative, ARRAY_LEN(rows) - 3);
    assert_int_equal(resolve_stats(w.resolve)->miss, ARRAY_LEN(rows));
    assert_int_equal(resolve_stats(w.resolve)->waiting, 0);
    world_close(&w);
}

static void test_keeping(void **state)
{
    struct world w;
    struct ask a = { 0 };

    (void)state;
    world_open(&w, (struct resolve_config){ 0 });
    check_row("keeps nothing whose time to live is 0");
    w.dns.ttl_s = 0;
    ask_and_wait(&a, &w, "a-1.test");
    ask_and_wait(&a, &w, "a-1.test");
    assert_string_equal(a.source, "dns");
    assert_int_equal(w.dns.queries, 2);

    check_row("keeps nothing through a change of network");
    w.dns.ttl_s = 60;
    ask_and_wait(&a, &w, "a-2.test");
    resolve_flush(w.resolve);
    ask_and_wait(&a, &w, "a-2.test");
    assert_string_equal(a.source, "dns");
    world_close(&w);
}

static void test_shared(void **state)
{
    enum { ASKERS = 20 };
    struct ask all[ASKERS] = { 0 };
    struct world w;

    (void)state;
    check_row("has one query in flight, however many ask, and tells all but those who left");
    world_open(&w, (struct resolve_config){ 0 });
    for (size_t i = 0; i < ASKERS; i++)
        assert_int_equal(ask_for(&all[i], &w, "a-5.test", 2000), 0);
    for (size_t i = 0; i < ASKERS; i += 2)
        resolve_cancel(all[i].request);
    assert_true(loop_run_until(w.loop, is_answered, &all[ASKERS - 1], 5000));
    for (size_t i = 0; i < ASKERS; i++)
        assert_int_equal(all[i].is_answered, i % 2);
    assert_int_equal(w.dns.queries, 1);
    assert_int_equal(resolve_stats(w.resolve)->waiting, 0);

    check_row("waits no longer than it was told");
    assert_int_equal(ask_for(&all[0], &w, "silent.test", 5000), 0);
    assert_int_equal(ask_for(&all[1], &w, "silent.test", 30), 0);
    assert_true(loop_run_until(w.loop, is_answered, &all[1], 2000));
    assert_int_equal(all[1].reason, REASON_RESOLVE_FAILED);
    assert_false(all[0].is_answered);
    world_close(&w);                    /* one still waits: it is not told */
    assert_false(all[0].is_answered);
}

static void test_bounds(void **state)
{
    struct world w;
    struct ask a = { 0 }, b = { 0 }, c = { 0 };

    (void)state;
    world_open(&w, (struct resolve_config){ .names_max = 2, .waiting_max = 2 });
    check_row("drops the name unused longest");
    ask_and_wait(&a, &w, "a-1.test");
    ask_and_wait(&a, &w, "a-2.test");
    ask_and_wait(&a, &w, "a-1.test");
    assert_string_equal(a.source, "dns-cache");
    ask_and_wait(&a, &w, "a-3.test");
    assert_int_equal(resolve_stats(w.resolve)->names, 2);
    assert_int_equal(resolve_stats(w.resolve)->evicted, 1);
    ask_and_wait(&a, &w, "a-1.test");
    assert_string_equal(a.source, "dns-cache");

    check_row("refuses a name more when all are being asked for, and a waiter more");
    assert_int_equal(ask_for(&a, &w, "silent.test", 400), 0);
    assert_int_equal(ask_for(&b, &w, "silent.two.test", 400), 0);
    assert_int_equal(ask_for(&c, &w, "a-9.test", 400), -EAGAIN);
    assert_int_equal(ask_for(&c, &w, "silent.test", 400), -EAGAIN);
    assert_int_equal(resolve_stats(w.resolve)->refused, 2);
    resolve_cancel(a.request);
    resolve_cancel(b.request);
    world_close(&w);

    check_row("does not drop the name that it is telling");
    world_open(&w, (struct resolve_config){ .names_max = 1 });
    a.then = b.then = "a-3.test";
    assert_int_equal(ask_for(&a, &w, "many.test", 2000), 0);
    assert_int_equal(ask_for(&b, &w, "many.test", 2000), 0);
    assert_true(loop_run_until(w.loop, is_answered, &b, 5000));
    assert_int_equal(a.count, 3);
    assert_int_equal(b.count, 3);
    assert_int_equal(b.addrs[2].ip[12], 192);
    world_close(&w);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static bool is_asked_ahead(void *arg)
{
    const struct world *w = arg;

    return resolve_stats(w->resolve)->ahead > 0;
}

/* The time in which it does so is short: a machine that is busy elsewhere may miss it. */
static void test_ahead(void **state)
{
    struct world w;
    struct ask a = { 0 };
    unsigned before = 0;

    (void)state;
    world_open(&w, (struct resolve_config){ 0 });
    check_row("asks anew for what is in use, before it ends, and answers at once meanwhile");
    w.dns.ttl_s = 2;
    for (unsigned tries = 0; tries < 10 && !is_asked_ahead(&w); tries++) {
        ask_and_wait(&a, &w, "a-7.test");
        before = w.dns.queries;
        loop_run_until(w.loop, never, NULL, 1550);
        ask_and_wait(&a, &w, "a-7.test");
    }
    assert_true(is_asked_ahead(&w));
    assert_string_equal(a.source, "dns-cache");
    assert_string_equal(a.server, w.dns.at);
    assert_in_range(w.dns.queries, before, before + 1);
    world_close(&w);
}

static void test_stale(void **state)
{
    struct world w;
    struct ask a = { 0 };
    unsigned before;

    (void)state;
    world_open(&w, (struct resolve_config){ .life = { .stale_max_s = 60 }, .stale_wait_ms = 50 });
    w.dns.ttl_s = 0;
    ask_and_wait(&a, &w, "a-3.test");

    check_row("asks again for what is stale, and gives the new answer when it comes in time");
    ask_and_wait(&a, &w, "a-3.test");
    assert_string_equal(a.source, "dns");

    check_row("gives what is stale when the server does not answer");
    w.dns.is_silent = true;
    ask_and_wait(&a, &w, "a-3.test");
    assert_int_equal(a.reason, REASON_NONE);
    assert_string_equal(a.source, "dns-stale");
    assert_int_equal(a.addrs[0].ip[15], 3);
    assert_string_equal(a.server, w.dns.at);

    check_row("gives it at once, without asking, when the server has just failed");
    w.dns.is_silent = false;
    w.dns.is_broken = true;
    resolve_flush(w.resolve);           /* ends what is in flight */
    w.dns.is_broken = false;
    ask_and_wait(&a, &w, "a-3.test");
    w.dns.is_broken = true;
    ask_and_wait(&a, &w, "a-3.test");
    assert_string_equal(a.source, "dns-stale");
    before = w.dns.queries;
    ask_and_wait(&a, &w, "a-3.test");
    assert_string_equal(a.source, "dns-stale");
    assert_int_equal(w.dns.queries, before);

    check_row("has nothing stale for a name that never was there");
    ask_and_wait(&a, &w, "a-4.test");
    assert_int_equal(a.reason, REASON_RESOLVE_FAILED);
    assert_true(resolve_stats(w.resolve)->stale >= 4);
    world_close(&w);
}

static void test_families(void **state)
{
    static const struct { const char *it, *name; unsigned parts; size_t part; bool is_v4; } rows[] = {
        { "gives IPv4 when IPv6 does not come", "only4.test", 1, 1, true },
        { "gives IPv6 when IPv4 does not come", "only6.test", 1, 1, false },
    };
    struct world w;

    (void)state;
    world_open(&w, (struct resolve_config){ 0 });
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ask a = { 0 };

        check_row(rows[i].it);
        ask_and_wait(&a, &w, rows[i].name);
        assert_int_equal(a.parts, rows[i].parts);
        assert_int_equal(a.part_count, rows[i].part);
        assert_int_equal(a.count, 1);
        assert_int_equal(addr_is_v4(&a.addrs[0]), rows[i].is_v4);
    }
    world_close(&w);
}

/* A network that changes while somebody waits. */
static void test_flush_while_waiting(void **state)
{
    struct world w;
    struct ask a = { 0 };

    (void)state;
    world_open(&w, (struct resolve_config){ 0 });
    w.dns.is_silent = true;
    assert_int_equal(ask_for(&a, &w, "a-8.test", 20000), 0);
    loop_run_until(w.loop, is_answered, &a, 20);
    assert_false(a.is_answered);
    w.dns.is_silent = false;
    resolve_flush(w.resolve);
    assert_true(loop_run_until(w.loop, is_answered, &a, 5000));
    assert_int_equal(a.reason, REASON_NONE);
    assert_int_equal(a.addrs[0].ip[15], 8);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers), cmocka_unit_test(test_keeping), cmocka_unit_test(test_shared),
        cmocka_unit_test(test_bounds), cmocka_unit_test(test_ahead), cmocka_unit_test(test_stale),
        cmocka_unit_test(test_families), cmocka_unit_test(test_flush_while_waiting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
