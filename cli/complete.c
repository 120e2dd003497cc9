/*
 * adit complete WORD… PARTIAL: what PARTIAL may become, one to a line, with a tab and what it is;
 * the shells' completion asks.  Names of objects come from the control plane, when it answers soon.
 */
#include "cli/ask.h"
#include "cli/help.h"
#include "cli/table.h"
#include "lib/base/reason.h"

#include <stdio.h>
#include <string.h>

enum { ASK_MS = 1000 };

static void offer(const char *partial, const char *word, const char *what)
{
    if (strncmp(word, partial, strlen(partial)) == 0)
        printf("%s\t%s\n", word, what);
}

static void offer_first(const char *partial)
{
    const struct resource *resource;
    const struct sibling *sibling;
    const struct command *command;

    for (size_t i = 0; (command = command_at(i)); i++) {
        if (command->help)
            offer(partial, command->name, command->help);
    }
    for (size_t i = 0; (resource = resource_at(i)); i++)
        offer(partial, resource->word, resource->help);
    for (size_t i = 0; (sibling = sibling_at(i)); i++) {
        if (!resource_find(sibling->name))
            offer(partial, sibling->name, sibling->help);
    }
    offer(partial, "help", "what there is to type");
}

static void offer_verbs(const struct resource *resource, const char *partial)
{
    char sentence[160];

    for (enum verb_id id = 0; id < VERB_COUNT; id++) {
        if (resource_has(resource, id))
            offer(partial, verb_at(id)->name, help_sentence(resource, id, sentence, sizeof(sentence)));
    }
}

static void offer_words(const char *partial, const char *words)
{
    struct span rest = span_str(words), word;
    char text[80];

    while (span_cut(&rest, ' ', &word)) {
        if (span_copy(word, text, sizeof(text)))
            offer(partial, text, "");
    }
}

/* ---- names ---- */
static void offer_items(const struct json_value *items, const char *partial, const char *what)
{
    for (size_t i = 0; items && i < json_count(items); i++) {
        struct span name;
        char text[256];

        if (json_get_str(json_at(items, i), "name", &name) && span_copy(name, text, sizeof(text)))
            offer(partial, text, what);
    }
}

static void offer_names(const struct resource *resource, const char *partial)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    const char *var = getenv("ADIT_CLI_VAR"), *api = getenv("ADIT_CLI_API");
    const char *ca = getenv("ADIT_CLI_CA_FILE"), *token = getenv("ADIT_CLI_TOKEN_FILE");
    AUTO(session_close) struct session session = { 0 };
    char path_mem[512], error_mem[512];
    struct buf path, error;

    buf_init_fixed(&path, path_mem, sizeof(path_mem) - 1);
    buf_init_fixed(&error, error_mem, sizeof(error_mem) - 1);
    if (!session_open(&session, &(struct session_options){ var ? var : "var", api ? api : "", ca ? ca : "",
                                                           token ? token : "" }))
        return;
    buf_printf(&path, "/api/v1/%s?fields=name&limit=200&sort=name", resource_plural(resource));
    if (partial[0]) {
        buf_put_str(&path, "&q=");
        api_escape(span_str(partial), &path);
    }
    if (!buf_error(&path) &&
        api_send(session.api, &(struct api_request){ .method = "GET", .path = buf_text(&path), .timeout_ms = ASK_MS },
                 &answer, &error) == 0 && answer.body)
        offer_items(json_get(answer.body, "items"), partial, resource->one);
}

static void offer_kind(enum kind_id kind, const char *partial)
{
    const struct resource *resource;

    for (size_t i = 0; (resource = resource_at(i)); i++) {
        if (resource->kind == kind)
            offer_names(resource, partial);
    }
}

/* The words of a verb: the object, and behind it its members. */
static void offer_objects(const struct resource *resource, enum verb_id verb, size_t words_before,
                          const char *partial)
{
    const struct kind *kind = resource_kind(resource);

    if (!kind || verb == VERB_LIST || verb == VERB_CREATE || words_before >= verb_at(verb)->words_max)
        return;
    if (words_before == 0 || !kind->relation || verb == VERB_SHOW || verb == VERB_DELETE) {
        offer_names(resource, partial);
        return;
    }
    for (size_t i = 0; i < kind->member_kind_count; i++)
        offer_kind(kind->member_kinds[i], partial);
}

/* ---- flags ---- */
static void offer_value(const struct flag *flag, const char *partial)
{
    if (flag->words)
        offer_words(partial, flag->words);
    else if (flag->refers)
        offer_names(resource_find(flag->refers), partial);
}

static void offer_flags(const struct flags *flags, const char *partial)
{
    char name[80], value[512];

    for (size_t i = 0; i < flags->count; i++) {
        snprintf(name, sizeof(name), "--%s", flags->items[i].name);
        offer(partial, name, help_value(&flags->items[i], value, sizeof(value)));
    }
    offer(partial, "--help", "says more");
}

static bool takes_value(const struct flag *flag)
{
    bool is_bool = flag && flag->id == FLAG_FIELD && flag->field->leaf == LEAF_BOOL;

    return flag && !flag->is_switch && !is_bool;
}

/* The flag that `word` is the start of, when its value comes next. */
static const struct flag *open_flag(const struct flags *flags, const char *word)
{
    const struct flag *flag = strncmp(word, "--", 2) == 0 ? flags_find(flags, span_str(word + 2)) : NULL;

    return takes_value(flag) ? flag : NULL;
}

static void offer_after_verb(const struct resource *resource, enum verb_id verb, int argc, char **argv)
{
    const char *partial = argv[argc - 1];
    const struct flag *flag = NULL;
    struct flags flags;
    size_t words = 0;

    flags_of(resource, verb, &flags);
    for (int i = 0; i < argc - 1; i++) {
        bool is_value = flag && strcmp(argv[i], "=") != 0;

        words += !flag && strncmp(argv[i], "--", 2) != 0;
        flag = is_value ? NULL : flag ? flag : open_flag(&flags, argv[i]);
    }
    if (flag)
        offer_value(flag, strcmp(partial, "=") == 0 ? "" : partial);
    else if (partial[0] == '-')
        offer_flags(&flags, partial);
    else
        offer_objects(resource, verb, words, partial);
}

static void offer_reasons(const char *partial)
{
    for (enum reason r = REASON_NONE + 1; r < REASON_COUNT; r++)
        offer(partial, reason_text(r), reason_what(r));
}

int complete_command(int argc, char **argv)
{
    const struct resource *resource = argc > 2 ? resource_find(argv[1]) : NULL;
    enum verb_id verb = resource && argc > 3 ? resource_verb(resource, argv[2]) : VERB_COUNT;

    if (argc == 2)
        offer_first(argv[1]);
    else if (resource && argc == 3)
        offer_verbs(resource, argv[2]);
    else if (verb != VERB_COUNT)
        offer_after_verb(resource, verb, argc - 3, argv + 3);
    else if (argc == 3 && strcmp(argv[1], "reason") == 0)
        offer_reasons(argv[2]);
    else if (argc == 3 && strcmp(argv[1], "completion") == 0)
        offer_words(argv[2], "bash zsh fish");
    return EXIT_OK;
}
