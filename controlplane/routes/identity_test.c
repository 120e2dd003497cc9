#include "controlplane/publish/publish.h"
#include "controlplane/routes/api_fixture.h"

/* Service accounts, locks on the way to the API, tokens that are given another secret. */
struct town {
    struct fix fix;
    struct publisher *publisher;
    struct fix_answer answer;
};

static struct town town;

static struct policy *on_policy(void *ctx, const struct store_position *at)
{
    return publisher_policy_at(((struct town *)ctx)->publisher, at, 5000);
}

static void with_policy(struct fix *f, struct api_options *options)
{
    AUTO(buf_deinit) struct buf err;
    struct publisher_options publisher = { .store = f->store };

    buf_init_heap(&err, 4096);
    publisher.keys = f->keys;
    assert_int_equal(publisher_start(&publisher, &town.publisher, &err), 0);
    store_on_commit(f->store, publisher_wake, town.publisher);
    options->policy = on_policy;
    options->policy_ctx = &town;
}

static int setup(void **state)
{
    *state = NULL;
    fix_start_tuned(&town.fix, with_policy);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_on_commit(town.fix.store, NULL, NULL);
    publisher_free(town.publisher);
    fix_stop(&town.fix);
    return 0;
}

/* The answer's status; what was written is in force when it returns. */
static int ask_as(const char *token, const char *method, const char *path, const char *body)
{
    struct store_position at;
    struct store_tx *tx;

    fix_ask(&town.fix, token, method, path, FIX_JSON, body, &town.answer);
    assert_int_equal(store_begin(town.fix.store, STORE_READ, &tx), 0);
    assert_int_equal(store_position(tx, &at), 0);
    store_rollback(tx);
    policy_unref(publisher_policy_at(town.publisher, &at, 10000));
    return town.answer.status;
}

static int ask(size_t user, const char *method, const char *path, const char *body)
{
    return ask_as(town.fix.users[user].token, method, path, body);
}

/* A text member of the last answer. */
static void member(const char *key, char *dst, size_t size)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct json_error error;
    struct span text;

    assert_int_equal(json_parse(span_str(town.answer.body), &v, &error), 0);
    assert_true(json_get_str(v, key, &text) && span_copy(text, dst, size));
}

static void token_for(const char *name, char token[API_TOKEN_LEN + 1])
{
    char body[128];

    snprintf(body, sizeof(body), "{\"name\":\"of-%s\",\"user\":\"%s\"}", name, name);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/api-tokens", body), 201);
    member("token", token, API_TOKEN_LEN + 1);
}

/* Who binds a user decides who is let in as him: the provider's claims may make an admin of him. */
static void test_binding(void **state)
{
    char token[API_TOKEN_LEN + 1];

    (void)state;
    assert_int_equal(ask(FIX_ADMIN, "POST", "/identity-providers",
                         "{\"name\":\"corp\",\"issuer\":\"https://login.test\",\"client_id\":\"adit\"}"), 201);
    assert_int_equal(ask(FIX_OPERATOR, "POST", "/users",
                         "{\"name\":\"trap\",\"password\":\"known to olga\",\"identity_provider\":\"corp\",\"subject\":\"ada\"}"), 403);
    assert_int_equal(ask(FIX_OPERATOR, "PATCH", "/users/uwe",
                         "{\"identity_provider\":\"corp\",\"subject\":\"ada\"}"), 403);
    assert_int_equal(ask(FIX_OPERATOR, "PATCH", "/users/olga",
                         "{\"identity_provider\":\"corp\",\"subject\":\"ada\"}"), 403);
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/uwe", "{\"identity_provider\":\"corp\",\"subject\":\"uwe\"}"), 200);
    assert_int_equal(ask(FIX_OPERATOR, "PATCH", "/users/uwe", "{\"subject\":\"ada\"}"), 403);
    assert_int_equal(ask(FIX_OPERATOR, "PATCH", "/users/uwe", "{\"description\":\"bound\"}"), 200);

    /* Whom the provider forgets has no other way in that he made himself. */
    assert_int_equal(ask(FIX_USER, "PATCH", "/users/uwe", "{\"password\":\"a way around\"}"), 401);
    assert_int_equal(ask(FIX_VICTIM, "PATCH", "/users/victor", "{\"password\":\"his only way\"}"), 200);
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/uwe", "{\"password\":\"given to him\"}"), 200);
    assert_int_equal(ask_as(NULL, "POST", "/login-sessions", "{\"user\":\"uwe\",\"password\":\"given to him\"}"), 201);
    member("token", token, sizeof(token));
    assert_int_equal(ask_as(token, "PATCH", "/users/uwe", "{\"password\":\"a way around\"}"), 403);
}

static void test_service_account(void **state)
{
    char token[API_TOKEN_LEN + 1], id[ULID_LEN + 1], path[128];

    (void)state;
    assert_int_equal(ask(FIX_OPERATOR, "POST", "/service-accounts", "{\"name\":\"robot\"}"), 201);
    member("id", id, sizeof(id));
    assert_int_equal(ask(FIX_OPERATOR, "POST", "/service-accounts", "{\"name\":\"boss\",\"role\":\"admin\"}"), 403);
    assert_int_equal(ask(FIX_OPERATOR, "POST", "/service-accounts", "{\"name\":\"a\",\"password\":\"12345678\"}"), 422);
    token_for("robot", token);
    assert_int_equal(ask_as(token, "GET", "/me", NULL), 200);
    assert_non_null(strstr(town.answer.body, "\"kind\":\"service-account\""));

    /* What stands for who may takes it: credentials of its own, grants, groups. */
    assert_int_equal(ask_as(token, "POST", "/proxy-credentials", "{\"name\":\"door\"}"), 201);
    assert_non_null(strstr(town.answer.body, id));
    assert_int_equal(ask(FIX_ADMIN, "POST", "/agent-groups", "{\"name\":\"office\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/grants", "{\"user\":\"robot\",\"agent_group\":\"office\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/groups", "{\"name\":\"machines\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "PUT", "/groups/machines/members/robot", "{}"), 201);
    assert_non_null(strstr(town.answer.body, "\"kind\":\"service-account\""));
    assert_int_equal(ask_as(token, "GET", "/access/explain?user=robot&host=a.test&port=80", NULL), 200);
    assert_int_equal(ask_as(token, "GET", "/access/explain?user=victor&host=a.test&port=80", NULL), 404);
    assert_int_equal(ask_as(token, "GET", "/users", NULL), 200);
    assert_null(strstr(town.answer.body, "victor"));
    assert_int_equal(ask_as(token, "GET", "/service-accounts", NULL), 403);

    /* It is gone with all that stood for it. */
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/service-accounts/robot", "{\"status\":\"disabled\"}"), 200);
    assert_int_equal(ask_as(token, "GET", "/me", NULL), 401);
    snprintf(path, sizeof(path), "/service-accounts/%s", id);
    assert_int_equal(ask(FIX_ADMIN, "DELETE", path, NULL), 409);
    snprintf(path, sizeof(path), "/service-accounts/%s?cascade=true", id);
    assert_int_equal(ask(FIX_ADMIN, "DELETE", path, NULL), 204);
    assert_int_equal(ask_as(token, "GET", "/me", NULL), 401);
}

static void test_one_name_for_both(void **state)
{
    (void)state;
    assert_int_equal(ask(FIX_ADMIN, "POST", "/service-accounts", "{\"name\":\"victor\"}"), 409);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/service-accounts", "{\"name\":\"robot\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/users", "{\"name\":\"robot\"}"), 409);
}

static void test_lock(void **state)
{
    static const char *const locks[] = { "{\"name\":\"it\",\"user\":\"victor\"}", "{\"name\":\"it\",\"group\":\"outer\"}" };
    const char *victor = town.fix.users[FIX_VICTIM].token;

    (void)state;
    assert_int_equal(ask(FIX_ADMIN, "POST", "/groups", "{\"name\":\"outer\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/groups", "{\"name\":\"inner\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "PUT", "/groups/outer/members/inner", "{}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "PUT", "/groups/inner/members/victor", "{}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "PATCH", "/users/victor", "{\"password\":\"his own password\"}"), 200);
    for (size_t i = 0; i < ARRAY_LEN(locks); i++) {
        check_row(locks[i]);
        assert_int_equal(ask_as(victor, "GET", "/me", NULL), 200);
        assert_int_equal(ask(FIX_ADMIN, "POST", "/locks", locks[i]), 201);
        assert_int_equal(ask_as(victor, "GET", "/me", NULL), 403);
        assert_non_null(strstr(town.answer.body, "\"locked\""));
        assert_int_equal(ask_as(NULL, "POST", "/login-sessions",
                                "{\"user\":\"victor\",\"password\":\"his own password\"}"), 403);
        assert_int_equal(ask(FIX_USER, "GET", "/me", NULL), 200);
        assert_int_equal(ask(FIX_ADMIN, "DELETE", "/locks/it", NULL), 204);
    }
    check_row(NULL);
    assert_int_equal(ask_as(NULL, "POST", "/login-sessions",
                            "{\"user\":\"victor\",\"password\":\"his own password\"}"), 201);
}

static void test_last_admin(void **state)
{
    (void)state;
    assert_int_equal(ask(FIX_ADMIN, "POST", "/groups", "{\"name\":\"chiefs\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "PUT", "/groups/chiefs/members/ada", "{}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/locks", "{\"user\":\"ada\"}"), 409);
    assert_non_null(strstr(town.answer.body, "last-admin"));
    assert_int_equal(ask(FIX_ADMIN, "POST", "/locks", "{\"group\":\"chiefs\"}"), 409);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/users", "{\"name\":\"berta\",\"role\":\"admin\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/locks", "{\"user\":\"berta\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/locks", "{\"group\":\"chiefs\"}"), 409);   /* she is locked */
    assert_int_equal(ask(FIX_ADMIN, "POST", "/locks", "{\"group\":\"chiefs\",\"ends_at\":\"2031-01-01T00:00:00Z\"}"), 409);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/users", "{\"name\":\"carla\",\"role\":\"admin\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "POST", "/locks", "{\"group\":\"chiefs\"}"), 201);
    assert_int_equal(ask(FIX_ADMIN, "GET", "/me", NULL), 403);
}

static void test_rotate(void **state)
{
    char first[API_TOKEN_LEN + 1], second[API_TOKEN_LEN + 1], third[API_TOKEN_LEN + 1];

    (void)state;
    token_for("victor", first);
    assert_int_equal(ask(FIX_OPERATOR, "POST", "/api-tokens/of-victor/rotate?dry_run=true", "{}"), 200);
    assert_null(strstr(town.answer.body, "adit_"));
    assert_int_equal(ask_as(first, "POST", "/api-tokens/of-victor/rotate", "{\"overlap_s\":600}"), 200);
    member("token", second, sizeof(second));
    assert_int_equal(ask_as(first, "GET", "/me", NULL), 200);           /* two count at once */
    assert_int_equal(ask_as(second, "GET", "/me", NULL), 200);
    assert_int_equal(ask_as(second, "POST", "/api-tokens/of-victor/rotate", NULL), 200);
    member("token", third, sizeof(third));
    assert_int_equal(ask_as(first, "GET", "/me", NULL), 401);           /* but never three */
    assert_int_equal(ask_as(second, "GET", "/me", NULL), 200);
    assert_int_equal(ask_as(third, "POST", "/api-tokens/of-victor/rotate", "{\"overlap_s\":0}"), 200);
    member("token", first, sizeof(first));
    assert_int_equal(ask_as(second, "GET", "/me", NULL), 401);
    assert_int_equal(ask_as(third, "GET", "/me", NULL), 401);
    assert_int_equal(ask_as(first, "GET", "/me", NULL), 200);
    assert_int_equal(ask_as(first, "POST", "/api-tokens/of-victor/rotate", "{\"overlap_s\":-1}"), 422);
    assert_int_equal(ask_as(first, "POST", "/api-tokens/of-victor/rotate", "{\"overlap\":1}"), 422);
    assert_int_equal(ask(FIX_USER, "POST", "/api-tokens/of-victor/rotate", "{}"), 404);
    assert_int_equal(ask(FIX_AUDITOR, "POST", "/api-tokens/of-victor/rotate", "{}"), 404);
}

static void test_rank_of_rotation(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof(path), "/api-tokens/%s/rotate", town.fix.users[FIX_ADMIN].token_id.text);
    assert_int_equal(ask(FIX_OPERATOR, "POST", path, "{}"), 403);
    assert_non_null(strstr(town.answer.body, "wider-than-own"));
}

static void test_last_use(void **state)
{
    char token[API_TOKEN_LEN + 1];

    (void)state;
    token_for("victor", token);
    assert_int_equal(api_keep_uses(town.fix.api), 0);
    assert_int_equal(ask(FIX_ADMIN, "GET", "/api-tokens/of-victor", NULL), 200);
    assert_non_null(strstr(town.answer.body, "\"last_used_at\":null"));
    assert_int_equal(ask_as(token, "GET", "/me", NULL), 200);
    assert_int_equal(api_keep_uses(town.fix.api), 0);
    assert_int_equal(ask(FIX_ADMIN, "GET", "/api-tokens/of-victor", NULL), 200);
    assert_non_null(strstr(town.answer.body, "\"last_used_at\":\"2"));
    assert_non_null(strstr(town.answer.body, "\"last_used_from\":\"127.0.0.1\""));
    assert_int_equal(ask_as(token, "GET", "/me", NULL), 200);
    assert_int_equal(ask(FIX_ADMIN, "DELETE", "/api-tokens/of-victor", NULL), 204);
    assert_int_equal(api_keep_uses(town.fix.api), 0);   /* what is gone has no last use */
}

#define TEST(fn_) cmocka_unit_test_setup_teardown(fn_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_service_account), TEST(test_binding), TEST(test_one_name_for_both), TEST(test_lock), TEST(test_last_admin),
        TEST(test_rotate), TEST(test_rank_of_rotation), TEST(test_last_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
