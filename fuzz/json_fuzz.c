// room: lib/json
// parser: lib/json/tree.c lib/json/scan.c lib/json/walk.c lib/json/decode.c
/* Parse, print, parse again: the same text; decode by a table; merge with itself; and a walk takes
 * what the parser takes. */
#include "lib/json/json.h"

struct thing {
    char *name;
    char color[8];
    int64_t port;
    bool is_on;
    struct json_strs hosts;
    struct json_value *labels;
};

static const struct json_field fields[] = {
    { "name", J_STR, offsetof(struct thing, name), sizeof_field(struct thing, name), 0, 100,
      JSON_REQUIRED },
    { "color", J_TEXT, offsetof(struct thing, color), sizeof_field(struct thing, color), 1, 20,
      JSON_NULLABLE },
    { "port", J_INT, offsetof(struct thing, port), sizeof_field(struct thing, port), 0, 65535, 0 },
    { "on", J_BOOL, offsetof(struct thing, is_on), sizeof_field(struct thing, is_on), 0, 0, 0 },
    { "hosts", J_STRS, offsetof(struct thing, hosts), sizeof_field(struct thing, hosts), 0, 9, 0 },
    { "labels", J_OBJECT, offsetof(struct thing, labels), sizeof_field(struct thing, labels), 0, 0,
      0 },
};

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static void check_print(const struct json_value *v)
{
    AUTO(json_value_freep) struct json_value *again = NULL;
    struct json_error e;
    struct buf first, second;

    buf_init_heap(&first, 1 << 24);
    buf_init_heap(&second, 1 << 24);
    json_print(v, &first);
    must(!buf_error(&first));
    must(json_parse(buf_span(&first), &again, &e) == 0);
    json_print(again, &second);
    must(span_eq(buf_span(&first), buf_span(&second)));
    buf_deinit(&first);
    buf_deinit(&second);
}

/* What was decoded, encoded, decodes again. */
static void check_decode(const struct json_value *v)
{
    struct thing t = { 0 }, again = { 0 };
    struct json_error e;
    struct buf out;

    if (json_decode(v, fields, ARRAY_LEN(fields), JSON_ALLOW_UNKNOWN, &t, &e))
        return;
    buf_init_heap(&out, 1 << 24);
    json_encode(&t, fields, ARRAY_LEN(fields), &out);
    must(json_decode_text(buf_span(&out), fields, ARRAY_LEN(fields), 0, &again, &e) == 0);
    json_free_fields(fields, ARRAY_LEN(fields), &t);
    json_free_fields(fields, ARRAY_LEN(fields), &again);
    buf_deinit(&out);
}

/* Each member and item is found by its place and by its name, and says what its kind can. */
static void check_parts(const struct json_value *v)
{
    for (size_t i = 0; i < json_count(v); i++) {
        enum json_kind whole = json_kind_of(v);
        struct span key = SPAN_NONE, text;
        const struct json_value *part = whole == JSON_IS_ARRAY ? json_at(v, i) : json_member(v, i, &key);
        int64_t number;
        bool is_on;

        must(part != NULL);
        must(json_as_str(part, &text) == (json_kind_of(part) == JSON_IS_STR));
        must(json_as_int(part, &number) || json_kind_of(part) != JSON_IS_INT);
        must(whole != JSON_IS_OBJECT || json_get(v, key.p) == part);
        must(whole != JSON_IS_OBJECT || json_get_bool(v, key.p, &is_on) == (json_kind_of(part) == JSON_IS_BOOL));
        must(whole != JSON_IS_OBJECT || json_get_str(v, key.p, &text) == json_as_str(part, &text));
        must(whole != JSON_IS_OBJECT || json_get_int(v, key.p, &number) == json_as_int(part, &number));
        if (json_kind_of(part) == JSON_IS_ARRAY || json_kind_of(part) == JSON_IS_OBJECT)
            check_parts(part);
    }
}

/* Values inside are checked one by one.  Returns how many there are, or -1: refused. */
static long walk(struct span text)
{
    struct span key, value;
    struct json_walk w;
    long count = 0;
    int r;

    r = json_walk_begin(text, &w);
    while (!r && !(r = json_walk_next(&w, &key, &value))) {
        if (!json_raw_is_valid(value))
            return -1;
        must(json_raw_str(value).n <= value.n && json_raw_int(value) <= INT64_MAX);
        count++;
    }
    return r == JSON_E_END ? count : -1;
}

/* Keys that stand twice, escapes in keys and an object too large are the parser's alone. */
static void check_walk(struct span text)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    long count = walk(text);
    struct json_error e;

    if (json_parse(text, &v, &e) == 0) {
        must(count < 0 || (size_t)count == json_count(v));
        must(count >= 0 || json_kind_of(v) != JSON_IS_ARRAY);
        return;
    }
    must(count <= 0 || *text.p != '[');
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    AUTO(json_value_freep) struct json_value *v = NULL, *merged = NULL;
    struct json_error e;
    struct span found;

    check_walk(span_of(data, n));
    (void)!json_walk_find(span_of(data, n), "name", &found);
    if (json_parse(span_of(data, n), &v, &e))
        return 0;
    check_print(v);
    check_decode(v);
    check_parts(v);
    must(json_merge(v, v, &merged) == 0);
    check_print(merged);
    return 0;
}
