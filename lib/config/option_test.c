#include "lib/config/option_internal.h"
#include "lib/check/alloc.h"
#include "lib/check/check.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define TEST_OPTIONS(X)                                                                     \
    X(STR, listen, "127.0.0.1:80", 0, 0, 0, "address to listen on")                         \
    X(MSEC, drain_ms, "30s", 0, 3600000, OPTION_RELOAD, "how long streams may finish")      \
    X(SIZE, window, "1M", 65536, 16777216, 0, "bytes in flight")                            \
    X(INT, workers, "2", -4, 64, 0, "threads")                                              \
    X(BOOL, tls, "true", 0, 0, 0, "require TLS")                                            \
    X(LIST, hosts, "", 0, 0, OPTION_RELOAD, "names")                                        \
    X(STR, password, "", 0, 0, OPTION_SECRET | OPTION_RELOAD, "database password")          \
    X(STR, way, "", 0, 0, OPTION_URL, "a URL that may hold a password")

struct test_config {
    TEST_OPTIONS(OPTION_FIELD)
};

#define TEST_ROW(...) OPTION_ROW_OF(struct test_config, __VA_ARGS__)
static const struct option_row test_rows[] = { TEST_OPTIONS(TEST_ROW) };
static const struct option_shared test_shared[] = { { "TEST_WAY", "way" }, { "test_way", "way" } };
static const struct option_table test_table = { "adit-test", "ADIT_TEST_", "Tests.", test_rows,
                                                ARRAY_LEN(test_rows), test_shared,
                                                ARRAY_LEN(test_shared) };

#define ARGS_MAX 4
#define ARG(text) (char *)(uintptr_t)(text)     /* as main() gets them */

struct given {
    const char *args[ARGS_MAX];
    const char *env;            /* one variable, NAME=VALUE */
    const char *file;           /* YAML */
};

static char config_path[] = "/tmp/adit-option-test-XXXXXX";

static int write_file(const char *text)
{
    AUTO(fd_closep) int fd = open(config_path, O_WRONLY | O_TRUNC | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return 0;
}

static int setup(void **state)
{
    int fd = mkstemp(config_path);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(config_path);
}

/* Loads what is given; the message is in `mem` (300 bytes). */
static int load(const struct given *given, struct test_config *config, char *mem)
{
    struct option_origins *origins = NULL;
    enum option_action action;
    char env_name[64] = "", *argv[ARGS_MAX + 3] = { ARG("adit-test") };
    struct buf error;
    int r, argc = 1;

    buf_init_fixed(&error, mem, 300);
    for (; given->args[argc - 1]; argc++)
        argv[argc] = ARG(given->args[argc - 1]);
    if (given->file) {
        write_file(given->file);
        argv[argc++] = ARG("--config");
        argv[argc++] = config_path;
    }
    if (given->env) {
        const char *equals = strchr(given->env, '=');

        span_copy(span_of(given->env, (size_t)(equals - given->env)), env_name, sizeof(env_name));
        setenv(env_name, equals + 1, 1);
    }
    r = option_load(&test_table, argc, argv, config, &action, &origins, &error);
    buf_text(&error);
    if (!error.len)
        mem[0] = 0;
    unsetenv(env_name);
    option_origins_free(origins);
    return r;
}

static void test_refusals(void **state)
{
    static const struct {
        const char *it; struct given given; const char *message;
    } rows[] = {
        { "refuses a positional argument", { { "x" } }, "x: is not an option" },
        { "refuses a lone dash", { { "--" } }, "is not an option" },
        { "names the nearest flag",
          { { "--drain=5s" } },
          "--drain: no option is called drain; did you mean drain_ms?" },
        { "suggests nothing for what is far",
          { { "--quux", "1" } },
          "--quux: no option is called quux" },
        { "refuses a missing value", { { "--listen" } }, "--listen: needs a value" },
        { "refuses a secret as a flag",
          { { "--password=x" } },
          "--password: password is a secret" },
        { "refuses a plain secret variable",
          { .env = "ADIT_TEST_PASSWORD=x" },
          "ADIT_TEST_PASSWORD: is a secret" },
        { "refuses a password in the URL of a flag",
          { { "--way=http://ann:hunter2@proxy" } },
          "--way: way holds a password" },
        { "refuses a secret in the file", { .file = "password: x" }, ":1: password is a secret" },
        { "names the nearest variable",
          { .env = "ADIT_TEST_DRAINMS=1" },
          "ADIT_TEST_DRAINMS: no option is called drainms; did you mean drain_ms?" },
        { "names line and nearest key",
          { .file = "tls: true\ndrainms: 5s\n" },
          ":2: no option is called drainms; did you mean drain_ms?" },
        { "refuses a key that is there twice",
          { .file = "tls: true\ntls: true" },
          ":2: tls is there twice" },
        { "refuses a nested mapping", { .file = "tls:\n  a: b" }, ":2: takes a value or a list" },
        { "refuses a nested list",
          { .file = "hosts: [[a]]" },
          ":1: a list holds plain values only" },
        { "refuses an alias",
          { .file = "listen: &a x\nhosts: *a" },
          ":2: takes a value or a list" },
        { "refuses two documents",
          { .file = "tls: true\n---\ntls: false" },
          "takes one document only" },
        { "refuses a list at the top", { .file = "- a" }, ":1: must be a mapping" },
        { "refuses a key without value", { .file = "listen:" }, ":1: has no value" },
        { "refuses null", { .file = "listen: ~" }, ":1: has no value" },
        { "refuses a list for a value",
          { .file = "listen: [a]" },
          ":1: takes one value, not a list" },
        { "refuses a value for a list", { .file = "hosts: a" }, ":1: takes a list" },
        { "refuses broken YAML", { .file = "listen: \"a" }, ":1: " },
        { "refuses a control character",
          { .file = "listen: \x01" },
          "control characters are not allowed" },
        { "refuses yes", { .file = "tls: yes" }, ":1: must be true or false" },
        { "refuses a time without number",
          { { "--drain-ms=s" } },
          "must be a time like 500ms, 30s, 5m, 2h from 0 to 1h" },
        { "refuses an unknown unit", { { "--drain-ms=3y" } }, "must be a time" },
        { "refuses a long time", { { "--drain-ms=61m" } }, "from 0 to 1h" },
        { "refuses a negative time", { { "--drain-ms=-1s" } }, "from 0 to 1h" },
        { "refuses what overflows", { { "--drain-ms=9223372036854775807d" } }, "must be a time" },
        { "refuses a small size",
          { { "--window=1K" } },
          "must be a size like 4096, 64K, 16M from 64K to 16M" },
        { "refuses a small number",
          { { "--workers=-5" } },
          "must be a whole number from -4 to 64" },
        { "refuses a unit on a number", { { "--workers=2s" } }, "must be a whole number" },
        { "refuses an absent secret file",
          { { "--password-file=/nonexistent" } },
          "--password-file: /nonexistent: No such file" },
        { "refuses an absent file", { { "--config=/nonexistent" } }, "/nonexistent: No such file" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_config config = { 0 };
        char message[300];

        check_row(rows[i].it);
        assert_int_equal(load(&rows[i].given, &config, message), -EINVAL);
        print_message("      %s\n", message);
        assert_non_null(strstr(message, rows[i].message));
        assert_null(config.listen);
    }
}

static void test_precedence(void **state)
{
    static const struct {
        const char *it; struct given given; int64_t want;
    } rows[] = {
        { "takes the default", { .file = "" }, 30000 },
        { "takes the file before the default", { .file = "drain_ms: 1s" }, 1000 },
        { "takes the environment before the file",
          { .env = "ADIT_TEST_DRAIN_MS=2s", .file = "drain_ms: 1s" },
          2000 },
        { "takes the flag before the environment",
          { { "--drain-ms=3s" }, "ADIT_TEST_DRAIN_MS=2s", "drain_ms: 1s" },
          3000 },
        { "takes the last of two flags", { { "--drain-ms=3s", "--drain-ms", "4s" } }, 4000 },
        { "takes milliseconds without a unit", { { "--drain-ms=1500" } }, 1500 },
        { "takes minutes", { { "--drain-ms", "5m" } }, 300000 },
        { "takes no service link for a key", { .env = "ADIT_TEST_PORT_80_TCP=x" }, 30000 },
        { "takes no other program's variables", { .env = "ADIT_RELAY_X=x" }, 30000 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_config config = { 0 };
        char message[300];

        check_row(rows[i].it);
        assert_int_equal(load(&rows[i].given, &config, message), 0);
        assert_int_equal(config.drain_ms, rows[i].want);
        option_free(&test_table, &config);
    }
}

static void test_values(void **state)
{
    static const struct given given = { { "--tls=false", "--hosts=a,b" },
                                        NULL,
                                        "window: 64KiB\nlisten: ''\nworkers: -3" };
    struct test_config config = { 0 };
    struct span rest, item;
    char message[300];

    (void)state;
    assert_int_equal(load(&given, &config, message), 0);
    assert_false(config.tls);
    assert_int_equal(config.window, 65536);
    assert_int_equal(config.workers, -3);
    assert_string_equal(config.listen, "");
    assert_string_equal(config.hosts, "a\nb");
    assert_string_equal(config.password, "");
    rest = span_str(config.hosts);
    assert_true(option_list_next(&rest, &item) && span_eq(item, SPAN("a")));
    assert_true(option_list_next(&rest, &item) && span_eq(item, SPAN("b")));
    assert_false(option_list_next(&rest, &item));
    rest = span_str(config.listen);
    assert_false(option_list_next(&rest, &item));
    option_free(&test_table, &config);
}

static void test_secrets(void **state)
{
    static const struct given from_env = { { "--allow-env-secrets" },
                                           "ADIT_TEST_PASSWORD=plain",
                                           NULL };
    struct given from_file = { { "--password-file", config_path }, NULL, NULL };
    struct given from_credential = { { "--password-file", strrchr(config_path, '/') + 1 },
                                     "CREDENTIALS_DIRECTORY=/tmp",
                                     NULL };
    struct test_config config = { 0 };
    char message[300];

    (void)state;
    assert_int_equal(load(&from_env, &config, message), 0);
    assert_string_equal(config.password, "plain");
    option_free(&test_table, &config);
    write_file("from file\n");
    assert_int_equal(load(&from_file, &config, message), 0);
    assert_string_equal(config.password, "from file");
    option_free(&test_table, &config);
    assert_int_equal(load(&from_credential, &config, message), 0);
    assert_string_equal(config.password, "from file");
    option_free(&test_table, &config);
}

/* The variables that others know stand in for the default, and for nothing else. */
static void test_shared_variables(void **state)
{
    static const struct {
        const char *it;
        struct given given;
        const char *upper, *lower, *want;
    } rows[] = {
        { "takes none when there is none", { .file = "" }, NULL, NULL, "" },
        { "takes the one that is set", { .file = "" }, "http://u:p@upper", NULL, "http://u:p@upper" },
        { "takes the later one of two", { .file = "" }, "http://upper", "http://lower", "http://lower" },
        { "takes no heed of an empty one", { .file = "" }, "http://upper", "", "http://upper" },
        { "takes the file before them", { .file = "way: http://file" }, "http://upper", NULL, "http://file" },
        { "takes its own before them", { .env = "ADIT_TEST_WAY=http://own" }, "http://upper", NULL, "http://own" },
        { "takes a flag before them", { { "--way=http://flag" } }, "http://upper", NULL, "http://flag" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_config config = { 0 };
        char message[300];

        check_row(rows[i].it);
        if (rows[i].upper)
            setenv("TEST_WAY", rows[i].upper, 1);
        if (rows[i].lower)
            setenv("test_way", rows[i].lower, 1);
        assert_int_equal(load(&rows[i].given, &config, message), 0);
        assert_string_equal(config.way, rows[i].want);
        option_free(&test_table, &config);
        unsetenv("TEST_WAY");
        unsetenv("test_way");
    }
}

static void test_url_is_printed_without_password(void **state)
{
    static const struct { const char *it; char *way; const char *want; } rows[] = {
        { "prints a plain one", (char *)(uintptr_t)"http://proxy:1", "\"http://proxy:1\"" },
        { "hides user and password", (char *)(uintptr_t)"http://ann:hunter2@proxy:1", "\"http://(set)@proxy:1\"" },
        { "hides a password that holds more", (char *)(uintptr_t)"http://a:b://c@d@proxy", "\"http://(set)@proxy\"" },
        { "hides them without a scheme", (char *)(uintptr_t)"ann:hunter2@proxy", "\"(set)@proxy\"" },
    };
    const struct option_row *row = &test_rows[ARRAY_LEN(test_rows) - 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_config config = { .way = rows[i].way };
        char mem[200];
        struct buf out;

        check_row(rows[i].it);
        buf_init_fixed(&out, mem, sizeof(mem));
        option_value_print(row, &config, &out);
        assert_string_equal(buf_text(&out), rows[i].want);
    }
}

static void test_reload(void **state)
{
    char *argv[] = { ARG("adit-test"), ARG("--config"), config_path, NULL }, mem[500],
         report_mem[500];
    struct option_origins *origins;
    struct test_config config = { 0 };
    enum option_action action;
    struct buf error, report;

    (void)state;
    buf_init_fixed(&error, mem, sizeof(mem));
    buf_init_fixed(&report, report_mem, sizeof(report_mem));
    write_file("hosts: [a]\nworkers: 3");
    assert_int_equal(option_load(&test_table, 3, argv, &config, &action, &origins, &error), 0);
    option_origins_free(origins);

    write_file("drain_ms: 5s\nhosts: [a, \"b\\\"\"]\nworkers: 4");
    assert_int_equal(option_reload(&test_table, 3, argv, &config, &report, &error), 0);
    assert_string_equal(buf_text(&report), "drain_ms: 30s -> 5s; workers: needs a restart; "
                                           "hosts: [\"a\"] -> [\"a\", \"b\\\"\"]");
    assert_int_equal(config.drain_ms, 5000);
    assert_int_equal(config.workers, 3);

    write_file("drain_ms: x");
    assert_int_equal(option_reload(&test_table, 3, argv, &config, &report, &error), -EINVAL);
    check_row("keeps what it had when the new file is wrong");
    assert_int_equal(config.drain_ms, 5000);
    option_free(&test_table, &config);
}

static void test_actions(void **state)
{
    static const struct { const char *flag; enum option_action want; } rows[] = {
        { "--help", OPTION_HELP },   { "-h", OPTION_HELP }, { "--version", OPTION_VERSION },
        { "--print-config", OPTION_PRINT_CONFIG }, { "--check-config", OPTION_CHECK_CONFIG },
        { "--print-reference", OPTION_REFERENCE },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *argv[] = { ARG("adit-test"), ARG(rows[i].flag), NULL };
        struct option_origins *origins;
        struct test_config config = { 0 };
        enum option_action action;
        struct buf error = { 0 };

        check_row(rows[i].flag);
        assert_int_equal(option_load(&test_table, 2, argv, &config, &action, &origins, &error), 0);
        assert_int_equal(action, rows[i].want);
        option_origins_free(origins);
        option_free(&test_table, &config);
    }
}

static int load_all_sources(void *data)
{
    const struct given *given = data;
    struct test_config config = { 0 };
    char message[300];
    int r = load(given, &config, message);

    option_free(&test_table, &config);
    return r;
}

static void test_no_memory(void **state)
{
    struct given given = { { "--drain-ms=4s", "--workers", "4" },
                           "ADIT_TEST_WINDOW=64K",
                           "hosts: [a, b]\ntls: false" };

    (void)state;
    check_each_alloc(load_all_sources, &given);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_values),    cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_shared_variables),
        cmocka_unit_test(test_url_is_printed_without_password),
        cmocka_unit_test(test_reload),    cmocka_unit_test(test_actions),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
