/*
 * yaml2json FILE: the YAML document as JSON on standard output; for the build only.
 *
 * Plain scalars that look like null, true, false or a number become that; everything else
 * is a string.  Anchors are resolved.  The first fault ends it with the line.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

static void put_string(const char *p, size_t n)
{
    putchar('"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];

        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static bool is_number(const char *text)
{
    char *end;

    if (!strchr("-0123456789", text[0]) || !text[strspn(text, "-")])
        return false;
    strtod(text, &end);
    return *end == 0 && !strpbrk(text, "xXnNiI") && (text[0] != '0' || !text[1] || text[1] == '.');
}

static void put_scalar(const yaml_node_t *n)
{
    const char *text = (const char *)n->data.scalar.value;
    bool is_plain = n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

    if (is_plain && (!*text || !strcmp(text, "null") || !strcmp(text, "~")))
        printf("null");
    else if (is_plain && (!strcmp(text, "true") || !strcmp(text, "false") || is_number(text)))
        printf("%s", text);
    else
        put_string(text, n->data.scalar.length);
}

static void put_node(yaml_document_t *d, int id);

static void put_sequence(yaml_document_t *d, const yaml_node_t *n)
{
    putchar('[');
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top; i++) {
        if (i > n->data.sequence.items.start)
            putchar(',');
        put_node(d, *i);
    }
    putchar(']');
}

static void put_mapping(yaml_document_t *d, const yaml_node_t *n)
{
    putchar('{');
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(d, p->key);

        if (p > n->data.mapping.pairs.start)
            putchar(',');
        put_string((const char *)key->data.scalar.value, key->data.scalar.length);
        putchar(':');
        put_node(d, p->value);
    }
    putchar('}');
}

static void put_node(yaml_document_t *d, int id)
{
    const yaml_node_t *n = yaml_document_get_node(d, id);

    if (n->type == YAML_SEQUENCE_NODE)
        put_sequence(d, n);
    else if (n->type == YAML_MAPPING_NODE)
        put_mapping(d, n);
    else
        put_scalar(n);
}

int main(int argc, char **argv)
{
    FILE *in = argc == 2 ? fopen(argv[1], "rb") : NULL;
    yaml_parser_t parser;
    yaml_document_t document;

    if (!in || !yaml_parser_initialize(&parser)) {
        fprintf(stderr, "usage: yaml2json FILE\n");
        return 2;
    }
    yaml_parser_set_input_file(&parser, in);
    if (!yaml_parser_load(&parser, &document) || !yaml_document_get_root_node(&document)) {
        fprintf(stderr, "%s:%zu: %s\n", argv[1], parser.problem_mark.line + 1,
                parser.problem ? parser.problem : "empty");
        return 1;
    }
    put_node(&document, (int)(yaml_document_get_root_node(&document) - document.nodes.start) + 1);
    putchar('\n');
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    fclose(in);
    return 0;
}
