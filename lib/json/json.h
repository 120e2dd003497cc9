#pragma once
#include "lib/base/buf.h"
/*
 * json.h - field tables over jansson, whose types end here.
 *
 * Decoding: a table of rows names each field of a struct with its type and limits;
 * errors name the field as a JSON pointer.  Duplicate keys are refused.  Unknown keys are
 * refused unless JSON_ALLOW_UNKNOWN.
 * Encoding: the same rows, or the writer below (which escapes and bounds).
 *
 * Ownership  strings and arrays decoded into a struct are heap, freed by json_free_fields().
 *            json_decode() that fails leaves nothing behind in the struct.
 * Limits     depth 32, 1024 members of one object; sizes by the rows.
 * Threads    values belong to one thread at a time.
 */
enum json_type {
    J_STR,          /* char *: length (bytes) within min..max */
    J_TEXT,         /* char[size] in place: length within min..max */
    J_INT,          /* int64_t within min..max; 1.0 is 1 */
    J_BOOL,         /* bool */
    J_STRS,         /* struct json_strs: count within min..max, each 1..253 bytes */
    J_OBJECT,       /* struct json_value *: kept as a tree */
    J_ANY,          /* struct json_value *: any value */
};

enum { JSON_REQUIRED = 1, JSON_NULLABLE = 2, JSON_ALLOW_UNKNOWN = 4 };

struct json_strs {
    char **items;
    size_t count;
};

struct json_field {
    const char *key;
    enum json_type type;
    size_t offset, size;        /* offsetof, sizeof_field */
    int64_t min, max;
    unsigned flags;
};

struct json_error {             /* the first thing that was wrong */
    char pointer[128];          /* "/hosts/3", "" for the whole */
    char message[160];          /* "must be 1 to 63 characters" */
};

struct json_value;              /* a parsed tree */

/* -EINVAL with reterr; -ENOMEM, though the library may call a lack of memory a bad token. */
MUST_CHECK int json_parse(struct span text, struct json_value **ret_value,
                          struct json_error *reterr);
void json_value_free(struct json_value *v);
DEFINE_FREEP(json_value, json_value_free)
/* Decodes an object into `out` (zeroed by the caller).  -EINVAL with reterr; -ENOMEM. */
MUST_CHECK int json_decode(const struct json_value *v, const struct json_field *fields,
                           size_t count, unsigned flags, void *out, struct json_error *reterr);
/* json_parse and json_decode in one. */
MUST_CHECK int json_decode_text(struct span text, const struct json_field *fields, size_t count,
                                unsigned flags, void *out, struct json_error *reterr);
void json_free_fields(const struct json_field *fields, size_t count, void *out);
/* Writes the struct as an object; left out: a NULL string, a NULL value, an empty J_TEXT whose
 * row does not allow the empty string. */
void json_encode(const void *in, const struct json_field *fields, size_t count, struct buf *out);

/* Reading a tree where no table fits.  Borrowed views; NULL or false when absent or of
 * another type. */
enum json_kind {
    JSON_IS_NULL, JSON_IS_BOOL, JSON_IS_INT, JSON_IS_REAL, JSON_IS_STR, JSON_IS_ARRAY,
    JSON_IS_OBJECT
};
enum json_kind json_kind_of(const struct json_value *v);
const struct json_value *json_get(const struct json_value *object, const char *key);
bool json_get_str(const struct json_value *object, const char *key, struct span *ret);
bool json_get_int(const struct json_value *object, const char *key, int64_t *ret);
/* What stands before the fraction: 12.9 is 12. */
bool json_get_whole(const struct json_value *object, const char *key, int64_t *ret);
bool json_get_bool(const struct json_value *object, const char *key, bool *ret);
bool json_as_str(const struct json_value *v, struct span *ret);
bool json_as_int(const struct json_value *v, int64_t *ret);
size_t json_count(const struct json_value *array_or_object);
const struct json_value *json_at(const struct json_value *array, size_t i);
/* Member i of an object in its order; O(i). */
const struct json_value *json_member(const struct json_value *object, size_t i,
                                     struct span *ret_key);
/* Compact, keys in their order. */
void json_print(const struct json_value *v, struct buf *out);
/* RFC 7396 merge patch: a new tree. */
MUST_CHECK int json_merge(const struct json_value *target, const struct json_value *patch,
                          struct json_value **ret_merged);

/* Walking over a text without making a tree of it: for many small objects that a program of ours
 * wrote.  Strict where it looks, but looks at one level only: an array or object inside is cut out
 * by its brackets, to be walked over or checked by itself, and a key that stands twice is seen by
 * the caller.  Keys with escapes, or beyond ASCII, are refused. */
enum { JSON_E_END = 1 };
struct json_walk {
    struct span rest;
    bool is_object, is_started;
};
/* -EINVAL: neither an object nor an array. */
MUST_CHECK int json_walk_begin(struct span text, struct json_walk *w);
/* The next member or item (key: SPAN_NONE) as it stands in the text; JSON_E_END; -EINVAL. */
MUST_CHECK int json_walk_next(struct json_walk *w, struct span *ret_key, struct span *ret_value);
/* A member's text; SPAN_NONE: it has none.  -EINVAL: `object` is none. */
MUST_CHECK int json_walk_find(struct span object, const char *key, struct span *ret_value);
bool json_raw_is_valid(struct span raw);            /* as json_parse() finds */
static inline bool json_raw_is_nested(struct span raw)
{
    return raw.n && (*raw.p == '{' || *raw.p == '[');
}
/* Printable ASCII without escapes; SPAN_NONE for all else. */
struct span json_raw_str(struct span raw);
int64_t json_raw_int(struct span raw);              /* at most 18 digits; 0 for all else */

/* The writer: commas and escapes by itself. */
struct json_writer {
    struct buf *out;
    unsigned depth;
    bool needs_comma;
};
void json_begin(struct json_writer *w, struct buf *out);
/* key: NULL in arrays and at the top. */
void json_open_object(struct json_writer *w, const char *key);
void json_close_object(struct json_writer *w);
void json_open_array(struct json_writer *w, const char *key);
void json_close_array(struct json_writer *w);
void json_put_str(struct json_writer *w, const char *key, struct span value);
void json_put_text(struct json_writer *w, const char *key, const char *value);  /* NULL: null */
void json_put_int(struct json_writer *w, const char *key, int64_t value);
void json_put_bool(struct json_writer *w, const char *key, bool value);
void json_put_null(struct json_writer *w, const char *key);
void json_put_value(struct json_writer *w, const char *key, const struct json_value *value);
void json_put_raw(struct json_writer *w, const char *key, struct span json);    /* already JSON */
/* As a walk gave it: its key and its value, out of one text. */
void json_put_walked(struct json_writer *w, struct span key, struct span value);
