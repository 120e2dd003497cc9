#include "cli/ask.h"

#include "controlplane/domain/when.h"

#include <stdio.h>
#include <string.h>

#define ROW(...) OPTION_ROW_OF(struct ask_config, __VA_ARGS__)
static const struct option_row rows[] = { ASK_SESSION(ROW) };
static const struct option_table table = { "adit", "ADIT_CLI_", "", rows, ARRAY_LEN(rows) };

struct reading {
    struct ask *ask;
    char **argv;
    int argc, at;
    char *session[2 * ARRAY_LEN(rows) + 8];     /* for the option table; NULL behind the last */
    int session_count;
};

static const char *whose(const struct ask *ask, char mem[80])
{
    snprintf(mem, 80, "adit %s %s", ask->resource->word, verb_at(ask->verb)->name);
    return mem;
}

static bool complain_flag(const struct ask *ask, struct span name)
{
    const char *nearest = flags_nearest(&ask->flags, name);
    char mem[80];

    if (nearest)
        command_complain("%s has no --" SPAN_FMT "; the nearest is --%s", whose(ask, mem),
                         SPAN_ARG(name), nearest);
    else
        command_complain("%s has no --" SPAN_FMT "; see: %s --help", whose(ask, mem), SPAN_ARG(name),
                         whose(ask, mem));
    return false;
}

static bool keep_session(struct reading *r, char *flag, char *value)
{
    if (r->session_count + 3 > (int)ARRAY_LEN(r->session))
        return false;
    r->session[r->session_count++] = flag;
    if (value)
        r->session[r->session_count++] = value;
    return true;
}

/* The value behind "=", or the next argument. */
static bool take_value(struct reading *r, const struct flag *flag, char *equals, char **ret_value)
{
    if (equals) {
        *ret_value = equals + 1;
        return true;
    }
    if (r->at + 1 < r->argc) {
        *ret_value = r->argv[++r->at];
        return true;
    }
    command_complain("--%s needs a value: --%s %s", flag->name, flag->name, flag->metavar);
    return false;
}

static bool is_given_twice(const struct ask *ask, const struct flag *flag)
{
    for (size_t i = 0; i < ask->given_count; i++) {
        if (ask->given[i].flag == flag && !flag->may_repeat)
            return true;
    }
    return false;
}

static bool keep_flag(struct ask *ask, const struct flag *flag, char *value)
{
    if (is_given_twice(ask, flag)) {
        command_complain("--%s is there twice", flag->name);
        return false;
    }
    if (ask->given_count == ASK_GIVEN_MAX) {
        command_complain("more than %d flags: put the fields in a file, and name it with --body",
                         ASK_GIVEN_MAX);
        return false;
    }
    ask->given[ask->given_count++] = (struct given){ flag, value };
    return true;
}

static bool read_switch(struct ask *ask, const struct flag *flag, const char *equals)
{
    if (!equals)
        return keep_flag(ask, flag, NULL);
    if (flag->id == FLAG_PASSWORD)
        command_complain("a secret does not go on the command line, where others see it: --%s "
                         "asks for it, --%s-file reads it", flag->name, flag->name);
    else
        command_complain("--%s takes no value", flag->name);
    return false;
}

static bool read_flag(struct reading *r)
{
    char *arg = r->argv[r->at], *equals = strchr(arg, '='), *value = NULL;
    struct span name = equals ? span_of(arg + 2, (size_t)(equals - arg - 2)) : span_str(arg + 2);
    const struct flag *flag = flags_find(&r->ask->flags, name);

    if (!flag)
        return complain_flag(r->ask, name);
    if (flag->is_switch)
        return read_switch(r->ask, flag, equals);
    if (flag->id == FLAG_FIELD && flag->field->leaf == LEAF_BOOL && !equals)
        return keep_flag(r->ask, flag, (char *)(uintptr_t)"true");
    if (!take_value(r, flag, equals, &value))
        return false;
    if (flag->id == FLAG_SESSION)
        return keep_session(r, arg, equals ? NULL : value);
    return keep_flag(r->ask, flag, value);
}

static bool keep_word(struct ask *ask, const char *word)
{
    const struct verb *verb = verb_at(ask->verb);
    char mem[80];

    if (ask->word_count < verb->words_max) {
        ask->words[ask->word_count++] = word;
        return true;
    }
    command_complain("\"%s\" is one word too many; usage: %s %s", word, whose(ask, mem), verb->words);
    return false;
}

static bool read_args(struct reading *r)
{
    bool is_flags_over = false;

    for (r->at = 1; r->at < r->argc; r->at++) {
        const char *arg = r->argv[r->at];

        if (!is_flags_over && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)) {
            r->ask->wants_help = true;
            return true;
        }
        if (!is_flags_over && strcmp(arg, "--") == 0) {
            is_flags_over = true;
            continue;
        }
        if (is_flags_over || arg[0] != '-' || !arg[1]) {
            if (!keep_word(r->ask, arg))
                return false;
            continue;
        }
        if (arg[1] != '-') {
            command_complain("\"%s\": flags begin with two dashes", arg);
            return false;
        }
        if (!read_flag(r))
            return false;
    }
    return true;
}

static bool read_session(struct reading *r)
{
    struct option_origins *origins = NULL;
    enum option_action action = OPTION_RUN;
    char mem[1024];
    struct buf error;
    int rc;

    buf_init_fixed(&error, mem, sizeof(mem));
    rc = option_load(&table, r->session_count, r->session, &r->ask->config, &action, &origins, &error);
    option_origins_free(origins);
    if (rc)
        command_complain("%s", buf_text(&error));
    return rc == 0;
}

static bool read_output(struct ask *ask)
{
    static const struct { const char *text; enum ask_output output; } forms[] = {
        { "table", OUTPUT_TABLE }, { "text", OUTPUT_TABLE }, { "json", OUTPUT_JSON },
        { "id", OUTPUT_ID }, { "etag", OUTPUT_ETAG },
    };
    const char *text = ask_value(ask, FLAG_OUTPUT);

    if (!text)
        text = getenv("ADIT_CLI_OUTPUT") ? getenv("ADIT_CLI_OUTPUT") : "table";
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (strcmp(text, forms[i].text) == 0) {
            ask->output = forms[i].output;
            return true;
        }
    }
    command_complain("--output: \"%s\" is none of table, json, id, etag", text);
    return false;
}

static bool has_words(const struct ask *ask)
{
    const struct verb *verb = verb_at(ask->verb);
    char mem[80];

    if (ask->word_count >= verb->words_min)
        return true;
    command_complain("usage: %s %s", whose(ask, mem), verb->words);
    return false;
}

bool ask_read(const struct resource *resource, enum verb_id verb, int argc, char **argv,
              struct ask *ret_ask)
{
    struct reading r = { .ask = ret_ask, .argv = argv, .argc = argc };

    *ret_ask = (struct ask){ .resource = resource, .verb = verb };
    flags_of(resource, verb, &ret_ask->flags);
    r.session[r.session_count++] = argv[0];
    if (!read_args(&r))
        return false;
    r.session[r.session_count] = NULL;
    return ret_ask->wants_help || (has_words(ret_ask) && read_output(ret_ask) && read_session(&r));
}

void ask_deinit(struct ask *ask)
{
    session_close(&ask->session);
    option_free(&table, &ask->config);
}

const char *ask_value(const struct ask *ask, enum flag_id id)
{
    const char *value = NULL;

    for (size_t i = 0; i < ask->given_count; i++) {
        if (ask->given[i].flag->id == id)
            value = ask->given[i].value ? ask->given[i].value : "";
    }
    return value;
}

const char *ask_time(const char *text, int64_t now_s, char *mem, size_t size)
{
    static const struct { char unit; int64_t seconds; } units[] = {
        { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 },
    };
    struct span number = span_str(text);
    uint64_t value;

    if (number.n < 3 || size < WHEN_TEXT_MAX || (text[0] != '+' && text[0] != '-'))
        return text;
    number = span_of(text + 1, number.n - 2);
    if (!span_to_u64(number, 1000000, &value))
        return text;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        int64_t seconds = (int64_t)value * units[i].seconds;

        if (text[strlen(text) - 1] == units[i].unit)
            return when_format((now_s + (text[0] == '-' ? -seconds : seconds)) * 1000, mem);
    }
    return text;
}
