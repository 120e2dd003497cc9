#include "lib/check/check.h"
#include "lib/http1/http1.h"

static void head_of(const char *text, struct http1_head *h)
{
    struct http1_scan scan = { 0 };

    assert_int_equal(http1_request_parse(&scan, span_str(text), h), 0);
}

static void test_lookup(void **state)
{
    struct span value = SPAN("kept");
    struct http1_head h;

    (void)state;
    head_of("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2\r\n\r\n", &h);
    assert_false(http1_find(&h, SPAN("Y"), &value));
    assert_true(span_eq(value, SPAN("kept")));
    assert_true(http1_find(&h, SPAN("x"), &value));
    assert_true(span_eq(value, SPAN("1")));
    assert_int_equal(http1_count(&h, SPAN("X")), 2);
    assert_int_equal(http1_count(&h, SPAN("Y")), 0);
}

static void test_tokens(void **state)
{
    static const struct { const char *it, *value, *token; bool want; } rows[] = {
        { "finds the only one", "close", "close", true },
        { "finds without case", "Upgrade", "uPGRADE", true },
        { "finds the first", "a, b", "a", true },
        { "finds the last", "a,b", "b", true },
        { "finds between empty ones", ",, \tb ,,", "b", true },
        { "finds no prefix", "closed", "close", false },
        { "finds no suffix", "xclose", "close", false },
        { "finds none in nothing", "", "close", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http1_head h = { .field_count = 1 };

        check_row(rows[i].it);
        h.fields[0] = (struct http1_field){ SPAN("cONNECTION"), span_str(rows[i].value) };
        assert_int_equal(http1_has_token(&h, SPAN("Connection"), span_str(rows[i].token)),
                         rows[i].want);
    }
}

static void test_hop_by_hop(void **state)
{
    static const struct { const char *name; bool want; } rows[] = {
        { "connection", true },           { "Keep-Alive", true },     { "TE", true },
        { "Transfer-Encoding", true },    { "Upgrade", true },        { "Proxy-Connection", true },
        { "Proxy-Authorization", true },  { "PROXY-ANYTHING", true }, { "Proxy", true },
        { "X-Named", true },              { "x-other", true },        { "Trailer", false },
        { "Content-Length", false },      { "Host", false },          { "Proxied", false },
        { "Authorization", false },       { "X-Nam", false },         { "P", false },
    };
    struct http1_head h;

    (void)state;
    head_of("GET / HTTP/1.1\r\nHost: a\r\nConnection: x-named\r\nConnection: X-Other\r\n\r\n", &h);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].name);
        assert_int_equal(http1_is_hop_by_hop(&h, span_str(rows[i].name)), rows[i].want);
    }
}

static void test_basic(void **state)
{
    static const struct { const char *it, *value; int want; const char *user, *secret; } rows[] = {
        { "takes user and secret", "Basic YTpi", 0, "a", "b" },
        { "takes the scheme without case", "bASIC YTpi", 0, "a", "b" },
        { "takes more spaces", "Basic   YTpi", 0, "a", "b" },
        { "cuts at the first colon", "Basic YTpiOmM=", 0, "a", "b:c" },
        { "takes an empty secret", "Basic YTo=", 0, "a", "" },
        { "takes an empty user", "Basic OmI=", 0, "", "b" },
        { "takes bytes beyond ASCII", "Basic w7w6w7w=", 0, "\xc3\xbc", "\xc3\xbc" },
        { "refuses another scheme", "Bearer YTpi", HTTP1_BASIC_E_SCHEME, NULL, NULL },
        { "refuses no scheme", "YTpi", HTTP1_BASIC_E_SCHEME, NULL, NULL },
        { "refuses a longer scheme", "Basics YTpi", HTTP1_BASIC_E_SCHEME, NULL, NULL },
        { "refuses nothing", "", HTTP1_BASIC_E_SCHEME, NULL, NULL },
        { "refuses the scheme alone", "Basic", HTTP1_BASIC_E_MALFORMED, NULL, NULL },
        { "refuses no colon", "Basic YWI=", HTTP1_BASIC_E_MALFORMED, NULL, NULL },
        { "refuses no padding", "Basic YTo", HTTP1_BASIC_E_MALFORMED, NULL, NULL },
        { "refuses spare bits", "Basic YTp=", HTTP1_BASIC_E_MALFORMED, NULL, NULL },
        { "refuses the url alphabet", "Basic YTr_", HTTP1_BASIC_E_MALFORMED, NULL, NULL },
        { "refuses two values", "Basic YTpi YTpi", HTTP1_BASIC_E_MALFORMED, NULL, NULL },
        { "refuses a line end inside", "Basic YToNCg==", HTTP1_BASIC_E_MALFORMED, NULL, NULL },
        { "refuses a NUL inside", "Basic YToA", HTTP1_BASIC_E_MALFORMED, NULL, NULL },
        { "refuses more than the memory", "Basic YTpiYmJiYmJiYmJi", HTTP1_BASIC_E_MALFORMED,
          NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span user = SPAN_NONE, secret = SPAN_NONE;
        char mem[8];

        check_row(rows[i].it);
        assert_int_equal(http1_basic_parse(span_str(rows[i].value), mem, sizeof(mem), &user,
                                           &secret),
                         rows[i].want);
        assert_true(span_eq(user, span_str(rows[i].user)));
        assert_true(span_eq(secret, span_str(rows[i].secret)));
    }
}

static void test_errors_have_rows(void **state)
{
    (void)state;
    for (int e = 1; e < HTTP1_E_COUNT; e++) {
        assert_in_range(http1_error_status(e), 400, 505);
        assert_true(strlen(http1_error_text(e)) > 5);
    }
    assert_int_equal(http1_error_status(HTTP1_E_HEAD_TOO_LARGE), 431);
    assert_int_equal(http1_error_status(HTTP1_E_CODING_UNKNOWN), 501);
    assert_int_equal(http1_error_status(HTTP1_E_VERSION), 505);
    assert_int_equal(http1_error_status(HTTP1_E_TIMEOUT), 408);
    assert_int_equal(http1_error_status(HTTP1_E_COUNT), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_hop_by_hop),
        cmocka_unit_test(test_basic),
        cmocka_unit_test(test_errors_have_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
