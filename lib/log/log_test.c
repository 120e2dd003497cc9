#include "lib/check/check.h"
#include "lib/log/render_internal.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define TIME_AT 1700000000      /* 2023-11-14T22:13:20Z */

static void test_render(void **state)
{
    static const struct {
        const char *it;
        struct log_field field;
        const char *text, *json;
    } rows[] = {
        { "writes a word plainly",
          { "a", LOG_FIELD_SPAN, .s = { "x.y", 3 } },
          " a=x.y\n",
          ",\"a\":\"x.y\"}\n" },
        { "quotes an empty value",
          { "a", LOG_FIELD_SPAN, .s = { "", 0 } },
          " a=\"\"\n",
          ",\"a\":\"\"}\n" },
        { "quotes a missing value",
          { "a", LOG_FIELD_SPAN, .s = { NULL, 0 } },
          " a=\"\"\n",
          ",\"a\":\"\"}\n" },
        { "quotes what looks like a field",
          { "a", LOG_FIELD_SPAN, .s = { "x b=1", 5 } },
          " a=\"x b=1\"\n",
          ",\"a\":\"x b=1\"}\n" },
        { "escapes line ends",
          { "a", LOG_FIELD_SPAN, .s = { "x\r\ny", 4 } },
          " a=\"x\\r\\ny\"\n",
          ",\"a\":\"x\\r\\ny\"}\n" },
        { "escapes terminal controls",
          { "a", LOG_FIELD_SPAN, .s = { "\x1b[2J", 4 } },
          " a=\"\\u001b[2J\"\n",
          ",\"a\":\"\\u001b[2J\"}\n" },
        { "escapes C1 controls",
          { "a", LOG_FIELD_SPAN, .s = { "\xc2\x9b", 2 } },
          " a=\"\\u009b\"\n",
          ",\"a\":\"\\u009b\"}\n" },
        { "replaces what is not UTF-8",
          { "a", LOG_FIELD_SPAN, .s = { "\xff", 1 } },
          " a=\"\xef\xbf\xbd\"\n",
          ",\"a\":\"\xef\xbf\xbd\"}\n" },
        { "writes negative numbers", { "n", LOG_FIELD_INT, .i = -5 }, " n=-5\n", ",\"n\":-5}\n" },
        { "writes large numbers",
          { "n", LOG_FIELD_UINT, .u = UINT64_MAX },
          " n=18446744073709551615\n",
          ",\"n\":18446744073709551615}\n" },
        { "writes truth", { "b", LOG_FIELD_BOOL, .u = 1 }, " b=true\n", ",\"b\":true}\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct log_record r = { "adit-x", "info", "e", &rows[i].field, 1, TIME_AT, 7 };
        char mem[LOG_LINE_MAX], want[LOG_LINE_MAX];
        struct span line = log_render_text(&r, mem);

        check_row(rows[i].it);
        snprintf(want, sizeof(want), "2023-11-14T22:13:20.007Z info    %-24s%s", "e", rows[i].text);
        assert_true(span_eq(line, span_str(want)));
        line = log_render_json(&r, mem);
        snprintf(want, sizeof(want), "{\"time\":\"2023-11-14T22:13:20.007Z\",\"level\":\"info\","
                 "\"program\":\"adit-x\",\"event\":\"e\"%s", rows[i].json);
        assert_true(span_eq(line, span_str(want)));
    }
}

static void test_cut(void **state)
{
    static const struct { const char *it; size_t len; bool is_cut; } rows[] = {
        { "keeps what fits", 3900, false },
        { "cuts what does not", 4096, true },
        { "cuts what is much larger", 100000, true },
    };
    char *value = malloc(100000);

    (void)state;
    assert_non_null(value);
    memset(value, 'v', 100000);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct log_field fields[] = { U("first", 1), SP("v", span_of(value, rows[i].len)) };
        struct log_record r = { "adit-x", "info", "e", fields, 2, TIME_AT, 7 };
        char mem[LOG_LINE_MAX];
        struct span text, json;

        check_row(rows[i].it);
        text = log_render_text(&r, mem);
        assert_int_equal(span_ends(text, SPAN(" first=1 cut=true\n")), rows[i].is_cut);
        assert_true(text.n <= LOG_LINE_MAX && text.p[text.n - 1] == '\n');
        json = log_render_json(&r, mem);
        assert_int_equal(span_ends(json, SPAN(",\"first\":1,\"cut\":true}\n")), rows[i].is_cut);
        assert_true(span_ends(json, SPAN("}\n")));
    }
    free(value);
}

static void test_level(void **state)
{
    enum log_level level = LOG_ERROR;

    (void)state;
    assert_false(log_level_parse(SPAN("loud"), &level));
    assert_false(log_level_parse(SPAN(""), &level));
    assert_true(log_level_parse(SPAN("debug"), &level));
    assert_int_equal(level, LOG_DEBUG);
    log_init("adit-x", -1, LOG_JSON, LOG_WARNING);
    assert_true(log_is_on(LOG_WARNING));
    assert_false(log_is_on(LOG_INFO));
}

static void test_full_pipe(void **state)
{
    char filler[4096] = { 0 }, got[LOG_LINE_MAX];
    uint64_t before = log_dropped();
    int fds[2];
    ssize_t n;

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    log_init("adit-x", fds[1], LOG_AUTO, LOG_INFO);
    LOG(INFO, "stream.closed", S("agent", "a"), R("reason", REASON_NO_GRANT), B("ok", false));
    LOG(DEBUG, "not.on", N("n", 1));
    n = read(fds[0], got, sizeof(got));
    assert_true(n > 0);
    assert_true(span_ends(
        span_of(got, (size_t)n),
        SPAN("\"stream.closed\",\"agent\":\"a\",\"reason\":\"no-grant\",\"ok\":false}\n")));

    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    while (write(fds[1], filler, sizeof(filler)) > 0)
        ;
    LOG(ERROR, "lost", E(-ENOENT));
    assert_int_equal(log_dropped(), before + 1);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_render),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_level),
        cmocka_unit_test(test_full_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
