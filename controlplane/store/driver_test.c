#include "controlplane/store/store_fixture.h"

/* Two processes on one database are two stores here. */
static void test_turns(void **state)
{
    struct store *other = open_store();
    struct store_tx *first = begin(*state, STORE_WRITE), *second = NULL;
    struct store_position position;

    assert_int_equal(store_begin(other, STORE_WRITE, &second), STORE_E_BUSY);
    assert_int_equal(store_state_put(first, "user", SPAN("a"), SPAN("{}")), 0);
    assert_int_equal(store_commit(&first, NULL), 0);

    /* The one whose turn it is sees what the one before wrote. */
    second = begin(other, STORE_WRITE);
    assert_int_equal(store_state_put(second, "user", SPAN("a"), SPAN("{\"x\":1}")), 0);
    assert_int_equal(store_commit(&second, &position), 0);
    assert_int_equal(position.revision, 2);
    store_close(other);
}

#define ADDS 25

static void *add_users(void *arg)
{
    struct store *store = arg;

    for (int i = 0; i < ADDS; i++) {
        struct store_audit event = { .actor_kind = "system", .action = "test", .outcome = "ok" };
        struct store_tx *tx = NULL;
        char name[32];
        int r;

        do
            r = store_begin(store, STORE_WRITE, &tx);
        while (r == STORE_E_BUSY);
        snprintf(name, sizeof(name), "%d", i);
        if (r)
            return arg;
        r = store_state_put(tx, "user", span_str(name), i % 2 ? SPAN("{}") : SPAN("{\"x\":1}"));
        /* Whoever comes second puts the same: no revision then, but an event. */
        if (!r)
            r = store_audit_append(tx, &event, NULL);
        if (r || store_commit(&tx, NULL))
            return arg;
    }
    return NULL;
}

/* Both write the audit chain of one name: no link may be lost, none be there twice. */
static void test_writers(void **state)
{
    struct store *stores[] = { *state, open_store() };
    struct store_audit_report report = { 0 };
    struct store_position position = { 0 };
    pthread_t threads[4];
    struct store_tx *tx;
    void *failed;

    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_users, stores[i % 2]), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    store_close(stores[1]);
    tx = begin(*state, STORE_READ);
    assert_int_equal(store_audit_verify(tx, NULL, 0, &report), 0);
    assert_int_equal(report.events, ARRAY_LEN(threads) * ADDS);
    assert_int_equal(store_position(tx, &position), 0);
    assert_int_equal(position.revision, ADDS);
    store_rollback(tx);
}

/* A reader sees one moment, whatever is committed meanwhile. */
static void test_moment(void **state)
{
    struct store_query q = { .source = STORE_OBJECTS, .kind = "user", .limit = 5 };
    struct store_tx *reader = begin(*state, STORE_READ), *writer;
    uint64_t before = 0, after = 1;

    assert_int_equal(store_count(reader, &q, &before), 0);
    writer = begin(*state, STORE_WRITE);
    (void)add(writer, "user", "ann", "{}");
    assert_int_equal(store_commit(&writer, NULL), 0);
    assert_int_equal(store_count(reader, &q, &after), 0);
    assert_int_equal(after, before);
    store_rollback(reader);
}

static void test_refusals_in_a_row(void **state)
{
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct ulid user = add(tx, "user", "ann", "{}"), nobody = store_new_id(*state);
    struct store_new_object twin = { .id = store_new_id(*state), .kind = "user", .name = SPAN("ann"),
                                     .doc = SPAN("{}") };
    struct store_query q = { .source = STORE_OBJECTS, .kind = "user", .limit = 5 };
    uint64_t users = 0;

    assert_int_equal(store_mark(tx), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_object_insert(tx, &twin), STORE_E_EXISTS);
        assert_int_equal(store_refs_set(tx, &user, "x", &nobody, 1), STORE_E_NO_REF);
    }
    (void)add(tx, "user", "bob", "{}");
    assert_int_equal(store_undo_to_mark(tx), 0);
    assert_int_equal(store_count(tx, &q, &users), 0);
    assert_int_equal(users, 1);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static void test_merge(void **state)
{
    static const struct {
        const char *it, *target, *patch, *field, *want;
    } rows[] = {                        /* RFC 7396, appendix A */
        { "replaces", "{\"a\":\"b\"}", "{\"a\":\"c\"}", "a", "c" },
        { "adds", "{\"b\":\"c\"}", "{\"a\":\"x\"}", "a", "x" },
        { "keeps", "{\"a\":\"b\"}", "{\"b\":\"c\"}", "a", "b" },
        { "removes", "{\"a\":\"b\"}", "{\"a\":null}", "a", NULL },
        { "removes within", "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":null,\"d\":\"e\"}}", "a.b", NULL },
        { "adds within", "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"d\":\"e\"}}", "a.d", "e" },
        { "turns a text into an object", "{\"a\":\"b\"}", "{\"a\":{\"d\":\"e\",\"f\":null}}", "a.d", "e" },
        { "drops nulls of what is new", "{}", "{\"a\":{\"f\":null}}", "a.f", NULL },
    };
    struct store_tx *tx = begin(*state, STORE_WRITE);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ulid id = store_new_id(*state);
        struct store_query q = { .source = STORE_STREAMS, .limit = 5, .filter_count = 2 };
        uint64_t count = 0;

        check_row(rows[i].it);
        assert_int_equal(store_record_merge(tx, STORE_STREAMS, &id, span_str(rows[i].target)), 0);
        assert_int_equal(store_record_merge(tx, STORE_STREAMS, &id, span_str(rows[i].patch)), 0);
        q.filters[0] = (struct store_filter){ .field = "id", .type = STORE_TEXT, .text = ulid_span(&id) };
        q.filters[1] = (struct store_filter){ .field = rows[i].field, .op = rows[i].want ? STORE_EQ : STORE_NULL,
                                              .type = STORE_TEXT, .text = span_str(rows[i].want) };
        assert_int_equal(store_count(tx, &q, &count), 0);
        assert_int_equal(count, 1);
    }
    store_rollback(tx);
}

/* ---- PostgreSQL: what happens when the server closes the connection ---- */

static void end_backend(struct store *by, struct store_tx *of)
{
    AUTO(buf_deinit) struct buf pid, answer;
    struct store_tx *tx = begin(by, STORE_READ);
    char sql[128];

    buf_init_heap(&pid, 64);
    buf_init_heap(&answer, 64);
    assert_int_equal(db_ask(of->conn->db, "SELECT pg_backend_pid()", &pid), 0);
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%s, 10000)", buf_text(&pid));
    assert_int_equal(db_ask(tx->conn->db, sql, &answer), 0);
    store_rollback(tx);
}

static void test_lost(void **state)
{
    struct store_query q = { .source = STORE_OBJECTS, .kind = "user", .limit = 5 };
    struct store_stats stats;
    struct store *other;
    struct store_tx *tx;
    uint64_t users = 1;

    if (!where_is_postgres())
        skip();
    other = open_store();

    /* In the middle: the transaction is lost, and nothing of it is there. */
    tx = begin(*state, STORE_WRITE);
    (void)add(tx, "user", "ann", "{}");
    end_backend(other, tx);
    assert_int_equal(store_state_put(tx, "user", SPAN("a"), SPAN("{}")), -ENOTCONN);
    assert_int_equal(store_commit(&tx, NULL), -ENOTCONN);

    /* Between two: the next one begins on a connection of its own. */
    tx = begin(*state, STORE_WRITE);
    assert_int_equal(store_count(tx, &q, &users), 0);
    assert_int_equal(users, 0);
    end_backend(other, tx);
    store_rollback(tx);
    tx = begin(*state, STORE_WRITE);
    (void)add(tx, "user", "ann", "{}");
    assert_int_equal(store_commit(&tx, NULL), 0);
    store_get_stats(*state, &stats);
    assert_int_equal(stats.reconnected, 2);
    assert_false(stats.is_away);
    store_close(other);
}

static void test_nowhere(void **state)
{
    struct store_options options = { .url = "postgresql://adit@/x?host=/nonexistent", .writer = "cp" };
    AUTO(buf_deinit) struct buf err;
    struct store *store = NULL;

    (void)state;
    buf_init_heap(&err, 4096);
    assert_int_equal(store_open(&options, &store, &err), -ENOTCONN);
    assert_true(err.len > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_turns), STORE_TEST(test_writers), STORE_TEST(test_moment),
        STORE_TEST(test_refusals_in_a_row), STORE_TEST(test_merge), STORE_TEST(test_lost),
        cmocka_unit_test(test_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
