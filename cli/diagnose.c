/* adit diagnose HOST:PORT: tried from where agents are, step by step. */
#include "cli/command.h"
#include "cli/session.h"
#include "cli/show.h"
#include "cli/terminal.h"
#include "lib/base/addr.h"

#include <stdio.h>
#include <string.h>

enum { WAIT_MS = 30000 };

#define DIAGNOSE_OPTIONS(X)                                                                        \
    SESSION_OPTIONS(X)                                                                             \
    X(STR, agent, "", 0, 0, 0, "by this agent")                                                    \
    X(STR, agent_group, "", 0, 0, 0, "by each member of this agent group")                         \
    X(STR, profile, "", 0, 0, 0, "by each member of this destination profile's agent group, as the profile permits") \
    X(STR, user, "", 0, 0, 0, "as a stream of this user would go; empty, and none of the others: yourself") \
    X(BOOL, tls, "false", 0, 0, 0, "shake hands, and look at the certificates")                    \
    X(STR, server_name, "", 0, 0, 0, "the name that the target is to prove; empty: HOST.  Goes with --tls") \
    X(MSEC, timeout_ms, "10s", 1000, 15000, 0, "for all of it")

struct diagnose_config { DIAGNOSE_OPTIONS(OPTION_FIELD) };
#define ROW(...) OPTION_ROW_OF(struct diagnose_config, __VA_ARGS__)
static const struct option_row rows[] = { DIAGNOSE_OPTIONS(ROW) };
static const struct option_table table = {
    "adit diagnose", "ADIT_CLI_",
    "adit diagnose HOST:PORT tries the target from where agents are: resolves, connects and, with\n"
    "--tls, shakes hands, under the same checks as a stream. Exit code: 0 all went well, 1 it did\n"
    "not, 2 nothing could be asked. Earlier ones: adit diagnostic list.",
    rows, ARRAY_LEN(rows),
};

/* --- asking -------------------------------------------------------------------------------------- */

/* Says what went wrong; true with a 2xx answer. */
static bool call(struct session *s, const char *method, const char *path, struct span body, struct api_answer *answer)
{
    char mem[1024];
    struct buf error;

    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    if (api_call(s->api, method, path, body, answer, &error)) {
        command_complain("%s", buf_text(&error));
        return false;
    }
    if (api_is_ok(answer) && answer->body)
        return true;
    api_problem(answer, &error);
    command_complain("%s", buf_text(&error));
    return false;
}

/* Whom the token is of. */
static bool put_self(struct session *s, struct json_writer *w)
{
    AUTO(api_answer_deinit) struct api_answer me = { 0 };
    struct span id;

    if (!session_get(s, "/api/v1/me", &me) || !json_get_str(json_get(me.body, "user"), "id", &id))
        return false;
    json_put_str(w, "user", id);
    return true;
}

static bool put_subject(const struct diagnose_config *config, struct session *s, struct json_writer *w)
{
    const struct {
        const char *key, *value;
    } subjects[] = {
        { "agent", config->agent }, { "agent_group", config->agent_group },
        { "destination_profile", config->profile }, { "user", config->user },
    };
    size_t given = 0;

    for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
        if (!subjects[i].value[0])
            continue;
        json_put_text(w, subjects[i].key, subjects[i].value);
        given++;
    }
    return given ? true : put_self(s, w);
}

static bool put_target(const char *word, struct json_writer *w)
{
    char canonical[254];
    struct span host;
    uint16_t port;

    if (!authority_parse(span_str(word), 0, &host, &port))
        return false;
    if (host_canonical(host, canonical))
        host = span_str(canonical);
    json_put_str(w, "host", host);
    json_put_int(w, "port", port);
    return true;
}

static bool ask(const struct diagnose_config *config, const char *word, struct session *s, struct api_answer *answer)
{
    AUTO(api_answer_deinit) struct api_answer made = { 0 };
    unsigned char mem[2048];
    char path[128];
    struct json_writer w;
    struct buf body;
    struct span id;

    buf_init_fixed(&body, mem, sizeof(mem));
    json_begin(&w, &body);
    json_open_object(&w, NULL);
    (void)put_target(word, &w);         /* was checked */
    if (!put_subject(config, s, &w))
        return false;
    json_put_bool(&w, "tls", config->tls);
    if (config->server_name[0])
        json_put_text(&w, "server_name", config->server_name);
    json_put_int(&w, "timeout_ms", config->timeout_ms);
    json_close_object(&w);
    if (!call(s, "POST", "/api/v1/diagnostics", buf_span(&body), &made) || !json_get_str(made.body, "id", &id))
        return false;
    snprintf(path, sizeof(path), "/api/v1/diagnostics/" SPAN_FMT "?finished=true", SPAN_ARG(id));
    api_set_timeout(s->api, WAIT_MS);
    return call(s, "GET", path, SPAN_NONE, answer);
}

/* --- telling ------------------------------------------------------------------------------------- */

/* Whatever an agent or a target said: nothing in it moves the cursor. */
static const char *text_of(const struct json_value *v, const char *key, char mem[600])
{
    const struct json_value *value = json_get(v, key);
    struct buf out;

    mem[0] = 0;
    buf_init_fixed(&out, mem, 599);
    if (value)
        show_value(value, &out);
    mem[out.len] = 0;
    return mem;
}

static bool is_ok(const struct json_value *v)
{
    struct span reason;

    return json_get_str(v, "reason", &reason) && span_eq(reason, SPAN("ok"));
}

static void show_line(const struct json_value *v, const char *key, const char *label)
{
    char mem[600];

    if (text_of(v, key, mem)[0])
        printf("             %-12s %s\n", label, mem);
}

static void show_places(const struct json_value *list, const char *label)
{
    char address[600], reason[600], took[600];

    for (size_t i = 0; list && i < json_count(list); i++) {
        const struct json_value *place = json_at(list, i);

        printf("             %-12s %s: %s", label, text_of(place, "address", address), text_of(place, "reason", reason));
        if (text_of(place, "took_ms", took)[0])
            printf(", %s ms", took);
        putchar('\n');
    }
}

static void show_certificates(const struct json_value *list)
{
    for (size_t i = 0; list && i < json_count(list); i++) {
        const struct json_value *each = json_at(list, i);

        show_line(each, "subject", "certificate");
        show_line(each, "issuer", "  issuer");
        show_line(each, "names", "  names");
        show_line(each, "not_before", "  from");
        show_line(each, "not_after", "  until");
        show_line(each, "fingerprint", "  SHA-256");
    }
}

static void show_step(const struct json_value *step)
{
    char name[600], reason[600], took[600], detail[600];
    bool is_good = is_ok(step);

    printf("  %s%-8s%s  %s, %s ms", terminal_colour(is_good ? TERMINAL_GOOD : TERMINAL_BAD), text_of(step, "step", name),
           terminal_colour(TERMINAL_PLAIN), text_of(step, "reason", reason), text_of(step, "took_ms", took));
    if (text_of(step, "detail", detail)[0])
        printf(": %s", detail);
    putchar('\n');
    show_line(step, "resolved_by", "by");
    show_line(step, "server", "server");
    show_places(json_get(step, "addresses"), "address");
    show_places(json_get(step, "tries"), "try");
    show_line(step, "version", "version");
    show_line(step, "cipher", "cipher");
    show_line(step, "alpn", "ALPN");
    show_line(step, "server_name", "name");
    show_certificates(json_get(step, "certificates"));
    show_line(step, "left_out", "and more");
}

static void show_result(const struct json_value *result)
{
    const struct json_value *steps = json_get(json_get(result, "found"), "steps");
    char name[600], reason[600], detail[600];

    printf("agent %s: %s%s%s", text_of(result, "agent_name", name),
           terminal_colour(is_ok(result) ? TERMINAL_GOOD : TERMINAL_BAD), text_of(result, "reason", reason),
           terminal_colour(TERMINAL_PLAIN));
    if (!steps && text_of(result, "detail", detail)[0])
        printf(": %s", detail);
    putchar('\n');
    for (size_t i = 0; steps && i < json_count(steps); i++)
        show_step(json_at(steps, i));
}

static void show_text(const struct json_value *body)
{
    const struct json_value *results = json_get(body, "results");
    int64_t left_out;

    for (size_t i = 0; results && i < json_count(results); i++)
        show_result(json_at(results, i));
    if (json_get_int(body, "left_out", &left_out))
        printf("and %lld more agents of the group, not asked\n", (long long)left_out);
}

static int diagnose(const struct diagnose_config *config, const struct command_words *words)
{
    AUTO(session_close) struct session session = { 0 };
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    struct span host;
    uint16_t port;

    if (words->count != 1 || !authority_parse(span_str(words->items[0]), 0, &host, &port)) {
        command_complain("usage: adit diagnose HOST:PORT [--agent NAME | --agent-group NAME | --profile NAME | "
                         "--user NAME] [--tls]");
        return EXIT_CANNOT;
    }
    if (!session_open(&session, SESSION_OF(config)) || !ask(config, words->items[0], &session, &answer))
        return EXIT_CANNOT;
    if (strcmp(config->output, "json") == 0)
        session_print_json(answer.body);
    else
        show_text(answer.body);
    return is_ok(answer.body) ? EXIT_OK : EXIT_NOT;
}

int diagnose_command(int argc, char **argv)
{
    struct diagnose_config config = { 0 };
    struct command_words words;
    int code;

    if (command_load(&table, argc, argv, &config, &words, &code))
        code = diagnose(&config, &words);
    option_free(&table, &config);
    return code;
}
