#include "lib/check/alloc.h"
#include "lib/check/check.h"
#include <stdatomic.h>
#include <stdio.h>
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

/* The same for a whole program, from its environment; in whatever thread the nth is. */
static struct {
    size_t fails;               /* SIZE_MAX: nobody asked */
    bool is_shown;
    atomic_size_t seen;
} whole = { .fails = SIZE_MAX };

void __sanitizer_print_stack_trace(void) __attribute__((weak));

static void __attribute__((constructor)) whole_begin(void)
{
    const char *nth = getenv("ADIT_ALLOC_FAIL");

    whole.is_shown = getenv("ADIT_ALLOC_SHOW") != NULL;
    whole.fails = nth ? strtoul(nth, NULL, 10) : SIZE_MAX;
}

static void __attribute__((destructor)) whole_end(void)
{
    if (whole.fails == 0)
        (void)fprintf(stderr, "allocations: %zu\n", atomic_load(&whole.seen));
}

static bool is_to_fail_in_whole(void)
{
    if (whole.fails == SIZE_MAX || atomic_fetch_add(&whole.seen, 1) + 1 != whole.fails)
        return false;
    if (whole.is_shown && __sanitizer_print_stack_trace)
        __sanitizer_print_stack_trace();
    return true;
}

static bool is_to_fail(void)
{
    if (is_to_fail_in_whole())
        return true;
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
