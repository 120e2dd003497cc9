#include "controlplane/routes/api_fixture.h"

/* Every breaker that relays tell of is found, page by page, in whatever order they tell. */
#define BREAKERS 1203
#define PAGE 500

static struct fix fix;
static struct fix_answer answer;

static void name_breaker(size_t n, char id[ULID_LEN + 1])
{
    snprintf(id, ULID_LEN + 1, "01J9Z6T8E2Q4W7R5Y3V%07zu", n);
}

/* The greatest id first. */
static void report(void)
{
    AUTO(buf_deinit) struct buf doc;
    struct store_tx *tx;
    struct ulid relay;

    buf_init_heap(&doc, 1u << 20);
    buf_put_str(&doc, "{\"boot_id\":\"b\",\"breakers\":[");
    for (size_t n = BREAKERS; n-- > 0;) {
        char id[ULID_LEN + 1];

        name_breaker(n, id);
        buf_printf(&doc, "{\"id\":\"%s\",\"host\":\"a.test\",\"port\":80}%s", id, n ? "," : "");
    }
    buf_put_str(&doc, "]}");
    assert_int_equal(buf_error(&doc), 0);
    assert_int_equal(store_begin(fix.store, STORE_WRITE, &tx), 0);
    relay = fix_insert(&fix, tx, KIND_RELAY, "relay", "{\"status\":\"active\"}", NULL, (struct change_secret){ 0 });
    assert_int_equal(store_report_put(tx, &relay, "relay.applied", buf_span(&doc)), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static void test_pages(void **state)
{
    char path[128] = "/breakers?limit=500", wanted[ULID_LEN + 1];
    struct span cursor, id;
    size_t seen = 0;

    (void)state;
    fix_start(&fix);
    report();
    do {
        AUTO(json_value_freep) struct json_value *v = NULL;
        const struct json_value *items;
        struct json_error error;

        fix_ask(&fix, fix.users[FIX_ADMIN].token, "GET", path, NULL, NULL, &answer);
        assert_int_equal(answer.status, 200);
        assert_int_equal(json_parse(span_str(answer.body), &v, &error), 0);
        items = json_get(v, "items");
        for (size_t i = 0; i < json_count(items); i++, seen++) {
            name_breaker(seen, wanted);
            assert_true(json_get_str(json_at(items, i), "id", &id) && span_eq(id, span_str(wanted)));
        }
        cursor = SPAN_NONE;
        if (json_get_str(v, "next_cursor", &cursor))
            snprintf(path, sizeof(path), "/breakers?limit=500&cursor=%.*s", (int)cursor.n, cursor.p);
        assert_true(!cursor.n || json_count(items) == PAGE);
    } while (cursor.n);
    assert_int_equal(seen, BREAKERS);
    fix_stop(&fix);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_pages) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
