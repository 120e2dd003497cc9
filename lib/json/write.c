#include "lib/json/json.h"
#include "lib/base/utf8.h"

void json_begin(struct json_writer *w, struct buf *out)
{
    *w = (struct json_writer){ .out = out };
}

static void put_key(struct json_writer *w, const char *key)
{
    if (w->needs_comma)
        buf_put_u8(w->out, ',');
    w->needs_comma = true;
    if (!key)
        return;
    utf8_put_quoted(w->out, span_str(key));
    buf_put_u8(w->out, ':');
}

static void open_bracket(struct json_writer *w, const char *key, char bracket)
{
    put_key(w, key);
    buf_put_u8(w->out, (uint8_t)bracket);
    w->needs_comma = false;
    w->depth++;
}

static void close_bracket(struct json_writer *w, char bracket)
{
    buf_put_u8(w->out, (uint8_t)bracket);
    w->needs_comma = true;
    w->depth--;
}

void json_open_object(struct json_writer *w, const char *key)
{
    open_bracket(w, key, '{');
}

void json_close_object(struct json_writer *w)
{
    close_bracket(w, '}');
}

void json_open_array(struct json_writer *w, const char *key)
{
    open_bracket(w, key, '[');
}

void json_close_array(struct json_writer *w)
{
    close_bracket(w, ']');
}

void json_put_str(struct json_writer *w, const char *key, struct span value)
{
    put_key(w, key);
    utf8_put_quoted(w->out, value);
}

void json_put_text(struct json_writer *w, const char *key, const char *value)
{
    if (value)
        json_put_str(w, key, span_str(value));
    else
        json_put_null(w, key);
}

void json_put_int(struct json_writer *w, const char *key, int64_t value)
{
    put_key(w, key);
    buf_put_decimal(w->out, value);
}

void json_put_bool(struct json_writer *w, const char *key, bool value)
{
    put_key(w, key);
    buf_put_str(w->out, value ? "true" : "false");
}

void json_put_null(struct json_writer *w, const char *key)
{
    put_key(w, key);
    buf_put_str(w->out, "null");
}

void json_put_value(struct json_writer *w, const char *key, const struct json_value *value)
{
    if (!value) {
        json_put_null(w, key);
        return;
    }
    put_key(w, key);
    json_print(value, w->out);
}

void json_put_raw(struct json_writer *w, const char *key, struct span json)
{
    put_key(w, key);
    buf_put_span(w->out, json);
}

void json_put_walked(struct json_writer *w, struct span key, struct span value)
{
    if (w->needs_comma)
        buf_put_u8(w->out, ',');
    w->needs_comma = true;
    buf_put(w->out, key.p - 1, key.n + 2);      /* with its quotes */
    buf_put_u8(w->out, ':');
    buf_put_span(w->out, value);
}
