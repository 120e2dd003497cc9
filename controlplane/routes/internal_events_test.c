#include "controlplane/routes/internal_events.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/internal.h"
#include "controlplane/store/store_where_fixture.h"
#include "lib/check/check.h"

#include <stdio.h>
#include <unistd.h>

#define RELAY "01ARZ3NDEKTSV4RRFFQ69G5FR1"
#define OTHER "01ARZ3NDEKTSV4RRFFQ69G5FR2"
#define STREAM "01ARZ3NDEKTSV4RRFFQ69G5FS1"
#define SECOND "01ARZ3NDEKTSV4RRFFQ69G5FS2"
#define THIRD "01ARZ3NDEKTSV4RRFFQ69G5FS3"
#define FOURTH "01ARZ3NDEKTSV4RRFFQ69G5FS4"
#define FIFTH "01ARZ3NDEKTSV4RRFFQ69G5FS5"
#define OPENED(id_) "{\"events\":[{\"id\":\"" id_ "\",\"type\":\"stream.opened\",\"at_ms\":5,\"data\":" \
    "{\"user_name\":\"ann\",\"target\":\"[2001:db8::1]:443\",\"state\":\"mine\",\"opened_at_ms\":5}}]}"
#define OPENED_BY(boot_, id_) "{\"events\":[{\"id\":\"" id_ "\",\"type\":\"stream.opened\",\"at_ms\":5,\"boot_id\":\"" boot_ \
    "\",\"data\":{\"target\":\"a.example:80\",\"opened_at_ms\":5}}]}"
#define CLOSED(id_) "{\"events\":[{\"id\":\"" id_ "\",\"type\":\"stream.closed\",\"at_ms\":9,\"data\":" \
    "{\"target\":\"a.example:80\",\"sent_bytes\":3,\"received_bytes\":4,\"closed_at_ms\":9}}]}"

struct world {
    char dir[64];
    struct store *store;
    struct internal internal;
    struct route route;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct store_where where;
    struct store_options *options;
    AUTO(buf_deinit) struct buf err;

    buf_init_heap(&err, 1024);
    snprintf(w->dir, sizeof(w->dir), "/tmp/adit-events-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    options = store_where(&where, w->dir);
    options->readers = 1;
    assert_int_equal(store_open(options, &w->store, &err), 0);
    w->internal.enrol.store = w->store;
    w->route.ctx = &w->internal;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    store_close(w->store);
    where_remove(w->dir);
    free(w);
    return 0;
}

static unsigned post(struct world *w, route_fn fn, const char *relay, const char *body)
{
    struct request req = { .method = "POST", .body = span_str(body) };
    struct response res = { .status = 0 };
    unsigned status;

    snprintf(req.principal.id, sizeof(req.principal.id), "%s", relay);
    buf_init_heap(&res.body, 4096);
    fn(&w->route, &req, &res);
    status = res.problem.reason != REASON_NONE ? problem_status(&res.problem) : res.status;
    buf_deinit(&res.body);
    return status;
}

/* The member of the stored row as text; "-" when there is no such row or member. */
static const char *row_text(struct world *w, enum store_source source, const char *id, const char *field,
                            char dst[64])
{
    AUTO(store_object_freep) struct store_object *row = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    struct store_tx *tx = NULL;
    struct ulid key;
    int64_t number;

    assert_true(ulid_parse(span_str(id), &key));
    assert_int_equal(store_begin(w->store, STORE_READ, &tx), 0);
    snprintf(dst, 64, "-");
    if (!store_row_get(tx, source, &key, &row)) {
        assert_int_equal(json_parse(row->doc, &doc, &error), 0);
        if (doc_text(doc, field).n)
            (void)span_copy(doc_text(doc, field), dst, 64);
        else if (json_get_int(doc, field, &number))
            snprintf(dst, 64, "%lld", (long long)number);
    }
    store_rollback(tx);
    return dst;
}

static void test_streams(void **state)
{
    struct world *w = *state;
    char text[64];

    assert_int_equal(post(w, on_relay_events, RELAY, OPENED(STREAM)), 204);
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "state", text), "open");
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "host", text), "2001:db8::1");
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "port", text), "443");
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "relay", text), RELAY);
    assert_int_equal(post(w, on_relay_events, RELAY, CLOSED(STREAM)), 204);
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "state", text), "closed");
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "bytes_out", text), "3");
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "bytes_in", text), "4");
    /* Delivered again, late: it stays closed. */
    assert_int_equal(post(w, on_relay_events, RELAY, OPENED(STREAM)), 204);
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "state", text), "closed");
}

static void test_passed(void **state)
{
    struct world *w = *state;
    char text[64];

    check_row("keeps a stream that was opened and closed at once, and its decision");
    assert_int_equal(post(w, on_relay_events, RELAY,
                          "{\"events\":[{\"id\":\"" STREAM "\",\"type\":\"stream.passed\",\"at_ms\":9,\"data\":"
                          "{\"user_name\":\"ann\",\"target\":\"a.example:80\",\"opened_at_ms\":5,"
                          "\"tries\":[{\"took_ms\":1}],\"sent_bytes\":3,\"reason\":\"client-gone\"}}]}"), 204);
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "state", text), "closed");
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "reason", text), "client-gone");
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "bytes_out", text), "3");
    assert_string_equal(row_text(w, STORE_DECISIONS, STREAM, "reason", text), "ok");
    assert_string_equal(row_text(w, STORE_DECISIONS, STREAM, "stream", text), STREAM);
    assert_string_equal(row_text(w, STORE_DECISIONS, STREAM, "host", text), "a.example");
    assert_string_equal(row_text(w, STORE_DECISIONS, STREAM, "at_ms", text), "5");
    assert_string_equal(row_text(w, STORE_DECISIONS, STREAM, "bytes_out", text), "-");
    assert_string_equal(row_text(w, STORE_DECISIONS, STREAM, "tries", text), "-");

    check_row("keeps what was told of the beginning when the end is told alone");
    assert_int_equal(post(w, on_relay_events, RELAY, OPENED(SECOND)), 204);
    assert_string_equal(row_text(w, STORE_DECISIONS, SECOND, "reason", text), "ok");
    assert_int_equal(post(w, on_relay_events, RELAY, CLOSED(SECOND)), 204);
    assert_string_equal(row_text(w, STORE_STREAMS, SECOND, "state", text), "closed");
    assert_string_equal(row_text(w, STORE_STREAMS, SECOND, "host", text), "a.example");
    assert_string_equal(row_text(w, STORE_STREAMS, SECOND, "opened_at_ms", text), "5");
}

#define WITH(data_) "{\"events\":[{\"id\":\"" STREAM "\",\"type\":\"stream.closed\",\"data\":{" data_ "}}]}"

/* A relay's words stand in documents as they came: none may make a document that cannot be read. */
static void test_data(void **state)
{
    static const struct {
        const char *it, *body;
        unsigned want;
        const char *relay;
    } rows[] = {
        { "refuses a member that stands twice", WITH("\"a\":1,\"a\":2"), 400, "-" },
        { "refuses what is no JSON inside", WITH("\"a\":[1,}"), 400, "-" },
        { "refuses what is twice inside", WITH("\"a\":{\"b\":1,\"b\":2}"), 400, "-" },
        { "refuses a key with escapes", WITH("\"rel\\u0061y\":1"), 400, "-" },
        { "takes no relay's name for another", WITH("\"relay\":\"" OTHER "\""), 204, RELAY },
        { "takes no name of the store", WITH("\"bytes_in\":1,\"received_bytes\":2,\"host\":1,\"target\":\"a:1\""),
          204, RELAY },
    };
    struct world *w = *state;
    char text[64];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(post(w, on_relay_events, RELAY, rows[i].body), rows[i].want);
        assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "relay", text), rows[i].relay);
    }
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "bytes_in", text), "2");
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "host", text), "a");
}

/* Whatever a relay says in an alarm, its other events are taken, and listeners can be told. */
static void test_loud_alarm(void **state)
{
    struct world *w = *state;
    AUTO(buf_deinit) struct buf body;
    char mem[64];

    buf_init_heap(&body, 65536);
    buf_put_str(&body, "{\"events\":[" "{\"id\":\"" STREAM "\",\"type\":\"decision\",\"data\":{\"reason\":\"no-grant\"}},"
                "{\"id\":\"" SECOND "\",\"type\":\"alarm\",\"data\":{\"reason\":\"x\",\"text\":\"");
    for (int i = 0; i < 600; i++)
        buf_put_str(&body, "\\u0001");
    buf_put_str(&body, "\",\"object\":\"");
    for (int i = 0; i < 3000; i++)
        buf_put_str(&body, "\xc3\xa4");
    buf_put_str(&body, "\"}}]}");
    assert_int_equal(post(w, on_relay_events, RELAY, buf_text(&body)), 204);
    assert_string_equal(row_text(w, STORE_DECISIONS, STREAM, "reason", mem), "no-grant");
}

static void test_bodies(void **state)
{
    static const struct {
        const char *it, *body;
        unsigned want;
    } rows[] = {
        { "takes none", "{\"events\":[]}", 204 },
        { "refuses what is no JSON", "{", 400 },
        { "refuses another shape", "{\"events\":{}}", 400 },
        { "refuses no events", "{}", 400 },
        { "passes over unknown types", "{\"events\":[{\"id\":\"" STREAM "\",\"type\":\"x\",\"data\":{}}]}", 204 },
        { "passes over what has no id", "{\"events\":[{\"type\":\"decision\",\"data\":{}}]}", 204 },
        { "passes over a bad id", "{\"events\":[{\"id\":\"../x\",\"type\":\"decision\",\"data\":{}}]}", 204 },
        { "passes over data of another shape",
          "{\"events\":[{\"id\":\"" STREAM "\",\"type\":\"decision\",\"data\":[1]}]}", 204 },
        { "takes a decision", "{\"events\":[{\"id\":\"" STREAM "\",\"type\":\"decision\",\"data\":{\"reason\":\"no-grant\"}}]}", 204 },
        { "takes an alarm", "{\"events\":[{\"id\":\"" STREAM "\",\"type\":\"alarm\",\"data\":{\"reason\":\"replaced\"}}]}", 204 },
    };
    struct world *w = *state;
    char text[64];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(post(w, on_relay_events, RELAY, rows[i].body), rows[i].want);
    }
    assert_string_equal(row_text(w, STORE_DECISIONS, STREAM, "reason", text), "no-grant");
}

static void test_applied(void **state)
{
    struct world *w = *state;
    char text[64];
    struct store_tx *tx = NULL;
    struct ulid relay;
    AUTO(buf_deinit) struct buf doc;
    int64_t at_ms;

    buf_init_heap(&doc, 4096);
    assert_int_equal(post(w, on_relay_applied, RELAY, "[]"), 400);
    assert_int_equal(post(w, on_relay_applied, RELAY, "{\"boot_id\":\"b1\",\"revision\":3}"), 200);
    assert_int_equal(post(w, on_relay_events, RELAY, OPENED(STREAM)), 204);
    assert_int_equal(post(w, on_relay_events, OTHER, OPENED(SECOND)), 204);
    assert_int_equal(post(w, on_relay_applied, RELAY, "{\"boot_id\":\"b1\",\"revision\":4}"), 200);
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "state", text), "open");
    /* Another boot: what it held is gone, what others hold is not. */
    assert_int_equal(post(w, on_relay_applied, RELAY, "{\"boot_id\":\"b2\",\"revision\":4}"), 200);
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "state", text), "closed");
    assert_string_equal(row_text(w, STORE_STREAMS, STREAM, "reason", text), "session-lost");
    assert_string_equal(row_text(w, STORE_STREAMS, SECOND, "state", text), "open");
    /* What the new one told of itself before it said that it had started, it holds. */
    assert_int_equal(post(w, on_relay_events, RELAY, OPENED_BY("b3", THIRD)), 204);
    assert_int_equal(post(w, on_relay_applied, RELAY, "{\"boot_id\":\"b3\",\"revision\":4}"), 200);
    assert_string_equal(row_text(w, STORE_STREAMS, THIRD, "state", text), "open");
    /* What a dead one told, and what came only now, nobody holds. */
    assert_int_equal(post(w, on_relay_events, RELAY, OPENED_BY("b2", FOURTH)), 204);
    assert_string_equal(row_text(w, STORE_STREAMS, FOURTH, "state", text), "closed");
    assert_string_equal(row_text(w, STORE_STREAMS, FOURTH, "reason", text), "session-lost");
    assert_string_equal(row_text(w, STORE_STREAMS, FOURTH, "closed_at_ms", text), "5");
    assert_int_equal(post(w, on_relay_events, RELAY, OPENED_BY("b3", FIFTH)), 204);
    assert_string_equal(row_text(w, STORE_STREAMS, FIFTH, "state", text), "open");
    assert_true(ulid_parse(SPAN(RELAY), &relay));
    assert_int_equal(store_begin(w->store, STORE_READ, &tx), 0);
    assert_int_equal(store_report_get(tx, &relay, "relay.applied", &doc, &at_ms), 0);
    store_rollback(tx);
    assert_non_null(strstr(buf_text(&doc), "\"b3\""));
}

/* ---- whom a relay refused ---- */

#define AGENT "01ARZ3NDEKTSV4RRFFQ69G5FA1"
#define REFUSED(members_) "{\"events\":[{\"id\":\"" STREAM "\",\"type\":\"refused\",\"at_ms\":5,\"data\":{" members_ "}}]}"
#define TIMES "\"first_at_ms\":3,\"last_at_ms\":4"

static int put_doc(void *ctx, const struct store_object *row)
{
    buf_put_span(ctx, row->doc);
    return 0;
}

static void test_refused(void **state)
{
    static const struct {
        const char *it, *body, *want;           /* "": no event */
    } rows[] = {
        { "audits an agent by its id",
          REFUSED("\"place\":\"tunnel\",\"reason\":\"locked\",\"agent\":\"" AGENT "\",\"source\":\"192.0.2.1\",\"count\":7," TIMES),
          "{\"actor\":{\"kind\":\"agent\",\"id\":\"" AGENT "\",\"address\":\"192.0.2.1\"},\"action\":\"relay.tunnel\","
          "\"object\":{\"kind\":\"relay\",\"id\":\"" RELAY "\"},\"outcome\":\"locked\",\"count\":7," TIMES },
        { "audits a stranger by his address",
          REFUSED("\"place\":\"http\",\"reason\":\"bad-request\",\"source\":\"192.0.2.1\",\"count\":1," TIMES),
          "{\"actor\":{\"kind\":\"anonymous\",\"address\":\"192.0.2.1\"},\"action\":\"relay.http\"," },
        { "audits many strangers together", REFUSED("\"place\":\"others\",\"reason\":\"bad-request\",\"count\":1," TIMES),
          "{\"actor\":{\"kind\":\"anonymous\"},\"action\":\"relay.others\"," },
        { "calls a place that it does not know one of the others",
          REFUSED("\"place\":\"x\\n\",\"reason\":\"bad-request\",\"source\":\"x\",\"count\":1," TIMES),
          "{\"actor\":{\"kind\":\"anonymous\"},\"action\":\"relay.others\"," },
        { "passes over an unknown code", REFUSED("\"place\":\"http\",\"reason\":\"new\",\"count\":1"), "" },
        { "passes over what is no refusal", REFUSED("\"place\":\"http\",\"reason\":\"ok\",\"count\":1"), "" },
        { "passes over a count below one", REFUSED("\"place\":\"http\",\"reason\":\"locked\",\"count\":-1"), "" },
        { "passes over data of another shape", "{\"events\":[3,{\"type\":\"refused\",\"data\":[]}]}", "" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct store_query query = { .source = STORE_AUDIT, .limit = 100 };
        AUTO(store_rollbackp) struct store_tx *tx = NULL;
        AUTO(refusals_freep) struct refusals *refusals = NULL;
        AUTO(buf_deinit) struct buf trail;
        struct world *w;

        check_row(rows[i].it);
        teardown(state);
        setup(state);
        w = *state;
        buf_init_heap(&trail, 65536);
        assert_int_equal(refusals_new(&(struct refusals_options){ w->store, 8, 8 }, &refusals), 0);
        w->internal.refusals = refusals;
        assert_int_equal(post(w, on_relay_events, RELAY, rows[i].body), 204);
        assert_int_equal(refusals_flush(refusals, true), 0);
        assert_int_equal(store_begin(w->store, STORE_READ, &tx), 0);
        assert_int_equal(store_list_all(tx, &query, put_doc, &trail), 0);
        assert_true(span_starts(buf_span(&trail), span_str(rows[i].want)));
        assert_int_equal(trail.len > 0, rows[i].want[0] != '\0');
    }
}

#define EVENTS_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVENTS_TEST(test_streams), EVENTS_TEST(test_passed), EVENTS_TEST(test_data), EVENTS_TEST(test_bodies), EVENTS_TEST(test_loud_alarm),
        EVENTS_TEST(test_applied), EVENTS_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
