/*
 * adit stats, adit top: what went through the relays, and who stands out.
 */
#include "cli/ask.h"
#include "cli/command.h"
#include "cli/session.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct stats_config {
    SESSION_OPTIONS(OPTION_FIELD)
#define STATS_OPTIONS(X)                                                                           \
    X(STR, from, "-1d", 0, 0, 0, "where it begins: a time, or -1h, -7d")                           \
    X(STR, to, "", 0, 0, 0, "where it ends; empty: now")                                           \
    X(STR, by, "", 0, 0, 0, "principal, agent or destination: of the one that --key names")        \
    X(STR, key, "", 0, 0, 0, "a user or agent by name or id, a destination as host:port")          \
    X(INT, step, "0", 0, 86400, 0, "seconds of a point; 0: some 300 points")                       \
    X(STR, order, "opened", 0, 0, 0, "of the lists: opened, failed or bytes")                      \
    X(INT, top, "10", 1, 100, 0, "how many of each list")
    STATS_OPTIONS(OPTION_FIELD)
};
#define ROW(...) OPTION_ROW_OF(struct stats_config, __VA_ARGS__)
static const struct option_row rows[] = { SESSION_OPTIONS(ROW) STATS_OPTIONS(ROW) };
static const struct option_table stats_table = {
    "adit stats", "ADIT_CLI_",
    "Shows streams, refusals and bytes over time, up to seven days back, and the reasons of what failed.\n"
    "Exit code: 0, 2 not known.",
    rows, ARRAY_LEN(rows),
};
static const struct option_table top_table = {
    "adit top", "ADIT_CLI_",
    "Shows the principals, agents and destinations with most streams, failures (--order failed) or bytes,\n"
    "and the quotas that refused somebody. Exit code: 0, 2 not known.",
    rows, ARRAY_LEN(rows),
};

static void add_query(struct buf *path, const char *name, const char *value)
{
    if (!value[0])
        return;
    buf_printf(path, "%c%s=", strchr(buf_text(path), '?') ? '&' : '?', name);
    api_escape(span_str(value), path);
}

static bool make_path(const struct stats_config *config, struct buf *path)
{
    char from[32], to[32], number[24] = "";
    int64_t now_s = time(NULL);

    buf_put_str(path, "/api/v1/statistics");
    add_query(path, "from", ask_time(config->from, now_s, from, sizeof(from)));
    add_query(path, "to", ask_time(config->to, now_s, to, sizeof(to)));
    add_query(path, "by", config->by);
    add_query(path, "key", config->key);
    add_query(path, "order", config->order);
    if (config->step)
        snprintf(number, sizeof(number), "%lld", (long long)config->step);
    add_query(path, "step", number);
    snprintf(number, sizeof(number), "%lld", (long long)config->top);
    add_query(path, "top", number);
    return !buf_error(path);
}

static void show_list(const char *title, const struct json_value *items, const char *columns)
{
    struct show_table table;

    if (!items || !json_count(items))
        return;
    printf("\n%s\n", title);
    show_table_init(&table, columns);
    show_table_page(&table, items);
}

static void show_stats(const struct json_value *answer)
{
    struct show_table table;

    show_table_init(&table, "at opened refused broken bytes_out bytes_in");
    show_table_page(&table, json_get(answer, "points"));
    puts("\nin all");
    show_object(json_get(answer, "totals"), NULL);
    show_list("why", json_get(answer, "reasons"), "reason refused broken last_at");
}

static void show_top(const struct json_value *answer)
{
    static const char *const lists[] = { "principals", "agents", "destinations" };
    const struct json_value *top = json_get(answer, "top");

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        show_list(lists[i], json_get(top, lists[i]), "name id opened refused broken bytes_out bytes_in last_at");
    show_list("quotas", json_get(answer, "quotas"), "reason name id refused last_at");
    show_list("why", json_get(answer, "reasons"), "reason refused broken last_at");
}

static int ask_stats(const struct stats_config *config, void (*show)(const struct json_value *answer))
{
    AUTO(session_close) struct session session = { 0 };
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    char mem[1024];
    struct buf path;

    buf_init_fixed(&path, mem, sizeof(mem) - 1);
    if (!make_path(config, &path)) {
        command_complain("the options are too long");
        return EXIT_CANNOT;
    }
    if (!session_open(&session, SESSION_OF(config)) || !session_get(&session, buf_text(&path), &answer))
        return EXIT_CANNOT;
    if (strcmp(config->output, "json") == 0)
        session_print_json(answer.body);
    else
        show(answer.body);
    return EXIT_OK;
}

static int run(const struct option_table *table, int argc, char **argv, void (*show)(const struct json_value *answer))
{
    struct stats_config config = { 0 };
    struct command_words words;
    int code;

    if (command_load(table, argc, argv, &config, &words, &code))
        code = command_no_words(table, &words) ? ask_stats(&config, show) : EXIT_CANNOT;
    option_free(table, &config);
    return code;
}

int stats_command(int argc, char **argv)
{
    return run(&stats_table, argc, argv, show_stats);
}

int top_command(int argc, char **argv)
{
    return run(&top_table, argc, argv, show_top);
}
