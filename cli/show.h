#pragma once
#include "lib/json/json.h"
#include <stdio.h>
/*
 * show.h - objects of the API for people: a table that fits the terminal, or one object with a
 * line for each field.
 *
 * What comes from elsewhere cannot move the cursor: control characters are shown as '?'.  Where
 * an object has both "user" and "user_name", the name is shown.
 *
 * Threads    one.
 */
#define SHOW_COLUMNS_MAX 16

struct show_table {
    struct span columns[SHOW_COLUMNS_MAX];      /* "name", "actor.name" */
    size_t widths[SHOW_COLUMNS_MAX];
    size_t count;
    bool has_head;              /* it was printed */
};

/* Columns separated by blanks or commas. */
void show_table_init(struct show_table *table, const char *columns);
/* One page: the first one makes the widths and prints the head. */
void show_table_page(struct show_table *table, const struct json_value *items);
/* All members; `hidden` (may be NULL) not. */
void show_object(const struct json_value *object, const char *hidden);
/* One value as text. */
void show_value(const struct json_value *value, struct buf *out);
