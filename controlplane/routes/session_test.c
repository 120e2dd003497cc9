#include "controlplane/domain/when.h"
#include "controlplane/routes/api_fixture.h"

/* Log-in sessions: how many there are, and what ends them; API tokens that lapse. */
#define PASSWORD "his own password"
#define START_MS 1800000000000ULL
#define SESSIONS 3

struct session {
    char token[API_TOKEN_LEN + 1];
};

static struct fix fix;
static struct fix_answer answer;
static uint64_t clock_ms;

static uint64_t test_clock(void)
{
    return clock_ms += 2;               /* what is made later has a greater id */
}

static void tune(struct fix *f, struct api_options *options)
{
    (void)f;
    options->sessions_max = SESSIONS;
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

static struct session log_in(const char *user)
{
    struct session s;
    char body[128];

    snprintf(body, sizeof(body), "{\"user\":\"%s\",\"password\":\"" PASSWORD "\"}", user);
    assert_int_equal(ask_as(NULL, "POST", "/login-sessions", body), 201);
    member("token", s.token, sizeof(s.token));
    return s;
}

static bool is_on(const struct session *s)
{
    return ask_as(s->token, "GET", "/me", NULL) == 200;
}

static void give_password(const char *user)
{
    char path[64];

    snprintf(path, sizeof(path), "/users/%s", user);
    assert_int_equal(ask(FIX_ADMIN, "PATCH", path, "{\"password\":\"" PASSWORD "\"}"), 200);
}

static void test_bounded(void **state)
{
    struct session mine[SESSIONS + 1], other;

    (void)state;
    give_password("uwe");
    give_password("victor");
    other = log_in("victor");
    for (size_t i = 0; i <= SESSIONS; i++)
        mine[i] = log_in("uwe");
    check_row("ends the oldest when there would be more");
    assert_false(is_on(&mine[0]));
    for (size_t i = 1; i <= SESSIONS; i++)
        assert_true(is_on(&mine[i]));
    check_row("ends nobody else's");
    assert_true(is_on(&other));
    check_row("says so in the audit trail");
    assert_int_equal(ask(FIX_ADMIN, "GET", "/audit-events?action=login-sessions.create&count=true", NULL), 200);
    assert_non_null(strstr(answer.body, "\"before\":{\"user\":"));
}

/* What ends all sessions of uwe, and not those of others; `keeps_own`: but that in which he does it. */
static void test_ends(void **state)
{
    static const struct {
        const char *it;
        size_t by;                      /* FIX_USER: by his session */
        const char *method, *path, *body;
        int status;
        bool ends, keeps_own;
    } rows[] = {
        { "go on when something else is changed", FIX_ADMIN, "PATCH", "/users/uwe", "{\"description\":\"x\"}", 200, false, false },
        { "go on when a password is refused", FIX_OPERATOR, "PATCH", "/users/uwe", "{\"password\":\"short\"}", 422, false, false },
        { "go on when nothing is done", FIX_ADMIN, "PATCH", "/users/uwe?dry_run=true", "{\"password\":\"another one\"}", 200, false, false },
        { "end by a new password, but the one that it is given in", FIX_USER, "PATCH", "/users/uwe",
          "{\"password\":\"another one\"}", 200, true, true },
        { "end by another's giving him a new password", FIX_OPERATOR, "PATCH", "/users/uwe", "{\"password\":\"another one\"}", 200, true, false },
        { "end by being disabled, for good", FIX_ADMIN, "PATCH", "/users/uwe", "{\"status\":\"disabled\"}", 200, true, false },
        { "end by being bound to a log-in of a provider", FIX_ADMIN, "PATCH", "/users/uwe",
          "{\"identity_provider\":\"corp\",\"subject\":\"u\"}", 200, true, false },
    };

    (void)state;
    assert_int_equal(ask(FIX_ADMIN, "POST", "/identity-providers",
                         "{\"name\":\"corp\",\"issuer\":\"https://login.test\",\"client_id\":\"adit\"}"), 201);
    give_password("victor");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct session own, second, other;

        check_row(rows[i].it);
        give_password("uwe");
        own = log_in("uwe");
        second = log_in("uwe");
        other = log_in("victor");
        assert_int_equal(ask_as(rows[i].by == FIX_USER ? own.token : fix.users[rows[i].by].token, rows[i].method,
                                rows[i].path, rows[i].body), rows[i].status);
        assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/uwe", "{\"status\":\"active\"}"), 200);
        assert_int_equal(is_on(&own), !rows[i].ends || rows[i].keeps_own);
        assert_int_equal(is_on(&second), !rows[i].ends);
        assert_true(is_on(&other));
    }
}

/* Those who log in by a provider that is switched off, and nobody else. */
static void test_provider_ends(void **state)
{
    struct session bound, free;

    (void)state;
    assert_int_equal(ask(FIX_ADMIN, "POST", "/identity-providers",
                         "{\"name\":\"corp\",\"issuer\":\"https://login.test\",\"client_id\":\"adit\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/uwe", "{\"identity_provider\":\"corp\",\"subject\":\"u\"}"), 200);
    give_password("uwe");
    give_password("victor");
    bound = log_in("uwe");
    free = log_in("victor");
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/identity-providers/corp", "{\"description\":\"x\"}"), 200);
    check_row("goes on when something else is changed");
    assert_true(is_on(&bound));
    check_row("ends when the provider is disabled");
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/identity-providers/corp", "{\"status\":\"disabled\"}"), 200);
    assert_false(is_on(&bound));
    check_row("is nobody else's business");
    assert_true(is_on(&free));
}

/* ---- API tokens of who logs in by a provider ---- */
static void bind_to_provider(const struct ulid *provider, int64_t last_ms)
{
    struct ulid *user = &fix.users[FIX_USER].id;
    struct change_ref ref = { "identity_provider", *provider };
    char doc[512], last[WHEN_TEXT_MAX];
    struct store_tx *tx;
    struct change c;
    int64_t version;

    snprintf(doc, sizeof(doc), "{\"status\":\"active\",\"role\":\"user\",\"identity_provider\":\"%s\",\"subject\":\"s\"%s%s%s}",
             provider->text, last_ms ? ",\"last_login_at\":\"" : "", last_ms ? when_format(last_ms, last) : "", last_ms ? "\"" : "");
    assert_int_equal(store_begin(fix.store, STORE_WRITE, &tx), 0);
    c = fix_change(tx);
    assert_int_equal(change_update(&c, &(struct change_object){ .kind = kind_at(KIND_USER), .id = *user,
        .doc = span_str(doc), .refs = &ref, .ref_count = 1 }, 0, &version), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static void test_tokens_lapse(void **state)
{
    static const struct {
        const char *it;
        int64_t last_s;                 /* before now; 0: never */
        int status;
    } rows[] = {
        { "does not count before the first log-in", 0, 401 },
        { "counts for seven days", 7LL * 24 * 3600 - 60, 200 },
        { "counts no more after them", 7LL * 24 * 3600 + 1, 401 },
        { "counts again after the next log-in", 1, 200 },
    };
    struct ulid provider;
    struct store_tx *tx;

    (void)state;
    assert_int_equal(store_begin(fix.store, STORE_WRITE, &tx), 0);
    provider = fix_insert(&fix, tx, KIND_IDENTITY_PROVIDER, "corp", "{\"status\":\"active\"}", NULL, (struct change_secret){ 0 });
    assert_int_equal(store_commit(&tx, NULL), 0);
    assert_int_equal(ask(FIX_USER, "GET", "/me", NULL), 200);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        bind_to_provider(&provider, rows[i].last_s ? (int64_t)clock_ms - rows[i].last_s * 1000 : 0);
        assert_int_equal(ask(FIX_USER, "GET", "/me", NULL), rows[i].status);
    }
    check_row("is nobody else's business");
    assert_int_equal(ask(FIX_VICTIM, "GET", "/me", NULL), 200);
}

#define TEST(fn_) cmocka_unit_test_setup_teardown(fn_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bounded), TEST(test_ends), TEST(test_provider_ends), TEST(test_tokens_lapse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
