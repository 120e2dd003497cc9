#include "cli/session.h"

#include <stdio.h>
#include <string.h>

void session_locate(struct session *s, const struct session_options *options)
{
    s->has_place = place_open(options->var, 0, false, &s->place) == 0;
    s->is_running = s->has_place && place_is_running(&s->place, &s->pid);
}

static const char *or_in_place(struct session *s, const char *given, const char *name,
                               struct place_text *mem)
{
    if (given[0] || !s->has_place)
        return given;
    *mem = place_path(&s->place, name);
    return mem->text;
}

static int connect_api(struct session *s, const struct session_options *options, const char *url,
                       bool is_anonymous)
{
    struct place_text ca_mem, token_mem;
    const char *ca = or_in_place(s, options->ca_file, "ca.pem", &ca_mem);
    const char *file = or_in_place(s, options->token_file, "credentials", &token_mem);
    char token[512];
    struct buf text;
    int r;

    if (is_anonymous)
        return api_new(url, ca[0] ? ca : NULL, NULL, &s->api);
    buf_init_fixed(&text, token, sizeof(token) - 1);
    r = api_token_read(file, &text);
    if (r)
        command_complain("no API token in \"%s\" (%s); name one with --token-file", file, strerror(-r));
    else
        r = api_new(url, ca[0] ? ca : NULL, buf_text(&text), &s->api);
    explicit_bzero(token, sizeof(token));
    return r;
}

static bool open_session(struct session *s, const struct session_options *options, bool is_anonymous)
{
    char url[64];

    session_locate(s, options);
    if (options->api[0])
        return connect_api(s, options, options->api, is_anonymous) == 0;
    if (!s->has_place) {
        command_complain("no state directory %s: start one with adit up, or name a control plane "
                         "with --api", options->var);
        return false;
    }
    snprintf(url, sizeof(url), "https://127.0.0.1:%u", place_port(&s->place, PORT_API));
    return connect_api(s, options, url, is_anonymous) == 0;
}

bool session_open(struct session *s, const struct session_options *options)
{
    return open_session(s, options, false);
}

bool session_open_anonymous(struct session *s, const struct session_options *options)
{
    return open_session(s, options, true);
}

bool session_get(struct session *s, const char *path, struct api_answer *ret_answer)
{
    struct api_answer answer = { 0 };
    char mem[1024];
    struct buf error;

    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    if (api_call(s->api, "GET", path, SPAN_NONE, &answer, &error) == 0) {
        if (api_is_ok(&answer) && answer.body) {
            *ret_answer = answer;
            return true;
        }
        buf_put_str(&error, "the control plane answers ");
        api_problem(&answer, &error);
        api_answer_deinit(&answer);
    } else if (s->has_place && !s->is_running) {
        buf_put_str(&error, "; adit up does not run here");
    }
    command_complain("%s", buf_text(&error));
    return false;
}

void session_close(struct session *s)
{
    if (s->api)
        api_free(s->api);
    s->api = NULL;
}

void session_print_json(const struct json_value *value)
{
    struct buf text;

    buf_init_heap(&text, 8 * 1024 * 1024);
    json_print(value, &text);
    puts(buf_text(&text));
    buf_deinit(&text);
}
