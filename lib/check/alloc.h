#pragma once
#include <stdbool.h>
#include <stddef.h>
/*
 * alloc.h - fails the nth allocation, so that a test walks every way out for want of memory.
 *
 * All unit tests are linked with malloc, calloc and realloc wrapped, so this reaches what the
 * house's own code allocates, not what happens inside a library (unless it can be told to
 * use other functions).  Works under the sanitizers, which then find what an error path leaks.
 *
 * Environment   ADIT_ALLOC_FAIL=n: the nth allocation of the whole program fails, whichever
 * test it is in (0: none does, and the end says how many there were); with ADIT_ALLOC_SHOW a
 * program under a sanitizer says where that was.  tools/unit-alloc walks all of them.
 *
 * Threads    arm it while the test has one thread.
 */

/* The nth allocation from now on (1: the next) gives NULL, once; 0: none does. */
void check_alloc_fail(size_t nth);
/* Whether the one that was to fail has come. */
bool check_alloc_has_failed(void);

/* What the test itself needs: never the one that fails. */
void *check_alloc_own(size_t n);

/* Calls run(data) with the 1st, 2nd, 3rd … allocation failing, until one call needs no more:
 * that one must give 0, all before it -ENOMEM, and there must be at least one of those. */
void check_each_alloc(int (*run)(void *data), void *data);
