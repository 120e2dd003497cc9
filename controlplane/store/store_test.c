#include "controlplane/store/store_internal.h"
#include "lib/check/check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[64], path[96];
static uint64_t clock_ms = 1700000000000;

static uint64_t test_clock(void)
{
    return clock_ms++;
}

static struct store *open_store(void)
{
    struct store_options options = { .path = path, .readers = 2, .wait_ms = 300, .writer = "cp1",
                                     .now_ms = test_clock };
    AUTO(buf_deinit) struct buf err;
    struct store *store = NULL;

    buf_init_heap(&err, 4096);
    assert_int_equal(store_open(&options, &store, &err), 0);
    return store;
}

static int setup(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/adit-store-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/adit.db", dir);
    *state = open_store();
    return 0;
}

static int teardown(void **state)
{
    static const char *const suffixes[] = { "", "-wal", "-shm" };
    char file[128];

    if (*state)
        store_close(*state);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        snprintf(file, sizeof(file), "%s%s", path, suffixes[i]);
        unlink(file);
    }
    rmdir(dir);
    return 0;
}

static struct store_tx *begin(struct store *store, enum store_mode mode)
{
    struct store_tx *tx = NULL;

    assert_int_equal(store_begin(store, mode, &tx), 0);
    return tx;
}

static struct ulid add(struct store_tx *tx, const char *kind, const char *name, const char *doc)
{
    struct store_new_object o = { .id = store_new_id(store_of(tx)), .kind = kind,
                                  .name = span_str(name), .doc = span_str(doc) };

    assert_int_equal(store_object_insert(tx, &o), 0);
    return o.id;
}

static int count_row(void *ctx, const struct store_object *row)
{
    (void)row;
    ++*(int *)ctx;
    return 0;
}

static int64_t pragma(struct dbconn *conn, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value;

    assert_int_equal(sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

static void test_settings(void **state)
{
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct stat st;

    assert_int_equal(pragma(tx->conn, "PRAGMA synchronous"), 2);
    assert_int_equal(pragma(tx->conn, "PRAGMA foreign_keys"), 1);
    store_rollback(tx);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_newer_database(void **state)
{
    struct store_options options = { .path = path, .readers = 1, .writer = "cp1" };
    AUTO(buf_deinit) struct buf err;
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct store *again = NULL;

    buf_init_heap(&err, 4096);
    assert_int_equal(db_exec(tx->conn->db, "INSERT INTO schema_migrations VALUES "
                             "(9999, 'future', '', 9999, 0)"), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    assert_int_equal(store_open(&options, &again, &err), STORE_E_NEWER);
    assert_non_null(strstr(buf_text(&err), "install a newer"));

    /* A newer one that says older programs may run with it is opened. */
    tx = begin(*state, STORE_WRITE);
    assert_int_equal(db_exec(tx->conn->db, "UPDATE schema_migrations SET oldest = 1"), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    buf_clear(&err);
    assert_int_equal(store_open(&options, &again, &err), 0);
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

static void fill_users(struct store *store)
{
    struct store_tx *tx = begin(store, STORE_WRITE);
    char name[32], doc[128];

    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "user%02d", i);
        snprintf(doc, sizeof(doc), "{\"n\":%d,\"role\":\"%s\",\"labels\":{\"a.b\":\"x%d\"},"
                 "\"tags\":[\"t%d\"],\"off\":%s%s}", i, i % 2 ? "user" : "admin", i % 5, i % 3,
                 i % 2 ? "true" : "false", i < 3 ? ",\"note\":\"50%_off\"" : "");
        (void)add(tx, "user", name, doc);
    }
    (void)add(tx, "group", "user99", "{}");
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static void test_filters(void **state)
{
    static const struct {
        const char *it;
        struct store_filter filter;
        const char *q;
        int want, matches;
    } rows[] = {
        { "compares text", { "role", STORE_EQ, STORE_TEXT, SPAN("admin"), 0 }, "", 0, 25 },
        { "negates", { "role", STORE_NE, STORE_TEXT, SPAN("admin"), 0 }, "", 0, 25 },
        { "counts absent as different", { "note", STORE_NE, STORE_TEXT, SPAN("x"), 0 }, "", 0, 50 },
        { "compares numbers", { "n", STORE_LT, STORE_INT, SPAN_NONE, 10 }, "", 0, 10 },
        { "takes booleans", { "off", STORE_EQ, STORE_BOOL, SPAN_NONE, 1 }, "", 0, 25 },
        { "keeps dots in labels", { "labels.a.b", STORE_EQ, STORE_TEXT, SPAN("x4"), 0 }, "", 0, 10 },
        { "looks into arrays", { "tags", STORE_HAS, STORE_TEXT, SPAN("t0"), 0 }, "", 0, 17 },
        { "takes prefixes", { "name", STORE_PREFIX, STORE_TEXT, SPAN("user1"), 0 }, "", 0, 10 },
        { "escapes wildcards", { "name", STORE_PREFIX, STORE_TEXT, SPAN("user_"), 0 }, "", 0, 0 },
        { "finds what is set", { "note", STORE_SET, STORE_TEXT, SPAN_NONE, 0 }, "", 0, 3 },
        { "finds what is absent", { "note", STORE_NULL, STORE_TEXT, SPAN_NONE, 0 }, "", 0, 47 },
        { "searches text", { "note", STORE_SET, STORE_TEXT, SPAN_NONE, 0 }, "50%_o", 0, 3 },
        { "searches literally", { "n", STORE_GE, STORE_INT, SPAN_NONE, 0 }, "50__o", 0, 0 },
        { "takes a quote as a value", { "name", STORE_EQ, STORE_TEXT, SPAN("' OR 1=1 --"), 0 }, "", 0, 0 },
        { "refuses a quote in a path", { "a\"b", STORE_EQ, STORE_TEXT, SPAN("x"), 0 }, "",
          STORE_E_BAD_FILTER, 0 },
        { "refuses an empty step", { "a..b", STORE_EQ, STORE_TEXT, SPAN("x"), 0 }, "",
          STORE_E_BAD_FILTER, 0 },
    };
    struct store_tx *tx;

    fill_users(*state);
    tx = begin(*state, STORE_READ);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct store_query q = { .source = STORE_OBJECTS, .kind = "user", .filter_count = 1,
                                 .text = span_str(rows[i].q), .limit = 500 };
        AUTO(buf_deinit) struct buf next;
        uint64_t count = 0;
        int seen = 0;

        check_row(rows[i].it);
        buf_init_heap(&next, 1024);
        q.filters[0] = rows[i].filter;
        assert_int_equal(store_list(tx, &q, count_row, &seen, &next), rows[i].want);
        assert_int_equal(seen, rows[i].matches);
        assert_int_equal(store_count(tx, &q, &count), rows[i].want);
        assert_int_equal(count, rows[i].matches);
        assert_int_equal(next.len, 0);
    }
    store_rollback(tx);
}

struct walk {
    char seen[128][16];
    int count;
};

static int keep_name(void *ctx, const struct store_object *row)
{
    struct walk *w = ctx;

    snprintf(w->seen[w->count++], 16, "%.15s", row->name);
    return 0;
}

/* Between the pages somebody deletes what was seen and adds at both ends. */
static void disturb(struct store *store, int page, const char *seen)
{
    struct store_tx *tx = begin(store, STORE_WRITE);
    AUTO(store_object_freep) struct store_object *o = NULL;
    char name[16];

    assert_int_equal(store_object_find(tx, "user", span_str(seen), &o), 0);
    assert_int_equal(store_object_delete(tx, "user", &o->id, 0), 0);
    snprintf(name, sizeof(name), "aaa%d", page);
    (void)add(tx, "user", name, "{\"n\":-1,\"role\":\"user\"}");
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static void walk_pages(struct store *store, const char *sort, bool is_descending, struct walk *w)
{
    AUTO(buf_deinit) struct buf cursor, next;
    int page = 0;

    buf_init_heap(&cursor, 8192);
    buf_init_heap(&next, 8192);
    do {
        struct store_query q = { .source = STORE_OBJECTS, .kind = "user", .sort = sort,
                                 .is_descending = is_descending, .limit = 7,
                                 .after = buf_span(&cursor) };
        struct store_tx *tx = begin(store, STORE_READ);

        buf_clear(&next);
        assert_int_equal(store_list(tx, &q, keep_name, w, &next), 0);
        store_rollback(tx);
        disturb(store, page++, w->seen[w->count - 1]);
        buf_clear(&cursor);
        buf_put_span(&cursor, buf_span(&next));
        assert_true(page < 20);
    } while (cursor.len);
}

static void test_cursors(void **state)
{
    static const struct {
        const char *it, *sort;
        bool is_descending;
    } rows[] = {
        { "walks by id", NULL, false },
        { "walks by id downwards", NULL, true },
        { "walks by name", "name", false },
        { "walks by a number downwards", "n", true },
        { "walks by a field with few values", "role", false },
        { "walks by a field that most lack", "note", true },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct walk w = { .count = 0 };
        char name[16];
        void *fresh = NULL;

        check_row(rows[i].it);
        if (i)
            assert_int_equal(setup(&fresh), 0);
        else
            fresh = *state;
        fill_users(fresh);
        walk_pages(fresh, rows[i].sort, rows[i].is_descending, &w);
        for (int user = 0; user < 50; user++) {
            int times = 0;

            snprintf(name, sizeof(name), "user%02d", user);
            for (int k = 0; k < w.count; k++)
                times += strcmp(w.seen[k], name) == 0;
            assert_int_equal(times, 1);
        }
        teardown(&fresh);
    }
    *state = NULL;
}

static void test_bad_cursors(void **state)
{
    AUTO(buf_deinit) struct buf next;
    struct store_query q = { .source = STORE_OBJECTS, .kind = "user", .limit = 5 };
    struct store_tx *tx;
    int seen = 0;

    buf_init_heap(&next, 1024);
    fill_users(*state);
    tx = begin(*state, STORE_READ);
    q.after = SPAN("!!");
    assert_int_equal(store_list(tx, &q, count_row, &seen, &next), STORE_E_BAD_CURSOR);
    q.after = SPAN("AAAA");
    assert_int_equal(store_list(tx, &q, count_row, &seen, &next), STORE_E_BAD_CURSOR);
    q.after = SPAN_NONE;
    assert_int_equal(store_list(tx, &q, count_row, &seen, &next), 0);
    q.after = buf_span(&next);
    q.sort = "name";
    assert_int_equal(store_list(tx, &q, count_row, &seen, &next), STORE_E_BAD_CURSOR);
    store_rollback(tx);
}

static int count_facet(void *ctx, struct span value, uint64_t count)
{
    if (span_eq(value, SPAN("x1")))
        *(uint64_t *)ctx = count;
    return 0;
}

static void test_facets(void **state)
{
    struct store_query q = { .source = STORE_OBJECTS, .kind = "user", .limit = 5 };
    uint64_t count = 0;
    struct store_tx *tx;

    fill_users(*state);
    tx = begin(*state, STORE_READ);
    assert_int_equal(store_facet(tx, &q, "labels.a.b", 10, count_facet, &count), 0);
    assert_int_equal(count, 10);
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
        { "notices a changed event", "UPDATE audit_events SET doc = replace(doc, 'b.c', 'b.x') WHERE seq = 2" },
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
        assert_int_equal(store_audit_verify(tx, &report), 0);
        assert_int_equal(report.events, 3);
        assert_int_equal(db_exec(tx->conn->db, rows[i].sql), 0);
        assert_int_equal(store_audit_verify(tx, &report), -EUCLEAN);
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
    assert_int_equal(store_undo_to_mark(tx), 0);
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
    assert_int_equal(store_audit_verify(tx, &report), 0);
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
    assert_int_equal(store_audit_verify(tx, &report), 0);
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

#define STORE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_settings),   STORE_TEST(test_newer_database), STORE_TEST(test_objects),
        STORE_TEST(test_references), STORE_TEST(test_filters),        STORE_TEST(test_cursors),
        STORE_TEST(test_bad_cursors), STORE_TEST(test_facets),        STORE_TEST(test_audit),
        STORE_TEST(test_state),      STORE_TEST(test_secrets),        STORE_TEST(test_joining),
        STORE_TEST(test_records),    STORE_TEST(test_answers),        STORE_TEST(test_busy),
        STORE_TEST(test_threads),    STORE_TEST(test_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
