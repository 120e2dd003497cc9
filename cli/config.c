/*
 * adit config export|diff|apply: all that is declared as one document; what a document would change;
 * making it so.
 */
#include "cli/command.h"
#include "cli/declare.h"
#include "cli/session.h"
#include "lib/crypto/file.h"
#include "lib/yaml/yaml_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_OPTIONS(X)                                                                             \
    SESSION_OPTIONS(X)                                                                                \
    X(STR, owner, "", 0, 0, 0, "who manages what stands in the document; export: only what it manages") \
    X(BOOL, prune, "false", 0, 0, 0, "delete what the owner manages and the document does not name")  \
    X(INT, max_deletes, "10", 0, 10000, 0, "delete at most so many objects")                          \
    X(BOOL, take_over, "false", 0, 0, 0, "take over what others manage, or nobody")                   \
    X(BOOL, cascade, "false", 0, 0, 0, "what refers to a deleted object goes along")                  \
    X(STR, format, "", 0, 0, 0, "json or yaml; empty: as the file is, export: json")                  \
    X(BOOL, yes, "false", 0, 0, 0, "do not ask, on a terminal either")                                \
    X(BOOL, wait, "false", 0, 0, 0, "until the connected relays run it, at most 30 s")

struct config_config { CONFIG_OPTIONS(OPTION_FIELD) };
#define MODES_OF(c) (&(struct declare_modes){ (c)->owner, (c)->prune, (c)->take_over, (c)->cascade, (c)->wait, \
                                              (c)->max_deletes })
#define ROW(...) OPTION_ROW_OF(struct config_config, __VA_ARGS__)
static const struct option_row rows[] = { CONFIG_OPTIONS(ROW) };
static const struct option_table table = {
    "adit config", "ADIT_CLI_",
    "adit config export [--owner NAME] prints all that is declared, as one document: JSON, or\n"
    "YAML with --format yaml.\n"
    "adit config diff FILE --owner NAME says what the document would change; exit code 1 when it would.\n"
    "adit config apply FILE --owner NAME makes it so, in one transaction: all of it or nothing. On a\n"
    "terminal it shows what would change, and asks.\n"
    "Kinds that the document does not speak of are not touched. FILE may be -. It is\n"
    "YAML when its name ends with .yaml or .yml, JSON when it ends with .json, else as it looks.\n"
    "Exit codes: 0 done (diff: no difference), 1 not done (diff: differences), 2 wrong usage or nobody\n"
    "to ask, 4 done, but not every relay runs it yet (--wait).",
    rows, ARRAY_LEN(rows),
};

#define CONFIG_MAX DECLARE_MAX

/* ---- export ---- */
static void print_pretty(const struct json_value *value, unsigned depth);

static void indent(unsigned depth)
{
    printf("\n%*s", (int)depth * 2, "");
}

static void print_key(struct span key)
{
    AUTO(buf_deinit) struct buf text;
    struct json_writer w;

    buf_init_heap(&text, 4096);
    json_begin(&w, &text);
    json_put_str(&w, NULL, key);
    printf("%s: ", buf_text(&text));
}

/* Arrays of single values stay on a line. */
static bool is_flat(const struct json_value *value)
{
    for (size_t i = 0; i < json_count(value); i++) {
        enum json_kind kind = json_kind_of(json_at(value, i));

        if (kind == JSON_IS_ARRAY || kind == JSON_IS_OBJECT)
            return false;
    }
    return true;
}

static void print_pretty(const struct json_value *value, unsigned depth)
{
    bool is_object = json_kind_of(value) == JSON_IS_OBJECT, is_array = json_kind_of(value) == JSON_IS_ARRAY;

    if ((!is_object && !is_array) || !json_count(value) || (is_array && is_flat(value))) {
        declare_print_value(value);
        return;
    }
    putchar(is_object ? '{' : '[');
    for (size_t i = 0; i < json_count(value); i++) {
        struct span key;
        const struct json_value *item = is_object ? json_member(value, i, &key) : json_at(value, i);

        if (i)
            putchar(',');
        indent(depth + 1);
        if (is_object)
            print_key(key);
        print_pretty(item, depth + 1);
    }
    indent(depth);
    putchar(is_object ? '}' : ']');
}

static void print_yaml(const struct json_value *value)
{
    AUTO(buf_deinit) struct buf text;

    buf_init_heap(&text, CONFIG_MAX);
    yaml_print(value, &text);
    fwrite(text.data, 1, buf_error(&text) ? 0 : text.len, stdout);
}

static int export(struct session *s, const struct config_config *config)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    char mem[512];
    struct buf path;

    buf_init_fixed(&path, mem, sizeof(mem) - 1);
    buf_put_str(&path, "/api/v1/config");
    if (config->owner[0])
        declare_put_query(&path, "owner", config->owner);
    api_set_timeout(s->api, DECLARE_CALL_MS);
    if (buf_error(&path) || !session_get(s, buf_text(&path), &answer))
        return EXIT_NOT;
    if (strcmp(config->format, "yaml") == 0)
        print_yaml(answer.body);
    else {
        print_pretty(answer.body, 0);
        putchar('\n');
    }
    return ferror(stdout) ? EXIT_NOT : EXIT_OK;
}

/* ---- the document ---- */
static bool is_yaml(const struct config_config *config, const char *path, struct span text)
{
    struct span name = span_str(path);

    if (config->format[0])
        return strcmp(config->format, "yaml") == 0;
    if (span_ends(name, SPAN(".yaml")) || span_ends(name, SPAN(".yml")))
        return true;
    while (text.n && strchr(" \t\r\n", text.p[0]))
        text = span_skip(text, 1);
    return !span_ends(name, SPAN(".json")) && text.n && text.p[0] != '{';
}

/* What goes to the control plane is JSON. */
static bool convert(const char *path, struct buf *text)
{
    struct buf json, error;
    char mem[400];
    int r;

    buf_init_heap(&json, CONFIG_MAX);
    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    r = yaml_to_json(buf_span(text), &json, &error);
    if (r)
        command_complain("%s: %s", path, buf_text(&error));
    buf_deinit(text);
    *text = json;
    return !r;
}

static bool read_document(const struct config_config *config, const char *path, struct buf *out)
{
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error = { 0 };
    bool was_yaml;
    char piece[65536];
    int r = 0;
    size_t n;

    if (strcmp(path, "-") != 0)
        r = file_read(path, CONFIG_MAX, out);
    while (strcmp(path, "-") == 0 && (n = fread(piece, 1, sizeof(piece), stdin)) > 0)
        buf_put(out, piece, n);
    r = r ? r : buf_error(out);
    if (r) {
        command_complain("%s: %s", path, strerror(-r));
        return false;
    }
    was_yaml = is_yaml(config, path, buf_span(out));
    if (was_yaml && !convert(path, out))
        return false;
    if (json_parse(buf_span(out), &doc, &error) == 0)
        return true;
    command_complain(was_yaml ? "%s: %s" : "%s: it is not JSON: %s", path, error.message);
    return false;
}

static int diff(struct session *s, const struct config_config *config, struct span document)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    int code = declare_put(s, MODES_OF(config), document, 0, true, &answer);

    if (code)
        return code;
    if (strcmp(config->output, "json") == 0)
        session_print_json(answer.body);
    else
        declare_print(answer.body);
    return declare_has_changes(answer.body) ? EXIT_NOT : EXIT_OK;
}

/* ---- apply ---- */
static bool is_wanted(const struct config_config *config)
{
    char line[16] = "";

    if (config->yes || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return true;
    fputs("Do it? [y/N] ", stdout);
    fflush(stdout);
    return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static int apply(struct session *s, const struct config_config *config, struct span document)
{
    AUTO(api_answer_deinit) struct api_answer dry = { 0 }, answer = { 0 };
    bool is_json = strcmp(config->output, "json") == 0;
    int code = declare_put(s, MODES_OF(config), document, 0, true, &dry);

    if (code)
        return code;
    if (!is_json && !declare_print(dry.body))
        return EXIT_OK;
    if (!is_json && !is_wanted(config)) {
        command_complain("nothing was changed");
        return EXIT_NOT;
    }
    code = declare_put(s, MODES_OF(config), document, declare_number(dry.body, "revision"), false, &answer);
    if (code)
        return code;
    if (is_json)
        session_print_json(answer.body);
    else
        printf("done (revision %lld)\n", (long long)answer.revision);
    if (answer.status != 202)
        return EXIT_OK;
    command_complain("after 30 s not every relay runs it; adit status says which lag");
    return EXIT_PENDING;
}

/* ---- the command ---- */
static int run(const struct config_config *config, const struct command_words *words)
{
    const char *verb = words->count ? words->items[0] : "";
    bool is_export = strcmp(verb, "export") == 0, is_diff = strcmp(verb, "diff") == 0;
    AUTO(session_close) struct session session = { 0 };
    AUTO(buf_deinit) struct buf document;

    buf_init_heap(&document, CONFIG_MAX);
    if ((!is_export && !is_diff && strcmp(verb, "apply") != 0) || words->count != (is_export ? 1 : 2)) {
        command_complain("usage: adit config export | diff FILE | apply FILE; see: adit config --help");
        return EXIT_CANNOT;
    }
    if (config->format[0] && strcmp(config->format, "json") != 0 && strcmp(config->format, "yaml") != 0) {
        command_complain("--format is json or yaml");
        return EXIT_CANNOT;
    }
    if (!is_export && !config->owner[0]) {
        command_complain("say with --owner NAME who manages what stands in the document");
        return EXIT_CANNOT;
    }
    if ((!is_export && !read_document(config, words->items[1], &document)) || !session_open(&session, SESSION_OF(config)))
        return EXIT_CANNOT;
    if (is_export)
        return export(&session, config);
    return (is_diff ? diff : apply)(&session, config, buf_span(&document));
}

int config_command(int argc, char **argv)
{
    struct config_config config = { 0 };
    struct command_words words;
    int code;

    if (command_load(&table, argc, argv, &config, &words, &code))
        code = run(&config, &words);
    option_free(&table, &config);
    return code;
}
