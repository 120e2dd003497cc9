#include "lib/check/check.h"
#include "lib/json/json.h"
#include <errno.h>
#include <string.h>

/* "key=value;" for each, then "." at the end or "!" where it is refused. */
static const char *walked(const char *text, char dst[256])
{
    struct span key, value;
    struct json_walk w;
    struct buf out;
    int r;

    buf_init_fixed(&out, dst, 255);
    r = json_walk_begin(span_str(text), &w);
    while (!r && !(r = json_walk_next(&w, &key, &value))) {
        buf_put_span(&out, key);
        buf_put_u8(&out, '=');
        buf_put_span(&out, value);
        buf_put_u8(&out, ';');
    }
    buf_put_u8(&out, r == JSON_E_END ? '.' : '!');
    assert_true(r == JSON_E_END || r == -EINVAL);
    dst[out.len] = 0;
    return dst;
}

static void test_walk(void **state)
{
    static const struct {
        const char *it, *text, *want;
    } rows[] = {
        { "refuses nothing", "", "!" },
        { "refuses a bare value", "1", "!" },
        { "refuses an open object", "{", "!" },
        { "refuses an open array", "[1", "=1;!" },
        { "refuses a wrong end", "[1}", "=1;!" },
        { "refuses what follows", "[1] 2", "=1;!" },
        { "refuses a missing comma", "[1 2]", "=1;!" },
        { "refuses a comma too much", "[1,]", "=1;!" },
        { "refuses a comma at first", "[,1]", "!" },
        { "refuses a key without quotes", "{a:1}", "!" },
        { "refuses a key without a value", "{\"a\"}", "!" },
        { "refuses a key without a colon", "{\"a\" 1}", "!" },
        { "refuses a key with escapes", "{\"\\u0061\":1}", "!" },
        { "refuses a string without an end", "[\"a]", "!" },
        { "refuses an escaped end", "[\"a\\\"]", "!" },
        { "refuses an unknown escape", "[\"\\x\"]", "!" },
        { "refuses control characters", "[\"a\nb\"]", "!" },
        { "refuses what is not UTF-8", "[\"\xff\"]", "!" },
        { "refuses a leading zero", "[01]", "!" },
        { "refuses a plus", "[+1]", "!" },
        { "refuses a sign alone", "[-]", "!" },
        { "refuses a number beyond 64 bits", "[9223372036854775808]", "!" },
        { "refuses an unknown word", "[nil]", "!" },
        { "refuses brackets that do not close", "[[1", "!" },
        { "refuses what is too deep", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "!" },
        { "walks over nothing", " { } ", "." },
        { "walks over an object", "{\"a\":1, \"b\" : \"x\" ,\"c\":null}", "a=1;b=\"x\";c=null;." },
        { "walks over an array", "[1,-20,\"\",true,1.5e3]", "=1;=-20;=\"\";=true;=1.5e3;." },
        { "cuts out what is inside", "{\"a\":{\"b\":[\"}\",\"\\\"]\"]},\"c\":[]}", "a={\"b\":[\"}\",\"\\\"]\"]};c=[];." },
        { "takes escapes and UTF-8", "[\"\\u00e9\\n\",\"\xc3\xa9\"]", "=\"\\u00e9\\n\";=\"\xc3\xa9\";." },
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_string_equal(walked(rows[i].text, text), rows[i].want);
    }
}

static void test_raw(void **state)
{
    static const struct {
        const char *it, *raw, *text;
        int64_t number;
        bool is_valid;
    } rows[] = {
        { "reads a string", "\"ab\"", "ab", 0, true },
        { "reads no string with escapes", "\"a\\n\"", "", 0, true },
        { "reads no string beyond ASCII", "\"\xc3\xa9\"", "", 0, true },
        { "reads no lone quote", "\"", "", 0, false },
        { "reads a number", "42", "", 42, true },
        { "reads a number below 0", "-42", "", -42, true },
        { "reads 0", "0", "", 0, true },
        { "reads the longest number", "999999999999999999", "", 999999999999999999, true },
        { "reads no longer one", "1999999999999999999", "", 0, true },
        { "reads no fraction", "1.5", "", 0, true },
        { "finds a key twice", "{\"a\":1,\"a\":2}", "", 0, false },
        { "finds a whole array", "[1,{}]", "", 0, true },
        { "finds nothing", "", "", 0, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span raw = span_str(rows[i].raw);

        check_row(rows[i].it);
        assert_true(span_eq(json_raw_str(raw), span_str(rows[i].text)));
        assert_int_equal(json_raw_int(raw), rows[i].number);
        assert_int_equal(json_raw_is_valid(raw), rows[i].is_valid);
    }
}

static void test_find(void **state)
{
    struct span value;

    (void)state;
    check_row("finds a member");
    assert_int_equal(json_walk_find(SPAN("{\"a\":1,\"b\":[2]}"), "b", &value), 0);
    assert_true(span_eq(value, SPAN("[2]")));
    check_row("finds none where there is none");
    assert_int_equal(json_walk_find(SPAN("{\"a\":1}"), "b", &value), 0);
    assert_int_equal(value.n, 0);
    check_row("refuses an array, and what is broken behind the member");
    assert_int_equal(json_walk_find(SPAN("[1]"), "b", &value), -EINVAL);
    assert_int_equal(json_walk_find(SPAN("{\"b\":1,}"), "b", &value), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_find),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
