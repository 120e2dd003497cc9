#pragma once
#include "lib/json/json.h"
#include <jansson.h>
/*
 * tree_internal.h - a json_value is a json_t, seen from outside the room.
 */
static inline json_t *tree_of(const struct json_value *v)
{
    return (json_t *)(uintptr_t)v;      /* jansson's getters are not all const */
}

static inline struct json_value *tree_value(json_t *tree)
{
    return (struct json_value *)(void *)tree;
}

static inline struct span tree_str(const json_t *string)
{
    return span_of(json_string_value(string), json_string_length(string));
}
