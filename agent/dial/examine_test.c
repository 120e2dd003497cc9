#include "agent/dial/dial_fixture.h"
#include "lib/diagnosis/diagnosis.h"
#include <stdlib.h>

/* A relay's end that reads the answer of a diagnosis. */
struct asker {
    struct caller caller;           /* first: the stream's user is it */
    char text[DIAGNOSIS_BYTES_MAX + 1];
    size_t len;
};

static void on_answer(void *user, struct mux_stream *s)
{
    struct asker *a = user;
    struct span span;

    while (mux_stream_peek(s, &span, 1)) {
        assert_true(a->len + span.n < sizeof(a->text));
        memcpy(a->text + a->len, span.p, span.n);
        a->len += span.n;
        mux_stream_consume(s, span.n);
    }
    if (mux_stream_at_fin(s) && !a->caller.is_fin) {
        a->caller.is_fin = true;
        mux_stream_fin(s);
    }
}

static struct diagnosis *answer_of(const struct asker *a)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct diagnosis *d = calloc(1, sizeof(*d));
    struct json_error error;

    assert_non_null(d);
    assert_int_equal(json_parse(span_of(a->text, a->len), &v, &error), 0);
    assert_int_equal(diagnosis_decode(v, d), 0);
    return d;
}

static void use_asker(struct town *t)
{
    struct mux_handlers relay = {
        .on_opened = on_opened, .on_refused = on_refused, .on_readable = on_answer, .on_reset = on_reset,
        .on_ended = on_ended,
    };
    struct mux_handlers agent = { .on_open = on_open };

    wire_close(&t->wire);
    dialer_handlers(&agent);
    wire_open(&t->wire, t->loop, &relay, &agent);
    t->wire.end[1].program = t->dialer;
}

static void test_rows(void **state)
{
    enum { REAL, CLOSED, FULL, OTHER };
    static const struct {
        const char *it, *host, *resolve_to, *tls_name;
        int port;
        bool allow_special, has_no_policy;
        enum reason why;
        unsigned steps, addresses, tries;
    } rows[] = {
        { "connects", "127.0.0.1", NULL, NULL, REAL, true, false, REASON_NONE, 2, 1, 1 },
        { "says that nobody listens", "127.0.0.1", NULL, NULL, CLOSED, true, false, REASON_DIAL_REFUSED, 2, 1, 1 },
        { "says that nobody answers", "127.0.0.1", NULL, NULL, FULL, true, false, REASON_DIAL_TIMEOUT, 2, 1, 1 },
        { "says that there is no such name", "nothing.test", NULL, NULL, OTHER, true, false, REASON_RESOLVE_FAILED, 1, 0, 0 },
        { "does not try a forbidden address", "127.0.0.1", NULL, NULL, REAL, false, false, REASON_TARGET_FORBIDDEN, 2, 1, 0 },
        { "does not try the metadata service", "169.254.169.254", NULL, NULL, OTHER, true, false, REASON_TARGET_FORBIDDEN, 2, 1, 0 },
        { "does not try what a name resolves to when that is forbidden", "ok.test", "127.0.0.1", NULL, OTHER, false, false, REASON_TARGET_FORBIDDEN, 2, 1, 0 },
        { "does not try what the agent's file denies", "denied.test", NULL, NULL, OTHER, true, false, REASON_ACL_DENIED, 1, 0, 0 },
        { "does not try an address that the file denies", "a-66.test", NULL, NULL, OTHER, false, false, REASON_ACL_DENIED, 2, 1, 0 },
        { "does not try without a policy of the control plane", "127.0.0.1", NULL, NULL, REAL, true, true, REASON_TARGET_FORBIDDEN, 2, 1, 0 },
        { "does not try a socket that the file does not list", "ok.test", "unix:/run/docker.sock", NULL, OTHER, true, false, REASON_ACL_DENIED, 2, 0, 0 },
        { "shakes hands with who says nothing until its time is over", "127.0.0.1", NULL, "wiki.test", REAL, true, false, REASON_DIAL_TIMEOUT, 3, 1, 1 },
    };
    AUTO(freep) struct asker *a = calloc(1, sizeof(*a));
    struct town t;

    (void)state;
    town_open(&t);
    use_asker(&t);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(freep) struct diagnosis *d = NULL;
        const uint16_t ports[] = { t.port, t.closed_port, t.full.port, 81 };
        struct mux_open open = {
            .kind = MUX_KIND_DIAGNOSE, .host = span_str(rows[i].host), .port = ports[rows[i].port],
            .allow_special = rows[i].allow_special, .tls_name = span_str(rows[i].tls_name), .answer_ms = 1000,
        };

        check_row(rows[i].it);
        *a = (struct asker){ .len = 0 };
        dialer_set_reach(t.dialer, rows[i].has_no_policy ? NULL : reach_all(&t));
        if (rows[i].resolve_to)
            open.resolve_to[open.resolve_count++] = span_str(rows[i].resolve_to);
        call(&t, &a->caller, open);
        assert_true(loop_run_until(t.loop, is_ended, &a->caller, 10000));
        assert_true(a->caller.is_opened);
        d = answer_of(a);
        assert_int_equal(d->reason, rows[i].why);
        assert_int_equal(d->steps, rows[i].steps);
        assert_int_equal(d->address_count, rows[i].addresses);
        assert_int_equal(d->try_count, rows[i].tries);
        assert_int_equal(d->step[rows[i].steps - 1].reason, rows[i].why);
        assert_int_equal(dialer_stats(t.dialer)->diagnosing, 0);
    }
    assert_int_equal(dialer_stats(t.dialer)->opened, 0);
    town_close(&t);
}

static void test_too_many(void **state)
{
    struct asker *a = calloc(6, sizeof(*a));
    struct mux_open open = { .kind = MUX_KIND_DIAGNOSE, .host = SPAN("127.0.0.1"), .allow_special = true,
                             .tls_name = SPAN("wiki.test"), .answer_ms = 2000 };
    struct town t;

    (void)state;
    town_open(&t);
    use_asker(&t);
    open.port = t.port;
    for (int i = 0; i < 5; i++)
        call(&t, &a[i].caller, open);
    assert_true(loop_run_until(t.loop, is_ended, &a[4].caller, 5000));
    assert_true(a[4].caller.is_refused);
    assert_int_equal(a[4].caller.why, REASON_OVERLOAD);
    assert_int_equal(dialer_stats(t.dialer)->diagnosing, 4);
    wire_cut(&t.wire);              /* whoever asked is gone: nothing is left behind */
    for (int i = 0; i < 4; i++)
        assert_true(loop_run_until(t.loop, is_ended, &a[i].caller, 5000));
    assert_int_equal(dialer_stats(t.dialer)->diagnosing, 0);
    town_close(&t);
    free(a);
}

static void test_revoked(void **state)
{
    AUTO(freep) struct asker *a = calloc(1, sizeof(*a));
    AUTO(freep) struct diagnosis *d = NULL;
    struct mux_open open = { .kind = MUX_KIND_DIAGNOSE, .host = SPAN("127.0.0.1"), .allow_special = true,
                             .tls_name = SPAN("wiki.test"), .answer_ms = 5000 };
    struct town t;
    int fd;

    (void)state;
    town_open(&t);
    use_asker(&t);
    open.port = t.port;
    call(&t, &a->caller, open);
    assert_true(loop_run_until(t.loop, is_answered, &a->caller, 5000));
    loop_run_until(t.loop, is_ended, &a->caller, 100);     /* it is in its handshake */
    fd = accept(t.listening, NULL, NULL);
    assert_true(fd >= 0);
    dialer_set_reach(t.dialer, NULL);
    assert_true(loop_run_until(t.loop, is_ended, &a->caller, 5000));
    d = answer_of(a);
    assert_int_equal(d->reason, REASON_REVOKED);
    close(fd);
    town_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_too_many),
                                        cmocka_unit_test(test_revoked) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
