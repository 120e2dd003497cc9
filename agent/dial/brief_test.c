#include "agent/dial/brief.h"
#include "lib/check/check.h"
#include <stdio.h>

static void test_brief(void **state)
{
    struct endpoint unix_one = { .kind = ENDPOINT_UNIX }, ip = { .kind = ENDPOINT_IP, .port = 53 }, got;
    struct brief b = { 0 };

    (void)state;
    snprintf(unix_one.path, sizeof(unix_one.path), "/run/a.sock");
    ip.addr = addr_v4(192, 0, 2, 1);
    check_row("is no endpoint at first");
    assert_int_equal(brief_endpoint(&b).kind, ENDPOINT_NONE);
    check_row("keeps a path, a copy of it");
    brief_set(&b, &unix_one);
    unix_one.path[1] = 'x';
    got = brief_endpoint(&b);
    assert_int_equal(got.kind, ENDPOINT_UNIX);
    assert_string_equal(got.path, "/run/a.sock");
    check_row("keeps an address, and the path no longer");
    brief_set(&b, &ip);
    got = brief_endpoint(&b);
    assert_int_equal(got.kind, ENDPOINT_IP);
    assert_int_equal(got.port, 53);
    assert_true(addr_eq(&got.addr, &ip.addr));
    assert_null(b.path);
    brief_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_brief) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
