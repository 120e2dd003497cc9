#include "cli/demo.h"

#include "lib/crypto/file.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define CREDENTIAL_PATH "/proxy-credentials/demo-curl"
#define OVERRIDE_PATH "/dns-overrides/hello-demo"

static const struct { const char *kind, *name, *body; } objects[] = {
    { "users", DEMO_USER,
      "{\"name\":\"" DEMO_USER "\",\"role\":\"user\",\"description\":\"Made by adit up\"}" },
    { "agent-groups", "demo", "{\"name\":\"demo\",\"selector\":{\"demo\":\"yes\"}}" },
    { "destination-profiles", "hello-demo",
      "{\"name\":\"hello-demo\",\"hosts\":[\"" DEMO_HOST "\"],\"ports\":[\"80\"],"
      "\"allow_special\":true,\"agent_group\":\"demo\"}" },
    { "grants", DEMO_GRANT,
      "{\"name\":\"" DEMO_GRANT "\",\"user\":\"" DEMO_USER "\","
      "\"destination_profile\":\"hello-demo\",\"reason\":\"the demo page\"}" },
};

enum { BUSY = 503, BUSY_TRIES = 20, BUSY_WAIT_MS = 250 };

/* A control plane that says it is busy has done nothing: it is asked again. */
static int call_until_not_busy(struct api *a, const char *method, const char *path, struct span body,
                               struct api_answer *answer, struct buf *reterr)
{
    int r = api_call(a, method, path, body, answer, reterr);

    for (int tries = 1; r == 0 && answer->status == BUSY && tries < BUSY_TRIES; tries++) {
        api_answer_deinit(answer);
        poll(NULL, 0, BUSY_WAIT_MS);
        r = api_call(a, method, path, body, answer, reterr);
    }
    return r;
}

/* A call whose answer, when it is not 2xx, is a failure told in reterr.  404 is told as
 * +1 when the caller can do something about it. */
static int call(struct api *a, const char *method, const char *path, struct span body,
                struct api_answer *answer, struct buf *reterr)
{
    char full[256];
    int r;

    snprintf(full, sizeof(full), "/api/v1%s", path);
    r = call_until_not_busy(a, method, full, body, answer, reterr);
    if (r || api_is_ok(answer))
        return r;
    if (answer->status == 404 && strcmp(method, "GET") == 0)
        return 1;
    buf_printf(reterr, "%s %s: ", method, full);
    api_problem(answer, reterr);
    return -EPROTO;
}

static int call_only(struct api *a, const char *method, const char *path, struct span body,
                     struct buf *reterr)
{
    struct api_answer answer = { 0 };
    int r = call(a, method, path, body, &answer, reterr);

    api_answer_deinit(&answer);
    return r;
}

static int make_unless_there(struct api *a, const char *kind, const char *name, struct span body,
                             struct buf *reterr)
{
    char path[256];
    int r;

    snprintf(path, sizeof(path), "/%s/%s", kind, name);
    r = call_only(a, "GET", path, SPAN_NONE, reterr);
    if (r <= 0)
        return r;
    snprintf(path, sizeof(path), "/%s", kind);
    return call_only(a, "POST", path, body, reterr);
}

/* The override names the socket of this state directory, wherever it was moved. */
static int make_override(struct api *a, const char *socket_path, struct buf *reterr)
{
    struct api_answer answer = { 0 };
    struct json_writer w;
    struct span unix_path;
    struct buf body;
    char mem[512];
    int r;

    buf_init_fixed(&body, mem, sizeof(mem));
    json_begin(&w, &body);
    json_open_object(&w, NULL);
    r = call(a, "GET", OVERRIDE_PATH, SPAN_NONE, &answer, reterr);
    if (r == 0 && json_get_str(answer.body, "unix", &unix_path) &&
        span_eq(unix_path, span_str(socket_path))) {
        api_answer_deinit(&answer);
        return 0;
    }
    api_answer_deinit(&answer);
    if (r < 0)
        return r;
    if (r == 1) {
        json_put_text(&w, "name", "hello-demo");
        json_put_text(&w, "host", DEMO_HOST);
        json_put_text(&w, "agent_group", "demo");
    }
    json_put_text(&w, "unix", socket_path);
    json_close_object(&w);
    return call_only(a, r == 1 ? "POST" : "PATCH", r == 1 ? "/dns-overrides" : OVERRIDE_PATH,
                     buf_span(&body), reterr);
}

int demo_make_objects(struct api *a, const char *socket_path, struct buf *reterr)
{
    int r = 0;

    for (size_t i = 0; i < ARRAY_LEN(objects) && !r; i++)
        r = make_unless_there(a, objects[i].kind, objects[i].name, span_str(objects[i].body),
                              reterr);
    return r ? r : make_override(a, socket_path, reterr);
}

static int write_curlrc(const char *path, const char *proxy_address, const char *ca_file,
                        struct span secret, struct buf *reterr)
{
    struct buf text;
    char mem[8192];
    int r;

    buf_init_fixed(&text, mem, sizeof(mem));
    buf_printf(&text,
               "# curl -K this-file http://" DEMO_HOST "/\n"
               "proxy = \"http://%s\"\n"
               "proxy-user = \"" DEMO_USER ":" SPAN_FMT "\"\n"
               "proxy-cacert = \"%s\"\n"
               "noproxy = \"\"\n",
               proxy_address, SPAN_ARG(secret), ca_file);
    r = buf_error(&text) ? buf_error(&text) : file_write_atomic(path, buf_span(&text), 0600);
    explicit_bzero(mem, sizeof(mem));
    if (r)
        buf_printf(reterr, "%s: %s", path, strerror(-r));
    return r;
}

/* The value of `name = "…"` in a curl configuration. */
static bool curlrc_value(const char *path, const char *name, char *dst, size_t size)
{
    struct buf text;
    struct span rest, line;
    char mem[8192], start[64];
    bool found = false;

    buf_init_fixed(&text, mem, sizeof(mem));
    snprintf(start, sizeof(start), "%s = \"", name);
    if (file_read(path, sizeof(mem), &text))
        return false;
    rest = buf_span(&text);
    while (!found && span_cut(&rest, '\n', &line)) {
        if (span_starts(line, span_str(start))) {
            line = span_skip(line, strlen(start));
            found = span_copy(span_first(line, span_find(line, '"')), dst, size);
        }
    }
    explicit_bzero(mem, sizeof(mem));
    return found;
}

/* Whether the file is there and names the proxy where it is now. */
static bool curlrc_is_current(const char *path, const char *proxy_address)
{
    char proxy[256], wanted[256];

    snprintf(wanted, sizeof(wanted), "http://%s", proxy_address);
    return curlrc_value(path, "proxy", proxy, sizeof(proxy)) && strcmp(proxy, wanted) == 0;
}

bool demo_page_comes(const char *proxy_address, const char *curlrc_path)
{
    AUTO(api_freep) struct api *a = NULL;
    struct api_answer answer = { 0 };
    struct buf ignored;
    char proxy[256], credential[256], mem[256];
    bool ok = false;

    buf_init_fixed(&ignored, mem, sizeof(mem));
    snprintf(proxy, sizeof(proxy), "http://%s", proxy_address);
    if (!curlrc_value(curlrc_path, "proxy-user", credential, sizeof(credential)) ||
        api_new("http://" DEMO_HOST, NULL, NULL, &a))
        return false;
    api_set_proxy(a, proxy, credential);
    ok = api_call(a, "GET", "/", SPAN_NONE, &answer, &ignored) == 0 && api_is_ok(&answer);
    api_answer_deinit(&answer);
    explicit_bzero(credential, sizeof(credential));
    return ok;
}

int demo_make_credential(struct api *a, const char *proxy_address, const char *ca_file,
                         const char *curlrc_path, struct buf *reterr)
{
    struct api_answer answer = { 0 };
    struct span secret;
    int r = call_only(a, "GET", CREDENTIAL_PATH, SPAN_NONE, reterr);

    if (r == 0 && curlrc_is_current(curlrc_path, proxy_address))
        return 0;
    if (r == 0)                 /* its secret is only in that file: make another */
        r = call_only(a, "DELETE", CREDENTIAL_PATH, SPAN_NONE, reterr);
    if (r < 0)
        return r;
    r = call(a, "POST", "/proxy-credentials",
             SPAN("{\"name\":\"demo-curl\",\"user\":\"" DEMO_USER "\"}"), &answer, reterr);
    if (r == 0 && json_get_str(answer.body, "secret", &secret))
        r = write_curlrc(curlrc_path, proxy_address, ca_file, secret, reterr);
    api_answer_deinit(&answer);
    return r;
}

int demo_make_join_token(struct api *a, struct span body, struct buf *out, struct buf *reterr)
{
    struct api_answer answer = { 0 };
    struct span token;
    int r = call(a, "POST", "/join-tokens", body, &answer, reterr);

    if (r == 0 && json_get_str(answer.body, "token", &token)) {
        buf_put_span(out, token);
        buf_put_u8(out, '\n');
    }
    api_answer_deinit(&answer);
    return r ? r : buf_error(out);
}
