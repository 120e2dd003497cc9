/* adit access [USER] [HOST:PORT]: what a user is granted, who is granted a target. */
#include "cli/command.h"
#include "cli/session.h"
#include "cli/show.h"
#include "lib/base/addr.h"

#include <stdio.h>
#include <string.h>

struct access_config { SESSION_OPTIONS(OPTION_FIELD) };
#define ROW(...) OPTION_ROW_OF(struct access_config, __VA_ARGS__)
static const struct option_row rows[] = { SESSION_OPTIONS(ROW) };
static const struct option_table table = {
    "adit access", "ADIT_CLI_",
    "adit access USER lists what the user is granted, through his groups too; adit access HOST:PORT who\n"
    "is granted that; adit access USER HOST:PORT both. By what is declared: adit explain says what a\n"
    "relay would decide now. Exit code: 0, 1 nothing is granted, 2 not known.",
    rows, ARRAY_LEN(rows),
};

static void add_query(struct buf *path, const char *name, struct span value)
{
    buf_printf(path, "%c%s=", strchr(buf_text(path), '?') ? '&' : '?', name);
    api_escape(value, path);
}

static bool add_target(struct buf *path, const char *word)
{
    char canonical[254], number[8];
    struct span host;
    uint16_t port;

    if (!authority_parse(span_str(word), 0, &host, &port))
        return false;
    if (host_canonical(host, canonical))
        host = span_str(canonical);
    snprintf(number, sizeof(number), "%u", port);
    add_query(path, "host", host);
    add_query(path, "port", span_str(number));
    return true;
}

static bool make_path(const struct command_words *words, struct buf *path)
{
    const char *last = words->count ? words->items[words->count - 1] : "";
    bool has_target = strchr(last, ':') != NULL;

    buf_put_str(path, "/api/v1/access/effective");
    if (words->count < 1 || words->count > 2 || (words->count == 2 && !has_target))
        return false;
    if (words->count == 2 || !has_target)
        add_query(path, "user", span_str(words->items[0]));
    return (!has_target || add_target(path, last)) && !buf_error(path);
}

static int access_of(const struct access_config *config, const struct command_words *words)
{
    AUTO(session_close) struct session session = { 0 };
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    const struct json_value *items;
    struct show_table shown;
    char mem[1024];
    struct buf path;

    buf_init_fixed(&path, mem, sizeof(mem) - 1);
    if (!make_path(words, &path)) {
        command_complain("usage: adit access USER | HOST:PORT | USER HOST:PORT");
        return EXIT_CANNOT;
    }
    if (!session_open(&session, SESSION_OF(config)) || !session_get(&session, buf_text(&path), &answer))
        return EXIT_CANNOT;
    items = json_get(answer.body, "items");
    if (!items)
        return EXIT_CANNOT;
    show_table_init(&shown, "user.name group.name hosts ports agent_group.name ends_at in_force reason grant.name");
    if (strcmp(config->output, "json") == 0)
        session_print_json(answer.body);
    else if (json_count(items))
        show_table_page(&shown, items);
    else
        fputs("nothing is granted\n", stderr);
    return json_count(items) ? EXIT_OK : EXIT_NOT;
}

int access_command(int argc, char **argv)
{
    struct access_config config = { 0 };
    struct command_words words;
    int code;

    if (command_load(&table, argc, argv, &config, &words, &code))
        code = access_of(&config, &words);
    option_free(&table, &config);
    return code;
}
