#include "lib/json/scan_internal.h"
#include "lib/json/tree_internal.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The library's message without the piece of input that it quotes: that may be a secret. */
static void error_set(struct json_error *e, const json_error_t *from)
{
    const char *near = strstr(from->text, " near ");
    int n = near ? (int)(near - from->text) : (int)strlen(from->text);

    e->pointer[0] = 0;
    snprintf(e->message, sizeof(e->message), "is not valid JSON: %.*s (byte %d)", n < 100 ? n : 100,
             from->text, from->position);
}

/* Where its first buffer fails the library says nothing at all. */
static bool is_no_memory(const json_error_t *error)
{
    return error->text[0] == 0 || json_error_code(error) == json_error_out_of_memory;
}

int json_parse(struct span text, struct json_value **ret_value, struct json_error *reterr)
{
    json_error_t error;
    json_t *tree;

    if (!json_scan_limits(text, reterr))
        return -EINVAL;
    tree =
        json_loadb(text.n ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!tree) {
        error_set(reterr, &error);
        return is_no_memory(&error) ? -ENOMEM : -EINVAL;
    }
    *ret_value = tree_value(tree);
    return 0;
}

void json_value_free(struct json_value *v)
{
    json_decref(tree_of(v));
}

enum json_kind json_kind_of(const struct json_value *v)
{
    switch (v ? json_typeof(tree_of(v)) : JSON_NULL) {
    case JSON_OBJECT:
        return JSON_IS_OBJECT;
    case JSON_ARRAY:
        return JSON_IS_ARRAY;
    case JSON_STRING:
        return JSON_IS_STR;
    case JSON_INTEGER:
        return JSON_IS_INT;
    case JSON_REAL:
        return JSON_IS_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_IS_BOOL;
    case JSON_NULL:
        break;
    }
    return JSON_IS_NULL;
}

const struct json_value *json_get(const struct json_value *object, const char *key)
{
    return tree_value(json_object_get(tree_of(object), key));
}

bool json_as_str(const struct json_value *v, struct span *ret)
{
    if (!json_is_string(tree_of(v)))
        return false;
    *ret = tree_str(tree_of(v));
    return true;
}

/* 1.0 is an integer too (JSON Schema core, 4.2.3), as far as a double counts exactly. */
static bool real_as_int(double real, int64_t *ret)
{
    if (!(real >= -0x1p53 && real <= 0x1p53) || real != (double)(int64_t)real)
        return false;
    *ret = (int64_t)real;
    return true;
}

bool json_as_int(const struct json_value *v, int64_t *ret)
{
    if (json_is_real(tree_of(v)))
        return real_as_int(json_real_value(tree_of(v)), ret);
    if (!json_is_integer(tree_of(v)))
        return false;
    *ret = json_integer_value(tree_of(v));
    return true;
}

bool json_get_str(const struct json_value *object, const char *key, struct span *ret)
{
    return json_as_str(json_get(object, key), ret);
}

bool json_get_int(const struct json_value *object, const char *key, int64_t *ret)
{
    return json_as_int(json_get(object, key), ret);
}

bool json_get_whole(const struct json_value *object, const char *key, int64_t *ret)
{
    const struct json_value *v = json_get(object, key);

    return json_is_real(tree_of(v)) ? real_as_int(trunc(json_real_value(tree_of(v))), ret) : json_as_int(v, ret);
}

bool json_get_bool(const struct json_value *object, const char *key, bool *ret)
{
    const json_t *v = tree_of(json_get(object, key));

    if (!json_is_boolean(v))
        return false;
    *ret = json_is_true(v);
    return true;
}

size_t json_count(const struct json_value *array_or_object)
{
    const json_t *v = tree_of(array_or_object);

    return json_is_array(v) ? json_array_size(v) : json_object_size(v);
}

const struct json_value *json_at(const struct json_value *array, size_t i)
{
    return tree_value(json_array_get(tree_of(array), i));
}

const struct json_value *json_member(const struct json_value *object, size_t i,
                                     struct span *ret_key)
{
    json_t *tree = tree_of(object);
    void *at = json_object_iter(tree);

    while (at && i--)
        at = json_object_iter_next(tree, at);
    if (!at)
        return NULL;
    *ret_key = span_str(json_object_iter_key(at));
    return tree_value(json_object_iter_value(at));
}

static int on_dump(const char *bytes, size_t n, void *data)
{
    struct buf *out = data;

    buf_put(out, bytes, n);
    return buf_error(out);
}

void json_print(const struct json_value *v, struct buf *out)
{
    if (json_dump_callback(tree_of(v), on_dump, out, JSON_COMPACT | JSON_ENCODE_ANY)
        && !buf_error(out))
        out->error = -ENOMEM;
}

static json_t *merge(json_t *target, json_t *patch);

/* One member of the patch, into `merged`, which is the target's copy. */
static int merge_member(json_t *merged, const char *key, json_t *value)
{
    json_t *child;

    if (json_is_null(value)) {
        json_object_del(merged, key);           /* absent: nothing to do */
        return 0;
    }
    child = merge(json_object_get(merged, key), value);
    return child ? json_object_set_new(merged, key, child) : -1;
}

/* Recursion is bounded by the depth that json_parse() takes. */
static json_t *merge(json_t *target, json_t *patch)
{
    json_t *merged, *value;
    const char *key;

    if (!json_is_object(patch))
        return json_deep_copy(patch);
    merged = json_is_object(target) ? json_deep_copy(target) : json_object();
    if (!merged)
        return NULL;

    json_object_foreach(patch, key, value) {
        if (merge_member(merged, key, value)) {
            json_decref(merged);
            return NULL;
        }
    }
    return merged;
}

int json_merge(const struct json_value *target, const struct json_value *patch,
               struct json_value **ret_merged)
{
    json_t *merged = merge(tree_of(target), tree_of(patch));

    if (!merged)
        return -ENOMEM;
    *ret_merged = tree_value(merged);
    return 0;
}
