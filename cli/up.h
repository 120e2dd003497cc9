#pragma once
#include "cli/place.h"
#include "cli/supervisor.h"
/*
 * up.h - the command lines of what `adit up` runs, one row each (up_programs.c).
 *
 * Secrets    none is in a command line: files carry them.
 * Threads    one.
 */
enum up_program {
    UP_BOOTSTRAP,
    UP_CONTROLPLANE,
    UP_RELAY_JOIN,
    UP_RELAY,
    UP_AGENT_JOIN,
    UP_AGENT,
    UP_PAGE,
    UP_PROGRAM_COUNT
};

#define UP_ARGS_MAX 32
struct up_programs {
    struct child_spec specs[UP_PROGRAM_COUNT];
    char *args[UP_PROGRAM_COUNT][UP_ARGS_MAX + 1];      /* heap */
    char *logs[UP_PROGRAM_COUNT];                       /* heap */
};

MUST_CHECK int up_programs_init(struct up_programs *p, const struct place *place);
void up_programs_deinit(struct up_programs *p);
/* Whether what UP_RELAY_JOIN or UP_AGENT_JOIN makes is there already, and not so long expired
 * that it cannot be renewed any more. */
bool up_has_identity(const struct place *place, enum up_program joiner);
/* Removes it, so that it can be made anew. */
MUST_CHECK int up_forget_identity(const struct place *place, enum up_program joiner);
