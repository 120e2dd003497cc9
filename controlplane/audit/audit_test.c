#include "controlplane/audit/keeper.h"
#include "controlplane/audit/verify.h"
#include "controlplane/store/store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>


static uint64_t every_ms = 2;           /* the clock ticks once for each look at it */
static struct key *key;
static char file[128];

static void append(struct store *store, const char *action)
{
    struct store_audit event = { .actor_kind = "user", .action = action, .outcome = "ok" };
    struct store_tx *tx = begin(store, STORE_WRITE);

    assert_int_equal(store_audit_append(tx, &event, NULL), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static struct audit_keeper *keeper_of(struct store *store, uint64_t keep_ms, const char *syslog)
{
    AUTO(buf_deinit) struct buf err;
    struct audit_keeper *k = NULL;
    const struct audit_keeper_options options = {
        .store = store, .key = key, .cluster = "adit", .writer = "cp", .every_ms = every_ms,
        .idle_ms = 1000000, .keep_ms = keep_ms, .outside = { file, syslog },
    };

    buf_init_heap(&err, 256);
    assert_int_equal(audit_keeper_new(&options, &k, &err), 0);
    return k;
}

/* Two events for each checkpoint. */
static void fill(struct store *store, struct audit_keeper *k, int checkpoints)
{
    for (int i = 0; i < checkpoints; i++) {
        append(store, "a.b");
        append(store, "b.c");
        assert_int_equal(audit_keeper_beat(k, true), 0);
    }
}

static int verify(struct store_tx *tx, const char *path, struct audit_verdict *v)
{
    const struct audit_verify_options options = { .key = key, .file = path };

    return audit_verify(tx, &options, v);
}

static int set_up(void **state)
{
    int r = setup(state);

    snprintf(file, sizeof(file), "%s/outside", dir);
    return r ? r : key_generate(&key);
}

static int tear_down(void **state)
{
    unlink(file);
    key_free(key);
    return teardown(state);
}

/* ---- what may be done to the database behind our back ---- */

#define HEAD_CUT "DELETE FROM audit_events WHERE seq > 4"
#define FORGED "UPDATE audit_checkpoints SET doc = "                                                   \
    "replace(doc, '\"removed_to\":0', '\"removed_to\":1') WHERE number = "

static void test_tampering(void **state)
{
    static const struct {
        const char *it, *sql;
        enum audit_finding finding;
        bool is_outside;                /* seen by the file alone */
    } rows[] = {
        { "sees a changed event", "UPDATE audit_events SET doc = '{\"action\":\"x.y\"}' WHERE seq = 3", AUDIT_CHAIN },
        { "sees a changed time", "UPDATE audit_events SET at = at + 1 WHERE seq = 3", AUDIT_CHAIN },
        { "sees a changed id", "UPDATE audit_events SET id = '01ARZ3NDEKTSV4RRFFQ69G5FAV' WHERE seq = 3", AUDIT_CHAIN },
        { "sees a dropped event", "DELETE FROM audit_events WHERE seq = 3", AUDIT_CHAIN },
        { "sees the first event dropped", "DELETE FROM audit_events WHERE seq = 1", AUDIT_CHAIN },
        { "sees two events swapped", "UPDATE audit_events SET seq = 100 WHERE seq = 3;"
          "UPDATE audit_events SET seq = 3 WHERE seq = 4; UPDATE audit_events SET seq = 4 WHERE seq = 100", AUDIT_CHAIN },
        { "sees two documents swapped", "UPDATE audit_events SET doc = (SELECT o.doc FROM audit_events o "
          "WHERE o.seq = 7 - audit_events.seq) WHERE seq IN (3, 4)", AUDIT_CHAIN },
        { "sees another writer's name", "UPDATE audit_events SET writer = 'other'", AUDIT_CHAIN },
        { "sees the tail cut", HEAD_CUT, AUDIT_EVENT_MISSING },
        { "sees the last event cut", "DELETE FROM audit_events WHERE seq = 6", AUDIT_EVENT_MISSING },
        { "sees all events gone", "DELETE FROM audit_events", AUDIT_EVENT_MISSING },
        { "sees a dropped checkpoint", "DELETE FROM audit_checkpoints WHERE number = 2", AUDIT_CHECKPOINT_MISSING },
        { "sees the first checkpoint dropped", "DELETE FROM audit_checkpoints WHERE number = 1",
          AUDIT_CHECKPOINT_MISSING },
        { "sees a forged checkpoint", FORGED "2", AUDIT_CHECKPOINT_FORGED },
        { "sees a forged newest checkpoint", FORGED "3", AUDIT_CHECKPOINT_FORGED },
        { "sees a signature of another", "UPDATE audit_checkpoints SET signature = (SELECT signature FROM "
          "audit_checkpoints o WHERE o.number = 1) WHERE number = 2", AUDIT_CHECKPOINT_FORGED },
        { "sees a checkpoint in another's place", "UPDATE audit_checkpoints SET doc = (SELECT doc FROM "
          "audit_checkpoints o WHERE o.number = 1), signature = (SELECT signature FROM audit_checkpoints o "
          "WHERE o.number = 1) WHERE number = 2", AUDIT_CHECKPOINT_FORGED },
        { "sees the tail cut with its checkpoints, by the file outside",
          HEAD_CUT "; DELETE FROM audit_checkpoints WHERE number > 2", AUDIT_OUTSIDE_MISSING, true },
        { "sees everything cut, by the file outside",
          "DELETE FROM audit_events; DELETE FROM audit_checkpoints", AUDIT_OUTSIDE_MISSING, true },
    };
    struct audit_keeper *k = keeper_of(*state, 0, "");
    struct audit_verdict v;

    fill(*state, k, 3);
    audit_keeper_free(k);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct store_tx *tx = begin(*state, STORE_WRITE);

        check_row(rows[i].it);
        assert_int_equal(verify(tx, file, &v), 0);
        assert_int_equal(v.chains.events, 6);
        assert_int_equal(v.checkpoints, 3);
        assert_int_equal(v.outside, 3);
        assert_int_equal(db_exec(tx->conn->db, rows[i].sql), 0);
        assert_int_equal(verify(tx, NULL, &v), rows[i].is_outside ? 0 : -EUCLEAN);
        assert_int_equal(verify(tx, file, &v), -EUCLEAN);
        assert_int_equal(v.finding, rows[i].finding);
        store_rollback(tx);
    }
}

/* Whoever can write the database has no key: a whole new chain of checkpoints is not ours. */
static void test_other_key(void **state)
{
    struct key *own = key;
    struct audit_keeper *k;
    struct audit_verdict v;
    struct store_tx *tx;

    assert_int_equal(key_generate(&key), 0);
    k = keeper_of(*state, 0, "");
    fill(*state, k, 1);
    key_free(key);
    key = own;
    audit_keeper_free(k);
    tx = begin(*state, STORE_READ);
    assert_int_equal(verify(tx, NULL, &v), -EUCLEAN);
    assert_int_equal(v.finding, AUDIT_CHECKPOINT_FORGED);
    store_rollback(tx);
}

/* ---- when one is signed ---- */

static void test_pace(void **state)
{
    struct audit_keeper *k = keeper_of(*state, 0, "");
    struct audit_keeper_stats s;

    append(*state, "a.b");
    assert_int_equal(audit_keeper_beat(k, false), 0);
    audit_keeper_get_stats(k, &s);
    assert_int_equal(s.signed_count, 0);            /* another leads */
    for (int i = 0; i < 5; i++)
        assert_int_equal(audit_keeper_beat(k, true), 0);
    audit_keeper_get_stats(k, &s);
    assert_int_equal(s.signed_count, 1);            /* nothing was written since */
    append(*state, "b.c");
    assert_int_equal(audit_keeper_beat(k, true), 0);
    clock_ms += 1000000;
    assert_int_equal(audit_keeper_beat(k, true), 0);
    audit_keeper_get_stats(k, &s);
    assert_int_equal(s.signed_count, 3);            /* the last says that nothing was */
    assert_int_equal(s.newest, 3);
    assert_int_equal(s.waiting, 0);
    audit_keeper_free(k);
}

/* Not the time for one yet, but the program ends. */
static void test_finish(void **state)
{
    struct audit_keeper *k = keeper_of(*state, 0, "");
    struct audit_keeper_stats s;

    fill(*state, k, 1);
    audit_keeper_free(k);
    every_ms = 1000000;
    k = keeper_of(*state, 0, "");
    append(*state, "a.b");
    assert_int_equal(audit_keeper_beat(k, true), 0);
    audit_keeper_get_stats(k, &s);
    assert_int_equal(s.signed_count, 0);
    assert_int_equal(audit_keeper_finish(k, true), 0);
    audit_keeper_get_stats(k, &s);
    assert_int_equal(s.signed_count, 1);
    every_ms = 2;
    audit_keeper_free(k);
}

/* ---- retention ---- */

static uint64_t count_events(struct store *store)
{
    const struct store_query q = { .source = STORE_AUDIT, .limit = 1 };
    struct store_tx *tx = begin(store, STORE_READ);
    uint64_t n = 0;

    assert_int_equal(store_count(tx, &q, &n), 0);
    store_rollback(tx);
    return n;
}

/* As if served meanwhile: one while nothing is written. */
static void pass(struct audit_keeper *k, uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += 1000000) {
        clock_ms += 1000000;
        assert_int_equal(audit_keeper_beat(k, true), 0);
    }
}

/* A clock that jumps ahead, once or again and again, removes nothing before its time. */
static void test_clock_jumps(void **state)
{
    struct audit_keeper *k = keeper_of(*state, 10000000, "");
    struct audit_verdict v;
    struct store_tx *tx;

    fill(*state, k, 3);
    check_row("removes nothing when the clock jumps ten years ahead");
    clock_ms += 315000000000;
    fill(*state, k, 3);
    pass(k, 3000000);
    assert_int_equal(count_events(*state), 12);
    check_row("nor when it goes back");
    clock_ms -= 315000000000;
    fill(*state, k, 3);
    pass(k, 3000000);
    assert_int_equal(count_events(*state), 18);
    check_row("removes them when their time is over");
    pass(k, 10000000);
    assert_true(count_events(*state) < 18);
    tx = begin(*state, STORE_READ);
    assert_int_equal(verify(tx, file, &v), 0);
    store_rollback(tx);
    audit_keeper_free(k);
}

/* Each checkpoint names every control plane that ever wrote: beyond what it can, that is told. */
static void test_many_writers(void **state)
{
    struct audit_keeper *k = keeper_of(*state, 0, "");
    struct store_tx *tx = begin(*state, STORE_WRITE);

    assert_int_equal(db_exec(tx->conn->db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 255) "
                             "INSERT INTO audit_events (writer, seq, id, at, doc, prev_hash, hash) "
                             "SELECT 'w' || i, 1, 'id' || i, 1, '{}', '', 'h' FROM n"), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    check_row("names as many as it can");
    append(*state, "a.b");
    assert_int_equal(audit_keeper_beat(k, true), 0);
    check_row("says when there are more, each time");
    tx = begin(*state, STORE_WRITE);
    assert_int_equal(db_exec(tx->conn->db, "INSERT INTO audit_events (writer, seq, id, at, doc, prev_hash, hash) "
                             "VALUES ('x', 1, 'idx', 1, '{}', '', 'h')"), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    assert_int_equal(audit_keeper_beat(k, true), AUDIT_KEEPER_E_WRITERS);
    assert_int_equal(audit_keeper_beat(k, true), AUDIT_KEEPER_E_WRITERS);
    audit_keeper_free(k);
}

static void test_retention(void **state)
{
    static const struct {
        const char *it, *sql;
        enum audit_finding finding;
    } rows[] = {
        { "sees more removed than was signed", "DELETE FROM audit_events WHERE seq = "
          "(SELECT min(seq) FROM audit_events)", AUDIT_CHAIN },
        { "sees a change of the event that the rest hangs on", "UPDATE audit_events SET at = 0 WHERE seq = "
          "(SELECT min(seq) FROM audit_events)", AUDIT_CHAIN },
        { "sees its checkpoint gone", "DELETE FROM audit_checkpoints WHERE number = 2", AUDIT_CHECKPOINT_MISSING },
    };
    struct audit_keeper *k = keeper_of(*state, 1000000, "");
    struct audit_verdict v;

    fill(*state, k, 2);
    clock_ms += 2000000;
    assert_int_equal(count_events(*state), 4);
    fill(*state, k, 2);
    assert_int_equal(count_events(*state), 6);      /* number 4 on, with the removal's own event */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct store_tx *tx = begin(*state, STORE_WRITE);

        check_row(rows[i].it);
        assert_int_equal(verify(tx, file, &v), 0);
        assert_int_equal(v.removed, 3);
        assert_int_equal(v.checkpoints, 4);
        assert_int_equal(db_exec(tx->conn->db, rows[i].sql), 0);
        assert_int_equal(verify(tx, file, &v), -EUCLEAN);
        assert_int_equal(v.finding, rows[i].finding);
        store_rollback(tx);
    }
    audit_keeper_free(k);
}

/* ---- outside ---- */

static void cut_file(long bytes)
{
    struct stat st;

    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(truncate(file, st.st_size - bytes), 0);
}

static void change_file(long at)
{
    int fd = open(file, O_RDWR | O_CLOEXEC);
    char c;

    assert_int_equal(pread(fd, &c, 1, at), 1);
    c = c == '1' ? '2' : '1';
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

static void test_file(void **state)
{
    struct audit_keeper *k = keeper_of(*state, 0, "");
    struct audit_verdict v;
    struct stat st;
    struct store_tx *tx;

    fill(*state, k, 2);
    audit_keeper_free(k);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    cut_file(20);                       /* by a crash: the line goes, and is written anew */
    tx = begin(*state, STORE_READ);
    assert_int_equal(verify(tx, file, &v), 0);
    assert_int_equal(v.outside, 1);
    store_rollback(tx);
    k = keeper_of(*state, 0, "");
    fill(*state, k, 1);
    tx = begin(*state, STORE_READ);
    assert_int_equal(verify(tx, file, &v), 0);
    assert_int_equal(v.outside, 3);
    change_file(200);
    assert_int_equal(verify(tx, file, &v), -EUCLEAN);
    assert_int_equal(v.finding, AUDIT_OUTSIDE_FORGED);
    assert_int_equal(v.bad_number, 1);
    store_rollback(tx);
    audit_keeper_free(k);
}

/* What a restore forgot is counted, not an alarm: the epoch says that there was one. */
static void test_restored(void **state)
{
    struct audit_keeper *k = keeper_of(*state, 0, "");
    struct audit_verdict v;
    struct store_tx *tx;

    fill(*state, k, 3);
    audit_keeper_free(k);
    tx = begin(*state, STORE_WRITE);
    assert_int_equal(db_exec(tx->conn->db, HEAD_CUT "; DELETE FROM audit_checkpoints WHERE number > 2"), 0);
    assert_int_equal(store_epoch_raise(tx), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    k = keeper_of(*state, 0, "");
    fill(*state, k, 2);
    audit_keeper_free(k);
    tx = begin(*state, STORE_READ);
    assert_int_equal(verify(tx, file, &v), 0);
    assert_int_equal(v.outside, 7);     /* the last few are said again */
    assert_int_equal(v.outside_lost, 1);
    store_rollback(tx);
}

static void test_syslog(void **state)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    char address[160], text[8192];
    struct audit_keeper *k;
    struct audit_keeper_stats s;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ssize_t n;

    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/log", dir);
    snprintf(address, sizeof(address), "unix:%s", sun.sun_path);
    k = keeper_of(*state, 0, address);
    append(*state, "a.b");
    assert_int_equal(audit_keeper_beat(k, true), -ENOENT);      /* nobody listens: it waits */
    audit_keeper_get_stats(k, &s);
    assert_int_equal(s.waiting, 1);
    assert_int_equal(bind(fd, (const struct sockaddr *)&sun, sizeof(sun)), 0);
    fill(*state, k, 1);
    audit_keeper_get_stats(k, &s);
    assert_int_equal(s.waiting, 0);
    for (int number = 1; number <= 2; number++) {
        char wanted[32];

        snprintf(wanted, sizeof(wanted), "\"number\":%d,", number);
        n = recv(fd, text, sizeof(text) - 1, 0);
        assert_true(n > 0);
        text[n] = '\0';
        assert_non_null(strstr(text, "<110>1 20"));
        assert_non_null(strstr(text, " audit-checkpoint - {\"signature\":\""));
        assert_non_null(strstr(text, wanted));
    }
    unlink(sun.sun_path);
    close(fd);
    audit_keeper_free(k);
}

static void test_syslog_words(void **state)
{
    static const struct {
        const char *it, *text;
        bool is_good;
    } rows[] = {
        { "takes a socket's path", "unix:/dev/log", true },
        { "takes an address", "udp:192.0.2.1:514", true },
        { "takes an IPv6 address", "udp:[2001:db8::1]:514", true },
        { "takes no name: nothing is looked up here", "udp:log.example:514", false },
        { "takes no empty path", "unix:", false },
        { "takes nothing else", "tcp:192.0.2.1:514", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(outside_is_syslog(rows[i].text), rows[i].is_good);
    }
}

#define AUDIT_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUDIT_TEST(test_tampering), AUDIT_TEST(test_other_key), AUDIT_TEST(test_pace),
        AUDIT_TEST(test_retention), AUDIT_TEST(test_clock_jumps), AUDIT_TEST(test_many_writers), AUDIT_TEST(test_file), AUDIT_TEST(test_restored),
        AUDIT_TEST(test_syslog), AUDIT_TEST(test_finish), cmocka_unit_test(test_syslog_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
