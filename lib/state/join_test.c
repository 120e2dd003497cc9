#include "lib/state/join.h"
#include "lib/base/encode.h"
#include "lib/check/check.h"
#include "lib/crypto/random.h"
#include <stdio.h>

static struct join_token token(void)
{
    struct join_token t = { .kind = CERT_AGENT, .cluster = "adit", .addr_count = 2,
                            .addrs = { "127.0.0.1:7443", "wss://relay.example:443/tunnel" } };

    t.id = random_ulid(1800000000000);
    random_bytes(t.secret, sizeof(t.secret));
    memset(t.pin, 'f', sizeof(t.pin) - 1);
    return t;
}

static void test_both_ways(void **state)
{
    struct join_token t = token(), got;
    char mem[JOIN_TOKEN_MAX];
    struct buf text;

    (void)state;
    buf_init_fixed(&text, mem, sizeof(mem));
    assert_int_equal(join_token_format(&t, &text), 0);
    assert_true(span_starts(buf_span(&text), SPAN("adit-join-1.")));
    assert_int_equal(join_token_parse(buf_span(&text), &got), 0);
    assert_string_equal(got.id.text, t.id.text);
    assert_memory_equal(got.secret, t.secret, sizeof(t.secret));
    assert_string_equal(got.cluster, t.cluster);
    assert_string_equal(got.addrs[1], t.addrs[1]);
    assert_string_equal(got.pin, t.pin);
    assert_true(got.kind == t.kind && got.addr_count == t.addr_count);
    check_row("refuses it cut anywhere");
    for (size_t n = 0; n < text.len; n++)
        assert_int_equal(join_token_parse(span_first(buf_span(&text), n), &got), -EINVAL);
    check_row("refuses a token of nowhere");
    t.addr_count = 0;
    assert_int_equal(join_token_format(&t, &text), -EINVAL);
}

static void test_refusals(void **state)
{
#define TOKEN(id, secret, kind, addrs, pin) \
    "{\"id\":\"" id "\",\"secret\":\"" secret "\",\"kind\":\"" kind "\",\"cluster\":\"adit\",\"addrs\":" addrs ",\"pin\":\"" pin "\"}"
#define ID "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define SECRET "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define PIN "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    static const struct { const char *it, *json; int want; } rows[] = {
        { "takes a plain one", TOKEN(ID, SECRET, "relay", "[\"a:1\"]", PIN), 0 },
        { "refuses a malformed id", TOKEN("01ARZ3NDEKTSV4RRFFQ69G5FAU!", SECRET, "relay", "[\"a:1\"]", PIN), -EINVAL },
        { "refuses a short secret", TOKEN(ID, "AAAA", "relay", "[\"a:1\"]", PIN), -EINVAL },
        { "refuses a user's", TOKEN(ID, SECRET, "user", "[\"a:1\"]", PIN), -EINVAL },
        { "refuses a control plane's", TOKEN(ID, SECRET, "control", "[\"a:1\"]", PIN), -EINVAL },
        { "refuses no addresses", TOKEN(ID, SECRET, "agent", "[]", PIN), -EINVAL },
        { "refuses nine addresses", TOKEN(ID, SECRET, "agent", "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]", PIN), -EINVAL },
        { "refuses a pin that is no hex", TOKEN(ID, SECRET, "agent", "[\"a:1\"]", "z123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"), -EINVAL },
        { "refuses what is no JSON", "{", -EINVAL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct join_token got;
        char mem[JOIN_TOKEN_MAX];
        struct buf text;

        check_row(rows[i].it);
        buf_init_fixed(&text, mem, sizeof(mem));
        buf_put_str(&text, "adit-join-1.");
        base64url_encode(span_str(rows[i].json), &text);
        assert_int_equal(join_token_parse(buf_span(&text), &got), rows[i].want);
    }
}

static void test_mac(void **state)
{
    struct join_token t = token(), other = token();
    char mac[JOIN_MAC_LEN + 1];

    (void)state;
    join_mac(t.secret, &t.id, SPAN("csr"), mac);
    assert_true(join_mac_check(t.secret, &t.id, SPAN("csr"), span_str(mac)));
    check_row("refuses another key, id, request or MAC");
    assert_false(join_mac_check(other.secret, &t.id, SPAN("csr"), span_str(mac)));
    assert_false(join_mac_check(t.secret, &other.id, SPAN("csr"), span_str(mac)));
    assert_false(join_mac_check(t.secret, &t.id, SPAN("csR"), span_str(mac)));
    assert_false(join_mac_check(t.secret, &t.id, SPAN("csr"), SPAN("")));
    mac[5] ^= 1;
    assert_false(join_mac_check(t.secret, &t.id, SPAN("csr"), span_str(mac)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_mac),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
