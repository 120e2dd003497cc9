#include "controlplane/routes/api_fixture.h"
#include "controlplane/routes/door_password.h"
#include "lib/crypto/totp.h"
#include "lib/json/json.h"

/* The second factor: enrolling, logging in with it, losing it. */
#define PASSWORD "his own password"
#define START_MS 1800000000000ULL
#define PROVIDER "{\"name\":\"corp\",\"issuer\":\"https://login.test\",\"client_id\":\"adit\"}"

static struct fix fix;
static struct fix_answer answer;
static uint64_t clock_ms;
static struct api_options kept;

static uint64_t test_clock(void)
{
    return clock_ms;
}

static void tune(struct fix *f, struct api_options *options)
{
    (void)f;
    options->totp_roles = ROLE_BIT_AUDITOR;
    kept = *options;
}

static int setup(void **state)
{
    *state = NULL;
    clock_ms = START_MS;
    fix_clock = test_clock;
    fix_start_tuned(&fix, tune);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fix_clock = NULL;
    fix_stop(&fix);
    return 0;
}

static int ask_as(const char *token, const char *method, const char *path, const char *body)
{
    fix_ask(&fix, token, method, path, FIX_JSON, body, &answer);
    return answer.status;
}

static int ask(size_t user, const char *method, const char *path, const char *body)
{
    return ask_as(fix.users[user].token, method, path, body);
}

static void member(const char *key, char *dst, size_t size)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct json_error error;
    struct span text;

    assert_int_equal(json_parse(span_str(answer.body), &v, &error), 0);
    assert_true(json_get_str(v, key, &text) && span_copy(text, dst, size));
}

static int log_in(const char *user, const char *code)
{
    char body[256];

    snprintf(body, sizeof(body), "{\"user\":\"%s\",\"password\":\"" PASSWORD "\"%s%s%s}", user,
             code ? ",\"code\":\"" : "", code ? code : "", code ? "\"" : "");
    return ask_as(NULL, "POST", "/login-sessions", body);
}

static void from_base32(const char *text, unsigned char secret[TOTP_SECRET_LEN])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint32_t bits = 0;
    size_t n = 0, held = 0;

    for (; *text; text++) {
        bits = bits << 5 | (uint32_t)(strchr(digits, *text) - digits);
        held += 5;
        if (held >= 8) {
            held -= 8;
            secret[n++] = (unsigned char)(bits >> held);
        }
    }
    assert_int_equal(n, TOTP_SECRET_LEN);
}

static const char *code_now(const unsigned char *secret)
{
    static char code[TOTP_DIGITS + 1];

    totp_code(secret, clock_ms / 1000 / TOTP_STEP_S, code);
    return code;
}

/* The user enrols as `token`; `code` of the factor before, or NULL. */
static void enrol(const char *token, const char *user, const char *before, unsigned char secret[TOTP_SECRET_LEN],
                  char recovery[32])
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct json_error error;
    char path[128], body[64] = "{}", text[TOTP_TEXT_LEN + 1];
    struct span code;

    if (before)
        snprintf(body, sizeof(body), "{\"code\":\"%s\"}", before);
    snprintf(path, sizeof(path), "/users/%s/totp", user);
    assert_int_equal(ask_as(token, "POST", path, body), 201);
    member("secret", text, sizeof(text));
    from_base32(text, secret);
    snprintf(path, sizeof(path), "/users/%s/totp/confirm", user);
    assert_int_equal(ask_as(token, "POST", path, "{\"code\":\"000000\"}"), 409);
    snprintf(body, sizeof(body), "{\"code\":\"%s\"}", code_now(secret));
    assert_int_equal(ask_as(token, "POST", path, body), 200);
    assert_int_equal(json_parse(span_str(answer.body), &v, &error), 0);
    assert_int_equal(json_count(json_get(v, "recovery_codes")), 10);
    assert_true(json_as_str(json_at(json_get(v, "recovery_codes"), 3), &code) && span_copy(code, recovery, 32));
}

static void give_password(const char *user)
{
    char path[64];

    snprintf(path, sizeof(path), "/users/%s", user);
    assert_int_equal(ask(FIX_ADMIN, "PATCH", path, "{\"password\":\"" PASSWORD "\"}"), 200);
}

static void test_log_in(void **state)
{
    unsigned char secret[TOTP_SECRET_LEN];
    char recovery[32], used[8], plain[32];
    size_t n = 0;

    (void)state;
    give_password("uwe");
    assert_int_equal(log_in("uwe", NULL), 201);
    enrol(fix.users[FIX_USER].token, "uwe", NULL, secret, recovery);
    assert_int_equal(log_in("uwe", NULL), 401);
    assert_non_null(strstr(answer.body, "totp-required"));
    snprintf(used, sizeof(used), "%s", code_now(secret));
    assert_int_equal(log_in("uwe", used), 401);         /* it confirmed the enrolment: it is used */
    clock_ms += 60000;
    snprintf(used, sizeof(used), "%s", code_now(secret));
    assert_int_equal(log_in("uwe", used), 201);
    assert_int_equal(log_in("uwe", used), 401);         /* once */
    clock_ms += 60000;
    assert_int_equal(log_in("uwe", recovery), 201);
    clock_ms += 60000;
    assert_int_equal(log_in("uwe", recovery), 401);
    for (const char *p = recovery; *p; p++)
        if (*p != '-')
            plain[n++] = *p;
    plain[n] = '\0';
    assert_int_equal(log_in("uwe", plain), 401);
    assert_int_equal(ask(FIX_ADMIN, "GET", "/users/uwe", NULL), 200);
    assert_non_null(strstr(answer.body, "\"recovery_codes_left\":9"));
    assert_non_null(strstr(answer.body, "\"totp_set_at\":\"2"));
}

static void test_other_control_plane(void **state)
{
    struct fix other = fix;
    struct api_options options = kept;
    struct server_options server = { .name = "other", .listen = "127.0.0.1:0" };
    AUTO(buf_deinit) struct buf error;
    unsigned char secret[TOTP_SECRET_LEN];
    char recovery[32], body[160];

    (void)state;
    buf_init_heap(&error, 4096);
    options.store = fix.store;
    assert_int_equal(api_new(&options, &other.api), 0);
    server.routes = api_routes(other.api, &server.route_count);
    server.hooks = (struct server_hooks){ other.api, api_authenticate, api_replay, NULL, NULL };
    assert_int_equal(server_start(&server, &other.server, &error), 0);
    give_password("uwe");
    enrol(fix.users[FIX_USER].token, "uwe", NULL, secret, recovery);
    clock_ms += 60000;
    snprintf(body, sizeof(body), "{\"user\":\"uwe\",\"password\":\"" PASSWORD "\",\"code\":\"%s\"}", code_now(secret));
    fix_ask(&other, NULL, "POST", "/login-sessions", FIX_JSON, body, &answer);
    assert_int_equal(answer.status, 201);
    assert_int_equal(ask_as(NULL, "POST", "/login-sessions", body), 401);       /* here it is used too */
    server_drain(other.server, 1000);
    server_free(other.server);
    api_free(other.api);
}

static void test_required(void **state)
{
    static const struct {
        const char *user, *because;
    } rows[] = { { "aude", "of her role" }, { "uwe", "it was said of him" } };

    (void)state;
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/uwe", "{\"totp_required\":true}"), 200);
    assert_int_equal(ask(FIX_USER, "PATCH", "/users/uwe", "{\"totp_required\":false}"), 403);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char token[API_TOKEN_LEN + 1], recovery[32];
        unsigned char secret[TOTP_SECRET_LEN];

        check_row(rows[i].because);
        give_password(rows[i].user);
        assert_int_equal(log_in(rows[i].user, NULL), 201);
        assert_non_null(strstr(answer.body, "\"scopes\":[\"totp:write\"]"));
        member("token", token, sizeof(token));
        assert_int_equal(ask_as(token, "GET", "/users", NULL), 403);
        assert_int_equal(ask_as(token, "POST", "/api-tokens", "{}"), 403);
        assert_int_equal(ask_as(token, "GET", "/me", NULL), 200);
        enrol(token, rows[i].user, NULL, secret, recovery);
        assert_int_equal(ask_as(token, "GET", "/users", NULL), 403);
        clock_ms += 60000;
        assert_int_equal(log_in(rows[i].user, code_now(secret)), 201);
        member("token", token, sizeof(token));
        assert_int_equal(ask_as(token, "GET", "/users", NULL), 200);
    }
    check_row(NULL);
}

/* From a source of its own, five seconds after the one before: neither is what slows it down. */
static int log_in_elsewhere(const char *user, const char *password, const char *code)
{
    static uint32_t source = 0x7f000101;
    char body[256];
    int status;

    clock_ms += 5000;
    fix_source = source++;
    snprintf(body, sizeof(body), "{\"user\":\"%s\",\"password\":\"%s\",\"code\":\"%s\"}", user, password, code);
    status = ask_as(NULL, "POST", "/login-sessions", body);
    fix_source = 0;
    return status;
}

static int guess_many(const char *password, int times)
{
    int slowed = 0;

    for (int i = 0; i < times; i++)
        slowed += log_in_elsewhere("uwe", password, "000000") == 429;
    return slowed;
}

/* Who has the password and tries codes from everywhere waits up to a minute; who has not slows nobody. */
static void test_guessing(void **state)
{
    unsigned char secret[TOTP_SECRET_LEN];
    char recovery[32];
    const char *wait;

    (void)state;
    give_password("uwe");
    enrol(fix.users[FIX_USER].token, "uwe", NULL, secret, recovery);
    check_row("is not slowed down by who has no password");
    assert_int_equal(guess_many("not his password", 8), 0);
    clock_ms += 60000;
    assert_int_equal(log_in_elsewhere("uwe", PASSWORD, code_now(secret)), 201);
    check_row("slows down who has it, from wherever he tries");
    assert_true(guess_many(PASSWORD, 9) > 0);
    for (int i = 0; i < 6; i++) {
        clock_ms += 60000;
        assert_int_equal(guess_many(PASSWORD, 1), 0);
    }
    assert_int_equal(guess_many(PASSWORD, 1), 1);
    wait = strstr(answer.text, "Retry-After: ");
    assert_true(wait && strspn(wait + strlen("Retry-After: "), "0123456789") == 2);     /* 10 s or more */
    check_row("lets in where he has been before, meanwhile");
    fix_source = 0x7f000101 + 8;
    clock_ms += 1000;
    assert_int_equal(log_in("uwe", code_now(secret)), 201);
    check_row("is over after a minute");
    fix_source = 0;
    clock_ms += 60000;
    assert_int_equal(log_in_elsewhere("uwe", PASSWORD, code_now(secret)), 201);
    assert_int_equal(guess_many(PASSWORD, 3), 0);
}

static void test_enrol_anew(void **state)
{
    unsigned char secret[TOTP_SECRET_LEN], next[TOTP_SECRET_LEN];
    char recovery[32], code[8], body[64];
    const char *token = fix.users[FIX_USER].token;

    (void)state;
    give_password("uwe");
    enrol(token, "uwe", NULL, secret, recovery);
    assert_int_equal(ask_as(token, "POST", "/users/uwe/totp", NULL), 401);      /* not without the old one */
    clock_ms += 60000;
    for (int i = 0; i < 8 && answer.status != 429; i++)
        ask_as(token, "POST", "/users/uwe/totp", "{\"code\":\"000000\"}");
    assert_int_equal(answer.status, 429);               /* nor by trying them all */
    clock_ms += 120000;
    snprintf(code, sizeof(code), "%s", code_now(secret));
    enrol(token, "uwe", code, next, recovery);
    clock_ms += 60000;
    assert_int_equal(log_in("uwe", code_now(secret)), 401);
    assert_int_equal(log_in("uwe", code_now(next)), 201);
    snprintf(body, sizeof(body), "{\"code\":\"%s\"}", recovery);
    assert_int_equal(ask_as(token, "POST", "/users/uwe/totp", body), 201);
}

static void test_reset(void **state)
{
    unsigned char secret[TOTP_SECRET_LEN];
    char recovery[32];

    (void)state;
    give_password("uwe");
    assert_int_equal(ask(FIX_ADMIN, "DELETE", "/users/uwe/totp", NULL), 409);
    enrol(fix.users[FIX_USER].token, "uwe", NULL, secret, recovery);
    assert_int_equal(ask(FIX_USER, "DELETE", "/users/uwe/totp", NULL), 403);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/users/uwe/totp", NULL), 404);     /* nobody enrols another */
    assert_int_equal(ask(FIX_OPERATOR, "DELETE", "/users/uwe/totp", NULL), 204);
    assert_int_equal(log_in("uwe", NULL), 201);
    enrol(fix.users[FIX_ADMIN].token, "ada", NULL, secret, recovery);
    assert_int_equal(ask(FIX_OPERATOR, "DELETE", "/users/ada/totp", NULL), 403);
    assert_int_equal(ask(FIX_ADMIN, "DELETE", "/users/ada/totp", NULL), 409);
}

/* Whoever may only enrol takes no other's factor away, whatever his role. */
static void test_enrolling_only(void **state)
{
    char token[API_TOKEN_LEN + 1], recovery[32];
    unsigned char secret[TOTP_SECRET_LEN];

    (void)state;
    enrol(fix.users[FIX_USER].token, "uwe", NULL, secret, recovery);
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/olga", "{\"totp_required\":true}"), 200);
    give_password("olga");
    assert_int_equal(log_in("olga", NULL), 201);
    member("token", token, sizeof(token));
    assert_int_equal(ask_as(token, "DELETE", "/users/uwe/totp", NULL), 403);
    assert_int_equal(ask(FIX_OPERATOR, "DELETE", "/users/uwe/totp", NULL), 204);
}

/* Neither the secret nor a recovery code lies anywhere in the clear. */
static int look(void *ctx, const struct store_object *row)
{
    const char *const *secrets = ctx;

    for (; *secrets; secrets++)
        assert_null(memmem(row->doc.p, row->doc.n, *secrets, strlen(*secrets)));
    return 0;
}

static void test_sealed(void **state)
{
    unsigned char secret[TOTP_SECRET_LEN];
    char recovery[32], text[TOTP_TEXT_LEN + 1];
    const char *secrets[] = { text, recovery, NULL };
    struct store_query query = { .source = STORE_AUDIT, .limit = 500 };
    struct store_secret row;
    struct store_tx *tx;

    (void)state;
    enrol(fix.users[FIX_USER].token, "uwe", NULL, secret, recovery);
    totp_base32(secret, sizeof(secret), text, sizeof(text));
    assert_int_equal(store_begin(fix.store, STORE_READ, &tx), 0);
    assert_int_equal(store_list_all(tx, &query, look, secrets), 0);
    assert_int_equal(store_secret_get(tx, &fix.users[FIX_USER].id, "totp", &row), 0);
    assert_null(memmem(row.value, row.value_len, secret, sizeof(secret)));
    assert_int_equal(store_secret_get(tx, &fix.users[FIX_USER].id, "totp.recovery", &row), 0);
    assert_null(memmem(row.value, row.value_len, recovery, strlen(recovery)));
    store_rollback(tx);
}

/* ---- a password alone, at the doors ---- */
static int find_setting(void *ctx, const struct store_change *c)
{
    bool *is_there = ctx;

    *is_there |= !strcmp(c->kind, "setting") && span_starts(c->id, SPAN("password-"));
    return 0;
}

/* What relays may ask about, and remember what was right. */
static bool is_told_to_relays(void)
{
    bool is_there = false;
    struct store_tx *tx;

    assert_int_equal(store_begin(fix.store, STORE_READ, &tx), 0);
    assert_int_equal(store_state_each(tx, find_setting, &is_there), 0);
    store_rollback(tx);
    return is_there;
}

static bool does_door_take(unsigned totp_roles)
{
    struct internal internal = { .enrol = { .store = fix.store }, .totp_roles = totp_roles };
    const struct route route = { .ctx = &internal };
    struct response res = { .status = 0 };
    struct request req = { .method = "POST" };
    static unsigned source;
    char body[256];
    bool is_taken;

    clock_ms += 65000;
    snprintf(body, sizeof(body), "{\"user\":\"%s\",\"password\":\"" PASSWORD "\",\"source\":\"192.0.2.%u\"}",
             fix.users[FIX_USER].id.text, ++source);
    req.body = span_str(body);
    buf_init_heap(&res.body, 4096);
    on_door_password(&route, &req, &res);
    assert_int_equal(res.status, 200);
    is_taken = span_eq(buf_span(&res.body), SPAN("{\"reason\":\"ok\"}"));
    buf_deinit(&res.body);
    return is_taken;
}

static void test_doors(void **state)
{
    unsigned char secret[TOTP_SECRET_LEN];
    char recovery[32];

    (void)state;
    give_password("uwe");
    assert_false(is_told_to_relays() || does_door_take(0));
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/uwe", "{\"door_password\":true}"), 200);
    assert_true(is_told_to_relays() && does_door_take(0));
    check_row("takes none of a role that needs a second factor");
    assert_false(does_door_take(ROLE_BIT_USER));
    assert_true(does_door_take(ROLE_BIT_ADMIN));
    check_row("takes none of whom a second factor is demanded");
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/uwe", "{\"totp_required\":true}"), 200);
    assert_false(is_told_to_relays() || does_door_take(0));
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/uwe", "{\"totp_required\":false}"), 200);
    assert_true(is_told_to_relays() && does_door_take(0));
    check_row("takes none of who has one, and lets relays forget at once");
    enrol(fix.users[FIX_USER].token, "uwe", NULL, secret, recovery);
    assert_false(is_told_to_relays() || does_door_take(0));
    assert_int_equal(ask(FIX_ADMIN, "DELETE", "/users/uwe/totp", NULL), 204);
    assert_true(is_told_to_relays() && does_door_take(0));
    check_row("takes none of whose credentials have lapsed");
    assert_int_equal(ask(FIX_ADMIN, "POST", "/identity-providers", PROVIDER), 201);
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/uwe", "{\"identity_provider\":\"corp\",\"subject\":\"u\"}"), 200);
    assert_false(does_door_take(0));
}

#define TEST(fn_) cmocka_unit_test_setup_teardown(fn_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_log_in), TEST(test_other_control_plane), TEST(test_required), TEST(test_guessing), TEST(test_enrol_anew),
        TEST(test_reset), TEST(test_enrolling_only), TEST(test_sealed),
        TEST(test_doors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
