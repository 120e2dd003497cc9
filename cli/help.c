#include "cli/help.h"

#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 512

const char *help_sentence(const struct resource *resource, enum verb_id verb, char *mem, size_t size)
{
    bool is_many = verb == VERB_LIST || verb == VERB_EXPORT || verb == VERB_VERIFY;
    const char *form = verb_at(verb)->help, *slot = strstr(form, "%s");

    snprintf(mem, size, "%.*s%s%s", (int)(slot - form), form, is_many ? resource->many : resource->one,
             slot + 2);
    return mem;
}

const char *help_words(const struct resource *resource, enum verb_id verb)
{
    const struct kind *kind = resource_kind(resource);
    bool is_named = verb == VERB_CREATE && kind && !(kind->flags & KIND_NAME_OPTIONAL);

    if (!kind && verb == VERB_SHOW)
        return "ID…";
    return is_named ? "NAME" : verb_at(verb)->words;
}

const char *help_flag(const struct flag *flag, char *mem, size_t size)
{
    bool is_bool = flag->id == FLAG_FIELD && flag->field->leaf == LEAF_BOOL;

    snprintf(mem, size, flag->is_switch ? "--%s" : is_bool ? "--%s[=%s]" : "--%s %s", flag->name,
             flag->metavar);
    return mem;
}

const char *help_value(const struct flag *flag, char *mem, size_t size)
{
    size_t len = 0;

    len += (size_t)snprintf(mem, size, "%s", flag->help);
    if (!flag->words || flag->id == FLAG_OUTPUT || len >= size)
        return mem;
    len += (size_t)snprintf(mem + len, size - len, "%s", len ? ": " : "");
    for (const char *p = flag->words; *p && len + 3 < size; p++) {
        if (*p == ' ')
            len += (size_t)snprintf(mem + len, size - len, ", ");
        else
            mem[len++] = *p;
    }
    mem[len] = '\0';
    return mem;
}

/* "--field-not" and "--remove-field" say what "--field" does. */
static void print_flag(FILE *out, const struct flag *flag)
{
    char name[160], value[LINE_MAX_BYTES];

    help_flag(flag, name, sizeof(name));
    help_value(flag, value, sizeof(value));
    if (strlen(name) > 27)
        fprintf(out, "  %s\n  %-28s%s\n", name, "", value);
    else
        fprintf(out, "  %-27s %s\n", name, value);
}

static void print_examples(FILE *out, const struct resource *resource, const char *verb)
{
    struct span rest = span_str(resource->examples), line;
    char word[80];
    bool is_any = false;

    snprintf(word, sizeof(word), "adit %s %s", resource->word, verb ? verb : "");
    while (span_cut(&rest, '\n', &line)) {
        if (!line.n || !span_starts(line, span_str(word)))
            continue;
        fprintf(out, "%s  " SPAN_FMT "\n", is_any ? "" : "\nExamples:\n", SPAN_ARG(line));
        is_any = true;
    }
}

void help_resource(FILE *out, const struct resource *resource)
{
    char sentence[160];

    fprintf(out, "Usage: adit %s VERB …\n%s: %s\n\n", resource->word, resource->many, resource->help);
    for (enum verb_id id = 0; id < VERB_COUNT; id++) {
        if (!resource_has(resource, id))
            continue;
        fprintf(out, "  %-14s %-14s %s\n", verb_at(id)->name, help_words(resource, id),
                help_sentence(resource, id, sentence, sizeof(sentence)));
    }
    print_examples(out, resource, NULL);
    fprintf(out, "\nadit %s VERB --help says more.\n", resource->word);
}

void help_verb(FILE *out, const struct resource *resource, enum verb_id verb)
{
    char sentence[160];
    struct flags flags;

    flags_of(resource, verb, &flags);
    fprintf(out, "Usage: adit %s %s %s\n%s.\n\n", resource->word, verb_at(verb)->name,
            help_words(resource, verb), help_sentence(resource, verb, sentence, sizeof(sentence)));
    for (size_t i = 0; i < flags.count; i++)
        print_flag(out, &flags.items[i]);
    print_examples(out, resource, verb_at(verb)->name);
    fputs("\nExit codes: 0 done, 1 not done, 2 wrong usage or nothing to ask, 3 somebody else changed it,\n"
          "4 done, but not every relay runs it yet (--wait).\n", out);
}
