#include "lib/program/check.h"
#include "lib/check/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char words[512];

static struct buf why_buf(void)
{
    struct buf why;

    memset(words, 0, sizeof(words));
    buf_init_fixed(&why, words, sizeof(words) - 1);
    return why;
}

static void test_listens(void **state)
{
    static const struct { const char *it, *one, *other; bool is_good; } rows[] = {
        { "refuses one port twice", "127.0.0.1:8080", "127.0.0.1:8080", false },
        { "refuses a port that any address has already", "0.0.0.0:8080", "127.0.0.1:8080", false },
        { "refuses any address where one has it already", "127.0.0.1:8080", "0.0.0.0:8080", false },
        { "knows that [::] listens on IPv4 too", "[::]:8080", "10.0.0.1:8080", false },
        { "refuses one socket twice", "unix:/run/a", "unix:/run/a", false },
        { "takes two ports", "127.0.0.1:8080", "127.0.0.1:8081", true },
        { "takes two addresses", "127.0.0.1:8080", "127.0.0.2:8080", true },
        { "takes 0.0.0.0 beside an IPv6 address", "0.0.0.0:8080", "[::1]:8080", true },
        { "takes any port twice", "127.0.0.1:0", "127.0.0.1:0", true },
        { "takes what is not there", "", "127.0.0.1:8080", true },
        { "leaves what is no address to others", "x", "x", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct program_listen listens[] = {
            { "first_listen", rows[i].one }, { "between_listen", "" }, { "other_listen", rows[i].other },
        };
        struct buf why = why_buf();

        check_row(rows[i].it);
        assert_int_equal(program_check_listens(listens, ARRAY_LEN(listens), &why), rows[i].is_good ? 0 : -EINVAL);
        assert_true(rows[i].is_good == !words[0]);
        assert_true(rows[i].is_good || (strstr(words, "first_listen") && strstr(words, "other_listen")));
    }
}

static void test_file(void **state)
{
    char path[] = "/tmp/check_test.XXXXXX";
    int fd = mkstemp(path);
    const struct { const char *it, *path; const char *says; } rows[] = {
        { "refuses a file that is not there", "/no/such", "door_key: /no/such: No such file" },
        { "refuses a directory", "/", "Is a directory" },
        { "takes a file", path, NULL },
        { "takes none", "", NULL },
    };

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf why = why_buf();
        int r;

        check_row(rows[i].it);
        r = program_check_file("door_key", rows[i].path, "a PEM key", &why);
        assert_int_equal(r, rows[i].says ? -EINVAL : 0);
        assert_true(!rows[i].says || (strstr(words, rows[i].says) && strstr(words, "a PEM key")));
    }
    unlink(path);
}

static void test_url(void **state)
{
    static const struct { const char *it, *url; bool is_good; } rows[] = {
        { "refuses nothing", "", false },
        { "refuses another scheme", "http://127.0.0.1:8444", false },
        { "refuses none", "127.0.0.1:8444", false },
        { "refuses a path", "https://a.example/x", false },
        { "refuses a port that is none", "https://a.example:99999", false },
        { "refuses what is no name", "https://a_b..c:1", false },
        { "takes a name", "https://a.example", true },
        { "takes an address", "https://[::1]:8444", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf why = why_buf();

        check_row(rows[i].it);
        assert_int_equal(program_check_url("control", rows[i].url, &why), rows[i].is_good ? 0 : -EINVAL);
        assert_true(rows[i].is_good || strstr(words, "https://host:port"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listens), cmocka_unit_test(test_file), cmocka_unit_test(test_url),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
