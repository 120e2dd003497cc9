#include "cli/declare.h"
#include "cli/command.h"
#include "cli/problem.h"
#include "cli/terminal.h"

#include <stdio.h>
#include <string.h>

/* ---- asking ---- */
void declare_put_query(struct buf *path, const char *name, const char *value)
{
    buf_printf(path, "%c%s=", strchr(buf_text(path), '?') ? '&' : '?', name);
    api_escape(span_str(value), path);
}

static void put_flag(struct buf *path, const char *name, bool is_set)
{
    if (is_set)
        declare_put_query(path, name, "true");
}

static void make_path(const struct declare_modes *modes, int64_t revision, bool is_dry, struct buf *path)
{
    char number[32];

    buf_put_str(path, "/api/v1/config");
    declare_put_query(path, "owner", modes->owner);
    put_flag(path, "prune", modes->prune);
    put_flag(path, "take_over", modes->take_over);
    put_flag(path, "cascade", modes->cascade);
    put_flag(path, "dry_run", is_dry);
    snprintf(number, sizeof(number), "%lld", (long long)modes->max_deletes);
    declare_put_query(path, "max_deletes", number);
    if (modes->wait && !is_dry)
        declare_put_query(path, "wait", "applied");
    snprintf(number, sizeof(number), "%lld", (long long)revision);
    if (revision > 0)
        declare_put_query(path, "revision", number);
}

int declare_put(struct session *s, const struct declare_modes *modes, struct span document,
               int64_t revision, bool is_dry, struct api_answer *answer)
{
    char mem[1024], text[1024];
    struct buf path, error;

    buf_init_fixed(&path, mem, sizeof(mem) - 1);
    buf_init_fixed(&error, text, sizeof(text) - 1);
    make_path(modes, revision, is_dry, &path);
    if (buf_error(&path)) {
        command_complain("the owner is too long");
        return EXIT_CANNOT;
    }
    if (api_send(s->api, &(struct api_request){ .method = "PUT", .path = buf_text(&path), .body = document,
                                                .timeout_ms = DECLARE_CALL_MS }, answer, &error)) {
        command_complain("%s", buf_text(&error));
        return EXIT_CANNOT;
    }
    if (api_is_ok(answer) && answer->body)
        return EXIT_OK;
    return problem_show(NULL, "config", NULL, answer);
}

/* ---- what it changes ---- */
void declare_print_value(const struct json_value *value)
{
    AUTO(buf_deinit) struct buf text;

    buf_init_heap(&text, DECLARE_MAX);
    json_print(value, &text);
    fputs(buf_text(&text), stdout);
}

static struct span text_of(const struct json_value *object, const char *key)
{
    struct span text = SPAN_NONE;

    json_get_str(object, key, &text);
    return text;
}

static void print_value(const struct json_value *value)
{
    if (!value || json_kind_of(value) == JSON_IS_NULL)
        putchar('-');
    else
        declare_print_value(value);
}

static void print_change(const struct json_value *change)
{
    struct span action = text_of(change, "action"), member = text_of(change, "member");
    const struct json_value *fields = json_get(change, "fields");
    bool is_gone = span_eq(action, SPAN("delete")) || span_eq(action, SPAN("remove-member"));
    bool is_new = span_eq(action, SPAN("create")) || span_eq(action, SPAN("add-member"));

    printf("%s%c " SPAN_FMT " " SPAN_FMT, terminal_colour(is_gone ? TERMINAL_BAD : is_new ? TERMINAL_GOOD : TERMINAL_PLAIN),
           is_gone ? '-' : is_new ? '+' : '~', SPAN_ARG(text_of(change, "kind")), SPAN_ARG(text_of(change, "name")));
    if (member.n)
        printf(": member " SPAN_FMT, SPAN_ARG(member));
    printf("%s\n", terminal_colour(TERMINAL_PLAIN));
    for (size_t i = 0; fields && i < json_count(fields); i++) {
        const struct json_value *field = json_at(fields, i);

        printf("    " SPAN_FMT ": ", SPAN_ARG(text_of(field, "field")));
        print_value(json_get(field, "before"));
        fputs(" -> ", stdout);
        print_value(json_get(field, "after"));
        putchar('\n');
    }
}

int64_t declare_number(const struct json_value *object, const char *key)
{
    int64_t value = 0;

    json_get_int(object, key, &value);
    return value;
}

/* Whether there is any. */
bool declare_print(const struct json_value *result)
{
    const struct json_value *changes = json_get(result, "changes");
    int64_t left_out = declare_number(result, "changes_left_out");

    for (size_t i = 0; changes && i < json_count(changes); i++)
        print_change(json_at(changes, i));
    if (left_out)
        printf("… and %lld more\n", (long long)left_out);
    printf("%lld to make, %lld to change (%lld to take over), %lld to delete, %lld memberships; %lld as they are\n",
           (long long)declare_number(result, "created"), (long long)declare_number(result, "updated"),
           (long long)declare_number(result, "taken_over"), (long long)declare_number(result, "deleted"),
           (long long)declare_number(result, "members"), (long long)declare_number(result, "unchanged"));
    return changes && json_count(changes) > 0;
}

bool declare_has_changes(const struct json_value *result)
{
    const struct json_value *changes = json_get(result, "changes");

    return changes && json_count(changes) > 0;
}

