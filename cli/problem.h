#pragma once
#include "cli/api.h"
#include "cli/flag.h"
/*
 * problem.h - what the API refused, for the person who typed the command: what happened to what,
 * which flag it was, what stands in the way, what to do.
 *
 * Threads    one.
 */

/* `word` as in adit user …; `name` and `flags` may be NULL.  The exit code: EXIT_NOT, or EXIT_STALE. */
int problem_show(const struct flags *flags, const char *word, const char *name,
                 const struct api_answer *answer);
