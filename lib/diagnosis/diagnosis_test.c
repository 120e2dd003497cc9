#include "lib/diagnosis/diagnosis.h"
#include "lib/check/check.h"
#include "lib/diagnosis/order.h"
#include <stdlib.h>

static void test_text(void **state)
{
    static const struct {
        const char *it, *text, *want;
    } rows[] = {
        { "keeps what is plain", "CN=a,O=b", "CN=a,O=b" },
        { "keeps letters of other tongues", "Caf\xc3\xa9", "Caf\xc3\xa9" },
        { "takes an escape out", "a\x1b[2Jb", "a?[2Jb" },
        { "takes a line break out", "a\nb", "a?b" },
        { "takes C1 out", "a\xc2\x9b" "b", "a?b" },
        { "takes what is no UTF-8 out", "a\xff" "b", "a?b" },
        { "cuts what is too long", "0123456789abcdef", "0123456789" },
        { "never cuts a character in two", "012345678\xc3\xa9", "012345678" },
    };
    char dst[11];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        diagnosis_text(dst, sizeof(dst), span_str(rows[i].text));
        assert_string_equal(dst, rows[i].want);
    }
}

#define PUT(member, text) diagnosis_text((member), sizeof(member), span_str(text))

static struct diagnosis *whole(void)
{
    struct diagnosis *d = calloc(1, sizeof(*d));

    assert_non_null(d);
    d->reason = REASON_TLS_UNVERIFIED;
    PUT(d->detail, "certificate has expired");
    d->steps = 3;
    d->step[2] = (struct diagnosis_outcome){ REASON_TLS_UNVERIFIED, 7, "certificate has expired" };
    PUT(d->resolved_by, "dns");
    PUT(d->server, "10.0.0.53:53");
    d->addresses[0] = (struct diagnosis_place){ "127.0.0.1", 0, REASON_TARGET_FORBIDDEN };
    d->addresses[1] = (struct diagnosis_place){ "10.1.0.9", 0, REASON_NONE };
    d->address_count = 2;
    d->addresses_left_out = 3;
    PUT(d->used, "10.1.0.9:443");
    d->tries[0] = (struct diagnosis_place){ "10.1.0.9:443", 4, REASON_NONE };
    d->try_count = 1;
    PUT(d->server_name, "wiki.corp.example");
    PUT(d->version, "TLSv1.3");
    PUT(d->cipher, "TLS_AES_256_GCM_SHA384");
    PUT(d->alpn, "h2");
    PUT(d->certificates[0].subject, "CN=wiki.corp.example");
    PUT(d->certificates[0].issuer, "CN=Corp CA");
    PUT(d->certificates[0].names[0], "wiki.corp.example");
    d->certificates[0].name_count = 1;
    PUT(d->certificates[0].not_after, "2020-01-01T00:00:00Z");
    memset(d->certificates[0].fingerprint, 'a', 64);
    d->certificate_count = 1;
    return d;
}

static void test_round(void **state)
{
    AUTO(freep) struct diagnosis *d = whole(), *again = calloc(1, sizeof(*again));
    AUTO(json_value_freep) struct json_value *v = NULL;
    AUTO(buf_deinit) struct buf text;
    struct json_error error;
    struct json_writer w;

    (void)state;
    buf_init_heap(&text, DIAGNOSIS_BYTES_MAX);
    json_begin(&w, &text);
    diagnosis_encode(d, &w, NULL);
    assert_int_equal(buf_error(&text), 0);
    assert_int_equal(json_parse(buf_span(&text), &v, &error), 0);
    assert_int_equal(diagnosis_decode(v, again), 0);
    assert_memory_equal(again, d, sizeof(*d));
}

#define RESOLVE "{\"step\":\"resolve\",\"reason\":\"ok\",\"took_ms\":1,\"addresses\":[]}"
#define ALL(steps) "{\"reason\":\"ok\",\"steps\":[" steps "]}"

static void test_refused(void **state)
{
    static const struct {
        const char *it, *json;
        bool is_good;
    } rows[] = {
        { "takes one without a step", ALL(""), true },
        { "takes one step", ALL(RESOLVE), true },
        { "takes members that a later release says", "{\"reason\":\"ok\",\"steps\":[],\"more\":{}}", true },
        { "takes a reason that it does not know as internal", "{\"reason\":\"of-tomorrow\",\"steps\":[]}", true },
        { "refuses one without steps", "{\"reason\":\"ok\"}", false },
        { "refuses one without a reason", "{\"steps\":[]}", false },
        { "refuses steps that are no list", "{\"reason\":\"ok\",\"steps\":{}}", false },
        { "refuses a list", "[]", false },
        { "refuses steps in another order", ALL(RESOLVE "," RESOLVE), false },
        { "refuses a fourth step", ALL("1,2,3,4"), false },
        { "refuses a step that is no object", ALL("1"), false },
        { "refuses a negative time", ALL("{\"step\":\"resolve\",\"reason\":\"ok\",\"took_ms\":-1,\"addresses\":[]}"), false },
        { "refuses a text that is a number", ALL("{\"step\":\"resolve\",\"reason\":\"ok\",\"detail\":1,\"addresses\":[]}"), false },
        { "refuses an address that is no object", ALL("{\"step\":\"resolve\",\"reason\":\"ok\",\"addresses\":[1]}"), false },
        { "refuses an address without a verdict", ALL("{\"step\":\"resolve\",\"reason\":\"ok\",\"addresses\":[{\"address\":\"::1\"}]}"), false },
    };
    AUTO(freep) struct diagnosis *d = calloc(1, sizeof(*d));

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json_value_freep) struct json_value *v = NULL;
        struct json_error error;

        check_row(rows[i].it);
        assert_int_equal(json_parse(span_str(rows[i].json), &v, &error), 0);
        assert_int_equal(diagnosis_decode(v, d), rows[i].is_good ? 0 : -EINVAL);
    }
}

/* What is too much is left out, and counted. */
static void test_bounds(void **state)
{
    AUTO(freep) struct diagnosis *d = calloc(1, sizeof(*d));
    AUTO(json_value_freep) struct json_value *v = NULL;
    AUTO(buf_deinit) struct buf text;
    struct json_error error;

    (void)state;
    buf_init_heap(&text, 1 << 20);
    buf_put_str(&text, "{\"reason\":\"ok\",\"steps\":[{\"step\":\"resolve\",\"reason\":\"ok\",\"left_out\":2,\"addresses\":[");
    for (int i = 0; i < 40; i++)
        buf_printf(&text, "%s{\"address\":\"10.0.0.%d\",\"reason\":\"ok\"}", i ? "," : "", i);
    buf_put_str(&text, "]}]}");
    assert_int_equal(json_parse(buf_span(&text), &v, &error), 0);
    assert_int_equal(diagnosis_decode(v, d), 0);
    assert_int_equal(d->address_count, DIAGNOSIS_ADDRESSES_MAX);
    assert_int_equal(d->addresses_left_out, 2 + 40 - DIAGNOSIS_ADDRESSES_MAX);
}

#define ID "01J00000000000000000000000"
#define ORDER(more) "{\"id\":\"" ID "\",\"agent\":\"" ID "\",\"host\":\"a.example\",\"timeout_ms\":5000," more "}"

static void test_order(void **state)
{
    static const struct {
        const char *it, *json;
        bool is_good;
    } rows[] = {
        { "takes what has to be there", ORDER("\"port\":443"), true },
        { "takes all", ORDER("\"port\":443,\"resolve_to\":[\"10.0.0.1\"],\"ranges\":[\"10.0.0.0/8\"],\"special\":true,"
                             "\"tls_name\":\"a.example\",\"principal\":\"alice\",\"grant\":\"" ID "\",\"profile\":\"" ID "\""), true },
        { "takes what a later control plane says beside", ORDER("\"port\":443,\"colour\":\"blue\""), true },
        { "refuses port 0", ORDER("\"port\":0"), false },
        { "refuses a missing port", ORDER("\"special\":false"), false },
        { "refuses one without a time", "{\"id\":\"" ID "\",\"agent\":\"" ID "\",\"host\":\"a\",\"port\":1}", false },
        { "refuses an id that is none", "{\"id\":\"0000000000000000000000000!\",\"agent\":\"" ID "\",\"host\":\"a\",\"port\":1,\"timeout_ms\":100}", false },
        { "refuses more than 15 s", "{\"id\":\"" ID "\",\"agent\":\"" ID "\",\"host\":\"a\",\"port\":1,\"timeout_ms\":15001}", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json_value_freep) struct json_value *v = NULL;
        AUTO(buf_deinit) struct buf text;
        struct diagnosis_order order = { .id = "" };
        struct json_error error;

        check_row(rows[i].it);
        buf_init_heap(&text, ORDER_BYTES_MAX);
        assert_int_equal(json_parse(span_str(rows[i].json), &v, &error), 0);
        assert_int_equal(order_decode(v, &order, &error), rows[i].is_good ? 0 : -EINVAL);
        if (!rows[i].is_good)
            continue;
        order_encode(&order, &text);
        assert_int_equal(buf_error(&text), 0);
        order_deinit(&order);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),   cmocka_unit_test(test_round), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounds), cmocka_unit_test(test_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
