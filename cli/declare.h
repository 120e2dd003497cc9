#pragma once
#include "cli/session.h"
/*
 * declare.h - a document for PUT /config: sent, and what it changes said.
 *
 * Errors     said to stderr; the exit code.
 * Threads    one.
 */
#define DECLARE_MAX (64 << 20)
#define DECLARE_CALL_MS 300000

struct declare_modes {
    const char *owner;
    bool prune, take_over, cascade, wait;
    int64_t max_deletes;
};

/* `revision` 0: whatever it is now. */
int declare_put(struct session *s, const struct declare_modes *modes, struct span document, int64_t revision,
                bool is_dry, struct api_answer *answer);
/* "?name=value", or "&". */
void declare_put_query(struct buf *path, const char *name, const char *value);
/* Line by line; whether there is any. */
bool declare_print(const struct json_value *result);
bool declare_has_changes(const struct json_value *result);
int64_t declare_number(const struct json_value *object, const char *key);
void declare_print_value(const struct json_value *value);
