/* adit explain USER HOST:PORT: the decision a relay would make now, and what would change it. */
#include "cli/command.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "lib/base/addr.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EXPLAIN_OPTIONS(X)                                                                       \
    SESSION_OPTIONS(X)                                                                           \
    X(STR, source, "", 0, 0, 0, "address the user connects from; empty: loopback")               \
    X(STR, at, "", 0, 0, 0, "time to decide for (2026-01-31T18:00:00Z); empty: now")

struct explain_config { EXPLAIN_OPTIONS(OPTION_FIELD) };
#define ROW(...) OPTION_ROW_OF(struct explain_config, __VA_ARGS__)
static const struct option_row rows[] = { EXPLAIN_OPTIONS(ROW) };
static const struct option_table table = {
    "adit explain", "ADIT_CLI_",
    "adit explain USER HOST:PORT says whether the user may reach it now, by which grant and\n"
    "agent, and otherwise why not and what to do. Exit code: 0 allowed, 1 refused, 2 not known.",
    rows, ARRAY_LEN(rows),
};

static void add_query(struct buf *path, const char *name, struct span value)
{
    if (!value.n)
        return;
    buf_printf(path, "&%s=", name);
    api_escape(value, path);
}

static bool make_path(const struct explain_config *config, const struct command_words *words,
                      struct buf *path)
{
    char canonical[254];
    struct span host;
    uint16_t port;

    if (words->count != 2 || !authority_parse(span_str(words->items[1]), 0, &host, &port))
        return false;
    /* As the doors take it: in any case, with a dot at its end or without. */
    if (host_canonical(host, canonical))
        host = span_str(canonical);
    buf_printf(path, "/api/v1/access/explain?port=%u", port);
    add_query(path, "host", host);
    add_query(path, "user", span_str(words->items[0]));
    add_query(path, "source", span_str(config->source));
    add_query(path, "at", span_str(config->at));
    return buf_error(path) == 0;
}

static void show_line(const struct json_value *body, const char *key, const char *label)
{
    struct span value;

    if (json_get_str(body, key, &value) && value.n)
        printf("  %-12s " SPAN_FMT "\n", label, SPAN_ARG(value));
}

/* "label  name (id)"; the id alone where it has no name. */
static void show_named(const struct json_value *body, const char *key, const char *label)
{
    struct span name, id;
    char name_key[32];

    snprintf(name_key, sizeof(name_key), "%s_name", key);
    if (!json_get_str(body, key, &id) || !id.n)
        return;
    if (json_get_str(body, name_key, &name) && name.n)
        printf("  %-12s " SPAN_FMT " (" SPAN_FMT ")\n", label, SPAN_ARG(name), SPAN_ARG(id));
    else
        show_line(body, key, label);
}

static struct span candidate_name(const struct json_value *candidate)
{
    static const char *const keys[] = { "agent_name", "agent", "grant_name", "grant" };
    struct span name;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (json_get_str(candidate, keys[i], &name))
            return name;
    }
    return SPAN("?");
}

static void show_candidates(const struct json_value *list)
{
    for (size_t i = 0; list && i < json_count(list); i++) {
        struct span name = candidate_name(json_at(list, i)), reason;
        int64_t wait_s;

        if (!json_get_str(json_at(list, i), "reason", &reason))
            reason = SPAN("?");
        printf("  %-12s " SPAN_FMT ": " SPAN_FMT, "candidate", SPAN_ARG(name), SPAN_ARG(reason));
        if (json_get_int(json_at(list, i), "retry_after_s", &wait_s))
            printf(" (again in %lld s)", (long long)wait_s);
        putchar('\n');
    }
}

static void show_wait(const struct json_value *body)
{
    int64_t wait_s;

    if (json_get_int(body, "retry_after_s", &wait_s))
        printf("  %-12s in %lld s\n", "again", (long long)wait_s);
}

static void show_text(const struct json_value *body, bool allowed, const char *user, const char *target)
{
    struct span reason = SPAN("?");

    json_get_str(body, "reason", &reason);
    printf("%s%s%s: %s %s %s", terminal_colour(allowed ? TERMINAL_GOOD : TERMINAL_BAD),
           allowed ? "allowed" : "refused", terminal_colour(TERMINAL_PLAIN), user,
           allowed ? "reaches" : "may not reach", target);
    if (allowed)
        putchar('\n');
    else
        printf(" (" SPAN_FMT ")\n", SPAN_ARG(reason));
    if (!allowed) {
        show_line(body, "what", "why");
        show_line(body, "cure", "what to do");
    }
    show_named(body, "grant", "grant");
    show_named(body, "profile", "profile");
    show_named(body, "agent_group", "agent group");
    show_named(body, "agent", "agent");
    show_named(body, "lock", "lock");
    show_named(body, "quota", "quota");
    show_wait(body);
    show_candidates(json_get(body, "candidates"));
}

static int explain(const struct explain_config *config, const struct command_words *words)
{
    AUTO(session_close) struct session session = { 0 };
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    char path_mem[1024];
    struct buf path;
    bool allowed = false;

    buf_init_fixed(&path, path_mem, sizeof(path_mem) - 1);
    if (!make_path(config, words, &path)) {
        command_complain("usage: adit explain USER HOST:PORT");
        return EXIT_CANNOT;
    }
    if (!session_open(&session, SESSION_OF(config)) ||
        !session_get(&session, buf_text(&path), &answer))
        return EXIT_CANNOT;

    json_get_bool(answer.body, "allowed", &allowed);
    if (strcmp(config->output, "json") == 0)
        session_print_json(answer.body);
    else
        show_text(answer.body, allowed, words->items[0], words->items[1]);
    return allowed ? EXIT_OK : EXIT_NOT;
}

int explain_command(int argc, char **argv)
{
    struct explain_config config = { 0 };
    struct command_words words;
    int code;

    if (command_load(&table, argc, argv, &config, &words, &code))
        code = explain(&config, &words);
    option_free(&table, &config);
    return code;
}
