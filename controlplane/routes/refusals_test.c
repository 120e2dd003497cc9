#include "controlplane/routes/refusals.h"
#include "controlplane/store/store_where_fixture.h"
#include "lib/check/check.h"
#include "lib/json/json.h"

#include <stdio.h>
#include <unistd.h>

#define ROWS_MAX 4
#define PER_HOUR 6
#define MINUTE_MS 60000

static uint64_t clock_ms;

static uint64_t test_clock(void)
{
    return clock_ms;
}

struct world {
    char dir[64];
    struct store *store;
    struct refusals *refusals;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    AUTO(buf_deinit) struct buf err;
    struct store_where where;
    struct store_options *options;

    buf_init_heap(&err, 1024);
    clock_ms = 1800000000000;
    snprintf(w->dir, sizeof(w->dir), "/tmp/adit-refusals-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    options = store_where(&where, w->dir);
    options->readers = 1;
    options->wait_ms = 50;
    options->now_ms = test_clock;
    assert_int_equal(store_open(options, &w->store, &err), 0);
    assert_int_equal(refusals_new(&(struct refusals_options){ w->store, ROWS_MAX, PER_HOUR }, &w->refusals), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    refusals_free(w->refusals);
    store_close(w->store);
    where_remove(w->dir);
    free(w);
    return 0;
}

/* ---- what the trail says: each event's document in a line, the oldest first ---- */

static int put_line(void *ctx, const struct store_object *row)
{
    buf_put_span(ctx, row->doc);
    buf_put_str(ctx, "\n");
    return 0;
}

static const char *trail(struct world *w, struct buf *lines)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    struct store_query query = { .source = STORE_AUDIT, .limit = 100 };

    buf_init_heap(lines, 1 << 20);
    assert_int_equal(store_begin(w->store, STORE_READ, &tx), 0);
    assert_int_equal(store_list_all(tx, &query, put_line, lines), 0);
    return buf_text(lines);
}

static size_t count_of(const char *text, const char *what)
{
    size_t n = 0;

    for (const char *at = text; (at = strstr(at, what)); at++)
        n++;
    return n;
}

static size_t events(struct world *w, const char *what)
{
    AUTO(buf_deinit) struct buf lines;

    return count_of(trail(w, &lines), what);
}

static void assert_told(struct world *w, const char *line, size_t times)
{
    AUTO(buf_deinit) struct buf lines;
    const char *text = trail(w, &lines);

    if (count_of(text, line) != times)
        print_message("%zu times wanted: %s\nthe trail:\n%s", times, line, text);
    assert_int_equal(count_of(text, line), times);
}

static uint64_t waiting(struct world *w)
{
    struct refusals_stats stats;

    refusals_get_stats(w->refusals, &stats);
    return stats.waiting;
}

static uint64_t folded(struct world *w)
{
    struct refusals_stats stats;

    refusals_get_stats(w->refusals, &stats);
    return stats.folded;
}

static void note_stranger(struct world *w, unsigned source, enum reason why)
{
    char text[32];

    snprintf(text, sizeof(text), "192.0.2.%u", source);
    refusals_note(w->refusals, &(struct refusal){ .reason = why, .source = span_str(text),
        .event = { .actor_kind = "anonymous", .address = span_str(text), .action = "users.list", .trace_id = "t" } });
}

static void note_user(struct world *w, const char *id, enum reason why, const char *action)
{
    refusals_note(w->refusals, &(struct refusal){ .reason = why, .is_known = true,
        .event = { .actor_kind = "user", .actor_id = span_str(id), .actor_name = SPAN("ann"), .action = action,
                   .trace_id = "t" } });
}

static void flush(struct world *w)
{
    assert_int_equal(refusals_flush(w->refusals, false), 0);
}

/* ---- the rows ---- */

static void one_event_tells_how_often(void **state)
{
    struct world *w = *state;

    flush(w);
    assert_int_equal(events(w, "\n"), 0);
    note_user(w, "U1", REASON_FORBIDDEN, "users.create");
    clock_ms += 1000;
    note_user(w, "U1", REASON_FORBIDDEN, "users.create");
    note_user(w, "U1", REASON_CONFLICT, "users.create");
    note_user(w, "U1", REASON_FORBIDDEN, "users.delete");
    note_user(w, "U2", REASON_FORBIDDEN, "users.create");
    assert_int_equal(events(w, "\n"), 0);       /* noting writes nothing */
    assert_int_equal(waiting(w), 5);
    flush(w);
    assert_told(w, "{\"actor\":{\"kind\":\"user\",\"id\":\"U1\",\"name\":\"ann\"},\"action\":\"users.create\",\"object\":{},"
                   "\"outcome\":\"forbidden\",\"trace_id\":\"t\",\"count\":2,\"first_at_ms\":1800000000000,"
                   "\"last_at_ms\":1800000001000}", 1);
    assert_int_equal(events(w, "\"count\":1"), 3);
    assert_int_equal(waiting(w), 0);
    flush(w);
    assert_int_equal(events(w, "\n"), 4);       /* each is told once */
}

static void strangers_are_told_by_their_code_when_there_are_many(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < 3 * ROWS_MAX; i++)
        note_stranger(w, i, REASON_UNAUTHENTICATED);
    note_stranger(w, 0, REASON_UNAUTHENTICATED);        /* has a row */
    note_user(w, "U1", REASON_FORBIDDEN, "users.create");
    assert_int_equal(folded(w), 2 * ROWS_MAX);
    assert_int_equal(refusals_flush(w->refusals, true), 0);
    assert_int_equal(events(w, "\"address\""), ROWS_MAX);
    assert_told(w, "{\"actor\":{\"kind\":\"anonymous\"},\"action\":\"others\",\"object\":{},"
                   "\"outcome\":\"unauthenticated\",\"count\":8", 1);
    assert_told(w, "\"name\":\"ann\"", 1);      /* no stranger pushes him aside */
    assert_int_equal(waiting(w), 0);
}

static void a_flood_writes_no_more_than_it_may(void **state)
{
    struct world *w = *state;
    uint64_t noted = 0;

    for (unsigned minute = 0; minute < 120; minute++) {
        for (unsigned i = 0; i < ROWS_MAX; i++, noted++)
            note_stranger(w, (minute * 7 + i) % 250, i % 2 ? REASON_UNAUTHENTICATED : REASON_NOT_FOUND);
        flush(w);
        clock_ms += MINUTE_MS;
    }
    assert_true(events(w, "\n") <= 3 * PER_HOUR);       /* what was saved up, and two hours' */
    assert_true(events(w, "\n") >= 2 * PER_HOUR);
    assert_true(events(w, "\"others\",\"object\":{},\"outcome\":\"unauthenticated\"") > 0);
    assert_true(events(w, "\"others\",\"object\":{},\"outcome\":\"not-found\"") > 0);
    assert_true(waiting(w) > 0 && waiting(w) < noted);
    assert_int_equal(refusals_flush(w->refusals, true), 0);     /* the last one tells the rest */
    assert_int_equal(waiting(w), 0);
}

static void what_cannot_be_written_is_kept(void **state)
{
    struct world *w = *state;
    struct store_tx *other = NULL;

    for (unsigned i = 0; i < ROWS_MAX + 1; i++)
        note_stranger(w, i, REASON_UNAUTHENTICATED);
    assert_int_equal(store_begin(w->store, STORE_WRITE, &other), 0);
    assert_int_equal(refusals_flush(w->refusals, false), STORE_E_BUSY);
    assert_int_equal(waiting(w), ROWS_MAX + 1);
    store_rollback(other);
    note_stranger(w, 0, REASON_UNAUTHENTICATED);
    assert_int_equal(refusals_flush(w->refusals, true), 0);
    assert_int_equal(events(w, "\n"), ROWS_MAX + 1);
    assert_told(w, "\"address\":\"192.0.2.0\"},\"action\":\"users.list\",\"object\":{},\"outcome\":\"unauthenticated\","
                   "\"trace_id\":\"t\",\"count\":2", 1);
    assert_int_equal(waiting(w), 0);
}

static void a_trail_with_refusals_is_whole(void **state)
{
    struct world *w = *state;
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    struct store_audit_report report;

    note_stranger(w, 1, REASON_UNAUTHENTICATED);
    flush(w);
    assert_int_equal(store_begin(w->store, STORE_READ, &tx), 0);
    assert_int_equal(store_audit_verify(tx, NULL, 0, &report), 0);
    assert_int_equal(report.events, 1);
}

/* ---- answers ---- */

#define ID_A "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define ID_B "01BX5ZZKBKACTAV9WEVGEMMVRZ"

static void answers_become_events(void **state)
{
    static const struct route route = { .operation = "users.update" };
    static const struct {
        const char *it, *principal, *param;
        struct refusal_note note;
        const char *want;               /* NULL: nothing */
    } rows[] = {
        { "names the user, his address and what he asked for", ID_A, "taken", { 0 },
          "{\"actor\":{\"kind\":\"user\",\"id\":\"" ID_A "\",\"name\":\"ann\",\"token_id\":\"" ID_B "\","
          "\"address\":\"192.0.2.7\"},\"action\":\"users.update\",\"object\":{\"name\":\"taken\"},\"outcome\":\"conflict\"" },
        { "tells an id from a name", ID_A, ID_B, { 0 }, "\"object\":{\"id\":\"" ID_B "\"}" },
        { "leaves out what is no name", ID_A, "a b", { 0 }, "\"object\":{}" },
        { "leaves out what may be a secret", ID_A, "adit_0123456789", { 0 }, "\"object\":{}" },
        { "names a stranger's address, and no words of his", "", "taken", { 0 },
          "{\"actor\":{\"kind\":\"anonymous\",\"address\":\"192.0.2.7\"},\"action\":\"users.update\",\"object\":{}," },
        { "is silent where the handler has spoken", ID_A, "taken", { .is_audited = true }, NULL },
        { "names who asks by a relay", ID_A, "",
          { .asker_kind = "anonymous", .object_kind = "join-token", .object = { ID_B } },
          "{\"actor\":{\"kind\":\"anonymous\",\"address\":\"::\"},\"action\":\"users.update\","
          "\"object\":{\"kind\":\"join-token\",\"id\":\"" ID_B "\"}" },
        { "names the agent that has proven itself", ID_A, "",
          { .asker_kind = "agent", .asker = { ID_B }, .object_kind = "agent", .object = { ID_B } },
          "{\"actor\":{\"kind\":\"agent\",\"id\":\"" ID_B "\"},\"action\":\"users.update\"," },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world *w;
        struct request req = { .route = &route, .peer = addr_v4(192, 0, 2, 7), .param_count = 1,
                               .params = { span_str(rows[i].param) }, .trace_id = "t",
                               .principal = { .kind = "user", .name = "ann", .token_id = ID_B } };
        struct response res = { .problem = { .reason = REASON_CONFLICT }, .note = rows[i].note };

        check_row(rows[i].it);
        teardown(state);
        setup(state);
        w = *state;
        if (rows[i].principal[0])
            snprintf(req.principal.id, sizeof(req.principal.id), "%s", rows[i].principal);
        else
            req.principal = (struct principal){ .kind = "" };
        refusals_on_answer(w->refusals, &req, &res);
        flush(w);
        assert_int_equal(events(w, "\n"), rows[i].want ? 1 : 0);
        if (rows[i].want)
            assert_told(w, rows[i].want, 1);
    }
}

/* Whoever has a /64 has all its addresses. */
static void a_network_is_one_stranger(void **state)
{
    struct world *w = *state;
    const struct request none = { .trace_id = "t" };
    struct response res = { .problem = { .reason = REASON_NOT_FOUND } };

    for (unsigned i = 0; i < 3 * ROWS_MAX; i++) {
        struct request req = none;

        assert_true(addr_parse(SPAN("2001:db8::1"), &req.peer));
        req.peer.ip[15] = (unsigned char)i;
        refusals_on_answer(w->refusals, &req, &res);
    }
    flush(w);
    assert_told(w, "\"address\":\"2001:db8::b\"},\"action\":\"unknown\",\"object\":{},\"outcome\":\"not-found\","
                   "\"trace_id\":\"t\",\"count\":12", 1);
}

#define REFUSALS_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REFUSALS_TEST(one_event_tells_how_often),
        REFUSALS_TEST(strangers_are_told_by_their_code_when_there_are_many),
        REFUSALS_TEST(a_flood_writes_no_more_than_it_may),
        REFUSALS_TEST(what_cannot_be_written_is_kept),
        REFUSALS_TEST(a_trail_with_refusals_is_whole),
        REFUSALS_TEST(answers_become_events),
        REFUSALS_TEST(a_network_is_one_stranger),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
