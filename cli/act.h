#pragma once
#include "cli/ask.h"
/*
 * act.h - the verbs of `adit RESOURCE VERB`.
 *
 * Errors     said to stderr; the exit code.
 * Threads    one.
 */
int act_list(struct ask *ask);          /* and the members of one */
int act_export(struct ask *ask);
int act_verify(struct ask *ask);
int act_show(struct ask *ask);
int act_create(struct ask *ask);
int act_edit(struct ask *ask);
int act_delete(struct ask *ask);
int act_add_member(struct ask *ask);
int act_remove_member(struct ask *ask);
int act_rotate(struct ask *ask);
int act_cut(struct ask *ask);
int act_reset(struct ask *ask);
/* `adit user …`: argv[0] is the resource's word. */
int act_command(const struct resource *resource, int argc, char **argv);
