#include "agent/dial/race.h"
#include "lib/pipe/peer_fixture.h"

struct run {
    struct race *race;
    struct race_result result;
    unsigned calls;
    bool is_kept;                   /* freed later than in on_done */
};

static void on_done(void *user, const struct race_result *result)
{
    struct run *r = user;

    r->calls++;
    r->result = *result;
    if (!r->is_kept)
        race_free(TAKE(r->race));
}

static bool is_called_twice(void *arg) { return ((struct run *)arg)->calls > 1; }
static bool is_done(void *arg) { return ((struct run *)arg)->calls > 0; }

static struct endpoint v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port)
{
    return (struct endpoint){ .kind = ENDPOINT_IP, .addr = addr_v4(a, b, c, d), .port = port };
}

enum place { NOWHERE, OPEN, CLOSED, FULL, NO_SOCKET };   /* FULL: takes no connection, says nothing */

struct street {
    struct full full;
    int open;
    uint16_t open_port, closed_port;
};

static void street_open(struct street *s)
{
    close(tcp_listen(&s->closed_port));
    s->open = tcp_listen(&s->open_port);
    full_open(&s->full);
}

static void street_close(struct street *s)
{
    full_close(&s->full);
    close(s->open);
}

static struct endpoint place(const struct street *s, enum place p)
{
    struct endpoint none = { .kind = ENDPOINT_UNIX, .path = "/nonexistent/adit.sock" };

    if (p == NO_SOCKET)
        return none;
    return v4(127, 0, 0, 1, p == OPEN ? s->open_port : p == FULL ? s->full.port : s->closed_port);
}

static void test_race(void **state)
{
    static const struct {
        const char *it;
        enum place to[RACE_ADDRS_MAX];
        enum reason want;
        enum reason tries[RACE_ADDRS_MAX];
        size_t try_count;
        uint32_t least_ms, most_ms;
    } rows[] = {
        { "connects", { OPEN }, REASON_NONE, { REASON_NONE }, 1, 0, 200 },
        { "is refused", { CLOSED }, REASON_DIAL_REFUSED, { REASON_DIAL_REFUSED }, 1, 0, 200 },
        { "finds no socket", { NO_SOCKET }, REASON_DIAL_REFUSED, { REASON_DIAL_REFUSED }, 1, 0, 200 },
        { "goes on at once after a refusal", { CLOSED, OPEN }, REASON_NONE, { REASON_DIAL_REFUSED, REASON_NONE }, 2, 0, 200 },
        { "goes through all refusals", { CLOSED, CLOSED, CLOSED }, REASON_DIAL_REFUSED,
          { REASON_DIAL_REFUSED, REASON_DIAL_REFUSED, REASON_DIAL_REFUSED }, 3, 0, 200 },
        { "tries the next after 250 ms of silence", { FULL, OPEN }, REASON_NONE,
          { REASON_DIAL_OVERTAKEN, REASON_NONE }, 2, 240, 450 },
        { "tells its tries in the order in which they began", { FULL, CLOSED, OPEN }, REASON_NONE,
          { REASON_DIAL_OVERTAKEN, REASON_DIAL_REFUSED, REASON_NONE }, 3, 240, 450 },
        { "gives up at its deadline", { FULL }, REASON_DIAL_TIMEOUT, { REASON_DIAL_TIMEOUT }, 1, 490, 700 },
        { "gives up at its deadline, with those that failed before", { CLOSED, FULL }, REASON_DIAL_TIMEOUT,
          { REASON_DIAL_REFUSED, REASON_DIAL_TIMEOUT }, 2, 490, 700 },
    };
    struct street street;
    struct loop *loop;

    (void)state;
    street_open(&street);
    assert_int_equal(loop_new(&loop), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct endpoint to[RACE_ADDRS_MAX];
        struct run r = { 0 };
        uint64_t since_ms = mono_ms(), took_ms;
        size_t count = 0;

        check_row(rows[i].it);
        for (; count < RACE_ADDRS_MAX && rows[i].to[count]; count++)
            to[count] = place(&street, rows[i].to[count]);
        assert_int_equal(race_start(loop, to, count, false, 500, on_done, &r, &r.race), 0);
        assert_int_equal(r.calls, 0);
        assert_true(loop_run_until(loop, is_done, &r, 5000));
        took_ms = mono_ms() - since_ms;
        assert_int_equal(r.result.reason, rows[i].want);
        assert_int_equal(r.result.conn != NULL, rows[i].want == REASON_NONE);
        assert_int_equal(r.result.try_count, rows[i].try_count);
        for (size_t k = 0; k < rows[i].try_count; k++)
            assert_int_equal(r.result.tries[k].result, rows[i].tries[k]);
        assert_in_range(took_ms, rows[i].least_ms, rows[i].most_ms * 4);
        if (r.result.conn) {
            assert_int_equal(r.result.used.port, street.open_port);
            conn_free(r.result.conn);
        }
        assert_int_equal(r.calls, 1);
    }
    loop_free(loop);
    street_close(&street);
}

/* The addresses of the other family come while the race runs. */
static void test_late(void **state)
{
    static const struct {
        const char *it;
        enum place first[3], late[3];
        enum reason want, tries[RACE_ADDRS_MAX];
        size_t try_count;
        uint32_t least_ms;
    } rows[] = {
        { "goes on with late addresses when the first have failed", { CLOSED }, { OPEN }, REASON_NONE,
          { REASON_DIAL_REFUSED, REASON_NONE }, 2, 0 },
        { "tries a late address after 250 ms of silence", { FULL }, { OPEN }, REASON_NONE,
          { REASON_DIAL_OVERTAKEN, REASON_NONE }, 2, 200 },
        { "lets late addresses take turns with those that wait", { FULL, FULL }, { OPEN }, REASON_NONE,
          { REASON_DIAL_OVERTAKEN, REASON_NONE }, 2, 200 },
        { "ends with the first ones when none come", { CLOSED }, { NOWHERE }, REASON_DIAL_REFUSED,
          { REASON_DIAL_REFUSED }, 1, 0 },
        { "does not try an address twice", { CLOSED }, { CLOSED }, REASON_DIAL_REFUSED,
          { REASON_DIAL_REFUSED }, 1, 0 },
    };
    struct street street;
    struct loop *loop;

    (void)state;
    street_open(&street);
    assert_int_equal(loop_new(&loop), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct endpoint first[3], late[3];
        struct run r = { 0 };
        uint64_t since_ms = mono_ms();
        size_t firsts = 0, lates = 0;

        check_row(rows[i].it);
        for (; firsts < 3 && rows[i].first[firsts]; firsts++) {
            first[firsts] = place(&street, rows[i].first[firsts]);
            if (rows[i].first[firsts] == FULL)
                first[firsts].addr.ip[15] = (unsigned char)(1 + firsts);
        }
        for (; lates < 3 && rows[i].late[lates]; lates++)
            late[lates] = place(&street, rows[i].late[lates]);
        assert_int_equal(race_start(loop, first, firsts, true, 20000, on_done, &r, &r.race), 0);
        assert_false(loop_run_until(loop, is_done, &r, 30));
        race_close(r.race, late, lates);
        assert_int_equal(r.calls, 0);
        assert_true(loop_run_until(loop, is_done, &r, 20000));
        assert_in_range(mono_ms() - since_ms, rows[i].least_ms, 19000);
        assert_int_equal(r.result.reason, rows[i].want);
        assert_int_equal(r.result.try_count, rows[i].try_count);
        for (size_t k = 0; k < rows[i].try_count; k++)
            assert_int_equal(r.result.tries[k].result, rows[i].tries[k]);
        conn_free(r.result.conn);
    }
    loop_free(loop);
    street_close(&street);
}

/* One more address than there is room for: the late family has its turns. */
static void test_late_and_full(void **state)
{
    struct endpoint first[RACE_ADDRS_MAX], late[RACE_ADDRS_MAX];
    struct street street;
    struct run r = { 0 };
    struct loop *loop;
    unsigned v6 = 0;

    (void)state;
    check_row("never tries more than there is room for, and of both families");
    street_open(&street);
    assert_int_equal(loop_new(&loop), 0);
    for (uint8_t i = 0; i < RACE_ADDRS_MAX; i++) {
        first[i] = v4(127, 0, 1, i, street.closed_port);
        late[i] = (struct endpoint){ .kind = ENDPOINT_IP, .port = street.closed_port,
                                     .addr = { .ip = { 0xfe, 0x80, [15] = i } } };
    }
    assert_int_equal(race_start(loop, first, RACE_ADDRS_MAX, true, 20000, on_done, &r, &r.race), 0);
    race_close(r.race, late, RACE_ADDRS_MAX);
    assert_true(loop_run_until(loop, is_done, &r, 20000));
    assert_int_equal(r.result.try_count, RACE_ADDRS_MAX);
    for (size_t i = 0; i < RACE_ADDRS_MAX; i++)
        v6 += !addr_is_v4(&r.result.tries[i].to.addr);
    assert_int_equal(v6, RACE_ADDRS_MAX / 2);
    loop_free(loop);
    street_close(&street);
}

static void test_left(void **state)
{
    struct street street;
    struct endpoint to[2];
    struct loop *loop;
    struct run r = { 0 };

    (void)state;
    check_row("drops what is under way when nobody waits any more");
    street_open(&street);
    assert_int_equal(loop_new(&loop), 0);
    to[0] = to[1] = place(&street, FULL);
    assert_int_equal(race_start(loop, to, 2, false, 5000, on_done, &r, &r.race), 0);
    (void)loop_run_until(loop, is_done, &r, 30);
    race_free(r.race);
    assert_int_equal(r.calls, 0);

    check_row("tells its end once, also when it is not freed at once");
    to[1] = place(&street, OPEN);
    r.is_kept = true;
    assert_int_equal(race_start(loop, to, 2, false, 400, on_done, &r, &r.race), 0);
    assert_true(loop_run_until(loop, is_done, &r, 5000));
    assert_false(loop_run_until(loop, is_called_twice, &r, 300));
    conn_free(r.result.conn);
    race_free(r.race);
    r.calls = 0;

    check_row("refuses none and too many");
    assert_int_equal(race_start(loop, to, 0, false, 5000, on_done, &r, &r.race), -EINVAL);
    assert_int_equal(race_start(loop, to, RACE_ADDRS_MAX + 1, false, 5000, on_done, &r, &r.race), -EINVAL);
    loop_free(loop);
    street_close(&street);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_race), cmocka_unit_test(test_late),
                                        cmocka_unit_test(test_late_and_full), cmocka_unit_test(test_left) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
