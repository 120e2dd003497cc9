#include "cli/rest.h"

#include <string.h>

enum { CALL_MS = 30000, WAIT_MS = 45000 };

void rest_path_init(struct rest_path *path, const char *plural)
{
    path->has_query = false;
    buf_init_fixed(&path->text, path->mem, REST_PATH_MAX);
    buf_printf(&path->text, "/api/v1/%s", plural);
}

void rest_path_add(struct rest_path *path, const char *segment)
{
    buf_put_str(&path->text, "/");
    api_escape(span_str(segment), &path->text);
}

void rest_path_query(struct rest_path *path, const char *key, const char *value)
{
    buf_printf(&path->text, "%c%s=", path->has_query ? '&' : '?', key);
    api_escape(span_str(value), &path->text);
    path->has_query = true;
}

void rest_path_modes(struct rest_path *path, const struct ask *ask)
{
    if (ask_has(ask, FLAG_DRY_RUN))
        rest_path_query(path, "dry_run", "true");
    else if (ask_has(ask, FLAG_WAIT))
        rest_path_query(path, "wait", "applied");
}

bool rest_send(struct ask *ask, const struct api_request *request, struct api_answer *ret_answer)
{
    struct api_request timed = *request;
    char mem[1024];
    struct buf error;

    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    if (!timed.timeout_ms)
        timed.timeout_ms = ask_has(ask, FLAG_WAIT) ? WAIT_MS : CALL_MS;
    if (strlen(request->path) < REST_PATH_MAX && api_send(ask->session.api, &timed, ret_answer, &error) == 0)
        return true;
    if (ask->session.has_place && !ask->session.is_running && !ask->config.api[0])
        buf_put_str(&error, "; adit up does not run here");
    command_complain("%s", error.len ? buf_text(&error) : "what was asked for is too long");
    return false;
}

int rest_done(const struct api_answer *answer)
{
    if (answer->status != 202)
        return EXIT_OK;
    command_complain("it is done, but after 30 s not every relay runs it (revision %lld); adit status "
                     "says which lag", (long long)answer->revision);
    return EXIT_PENDING;
}
