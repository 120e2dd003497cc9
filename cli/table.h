#pragma once
#include "cli/command.h"
/*
 * table.h - the words behind `adit`: commands of this program, and the programs beside it.
 * What there is to manage stands in resource.h.
 *
 * Threads    constants.
 */
struct sibling {
    const char *name, *help;
};

const struct command *command_at(size_t i);     /* NULL past the last; help NULL: not for people */
const struct command *command_find(const char *name);
const struct sibling *sibling_at(size_t i);
const struct sibling *sibling_find(const char *name);
