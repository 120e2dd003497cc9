#include "lib/obs/metrics.h"
#include "lib/check/alloc.h"
#include "lib/check/check.h"
#include <pthread.h>

static const char *door_name(unsigned i)
{
    static const char *const names[] = { "http", "so\"ck\\s\n" };

    return names[i];
}

static const struct metric_label by_door = { "door", 2, door_name };

#define TEST_METRICS(X)                                                                   \
    X(STREAMS, "adit_test_streams", GAUGE, NULL, NULL, "Streams that are open.")          \
    X(OPENED, "adit_test_opened_total", COUNTER, &by_door, NULL, "Streams opened.")       \
    X(REFUSED, "adit_test_refused_total", COUNTER, &by_door, &metric_by_reason, "Refusals.")

enum { TEST_METRICS(METRIC_ENUM) TEST_METRIC_COUNT };
static const struct metric_row rows[] = { TEST_METRICS(METRIC_ROW) };

static void test_print(void **state)
{
    AUTO(metrics_freep) struct metrics *m = NULL;
    struct buf out;

    (void)state;
    assert_int_equal(metrics_new(rows, 2, 2, &m), 0);
    metric_add(metrics_slot(m, 0), M_STREAMS, 5);
    metric_add(metrics_slot(m, 1), M_STREAMS, -2);
    metric_add_at(metrics_slot(m, 1), M_OPENED, 1, 0, 7);
    buf_init_heap(&out, 10000);
    metrics_print(m, &out);
    assert_string_equal(buf_text(&out), "# HELP adit_test_streams Streams that are open.\n"
                                        "# TYPE adit_test_streams gauge\n"
                                        "adit_test_streams 3\n"
                                        "# HELP adit_test_opened_total Streams opened.\n"
                                        "# TYPE adit_test_opened_total counter\n"
                                        "adit_test_opened_total{door=\"http\"} 0\n"
                                        "adit_test_opened_total{door=\"so\\\"ck\\\\s\\n\"} 7\n");
    buf_deinit(&out);
}

static void test_labels(void **state)
{
    AUTO(metrics_freep) struct metrics *m = NULL;
    struct metric_slot *slot;
    struct buf out;

    (void)state;
    assert_int_equal(metrics_new(rows, TEST_METRIC_COUNT, 1, &m), 0);
    slot = metrics_slot(m, 0);
    metric_add_at(slot, M_REFUSED, 0, REASON_NO_GRANT, 1);
    metric_add_at(slot, M_REFUSED, 1, REASON_NO_GRANT, 2);
    check_row("counts an index out of range as the last one");
    metric_add_at(slot, M_REFUSED, 9, REASON_COUNT + 9, 4);
    assert_int_equal(metrics_value(m, M_REFUSED, 1, REASON_COUNT - 1), 4);
    check_row("takes no slot for none");
    metric_add(NULL, M_STREAMS, 1);
    metric_set(slot, M_STREAMS, 8);
    metric_set(slot, M_STREAMS, 9);
    assert_int_equal(metrics_value(m, M_STREAMS, 0, 0), 9);
    buf_init_heap(&out, 100000);
    metrics_print(m, &out);
    assert_non_null(
        strstr(buf_text(&out), "adit_test_refused_total{door=\"http\",reason=\"no-grant\"} 1\n"));
    metrics_print_process("adit-test", &out);
    assert_non_null(strstr(buf_text(&out), "adit_build_info{program=\"adit-test\",version=\""));
    assert_null(strstr(buf_text(&out), "process_start_time_seconds 0\n"));
    assert_null(strstr(buf_text(&out), "process_resident_memory_bytes 0\n"));
    buf_deinit(&out);
}

#define THREADS 4
#define ADDS 10000

static void *add_many(void *data)
{
    for (int i = 0; i < ADDS; i++)
        metric_add_at(data, M_OPENED, (unsigned)i % 2, 0, 1);
    return NULL;
}

static void test_threads(void **state)
{
    AUTO(metrics_freep) struct metrics *m = NULL;
    pthread_t threads[THREADS];

    (void)state;
    assert_int_equal(metrics_new(rows, TEST_METRIC_COUNT, 2, &m), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, metrics_slot(m, i % 2)), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(metrics_value(m, M_OPENED, 0, 0) + metrics_value(m, M_OPENED, 1, 0),
                     THREADS * ADDS);
}

static int make(void *data)
{
    AUTO(metrics_freep) struct metrics *m = NULL;

    (void)data;
    return metrics_new(rows, TEST_METRIC_COUNT, 3, &m);
}

static void test_no_memory(void **state)
{
    (void)state;
    check_each_alloc(make, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
