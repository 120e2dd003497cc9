#include "lib/check/alloc.h"
#include "lib/check/check.h"
#include <stdlib.h>

#define TRIES_MAX 100000        /* a test that never comes to its end is wrong */

/* What the linker's --wrap calls the real ones, and has in their place. */
void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);

static struct {
    size_t left;                /* allocations up to the one that fails, with it; 0: none fails */
    bool has_failed;
} plan;

void check_alloc_fail(size_t nth)
{
    plan.left = nth;
    plan.has_failed = false;
}

bool check_alloc_has_failed(void)
{
    return plan.has_failed;
}

static bool is_to_fail(void)
{
    if (plan.left == 0 || --plan.left)
        return false;
    plan.has_failed = true;
    return true;
}

void *check_alloc_own(size_t n)
{
    return __real_malloc(n);
}

void *__wrap_malloc(size_t n)
{
    return is_to_fail() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
    return is_to_fail() ? NULL : __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return is_to_fail() ? NULL : __real_realloc(p, n);
}

void check_each_alloc(int (*run)(void *data), void *data)
{
    size_t nth = 1;
    bool has_failed;

    do {
        int r;

        assert_true(nth < TRIES_MAX);
        check_alloc_fail(nth);
        r = run(data);
        has_failed = check_alloc_has_failed();
        check_alloc_fail(0);
        if (r != (has_failed ? -ENOMEM : 0))
            print_message("    allocation %zu %s, and the answer was %d\n", nth,
                          has_failed ? "failed" : "was not needed", r);
        assert_int_equal(r, has_failed ? -ENOMEM : 0);
        nth++;
    } while (has_failed);
    assert_true(nth > 2);
}
