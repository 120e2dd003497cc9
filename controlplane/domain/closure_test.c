#include "controlplane/domain/closure.h"
#include "lib/check/check.h"

/* Edges between ids that are named by one letter. */
struct graph {
    const char *edges;          /* "abbc": a to b, b to c */
};

static struct ulid id_of(char letter)
{
    struct ulid id = { "00000000000000000000000000" };

    id.text[0] = letter;
    return id;
}

static int next(void *ctx, const struct ulid *id, struct closure *c)
{
    const struct graph *g = ctx;
    int r = 0;

    for (const char *e = g->edges; !r && *e; e += 2) {
        struct ulid to = id_of(e[1]);

        if (e[0] == id->text[0])
            r = closure_add(c, &to);
    }
    return r;
}

static void test_rows(void **state)
{
    static const struct {
        const char *it, *edges;
        int want;
        size_t count;
        unsigned depth;
        bool has_start;
    } rows[] = {
        { "finds nothing where nothing is", "", 0, 0, 0, false },
        { "follows a chain", "abbccd", 0, 3, 3, false },
        { "counts a diamond once", "abacbdcd", 0, 3, 2, false },
        { "comes back from a ring", "abba", 0, 2, 2, true },
        { "goes eight deep", "abbccddeeffgghhi", 0, 8, 8, false },
        { "goes no deeper", "abbccddeeffgghhiij", CLOSURE_E_DEPTH, 0, 0, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct graph g = { rows[i].edges };
        struct ulid start = id_of('a');
        struct closure c = { 0 };

        check_row(rows[i].it);
        assert_int_equal(closure_walk(&start, next, &g, &c), rows[i].want);
        assert_int_equal(c.count, rows[i].count);
        assert_int_equal(c.depth, rows[i].depth);
        assert_int_equal(closure_has(&c, &start), rows[i].has_start);
        closure_deinit(&c);
    }
    check_row(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
