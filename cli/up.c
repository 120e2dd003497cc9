/*
 * adit up: control plane, relay, a demo agent and its page on this machine, kept running.
 *
 * One step after the other (bring_up), each waiting for the one before to be true; then the
 * screen; then the supervisor until somebody asks to stop.
 */
#include "cli/up.h"

#include "cli/api.h"
#include "cli/command.h"
#include "cli/demo.h"
#include "cli/place.h"
#include "cli/supervisor.h"
#include "cli/terminal.h"
#include "lib/base/addr.h"
#include "lib/crypto/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

enum { READY_MS = 30000, AGENT_MS = 15000, RUN_MS = 30000, DRAIN_MS = 3000, LOOK_MS = 50 };

#define UP_OPTIONS(X)                                                                         \
    X(PATH, var, "var", 0, 0, 0, "state directory")                                           \
    X(INT, port_base, "0", 0, PLACE_PORT_BASE_MAX, 0, "added to every port")                  \
    X(STR, public, "", 0, 0, 0,                                                               \
      "name or address by which agents on other machines reach this one; empty: only this machine") \
    X(BOOL, reset, "false", 0, 0, 0, "begin anew: removes users, keys and audit trail in --var")

struct up_config { UP_OPTIONS(OPTION_FIELD) };
#define ROW(...) OPTION_ROW_OF(struct up_config, __VA_ARGS__)
static const struct option_row rows[] = { UP_OPTIONS(ROW) };
static const struct option_table table = {
    "adit up", "ADIT_UP_",
    "Runs control plane, relay and a demo agent on this machine (SQLite, no Redis). Ctrl-C\n"
    "stops it: streams have 3 s to finish; a second Ctrl-C ends at once. Exit code 0 then.",
    rows, ARRAY_LEN(rows),
};

struct up {
    struct up_config config;
    struct place place;
    struct supervisor *supervisor;
    struct api *api;
    struct up_programs programs;
    struct buf error;
    char error_mem[2048];
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_ended(const struct child_spec *spec, int status, unsigned again_ms)
{
    fprintf(stderr, "  %s ended (%s %d); it starts again in %u ms; its log is %s\n", spec->name,
            WIFSIGNALED(status) ? "signal" : "exit code",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), again_ms,
            spec->log_path);
}

/* Waits for the predicate.  -EINTR: asked to stop; -ETIMEDOUT. */
static int wait_until(struct up *u, bool (*is_true)(struct up *u), unsigned timeout_ms)
{
    int64_t deadline = now_ms() + timeout_ms;

    for (;;) {
        if (supervisor_asked(u->supervisor))
            return -EINTR;
        if (is_true(u))
            return 0;
        if (now_ms() >= deadline)
            return -ETIMEDOUT;
        supervisor_turn(u->supervisor, LOOK_MS);
    }
}

static bool is_ready(struct up *u, enum place_port admin)
{
    AUTO(api_freep) struct api *a = NULL;
    struct api_answer answer = { 0 };
    struct buf ignored;
    char url[64], mem[256];
    bool ok;

    buf_init_fixed(&ignored, mem, sizeof(mem));
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", place_port(&u->place, admin));
    ok = api_new(url, NULL, NULL, &a) == 0 &&
         api_call(a, "GET", "/readyz", SPAN_NONE, &answer, &ignored) == 0 && answer.status == 200;
    api_answer_deinit(&answer);
    return ok;
}

static bool is_controlplane_ready(struct up *u)
{
    return is_ready(u, PORT_CONTROL_ADMIN);
}

static bool is_relay_ready(struct up *u)
{
    return is_ready(u, PORT_RELAY_ADMIN);
}

/* The decision, made over who is connected. */
static bool is_demo_allowed(struct up *u)
{
    struct api_answer answer = { 0 };
    struct buf ignored;
    char mem[256];
    bool allowed = false;

    buf_init_fixed(&ignored, mem, sizeof(mem));
    if (api_call(u->api, "GET", "/api/v1/access/explain?user=" DEMO_USER "&host=" DEMO_HOST "&port=80",
                 SPAN_NONE, &answer, &ignored) == 0 && api_is_ok(&answer))
        json_get_bool(answer.body, "allowed", &allowed);
    api_answer_deinit(&answer);
    return allowed;
}

/* What the screen will tell people to try works: asked only when the decision says yes, so that
 * no refusals are on record from the start. */
static bool is_demo_there(struct up *u)
{
    return is_demo_allowed(u) && demo_page_comes(place_address(&u->place, PORT_HTTP).text,
                                                 place_path(&u->place, "demo.curlrc").text);
}

/* The last lines of a program's log, for the person whose start failed. */
static void show_log_end(const char *path)
{
    AUTO(freep) char *mem = malloc(SUPERVISOR_LOG_MAX + 1);
    struct buf text;
    struct span rest;

    if (!mem)
        return;
    buf_init_fixed(&text, mem, SUPERVISOR_LOG_MAX);
    if (file_read(path, SUPERVISOR_LOG_MAX, &text))
        return;
    rest = buf_span(&text);
    for (unsigned lines = 0; rest.n; rest.n--) {
        if (rest.p[rest.n - 1] == '\n' && ++lines == 6)
            break;
    }
    fprintf(stderr, "  the end of %s:\n%s\n", path, mem + rest.n);
}

static int start_and_wait(struct up *u, enum up_program program, bool (*is_up)(struct up *u))
{
    const struct child_spec *spec = &u->programs.specs[program];
    int r = supervisor_start(u->supervisor, spec);

    if (r == 0 && is_up)
        r = wait_until(u, is_up, READY_MS);
    if (r == -ETIMEDOUT) {
        show_log_end(spec->log_path);
        buf_printf(&u->error, "%s did not get ready in %d s", spec->name, READY_MS / 1000);
    }
    return r;
}

static int run(struct up *u, enum up_program program)
{
    const struct child_spec *spec = &u->programs.specs[program];
    int status = 0;
    int r = supervisor_run(u->supervisor, spec, RUN_MS, &status);

    if (r == 0 && status != 0)
        r = -EPROTO;
    if (r && r != -EINTR) {
        show_log_end(spec->log_path);
        buf_printf(&u->error, "%s %s did not work", spec->argv[0], spec->argv[1]);
    }
    return r;
}

static int connect_api(struct up *u)
{
    char url[64], token[512];
    struct buf text;
    int r;

    buf_init_fixed(&text, token, sizeof(token) - 1);
    snprintf(url, sizeof(url), "https://127.0.0.1:%u", place_port(&u->place, PORT_API));
    r = api_token_read(place_path(&u->place, "credentials").text, &text);
    if (r)
        buf_printf(&u->error, "%s: %s", place_path(&u->place, "credentials").text, strerror(-r));
    else
        r = api_new(url, place_path(&u->place, "ca.pem").text, buf_text(&text), &u->api);
    explicit_bzero(token, sizeof(token));
    return r;
}

/* A program without an identity joins with a token made for it, which lives in a file for
 * the moment that it takes. */
static int join(struct up *u, enum up_program joiner, struct span token_request)
{
    struct place_text token_path = place_path(&u->place, "join-token");
    struct buf token;
    char mem[4096];
    int r;

    if (up_has_identity(&u->place, joiner))
        return 0;
    buf_init_fixed(&token, mem, sizeof(mem));
    r = up_forget_identity(&u->place, joiner);
    if (r == 0)
        r = demo_make_join_token(u->api, token_request, &token, &u->error);
    if (r == 0)
        r = file_write_atomic(token_path.text, buf_span(&token), 0600);
    if (r == 0)
        r = run(u, joiner);
    unlink(token_path.text);
    explicit_bzero(mem, sizeof(mem));
    return r;
}

static int make_demo(struct up *u)
{
    int r = demo_make_objects(u->api, place_path(&u->place, "demo.sock").text, &u->error);

    return r ? r : demo_make_credential(u->api, place_address(&u->place, PORT_HTTP).text,
                                        place_path(&u->place, "ca.pem").text,
                                        place_path(&u->place, "demo.curlrc").text, &u->error);
}

static int bring_up(struct up *u)
{
    int r = run(u, UP_BOOTSTRAP);

    if (r == 0)
        r = start_and_wait(u, UP_CONTROLPLANE, is_controlplane_ready);
    if (r == 0)
        r = connect_api(u);
    if (r == 0)
        r = join(u, UP_RELAY_JOIN, SPAN("{\"kind\":\"relay\",\"uses\":1}"));
    if (r == 0)
        r = start_and_wait(u, UP_RELAY, is_relay_ready);
    if (r == 0)
        r = make_demo(u);
    if (r == 0)
        r = join(u, UP_AGENT_JOIN, SPAN("{\"kind\":\"agent\",\"uses\":1,\"agent_name\":\"" DEMO_AGENT
                                        "\",\"agent_labels\":{\"demo\":\"yes\"}}"));
    if (r == 0)
        r = start_and_wait(u, UP_PAGE, NULL);
    if (r == 0)
        r = start_and_wait(u, UP_AGENT, NULL);
    return r;
}

/* Milliseconds since the relay last heard of the agent; negative: not known. */
static double agent_silence_ms(struct up *u)
{
    struct api_answer answer = { 0 };
    struct span seen;
    struct buf ignored;
    char mem[256], text[64];
    struct tm tm = { 0 };
    struct timespec now;
    double seconds, silence = -1;

    buf_init_fixed(&ignored, mem, sizeof(mem));
    if (api_call(u->api, "GET", "/api/v1/agents/" DEMO_AGENT, SPAN_NONE, &answer, &ignored) == 0 &&
        api_is_ok(&answer) && json_get_str(answer.body, "last_seen_at", &seen) &&
        span_copy(seen, text, sizeof(text)) &&
        sscanf(text, "%d-%d-%dT%d:%d:%lf", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &seconds) == 6) {
        tm.tm_year -= 1900;
        tm.tm_mon -= 1;
        clock_gettime(CLOCK_REALTIME, &now);
        silence = ((double)(now.tv_sec - timegm(&tm)) - seconds) * 1000 + (double)now.tv_nsec / 1e6;
    }
    api_answer_deinit(&answer);
    return silence;
}

static void show_agent(struct up *u)
{
    double silence = agent_silence_ms(u);

    printf("    agent        %s   %sconnected%s", DEMO_AGENT, terminal_colour(TERMINAL_GOOD),
           terminal_colour(TERMINAL_PLAIN));
    if (silence >= 0)
        printf(silence < 1000 ? ", proved %.1f ms ago" : ", proved %.1f s ago",
               silence < 1000 ? silence : silence / 1000);
    putchar('\n');
}

static void show_screen(struct up *u, bool has_demo)
{
    const char *var = u->config.var;
    const char *short_var = strncmp(var, "./", 2) == 0 ? var + 2 : var;

    printf("  %sAdit is up%s (embedded: SQLite, no Redis). Ctrl-C stops it; state is in %s%s\n",
           terminal_colour(TERMINAL_GOOD), terminal_colour(TERMINAL_PLAIN),
           var[0] == '/' || var[0] == '.' ? "" : "./", var);
    printf("    API          https://%s/docs     admin, password in %s/credentials\n",
           place_address(&u->place, PORT_API).text, short_var);
    printf("    HTTP proxy   %s    SOCKS5 %s    user %s\n", place_address(&u->place, PORT_HTTP).text,
           place_address(&u->place, PORT_SOCKS).text, DEMO_USER);
    if (has_demo) {
        show_agent(u);
        printf("  Try:  curl -K %s/demo.curlrc http://" DEMO_HOST "/\n"
               "        (a page on a Unix socket that only the agent can reach; without the proxy"
               " it fails)\n", short_var);
    } else {
        printf("    agent        %s   %snot connected yet%s; its log is %s/log/agent.log\n",
               DEMO_AGENT, terminal_colour(TERMINAL_BAD), terminal_colour(TERMINAL_PLAIN), short_var);
    }
    printf("  Next: docs/guide/own-agent.md: your own agent on another machine, in two commands\n");
    fflush(stdout);
}

static int serve(struct up *u)
{
    int r = wait_until(u, is_demo_there, AGENT_MS);

    if (r == -EINTR)
        return r;
    show_screen(u, r == 0);
    while (!supervisor_asked(u->supervisor))
        supervisor_turn(u->supervisor, -1);
    return 0;
}

static void stop(struct up *u)
{
    printf("\n  Stopping: streams have %d s to finish; Ctrl-C again ends at once\n",
           DRAIN_MS / 1000);
    fflush(stdout);
    if (!supervisor_stop(u->supervisor, DRAIN_MS))
        printf("  some streams had not finished\n");
    printf("  Stopped; state stays in %s\n", u->config.var);
}

/* What a Unix socket's address and a DNS override take; a comma would end a list's item. */
static bool is_fit_for_socket(const char *path)
{
    size_t n = strlen(path);

    for (const char *c = path; *c; c++) {
        if (*c <= ' ' || *c > '~' || strchr(",\"\\", *c))
            return false;
    }
    return n > 0 && n < ADDR_UNIX_MAX;
}

/* What agents dial: the tunnel's door stands on IPv4. */
static bool is_dialled(const char *text)
{
    char canonical[254];
    struct addr addr;

    return addr_parse(span_str(text), &addr) ? addr_is_v4(&addr) : host_canonical(span_str(text), canonical);
}

static bool take_place(struct up *u)
{
    /* A directory in which nobody ran has nothing of ours to be removed. */
    bool is_ours = place_is_ours(u->config.var);
    int pid = 0;
    int r = place_open(u->config.var, (unsigned)u->config.port_base, true, &u->place);

    if (r == 0)
        r = place_lock(&u->place, &pid);
    if (r == -EBUSY) {
        command_complain("process %d already runs on %s. Stop it, or begin another: "
                         "adit up --var DIR --port-base 10000", pid, u->place.dir);
        return false;
    }
    if (r) {
        command_complain("\"%s\" cannot be the state directory: %s. Name one that you may write to: "
                         "adit up --var DIR", u->config.var, strerror(-r));
        return false;
    }
    if (!span_copy(span_str(u->config.public), u->place.public_host, sizeof(u->place.public_host)))
        return false;               /* longer than a name can be */
    if (!is_fit_for_socket(place_path(&u->place, "demo.sock").text)) {
        command_complain("the demo page is a Unix socket in %s, whose path is too long for one or "
                         "has spaces or commas in it. Name another place: adit up --var DIR",
                         u->place.dir);
        return false;
    }
    if (!place_ports_are_free(&u->place, &u->error)) {
        command_complain("%s  Stop that, or move all ports: adit up --port-base %u",
                         buf_text(&u->error), u->place.port_base + 10000);
        return false;
    }
    r = u->config.reset && is_ours ? place_reset(&u->place) : 0;
    if (r)
        command_complain("%s cannot be emptied: %s", u->config.var, strerror(-r));
    return r == 0;
}

/* What the option table cannot check. */
static bool is_sensible(const struct up *u, const struct command_words *words)
{
    if (!command_no_words(&table, words))
        return false;
    if (!u->config.public[0] || is_dialled(u->config.public))
        return true;
    command_complain("--public: \"%s\" is neither a host name nor an IPv4 address; write it without scheme "
                     "and port, e.g. adit.example.net or 192.0.2.7", u->config.public);
    return false;
}

static int run_all(struct up *u)
{
    int r = supervisor_new(on_ended, &u->supervisor);

    if (r == 0)
        r = up_programs_init(&u->programs, &u->place);
    if (r == 0)
        r = bring_up(u);
    if (r == 0)
        r = serve(u);
    if (u->supervisor && supervisor_asked(u->supervisor)) {
        stop(u);
        return EXIT_OK;
    }
    command_complain("it does not start: %s", u->error.len ? buf_text(&u->error) : strerror(-r));
    return EXIT_NOT;
}

int up_command(int argc, char **argv)
{
    struct up u = { .place = { .lock_fd = -1 } };
    struct command_words words;
    pid_t group;
    int code;

    buf_init_fixed(&u.error, u.error_mem, sizeof(u.error_mem));
    if (!command_load(&table, argc, argv, &u.config, &words, &code))
        return code;
    if (!is_sensible(&u, &words)) {
        option_free(&table, &u.config);
        return EXIT_CANNOT;
    }
    group = terminal_take();
    code = take_place(&u) ? run_all(&u) : EXIT_NOT;
    terminal_give_back(group);

    if (u.api)
        api_free(u.api);
    if (u.supervisor)
        supervisor_free(u.supervisor);
    up_programs_deinit(&u.programs);
    place_close(&u.place);
    option_free(&table, &u.config);
    return code;
}
