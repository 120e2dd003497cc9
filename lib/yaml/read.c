#include "lib/yaml/yaml_text.h"
#include <errno.h>
#include <yaml.h>

#define DEPTH_MAX 32
#define INT_DIGITS_MAX 18

struct reading {
    yaml_parser_t parser;
    struct buf *out, *reterr;
    struct level {
        bool is_mapping, wants_value, has_any;      /* wants_value: its key was written */
    } levels[DEPTH_MAX];
    size_t depth;
};

static void event_deletep(yaml_event_t *event)
{
    yaml_event_delete(event);
}

static int refuse(struct reading *r, size_t line, const char *why)
{
    buf_printf(r->reterr, "line %zu: %s", line + 1, why);
    return -EINVAL;
}

static int next(struct reading *r, yaml_event_t *ret_event)
{
    if (yaml_parser_parse(&r->parser, ret_event))
        return 0;
    if (r->parser.error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    return refuse(r, r->parser.problem_mark.line, r->parser.problem ? r->parser.problem : "is not YAML");
}

/* ---- scalars ---- */
static bool is_word(struct span s, const char *lower, const char *title, const char *upper)
{
    return span_eq(s, span_str(lower)) || span_eq(s, span_str(title)) || span_eq(s, span_str(upper));
}

/* As JSON writes it too: what JSON has no number for stays text. */
static bool is_integer(struct span s)
{
    bool is_negative = s.n && s.p[0] == '-';
    struct span digits = span_skip(s, is_negative);

    if (!digits.n || digits.n > INT_DIGITS_MAX || (digits.p[0] == '0' && (digits.n > 1 || is_negative)))
        return false;
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9')
            return false;
    }
    return true;
}

static void put_text(struct reading *r, struct span text)
{
    struct json_writer w;

    json_begin(&w, r->out);
    json_put_str(&w, NULL, text);
}

static void put_plain(struct reading *r, struct span text)
{
    if (text.n == 0 || span_eq(text, SPAN("~")) || is_word(text, "null", "Null", "NULL"))
        buf_put_str(r->out, "null");
    else if (is_word(text, "true", "True", "TRUE"))
        buf_put_str(r->out, "true");
    else if (is_word(text, "false", "False", "FALSE"))
        buf_put_str(r->out, "false");
    else if (is_integer(text))
        buf_put_span(r->out, text);
    else
        put_text(r, text);
}

/* ---- where in the document ---- */
/* What must stand before the next node; a mapping's key comes when none waits for its value. */
static bool begin_node(struct reading *r)
{
    struct level *level = r->depth ? &r->levels[r->depth - 1] : NULL;
    bool is_key = level && level->is_mapping && !level->wants_value;

    if (level && level->has_any && !level->wants_value)
        buf_put_str(r->out, ",");
    if (level) {
        level->has_any = true;
        level->wants_value = is_key;
    }
    return is_key;
}

static int on_scalar(struct reading *r, const yaml_event_t *event)
{
    struct span text = span_of(event->data.scalar.value, event->data.scalar.length);
    bool is_key;

    if (event->data.scalar.anchor || event->data.scalar.tag)
        return refuse(r, event->start_mark.line, "anchors and tags are not taken");
    is_key = begin_node(r);
    if (is_key || event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        put_text(r, text);
    else
        put_plain(r, text);
    if (is_key)
        buf_put_str(r->out, ":");
    return 0;
}

static int on_start(struct reading *r, const yaml_event_t *event, bool is_mapping)
{
    const yaml_char_t *anchor = is_mapping ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
    const yaml_char_t *tag = is_mapping ? event->data.mapping_start.tag : event->data.sequence_start.tag;

    if (anchor || tag)
        return refuse(r, event->start_mark.line, "anchors and tags are not taken");
    if (r->depth == DEPTH_MAX)
        return refuse(r, event->start_mark.line, "is nested too deeply");
    if (begin_node(r))
        return refuse(r, event->start_mark.line, "a key is plain text");
    r->levels[r->depth++] = (struct level){ .is_mapping = is_mapping };
    buf_put_str(r->out, is_mapping ? "{" : "[");
    return 0;
}

static void on_end(struct reading *r)
{
    r->depth--;
    buf_put_str(r->out, r->levels[r->depth].is_mapping ? "}" : "]");
}

static int on_event(struct reading *r, const yaml_event_t *event, unsigned *documents)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(r, event);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        return on_start(r, event, event->type == YAML_MAPPING_START_EVENT);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        on_end(r);
        return 0;
    case YAML_ALIAS_EVENT:
        return refuse(r, event->start_mark.line, "aliases are not taken");
    case YAML_DOCUMENT_START_EVENT:
        return ++*documents == 1 ? 0 : refuse(r, event->start_mark.line, "takes one document only");
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    }
    return 0;
}

static int read_all(struct reading *r)
{
    unsigned documents = 0;

    for (;;) {
        AUTO(event_deletep) yaml_event_t event = { 0 };
        int e = next(r, &event);

        if (!e)
            e = on_event(r, &event, &documents);
        if (!e)
            e = buf_error(r->out);
        if (e)
            return e;
        if (event.type != YAML_STREAM_END_EVENT)
            continue;
        if (!documents)
            buf_put_str(r->out, "null");
        return buf_error(r->out);
    }
}

int yaml_to_json(struct span text, struct buf *out, struct buf *reterr)
{
    struct reading r = { .out = out, .reterr = reterr };
    int e;

    if (!yaml_parser_initialize(&r.parser))
        return -ENOMEM;
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.n ? text.p : ""), text.n);
    e = read_all(&r);
    yaml_parser_delete(&r.parser);
    if (e && !reterr->len)
        buf_put_str(reterr, e == -ENOBUFS ? "is too large" : "out of memory");
    return e;
}

int yaml_parse(struct span text, size_t max, struct json_value **ret_value, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf json;
    struct json_error error = { 0 };
    int e;

    buf_init_heap(&json, max);
    e = yaml_to_json(text, &json, reterr);
    if (e)
        return e;
    e = json_parse(buf_span(&json), ret_value, &error);
    if (e)
        buf_put_str(reterr, e == -ENOMEM ? "out of memory" : error.message);
    return e;
}
