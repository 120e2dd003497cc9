#include "controlplane/routes/used.h"
#include "controlplane/store/store_where_fixture.h"
#include "lib/check/check.h"

#include <stdio.h>

#define RELAY "01ARZ3NDEKTSV4RRFFQ69G5FR1"
#define OTHER "01ARZ3NDEKTSV4RRFFQ69G5FR2"
#define QUOTA "01ARZ3NDEKTSV4RRFFQ69G5FQ1"
#define FIRST "01ARZ3NDEKTSV4RRFFQ69G5FB1"
#define SECOND "01ARZ3NDEKTSV4RRFFQ69G5FB2"
#define DAY_MS ((int64_t)86400000)

static uint64_t clock_ms;

static uint64_t tell_time(void)
{
    return clock_ms;
}

struct world {
    char dir[64];
    struct store *store;
    struct store_tx *tx;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct store_where where;
    struct store_options *options;
    struct store_new_object quota = { .kind = "quota", .doc = SPAN("{}") };
    AUTO(buf_deinit) struct buf err;

    buf_init_heap(&err, 1024);
    clock_ms = 20000 * (uint64_t)DAY_MS + 1000;
    snprintf(w->dir, sizeof(w->dir), "/tmp/adit-used-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    options = store_where(&where, w->dir);
    options->now_ms = tell_time;
    assert_int_equal(store_open(options, &w->store, &err), 0);
    assert_int_equal(store_begin(w->store, STORE_WRITE, &w->tx), 0);
    assert_true(ulid_parse(SPAN(QUOTA), &quota.id));
    assert_int_equal(store_object_insert(w->tx, &quota), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    store_rollback(w->tx);
    store_close(w->store);
    where_remove(w->dir);
    free(w);
    return 0;
}

static void tell(struct world *w, const char *relay, const char *boot, int64_t day, int64_t bytes)
{
    char data[512];

    snprintf(data, sizeof(data), "{\"quotas\":[{\"id\":\"%s\",\"day_ms\":%lld,\"day_end_ms\":%lld,\"bytes\":%lld,"
             "\"streams\":2,\"saturated\":[\"bytes_per_day\"]}]}", QUOTA, (long long)(day * DAY_MS),
             (long long)((day + 1) * DAY_MS), (long long)bytes);
    assert_int_equal(used_keep(w->tx, relay, span_str(boot), (int64_t)clock_ms, span_str(data)), 0);
}

static int64_t bytes_today(struct world *w)
{
    struct live live = { .now_ms = (int64_t)clock_ms };
    struct used used;
    struct ulid id;

    assert_true(ulid_parse(SPAN(QUOTA), &id));
    assert_int_equal(used_read(w->tx, &live, &id, &used), 0);
    return used.bytes;
}

/* What the relay is told that others, or it before, have used; 0: nothing. */
static int64_t given_back(struct world *w, const char *relay, const char *boot)
{
    AUTO(buf_deinit) struct buf out;
    AUTO(json_value_freep) struct json_value *body = NULL;
    struct json_error error;
    int64_t bytes = 0;

    buf_init_heap(&out, 4096);
    assert_int_equal(used_write_others(w->tx, relay, span_str(boot), &out), 0);
    assert_int_equal(json_parse(buf_span(&out), &body, &error), 0);
    if (json_count(json_get(body, "quotas")))
        assert_true(json_get_int(json_at(json_get(body, "quotas"), 0), "bytes", &bytes));
    return bytes;
}

/* Each row sees what those before it left. */
static void test_counting(void **state)
{
    static const struct {
        const char *it, *relay, *boot;
        int64_t day, bytes, today, back_first, back_second, back_other;
    } rows[] = {
        { "keeps what a relay counted", RELAY, FIRST, 20000, 100, 100, 0, 100, 100 },
        { "counts once what comes twice", RELAY, FIRST, 20000, 100, 100, 0, 100, 100 },
        { "takes the newer count of a start", RELAY, FIRST, 20000, 150, 150, 0, 150, 150 },
        { "and no smaller one", RELAY, FIRST, 20000, 120, 150, 0, 150, 150 },
        { "adds what the next start counts", RELAY, SECOND, 20000, 10, 160, 160, 150, 160 },
        { "passes over what an earlier start says late", RELAY, FIRST, 20000, 900, 160, 160, 150, 160 },
        { "adds another relay's", OTHER, FIRST, 20000, 1000, 1160, 1160, 1150, 160 },
        { "forgets the day when the next one comes", RELAY, SECOND, 20001, 5, 1005, 1005, 1000, 5 },
        { "and takes nothing of the day before", RELAY, SECOND, 20000, 5000, 1005, 1005, 1000, 5 },
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        tell(w, rows[i].relay, rows[i].boot, rows[i].day, rows[i].bytes);
        assert_int_equal(bytes_today(w), rows[i].today);
        assert_int_equal(given_back(w, RELAY, FIRST), rows[i].back_first);
        assert_int_equal(given_back(w, RELAY, SECOND), rows[i].back_second);
        assert_int_equal(given_back(w, OTHER, FIRST), rows[i].back_other);
    }
    check_row("counts a day until it ends");
    clock_ms += (uint64_t)DAY_MS;
    assert_int_equal(bytes_today(w), 5);
    clock_ms += (uint64_t)DAY_MS;
    assert_int_equal(bytes_today(w), 0);
    assert_int_equal(given_back(w, OTHER, FIRST), 0);
}

static void test_odd(void **state)
{
    static const struct { const char *it, *data; } rows[] = {
        { "passes over a quota that is not there", "{\"quotas\":[{\"id\":\"" RELAY "\",\"bytes\":5}]}" },
        { "passes over what has no id", "{\"quotas\":[{\"bytes\":5},7]}" },
        { "passes over another shape", "{\"quotas\":7}" },
        { "passes over what counts down", "{\"quotas\":[{\"id\":\"" QUOTA "\",\"bytes\":-5}]}" },
    };
    struct world *w = *state;
    struct ulid id;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(used_keep(w->tx, RELAY, SPAN(FIRST), 5, span_str(rows[i].data)), 0);
        assert_int_equal(bytes_today(w), 0);
    }
    check_row("forgets a quota that goes");
    tell(w, RELAY, FIRST, 20000, 100);
    assert_true(ulid_parse(SPAN(QUOTA), &id));
    assert_int_equal(used_forget(w->tx, &id), 0);
    assert_int_equal(bytes_today(w), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_odd, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
