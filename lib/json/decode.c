#include "lib/json/tree_internal.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ITEM_MAX 253            /* bytes of one string of J_STRS */
#define NO_INDEX SIZE_MAX

/* One field being decoded: where it goes and what to say when it cannot. */
struct place {
    const struct json_field *field;
    void *to;
    struct json_error *error;
};

/* RFC 6901 section 3; cut where it does not fit. */
static void pointer_set(struct json_error *e, const char *key, size_t index)
{
    struct buf out;

    buf_init_fixed(&out, e->pointer, sizeof(e->pointer) - 1);
    buf_put_str(&out, "/");
    for (; *key && !buf_error(&out); key++) {
        if (*key == '~' || *key == '/')
            buf_put_str(&out, *key == '~' ? "~0" : "~1");
        else
            buf_put(&out, key, 1);
    }
    if (index != NO_INDEX)
        buf_printf(&out, "/%zu", index);
    e->pointer[out.len] = 0;
}

static int refuse(const struct place *p, size_t index, const char *format, ...) PRINTF_LIKE(3, 4);
static int refuse(const struct place *p, size_t index, const char *format, ...)
{
    va_list args;

    pointer_set(p->error, p->field->key, index);
    va_start(args, format);
    vsnprintf(p->error->message, sizeof(p->error->message), format, args);
    va_end(args);
    return -EINVAL;
}

static bool is_within(uint64_t n, const struct json_field *f)
{
    return n <= INT64_MAX && (int64_t)n >= f->min && (int64_t)n <= f->max;
}

static int check_str(const struct place *p, const json_t *v, struct span *ret)
{
    if (!json_is_string(v))
        return refuse(p, NO_INDEX, "must be a string");
    *ret = tree_str(v);
    if (!is_within(ret->n, p->field))
        return refuse(p, NO_INDEX, "must be %lld to %lld bytes long", (long long)p->field->min,
                      (long long)p->field->max);
    return 0;
}

static int decode_str(const struct place *p, json_t *v)
{
    struct span text;
    char *copy;
    int r = check_str(p, v, &text);

    if (r)
        return r;
    copy = span_dup(text);
    if (!copy)
        return -ENOMEM;
    *(char **)p->to = copy;
    return 0;
}

static int decode_text(const struct place *p, json_t *v)
{
    struct span text;
    int r = check_str(p, v, &text);

    if (r)
        return r;
    if (!span_copy(text, p->to, p->field->size))
        return refuse(p, NO_INDEX, "must be %zu bytes long at most", p->field->size - 1);
    return 0;
}

static int decode_int(const struct place *p, json_t *v)
{
    int64_t n;

    if (!json_as_int(tree_value(v), &n))
        return refuse(p, NO_INDEX, "must be an integer");
    if (n < p->field->min || n > p->field->max)
        return refuse(p, NO_INDEX, "must be %lld to %lld", (long long)p->field->min,
                      (long long)p->field->max);
    *(int64_t *)p->to = n;
    return 0;
}

static int decode_bool(const struct place *p, json_t *v)
{
    if (!json_is_boolean(v))
        return refuse(p, NO_INDEX, "must be true or false");
    *(bool *)p->to = json_is_true(v);
    return 0;
}

static int decode_item(const struct place *p, struct json_strs *strs, size_t i, const json_t *v)
{
    if (!json_is_string(v))
        return refuse(p, i, "must be a string");
    if (json_string_length(v) < 1 || json_string_length(v) > ITEM_MAX)
        return refuse(p, i, "must be 1 to %d bytes long", ITEM_MAX);
    strs->items[i] = span_dup(tree_str(v));
    if (!strs->items[i])
        return -ENOMEM;
    strs->count = i + 1;
    return 0;
}

/* What was decoded before a failure is freed with the other fields. */
static int decode_strs(const struct place *p, json_t *v)
{
    struct json_strs *strs = p->to;
    size_t count = json_array_size(v);
    int r = 0;

    if (!json_is_array(v))
        return refuse(p, NO_INDEX, "must be a list of strings");
    if (!is_within(count, p->field))
        return refuse(p, NO_INDEX, "must have %lld to %lld items", (long long)p->field->min,
                      (long long)p->field->max);
    if (count == 0)
        return 0;
    strs->items = calloc(count, sizeof(char *));
    if (!strs->items)
        return -ENOMEM;
    for (size_t i = 0; i < count && !r; i++)
        r = decode_item(p, strs, i, json_array_get(v, i));
    return r;
}

static int decode_any(const struct place *p, json_t *v)
{
    *(struct json_value **)p->to = tree_value(json_incref(v));
    return 0;
}

static int decode_object(const struct place *p, json_t *v)
{
    return json_is_object(v) ? decode_any(p, v) : refuse(p, NO_INDEX, "must be an object");
}

static int (*const decoders[])(const struct place *p, json_t *v) = {
    [J_STR] = decode_str, [J_TEXT] = decode_text, [J_INT] = decode_int, [J_BOOL] = decode_bool,
    [J_STRS] = decode_strs, [J_OBJECT] = decode_object, [J_ANY] = decode_any,
};

static int decode_field(const struct place *p, json_t *object)
{
    json_t *v = json_object_get(object, p->field->key);

    if (!v && (p->field->flags & JSON_REQUIRED))
        return refuse(p, NO_INDEX, "is required");
    if (!v || (json_is_null(v) && (p->field->flags & JSON_NULLABLE)))
        return 0;
    return decoders[p->field->type](p, v);
}

static int refuse_unknown(json_t *object, const struct json_field *fields, size_t count,
                          struct json_error *reterr)
{
    const char *key;
    json_t *v;

    json_object_foreach(object, key, v) {
        struct span name = span_str(key);
        size_t i = 0;

        while (i < count && !span_eq(name, span_str(fields[i].key)))
            i++;
        if (i == count) {
            pointer_set(reterr, key, NO_INDEX);
            snprintf(reterr->message, sizeof(reterr->message), "is not a known field");
            return -EINVAL;
        }
    }
    return 0;
}

static int decode_all(json_t *object, const struct json_field *fields, size_t count, unsigned flags,
                      void *out, struct json_error *reterr)
{
    int r = 0;

    if (!json_is_object(object)) {
        reterr->pointer[0] = 0;
        snprintf(reterr->message, sizeof(reterr->message), "must be an object");
        return -EINVAL;
    }
    if (!(flags & JSON_ALLOW_UNKNOWN))
        r = refuse_unknown(object, fields, count, reterr);
    for (size_t i = 0; i < count && !r; i++) {
        struct place p = { &fields[i], (char *)out + fields[i].offset, reterr };

        r = decode_field(&p, object);
    }
    return r;
}

int json_decode(const struct json_value *v, const struct json_field *fields, size_t count,
                unsigned flags, void *out, struct json_error *reterr)
{
    int r = decode_all(tree_of(v), fields, count, flags, out, reterr);

    if (r)
        json_free_fields(fields, count, out);
    return r;
}

int json_decode_text(struct span text, const struct json_field *fields, size_t count,
                     unsigned flags, void *out, struct json_error *reterr)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    int r = json_parse(text, &v, reterr);

    return r ? r : json_decode(v, fields, count, flags, out, reterr);
}

static void free_strs(struct json_strs *strs)
{
    for (size_t i = 0; i < strs->count; i++)
        free(strs->items[i]);
    free(strs->items);
    *strs = (struct json_strs){ 0 };
}

void json_free_fields(const struct json_field *fields, size_t count, void *out)
{
    for (size_t i = 0; i < count; i++) {
        void *at = (char *)out + fields[i].offset;

        if (fields[i].type == J_STR)
            free(TAKE(*(char **)at));
        else if (fields[i].type == J_STRS)
            free_strs(at);
        else if (fields[i].type == J_OBJECT || fields[i].type == J_ANY)
            json_value_free(TAKE(*(struct json_value **)at));
    }
}
