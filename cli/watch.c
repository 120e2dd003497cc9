/*
 * adit watch [TOPIC…]: what happens, as it happens.  Goes on by itself after an interruption.
 */
#include "cli/command.h"
#include "cli/session.h"
#include "cli/show.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

struct watch_config {
    SESSION_OPTIONS(OPTION_FIELD)
#define WATCH_OPTIONS(X)                                                                           \
    X(STR, ids, "", 0, 0, 0, "only of these objects: ids with commas between")                     \
    X(STR, after, "", 0, 0, 0, "go on behind this event id, as --output json gave it")             \
    X(INT, seconds, "-1", -1, 86400, 0, "end after so many; -1: go on")
    WATCH_OPTIONS(OPTION_FIELD)
};
#define ROW(...) OPTION_ROW_OF(struct watch_config, __VA_ARGS__)
static const struct option_row rows[] = { SESSION_OPTIONS(ROW) WATCH_OPTIONS(ROW) };
static const struct option_table table = {
    "adit watch", "ADIT_CLI_",
    "Shows what happens, a line each: changes, agents, relays, alarms, operations, or those of them\n"
    "that are named. --output json: one object a line. Exit code: 0 ended, 1 the token has ended, 2 not heard.",
    rows, ARRAY_LEN(rows),
};

enum { AGAIN_MS = 2000 };

struct watch {
    bool as_json, is_ended;
    char last[64];
    int code;
};

static struct span str_at(const struct json_value *object, const char *key)
{
    struct span value = SPAN("");

    if (object)
        json_get_str(object, key, &value);
    return value;
}

static bool is_plain(const char *key, struct span found)
{
    return !span_eq(span_str(key), found);
}

/* "14:02:11  changes  user alice changed revision=12" */
static void show_text(struct span name, const struct json_value *data)
{
    const struct json_value *detail = json_get(data, "detail");
    struct span at = str_at(data, "at"), called = str_at(detail, "name");

    if (!detail && !span_eq(name, SPAN("summary")))
        return;
    if (at.n >= 19)
        at = span_of(at.p + 11, 8);
    printf("%-8.*s  %-10.*s  " SPAN_FMT " " SPAN_FMT " " SPAN_FMT, SPAN_ARG(at), SPAN_ARG(name),
           SPAN_ARG(str_at(data, "kind")), SPAN_ARG(called.n ? called : str_at(data, "id")),
           SPAN_ARG(str_at(detail, "what")));
    for (size_t i = 0; i < json_count(detail ? detail : data); i++) {
        AUTO(buf_deinit) struct buf text;
        struct span key;
        const struct json_value *value = json_member(detail ? detail : data, i, &key);

        buf_init_heap(&text, 65536);
        show_value(value, &text);
        if (is_plain("what", key) && is_plain("name", key))
            printf(" " SPAN_FMT "=%s", SPAN_ARG(key), buf_text(&text));
    }
    putchar('\n');
}

static void show_json(struct span name, struct span id, struct span data)
{
    AUTO(buf_deinit) struct buf text;
    struct json_writer w;

    buf_init_heap(&text, (size_t)2 << 20);
    json_begin(&w, &text);
    json_open_object(&w, NULL);
    json_put_str(&w, "event", name);
    json_put_str(&w, "event_id", id);
    json_put_raw(&w, "data", data);
    json_close_object(&w);
    puts(buf_text(&text));
}

static int on_event(void *ctx, struct span name, struct span id, struct span text)
{
    struct watch *w = ctx;
    AUTO(json_value_freep) struct json_value *data = NULL;
    struct json_error error;

    if (json_parse(text, &data, &error))
        return 0;
    if (!span_copy(id, w->last, sizeof(w->last)))
        w->last[0] = '\0';
    if (span_eq(name, SPAN("end"))) {
        struct span reason = str_at(data, "reason");

        w->is_ended = span_eq(reason, SPAN("ok")) || span_eq(reason, SPAN("unauthenticated"));
        w->code = span_eq(reason, SPAN("ok")) ? EXIT_OK : EXIT_NOT;
    }
    if (w->as_json)
        show_json(name, id, text);
    else
        show_text(name, data);
    return fflush(stdout) ? -1 : 0;
}

static bool make_path(const struct watch_config *config, const struct command_words *words, struct buf *path)
{
    buf_put_str(path, "/api/v1/events");
    for (size_t i = 0; i < words->count; i++) {
        buf_put_str(path, i ? "," : "?topics=");
        api_escape(span_str(words->items[i]), path);
    }
    if (config->ids[0]) {
        buf_put_str(path, words->count ? "&ids=" : "?ids=");
        buf_put_str(path, config->ids);
    }
    if (config->seconds >= 0)
        buf_printf(path, "%cseconds=%lld", words->count || config->ids[0] ? '&' : '?', (long long)config->seconds);
    return !buf_error(path);
}

/* False: it is over. */
static bool listen_once(struct session *s, const char *path, struct watch *w)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    char mem[1024];
    struct buf error;

    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    if (api_listen(s->api, path, w->last, on_event, w, &answer, &error)) {
        command_complain("%s", buf_text(&error));
        return w->last[0] != '\0';             /* it was heard before: again */
    }
    if (!api_is_ok(&answer)) {
        buf_put_str(&error, "the control plane answers ");
        api_problem(&answer, &error);
        command_complain("%s", buf_text(&error));
        return answer.status >= 500 && w->last[0];
    }
    return !w->is_ended && !ferror(stdout);
}

static int watch(const struct watch_config *config, const struct command_words *words)
{
    AUTO(session_close) struct session session = { 0 };
    struct watch w = { .as_json = strcmp(config->output, "json") == 0, .code = EXIT_CANNOT };
    char mem[4096];
    struct buf path;

    buf_init_fixed(&path, mem, sizeof(mem) - 1);
    if (!make_path(config, words, &path) || !span_copy(span_str(config->after), w.last, sizeof(w.last))) {
        command_complain("too many ids, or no event id");
        return EXIT_CANNOT;
    }
    if (!session_open(&session, SESSION_OF(config)))
        return EXIT_CANNOT;
    while (listen_once(&session, buf_text(&path), &w) && config->seconds < 0)
        poll(NULL, 0, AGAIN_MS);
    return w.code;
}

int watch_command(int argc, char **argv)
{
    struct watch_config config = { 0 };
    struct command_words words;
    int code;

    if (command_load(&table, argc, argv, &config, &words, &code))
        code = watch(&config, &words);
    option_free(&table, &config);
    return code;
}
