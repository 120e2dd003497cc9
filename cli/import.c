/*
 * adit import intratun: what its files say as a declared configuration, owned by "intratun"; passwords
 * and all else that a document cannot carry by single calls.  It shows; with --apply it does.
 */
#include "cli/command.h"
#include "cli/declare.h"
#include "cli/intratun/intratun.h"
#include "cli/problem.h"
#include "cli/session.h"

#include <stdio.h>
#include <string.h>

#define IMPORT_OPTIONS(X)                                                                             \
    SESSION_OPTIONS(X)                                                                                \
    X(PATH, agents, "", 0, 0, 0, "its YAML of agents (INTRATUN_RELAY_AGENT_CONFIG)")                  \
    X(PATH, overrides, "", 0, 0, 0, "its YAML of DNS overrides (dns-overrides.yaml)")                 \
    X(PATH, database, "", 0, 0, 0, "its SQLite file (controlplane.db), with -wal beside it if there is one") \
    X(LIST, acl_allow, "", 0, 0, 0, "the relay's own patterns (INTRATUN_RELAY_ACL_ALLOW): of agents without any") \
    X(BOOL, agent_logins, "false", 0, 0, 0, "a user for each agent whose log-in programs used at the proxy") \
    X(BOOL, apply, "false", 0, 0, 0, "do it; without it, it is only shown")                           \
    X(BOOL, take_over, "false", 0, 0, 0, "take over what others manage, or nobody")                   \
    X(BOOL, wait, "false", 0, 0, 0, "until the connected relays run it, at most 30 s")

struct import_config { IMPORT_OPTIONS(OPTION_FIELD) };
#define ROW(...) OPTION_ROW_OF(struct import_config, __VA_ARGS__)
static const struct option_row rows[] = { IMPORT_OPTIONS(ROW) };
static const struct option_table table = {
    "adit import", "ADIT_CLI_",
    "adit import intratun [--agents FILE] [--overrides FILE] [--database FILE] shows what would be made of an\n"
    "intratun installation, and what cannot be carried over and why. With --apply it makes it; again, it changes\n"
    "only what is not so yet. Nobody's password that was set since is touched, and nothing is deleted.\n"
    "Guide: docs/guide/from-intratun.md.\n"
    "Exit codes: 0 shown or done, 1 not done, 2 wrong usage, a file that is no good, or nobody to ask, 4 done,\n"
    "but not every relay runs it yet (--wait).",
    rows, ARRAY_LEN(rows),
};

#define OWNER "intratun"

/* ---- reading ---- */
static int read_source(const struct import_config *config, struct intratun_source *s, struct buf *reterr)
{
    int r = 0;

    if (config->agents[0])
        r = intratun_read_yaml(config->agents, "agents", &s->agents, reterr);
    if (!r && config->overrides[0])
        r = intratun_read_yaml(config->overrides, "overrides", &s->overrides, reterr);
    if (!r && config->database[0])
        r = intratun_read_database(config->database, s, reterr);
    return r;
}

static bool make_plan(const struct import_config *config, struct intratun_plan *plan)
{
    AUTO(intratun_source_deinit) struct intratun_source source = { 0 };
    char mem[1000];
    struct buf error;
    int r;

    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    r = read_source(config, &source, &error);
    if (!r)
        r = intratun_plan_make(&source, &(struct intratun_options){ span_str(config->acl_allow), config->agent_logins }, plan, &error);
    if (r)
        command_complain("%s", error.len ? buf_text(&error) : strerror(-r));
    return !r;
}

/* ---- passwords ---- */
/* Of whom there is none yet: what was set since, or was hashed anew, stays.  Of users that the plan would
 * make, when it is only shown, there is nothing to ask. */
static bool has_password(struct session *s, const char *path, bool *ret_has)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    char mem[1000];
    struct span at;
    struct buf error;

    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    if (api_call(s->api, "GET", path, SPAN_NONE, &answer, &error)) {
        command_complain("%s", buf_text(&error));
        return false;
    }
    *ret_has = answer.status == 404 ? false : json_get_str(answer.body, "password_set_at", &at);
    if (api_is_ok(&answer) || answer.status == 404)
        return true;
    problem_show(NULL, "user", path, &answer);
    return false;
}

static bool set_password(struct session *s, const char *path, const struct json_value *secret)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    char mem[1000], text[2048];
    struct json_writer w;
    struct buf error, body;
    int r;

    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    buf_init_fixed(&body, text, sizeof(text) - 1);
    json_begin(&w, &body);
    json_open_object(&w, NULL);
    for (size_t i = 0; i < json_count(secret); i++) {
        struct span key, value;

        if (json_as_str(json_member(secret, i, &key), &value) && !span_eq(key, SPAN("user")))
            json_put_str(&w, span_eq(key, SPAN("password")) ? "password" : "password_hash", value);
    }
    json_close_object(&w);
    r = api_call(s->api, "PATCH", path, buf_span(&body), &answer, &error);
    explicit_bzero(text, sizeof(text));
    if (r)
        command_complain("%s", buf_text(&error));
    else if (!api_is_ok(&answer))
        problem_show(NULL, "user", path, &answer);
    return !r && api_is_ok(&answer);
}

/* How many there were, done or to be done. */
static bool give_passwords(struct session *s, const struct intratun_plan *plan, bool is_dry, size_t *ret_count)
{
    AUTO(json_value_freep) struct json_value *secrets = NULL;
    struct json_error error;

    *ret_count = 0;
    if (json_parse(buf_span(&plan->secrets), &secrets, &error))
        return false;
    for (size_t i = 0; i < json_count(secrets); i++) {
        const struct json_value *secret = json_at(secrets, i);
        struct span user = SPAN_NONE;
        char path[128];
        bool has_one;

        (void)json_get_str(secret, "user", &user);
        snprintf(path, sizeof(path), "/api/v1/users/" SPAN_FMT, SPAN_ARG(user));
        if (!has_password(s, path, &has_one) || (!has_one && !is_dry && !set_password(s, path, secret)))
            return false;
        *ret_count += !has_one;
    }
    return true;
}

/* ---- the whole ---- */
static void print_notes(const struct intratun_plan *plan)
{
    struct span rest = buf_span(&plan->notes), line;

    if (plan->note_count)
        printf("\nNot carried over, or not as it was:\n");
    while (span_cut(&rest, '\n', &line)) {
        if (line.n)
            printf("  " SPAN_FMT "\n", SPAN_ARG(line));
    }
    if (plan->note_count > INTRATUN_NOTES_MAX)
        printf("  … and %zu more\n", plan->note_count - INTRATUN_NOTES_MAX);
}

static void print_json(const struct json_value *result, const struct intratun_plan *plan, size_t passwords, bool is_dry)
{
    AUTO(buf_deinit) struct buf text;
    struct span rest = buf_span(&plan->notes), line;
    struct json_writer w;

    buf_init_heap(&text, DECLARE_MAX);
    json_begin(&w, &text);
    json_open_object(&w, NULL);
    json_put_bool(&w, "applied", !is_dry);
    json_put_value(&w, "configuration", result);
    json_put_int(&w, "passwords", (int64_t)passwords);
    json_open_array(&w, "notes");
    while (span_cut(&rest, '\n', &line)) {
        if (line.n)
            json_put_str(&w, NULL, line);
    }
    json_close_array(&w);
    json_close_object(&w);
    puts(buf_text(&text));
}

static void print_result(const struct import_config *config, const struct json_value *result,
                         const struct intratun_plan *plan, size_t passwords)
{
    if (strcmp(config->output, "json") == 0) {
        print_json(result, plan, passwords, !config->apply);
        return;
    }
    declare_print(result);
    printf("%zu passwords to take over\n", passwords);
    print_notes(plan);
    printf(config->apply ? "\ndone\n" : "\nNothing was changed; --apply does it.\n");
}

static int import_plan(struct session *s, const struct import_config *config, const struct intratun_plan *plan)
{
    const struct declare_modes modes = { .owner = OWNER, .take_over = config->take_over, .wait = config->wait };
    AUTO(api_answer_deinit) struct api_answer dry = { 0 }, answer = { 0 };
    size_t passwords = 0;
    int code = declare_put(s, &modes, buf_span(&plan->document), 0, true, &dry);

    if (!code && config->apply)
        code = declare_put(s, &modes, buf_span(&plan->document), declare_number(dry.body, "revision"), false, &answer);
    if (code)
        return code;
    if (!give_passwords(s, plan, !config->apply, &passwords))
        return EXIT_NOT;
    print_result(config, dry.body, plan, passwords);
    if (answer.status != 202)
        return EXIT_OK;
    command_complain("after 30 s not every relay runs it; adit status says which lag");
    return EXIT_PENDING;
}

static int run(const struct import_config *config, const struct command_words *words)
{
    AUTO(session_close) struct session session = { 0 };
    AUTO(intratun_plan_deinit) struct intratun_plan plan = { .note_count = 0 };

    if (words->count != 1 || strcmp(words->items[0], OWNER) != 0 ||
        (!config->agents[0] && !config->overrides[0] && !config->database[0])) {
        command_complain("usage: adit import intratun --agents FILE --overrides FILE --database FILE (any of them); see: "
                         "adit import --help");
        return EXIT_CANNOT;
    }
    if (!make_plan(config, &plan) || !session_open(&session, SESSION_OF(config)))
        return EXIT_CANNOT;
    return import_plan(&session, config, &plan);
}

int import_command(int argc, char **argv)
{
    struct import_config config = { 0 };
    struct command_words words;
    int code;

    if (command_load(&table, argc, argv, &config, &words, &code))
        code = run(&config, &words);
    option_free(&table, &config);
    return code;
}
