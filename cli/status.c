/*
 * adit status: what runs, what is wrong, what to do.  Works when everything is dead: then it
 * says so.  Exit code: 0 good, 1 degraded, 2 down.
 */
#include "cli/command.h"
#include "cli/session.h"
#include "cli/terminal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct status_config { SESSION_OPTIONS(OPTION_FIELD) };
#define ROW(...) OPTION_ROW_OF(struct status_config, __VA_ARGS__)
static const struct option_row rows[] = { SESSION_OPTIONS(ROW) };
static const struct option_table table = {
    "adit status", "ADIT_CLI_",
    "Shows control plane, relays, agents, streams and the errors of the last minutes, and what\n"
    "to do about what is wrong. Exit code: 0 good, 1 degraded, 2 down.",
    rows, ARRAY_LEN(rows),
};

enum { ERRORS_MINUTES = 5, KINDS_MAX = 16 };

static const struct { const char *text; int code; enum terminal_colour colour; } healths[] = {
    { "good", EXIT_OK, TERMINAL_GOOD },
    { "degraded", EXIT_NOT, TERMINAL_BAD },
    { "down", EXIT_CANNOT, TERMINAL_BAD },
};

static int health_index(const struct json_value *status)
{
    struct span health;

    for (size_t i = 0; status && i < ARRAY_LEN(healths); i++) {
        if (json_get_str(status, "health", &health) && span_eq(health, span_str(healths[i].text)))
            return (int)i;
    }
    return 2;
}

static int64_t int_at(const struct json_value *object, const char *key)
{
    int64_t value = 0;

    if (object)
        json_get_int(object, key, &value);
    return value;
}

static struct span str_at(const struct json_value *object, const char *key)
{
    struct span value = SPAN("-");

    json_get_str(object, key, &value);
    return value;
}

/* Which one it is, and since when. */
static void show_objects(const struct json_value *finding)
{
    const struct json_value *objects = json_get(finding, "objects");

    for (size_t i = 0; objects && i < json_count(objects); i++)
        printf("    " SPAN_FMT ", since " SPAN_FMT "\n", SPAN_ARG(str_at(json_at(objects, i), "name")),
               SPAN_ARG(str_at(finding, "since")));
}

static void show_findings(const struct json_value *status)
{
    const struct json_value *findings = json_get(status, "findings");

    for (size_t i = 0; findings && i < json_count(findings); i++) {
        const struct json_value *f = json_at(findings, i);

        printf("  %s" SPAN_FMT "%s  " SPAN_FMT ": " SPAN_FMT "\n", terminal_colour(TERMINAL_BAD),
               SPAN_ARG(str_at(f, "severity")), terminal_colour(TERMINAL_PLAIN),
               SPAN_ARG(str_at(f, "reason")), SPAN_ARG(str_at(f, "what")));
        show_objects(f);
        printf("    what to do: " SPAN_FMT "\n", SPAN_ARG(str_at(f, "cure")));
    }
}

static void show_relay(const struct json_value *relay, int64_t revision)
{
    bool connected = false;

    json_get_bool(relay, "connected", &connected);
    printf("  relay  " SPAN_FMT "  %s  revision %lld (%lld behind)  %lld agents  %lld streams\n",
           SPAN_ARG(str_at(relay, "name")), connected ? "connected" : "away",
           (long long)int_at(relay, "applied_revision"),
           (long long)(revision - int_at(relay, "applied_revision")),
           (long long)int_at(relay, "agents"), (long long)int_at(relay, "streams"));
}

static void show_agent(const struct json_value *agent, int64_t revision)
{
    bool connected = false, proved = true;

    (void)revision;
    json_get_bool(agent, "connected", &connected);
    json_get_bool(agent, "proved", &proved);
    printf("  agent  " SPAN_FMT "  %s  last seen " SPAN_FMT "  %lld links  %lld streams\n",
           SPAN_ARG(str_at(agent, "name")), !connected ? "away" : proved ? "connected" : "does not answer",
           SPAN_ARG(str_at(agent, "last_seen_at")), (long long)int_at(agent, "links"),
           (long long)int_at(agent, "streams"));
}

static void show_list(struct session *s, const char *path, int64_t revision,
                      void (*show)(const struct json_value *item, int64_t revision))
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    const struct json_value *items;

    if (!session_get(s, path, &answer))
        return;
    items = json_get(answer.body, "items");
    for (size_t i = 0; items && i < json_count(items); i++)
        show(json_at(items, i), revision);
}

/* How often each reason refused somebody lately. */
static void show_refusals(struct session *s)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    struct { struct span reason; unsigned count; } kinds[KINDS_MAX];
    const struct json_value *items;
    char path[160], since[40];
    time_t from = time(NULL) - ERRORS_MINUTES * 60;
    struct tm tm;
    size_t n = 0;

    strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&from, &tm));
    snprintf(path, sizeof(path), "/api/v1/route-decisions?limit=500&created_after=%s", since);
    if (!session_get(s, path, &answer))
        return;
    items = json_get(answer.body, "items");
    for (size_t i = 0; items && i < json_count(items); i++) {
        struct span reason = str_at(json_at(items, i), "reason");
        bool allowed = true;
        size_t at = 0;

        json_get_bool(json_at(items, i), "allowed", &allowed);
        while (at < n && !span_eq(kinds[at].reason, reason))
            at++;
        if (allowed || at == KINDS_MAX)
            continue;
        if (at == n) {
            kinds[n].reason = reason;
            kinds[n++].count = 0;
        }
        kinds[at].count++;
    }
    for (size_t i = 0; i < n; i++)
        printf("  refused in the last %d minutes: %u times " SPAN_FMT " (adit reason " SPAN_FMT ")\n",
               ERRORS_MINUTES, kinds[i].count, SPAN_ARG(kinds[i].reason), SPAN_ARG(kinds[i].reason));
}

static void show_text(struct session *s, const struct json_value *status)
{
    int health = health_index(status);
    int64_t revision = int_at(status, "revision");
    const struct json_value *relays = json_get(status, "relays"), *agents = json_get(status, "agents");

    printf("%s%s%s: revision %lld, %lld of %lld relays and %lld of %lld agents connected, "
           "%lld streams\n", terminal_colour(healths[health].colour), healths[health].text,
           terminal_colour(TERMINAL_PLAIN), (long long)revision, (long long)int_at(relays, "connected"),
           (long long)int_at(relays, "total"), (long long)int_at(agents, "connected"),
           (long long)int_at(agents, "total"), (long long)int_at(json_get(status, "streams"), "open"));
    show_findings(status);
    show_list(s, "/api/v1/relays?limit=50", revision, show_relay);
    show_list(s, "/api/v1/agents?limit=50", revision, show_agent);
    show_refusals(s);
}

/* Nothing answers: say what is known from here, and what to do. */
static int tell_down(struct session *s, const struct status_config *config, bool as_json)
{
    const char *cure = s->is_running ? "look at VAR/log/controlplane.log" : "adit up";

    if (as_json)
        printf("{\"health\":\"down\",\"is_up_running\":%s,\"cure\":\"%s\"}\n",
               s->is_running ? "true" : "false", cure);
    else if (config->api[0])
        printf("down: the control plane %s does not answer\n", config->api);
    else
        printf("%sdown%s: %s\n  what to do: %s\n", terminal_colour(TERMINAL_BAD),
               terminal_colour(TERMINAL_PLAIN),
               s->is_running ? "adit up runs, but its control plane does not answer"
                             : "adit up does not run on this state directory", cure);
    return EXIT_CANNOT;
}

static int status(const struct status_config *config)
{
    AUTO(session_close) struct session session = { 0 };
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    bool as_json = strcmp(config->output, "json") == 0;

    session_locate(&session, SESSION_OF(config));
    if (!config->api[0] && !session.is_running)
        return tell_down(&session, config, as_json);
    if (!session_open(&session, SESSION_OF(config)) ||
        !session_get(&session, "/api/v1/status", &answer))
        return tell_down(&session, config, as_json);
    if (as_json)
        session_print_json(answer.body);
    else
        show_text(&session, answer.body);
    return healths[health_index(answer.body)].code;
}

int status_command(int argc, char **argv)
{
    struct status_config config = { 0 };
    struct command_words words;
    int code;

    if (command_load(&table, argc, argv, &config, &words, &code))
        code = command_no_words(&table, &words) ? status(&config) : EXIT_CANNOT;
    option_free(&table, &config);
    return code;
}
