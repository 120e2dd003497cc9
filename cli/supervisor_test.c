#include "lib/check/check.h"

#include "cli/supervisor.h"
#include "lib/base/span.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

enum { PATIENCE_MS = 10000, TURN_MS = 20 };

static char dir[64], log_path[128], pid_path[128];
static char shell[] = "/bin/sh", shell_flag[] = "-c";
static unsigned ended;
static int last_status;

static void on_ended(const struct child_spec *spec, int status, unsigned again_ms)
{
    (void)spec;
    (void)again_ms;
    ended++;
    last_status = status;
}

static int set_up(void **state)
{
    (void)state;
    ended = 0;
    snprintf(dir, sizeof(dir), "/tmp/adit-supervisor-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(log_path, sizeof(log_path), "%s/log", dir);
    snprintf(pid_path, sizeof(pid_path), "%s/pid", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(log_path);
    unlink(pid_path);
    return rmdir(dir);
}

/* The pid that the child wrote last, when it is another than `before`. */
static pid_t wait_for_child(struct supervisor *s, pid_t before)
{
    for (int waited = 0; waited < PATIENCE_MS; waited += TURN_MS) {
        FILE *file = fopen(pid_path, "r");
        int pid = 0;

        if (file && fscanf(file, "%d", &pid) != 1)
            pid = 0;
        if (file)
            fclose(file);
        if (pid && pid != before)
            return pid;
        supervisor_turn(s, TURN_MS);
    }
    return 0;
}

static void test_restarts(void **state)
{
    AUTO(supervisor_freep) struct supervisor *s = NULL;
    char script[256];
    char *argv[] = { shell, shell_flag, script, NULL };
    const struct child_spec spec = { .name = "sleeper", .argv = argv, .log_path = log_path };
    pid_t first, second;

    (void)state;
    snprintf(script, sizeof(script), "echo $$ > %s; exec tail -f /dev/null", pid_path);
    assert_int_equal(supervisor_new(on_ended, &s), 0);
    assert_int_equal(supervisor_start(s, &spec), 0);
    first = wait_for_child(s, 0);
    assert_true(first > 0);
    assert_int_equal(getpgid(first), first);

    kill(first, SIGKILL);
    second = wait_for_child(s, first);
    assert_true(second > 0);
    assert_int_equal(ended, 1);
    assert_true(WIFSIGNALED(last_status) && WTERMSIG(last_status) == SIGKILL);

    assert_true(supervisor_stop(s, PATIENCE_MS));
    assert_int_equal(kill(second, 0), -1);
    assert_int_equal(ended, 1);
}

static void test_kills_what_does_not_drain(void **state)
{
    AUTO(supervisor_freep) struct supervisor *s = NULL;
    char script[256];
    char *argv[] = { shell, shell_flag, script, NULL };
    const struct child_spec spec = { .name = "stubborn", .argv = argv, .log_path = log_path };
    pid_t pid;

    (void)state;
    snprintf(script, sizeof(script), "trap '' TERM; echo $$ > %s; while :; do tail -f /dev/null; done",
             pid_path);
    assert_int_equal(supervisor_new(on_ended, &s), 0);
    assert_int_equal(supervisor_start(s, &spec), 0);
    pid = wait_for_child(s, 0);
    assert_true(pid > 0);
    assert_false(supervisor_stop(s, 50));
    assert_int_equal(kill(pid, 0), -1);
}

static void test_runs_once(void **state)
{
    static const struct { const char *it, *script; unsigned timeout_ms; int want, code; } rows[] = {
        { "tells the exit code", "exit 3", PATIENCE_MS, 0, 3 },
        { "hides proxy variables from children", "test -z \"$http_proxy$HTTPS_PROXY\"", PATIENCE_MS, 0, 0 },
        { "ends what takes too long", "exec tail -f /dev/null", 50, -ETIMEDOUT, 0 },
    };

    (void)state;
    setenv("http_proxy", "http://127.0.0.1:9", 1);
    setenv("HTTPS_PROXY", "http://127.0.0.1:9", 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(supervisor_freep) struct supervisor *s = NULL;
        char script[64];
        char *argv[] = { shell, shell_flag, script, NULL };
        const struct child_spec spec = { .name = "once", .argv = argv, .log_path = log_path };
        int status = 0;

        check_row(rows[i].it);
        snprintf(script, sizeof(script), "%s", rows[i].script);
        assert_int_equal(supervisor_new(on_ended, &s), 0);
        assert_int_equal(supervisor_run(s, &spec, rows[i].timeout_ms, &status), rows[i].want);
        if (rows[i].want == 0)
            assert_int_equal(WEXITSTATUS(status), rows[i].code);
    }
}

static void test_counts_requests_to_stop(void **state)
{
    AUTO(supervisor_freep) struct supervisor *s = NULL;

    (void)state;
    assert_int_equal(supervisor_new(on_ended, &s), 0);
    assert_int_equal(supervisor_asked(s), 0);
    raise(SIGINT);
    supervisor_turn(s, 0);
    assert_int_equal(supervisor_asked(s), 1);
    raise(SIGTERM);
    supervisor_turn(s, 0);
    raise(SIGTERM);
    supervisor_turn(s, 0);
    assert_int_equal(supervisor_asked(s), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_restarts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kills_what_does_not_drain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_runs_once, set_up, tear_down),
        cmocka_unit_test(test_counts_requests_to_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
