#include "lib/yaml/yaml_text.h"

#include <stdio.h>
#include "lib/base/utf8.h"

/* Words that YAML 1.1 or 1.2 readers take for something else than text. */
static const char *const words[] = { "null", "true", "false", "yes", "no", "on", "off", "y", "n" };

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_plain(struct span text)
{
    if (!text.n || text.n > 64 || !is_letter(text.p[0]))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_letter(text.p[i]) && !(text.p[i] >= '0' && text.p[i] <= '9') && text.p[i] != '-' &&
            text.p[i] != '_' && text.p[i] != '.' && text.p[i] != '/')
            return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (span_eq_nocase(text, span_str(words[i])))
            return false;
    }
    return true;
}

/* Three characters that YAML may not hold as they are, though JSON may. */
static const struct {
    struct span raw;
    const char *escaped;
} hidden[] = {
    { SPAN_INIT("\xef\xbb\xbf"), "\\uFEFF" },
    { SPAN_INIT("\xef\xbf\xbe"), "\\uFFFE" },
    { SPAN_INIT("\xef\xbf\xbf"), "\\uFFFF" },
};

static void put_quoted(struct buf *out, struct span text)
{
    AUTO(buf_deinit) struct buf quoted;
    struct span rest;

    buf_init_heap(&quoted, text.n * 6 + 2);
    utf8_put_quoted(&quoted, text);
    rest = buf_span(&quoted);
    while (rest.n) {
        size_t i = 0;

        while (i < ARRAY_LEN(hidden) && !span_starts(rest, hidden[i].raw))
            i++;
        if (i < ARRAY_LEN(hidden))
            buf_put_str(out, hidden[i].escaped);
        else
            buf_put(out, rest.p, 1);
        rest = span_skip(rest, i < ARRAY_LEN(hidden) ? hidden[i].raw.n : 1);
    }
    if (buf_error(&quoted) && !out->error)
        out->error = buf_error(&quoted);
}

static void put_text(struct buf *out, struct span text)
{
    if (is_plain(text))
        buf_put_span(out, text);
    else
        put_quoted(out, text);
}

static bool is_container(const struct json_value *value)
{
    enum json_kind kind = json_kind_of(value);

    return (kind == JSON_IS_ARRAY || kind == JSON_IS_OBJECT) && json_count(value);
}

/* Arrays of single values stay on a line. */
static bool is_flat(const struct json_value *value)
{
    if (json_kind_of(value) != JSON_IS_ARRAY)
        return false;
    for (size_t i = 0; i < json_count(value); i++) {
        enum json_kind kind = json_kind_of(json_at(value, i));

        if (kind == JSON_IS_ARRAY || kind == JSON_IS_OBJECT)
            return false;
    }
    return true;
}

static void put_single(struct buf *out, const struct json_value *value)
{
    struct span text;

    if (json_as_str(value, &text))
        put_text(out, text);
    else if (json_kind_of(value) == JSON_IS_REAL) {
        buf_put_str(out, "\"");         /* no number that a reader of ours knows */
        json_print(value, out);
        buf_put_str(out, "\"");
    } else
        json_print(value, out);
}

static void put_flat(struct buf *out, const struct json_value *array)
{
    buf_put_str(out, "[");
    for (size_t i = 0; i < json_count(array); i++) {
        if (i)
            buf_put_str(out, ", ");
        put_single(out, json_at(array, i));
    }
    buf_put_str(out, "]");
}

static void indent(struct buf *out, unsigned depth)
{
    buf_printf(out, "%*s", (int)depth * 2, "");
}

static void put_node(struct buf *out, const struct json_value *value, unsigned depth, bool is_inline);

/* Behind a key or a dash: what fits stays on its line. */
static void put_value(struct buf *out, const struct json_value *value, unsigned depth, bool is_item)
{
    if (is_flat(value) || !is_container(value)) {
        buf_put_str(out, " ");
        put_node(out, value, depth, true);
        return;
    }
    if (!is_item) {
        buf_put_str(out, "\n");
        put_node(out, value, depth, false);
        return;
    }
    buf_put_str(out, " ");
    put_node(out, value, depth, true);
}

static void put_members(struct buf *out, const struct json_value *object, unsigned depth, bool is_inline)
{
    for (size_t i = 0; i < json_count(object); i++) {
        struct span key;
        const struct json_value *value = json_member(object, i, &key);

        if (i || !is_inline)
            indent(out, depth);
        put_text(out, key);
        buf_put_str(out, ":");
        put_value(out, value, depth + 1, false);
    }
}

static void put_items(struct buf *out, const struct json_value *array, unsigned depth, bool is_inline)
{
    for (size_t i = 0; i < json_count(array); i++) {
        if (i || !is_inline)
            indent(out, depth);
        buf_put_str(out, "-");
        put_value(out, json_at(array, i), depth + 1, true);
    }
}

static void put_node(struct buf *out, const struct json_value *value, unsigned depth, bool is_inline)
{
    if (is_container(value) && json_kind_of(value) == JSON_IS_OBJECT)
        put_members(out, value, depth, is_inline);
    else if (is_container(value) && !is_flat(value))
        put_items(out, value, depth, is_inline);
    else {
        if (!is_inline)
            indent(out, depth);
        if (is_flat(value))
            put_flat(out, value);
        else
            put_single(out, value);
        buf_put_str(out, "\n");
    }
}

void yaml_print(const struct json_value *value, struct buf *out)
{
    put_node(out, value, 0, true);
}
