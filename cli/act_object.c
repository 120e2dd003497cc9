/* show, create, edit, delete, members, cut: what is done to one object after the other. */
#include "cli/act.h"
#include "cli/fields.h"
#include "cli/problem.h"
#include "cli/rest.h"
#include "cli/secret.h"
#include "cli/show.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define BODY_MAX ((size_t)1 << 20)

static void path_of(const struct ask *ask, const char *name, struct rest_path *path)
{
    rest_path_init(path, resource_plural(ask->resource));
    rest_path_add(path, name);
}

/* Does it to each word; the first exit code that is not 0. */
static int each(struct ask *ask, size_t from, int (*one)(struct ask *ask, const char *word))
{
    int code = EXIT_OK;

    for (size_t i = from; i < ask->word_count; i++) {
        int r = one(ask, ask->words[i]);

        code = code ? code : r;
        if (r == EXIT_CANNOT)
            break;
    }
    return code;
}

static struct span member_text(const struct json_value *object, const char *key)
{
    struct span text = SPAN_NONE;

    if (object)
        json_get_str(object, key, &text);
    return text;
}

/* ---- what came of it ---- */
static void print_deleted(const struct json_value *body)
{
    const struct json_value *list = json_get(body, "deleted");

    for (size_t i = 0; list && i < json_count(list); i++)
        printf("  " SPAN_FMT " " SPAN_FMT "\n", SPAN_ARG(member_text(json_at(list, i), "kind")),
               SPAN_ARG(member_text(json_at(list, i), "name")));
}

/* "user alice changed"; "user alice would be changed". */
static void print_outcome(const struct ask *ask, const char *name, const char *done,
                          const struct api_answer *answer)
{
    bool is_dry = ask_has(ask, FLAG_DRY_RUN);

    printf("%s %s %s%s\n", ask->resource->word, name, is_dry ? "would be " : "", done);
    if (is_dry && answer->body)
        print_deleted(answer->body);
}

static int print_written(const struct ask *ask, const char *name, const char *done,
                         const struct api_answer *answer)
{
    struct span id = member_text(answer->body, "id");

    if (ask->output == OUTPUT_JSON && answer->body)
        session_print_json(answer->body);
    else if (ask->output == OUTPUT_ID && id.n)
        printf(SPAN_FMT "\n", SPAN_ARG(id));
    else if (ask->output == OUTPUT_ETAG && answer->etag[0])
        printf("%s\n", answer->etag);
    else if (ask->output == OUTPUT_TABLE)
        print_outcome(ask, name, done, answer);
    return rest_done(answer);
}

/* ---- show ---- */
static bool get(struct ask *ask, const char *name, struct api_answer *ret_answer, int *ret_code)
{
    struct rest_path path;

    path_of(ask, name, &path);
    if (ask->verb == VERB_SHOW && ask->output == OUTPUT_TABLE && resource_kind(ask->resource))
        rest_path_query(&path, "names", "true");
    *ret_code = EXIT_CANNOT;
    if (!rest_send(ask, &(struct api_request){ .method = "GET", .path = buf_text(&path.text) }, ret_answer))
        return false;
    if (api_is_ok(ret_answer) && ret_answer->body)
        return true;
    *ret_code = problem_show(&ask->flags, ask->resource->word, name, ret_answer);
    return false;
}

static int show_one(struct ask *ask, const char *name)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    int code;

    if (!get(ask, name, &answer, &code))
        return code;
    if (ask->output != OUTPUT_TABLE)
        return print_written(ask, name, "", &answer);
    if (name != ask->words[0])
        putchar('\n');
    show_object(answer.body, NULL);
    if (answer.etag[0])
        printf("%-20s %s\n", "etag", answer.etag);
    return EXIT_OK;
}

int act_show(struct ask *ask)
{
    return each(ask, 0, show_one);
}

/* ---- create ---- */
/* The object without its secret, which is elsewhere. */
static void print_without(const struct json_value *body, const char *hidden, const char *file)
{
    AUTO(buf_deinit) struct buf text;
    struct json_writer w;

    buf_init_heap(&text, 4 * BODY_MAX);
    json_begin(&w, &text);
    json_open_object(&w, NULL);
    for (size_t i = 0; i < json_count(body); i++) {
        struct span key;
        const struct json_value *value = json_member(body, i, &key);
        char name[64];

        if (!span_eq(key, span_str(hidden)) && span_copy(key, name, sizeof(name)))
            json_put_value(&w, name, value);
    }
    json_put_text(&w, "secret_file", file);
    json_close_object(&w);
    puts(buf_text(&text));
}

static void print_made_text(const struct ask *ask, const struct secret_sink *sink,
                            const struct json_value *body, const char *secret, struct span value)
{
    struct span name = member_text(body, "name"), id = member_text(body, "id");
    FILE *out = sink->to == SECRET_STDOUT ? stderr : stdout;

    fprintf(out, "%s " SPAN_FMT " %s", ask->resource->word, SPAN_ARG(name),
            ask->verb == VERB_ROTATE ? "has another secret" : "made");
    if (!span_eq_nocase(name, id))
        fprintf(out, " (" SPAN_FMT ")", SPAN_ARG(id));
    fputc('\n', out);
    if (sink->to == SECRET_FILE)
        fprintf(out, "its %s is in %s, and nowhere else\n", secret, sink->path);
    else if (sink->to == SECRET_STDOUT)
        printf(SPAN_FMT "\n", SPAN_ARG(value));
    else if (value.n)
        fprintf(out, "its %s, shown this once: " SPAN_FMT "\n", secret, SPAN_ARG(value));
}

static int print_made(const struct ask *ask, struct secret_sink *sink, const struct api_answer *answer)
{
    const char *secret = resource_kind(ask->resource)->secret;
    struct span value = secret ? member_text(answer->body, secret) : SPAN_NONE;

    if (value.n && !secret_sink_put(sink, value))
        return EXIT_NOT;
    if (ask_has(ask, FLAG_DRY_RUN))
        return print_written(ask, ask->word_count ? ask->words[0] : "", "made", answer);
    if (ask->output == OUTPUT_JSON && sink->to == SECRET_FILE)
        print_without(answer->body, secret, sink->path);
    else if (ask->output != OUTPUT_TABLE)
        return print_written(ask, "", "made", answer);
    else
        print_made_text(ask, sink, answer->body, secret, value);
    return rest_done(answer);
}

/* Where the secret will go is settled before there is one. */
static bool open_sink(const struct ask *ask, struct secret_sink *sink)
{
    const struct kind *kind = resource_kind(ask->resource);
    const char *file = ask_value(ask, FLAG_SECRET_FILE);

    if (!kind || !kind->secret || ask_has(ask, FLAG_DRY_RUN))
        return true;
    if (!file && (ask->output == OUTPUT_ID || ask->output == OUTPUT_ETAG)) {
        command_complain("its %s would be lost: name a file for it with --secret-file", kind->secret);
        return false;
    }
    return secret_sink_open(file, sink);
}

static bool read_password(const struct ask *ask, char password[SECRET_TEXT_MAX], const char **ret_password)
{
    const char *file = ask_value(ask, FLAG_PASSWORD_FILE);

    *ret_password = NULL;
    if (!file && !ask_has(ask, FLAG_PASSWORD))
        return true;
    *ret_password = password;
    return secret_read_password(file, password);
}

/* The body by the flags; `before` as in fields.h. */
static bool make_body(const struct ask *ask, const struct json_value *before, struct buf *body)
{
    char password[SECRET_TEXT_MAX] = "";
    const char *given;
    bool ok = read_password(ask, password, &given) && fields_write(ask, before, given, time(NULL), body);

    explicit_bzero(password, sizeof(password));
    return ok;
}

static void wipe(struct buf *body)
{
    if (body->len)
        explicit_bzero(body->data, body->len);
    buf_deinit(body);
}

static int create(struct ask *ask, struct secret_sink *sink)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    AUTO(wipe) struct buf body = { 0 };
    struct rest_path path;

    buf_init_heap(&body, BODY_MAX);
    if (!make_body(ask, NULL, &body) || !open_sink(ask, sink))
        return EXIT_CANNOT;
    rest_path_init(&path, resource_plural(ask->resource));
    rest_path_modes(&path, ask);
    if (!rest_send(ask, &(struct api_request){ .method = "POST", .path = buf_text(&path.text),
                                               .body = buf_span(&body) }, &answer))
        return EXIT_CANNOT;
    if (!api_is_ok(&answer) || !answer.body)
        return problem_show(&ask->flags, ask->resource->word, ask->word_count ? ask->words[0] : NULL, &answer);
    return print_made(ask, sink, &answer);
}

int act_create(struct ask *ask)
{
    AUTO(secret_sink_close) struct secret_sink sink = { .fd = -1 };

    return create(ask, &sink);
}

/* ---- rotate ---- */
static int rotate(struct ask *ask, struct secret_sink *sink)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    const char *overlap = ask_value(ask, FLAG_OVERLAP);
    struct rest_path path;
    char body[64] = "{}";
    uint64_t overlap_s;

    if (overlap && !span_to_u64(span_str(overlap), INT32_MAX, &overlap_s)) {
        command_complain("--overlap takes seconds");
        return EXIT_CANNOT;
    }
    if (overlap)
        snprintf(body, sizeof(body), "{\"overlap_s\":%llu}", (unsigned long long)overlap_s);
    if (!open_sink(ask, sink))
        return EXIT_CANNOT;
    path_of(ask, ask->words[0], &path);
    buf_put_str(&path.text, "/rotate");
    rest_path_modes(&path, ask);
    if (!rest_send(ask, &(struct api_request){ .method = "POST", .path = buf_text(&path.text),
                                               .body = span_str(body) }, &answer))
        return EXIT_CANNOT;
    if (!api_is_ok(&answer) || !answer.body)
        return problem_show(&ask->flags, ask->resource->word, ask->words[0], &answer);
    if (!resource_kind(ask->resource))
        return print_written(ask, ask->words[0], "rotated", &answer);
    return print_made(ask, sink, &answer);
}

int act_rotate(struct ask *ask)
{
    AUTO(secret_sink_close) struct secret_sink sink = { .fd = -1 };

    return rotate(ask, &sink);
}

/* ---- edit ---- */
static int patch(struct ask *ask, const char *name, const char *etag, struct span body)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    struct rest_path path;

    path_of(ask, name, &path);
    rest_path_modes(&path, ask);
    if (!rest_send(ask, &(struct api_request){ .method = "PATCH", .path = buf_text(&path.text),
                                               .body = body, .if_match = etag }, &answer))
        return EXIT_CANNOT;
    if (!api_is_ok(&answer))
        return problem_show(&ask->flags, ask->resource->word, name, &answer);
    return print_written(ask, name, "changed", &answer);
}

int act_edit(struct ask *ask)
{
    AUTO(api_answer_deinit) struct api_answer before = { 0 };
    AUTO(wipe) struct buf body = { 0 };
    const char *etag = ask_value(ask, FLAG_IF_MATCH);
    int code;

    buf_init_heap(&body, BODY_MAX);
    if ((!etag || fields_need_before(ask)) && !get(ask, ask->words[0], &before, &code))
        return code;
    if (!make_body(ask, before.body, &body))
        return EXIT_CANNOT;
    if (span_eq(buf_span(&body), SPAN("{}"))) {
        command_complain("nothing to change was said; see: adit %s edit --help", ask->resource->word);
        return EXIT_CANNOT;
    }
    return patch(ask, ask->words[0], etag ? etag : before.etag, buf_span(&body));
}

/* ---- delete ---- */
static int delete_one(struct ask *ask, const char *name)
{
    AUTO(api_answer_deinit) struct api_answer before = { 0 }, answer = { 0 };
    const char *etag = ask_value(ask, FLAG_IF_MATCH);
    struct rest_path path;
    int code;

    if (!etag && !get(ask, name, &before, &code))
        return code;
    path_of(ask, name, &path);
    if (ask_has(ask, FLAG_CASCADE))
        rest_path_query(&path, "cascade", "true");
    rest_path_modes(&path, ask);
    if (!rest_send(ask, &(struct api_request){ .method = "DELETE", .path = buf_text(&path.text),
                                               .if_match = etag ? etag : before.etag }, &answer))
        return EXIT_CANNOT;
    if (!api_is_ok(&answer))
        return problem_show(&ask->flags, ask->resource->word, name, &answer);
    return print_written(ask, name, "deleted", &answer);
}

int act_delete(struct ask *ask)
{
    return each(ask, 0, delete_one);
}

/* ---- members, streams ---- */
static int member_call(struct ask *ask, const char *member, const char *method, struct span body,
                       const char *done)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    struct rest_path path;

    path_of(ask, ask->words[0], &path);
    buf_put_str(&path.text, "/members");
    rest_path_add(&path, member);
    rest_path_modes(&path, ask);
    if (!rest_send(ask, &(struct api_request){ .method = method, .path = buf_text(&path.text), .body = body },
                   &answer))
        return EXIT_CANNOT;
    if (!api_is_ok(&answer))
        return problem_show(&ask->flags, ask->resource->word, member, &answer);
    if (ask->output != OUTPUT_TABLE)
        return print_written(ask, member, done, &answer);
    printf("%s %s: %s %s%s\n", ask->resource->word, ask->words[0], member,
           ask_has(ask, FLAG_DRY_RUN) ? "would be " : "", done);
    return rest_done(&answer);
}

static int add_one(struct ask *ask, const char *member)
{
    AUTO(buf_deinit) struct buf body;

    buf_init_heap(&body, BODY_MAX);
    if (!fields_write(ask, NULL, NULL, time(NULL), &body))
        return EXIT_CANNOT;
    return member_call(ask, member, "PUT", buf_span(&body), "added");
}

static int remove_one(struct ask *ask, const char *member)
{
    return member_call(ask, member, "DELETE", SPAN_NONE, "removed");
}

int act_add_member(struct ask *ask)
{
    return each(ask, 1, add_one);
}

int act_remove_member(struct ask *ask)
{
    return each(ask, 1, remove_one);
}

static int end_one(struct ask *ask, const char *id, const char *done)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    struct rest_path path;

    path_of(ask, id, &path);
    rest_path_modes(&path, ask);
    if (!rest_send(ask, &(struct api_request){ .method = "DELETE", .path = buf_text(&path.text) }, &answer))
        return EXIT_CANNOT;
    if (!api_is_ok(&answer))
        return problem_show(&ask->flags, ask->resource->word, id, &answer);
    return print_written(ask, id, done, &answer);
}

static int cut_one(struct ask *ask, const char *id)
{
    return end_one(ask, id, "cut");
}

static int reset_one(struct ask *ask, const char *id)
{
    return end_one(ask, id, "reset");
}

int act_reset(struct ask *ask)
{
    return each(ask, 0, reset_one);
}

/* ---- cut by filter: so many as somebody saw ---- */
static int64_t count_of(const struct api_answer *answer)
{
    int64_t count = 0;

    json_get_int(answer->body, "count", &count);
    return count;
}

static int print_cut(const struct ask *ask, const struct api_answer *answer, bool is_dry)
{
    long long count = (long long)count_of(answer);

    if (ask->output == OUTPUT_JSON)
        session_print_json(answer->body);
    else if (!is_dry)
        printf("%lld streams cut\n", count);
    else
        printf("%lld streams would be cut; to cut them: --expect %lld\n", count, count);
    return is_dry && !ask_has(ask, FLAG_DRY_RUN) ? EXIT_NOT : rest_done(answer);
}

static int cut_found(struct ask *ask)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    const char *expect = ask_value(ask, FLAG_EXPECT);
    bool is_dry = !expect || ask_has(ask, FLAG_DRY_RUN);
    struct rest_path path;

    rest_path_init(&path, "streams/cut");
    for (size_t i = 0; i < ask->given_count; i++) {
        if (ask->given[i].flag->id == FLAG_FILTER)
            rest_path_query(&path, ask->given[i].flag->key, ask->given[i].value);
    }
    if (expect)
        rest_path_query(&path, "expected", expect);
    if (is_dry)
        rest_path_query(&path, "dry_run", "true");
    else
        rest_path_modes(&path, ask);
    if (!rest_send(ask, &(struct api_request){ .method = "POST", .path = buf_text(&path.text) }, &answer))
        return EXIT_CANNOT;
    if (!api_is_ok(&answer) || !answer.body)
        return problem_show(&ask->flags, ask->resource->word, NULL, &answer);
    return print_cut(ask, &answer, is_dry);
}

static bool has_filter(const struct ask *ask)
{
    for (size_t i = 0; i < ask->given_count; i++) {
        if (ask->given[i].flag->id == FLAG_FILTER)
            return true;
    }
    return false;
}

int act_cut(struct ask *ask)
{
    if (ask->word_count && (has_filter(ask) || ask_has(ask, FLAG_EXPECT) || ask_has(ask, FLAG_DRY_RUN))) {
        command_complain("either ids, or filters with --expect");
        return EXIT_CANNOT;
    }
    if (!ask->word_count && !has_filter(ask)) {
        command_complain("name streams, or a filter: adit stream cut --help");
        return EXIT_CANNOT;
    }
    return ask->word_count ? each(ask, 0, cut_one) : cut_found(ask);
}
