#pragma once
#include "cli/ask.h"
/*
 * fields.h - the flags of create, edit and add-member as the JSON that the API takes.
 *
 * Errors     said to stderr; false.
 * Threads    one.
 */

/* `before`: the object as it is, for --add-… and --remove-…; NULL: a new one.  `password` NULL: none.
 * Nothing given makes "{}". */
bool fields_write(const struct ask *ask, const struct json_value *before, const char *password,
                  int64_t now_s, struct buf *out);
/* Whether --add-… or --remove-… needs the object as it is. */
bool fields_need_before(const struct ask *ask);
