#include "dataplane/route/balance.h"
#include "lib/check/check.h"

#define N 4
#define NOT { false, 0 }
#define HAS(n) { true, n }

static void test_judge(void **state)
{
    static const struct {
        const char *it;
        struct balance_lane lanes[N];
        unsigned here, want, to;
    } rows[] = {
        { "keeps all where nobody else is", { HAS(16), NOT, NOT, NOT }, 0, 0, 0 },
        { "keeps all where the others cannot be used", { HAS(16), { false, 0 }, NOT, NOT }, 0, 0, 0 },
        { "gives half to a lane that has just opened", { HAS(16), HAS(0), NOT, NOT }, 0, 8, 1 },
        { "gives no more than the most", { HAS(64), HAS(0), NOT, NOT }, 0, BALANCE_MOVES_MAX, 1 },
        { "gives one of two", { HAS(2), HAS(0), NOT, NOT }, 0, 1, 1 },
        { "keeps its only one", { HAS(1), HAS(0), NOT, NOT }, 0, 0, 0 },
        { "evens out what is far from even", { HAS(12), HAS(4), NOT, NOT }, 0, 4, 1 },
        { "leaves what is nearly even", { HAS(9), HAS(7), NOT, NOT }, 0, 0, 0 },
        { "leaves what is even", { HAS(8), HAS(8), NOT, NOT }, 0, 0, 0 },
        { "never gives to who has more", { HAS(4), HAS(12), NOT, NOT }, 0, 0, 0 },
        { "gives a new one its share of two", { HAS(6), HAS(6), HAS(0), NOT }, 0, 2, 2 },
        { "and the other its share", { HAS(6), HAS(6), HAS(0), NOT }, 1, 2, 2 },
        { "looks from the next one on", { HAS(8), HAS(0), HAS(8), HAS(0) }, 2, 4, 3 },
        { "gives nothing of less than the average", { HAS(20), HAS(6), HAS(0), NOT }, 1, 0, 0 },
        { "gives from a link that is about to end", { { false, 6 }, HAS(2), HAS(2), NOT }, 0, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned to = 0;

        check_row(rows[i].it);
        assert_int_equal(balance_judge(rows[i].lanes, N, rows[i].here, &to), rows[i].want);
        assert_int_equal(to, rows[i].to);
    }
}

/* Whatever it begins with, all workers at once come to rest, and near the average. */
static void test_comes_to_rest(void **state)
{
    static const struct balance_lane begins[][N] = {
        { HAS(16), HAS(0), NOT, NOT }, { HAS(13), HAS(3), HAS(0), NOT }, { HAS(40), HAS(0), HAS(40), HAS(0) },
        { HAS(5), HAS(5), HAS(5), HAS(0) }, { HAS(100), HAS(1), HAS(2), HAS(50) },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
        struct balance_lane lanes[N], next[N];
        unsigned moved = 1, rounds = 0, usable = 0, all = 0;

        memcpy(lanes, begins[i], sizeof(lanes));
        for (; moved; rounds++) {
            moved = 0;
            memcpy(next, lanes, sizeof(next));
            for (unsigned here = 0; here < N; here++) {
                unsigned to = 0, n = lanes[here].is_usable ? balance_judge(lanes, N, here, &to) : 0;

                next[here].bulk -= n;
                next[to].bulk += n;
                moved += n;
            }
            memcpy(lanes, next, sizeof(lanes));
            assert_true(rounds < 20);
        }
        for (unsigned here = 0; here < N; here++) {
            usable += lanes[here].is_usable;
            all += lanes[here].bulk;
        }
        for (unsigned here = 0; here < N; here++)       /* half of the share at least */
            assert_true(!lanes[here].is_usable || 2 * usable * lanes[here].bulk >= all);
    }
}

#define AGENTS 100

/* One round over agents of which the first `closing` close a link and the others have load. */
static void take_turns(struct balance_turns *t, unsigned closing, unsigned had[AGENTS])
{
    balance_turns_begin(t);
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned i = 0; i < AGENTS; i++) {
            if (balance_turns_is_now(t, i, half == 1))
                had[i] += balance_turns_take(t, i, i < closing ? BALANCE_CLOSING : BALANCE_LOAD);
        }
    }
    balance_turns_end(t);
}

static void test_turns(void **state)
{
    static const struct { const char *it; unsigned closing, rounds; } rows[] = {
        { "gives all a turn who only have load", 0, 13 },
        { "gives all a turn where many close", 50, 25 },
        { "gives the only one with load a turn at once", 99, 25 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct balance_turns t = { 0 };
        unsigned had[AGENTS] = { 0 };

        check_row(rows[i].it);
        take_turns(&t, rows[i].closing, had);
        assert_int_equal(had[rows[i].closing], 1);
        for (unsigned round = 1; round < rows[i].rounds; round++)
            take_turns(&t, rows[i].closing, had);
        for (unsigned agent = 0; agent < AGENTS; agent++)
            assert_true(had[agent] > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge), cmocka_unit_test(test_comes_to_rest), cmocka_unit_test(test_turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
