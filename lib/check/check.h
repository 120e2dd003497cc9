#pragma once
/*
 * check.h - what every unit test includes: cmocka and what it wants before it.
 *
 * Tests are tables beside the code; each row has a name that finishes the sentence
 * "it ...".  check_row() prints it, so the last one before a failure is the row that failed.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Names the row that the following assertions belong to. */
void check_row(const char *it);
