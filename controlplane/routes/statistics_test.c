#include "controlplane/routes/api_fixture.h"
#include "controlplane/routes/counting.h"
#include "controlplane/routes/doc.h"
#include <time.h>

#define USER "01ARZ3NDEKTSV4RRFFQ69G5FV1"
#define AGENT "01ARZ3NDEKTSV4RRFFQ69G5FA1"
#define STREAM "01ARZ3NDEKTSV4RRFFQ69G5FS1"
#define SECOND "01ARZ3NDEKTSV4RRFFQ69G5FS2"
#define THIRD "01ARZ3NDEKTSV4RRFFQ69G5FS3"
#define PARTIES "\"user\":\"" USER "\",\"agent\":\"" AGENT "\",\"target\":\"a.example:80\""

/* As the internal listener does: counted, then kept. */
static void tell(struct fix *f, const char *type, const char *id, enum store_source source, const char *data)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(counting_freep) struct counting *counting = NULL;
    struct counted event = { .type = span_str(type), .at_ms = (int64_t)store_now_ms(f->store),
                             .data = span_str(data) };
    char doc[256];

    assert_true(ulid_parse(span_str(id), &event.id));
    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    counting = counting_new(tx);
    assert_non_null(counting);
    assert_int_equal(counting_take(counting, &event), 0);
    snprintf(doc, sizeof(doc), "{\"state\":\"x\"%s}", strstr(data, "sent_bytes") ? ",\"bytes_out\":1" : "");
    assert_int_equal(store_record_merge(tx, source, &event.id, span_str(doc)), 0);
    assert_int_equal(counting_flush(counting), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static struct json_value *ask(struct fix *f, const char *query)
{
    static struct fix_answer a;
    struct json_value *v = NULL;
    struct json_error error;
    char path[256];

    snprintf(path, sizeof(path), "/statistics%s", query);
    fix_ask(f, f->users[FIX_AUDITOR].token, "GET", path, NULL, NULL, &a);
    if (a.status != 200)
        fail_msg("%s", a.text);
    assert_int_equal(json_parse(span_str(a.body), &v, &error), 0);
    return v;
}

static int64_t total(const struct json_value *v, const char *name)
{
    return doc_int(json_get(v, "totals"), name);
}

static const struct json_value *first(const struct json_value *v, const char *list)
{
    const struct json_value *top = json_get(json_get(v, "top"), list);

    return top ? json_at(top, 0) : json_at(json_get(v, list), 0);
}

static void tell_some(struct fix *f)
{
    tell(f, "stream.opened", STREAM, STORE_STREAMS, "{" PARTIES "}");
    tell(f, "stream.closed", STREAM, STORE_STREAMS, "{" PARTIES ",\"sent_bytes\":300,\"received_bytes\":4000,\"reason\":\"ok\"}");
    tell(f, "stream.passed", SECOND, STORE_STREAMS, "{" PARTIES ",\"sent_bytes\":5,\"received_bytes\":6,\"reason\":\"target-reset\"}");
    tell(f, "decision", THIRD, STORE_DECISIONS, "{" PARTIES ",\"reason\":\"quota-user\",\"count\":7}");
}

static void test_adds_up(void **state)
{
    AUTO(json_value_freep) struct json_value *v = NULL, *by = NULL;
    struct fix f;

    (void)state;
    fix_start(&f);
    tell_some(&f);
    v = ask(&f, "?order=failed");
    assert_int_equal(total(v, "opened"), 2);
    assert_int_equal(total(v, "refused"), 7);
    assert_int_equal(total(v, "broken"), 1);
    assert_int_equal(total(v, "bytes_out"), 305);
    assert_int_equal(total(v, "bytes_in"), 4006);
    assert_true(doc_is(first(v, "principals"), "id", USER));
    assert_int_equal(doc_int(first(v, "principals"), "refused"), 7);
    assert_true(doc_is(first(v, "agents"), "id", AGENT));
    assert_true(doc_is(first(v, "destinations"), "id", "a.example:80"));
    assert_int_equal(doc_int(first(v, "destinations"), "bytes_in"), 4006);
    assert_true(doc_is(first(v, "reasons"), "reason", "quota-user"));
    assert_true(doc_is(first(v, "quotas"), "id", USER));
    by = ask(&f, "?by=destination&key=a.example:80&step=60");
    assert_int_equal(total(by, "opened"), 2);
    assert_true(json_count(json_get(by, "points")) > 0);
    fix_stop(&f);
}

static void test_what_comes_twice_counts_once(void **state)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct fix f;

    (void)state;
    fix_start(&f);
    tell_some(&f);
    tell_some(&f);
    v = ask(&f, "");
    assert_int_equal(total(v, "opened"), 2);
    assert_int_equal(total(v, "refused"), 7);
    assert_int_equal(total(v, "bytes_out"), 305);
    fix_stop(&f);
}

/* A relay that lies spoils the numbers, and nobody's writing or reading of them. */
static void test_lies_have_a_bound(void **state)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct fix f;

    (void)state;
    fix_start(&f);
    for (int i = 0; i < 20; i++) {
        struct ulid id = store_new_id(f.store);

        tell(&f, "stream.closed", id.text, STORE_STREAMS,
             "{" PARTIES ",\"sent_bytes\":999999999999999999,\"received_bytes\":999999999999999999,\"reason\":\"ok\"}");
        tell(&f, "decision", id.text, STORE_DECISIONS,
             "{" PARTIES ",\"reason\":\"quota-user\",\"count\":999999999999999999}");
    }
    v = ask(&f, "?order=bytes");
    assert_true(total(v, "bytes_out") > 1LL << 40);
    assert_true(total(v, "refused") > 1LL << 40);
    fix_stop(&f);
}

/* A stranger makes up where he goes to. */
static void test_strangers_fill_nothing(void **state)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct fix f;

    (void)state;
    fix_start(&f);
    tell(&f, "decision", THIRD, STORE_DECISIONS,
         "{\"user_name\":\"x\",\"target\":\"made.up:1\",\"reason\":\"auth-failed\"}");
    v = ask(&f, "?order=failed");
    assert_int_equal(total(v, "refused"), 1);
    assert_int_equal(json_count(json_get(json_get(v, "top"), "destinations")), 0);
    fix_stop(&f);
}

static void test_refuses(void **state)
{
    static const struct {
        const char *it, *query;
        int status;
    } rows[] = {
        { "more than seven days", "?from=2026-01-01T00:00:00Z&to=2026-01-09T00:00:00Z", 409 },
        { "an end before its beginning", "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 409 },
        { "what is no time", "?from=yesterday", 422 },
        { "a step below a minute", "?step=59", 422 },
        { "an order that there is not", "?order=size", 422 },
        { "a key of nothing", "?key=a", 409 },
        { "a dimension without its key", "?by=agent", 409 },
    };
    static struct fix_answer a;
    struct fix f;

    (void)state;
    fix_start(&f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char path[128];

        check_row(rows[i].it);
        snprintf(path, sizeof(path), "/statistics%s", rows[i].query);
        fix_ask(&f, f.users[FIX_ADMIN].token, "GET", path, NULL, NULL, &a);
        assert_int_equal(a.status, rows[i].status);
    }
    fix_stop(&f);
}

/* ---- a day at its bounds ---- */
static void fill_minute(struct store_tx *tx, int minute, int64_t at_ms)
{
    static const enum store_dimension all[] = { STORE_BY_PRINCIPAL, STORE_BY_AGENT, STORE_BY_DESTINATION };
    struct store_counted items[STORE_MINUTE_KEYS], total = { SPAN(""), { .opened = 1, .last_ms = at_ms } };
    char keys[STORE_MINUTE_KEYS][32];

    for (int k = 0; k < STORE_MINUTE_KEYS; k++) {
        snprintf(keys[k], sizeof(keys[k]), "host%d:80", (minute * STORE_MINUTE_KEYS + k) % 500);
        items[k] = (struct store_counted){ span_str(keys[k]), { .opened = 1, .bytes_out = 10, .last_ms = at_ms } };
    }
    assert_int_equal(store_statistics_add(tx, STORE_BY_NOTHING, at_ms, &total, 1), 0);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        assert_int_equal(store_statistics_add(tx, all[i], at_ms, items, ARRAY_LEN(items)), 0);
}

/* Of the processor's time: a machine that has other things to do counts nothing. */
static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void fill(struct fix *f, int minutes)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int64_t now = (int64_t)store_now_ms(f->store);

    assert_int_equal(store_begin(f->store, STORE_WRITE, &tx), 0);
    for (int m = 0; m < minutes; m++)
        fill_minute(tx, m, now - m * 60000LL);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static void test_answers_soon(void **state)
{
    struct fix f;
    double begun;

    (void)state;
    fix_start(&f);
    fill(&f, where_is_postgres() ? 60 : 1440);  /* a server's time is not ours to count */
    json_value_free(ask(&f, ""));
    begun = now_ms();
    for (int i = 0; i < 10; i++)
        json_value_free(ask(&f, ""));
    print_message("a day: %.1f ms\n", (now_ms() - begun) / 10);
    begun = now_ms();
    for (int i = 0; i < 10; i++)
        json_value_free(ask(&f, "?by=destination&key=host1:80"));
    print_message("a day of one destination: %.1f ms\n", (now_ms() - begun) / 10);
    assert_true(now_ms() - begun < 5000);       /* a machine at its limit; the promise is 10 ms each */
    fix_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adds_up),
        cmocka_unit_test(test_what_comes_twice_counts_once),
        cmocka_unit_test(test_lies_have_a_bound),
        cmocka_unit_test(test_strangers_fill_nothing),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_answers_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
