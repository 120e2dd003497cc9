#include "lib/config/option_internal.h"
#include <errno.h>
#include <stdio.h>
#include <yaml.h>

/*
 * One flat mapping of scalars and sequences of scalars is all that a configuration is.
 * Anchors, nested mappings and further documents are refused.
 */
struct document {
    yaml_parser_t parser;
    struct option_origins *origins;
    const char *path;
    struct buf *reterr;
};

static void event_deletep(yaml_event_t *event)
{
    yaml_event_delete(event);
}

static size_t line_of(const yaml_event_t *event)
{
    return event->start_mark.line + 1;
}

static int refuse(struct document *d, size_t line, const char *why)
{
    buf_printf(d->reterr, "%.200s:%zu: %s", d->path, line, why);
    return -EINVAL;
}

static int next(struct document *d, yaml_event_t *ret_event)
{
    if (yaml_parser_parse(&d->parser, ret_event))
        return 0;
    if (d->parser.error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    return refuse(d, d->parser.problem_mark.line + 1,
                  d->parser.problem ? d->parser.problem : "is not YAML");
}

static int expect(struct document *d, yaml_event_type_t type, const char *why)
{
    AUTO(event_deletep) yaml_event_t event = { 0 };
    int r = next(d, &event);

    if (r)
        return r;
    return event.type == type ? 0 : refuse(d, line_of(&event), why);
}

static struct span scalar_of(const yaml_event_t *event)
{
    return span_of(event->data.scalar.value, event->data.scalar.length);
}

/* "key:" and "key: null" say nothing; "key: ''" says the empty text. */
static bool is_null(const yaml_event_t *event)
{
    struct span s = scalar_of(event);

    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE
        && (s.n == 0 || span_eq(s, SPAN("~")) || span_eq(s, SPAN("null")));
}

/* Items up to the end of the sequence, joined by line feeds. */
static int read_items(struct document *d, struct buf *out)
{
    for (;;) {
        AUTO(event_deletep) yaml_event_t event = { 0 };
        int r = next(d, &event);

        if (r)
            return r;
        if (event.type == YAML_SEQUENCE_END_EVENT)
            return buf_error(out) == -ENOBUFS ? refuse(d, line_of(&event), "the list is too long")
                                              : buf_error(out);
        if (event.type != YAML_SCALAR_EVENT)
            return refuse(d, line_of(&event), "a list holds plain values only");
        if (scalar_of(&event).n == 0 || span_find(scalar_of(&event), '\n') < scalar_of(&event).n)
            return refuse(d, line_of(&event), "an item of a list is one line of text");
        buf_put(out, "\n", out->len > 0);
        buf_put_span(out, scalar_of(&event));
    }
}

static int put(struct document *d, struct span name, struct span text, bool is_list, size_t line)
{
    char where[300];
    struct option_claim claim = { OPTION_FROM_FILE, name, text, where };
    bool is_path;
    const struct option_row *row = option_find(d->origins->table, name, &is_path);

    snprintf(where, sizeof(where), "%.200s:%zu", d->path, line);
    if (row && is_list != (row->type == OPTION_LIST))
        return refuse(d, line, is_list ? "takes one value, not a list" : "takes a list: [a, b]");
    return option_put(d->origins, &claim, d->reterr);
}

static int read_value(struct document *d, struct span name)
{
    AUTO(event_deletep) yaml_event_t event = { 0 };
    struct buf list;
    int r = next(d, &event);

    if (r)
        return r;
    if (event.type == YAML_SCALAR_EVENT && is_null(&event))
        return refuse(d, line_of(&event), "has no value (write '' for the empty text)");
    if (event.type == YAML_SCALAR_EVENT)
        return put(d, name, scalar_of(&event), false, line_of(&event));
    if (event.type != YAML_SEQUENCE_START_EVENT)
        return refuse(d, line_of(&event), "takes a value or a list of values");

    buf_init_heap(&list, OPTION_VALUE_MAX);
    r = read_items(d, &list);
    if (!r)
        r = put(d, name, buf_span(&list), true, line_of(&event));
    buf_deinit(&list);
    return r;
}

static int read_mapping(struct document *d)
{
    for (;;) {
        AUTO(event_deletep) yaml_event_t event = { 0 };
        int r = next(d, &event);

        if (r)
            return r;
        if (event.type == YAML_MAPPING_END_EVENT)
            return 0;
        if (event.type != YAML_SCALAR_EVENT)
            return refuse(d, line_of(&event), "a key is plain text");
        r = read_value(d, scalar_of(&event));
        if (r)
            return r;
    }
}

static int read_document(struct document *d)
{
    AUTO(event_deletep) yaml_event_t event = { 0 };
    int r = expect(d, YAML_STREAM_START_EVENT, "is not YAML");

    if (!r)
        r = next(d, &event);
    if (r || event.type == YAML_STREAM_END_EVENT)
        return r;                       /* an empty file sets nothing */

    r = expect(d, YAML_MAPPING_START_EVENT, "must be a mapping: key: value");
    if (!r)
        r = read_mapping(d);
    if (!r)
        r = expect(d, YAML_DOCUMENT_END_EVENT, "is not YAML");
    if (!r)
        r = expect(d, YAML_STREAM_END_EVENT, "takes one document only");
    return r;
}

int option_read_yaml(struct option_origins *o, struct span text, const char *path,
                     struct buf *reterr)
{
    struct document d = { .origins = o, .path = path, .reterr = reterr };
    int r;

    if (!yaml_parser_initialize(&d.parser))
        return -ENOMEM;
    yaml_parser_set_encoding(&d.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&d.parser, (const unsigned char *)(text.n ? text.p : ""), text.n);
    r = read_document(&d);
    yaml_parser_delete(&d.parser);
    return r;
}
