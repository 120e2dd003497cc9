#pragma once
#include "lib/base/ulid.h"
#include "lib/json/json.h"
/*
 * doc.h - reading what body.c wrote into a document; absent fields give 0, empty, false.
 *
 * Threads    pure but for memory.
 */
struct span doc_text(const struct json_value *doc, const char *field);
struct ulid doc_id(const struct json_value *doc, const char *field);
int64_t doc_int(const struct json_value *doc, const char *field);
bool doc_bool(const struct json_value *doc, const char *field);
bool doc_is(const struct json_value *doc, const char *field, const char *word);
/* Milliseconds of a time; at least 1, since 0 means none. */
int64_t doc_time(const struct json_value *doc, const char *field);
/* The array's item as text; empty past the end. */
struct span doc_item(const struct json_value *doc, const char *field, size_t i);
size_t doc_count(const struct json_value *doc, const char *field);
