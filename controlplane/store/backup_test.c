#include "controlplane/store/store_fixture.h"

/* Migrations of a program that does not exist: the second leaves something for later. */
static const char second[] = "-- oldest: 1\nALTER TABLE meta ADD COLUMN more TEXT NOT NULL DEFAULT ''";
static const char contracts[] = "ALTER TABLE meta DROP COLUMN more";

/* Every column of every table of the database is in the backup. */
static void test_nothing_is_left_out(void **state)
{
    AUTO(buf_deinit) struct buf have, want;
    struct store_tx *tx = begin(*state, STORE_READ);
    const char *sql = where_is_postgres()
        ? "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = "
          "current_schema() AND table_name NOT IN ('position', 'schema_migrations') ORDER BY 1"
        : "SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' "
          "AND m.name NOT IN ('position', 'schema_migrations') ORDER BY 1";
    const char *table, *columns;
    size_t kept = 0, there = 0;

    buf_init_heap(&have, 65536);
    buf_init_heap(&want, 65536);
    assert_int_equal(db_ask(tx->conn->db, sql, &have), 0);
    for (size_t i = 0; (columns = backup_columns(i, &table)); i++) {
        struct span rest = span_str(columns), column;

        while (span_cut(&rest, ',', &column)) {
            buf_clear(&want);
            buf_printf(&want, "%s." SPAN_FMT "\n", table, SPAN_ARG(column));
            assert_non_null(strstr(buf_text(&have), buf_text(&want)));
            kept++;
        }
    }
    for (size_t i = 0; i < have.len; i++)
        there += have.data[i] == '\n';
    assert_int_equal(kept, there);
    store_rollback(tx);
}

static void fill(struct store *store)
{
    struct store_audit event = { .actor_kind = "system", .action = "a.b", .outcome = "ok" };
    struct store_key key = { .purpose = "state", .number = 1, .status = "active", .public_part = SPAN("pub"),
                             .sealed = SPAN("\0\377sealed"), .created_ms = 5 };
    struct store_tx *tx = begin(store, STORE_WRITE);
    struct ulid first = { "" }, id;
    char name[16];

    for (int i = 0; i < 450; i++) {     /* more than two pages */
        snprintf(name, sizeof(name), "u%d", i);
        id = add(tx, "user", name, "{\"a\":\"\\u00e9 \\\"\"}");
        if (!i)
            first = id;
        assert_int_equal(store_audit_append(tx, &event, NULL), 0);
        assert_int_equal(store_state_put(tx, "user", span_str(name), SPAN("{}")), 0);
    }
    assert_int_equal(store_refs_set(tx, &id, "user", &first, 1), 0);
    assert_int_equal(store_secret_put(tx, &first, "password", SPAN("\0\1\377"), "f"), 0);
    assert_int_equal(store_key_put(tx, &key), 0);
    assert_int_equal(store_state_put(tx, "user", SPAN("u1"), SPAN_NONE), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    for (int i = 0; i < 3; i++) {
        tx = begin(store, STORE_WRITE);
        assert_int_equal(store_state_put(tx, "user", SPAN("u2"), i % 2 ? SPAN("{}") : SPAN("{\"x\":1}")), 0);
        assert_int_equal(store_commit(&tx, NULL), 0);
    }
}

static FILE *backed_up(struct store *store, struct store_backup *ret_backup)
{
    struct store_tx *tx = begin(store, STORE_READ);
    FILE *file = tmpfile();

    assert_non_null(file);
    assert_int_equal(store_backup(tx, file, ret_backup), 0);
    store_rollback(tx);
    rewind(file);
    return file;
}

static int take_key(void *ctx, const struct store_key *key)
{
    *(bool *)ctx = span_eq(key->sealed, SPAN("\0\377sealed"));
    return 0;
}

static void check_restored(struct store *store, const struct store_backup *was)
{
    struct store_tx *tx = begin(store, STORE_READ);
    struct store_audit_report report = { 0 };
    struct store_position position = { 0 };
    struct store_object *object = NULL;
    struct store_secret secret;
    bool has_key = false;

    assert_int_equal(store_audit_verify(tx, NULL, 0, &report), 0);
    assert_int_equal(report.events, 451);       /* and the restore itself */
    assert_int_equal(store_position(tx, &position), 0);
    assert_true(position.epoch > was->position.epoch);
    assert_int_equal(store_object_find(tx, "user", SPAN("u0"), &object), 0);
    assert_string_equal(object->doc.p, "{\"a\":\"\\u00e9 \\\"\"}");
    assert_int_equal(store_secret_get(tx, &object->id, "password", &secret), 0);
    assert_true(secret.value_len == 3 && secret.value[0] == 0 && secret.value[2] == 0xff);
    assert_int_equal(store_keys(tx, "state", take_key, &has_key), 0);
    assert_true(has_key);
    store_object_free(object);
    store_rollback(tx);
}

/* Leaves a store in a folder of its own in `*state`. */
static struct store *fresh(void **state)
{
    if (*state)
        teardown(state);
    setup(state);
    return *state;
}

static void test_there_and_back(void **state)
{
    AUTO(buf_deinit) struct buf err;
    struct store_backup first, second_one;
    struct store_tx *tx;
    FILE *file;

    buf_init_heap(&err, 4096);
    fill(*state);
    file = backed_up(*state, &first);
    clock_ms += 60000;

    /* Not over data. */
    tx = begin(*state, STORE_WRITE);
    assert_int_equal(store_restore(tx, file, &second_one, &err), STORE_E_EXISTS);
    store_rollback(tx);

    rewind(file);
    buf_clear(&err);
    tx = begin(fresh(state), STORE_WRITE);
    assert_int_equal(store_restore(tx, file, &second_one, &err), 0);
    assert_int_equal(second_one.rows, first.rows);
    assert_true(second_one.position.epoch >= first.position.epoch + 61);
    assert_int_equal(store_commit(&tx, NULL), 0);
    check_restored(*state, &first);
    fclose(file);
}

static void flip(FILE *file, long at)
{
    int byte;

    fseek(file, at, SEEK_SET);
    byte = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(byte == '1' ? '2' : '1', file);
    rewind(file);
}

static void test_damaged(void **state)
{
    AUTO(buf_deinit) struct buf err;
    struct store_backup backup;
    struct store_tx *tx;
    FILE *file;
    long size;

    buf_init_heap(&err, 4096);
    fill(*state);
    file = backed_up(*state, &backup);
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    tx = begin(fresh(state), STORE_WRITE);
    for (long at = size / 7; at < size; at += size / 7) {
        flip(file, at);                 /* the ones before stay */
        assert_int_equal(store_restore(tx, file, &backup, &err), -EBADMSG);
    }
    rewind(file);
    assert_int_equal(ftruncate(fileno(file), size - 20), 0);
    assert_int_equal(store_restore(tx, file, &backup, &err), -EBADMSG);
    assert_int_equal(ftruncate(fileno(file), 0), 0);
    rewind(file);
    assert_int_equal(store_restore(tx, file, &backup, &err), -EBADMSG);
    store_rollback(tx);
    fclose(file);
}

/* ---- what a migration leaves for later ---- */

static void test_finalize(void **state)
{
    AUTO(buf_deinit) struct buf out, err;
    struct store_tx *tx = begin(*state, STORE_WRITE);
    struct db *db = tx->conn->db;
    const struct driver *real = db->driver;
    const int64_t next = migrations_newest(real) + 1;
    struct migration all[64];
    struct driver newer = *real;
    char line[32], planned[96];

    buf_init_heap(&out, 4096);
    buf_init_heap(&err, 4096);
    assert_true(real->migration_count < ARRAY_LEN(all));
    memcpy(all, real->migrations, real->migration_count * sizeof(all[0]));
    all[newer.migration_count++] = (struct migration){ next, "second", second, contracts };
    newer.migrations = all;
    snprintf(line, sizeof(line), "%04lld second\n", (long long)next);
    snprintf(planned, sizeof(planned), "%04lld second: --finalize, once no older program runs\n", (long long)next);
    real->rollback(db);                 /* the connection alone is needed */

    db->driver = &newer;
    assert_int_equal(migrate(db, 1, &err), 0);
    assert_int_equal(migrate_plan(&newer, db, &out, &err), 0);
    assert_string_equal(buf_text(&out), planned);

    db->driver = real;                  /* an older program may still run */
    assert_int_equal(migrate(db, 1, &err), 0);

    db->driver = &newer;
    buf_clear(&out);
    assert_int_equal(migrate_finalize(db, &out, &err), 0);
    assert_string_equal(buf_text(&out), line);
    buf_clear(&out);
    assert_int_equal(migrate_finalize(db, &out, &err), 0);
    assert_int_equal(migrate_plan(&newer, db, &out, &err), 0);
    assert_int_equal(out.len, 0);

    db->driver = real;                  /* and now it may not */
    assert_int_equal(migrate(db, 1, &err), STORE_E_NEWER);
    assert_non_null(strstr(buf_text(&err), "install a newer"));
    store_rollback(tx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_nothing_is_left_out), STORE_TEST(test_there_and_back), STORE_TEST(test_damaged),
        STORE_TEST(test_finalize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
