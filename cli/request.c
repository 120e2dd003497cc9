/* adit api METHOD PATH [JSON|-]: any operation of the REST API, as whoever the token says. */
#include "cli/command.h"
#include "cli/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct request_config { SESSION_OPTIONS(OPTION_FIELD) };
#define ROW(...) OPTION_ROW_OF(struct request_config, __VA_ARGS__)
static const struct option_row rows[] = { SESSION_OPTIONS(ROW) };
static const struct option_table api_table = {
    "adit api", "ADIT_CLI_",
    "adit api METHOD PATH [JSON|-] does any operation of the REST API (adit api GET /users) and\n"
    "prints the answer; - takes the body from standard input. Exit code: 0 for 2xx, else 1.",
    rows, ARRAY_LEN(rows),
};

enum { BODY_MAX = 1024 * 1024 };

/* The body: the word itself, or standard input for "-". */
static int read_body(const char *word, struct buf *body)
{
    char piece[65536];
    size_t n;

    if (strcmp(word, "-") != 0) {
        buf_put_str(body, word);
        return buf_error(body);
    }
    while ((n = fread(piece, 1, sizeof(piece), stdin)) > 0)
        buf_put(body, piece, n);
    return ferror(stdin) ? -EIO : buf_error(body);
}

/* Does the call and tells what went wrong; true with a 2xx answer. */
static bool ask(struct session *s, const char *method, const char *path, struct span body,
                struct api_answer *answer)
{
    char full[1024], mem[1024];
    struct buf error;

    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    if ((size_t)snprintf(full, sizeof(full), "%s%s%s", strncmp(path, "/api/", 5) == 0 ? "" : "/api/v1",
                         path[0] == '/' ? "" : "/", path) >= sizeof(full)) {
        command_complain("the path is longer than %zu bytes", sizeof(full) - 10);
        return false;
    }
    if (api_call(s->api, method, full, body, answer, &error)) {
        command_complain("%s", buf_text(&error));
        return false;
    }
    if (api_is_ok(answer))
        return true;
    api_problem(answer, &error);
    command_complain("%s %s: %s", method, full, buf_text(&error));
    return false;
}

static int request(const struct request_config *config, const struct command_words *words)
{
    AUTO(session_close) struct session session = { 0 };
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    AUTO(buf_deinit) struct buf body = { 0 };
    bool ok;

    buf_init_heap(&body, BODY_MAX);
    if (words->count < 2 || words->count > 3) {
        command_complain("usage: adit api METHOD PATH [JSON|-]");
        return EXIT_CANNOT;
    }
    if (words->count == 3 && read_body(words->items[2], &body)) {
        command_complain("the body cannot be read, or is longer than 1 MiB");
        return EXIT_CANNOT;
    }
    if (!session_open(&session, SESSION_OF(config)))
        return EXIT_CANNOT;
    ok = ask(&session, words->items[0], words->items[1], buf_span(&body), &answer);
    if (answer.body)
        session_print_json(answer.body);
    return ok ? EXIT_OK : EXIT_NOT;
}

int request_command(int argc, char **argv)
{
    struct request_config config = { 0 };
    struct command_words words;
    int code;

    if (command_load(&api_table, argc, argv, &config, &words, &code))
        code = request(&config, &words);
    option_free(&api_table, &config);
    return code;
}
