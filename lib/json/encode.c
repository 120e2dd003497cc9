#include "lib/json/json.h"

static void encode_str(struct json_writer *w, const struct json_field *f, const void *from)
{
    const char *text = *(char *const *)from;

    if (text)
        json_put_text(w, f->key, text);
}

/* Where "" is no value, it stands for none. */
static void encode_text(struct json_writer *w, const struct json_field *f, const void *from)
{
    const char *text = from;

    if (text[0] || f->min == 0)
        json_put_text(w, f->key, text);
}

static void encode_int(struct json_writer *w, const struct json_field *f, const void *from)
{
    json_put_int(w, f->key, *(const int64_t *)from);
}

static void encode_bool(struct json_writer *w, const struct json_field *f, const void *from)
{
    json_put_bool(w, f->key, *(const bool *)from);
}

static void encode_strs(struct json_writer *w, const struct json_field *f, const void *from)
{
    const struct json_strs *strs = from;

    json_open_array(w, f->key);
    for (size_t i = 0; i < strs->count; i++)
        json_put_text(w, NULL, strs->items[i]);
    json_close_array(w);
}

static void encode_value(struct json_writer *w, const struct json_field *f, const void *from)
{
    const struct json_value *v = *(struct json_value *const *)from;

    if (v)
        json_put_value(w, f->key, v);
}

static void (*const encoders[])(struct json_writer *w, const struct json_field *f,
                                const void *from) = {
    [J_STR] = encode_str,   [J_TEXT] = encode_text, [J_INT] = encode_int,
    [J_BOOL] = encode_bool, [J_STRS] = encode_strs, [J_OBJECT] = encode_value,
    [J_ANY] = encode_value,
};

void json_encode(const void *in, const struct json_field *fields, size_t count, struct buf *out)
{
    struct json_writer w;

    json_begin(&w, out);
    json_open_object(&w, NULL);
    for (size_t i = 0; i < count; i++)
        encoders[fields[i].type](&w, &fields[i], (const char *)in + fields[i].offset);
    json_close_object(&w);
}
