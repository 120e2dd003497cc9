#include "controlplane/routes/listener.h"
#include "lib/check/check.h"
#include <stdio.h>

struct heard {
    struct listener listener;
    struct buf out;
};

static void setup(struct heard *h)
{
    listener_init(&h->listener, (1u << TOPIC_COUNT) - 1, 1, 10);
    buf_init_heap(&h->out, 1 << 20);
}

static void teardown(struct heard *h)
{
    listener_deinit(&h->listener);
    buf_deinit(&h->out);
}

static void take(struct heard *h, int64_t number, const char *topic, const char *object, uint64_t now_ms)
{
    struct store_event e = { .number = number, .topic = span_str(topic), .kind = SPAN("user"),
                             .object = span_str(object), .doc = SPAN("{}") };

    assert_int_equal(listener_take(&h->listener, &e, true, now_ms, &h->out), 0);
}

static size_t times(struct heard *h, const char *text)
{
    size_t n = 0;

    for (const char *at = buf_text(&h->out); (at = strstr(at, text)); at++)
        n++;
    return n;
}

static void flush(struct heard *h, uint64_t now_ms)
{
    listener_flush(&h->listener, now_ms, false, &h->out);
}

static void test_tells_the_last_of_a_second(void **state)
{
    struct heard h;

    (void)state;
    setup(&h);
    take(&h, 11, "changes", "A", 5000);
    take(&h, 12, "changes", "A", 5100);
    take(&h, 13, "changes", "A", 5200);
    assert_int_equal(times(&h, "event: changes"), 1);
    flush(&h, 5999);
    assert_int_equal(times(&h, "event: changes"), 1);
    flush(&h, 6000);
    assert_int_equal(times(&h, "event: changes"), 2);
    assert_int_equal(times(&h, "\"number\":12"), 0);
    assert_int_equal(times(&h, "\"number\":13"), 1);
    flush(&h, 9000);
    assert_int_equal(h.listener.told_count, 0);
    teardown(&h);
}

static void test_the_id_leaves_nothing_out(void **state)
{
    struct heard h;

    (void)state;
    setup(&h);
    take(&h, 11, "changes", "A", 5000);
    assert_int_equal(times(&h, "id: 1-11\n"), 1);
    take(&h, 12, "changes", "A", 5100);         /* waits */
    take(&h, 13, "changes", "B", 5200);
    assert_int_equal(times(&h, "\"number\":13"), 1);
    assert_int_equal(times(&h, "id: 1-13\n"), 0);       /* 12 was not told */
    flush(&h, 6000);
    assert_int_equal(times(&h, "id: 1-13\n"), 1);
    teardown(&h);
}

static void test_sums_up_above_the_rate(void **state)
{
    struct heard h;

    (void)state;
    setup(&h);
    for (int i = 0; i < 5 * LISTENER_RATE; i++) {
        char object[16];

        snprintf(object, sizeof(object), "O%d", i);
        take(&h, 11 + i, i % 2 ? "agents" : "changes", object, 5000);
    }
    assert_int_equal(times(&h, "event: changes") + times(&h, "event: agents"), LISTENER_RATE);
    flush(&h, 6000);
    assert_int_equal(times(&h, "event: summary"), 1);
    assert_int_equal(times(&h, "\"counts\":{\"changes\":200,\"agents\":200}"), 1);
    assert_int_equal(times(&h, "\"from\":111,\"to\":510"), 1);
    assert_int_equal(times(&h, "id: 1-510\n"), 1);
    teardown(&h);
}

static void test_what_was_not_asked_for_is_passed_over(void **state)
{
    struct store_event e = { .number = 12, .topic = SPAN("changes"), .kind = SPAN("user"),
                             .object = SPAN("01J9Z6T8E2Q4W7R5Y3V1N0M8KD"), .doc = SPAN("{}") };
    struct heard h;

    (void)state;
    setup(&h);
    h.listener.topics = 1u << TOPIC_AGENTS;
    take(&h, 11, "changes", "A", 5000);
    assert_int_equal(h.out.len, 0);
    h.listener.topics = 1u << TOPIC_CHANGES;
    assert_true(ulid_parse(SPAN("01J9Z6T8E2Q4W7R5Y3V1N0M8KF"), &h.listener.ids[h.listener.id_count++]));
    assert_int_equal(listener_take(&h.listener, &e, true, 5000, &h.out), 0);
    assert_int_equal(h.out.len, 0);
    assert_true(ulid_parse(e.object, &h.listener.ids[h.listener.id_count++]));
    assert_int_equal(listener_take(&h.listener, &e, false, 5000, &h.out), 0);
    assert_int_equal(h.out.len, 0);             /* he may not see it */
    assert_int_equal(listener_take(&h.listener, &e, true, 5000, &h.out), 0);
    assert_int_equal(times(&h, "event: changes"), 1);
    teardown(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tells_the_last_of_a_second),
        cmocka_unit_test(test_the_id_leaves_nothing_out),
        cmocka_unit_test(test_sums_up_above_the_rate),
        cmocka_unit_test(test_what_was_not_asked_for_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
