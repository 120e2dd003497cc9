/* list, members, export, verify: what is read in pages. */
#include "cli/act.h"
#include "cli/problem.h"
#include "cli/rest.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { VERIFY_MS = 600000 };

#define CURSOR_MAX 1100

struct listing {
    struct ask *ask;
    struct show_table table;
    char columns[512];
    char cursor[CURSOR_MAX];    /* of the next page; "": none */
    bool is_json_open;
    size_t rows;
};

static const char *columns_of(struct listing *l)
{
    const struct kind *kind = resource_kind(l->ask->resource);
    const char *given = ask_value(l->ask, FLAG_COLUMNS);
    struct buf out;

    if (given)
        return given;
    if (l->ask->verb != VERB_MEMBERS)
        return l->ask->resource->columns;
    buf_init_fixed(&out, l->columns, sizeof(l->columns) - 1);
    buf_put_str(&out, kind->member_kind_count > 1 ? "name kind" : "name");
    for (size_t i = 0; i < kind->member_field_count; i++)
        buf_printf(&out, " %s", kind->member_fields[i].name);
    buf_put_str(&out, " added_at");
    return buf_text(&out);
}

static void add_given(struct rest_path *path, const struct ask *ask)
{
    for (size_t i = 0; i < ask->given_count; i++) {
        const struct flag *flag = ask->given[i].flag;
        const char *value = ask->given[i].value;
        char time_text[32];

        if (flag->id != FLAG_QUERY && flag->id != FLAG_FILTER && flag->id != FLAG_FILTER_NOT)
            continue;
        if (strcmp(flag->key, "cursor") == 0)
            continue;
        if (strncmp(flag->key, "created_", 8) == 0)
            value = ask_time(value, time(NULL), time_text, sizeof(time_text));
        rest_path_query(path, flag->key, value ? value : "true");
    }
}

static void make_path(struct listing *l, const char *page_size, struct rest_path *path)
{
    const struct ask *ask = l->ask;

    rest_path_init(path, resource_plural(ask->resource));
    if (ask->verb == VERB_MEMBERS) {
        rest_path_add(path, ask->words[0]);
        buf_put_str(&path->text, "/members");
    }
    add_given(path, ask);
    if (ask->verb == VERB_LIST && ask->output == OUTPUT_TABLE && resource_kind(ask->resource))
        rest_path_query(path, "names", "true");
    if (page_size)
        rest_path_query(path, "limit", page_size);
    if (l->cursor[0])
        rest_path_query(path, "cursor", l->cursor);
}

static bool is_limit_given(const struct ask *ask)
{
    for (size_t i = 0; i < ask->given_count; i++) {
        if (strcmp(ask->given[i].flag->key, "limit") == 0)
            return true;
    }
    return false;
}

/* The next page; its cursor stays in `l`. */
static int next_page(struct listing *l, struct api_answer *ret_answer)
{
    bool is_all = l->ask->verb == VERB_EXPORT || ask_has(l->ask, FLAG_ALL);
    struct span cursor = SPAN_NONE;
    struct rest_path path;

    make_path(l, is_all && !is_limit_given(l->ask) ? "500" : NULL, &path);
    if (!rest_send(l->ask, &(struct api_request){ .method = "GET", .path = buf_text(&path.text) }, ret_answer))
        return EXIT_CANNOT;
    if (!api_is_ok(ret_answer) || !ret_answer->body || !json_get(ret_answer->body, "items"))
        return problem_show(&l->ask->flags, l->ask->resource->word, l->ask->word_count ? l->ask->words[0] : NULL, ret_answer);
    json_get_str(ret_answer->body, "next_cursor", &cursor);
    if (!span_copy(cursor, l->cursor, sizeof(l->cursor)))
        l->cursor[0] = '\0';
    return EXIT_OK;
}

/* ---- what a page is printed as ---- */
static void print_value(const struct json_value *value)
{
    AUTO(buf_deinit) struct buf text;

    buf_init_heap(&text, (size_t)64 << 20);
    json_print(value, &text);
    fputs(buf_text(&text), stdout);
}

static void print_json_items(struct listing *l, const struct json_value *items)
{
    if (!l->is_json_open)
        fputs("{\"items\":[", stdout);
    l->is_json_open = true;
    for (size_t i = 0; i < json_count(items); i++) {
        if (l->rows + i)
            putchar(',');
        print_value(json_at(items, i));
    }
}

static void print_lines(const struct json_value *items, const char *key)
{
    for (size_t i = 0; i < json_count(items); i++) {
        struct span id;

        if (!key) {
            print_value(json_at(items, i));
            putchar('\n');
        } else if (json_get_str(json_at(items, i), key, &id)) {
            printf(SPAN_FMT "\n", SPAN_ARG(id));
        }
    }
}

static void print_page(struct listing *l, const struct json_value *body)
{
    const struct json_value *items = json_get(body, "items");

    if (l->ask->verb == VERB_EXPORT)
        print_lines(items, NULL);
    else if (l->ask->output == OUTPUT_ID)
        print_lines(items, "id");
    else if (l->ask->output == OUTPUT_TABLE)
        show_table_page(&l->table, items);
    else if (ask_has(l->ask, FLAG_ALL))
        print_json_items(l, items);
    else {
        print_value(body);
        putchar('\n');
    }
    l->rows += json_count(items);
}

static void print_end(const struct listing *l, const struct api_answer *answer)
{
    int64_t count;

    if (l->is_json_open)
        fputs("]}\n", stdout);
    if (l->ask->output != OUTPUT_TABLE || l->ask->verb == VERB_EXPORT)
        return;
    fflush(stdout);
    if (json_get_int(answer->body, "count", &count))
        fprintf(stderr, "%lld in all\n", (long long)count);
    if (l->cursor[0])
        fprintf(stderr, "There are more: --all, or --cursor %s\n", l->cursor);
    else if (!l->rows)
        fprintf(stderr, "none\n");
}

static int walk(struct ask *ask)
{
    struct listing *l = &(struct listing){ .ask = ask };
    const char *cursor = NULL;
    bool is_all = ask->verb == VERB_EXPORT || ask_has(ask, FLAG_ALL);

    for (size_t i = 0; i < ask->given_count; i++) {
        if (strcmp(ask->given[i].flag->key, "cursor") == 0)
            cursor = ask->given[i].value;
    }
    if (cursor && !span_copy(span_str(cursor), l->cursor, sizeof(l->cursor))) {
        command_complain("--cursor: that is no cursor");
        return EXIT_CANNOT;
    }
    show_table_init(&l->table, columns_of(l));
    for (;;) {
        AUTO(api_answer_deinit) struct api_answer answer = { 0 };
        int code = next_page(l, &answer);

        if (code)
            return code;
        print_page(l, answer.body);
        if (is_all && l->cursor[0] && !ferror(stdout))
            continue;
        print_end(l, &answer);
        return ferror(stdout) ? EXIT_NOT : EXIT_OK;
    }
}

int act_list(struct ask *ask)
{
    return walk(ask);
}

int act_export(struct ask *ask)
{
    return walk(ask);
}

static long long int_of(const struct json_value *body, const char *key)
{
    int64_t n = 0;

    return json_get_int(body, key, &n) ? (long long)n : 0;
}

static void print_whole(const struct json_value *body)
{
    struct span at;

    printf("whole: %lld events in %lld chains, %lld checkpoints", int_of(body, "events"), int_of(body, "chains"),
           int_of(body, "checkpoints"));
    if (json_get_str(body, "last_checkpoint_at", &at))
        printf(" (the last at " SPAN_FMT ")", SPAN_ARG(at));
    if (int_of(body, "removed"))
        printf(", %lld older events removed", int_of(body, "removed"));
    putchar('\n');
}

static void print_finding(const struct json_value *body)
{
    struct span finding = SPAN("?"), detail = SPAN("?"), writer;

    json_get_str(body, "finding", &finding);
    json_get_str(body, "detail", &detail);
    if (json_get_str(body, "bad_writer", &writer))
        printf("broken: event %lld of " SPAN_FMT " is not what was written, or something before it is gone\n",
               int_of(body, "bad_seq"), SPAN_ARG(writer));
    else
        printf("broken: " SPAN_FMT " %lld: " SPAN_FMT "\n", SPAN_ARG(finding), int_of(body, "bad_checkpoint"),
               SPAN_ARG(detail));
}

int act_verify(struct ask *ask)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    struct api_request request = { .method = "GET", .path = "/api/v1/audit-events/verify",
                                   .timeout_ms = VERIFY_MS };
    bool is_whole = false;

    if (!rest_send(ask, &request, &answer))
        return EXIT_CANNOT;
    if (!api_is_ok(&answer) || !answer.body)
        return problem_show(&ask->flags, ask->resource->word, NULL, &answer);
    json_get_bool(answer.body, "whole", &is_whole);
    if (ask->output == OUTPUT_JSON)
        session_print_json(answer.body);
    else if (is_whole)
        print_whole(answer.body);
    else
        print_finding(answer.body);
    return is_whole ? EXIT_OK : EXIT_NOT;
}
