#include "controlplane/oidc/oidc_internal.h"
#include "lib/check/check.h"
#include "lib/log/log.h"
#include <arpa/inet.h>
#include <semaphore.h>
#include <stdio.h>

#define ISSUER "https://idp.example"
#define PUBLISHED(issuer_, token_)                                                                     \
    "{\"issuer\":\"" issuer_ "\",\"authorization_endpoint\":\"https://idp.example/authorize\","       \
    "\"token_endpoint\":\"" token_ "\",\"jwks_uri\":\"https://idp.example/keys\""

static void test_metadata(void **state)
{
    static const struct {
        const char *it, *json;
        bool is_taken;
    } rows[] = {
        { "refuses what is not JSON", "<html>", false },
        { "refuses a list", "[]", false },
        { "refuses an empty object", "{}", false },
        { "refuses another issuer", PUBLISHED("https://evil.example", "https://idp.example/token") "}", false },
        { "refuses the issuer with a slash more", PUBLISHED(ISSUER "/", "https://idp.example/token") "}", false },
        { "refuses an endpoint without TLS", PUBLISHED(ISSUER, "http://idp.example/token") "}", false },
        { "refuses a file", PUBLISHED(ISSUER, "file:///etc/passwd") "}", false },
        { "refuses user info", PUBLISHED(ISSUER, "https://idp.example@evil.example/token") "}", false },
        { "refuses spaces", PUBLISHED(ISSUER, "https://idp.example/a b") "}", false },
        { "refuses fragments", PUBLISHED(ISSUER, "https://idp.example/#x") "}", false },
        { "refuses a name twice", PUBLISHED(ISSUER, "https://idp.example/token") ",\"issuer\":\"" ISSUER "\"}", false },
        { "takes the rest", PUBLISHED(ISSUER, "https://idp.example/token") "}", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct metadata m = { .names_itself = true };

        check_row(rows[i].it);
        assert_int_equal(metadata_parse(span_str(rows[i].json), ISSUER, &m) == NULL, rows[i].is_taken);
    }
}

static void test_client_authentication(void **state)
{
    static const struct {
        const char *it, *methods;
        bool posts;
    } rows[] = {
        { "is Basic where nothing is said", "", false },
        { "is Basic where it is listed", ",\"token_endpoint_auth_methods_supported\":[\"client_secret_post\","
          "\"client_secret_basic\"]", false },
        { "posts where nothing else is taken",
          ",\"token_endpoint_auth_methods_supported\":[\"client_secret_post\"]", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char json[1024];
        struct metadata m;

        check_row(rows[i].it);
        snprintf(json, sizeof(json), "%s%s}", PUBLISHED(ISSUER, "https://idp.example/token"), rows[i].methods);
        assert_null(metadata_parse(span_str(json), ISSUER, &m));
        assert_int_equal(m.posts_secret, rows[i].posts);
    }
}

static sem_t told;

static void on_done(void *ctx)
{
    (void)ctx;
    sem_post(&told);
}

static struct oidc_ask ask_of(char last)
{
    struct oidc_ask ask = { .version = 1, .client_id = "me", .client_secret = "", .ca_pem = "",
                            .issuer = "https://127.0.0.1:1", .redirect_uri = "https://me/", .algs = JOSE_ALGS_ALL };

    memset(ask.provider.text, '0', ULID_LEN);
    ask.provider.text[ULID_LEN - 1] = last;
    return ask;
}

/* What a test uses; ended where it fails too, as its thread must not outlive main(). */
static struct oidc *living;

static int teardown(void **state)
{
    (void)state;
    oidc_freep(&living);
    living = NULL;
    return 0;
}

/* Nobody listens on port 1: what cannot be reached is told, and not tried again at once. */
static void test_unavailable(void **state)
{
    const struct oidc_options options = { .asks_max = 8, .timeout_ms = 5000, .done = on_done };
    struct oidc *o;
    struct oidc_ask ask = ask_of('1');
    struct oidc_answer answer = { .is_done = false };
    struct oidc_stats stats;

    (void)state;
    log_init("test", 2, LOG_TEXT, LOG_ERROR);
    sem_init(&told, 0, 0);
    assert_int_equal(oidc_new(&options, &living), 0);
    o = living;
    check_row("knows nothing that was not asked");
    assert_false(oidc_take(o, "a", &answer));
    check_row("tells that a provider cannot be reached");
    assert_int_equal(oidc_begin(o, "a", &ask), 0);
    while (!answer.is_done) {
        assert_true(oidc_take(o, "a", &answer));
        if (!answer.is_done)
            sem_wait(&told);
    }
    assert_int_equal(answer.reason, REASON_IDENTITY_PROVIDER_UNAVAILABLE);
    assert_true(answer.why[0]);
    assert_false(oidc_take(o, "a", &answer));
    check_row("pauses before it tries again");
    assert_int_equal(oidc_begin(o, "b", &ask), 0);
    assert_true(oidc_take(o, "b", &answer));
    assert_true(answer.is_done);
    oidc_get_stats(o, &stats);
    assert_int_equal(stats.fetches, 1);
    assert_int_equal(stats.running, 0);
    check_row("begins anew when the settings changed");
    ask.version = 2;
    assert_int_equal(oidc_begin(o, "c", &ask), 0);
    oidc_get_stats(o, &stats);
    assert_int_equal(stats.fetches, 2);
    oidc_cancel(o, "c");
    assert_false(oidc_take(o, "c", &answer));
    check_row("takes the newer settings for who read older ones, and asks nobody again");
    for (int i = 0; i < 4; i++) {
        ask.version = i % 2 ? 2 : 1;
        assert_int_equal(oidc_begin(o, "d", &ask), 0);
        oidc_cancel(o, "d");
    }
    oidc_get_stats(o, &stats);
    assert_int_equal(stats.fetches, 2);
}

/* Takes connections and says nothing. */
static int listen_silently(char url[64])
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(at);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    snprintf(url, 64, "https://127.0.0.1:%u", ntohs(at.sin_port));
    return fd;
}

/* A provider that never answers takes a quarter of the places; the others find theirs. */
static void test_shares(void **state)
{
    const struct oidc_options options = { .asks_max = 8, .timeout_ms = 20000 };
    struct oidc *o;
    struct oidc_ask slow = ask_of('1'), other = ask_of('2');
    char url[64];
    AUTO(fd_closep) int fd = listen_silently(url);

    (void)state;
    slow.issuer = other.issuer = url;
    assert_int_equal(oidc_new(&options, &living), 0);
    o = living;
    assert_int_equal(oidc_begin(o, "a", &slow), 0);
    assert_int_equal(oidc_begin(o, "b", &slow), 0);
    assert_int_equal(oidc_begin(o, "c", &slow), OIDC_E_FULL);
    assert_int_equal(oidc_begin(o, "a", &other), OIDC_E_EXISTS);
    assert_int_equal(oidc_begin(o, "d", &other), 0);
    oidc_cancel(o, "a");
    assert_int_equal(oidc_begin(o, "e", &slow), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metadata), cmocka_unit_test(test_client_authentication),
        cmocka_unit_test_teardown(test_unavailable, teardown), cmocka_unit_test_teardown(test_shares, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
