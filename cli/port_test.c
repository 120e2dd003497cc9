#include "lib/check/check.h"

#include "cli/port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void test_lines(void **state)
{
    static const struct { const char *it, *line; bool want; uint64_t inode; } rows[] = {
        { "finds a listener",
          "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000"
          "        0 4242 1 0000000000000000 100 0 0 10 0\n", true, 4242 },
        { "passes over a connection on the port",
          "   0: 0100007F:1F90 0100007F:A001 01 00000000:00000000 00:00000000 00000000  1000"
          "        0 4242 1 0000000000000000 100 0 0 10 0\n", false, 0 },
        { "passes over another port",
          "   0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000"
          "        0 4242 1 0000000000000000 100 0 0 10 0\n", false, 0 },
        { "passes over the heading", "  sl  local_address rem_address   st tx_queue\n", false, 0 },
        { "passes over a cut line", "   0: 0100007F:1F90 00000000:0000 0A", false, 0 },
        { "finds an IPv6 listener",
          "   1: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A"
          " 00000000:00000000 00:00000000 00000000     0        0 77 1\n", true, 77 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t inode = 0;
        uid_t uid = 0;

        check_row(rows[i].it);
        assert_int_equal(port_line_listens(span_str(rows[i].line), 8080, &inode, &uid),
                         rows[i].want);
        assert_int_equal(inode, rows[i].inode);
    }
}

static void test_owner(void **state)
{
    AUTO(fd_closep) int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(at);
    struct port_owner owner;

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);

    assert_int_equal(port_probe(ntohs(at.sin_port)), -EADDRINUSE);
    assert_true(port_find_owner(ntohs(at.sin_port), &owner));
    assert_int_equal(owner.pid, getpid());
    assert_string_equal(owner.name, "port_test");

    close(TAKE_FD(fd));
    assert_int_equal(port_probe(ntohs(at.sin_port)), 0);
    assert_false(port_find_owner(ntohs(at.sin_port), &owner));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
