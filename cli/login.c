#include "cli/command.h"
#include "cli/login_provider.h"
#include "cli/secret.h"
#include "cli/session.h"
#include "lib/crypto/file.h"

#include <stdio.h>
#include <string.h>

/* adit login: a session's token into a file; adit totp: one's second factor. */
#define LOGIN_OPTIONS(X)                                                                       \
    SESSION_OPTIONS(X)                                                                         \
    X(PATH, session_file, "", 0, 0, 0, "where the session's token is written (0600); empty: to the terminal") \
    X(STR, provider, "", 0, 0, 0, "log in by this identity provider, in a browser on this machine; no USER then") \
    X(PATH, password_file, "", 0, 0, 0, "file with the password; empty: it is asked for")

struct login_config { LOGIN_OPTIONS(OPTION_FIELD) };
#define LOGIN_ROW(...) OPTION_ROW_OF(struct login_config, __VA_ARGS__)
static const struct option_row login_rows[] = { LOGIN_OPTIONS(LOGIN_ROW) };
static const struct option_table login_table = {
    "adit login", "ADIT_CLI_",
    "adit login USER asks for the password, and for a code of the authenticator app where one is needed,\n"
    "and writes the session's token, which --token-file takes from then on (12 hours).\n"
    "adit login --provider NAME says which page to open, and waits for the browser.\n"
    "Exit code: 0 logged in, 1 refused, 2 nothing could be asked.",
    login_rows, ARRAY_LEN(login_rows),
};

struct attempt {
    const char *user;
    char password[SECRET_TEXT_MAX], code[SECRET_TEXT_MAX];
};

static void attempt_deinit(struct attempt *a)
{
    explicit_bzero(a, sizeof(*a));
}

static void wipe(struct buf *b)
{
    if (b->len)
        explicit_bzero(b->data, b->len);
    buf_deinit(b);
}

/* False: no answer, and said so. */
static bool post(struct api *api, const char *path, struct span body, struct api_answer *ret_answer)
{
    char mem[1024];
    struct buf error;

    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    if (api_call(api, "POST", path, body, ret_answer, &error) == 0)
        return true;
    command_complain("%s", buf_text(&error));
    return false;
}

static int complain_problem(const struct api_answer *answer)
{
    char mem[1024];
    struct buf text;

    buf_init_fixed(&text, mem, sizeof(mem) - 1);
    api_problem(answer, &text);
    command_complain("%s", buf_text(&text));
    return EXIT_NOT;
}

static bool try(struct session *s, const struct attempt *a, struct api_answer *ret_answer)
{
    AUTO(wipe) struct buf body = { 0 };
    struct json_writer w;

    buf_init_heap(&body, 4096);
    json_begin(&w, &body);
    json_open_object(&w, NULL);
    json_put_text(&w, "user", a->user);
    json_put_text(&w, "password", a->password);
    if (a->code[0])
        json_put_text(&w, "code", a->code);
    json_close_object(&w);
    return !buf_error(&body) && post(s->api, "/api/v1/login-sessions", buf_span(&body), ret_answer);
}

static bool wants_code(const struct api_answer *answer)
{
    struct span reason;

    return answer->status == 401 && answer->body && json_get_str(answer->body, "reason", &reason) &&
           span_eq(reason, SPAN("totp-required"));
}

/* The token where it was asked for; and what the session may not yet. */
static int keep_token(const struct login_config *config, const struct api_answer *answer)
{
    struct span token = SPAN_NONE;
    char line[128];
    int r;

    if (!answer->body || !json_get_str(answer->body, "token", &token))
        return EXIT_CANNOT;
    if (json_count(json_get(answer->body, "scopes")))
        fputs("A second factor is required of you: all that this session may is to enrol (adit totp), within\n"
              "15 minutes; then log in again.\n", stderr);
    if (!config->session_file[0]) {
        printf(SPAN_FMT "\n", SPAN_ARG(token));
        return EXIT_OK;
    }
    snprintf(line, sizeof(line), SPAN_FMT "\n", SPAN_ARG(token));
    r = file_write_atomic(config->session_file, span_str(line), 0600);
    explicit_bzero(line, sizeof(line));
    if (r)
        command_complain("%s: %s", config->session_file, strerror(-r));
    return r ? EXIT_CANNOT : EXIT_OK;
}

static int log_in(const struct login_config *config, const struct command_words *words)
{
    AUTO(session_close) struct session session = { 0 };
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    AUTO(attempt_deinit) struct attempt a = { .user = words->count ? words->items[0] : "" };

    if (words->count != 1) {
        command_complain("usage: adit login USER, or adit login --provider NAME");
        return EXIT_CANNOT;
    }
    if (!session_open_anonymous(&session, SESSION_OF(config)) ||
        !(config->password_file[0] ? secret_read_password(config->password_file, a.password) :
                                     secret_ask("Password: ", a.password)) ||
        !try(&session, &a, &answer))
        return EXIT_CANNOT;
    if (wants_code(&answer)) {
        api_answer_deinit(&answer);
        answer = (struct api_answer){ 0 };
        if (!secret_ask("Code: ", a.code) || !try(&session, &a, &answer))
            return EXIT_CANNOT;
    }
    return api_is_ok(&answer) ? keep_token(config, &answer) : complain_problem(&answer);
}

static int log_in_by_provider(const struct login_config *config, const struct command_words *words)
{
    AUTO(session_close) struct session session = { 0 };
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };

    if (!command_no_words(&login_table, words) || !session_open_anonymous(&session, SESSION_OF(config)) ||
        !login_by_provider(session.api, config->provider, &answer))
        return EXIT_CANNOT;
    return api_is_ok(&answer) ? keep_token(config, &answer) : complain_problem(&answer);
}

int login_command(int argc, char **argv)
{
    struct login_config config = { 0 };
    struct command_words words;
    int code;

    if (command_load(&login_table, argc, argv, &config, &words, &code))
        code = config.provider[0] ? log_in_by_provider(&config, &words) : log_in(&config, &words);
    option_free(&login_table, &config);
    return code;
}

/* ---- adit totp ---- */
struct totp_config { SESSION_OPTIONS(OPTION_FIELD) };
#define TOTP_ROW(...) OPTION_ROW_OF(struct totp_config, __VA_ARGS__)
static const struct option_row totp_rows[] = { SESSION_OPTIONS(TOTP_ROW) };
static const struct option_table totp_table = {
    "adit totp", "ADIT_CLI_",
    "adit totp enrols whose token --token-file is in a second factor: it shows the secret for the\n"
    "authenticator app, asks for a code, and shows recovery codes.  adit totp reset USER takes somebody's\n"
    "away.  Exit code: 0 done, 1 refused, 2 nothing could be asked.",
    totp_rows, ARRAY_LEN(totp_rows),
};

static bool path_of(struct span user, const char *suffix, struct buf *path)
{
    buf_put_str(path, "/api/v1/users/");
    api_escape(user, path);
    buf_put_str(path, suffix);
    return !buf_error(path);
}

/* Whose second factor: that of the token's user. */
static bool find_self(struct session *s, struct api_answer *me, struct span *ret_id)
{
    return session_get(s, "/api/v1/me", me) && json_get_str(json_get(me->body, "user"), "id", ret_id);
}

static bool send_code(struct session *s, struct span user, const char *suffix, const char *code,
                      struct api_answer *ret_answer)
{
    char mem[256], body_mem[SECRET_TEXT_MAX + 32];
    struct buf path, body;
    struct json_writer w;
    bool ok;

    buf_init_fixed(&path, mem, sizeof(mem) - 1);
    buf_init_fixed(&body, body_mem, sizeof(body_mem));
    json_begin(&w, &body);
    json_open_object(&w, NULL);
    if (code[0])
        json_put_text(&w, "code", code);
    json_close_object(&w);
    ok = path_of(user, suffix, &path) && !buf_error(&body) && post(s->api, buf_text(&path), buf_span(&body), ret_answer);
    explicit_bzero(body_mem, sizeof(body_mem));
    return ok;
}

static bool begin(struct session *s, struct span user, struct api_answer *ret_answer)
{
    char code[SECRET_TEXT_MAX] = "";
    bool ok = send_code(s, user, "/totp", "", ret_answer);

    if (!ok || !wants_code(ret_answer))
        return ok;
    api_answer_deinit(ret_answer);
    *ret_answer = (struct api_answer){ 0 };
    ok = secret_ask("Code of the present second factor: ", code) && send_code(s, user, "/totp", code, ret_answer);
    explicit_bzero(code, sizeof(code));
    return ok;
}

static void print_codes(const struct json_value *codes)
{
    puts("Each of these lets you in once without the app; they are shown this once:");
    for (size_t i = 0; i < json_count(codes); i++) {
        struct span code;

        if (json_as_str(json_at(codes, i), &code))
            printf("  " SPAN_FMT "\n", SPAN_ARG(code));
    }
}

static int confirm(struct session *s, struct span user)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    char code[SECRET_TEXT_MAX] = "";
    bool ok = secret_ask("Code that the app shows: ", code) && send_code(s, user, "/totp/confirm", code, &answer);

    explicit_bzero(code, sizeof(code));
    if (!ok)
        return EXIT_CANNOT;
    if (!api_is_ok(&answer))
        return complain_problem(&answer);
    print_codes(json_get(answer.body, "recovery_codes"));
    return EXIT_OK;
}

static int enrol(struct session *s)
{
    AUTO(api_answer_deinit) struct api_answer me = { 0 }, secret = { 0 };
    struct span user, text, uri;

    if (!find_self(s, &me, &user) || !begin(s, user, &secret))
        return EXIT_CANNOT;
    if (!api_is_ok(&secret) || !json_get_str(secret.body, "secret", &text) || !json_get_str(secret.body, "uri", &uri))
        return complain_problem(&secret);
    printf("Put this into your authenticator app:\n  " SPAN_FMT "\n  " SPAN_FMT "\n", SPAN_ARG(text), SPAN_ARG(uri));
    fflush(stdout);
    return confirm(s, user);
}

static int reset(struct session *s, const char *user)
{
    AUTO(api_answer_deinit) struct api_answer answer = { 0 };
    char path_mem[512], error_mem[1024];
    struct buf path, error;

    buf_init_fixed(&path, path_mem, sizeof(path_mem) - 1);
    buf_init_fixed(&error, error_mem, sizeof(error_mem) - 1);
    if (!path_of(span_str(user), "/totp", &path))
        return EXIT_CANNOT;
    if (api_call(s->api, "DELETE", buf_text(&path), SPAN_NONE, &answer, &error)) {
        command_complain("%s", buf_text(&error));
        return EXIT_CANNOT;
    }
    if (!api_is_ok(&answer))
        return complain_problem(&answer);
    printf("user %s has no second factor any more\n", user);
    return EXIT_OK;
}

static int totp(const struct totp_config *config, const struct command_words *words)
{
    AUTO(session_close) struct session session = { 0 };
    bool is_reset = words->count == 2 && strcmp(words->items[0], "reset") == 0;

    if (words->count && !is_reset) {
        command_complain("usage: adit totp, or adit totp reset USER");
        return EXIT_CANNOT;
    }
    if (!session_open(&session, SESSION_OF(config)))
        return EXIT_CANNOT;
    return is_reset ? reset(&session, words->items[1]) : enrol(&session);
}

int totp_command(int argc, char **argv)
{
    struct totp_config config = { 0 };
    struct command_words words;
    int code;

    if (command_load(&totp_table, argc, argv, &config, &words, &code))
        code = totp(&config, &words);
    option_free(&totp_table, &config);
    return code;
}
