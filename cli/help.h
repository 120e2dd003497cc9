#pragma once
#include "cli/flag.h"
#include <stdio.h>
/*
 * help.h - --help of resources and verbs, out of the same rows that do the work.
 *
 * Threads    one.
 */
void help_resource(FILE *out, const struct resource *resource);
void help_verb(FILE *out, const struct resource *resource, enum verb_id verb);
/* "lists users", "makes a user". */
const char *help_sentence(const struct resource *resource, enum verb_id verb, char *mem, size_t size);
/* What stands behind the verb: "[NAME]", "NAME MEMBER…". */
const char *help_words(const struct resource *resource, enum verb_id verb);
/* "--role WORD", "--wait". */
const char *help_flag(const struct flag *flag, char *mem, size_t size);
/* "user, auditor or what its help says". */
const char *help_value(const struct flag *flag, char *mem, size_t size);
