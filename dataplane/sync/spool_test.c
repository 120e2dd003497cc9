#include "dataplane/sync/spool.h"
#include "lib/check/check.h"
#include "lib/crypto/file.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX = 1 << 20 };
#define MANY ((size_t)1000)

struct world {
    char dir[64];
    struct spool *spool;
    struct buf out;
    struct spool_mark mark;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    snprintf(w->dir, sizeof(w->dir), "/tmp/adit-spool-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(spool_open(w->dir, MAX, &w->spool), 0);
    buf_init_heap(&w->out, 4 * MAX);
    *state = w;
    return 0;
}

/* Calls fn with each file's path; how many there are. */
static size_t each_file(const char *dir, void (*fn)(const char *path))
{
    DIR *entries = opendir(dir);
    const struct dirent *entry;
    char path[512];
    size_t n = 0;

    assert_non_null(entries);
    while ((entry = readdir(entries))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (fn)
            fn(path);
        n++;
    }
    closedir(entries);
    return n;
}

static void remove_file(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static int teardown(void **state)
{
    struct world *w = *state;

    spool_free(w->spool);
    buf_deinit(&w->out);
    each_file(w->dir, remove_file);
    assert_int_equal(rmdir(w->dir), 0);
    free(w);
    return 0;
}

static void reopen(struct world *w, size_t bytes_max)
{
    spool_free(w->spool);
    assert_int_equal(spool_open(w->dir, bytes_max, &w->spool), 0);
}

static void append(struct world *w, const char *lines)
{
    size_t n = 0;

    for (const char *at = lines; (at = strchr(at, '\n')); at++)
        n++;
    assert_int_equal(spool_append(w->spool, span_str(lines), n), 0);
}

static const char *next(struct world *w, size_t lines_max)
{
    buf_clear(&w->out);
    assert_int_equal(spool_read(w->spool, lines_max, MAX, &w->out, &w->mark), 0);
    return buf_text(&w->out);
}

static void test_order(void **state)
{
    struct world *w = *state;

    check_row("gives nothing when there is nothing");
    assert_string_equal(next(w, MANY), "");
    assert_int_equal(w->mark.lines, 0);

    check_row("gives the same until it is forgotten");
    append(w, "{\"n\":1}\n{\"n\":2}\n");
    append(w, "{\"n\":3}\n");
    assert_int_equal(spool_lines(w->spool), 3);
    assert_string_equal(next(w, 2), "{\"n\":1}\n{\"n\":2}\n");
    assert_string_equal(next(w, 2), "{\"n\":1}\n{\"n\":2}\n");
    spool_forget(w->spool, &w->mark);
    spool_forget(w->spool, &w->mark);
    assert_int_equal(spool_lines(w->spool), 1);
    assert_string_equal(next(w, MANY), "{\"n\":3}\n");

    check_row("takes more while some is on its way");
    append(w, "{\"n\":4}\n");
    spool_forget(w->spool, &w->mark);
    assert_string_equal(next(w, MANY), "{\"n\":4}\n");

    check_row("takes no room when all is delivered");
    spool_forget(w->spool, &w->mark);
    assert_int_equal(spool_lines(w->spool), 0);
    assert_int_equal(spool_bytes(w->spool), 0);
    assert_string_equal(next(w, MANY), "");
    append(w, "{\"n\":5}\n");
    assert_string_equal(next(w, MANY), "{\"n\":5}\n");
    assert_int_equal(each_file(w->dir, NULL), 1);
}

static void test_restart(void **state)
{
    struct world *w = *state;
    struct stat seen;

    check_row("gives after a restart what was not delivered, in order, and then what is new");
    append(w, "{\"n\":1}\n{\"n\":2}\n");
    reopen(w, MAX);
    append(w, "{\"n\":3}\n");
    reopen(w, MAX);
    assert_int_equal(spool_lines(w->spool), 3);
    append(w, "{\"n\":4}\n");
    for (unsigned part = 0; part < 3; part++) {
        static const char *const want[] = { "{\"n\":1}\n{\"n\":2}\n", "{\"n\":3}\n", "{\"n\":4}\n" };

        assert_string_equal(next(w, MANY), want[part]);
        spool_forget(w->spool, &w->mark);
    }
    assert_string_equal(next(w, MANY), "");

    check_row("leaves nothing behind");
    reopen(w, MAX);
    assert_int_equal(each_file(w->dir, NULL), 0);
    assert_int_equal(stat(w->dir, &seen), 0);
    assert_int_equal(seen.st_mode & 0777, 0700);
}

/* --- what a crash leaves --------------------------------------------------------------------- */

static void cut_three(const char *path)
{
    struct stat seen;

    assert_int_equal(stat(path, &seen), 0);
    assert_int_equal(seen.st_mode & 0777, 0600);
    assert_int_equal(truncate(path, seen.st_size - 3), 0);
}

static void cut_all(const char *path)
{
    assert_int_equal(truncate(path, 0), 0);
}

static void spoil(const char *path)
{
    assert_int_equal(file_append(path, SPAN("\0\0\0\0\n[1]\n{\"n\":\n{\"n\":9}\n"), 0600), 0);
}

static void test_crash(void **state)
{
    static const struct {
        const char *it;
        void (*harm)(const char *path);
        const char *want;
        unsigned dropped;
    } rows[] = {
        { "passes over a line that was cut", cut_three, "{\"n\":1}\n", 0 },
        { "takes an empty segment for none", cut_all, "", 0 },
        { "passes over what is no object", spoil, "{\"n\":1}\n{\"n\":2}\n{\"n\":9}\n", 3 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world *w = *state;

        check_row(rows[i].it);
        append(w, "{\"n\":1}\n{\"n\":2}\n");
        each_file(w->dir, rows[i].harm);
        reopen(w, MAX);
        assert_string_equal(next(w, MANY), rows[i].want);
        assert_string_equal(next(w, MANY), rows[i].want);
        spool_forget(w->spool, &w->mark);
        assert_int_equal(spool_dropped(w->spool), rows[i].dropped);
        assert_int_equal(spool_lines(w->spool), 0);

        append(w, "{\"n\":3}\n");
        reopen(w, MAX);
        assert_string_equal(next(w, MANY), "{\"n\":3}\n");
        spool_forget(w->spool, &w->mark);
    }
}

static void test_nothing_good(void **state)
{
    struct world *w = *state;

    check_row("goes on behind a segment without one good line");
    append(w, "nothing\nat all\n");
    reopen(w, MAX);
    append(w, "{\"n\":1}\n");
    assert_string_equal(next(w, MANY), "{\"n\":1}\n");
    assert_int_equal(spool_dropped(w->spool), 2);
    assert_int_equal(spool_lines(w->spool), 1);

    check_row("goes on behind a segment that is gone");
    reopen(w, MAX);
    each_file(w->dir, remove_file);
    append(w, "{\"n\":2}\n");
    assert_string_equal(next(w, MANY), "{\"n\":2}\n");
    assert_int_equal(spool_dropped(w->spool), 1);

    check_row("leaves alone what is not its own");
    spool_forget(w->spool, &w->mark);
    spool_free(w->spool);
    {
        char path[128];

        snprintf(path, sizeof(path), "%s/notes", w->dir);
        assert_int_equal(file_append(path, SPAN("mine\n"), 0600), 0);
        assert_int_equal(spool_open(w->dir, MAX, &w->spool), 0);
        assert_int_equal(spool_lines(w->spool), 0);
        assert_int_equal(access(path, F_OK), 0);
    }
}

/* --- bounds ------------------------------------------------------------------------------------ */

static void test_bound(void **state)
{
    struct world *w = *state;
    char line[1001];
    unsigned first;

    check_row("drops the oldest beyond its bytes, and counts them");
    for (unsigned i = 0; i < 3000; i++) {
        memset(line, ' ', sizeof(line));
        snprintf(line, sizeof(line), "{\"n\":%u", i);
        line[strlen(line)] = ' ';
        memcpy(line + 998, "}\n", 3);
        append(w, line);
        assert_true(spool_bytes(w->spool) <= MAX);
    }
    assert_int_equal(spool_lines(w->spool) + spool_dropped(w->spool), 3000);
    assert_in_range(spool_lines(w->spool), MAX / 1000 / 2, MAX / 1000);
    assert_int_equal(sscanf(next(w, 1), "{\"n\":%u", &first), 1);
    assert_int_equal(first, spool_dropped(w->spool));

    check_row("forgets nothing for the mark of what was dropped");
    for (unsigned i = 0; i < 600; i++)
        append(w, line);
    first = (unsigned)spool_lines(w->spool);
    spool_forget(w->spool, &w->mark);
    assert_int_equal(spool_lines(w->spool), first);

    check_row("keeps to a bound that was lowered");
    reopen(w, MAX / 2);
    assert_true(spool_bytes(w->spool) <= MAX / 2);

    check_row("cuts what it gives by bytes and lines");
    buf_clear(&w->out);
    assert_int_equal(spool_read(w->spool, MANY, 2500, &w->out, &w->mark), 0);
    assert_int_equal(w->mark.lines, 2);
    assert_int_equal(w->out.len, 2000);

    check_row("passes over a line that is longer than may be given");
    buf_clear(&w->out);
    assert_int_equal(spool_read(w->spool, MANY, 999, &w->out, &w->mark), 0);
    assert_int_equal(w->mark.lines, 0);
    assert_int_equal(spool_lines(w->spool), 0);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_full(void **state)
{
    struct world *w = *state;
    const char *const lines = "{\"n\":2}\n{\"n\":3}\n";

    check_row("takes all or nothing when the disk is full in the middle");
    signal(SIGXFSZ, SIG_IGN);
    append(w, "{\"n\":1}\n");
    limit_files(20);
    assert_int_equal(spool_append(w->spool, span_str(lines), 2), -EFBIG);
    assert_int_equal(spool_lines(w->spool), 1);
    assert_int_equal(spool_bytes(w->spool), 8);

    check_row("goes on when there is room again");
    limit_files(RLIM_INFINITY);
    append(w, lines);
    assert_string_equal(next(w, MANY), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    reopen(w, MAX);
    assert_string_equal(next(w, MANY), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    assert_int_equal(spool_dropped(w->spool), 0);
}

#define SPOOL_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOOL_TEST(test_order), SPOOL_TEST(test_restart), SPOOL_TEST(test_crash), SPOOL_TEST(test_nothing_good),
        SPOOL_TEST(test_bound), SPOOL_TEST(test_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
