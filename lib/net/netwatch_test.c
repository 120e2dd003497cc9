#include "lib/net/netwatch.h"
#include "lib/check/check.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct seen {
    struct loop *loop;
    unsigned calls;
    uint64_t first_ms, last_ms;
};

static void on_change(void *arg)
{
    struct seen *s = arg;

    s->last_ms = loop_now_ms(s->loop);
    s->first_ms = s->calls++ ? s->first_ms : s->last_ms;
}

static bool is_called(void *arg) { return ((struct seen *)arg)->calls > 0; }
static bool is_called_again(void *arg) { return ((struct seen *)arg)->calls > 1; }

/* Loopback goes up or down: addresses and routes come or go with it. */
static void set_loopback(bool is_up)
{
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = (short)(is_up ? IFF_UP : 0) };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    close(fd);
}

static void test_changes(void **state)
{
    struct netwatch *watch;
    struct seen seen = { 0 };

    (void)state;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) && unshare(CLONE_NEWNET))
        skip();                         /* a network of our own to change is not to be had */
    assert_int_equal(loop_new(&seen.loop), 0);
    assert_int_equal(netwatch_new(seen.loop, on_change, &seen, &watch), 0);

    check_row("says nothing while nothing changes");
    assert_false(loop_run_until(seen.loop, is_called, &seen, 300));

    check_row("tells many changes at once");
    set_loopback(true);
    set_loopback(false);
    set_loopback(true);
    assert_true(loop_run_until(seen.loop, is_called, &seen, 20000));
    assert_false(loop_run_until(seen.loop, is_called_again, &seen, 300));

    check_row("tells the next change later, and not too soon");
    set_loopback(false);
    assert_true(loop_run_until(seen.loop, is_called_again, &seen, 20000));
    assert_in_range(seen.last_ms - seen.first_ms, NETWATCH_GAP_MS, 20000);
    assert_int_equal(seen.calls, 2);
    netwatch_free(watch);
    loop_free(seen.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_changes) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
