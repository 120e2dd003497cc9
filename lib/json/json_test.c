#include "lib/json/json.h"
#include "lib/check/alloc.h"
#include "lib/check/check.h"
#include <jansson.h>

struct thing {
    char *name;
    char color[8];
    int64_t port;
    bool is_on;
    struct json_strs hosts;
    struct json_value *labels, *extra;
};

static const struct json_field thing_fields[] = {
    { "name", J_STR, offsetof(struct thing, name), sizeof_field(struct thing, name), 1, 5,
      JSON_REQUIRED },
    { "color", J_TEXT, offsetof(struct thing, color), sizeof_field(struct thing, color), 1, 20,
      JSON_NULLABLE },
    { "port", J_INT, offsetof(struct thing, port), sizeof_field(struct thing, port), 1, 65535, 0 },
    { "on", J_BOOL, offsetof(struct thing, is_on), sizeof_field(struct thing, is_on), 0, 0, 0 },
    { "hosts", J_STRS, offsetof(struct thing, hosts), sizeof_field(struct thing, hosts), 0, 2, 0 },
    { "labels", J_OBJECT, offsetof(struct thing, labels), sizeof_field(struct thing, labels), 0, 0,
      0 },
    { "extra", J_ANY, offsetof(struct thing, extra), sizeof_field(struct thing, extra), 0, 0, 0 },
};

static void test_refusals(void **state)
{
    static const struct {
        const char *it, *text, *pointer, *message;
    } rows[] = {
        { "refuses nothing", "", "", "is not valid JSON" },
        { "refuses half an object", "{\"name\":", "", "is not valid JSON" },
        { "refuses bytes behind the value", "{\"name\":\"a\"} x", "", "is not valid JSON" },
        { "refuses an array", "[]", "", "must be an object" },
        { "refuses duplicate keys", "{\"name\":\"a\",\"name\":\"b\"}", "", "duplicate" },
        { "refuses what is not UTF-8", "{\"name\":\"\xff\"}", "", "unable to decode byte" },
        { "refuses NUL", "{\"name\":\"\\u0000\"}", "", "is not valid JSON" },
        { "refuses an integer past 64 bits", "{\"name\":\"a\",\"port\":99999999999999999999}", "",
          "too big" },
        { "names the required field", "{}", "/name", "is required" },
        { "names an unknown field", "{\"name\":\"a\",\"x/y~\":1}", "/x~1y~0",
          "is not a known field" },
        { "refuses null", "{\"name\":null}", "/name", "must be a string" },
        { "refuses an empty string", "{\"name\":\"\"}", "/name", "must be 1 to 5 bytes long" },
        { "refuses a long string", "{\"name\":\"abcdef\"}", "/name", "must be 1 to 5 bytes long" },
        { "refuses what the struct cannot hold", "{\"name\":\"a\",\"color\":\"12345678\"}",
          "/color", "must be 7 bytes long at most" },
        { "refuses a real", "{\"name\":\"a\",\"port\":1.5}", "/port", "must be an integer" },
        { "refuses a real past 2^53", "{\"name\":\"a\",\"port\":1e300}", "/port", "must be an integer" },
        { "refuses a number as text", "{\"name\":\"a\",\"port\":\"1\"}", "/port",
          "must be an integer" },
        { "refuses a small number", "{\"name\":\"a\",\"port\":0}", "/port", "must be 1 to 65535" },
        { "refuses a large number", "{\"name\":\"a\",\"port\":65536}", "/port",
          "must be 1 to 65535" },
        { "refuses one for true", "{\"name\":\"a\",\"on\":1}", "/on", "must be true or false" },
        { "refuses a string for a list", "{\"name\":\"a\",\"hosts\":\"a\"}", "/hosts",
          "must be a list" },
        { "refuses too many items", "{\"name\":\"a\",\"hosts\":[\"a\",\"b\",\"c\"]}", "/hosts",
          "0 to 2 items" },
        { "names the item", "{\"name\":\"a\",\"hosts\":[\"a\",1]}", "/hosts/1",
          "must be a string" },
        { "refuses an empty item", "{\"name\":\"a\",\"hosts\":[\"\"]}", "/hosts/0",
          "must be 1 to 253" },
        { "refuses an array for an object", "{\"name\":\"a\",\"labels\":[]}", "/labels",
          "must be an object" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct thing t = { 0 }, zero = { 0 };
        struct json_error e;

        check_row(rows[i].it);
        assert_int_equal(json_decode_text(span_str(rows[i].text), thing_fields,
                                          ARRAY_LEN(thing_fields), 0, &t, &e),
                         -EINVAL);
        assert_string_equal(e.pointer, rows[i].pointer);
        assert_non_null(strstr(e.message, rows[i].message));
        assert_ptr_equal(t.name, zero.name);
        assert_ptr_equal(t.hosts.items, NULL);
    }
}

static void test_no_input_in_message(void **state)
{
    struct json_value *v;
    struct json_error e;

    (void)state;
    assert_int_equal(json_parse(SPAN("{\"password\":\"hunter2\",}"), &v, &e), -EINVAL);
    assert_null(strstr(e.message, "hunter2"));
    assert_int_equal(json_parse(SPAN("{\"password\" \"hunter2\"}"), &v, &e), -EINVAL);
    assert_null(strstr(e.message, "hunter2"));
}

static void test_round_trip(void **state)
{
    static const struct {
        const char *it, *text;
    } rows[] = {
        { "keeps the least", "{\"name\":\"a\",\"port\":0,\"on\":false,\"hosts\":[]}" },
        { "keeps everything",
          "{\"name\":\"\xc3\xa4\\\"\\n\",\"color\":\"red\",\"port\":80,\"on\":true,"
          "\"hosts\":[\"a\",\"b\"],\"labels\":{\"k\":[1,{}]},\"extra\":[null,\"x\"]}" },
    };
    struct json_field fields[ARRAY_LEN(thing_fields)];

    (void)state;
    memcpy(fields, thing_fields, sizeof(fields));
    fields[2].min = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct thing t = { 0 };
        struct json_error e;
        struct buf out;

        check_row(rows[i].it);
        buf_init_heap(&out, 1000);
        assert_int_equal(
            json_decode_text(span_str(rows[i].text), fields, ARRAY_LEN(fields), 0, &t, &e), 0);
        json_encode(&t, fields, ARRAY_LEN(fields), &out);
        assert_string_equal(buf_text(&out), rows[i].text);
        json_free_fields(fields, ARRAY_LEN(fields), &t);
        buf_deinit(&out);
    }
}

static void test_flags(void **state)
{
    struct thing t = { 0 };
    struct json_error e;

    (void)state;
    assert_int_equal(json_decode_text(SPAN("{\"name\":\"a\",\"color\":null,\"new\":1}"),
                                      thing_fields, ARRAY_LEN(thing_fields), JSON_ALLOW_UNKNOWN, &t,
                                      &e),
                     0);
    assert_string_equal(t.color, "");
    json_free_fields(thing_fields, ARRAY_LEN(thing_fields), &t);
    json_free_fields(thing_fields, ARRAY_LEN(thing_fields), &t);
}

static void test_limits(void **state)
{
    struct json_value *v;
    struct json_error e;
    char text[70] = { 0 };
    struct buf out;

    (void)state;
    memset(text, '[', 33);
    memset(text + 33, ']', 33);
    check_row("refuses a depth of 33");
    assert_int_equal(json_parse(span_str(text), &v, &e), -EINVAL);
    check_row("takes a depth of 32");
    assert_int_equal(json_parse(span_of(text + 1, 64), &v, &e), 0);
    json_value_free(v);
    check_row("counts no bracket in a string");
    assert_int_equal(
        json_parse(SPAN("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[\""), &v, &e), 0);
    json_value_free(v);

    buf_init_heap(&out, 100000);
    for (int i = 0; i < 1025; i++)
        buf_printf(&out, "%s\"%d\":[1,2]", i ? "," : "{", i);
    buf_put_str(&out, "}");
    check_row("refuses 1025 members");
    assert_int_equal(json_parse(buf_span(&out), &v, &e), -EINVAL);
    buf_deinit(&out);
}

static void test_tree(void **state)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct json_error e;
    struct span text, key;
    int64_t n = 0;
    bool b = false;

    (void)state;
    assert_int_equal(
        json_parse(SPAN("{\"s\":\"x\",\"i\":-7,\"b\":true,\"a\":[1.5,null],\"o\":{}}"), &v, &e), 0);
    assert_true(json_get_str(v, "s", &text) && span_eq(text, SPAN("x")));
    assert_true(json_get_int(v, "i", &n) && n == -7);
    assert_true(json_get_bool(v, "b", &b) && b);
    assert_false(json_get_str(v, "i", &text));
    assert_false(json_get_int(v, "absent", &n));
    assert_null(json_get(json_get(v, "a"), "s"));
    assert_int_equal(json_count(v), 5);
    assert_int_equal(json_count(json_get(v, "a")), 2);
    assert_int_equal(json_kind_of(json_at(json_get(v, "a"), 0)), JSON_IS_REAL);
    assert_int_equal(json_kind_of(json_at(json_get(v, "a"), 1)), JSON_IS_NULL);
    assert_null(json_at(json_get(v, "a"), 2));
    assert_int_equal(json_kind_of(json_member(v, 4, &key)), JSON_IS_OBJECT);
    assert_true(span_eq(key, SPAN("o")));
    assert_null(json_member(v, 5, &key));
}

/* The examples of RFC 7396, appendix A. */
static void test_merge(void **state)
{
    static const struct {
        const char *it, *target, *patch, *want;
    } rows[] = {
        { "replaces", "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
        { "adds", "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
        { "removes", "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
        { "removes one of two", "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
        { "replaces an array", "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
        { "replaces by an array", "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
        { "goes down", "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
          "{\"a\":{\"b\":\"d\"}}" },
        { "does not merge arrays", "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
        { "replaces the whole by an array", "[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]" },
        { "replaces the whole by null", "{\"a\":\"foo\"}", "null", "null" },
        { "replaces the whole by a string", "{\"a\":\"foo\"}", "\"bar\"", "\"bar\"" },
        { "keeps a null of the target", "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
        { "makes an object of an array", "[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}" },
        { "drops nulls below", "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json_value_freep) struct json_value *target = NULL, *patch = NULL, *merged = NULL;
        struct json_error e;
        char mem[100];
        struct buf out;

        check_row(rows[i].it);
        buf_init_fixed(&out, mem, sizeof(mem));
        assert_int_equal(json_parse(span_str(rows[i].target), &target, &e), 0);
        assert_int_equal(json_parse(span_str(rows[i].patch), &patch, &e), 0);
        assert_int_equal(json_merge(target, patch, &merged), 0);
        json_print(merged, &out);
        assert_string_equal(buf_text(&out), rows[i].want);
    }
}

static void test_writer(void **state)
{
    struct json_writer w;
    char mem[200];
    struct buf out;

    (void)state;
    buf_init_fixed(&out, mem, sizeof(mem));
    json_begin(&w, &out);
    json_open_object(&w, NULL);
    json_put_str(&w, "s", SPAN("a\"\x01"));
    json_open_array(&w, "a");
    json_put_int(&w, NULL, INT64_MIN);
    json_open_object(&w, NULL);
    json_close_object(&w);
    json_put_bool(&w, NULL, true);
    json_close_array(&w);
    json_put_text(&w, "t", NULL);
    json_put_raw(&w, "r", SPAN("[0]"));
    json_close_object(&w);
    assert_string_equal(buf_text(&out),
                        "{\"s\":\"a\\\"\\u0001\",\"a\":[-9223372036854775808,{},true],"
                        "\"t\":null,\"r\":[0]}");

    buf_init_fixed(&out, mem, 5);
    json_begin(&w, &out);
    json_put_str(&w, NULL, SPAN("too long"));
    assert_int_equal(buf_error(&out), -ENOBUFS);
}

#define FULL_TEXT                                                                                  \
    "{\"name\":\"ab\",\"port\":80,\"hosts\":[\"a\",\"b\"],\"labels\":{\"k\":[1,{}]},\"extra\":["   \
    "null,\"x\"]}"

/* The library gives some of its failures out as bad tokens. */
static int parse_answer(int r)
{
    return r == -EINVAL && check_alloc_has_failed() ? -ENOMEM : r;
}

static int decode_and_encode(void *data)
{
    struct thing t = { 0 };
    struct json_error e;
    struct buf out;
    int r;

    (void)data;
    r = json_decode_text(SPAN(FULL_TEXT), thing_fields, ARRAY_LEN(thing_fields), 0, &t, &e);
    if (r)
        return parse_answer(r);
    buf_init_heap(&out, 1000);
    json_encode(&t, thing_fields, ARRAY_LEN(thing_fields), &out);
    r = buf_error(&out);
    json_free_fields(thing_fields, ARRAY_LEN(thing_fields), &t);
    buf_deinit(&out);
    return r;
}

static int merge(void *data)
{
    AUTO(json_value_freep) struct json_value *target = NULL, *patch = NULL, *merged = NULL;
    struct json_error e;
    int r;

    (void)data;
    r = json_parse(SPAN(FULL_TEXT), &target, &e);
    if (!r)
        r = json_parse(SPAN("{\"labels\":{\"k\":null,\"l\":{\"m\":[1]}},\"x\":2}"), &patch, &e);
    return r ? parse_answer(r) : json_merge(target, patch, &merged);
}

static void test_no_memory(void **state)
{
    (void)state;
    json_set_alloc_funcs(malloc, free);         /* the wrapped ones */
    check_row("decodes and encodes, or says -ENOMEM");
    check_each_alloc(decode_and_encode, NULL);
    check_row("merges, or says -ENOMEM");
    check_each_alloc(merge, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),   cmocka_unit_test(test_no_input_in_message),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_flags),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_tree),
        cmocka_unit_test(test_merge),      cmocka_unit_test(test_writer),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
