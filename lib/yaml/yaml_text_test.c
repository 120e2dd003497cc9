#include "lib/yaml/yaml_text.h"
#include "lib/check/alloc.h"
#include "lib/check/check.h"
#include <stdlib.h>

static void test_reading(void **state)
{
    static const struct {
        const char *it, *text, *json;       /* json NULL: refused, and `says` is why */
        const char *says;
    } rows[] = {
        { "takes nothing for null", "", "null", NULL },
        { "takes a comment for null", "# nobody\n", "null", NULL },
        { "reads a mapping", "a: b\nc: 1\n", "{\"a\":\"b\",\"c\":1}", NULL },
        { "reads a list of mappings", "- a: 1\n  b: [x, y]\n- {}\n", "[{\"a\":1,\"b\":[\"x\",\"y\"]},{}]", NULL },
        { "knows null, true, false and integers", "[~, null, {a: }, true, False, 0, -7, 80]",
          "[null,null,{\"a\":null},true,false,0,-7,80]", NULL },
        { "takes no word for a truth value", "[no, yes, on, off, y]", "[\"no\",\"yes\",\"on\",\"off\",\"y\"]", NULL },
        { "takes what is no plain integer for text", "[010, -0, +1, 0x1f, 1.5, 1e3, 1_000, 1234567890123456789]",
          "[\"010\",\"-0\",\"+1\",\"0x1f\",\"1.5\",\"1e3\",\"1_000\",\"1234567890123456789\"]", NULL },
        { "leaves quoted scalars text", "['80', \"true\", 'null', '']", "[\"80\",\"true\",\"null\",\"\"]", NULL },
        { "keeps keys text", "1: a\ntrue: b\n", "{\"1\":\"a\",\"true\":\"b\"}", NULL },
        { "reads a block of lines", "a: |\n  one\n  two\n", "{\"a\":\"one\\ntwo\\n\"}", NULL },
        { "reads JSON", "{\"a\":[1,{\"b\":null}]}", "{\"a\":[1,{\"b\":null}]}", NULL },
        { "takes the merge key for a key", "<<: a", "{\"<<\":\"a\"}", NULL },
        { "refuses an alias", "a: &x [1]\nb: *x\n", NULL, "line 1: anchors and tags" },
        { "refuses a bare alias", "a: *x\n", NULL, "line 1: aliases" },
        { "refuses a tag", "\na: !!binary aGk=\n", NULL, "line 2: anchors and tags" },
        { "refuses a tagged mapping", "!x {a: 1}\n", NULL, "line 1: anchors and tags" },
        { "refuses a second document", "a: 1\n---\nb: 1\n", NULL, "line 2: takes one document" },
        { "refuses a mapping as a key", "? {a: 1}\n: b\n", NULL, "line 1: a key is plain text" },
        { "refuses a key that stands twice", "a: 1\na: 2\n", NULL, "duplicate" },
        { "refuses a list that is not closed", "a: [1\n", NULL, "line 2: did not find" },
        { "refuses a tab for an indent", "a:\n\tb: 1\n", NULL, "line 2: found character" },
        { "refuses what is not UTF-8", "a: \xff\n", NULL, "line 1: " },
        { "refuses NUL", "a: \"\\0\"\n", NULL, "is not valid JSON" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json_value_freep) struct json_value *value = NULL;
        char mem[400], printed[400];
        struct buf error, out;
        int r;

        check_row(rows[i].it);
        buf_init_fixed(&error, mem, sizeof(mem) - 1);
        buf_init_fixed(&out, printed, sizeof(printed) - 1);
        r = yaml_parse(span_str(rows[i].text), 4096, &value, &error);
        assert_int_equal(r, rows[i].json ? 0 : -EINVAL);
        if (r)
            assert_non_null(strstr(buf_text(&error), rows[i].says));
        else
            json_print(value, &out);
        if (!r)
            assert_string_equal(buf_text(&out), rows[i].json);
    }
}

/* A few lines that would stand for gigabytes, and brackets without end. */
static void test_bombs(void **state)
{
    static const char laughs[] = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                                 "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n";
    char deep[4096], mem[400];
    struct json_value *value = NULL;
    struct buf error;

    (void)state;
    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    assert_int_equal(yaml_parse(span_str(laughs), 1 << 20, &value, &error), -EINVAL);
    memset(deep, '[', sizeof(deep));
    buf_clear(&error);
    assert_int_equal(yaml_parse(span_of(deep, sizeof(deep)), 1 << 20, &value, &error), -EINVAL);
    assert_non_null(strstr(buf_text(&error), "nested too deeply"));
    buf_clear(&error);
    assert_int_equal(yaml_parse(SPAN("[aaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbb]"), 16, &value, &error), -ENOBUFS);
    assert_string_equal(buf_text(&error), "is too large");
}

static void test_printing(void **state)
{
    static const struct {
        const char *it, *json, *yaml;
    } rows[] = {
        { "prints members line by line", "{\"a\":\"b\",\"c\":1,\"d\":null,\"e\":true}", "a: b\nc: 1\nd: null\ne: true\n" },
        { "keeps short lists on a line", "{\"a\":[\"x\",2]}", "a: [x, 2]\n" },
        { "nests", "{\"a\":[{\"b\":1,\"c\":{\"d\":[]}},{}]}", "a:\n  - b: 1\n    c:\n      d: []\n  - {}\n" },
        { "nests lists", "[[1],[[2],[]],\"x\"]", "- [1]\n- - [2]\n  - []\n- x\n" },
        { "quotes what others take for something else", "[\"no\",\"80\",\"True\",\"a: b\",\"#\",\"\",\"-\",\"*.x\"]",
          "[\"no\", \"80\", \"True\", \"a: b\", \"#\", \"\", \"-\", \"*.x\"]\n" },
        { "escapes what YAML may not hold", "[\"\xef\xbb\xbf\\u0001\xc2\x85\"]", "[\"\\uFEFF\\u0001\\u0085\"]\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json_value_freep) struct json_value *value = NULL, *again = NULL;
        AUTO(buf_deinit) struct buf out, one, other;
        struct json_error error;
        char mem[200];
        struct buf why;

        check_row(rows[i].it);
        buf_init_heap(&out, 4096);
        buf_init_heap(&one, 4096);
        buf_init_heap(&other, 4096);
        buf_init_fixed(&why, mem, sizeof(mem) - 1);
        assert_int_equal(json_parse(span_str(rows[i].json), &value, &error), 0);
        yaml_print(value, &out);
        assert_string_equal(buf_text(&out), rows[i].yaml);
        assert_int_equal(yaml_parse(buf_span(&out), 4096, &again, &why), 0);
        json_print(value, &one);
        json_print(again, &other);
        assert_string_equal(buf_text(&one), buf_text(&other));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_reading), cmocka_unit_test(test_bombs),
                                        cmocka_unit_test(test_printing) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
