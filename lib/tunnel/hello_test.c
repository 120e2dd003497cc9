#include "lib/tunnel/hello.h"
#include "lib/tunnel/pace.h"
#include "lib/tunnel/tunnel_state.h"
#include "lib/check/check.h"
#include "lib/crypto/ca.h"
#include "lib/crypto/random.h"

#define BOOT "01J00000000000000000000001"
#define NONCE "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define DIALLING "{\"protocol\":1,\"boot_id\":\"" BOOT "\",\"starts\":3,\"nonce\":\"" NONCE "\""
#define ACCEPTING DIALLING ",\"session\":\"" BOOT "\",\"secret\":\"" NONCE "\""

static void test_refusals(void **state)
{
    static const struct {
        const char *it, *json;
        bool is_accepting_side;
        const char *pointer;        /* NULL: taken */
    } rows[] = {
        { "takes a certificate", DIALLING ",\"credential\":\"certificate\"}", false, NULL },
        { "takes unknown fields", DIALLING ",\"credential\":\"certificate\",\"new\":[1]}", false,
          NULL },
        { "takes the link that it replaces",
          DIALLING ",\"credential\":\"certificate\",\"replaces\":\"" BOOT "\"}", false, NULL },
        { "refuses to replace what is no session",
          DIALLING ",\"credential\":\"certificate\",\"replaces\":\"0123456789abcdef!!!!!!!!!!\"}", false, "/replaces" },
        { "takes a join",
          DIALLING ",\"credential\":\"join\",\"token_id\":\"t\",\"csr\":\"c\",\"mac\":\"m\"}",
          false, NULL },
        { "refuses a join without a MAC",
          DIALLING ",\"credential\":\"join\",\"token_id\":\"t\",\"csr\":\"c\"}", false,
          "/token_id" },
        { "refuses an unknown credential", DIALLING ",\"credential\":\"magic\"}", false,
          "/credential" },
        { "refuses none", DIALLING "}", false, "/credential" },
        { "refuses the accepting side's", DIALLING ",\"credential\":\"\"}", false, "/credential" },
        { "refuses a session without a proof",
          DIALLING ",\"credential\":\"session\",\"session\":\"" BOOT "\"}", false, "/proof" },
        { "refuses a signature without a chain",
          DIALLING ",\"credential\":\"signature\",\"signature\":\"x\"}", false, "/signature" },
        { "refuses a boot id that is none",
          "{\"protocol\":1,\"boot_id\":\"01J0000000000000000000000!\",\"starts\":3,\"nonce\":"
          "\"" NONCE "\",\"credential\":\"certificate\"}",
          false, "/boot_id" },
        { "refuses a short nonce",
          "{\"protocol\":1,\"boot_id\":\"" BOOT
          "\",\"starts\":3,\"nonce\":\"AAAA\",\"credential\":\"certificate\"}",
          false, "/nonce" },
        { "refuses spare bits in the nonce",
          "{\"protocol\":1,\"boot_id\":\"" BOOT
          "\",\"starts\":3,\"nonce\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB\","
          "\"credential\":\"certificate\"}",
          false, "/nonce" },
        { "refuses an accepting side without a session", DIALLING "}", true, "/session" },
        { "refuses an accepting side without a secret", DIALLING ",\"session\":\"" BOOT "\"}", true,
          "/secret" },
        { "takes an accepting side",
          DIALLING ",\"session\":\"" BOOT "\",\"secret\":\"" NONCE "\",\"relays\":[\"a:1\"]}", true,
          NULL },
        { "takes the worker that has the link", ACCEPTING ",\"workers\":2,\"worker\":1}", true, NULL },
        { "takes the most workers", ACCEPTING ",\"workers\":1024,\"worker\":1023}", true, NULL },
        { "refuses a worker too many", ACCEPTING ",\"workers\":1025,\"worker\":0}", true, "/workers" },
        { "refuses a worker beyond the last", ACCEPTING ",\"workers\":2,\"worker\":2}", true, "/worker" },
        { "refuses a second worker of none", ACCEPTING ",\"worker\":1}", true, "/worker" },
        { "does not ask the dialling side for workers",
          DIALLING ",\"credential\":\"certificate\",\"worker\":9}", false, NULL },
        { "refuses a text that is no object", "[]", true, "" },
        { "refuses a fraction", "{\"protocol\":1.5}", true, "/protocol" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tunnel_hello h = { 0 };
        struct json_error e = { 0 };
        int r = hello_decode(span_str(rows[i].json), rows[i].is_accepting_side, &h, &e);

        check_row(rows[i].it);
        assert_int_equal(r, rows[i].pointer ? -EINVAL : 0);
        if (rows[i].pointer)
            assert_string_equal(e.pointer, rows[i].pointer);
        else
            hello_deinit(&h);
    }
}

static void make(struct tunnel_hello *accepting, struct tunnel_hello *dialling)
{
    *accepting =
        (struct tunnel_hello){ .protocol = 1, .id = "01J0000000000000000000000A", .boot_id = BOOT };
    *dialling = (struct tunnel_hello){ .protocol = 1,
                                       .boot_id = "01J0000000000000000000000B",
                                       .starts = 7 };
    assert_true(span_copy(SPAN("relay \"1\""), accepting->name, sizeof(accepting->name)));
    random_bytes(accepting->nonce, 32);
    random_bytes(dialling->nonce, 32);
    random_bytes(accepting->session.secret, 32);
    assert_true(ulid_parse(SPAN("01J0000000000000000000000C"), &accepting->session.id));
}

static void test_round_trip(void **state)
{
    struct tunnel_hello a, d, back = { 0 };
    struct json_error e;
    struct buf b;

    (void)state;
    make(&a, &d);
    a.workers = 3;
    a.worker = 2;
    buf_init_heap(&b, 16368);
    hello_encode(&a, &b);
    assert_int_equal(hello_decode(buf_span(&b), true, &back, &e), 0);
    assert_string_equal(back.name, a.name);
    assert_int_equal(back.workers, 3);
    assert_int_equal(back.worker, 2);
    assert_memory_equal(back.nonce, a.nonce, 32);
    assert_memory_equal(back.session.secret, a.session.secret, 32);
    assert_string_equal(back.session.id.text, a.session.id.text);
    hello_deinit(&back);
    buf_clear(&b);
    d.credential = TUNNEL_SESSION;
    d.session.id = a.session.id;
    hello_proof(&a, &d, span_of(a.session.secret, 32), d.proof);
    hello_encode(&d, &b);
    assert_int_equal(hello_decode(buf_span(&b), false, &back, &e), 0);
    assert_true(hello_proof_is_right(&a, &back, span_of(a.session.secret, 32)));
    assert_int_equal(back.starts, 7);
    hello_deinit(&back);
    buf_deinit(&b);
}

static void test_proof_is_of_both_nonces_and_boot(void **state)
{
    struct tunnel_hello a, d, other;

    (void)state;
    make(&a, &d);
    hello_proof(&a, &d, SPAN("secret"), d.proof);
    assert_true(hello_proof_is_right(&a, &d, SPAN("secret")));
    assert_false(hello_proof_is_right(&a, &d, SPAN("Secret")));
    other = d;
    other.nonce[0] ^= 1;
    assert_false(hello_proof_is_right(&a, &other, SPAN("secret")));
    other = d;
    other.boot_id[25] ^= 1;
    assert_false(hello_proof_is_right(&a, &other, SPAN("secret")));
    a.nonce[31] ^= 1;
    assert_false(hello_proof_is_right(&a, &d, SPAN("secret")));
}

static void test_signature(void **state)
{
    AUTO(ca_freep) struct ca *root = NULL, *agents = NULL;
    AUTO(key_freep) struct key *key = NULL;
    AUTO(chain_freep) struct chain *chain = NULL;
    struct ca_leaf leaf = { .kind = CERT_AGENT,
                            .id = { "01J0000000000000000000000B" },
                            .not_before_s = 1000,
                            .not_after_s = 2000 };
    struct trust trust = { .cluster = "test" };
    struct identity who;
    struct tunnel_hello a, d;
    struct buf pem;

    (void)state;
    make(&a, &d);
    assert_int_equal(ca_new_root("test", 900, 9000, &root), 0);
    assert_int_equal(ca_new_issuing(root, CERT_AGENT, 900, 9000, &agents), 0);
    assert_int_equal(key_generate(&key), 0);
    assert_int_equal(ca_issue_for_key(agents, key, &leaf, &chain), 0);
    assert_int_equal(chain_root_pin(chain, trust.pin), 0);
    buf_init_heap(&pem, CERT_PEM_MAX);
    assert_int_equal(chain_pem(chain, &pem), 0);
    d.credential = TUNNEL_SIGNATURE;
    d.chain_pem = span_dup(buf_span(&pem));
    buf_deinit(&pem);
    assert_int_equal(hello_sign(&a, &d, key), 0);
    assert_int_equal(hello_check_signature(&a, &d, &trust, CERT_AGENT, 1500, &who), REASON_NONE);
    assert_string_equal(who.id.text, leaf.id.text);
    assert_int_equal(hello_check_signature(&a, &d, &trust, CERT_RELAY, 1500, &who),
                     REASON_BAD_CERTIFICATE);
    a.id[25] = 'Z';                 /* a relay in the middle passes it on to another */
    assert_int_equal(hello_check_signature(&a, &d, &trust, CERT_AGENT, 1500, &who),
                     REASON_BAD_PROOF);
    hello_deinit(&d);
}

static void test_order(void **state)
{
    static const struct {
        const char *it, *old_boot;
        int64_t old;
        const char *new_boot;
        int64_t new;
        enum hello_order want;
    } rows[] = {
        { "is one more lane", "A", 1, "A", 1, HELLO_SAME },
        { "is a newer process", "A", 1, "B", 2, HELLO_NEWER },
        { "is an older process", "A", 2, "B", 1, HELLO_OLDER },
        { "refuses a copy with the same count", "A", 2, "B", 2, HELLO_OLDER },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(hello_order(span_str(rows[i].old_boot), rows[i].old,
                                     span_str(rows[i].new_boot), rows[i].new),
                         rows[i].want);
    }
}

static void test_pace(void **state)
{
    static const struct {
        const char *it;
        uint32_t rtt_us, now_us;
        uint64_t rate;
        size_t want;
    } rows[] = {
        { "starts wide while nothing is known", 0, 0, 0, PACE_UNKNOWN_BYTES },
        { "keeps a slow link at the least", 50000, 50000, 50000, PACE_MIN_BYTES },
        { "covers the path and 20 ms where something waits", 30000, 44000, 10000000, 500000 },
        { "asks for twice that where nothing does", 30000, 43000, 10000000, 1000000 },
        { "takes some jitter of a long path for no queue", 160000, 190000, 1000000, 360000 },
        { "ends at the most", 200000, 300000, 10000000000, PACE_MAX_BYTES },
        { "does not wrap", UINT32_MAX - 30000, UINT32_MAX, UINT64_MAX, PACE_MAX_BYTES },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pace p = { 0 };

        check_row(rows[i].it);
        pace_measure(&p, rows[i].rtt_us, rows[i].now_us, rows[i].rate, 1000);
        assert_int_equal(pace_budget(&p), rows[i].want);
    }
}

static void test_pace_forgets_after_two_windows(void **state)
{
    struct pace p = { 0 };

    (void)state;
    pace_measure(&p, 1000, 1000, 100000000, 1000);
    pace_measure(&p, 90000, 90000, 1000000, 11500);
    assert_int_equal(p.rate, 100000000);
    pace_measure(&p, 90000, 90000, 1000000, 22000);
    assert_int_equal(p.rate, 1000000);
    assert_int_equal(p.rtt_us, 90000);
}

/* Every pair: what is allowed, and nothing else. */
static void test_states(void **state)
{
    static const struct {
        enum tunnel_state from;
        enum tunnel_event event;
        enum tunnel_state to;
    } allowed[] = {
        { TUNNEL_NEW, TUNNEL_EVENT_START, TUNNEL_GREETING },
        { TUNNEL_GREETING, TUNNEL_EVENT_HELLO, TUNNEL_HELD },
        { TUNNEL_HELD, TUNNEL_EVENT_ACCEPT, TUNNEL_UP },
        { TUNNEL_NEW, TUNNEL_EVENT_CLOSE, TUNNEL_CLOSING },
        { TUNNEL_GREETING, TUNNEL_EVENT_CLOSE, TUNNEL_CLOSING },
        { TUNNEL_HELD, TUNNEL_EVENT_CLOSE, TUNNEL_CLOSING },
        { TUNNEL_UP, TUNNEL_EVENT_CLOSE, TUNNEL_CLOSING },
    };
    size_t count = 0;

    (void)state;
    for (unsigned from = 0; from < TUNNEL_STATE_COUNT; from++)
        for (unsigned event = 0; event < TUNNEL_EVENT_COUNT; event++) {
            enum tunnel_state now = (enum tunnel_state)from;
            bool is_allowed = tunnel_next(&now, (enum tunnel_event)event);

            count += is_allowed;
            assert_true(is_allowed || now == from);
            for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
                if (allowed[i].from == from && allowed[i].event == event)
                    assert_true(is_allowed && now == allowed[i].to);
        }
    assert_int_equal(count, ARRAY_LEN(allowed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_proof_is_of_both_nonces_and_boot),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_pace_forgets_after_two_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
