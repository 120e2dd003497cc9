#include "lib/program/program.h"
#include "lib/check/check.h"
#include <stdio.h>
#include <stdlib.h>

struct row {
    const char *it;
    const char *argv[6];
    int argc, want;
    const char *token;
    int argc_left;
};

static void test_tokens(void **state)
{
    char path[] = "/tmp/adit-token-XXXXXX";
    int fd = mkstemp(path);
    char with_equals[64];
    struct row rows[] = {
        { "takes an argument", { "join", "T-1", "--data-dir", "/d" }, 4, 0, "T-1", 3 },
        { "takes a file's first line", { "join", "--token-file", path, "--data-dir", "/d" }, 5, 0, "T-2", 3 },
        { "does not take a flag's value for the token", { "join", "--data-dir", "/d", "--token-file", path }, 5,
          0, "T-2", 3 },
        { "knows a token behind flags", { "join", "--data-dir", "/d", "adit-join-1.T" }, 4, 0, "adit-join-1.T", 3 },
        { "says which file cannot be read", { "join", "--token-file", "/no/such" }, 3, -ENOENT, NULL, 1 },
        { "refuses what does not fit", { "join", "0123456789012345678901234567890123456789" }, 2, -E2BIG, NULL, 1 },
        { "takes the file behind an equals sign", { "join", with_equals }, 2, 0, "T-2", 1 },
        { "says when there is none", { "join", "--token-file", "/dev/null" }, 3, -EINVAL, NULL, 1 },
    };

    (void)state;
    snprintf(with_equals, sizeof(with_equals), "--token-file=%s", path);
    assert_int_equal(write(fd, " T-2 \nmore\n", 11), 11);
    close(fd);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(buf_deinit) struct buf why = { 0 };
        char mem[32], copies[6][64], *argv[6];
        struct program_token source;
        struct span token;
        int argc = rows[i].argc;

        check_row(rows[i].it);
        buf_init_heap(&why, 1024);
        for (int n = 0; n < argc; n++)      /* main()'s can be written to */
            argv[n] = memcpy(copies[n], rows[i].argv[n], strlen(rows[i].argv[n]) + 1);
        source = program_take_token(&argc, argv);
        assert_int_equal(argc, rows[i].argc_left);
        assert_int_equal(program_read_token(&source, mem, sizeof(mem), &token, &why), rows[i].want);
        if (!source.is_file && source.text)
            assert_string_equal(source.text, "");
        if (rows[i].want)
            assert_int_not_equal(why.len, 0);
        else
            assert_true(span_eq(token, span_str(rows[i].token)));
    }
    unlink(path);
}

static void test_log_words(void **state)
{
    AUTO(buf_deinit) struct buf why = { 0 };

    (void)state;
    buf_init_heap(&why, 1024);
    assert_int_equal(program_check_log("debug", "json", &why), 0);
    assert_int_equal(program_check_log("loud", "json", &why), -EINVAL);
    assert_int_equal(program_check_log("info", "xml", &why), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_log_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
