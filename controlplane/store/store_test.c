#include "controlplane/store/store_fixture.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void assert_answers(struct store_tx *tx, const char *sql, const char *want)
{
    AUTO(buf_deinit) struct buf answer;

    buf_init_heap(&answer, 4096);
    assert_int_equal(db_ask(tx->conn->db, sql, &answer), 0);
    assert_string_equal(buf_text(&answer), want);
}

static void test_settings(void **state)
{
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct store_where where;
    struct stat st;

    if (where_is_postgres()) {
        assert_answers(tx, "SHOW synchronous_commit", "on\n");
        assert_answers(tx, "SHOW statement_timeout", "30s\n");
        assert_answers(tx, "SHOW lock_timeout", "300ms\n");
        store_rollback(tx);
        return;
    }
    assert_answers(tx, "PRAGMA synchronous", "2\n");
    assert_answers(tx, "PRAGMA foreign_keys", "1\n");
    store_rollback(tx);
    assert_int_equal(stat(store_where(&where, dir)->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_newer_database(void **state)
{
    AUTO(buf_deinit) struct buf err;
    struct store_where where;
    struct store_options *options = store_where(&where, dir);
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct store *again = NULL;

    buf_init_heap(&err, 4096);
    assert_int_equal(db_exec(tx->conn->db, "INSERT INTO schema_migrations VALUES "
                             "(9999, 'future', '', 9999, 0)"), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    assert_int_equal(store_open(options, &again, &err), STORE_E_NEWER);
    assert_non_null(strstr(buf_text(&err), "install a newer"));

    /* A newer one that says older programs may run with it is opened. */
    tx = begin(*state, STORE_WRITE);
    assert_int_equal(db_exec(tx->conn->db, "UPDATE schema_migrations SET oldest = 1"), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    buf_clear(&err);
    assert_int_equal(store_open(options, &again, &err), 0);
    store_close(again);
}

static void test_objects(void **state)
{
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct ulid id = add(tx, "user", "ann", "{\"a\":1}");
    struct store_new_object twin = { .id = store_new_id(*state), .kind = "user",
                                     .name = SPAN("ann"), .doc = SPAN("{}") };
    AUTO(store_object_freep) struct store_object *o = NULL;
    int64_t version = 0;

    assert_int_equal(store_object_insert(tx, &twin), STORE_E_EXISTS);
    twin.kind = "group";
    assert_int_equal(store_object_insert(tx, &twin), 0);
    assert_int_equal(store_object_update(tx, "user", &id, 2, SPAN("ann"), SPAN("{}"), &version),
                     STORE_E_STALE);
    assert_int_equal(store_object_update(tx, "group", &id, 1, SPAN("ann"), SPAN("{}"), &version),
                     STORE_E_NOT_FOUND);
    assert_int_equal(store_object_update(tx, "user", &id, 1, SPAN("ann"), SPAN("{\"a\":2}"), &version), 0);
    assert_int_equal(version, 2);
    assert_int_equal(store_object_find(tx, "user", SPAN("ann"), &o), 0);
    assert_string_equal(o->doc.p, "{\"a\":2}");
    assert_int_equal(o->version, 2);
    assert_int_equal(store_object_manage(tx, "user", &id, "team"), 0);
    store_object_free(TAKE(o));
    assert_int_equal(store_object_get(tx, "user", &id, &o), 0);
    assert_string_equal(o->managed_by, "team");
    assert_int_equal(store_object_delete(tx, "user", &id, 0), 0);
    assert_int_equal(store_object_delete(tx, "user", &id, 0), STORE_E_NOT_FOUND);
    /* Not a document: the database itself refuses. */
    twin.id = store_new_id(*state);
    twin.name = SPAN("bad");
    twin.doc = SPAN("{");
    assert_true(store_object_insert(tx, &twin) < 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static int take_referrer(void *ctx, const struct store_referrer *referrer)
{
    snprintf(ctx, 64, "%s %s", referrer->name, referrer->field);
    return 0;
}

static int count_member(void *ctx, const struct store_member *m)
{
    (void)m;
    ++*(int *)ctx;
    return 0;
}

static void test_references(void **state)
{
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct ulid user = add(tx, "user", "ann", "{}"), group = add(tx, "group", "all", "{}");
    struct ulid grant = add(tx, "grant", "g", "{}"), nobody = store_new_id(*state);
    char text[64] = "";
    bool is_new = false;
    int members = 0;

    assert_int_equal(store_refs_set(tx, &grant, "user_id", &nobody, 1), STORE_E_NO_REF);
    assert_int_equal(store_refs_set(tx, &grant, "user_id", &user, 1), 0);
    assert_int_equal(store_object_delete(tx, "user", &user, 0), STORE_E_IN_USE);
    assert_int_equal(store_referrers(tx, &user, 10, take_referrer, text), 0);
    assert_string_equal(text, "g user_id");
    assert_int_equal(store_member_put(tx, "group", &group, &user, SPAN("{}"), &is_new), 0);
    assert_true(is_new);
    assert_int_equal(store_member_put(tx, "group", &group, &user, SPAN("{}"), &is_new), 0);
    assert_false(is_new);
    assert_int_equal(store_member_put(tx, "group", &group, &nobody, SPAN("{}"), &is_new), STORE_E_NO_REF);
    assert_int_equal(store_members_of(tx, "group", &group, NULL, 10, count_member, &members), 0);
    assert_int_equal(store_groups_of(tx, "group", &user, NULL, 10, count_member, &members), 0);
    assert_int_equal(members, 2);
    assert_int_equal(store_refs_set(tx, &grant, "user_id", NULL, 0), 0);
    assert_int_equal(store_object_delete(tx, "user", &user, 0), 0);
    assert_int_equal(store_members_of(tx, "group", &group, NULL, 10, count_member, &members), 0);
    assert_int_equal(members, 2);
    store_rollback(tx);
}

static void append_audit(struct store *store, const char *action)
{
    struct store_audit event = { .actor_kind = "user", .actor_name = SPAN("a\"nn"), .action = action,
                                 .after = SPAN("{\"a\":null}"), .outcome = "ok" };
    struct store_tx *tx = begin(store, STORE_WRITE);

    assert_int_equal(store_audit_append(tx, &event, NULL), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static void test_audit(void **state)
{
    static const struct {
        const char *it, *sql;
    } rows[] = {
        { "notices a changed event", "UPDATE audit_events SET doc = '{\"action\":\"b.x\"}' WHERE seq = 2" },
        { "notices a changed time", "UPDATE audit_events SET at = at + 1 WHERE seq = 2" },
        { "notices a removed event", "DELETE FROM audit_events WHERE seq = 2" },
        { "notices a removed first event", "DELETE FROM audit_events WHERE seq = 1" },
        { "notices a changed hash", "UPDATE audit_events SET hash = prev_hash WHERE seq = 3" },
    };
    struct store_audit_report report = { 0 };
    struct store_tx *tx;

    append_audit(*state, "a.b");
    append_audit(*state, "b.c");
    append_audit(*state, "c.d");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        tx = begin(*state, STORE_WRITE);
        assert_int_equal(store_audit_verify(tx, NULL, 0, &report), 0);
        assert_int_equal(report.events, 3);
        assert_int_equal(db_exec(tx->conn->db, rows[i].sql), 0);
        assert_int_equal(store_audit_verify(tx, NULL, 0, &report), -EUCLEAN);
        assert_true(report.bad_seq > 0);
        store_rollback(tx);
    }
}

struct changes {
    int sets, removals;
};

static int count_change(void *ctx, const struct store_change *change)
{
    struct changes *c = ctx;

    if (change->json.p)
        c->sets++;
    else
        c->removals++;
    return 0;
}

static int commits;

static void on_commit(void *ctx)
{
    (void)ctx;
    commits++;
}

static void test_state(void **state)
{
    struct store_position position = { 0 };
    struct store_tx *tx;
    struct changes c = { 0 };

    store_on_commit(*state, on_commit, NULL);
    commits = 0;
    tx = begin(*state, STORE_WRITE);
    assert_int_equal(store_state_put(tx, "user", SPAN("1"), SPAN("{\"a\":1}")), 0);
    assert_int_equal(store_state_put(tx, "user", SPAN("2"), SPAN("{}")), 0);
    assert_int_equal(store_commit(&tx, &position), 0);
    assert_int_equal(position.revision, 1);
    assert_int_equal(commits, 1);

    tx = begin(*state, STORE_WRITE);
    assert_int_equal(store_state_put(tx, "user", SPAN("1"), SPAN("{\"a\":1}")), 0);
    assert_int_equal(store_state_put(tx, "user", SPAN("9"), SPAN_NONE), 0);
    assert_int_equal(store_commit(&tx, &position), 0);
    assert_int_equal(position.revision, 1);     /* nothing changed */
    assert_int_equal(commits, 1);

    tx = begin(*state, STORE_WRITE);
    assert_int_equal(store_state_put(tx, "user", SPAN("1"), SPAN_NONE), 0);
    assert_int_equal(store_state_put(tx, "user", SPAN("2"), SPAN("{\"b\":1}")), 0);
    store_rollback(tx);
    tx = begin(*state, STORE_WRITE);
    assert_int_equal(store_mark(tx), 0);
    assert_int_equal(store_state_put(tx, "user", SPAN("2"), SPAN("{\"c\":1}")), 0);
    assert_int_equal(store_mark(tx), 0);
    assert_int_equal(store_mark(tx), -ENOSPC);
    assert_int_equal(store_state_put(tx, "user", SPAN("3"), SPAN("{\"c\":1}")), 0);
    assert_int_equal(store_drop_mark(tx), 0);
    assert_int_equal(store_undo_to_mark(tx), 0);
    assert_int_equal(store_undo_to_mark(tx), -EINVAL);
    assert_int_equal(store_state_put(tx, "user", SPAN("1"), SPAN_NONE), 0);
    assert_int_equal(store_commit(&tx, &position), 0);
    assert_int_equal(position.revision, 2);

    tx = begin(*state, STORE_READ);
    assert_int_equal(store_state_changes(tx, 0, count_change, &c), 0);
    assert_int_equal(c.sets, 1);
    assert_int_equal(c.removals, 1);
    c = (struct changes){ 0 };
    assert_int_equal(store_state_each(tx, count_change, &c), 0);
    assert_int_equal(c.sets, 1);
    store_rollback(tx);

    tx = begin(*state, STORE_WRITE);
    assert_int_equal(store_state_trim(tx, 1), 0);
    assert_int_equal(store_state_changes(tx, 0, count_change, &c), STORE_E_NOT_FOUND);
    assert_int_equal(store_state_changes(tx, 1, count_change, &c), 0);
    assert_int_equal(store_epoch_raise(tx), 0);
    assert_int_equal(store_commit(&tx, &position), 0);
    assert_int_equal(position.epoch, 2);
}

static void test_secrets(void **state)
{
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct ulid id = add(tx, "api-token", "t", "{}");
    struct store_secret s = { .value_len = 0 };

    assert_int_equal(store_secret_get(tx, &id, "hash", &s), STORE_E_NOT_FOUND);
    assert_int_equal(store_secret_put(tx, &id, "hash", SPAN("abc\0d"), "abc"), 0);
    assert_int_equal(store_secret_find(tx, "hash", SPAN("abc\0d"), &s), 0);
    assert_string_equal(s.object.text, id.text);
    assert_int_equal(s.value_len, 5);
    assert_int_equal(store_secret_find(tx, "hash", SPAN("abc"), &s), STORE_E_NOT_FOUND);
    assert_int_equal(store_object_delete(tx, "api-token", &id, 0), 0);
    assert_int_equal(store_secret_find(tx, "hash", SPAN("abc\0d"), &s), STORE_E_NOT_FOUND);
    store_rollback(tx);
}

static void test_joining(void **state)
{
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct ulid token = add(tx, "join-token", "", "{}");
    AUTO(buf_deinit) struct buf answer;
    bool repeat = true;
    uint64_t uses;

    buf_init_heap(&answer, 1024);
    assert_int_equal(store_join_use(tx, &token, SPAN("csr1"), 1, &repeat, &answer), 0);
    assert_false(repeat);
    assert_int_equal(store_join_answer(tx, &token, SPAN("csr1"), SPAN("chain")), 0);
    assert_int_equal(store_join_use(tx, &token, SPAN("csr1"), 1, &repeat, &answer), 0);
    assert_true(repeat);
    assert_string_equal(buf_text(&answer), "chain");
    assert_int_equal(store_join_use(tx, &token, SPAN("csr2"), 1, &repeat, &answer), STORE_E_USED_UP);
    clock_ms += STORE_JOIN_REPEAT_MS;
    assert_int_equal(store_join_use(tx, &token, SPAN("csr1"), 1, &repeat, &answer), STORE_E_USED_UP);
    assert_int_equal(store_join_use(tx, &token, SPAN("csr2"), 2, &repeat, &answer), 0);

    /* Renewals are not counted, and not kept for longer than they may be repeated. */
    assert_int_equal(store_join_uses(tx, &token, &uses), 0);
    assert_int_equal(uses, 2);
    clock_ms += STORE_JOIN_REPEAT_MS;
    assert_int_equal(store_join_use(tx, &token, SPAN("csr3"), STORE_JOIN_ANY, &repeat, &answer), 0);
    assert_false(repeat);
    assert_int_equal(store_join_uses(tx, &token, &uses), 0);
    assert_int_equal(uses, 1);
    assert_int_equal(store_join_use(tx, &token, SPAN("csr3"), STORE_JOIN_ANY, &repeat, &answer), 0);
    assert_true(repeat);
    store_rollback(tx);
}

static void test_records(void **state)
{
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct store_query q = { .source = STORE_STREAMS, .limit = 100 };
    uint64_t count = 0;
    struct ulid id;

    for (int i = 0; i < 10; i++) {
        id = store_new_id(*state);
        assert_int_equal(store_record_put(tx, STORE_STREAMS, &id, i == 2 ? SPAN("{\"state\":\"open\"}") :
                                          SPAN("{\"state\":\"closed\"}")), 0);
    }
    assert_int_equal(store_record_put(tx, STORE_STREAMS, &id, SPAN("{\"state\":\"closed\",\"x\":1}")), 0);
    assert_int_equal(store_count(tx, &q, &count), 0);
    assert_int_equal(count, 10);
    assert_int_equal(store_records_trim(tx, STORE_STREAMS, 4), 0);
    assert_int_equal(store_count(tx, &q, &count), 0);
    assert_int_equal(count, 5);         /* four and the open one */
    q.source = STORE_DECISIONS;
    assert_int_equal(store_count(tx, &q, &count), 0);
    assert_int_equal(count, 0);
    store_rollback(tx);
}

static void test_answers(void **state)
{
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct store_answer a = { .status = 201, .body_hash = "h", .location = "/x" }, b = { .status = 0 };

    buf_init_heap(&a.body, 100);
    buf_put_str(&a.body, "{}");
    assert_int_equal(store_answer_get(tx, SPAN("p"), SPAN("k"), "users.create", &b), STORE_E_NOT_FOUND);
    assert_int_equal(store_answer_put(tx, SPAN("p"), SPAN("k"), "users.create", &a), 0);
    assert_int_equal(store_answer_get(tx, SPAN("q"), SPAN("k"), "users.create", &b), STORE_E_NOT_FOUND);
    assert_int_equal(store_answer_get(tx, SPAN("p"), SPAN("k"), "users.create", &b), 0);
    assert_int_equal(b.status, 201);
    assert_string_equal(b.location, "/x");
    buf_deinit(&b.body);
    buf_deinit(&a.body);
    store_rollback(tx);
}

static void test_busy(void **state)
{
    struct store_tx *first = begin(*state, STORE_WRITE), *second = NULL;

    assert_int_equal(store_begin(*state, STORE_WRITE, &second), STORE_E_BUSY);
    store_rollback(first);
    assert_int_equal(store_begin(*state, STORE_WRITE, &second), 0);
    store_rollback(second);
}

static void *write_some(void *arg)
{
    struct store *store = arg;

    for (int i = 0; i < 20; i++) {
        struct store_tx *tx = NULL;
        int r;

        do
            r = store_begin(store, STORE_WRITE, &tx);
        while (r == STORE_E_BUSY);
        if (r)
            return arg;
        r = store_state_put(tx, "user", ulid_span(&(struct ulid){ "01ARZ3NDEKTSV4RRFFQ69G5FAV" }),
                            i % 2 ? SPAN("{}") : SPAN("{\"x\":1}"));
        if (r || store_commit(&tx, NULL))
            return arg;
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct store_audit_report report = { 0 };
    pthread_t threads[4];
    struct store_tx *tx;
    void *failed;

    store_on_commit(*state, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, *state), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    tx = begin(*state, STORE_READ);
    assert_int_equal(store_audit_verify(tx, NULL, 0, &report), 0);
    store_rollback(tx);
}

/* The child says which commits were answered; what it said must be there after kill -9. */
static void child_writes(int out)
{
    struct store *store = open_store();

    for (unsigned char i = 0;; i++) {
        struct store_audit event = { .actor_kind = "system", .action = "test", .outcome = "ok" };
        struct store_tx *tx = begin(store, STORE_WRITE);
        char id[16];

        snprintf(id, sizeof(id), "%u", i);
        (void)add(tx, "user", id, "{}");
        assert_int_equal(store_state_put(tx, "user", span_str(id), SPAN("{}")), 0);
        assert_int_equal(store_audit_append(tx, &event, NULL), 0);
        assert_int_equal(store_commit(&tx, NULL), 0);
        if (write(out, &i, 1) != 1 || i == 255)
            _exit(0);
    }
}

static void check_survivors(struct store *store, int acknowledged)
{
    AUTO(buf_deinit) struct buf err;
    struct store_audit_report report = { 0 };
    struct store_position position = { 0 };
    struct store_query q = { .source = STORE_OBJECTS, .kind = "user", .limit = 500 };
    struct store_tx *tx = begin(store, STORE_READ);
    uint64_t users = 0;

    buf_init_heap(&err, 4096);
    assert_int_equal(store_count(tx, &q, &users), 0);
    assert_int_equal(store_audit_verify(tx, NULL, 0, &report), 0);
    assert_int_equal(store_position(tx, &position), 0);
    store_rollback(tx);
    assert_int_equal(store_check(store, &err), 0);
    assert_true(users >= (uint64_t)acknowledged);
    assert_int_equal(report.events, users);     /* whole transactions only */
    assert_int_equal(position.revision, users);
}

static void test_kill(void **state)
{
    for (int stop_after = 1; stop_after < 40; stop_after += 13) {
        int fds[2], acknowledged = 0, status;
        unsigned char byte;
        void *fresh = NULL;
        pid_t pid;

        if (*state)
            teardown(state);
        *state = NULL;
        assert_int_equal(setup(&fresh), 0);
        store_close(fresh);
        assert_int_equal(pipe(fds), 0);
        pid = fork();
        if (pid == 0)
            child_writes(fds[1]);
        close(fds[1]);
        while (acknowledged < stop_after && read(fds[0], &byte, 1) == 1)
            acknowledged++;
        kill(pid, SIGKILL);
        while (read(fds[0], &byte, 1) == 1)
            acknowledged++;
        close(fds[0]);
        waitpid(pid, &status, 0);
        fresh = open_store();
        check_survivors(fresh, acknowledged);
        teardown(&fresh);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_settings),   STORE_TEST(test_newer_database), STORE_TEST(test_objects),
        STORE_TEST(test_references), STORE_TEST(test_audit),          STORE_TEST(test_state),
        STORE_TEST(test_secrets),    STORE_TEST(test_joining),
        STORE_TEST(test_records),    STORE_TEST(test_answers),        STORE_TEST(test_busy),
        STORE_TEST(test_threads),    STORE_TEST(test_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
