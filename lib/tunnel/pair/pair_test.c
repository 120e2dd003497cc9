#include "lib/tunnel/pair/pair_fixture.h"

static const struct pair_options mutual = { .client_kind = CERT_AGENT };

static void test_handshake(void **state)
{
    static const struct {
        const char *it;
        bool is_late;
        enum reason verdict;
        enum cert_kind client;
    } rows[] = {
        { "is accepted", false, REASON_NONE, CERT_AGENT },
        { "is accepted later", true, REASON_NONE, CERT_AGENT },
        { "is accepted without a certificate", false, REASON_NONE, CERT_KIND_COUNT },
        { "is refused", false, REASON_LOCKED, CERT_AGENT },
        { "is refused later", true, REASON_TOKEN_INVALID, CERT_KIND_COUNT },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair_options options = { .client_kind = rows[i].client };
        struct pair p;

        check_row(rows[i].it);
        pair_open(&p, &options);
        p.verdict = rows[i].verdict;
        p.is_verdict_late = rows[i].is_late;
        pair_dial(&p);
        if (rows[i].verdict) {
            assert_true(loop_run_until(p.loop, pair_is_agent_down, &p, 5000));
            assert_int_equal(p.agent_why, rows[i].verdict);
            assert_non_null(strstr(p.agent_text, "not you"));
            assert_false(p.is_agent_up);
        } else {
            assert_true(loop_run_until(p.loop, pair_is_up, &p, 5000));
            assert_true(tunnel_is_up(p.up) && tunnel_is_up(p.dialled));
            assert_int_equal(tunnel_server_stats(p.server)->up, 1);
            assert_int_equal(tunnel_server_stats(p.server)->handshakes, 0);
        }
        assert_int_equal(p.has_shown, rows[i].client == CERT_AGENT);
        if (p.has_shown)
            assert_int_equal(p.shown.kind, CERT_AGENT);
        pair_close(&p);
    }
}

static void run_streams(struct pair *p, uint64_t bytes, uint32_t timeout_ms)
{
    for (unsigned i = 0; i < PAIR_STREAMS; i++)
        pair_stream_open(p, i, bytes);
    assert_true(loop_run_until(p->loop, pair_are_streams_ended, p, timeout_ms));
    for (unsigned i = 0; i < PAIR_STREAMS; i++) {
        struct pair_stream *s = &p->streams[i];

        assert_false(s->is_wrong);
        assert_int_equal(s->how, REASON_NONE);
        assert_int_equal(s->got, bytes);
        assert_true(s->is_fin_seen);
    }
}

/* Each stream: all bytes one way, FIN, all of them back, FIN. */
static void test_bytes(void **state)
{
    static const struct { const char *it; bool is_plain; uint64_t bytes; } rows[] = {
        { "carries nothing but the ends", false, 0 },
        { "carries a byte", false, 1 },
        { "carries bulk without TLS", true, 4u << 20 },
        { "carries 64 MiB each way", false, 16u << 20 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair_options options = { .is_plain = rows[i].is_plain, .client_kind = CERT_AGENT };
        struct pair p;

        check_row(rows[i].it);
        pair_open(&p, &options);
        pair_dial(&p);
        assert_true(loop_run_until(p.loop, pair_is_up, &p, 5000));
        run_streams(&p, rows[i].bytes, 60000);
        pair_close(&p);
    }
}

static void test_notice(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, &mutual);
    pair_dial(&p);
    assert_true(loop_run_until(p.loop, pair_is_up, &p, 5000));
    assert_int_equal(tunnel_notice(p.up, TUNNEL_NOTICE_AGENT_POLICY, 7, SPAN("policy")), 0);
    assert_true(loop_run_until(p.loop, pair_has_notice, &p, 5000));
    assert_string_equal(p.notice, "policy");
    pair_close(&p);
}

static void test_session(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, &mutual);
    pair_dial(&p);
    assert_true(loop_run_until(p.loop, pair_is_up, &p, 5000));
    assert_memory_equal(tunnel_session(p.dialled), &p.session, sizeof(p.session));
    p.login.session = *tunnel_session(p.dialled);
    p.login.kind = TUNNEL_SESSION;
    tunnel_close(p.dialled, REASON_LINK_RENEW, "again");
    assert_true(loop_run_until(p.loop, pair_is_agent_down, &p, 5000));
    assert_true(loop_run_until(p.loop, pair_is_relay_down, &p, 5000));
    assert_int_equal(p.relay_why, REASON_LINK_RENEW);

    pair_dial(&p);
    assert_true(loop_run_until(p.loop, pair_is_up, &p, 5000));
    tunnel_close(p.dialled, REASON_LINK_RENEW, "again");
    assert_true(loop_run_until(p.loop, pair_is_agent_down, &p, 5000));

    p.login.session.secret[0] ^= 1;
    pair_dial(&p);
    assert_true(loop_run_until(p.loop, pair_is_agent_down, &p, 5000));
    assert_int_equal(p.agent_why, REASON_BAD_PROOF);
    pair_close(&p);
}

static void test_wrong_parties(void **state)
{
    static const struct { const char *it; struct pair_options options; enum reason why;
    } rows[] = {
        { "refuses a relay of another root",
          { .is_other_root = true, .client_kind = CERT_AGENT },
          REASON_BAD_CERTIFICATE },
        { "refuses a control plane that plays the relay",
          { .server_kind = CERT_CONTROL, .client_kind = CERT_AGENT },
          REASON_BAD_CERTIFICATE },
        { "refuses a user's certificate", { .client_kind = CERT_USER }, REASON_BAD_CERTIFICATE },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pair p;

        check_row(rows[i].it);
        pair_open(&p, &rows[i].options);
        pair_dial(&p);
        assert_true(loop_run_until(p.loop, pair_is_agent_down, &p, 5000));
        assert_int_equal(p.agent_why, rows[i].why);
        assert_null(p.up);
        pair_close(&p);
    }
}

static bool are_both_down(void *arg)
{
    const struct pair *p = arg;

    return p->is_agent_down && tunnel_server_stats(p->server)->handshakes == 0;
}

static void test_unwanted(void **state)
{
    struct pair p;

    (void)state;
    check_row("ends without a word, and before its credential, what it does not want");
    pair_open(&p, &mutual);
    p.is_unwanted = true;
    pair_dial(&p);
    assert_true(loop_run_until(p.loop, are_both_down, &p, 5000));
    assert_int_equal(p.agent_why, REASON_NONE);
    assert_false(p.is_agent_up);
    assert_false(p.has_shown);
    assert_null(p.up);
    pair_close(&p);
}

static void test_nobody_listens(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, &mutual);
    p.port = 1;
    pair_dial(&p);
    assert_true(loop_run_until(p.loop, pair_is_agent_down, &p, 5000));
    assert_int_equal(p.agent_why, REASON_SESSION_LOST);
    assert_non_null(strstr(p.agent_text, "127.0.0.1:1: connecting: Connection refused"));
    pair_close(&p);
}

static void test_close_while_dialling(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, &mutual);
    pair_dial(&p);
    tunnel_close(p.dialled, REASON_AGENT_DRAINING, "stop");
    assert_non_null(p.dialled);
    assert_true(loop_run_until(p.loop, pair_is_agent_down, &p, 5000));
    assert_int_equal(p.agent_why, REASON_AGENT_DRAINING);
    pair_close(&p);
}

static void test_server_is_freed_under_load(void **state)
{
    struct pair p;

    (void)state;
    pair_open(&p, &mutual);
    pair_dial(&p);
    assert_true(loop_run_until(p.loop, pair_is_up, &p, 5000));
    pair_stream_open(&p, 0, 1u << 30);
    loop_run_until(p.loop, pair_are_streams_ended, &p, 30);
    tunnel_server_free(TAKE(p.server));
    assert_true(p.is_relay_down);
    assert_null(p.up);
    assert_true(loop_run_until(p.loop, pair_is_agent_down, &p, 5000));
    pair_close(&p);
}

static void test_links_are_bounded(void **state)
{
    struct pair_options options = { .client_kind = CERT_AGENT, .links_max = 1 };
    struct pair p;
    struct tunnel *first;

    (void)state;
    pair_open(&p, &options);
    pair_dial(&p);
    assert_true(loop_run_until(p.loop, pair_is_up, &p, 5000));
    first = p.dialled;
    pair_dial(&p);
    assert_true(loop_run_until(p.loop, pair_is_agent_down, &p, 5000));
    assert_int_equal(tunnel_server_stats(p.server)->refused_overload, 1);
    p.dialled = first;
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_notice),
        cmocka_unit_test(test_session),
        cmocka_unit_test(test_wrong_parties),
        cmocka_unit_test(test_unwanted),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_close_while_dialling),
        cmocka_unit_test(test_server_is_freed_under_load),
        cmocka_unit_test(test_links_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
