#include "dataplane/policy/view.h"
#include "lib/check/check.h"
#include "lib/policy/base_fixture.h"
#include <pthread.h>

#define SECRET "adp_0123456789abcdef"

static struct credential_keys keys_of(unsigned char first, unsigned char second)
{
    struct credential_keys keys = { .count = second ? 2 : first ? 1 : 0 };

    memset(keys.keys[0], first, CREDENTIAL_KEY_LEN);
    memset(keys.keys[1], second, CREDENTIAL_KEY_LEN);
    return keys;
}

/* ann's credential, hashed with the key of bytes `key`. */
static struct policy *world_with(unsigned char key, int64_t expires_ms)
{
    struct credential_record *c = MAKE(CREDENTIAL, credential_record, K1);
    unsigned char bytes[CREDENTIAL_KEY_LEN];

    memset(bytes, key, sizeof(bytes));
    c->user = uid(ANN);
    c->expires_ms = expires_ms;
    proxy_secret_hash(span_of(bytes, sizeof(bytes)), SPAN(SECRET), c->hash);
    return with(base_world(), c);
}

static void test_authenticate(void **state)
{
    static const struct {
        const char *it;
        unsigned char known, first, second;
        const char *user, *secret;
        int64_t expires_ms;
        enum reason want;
    } rows[] = {
        { "knows a secret by the newest key", 7, 7, 0, "ann", SECRET, 0, REASON_NONE },
        { "knows a secret by the older key while keys rotate", 7, 9, 7, "ann", SECRET, 0, REASON_NONE },
        { "knows no secret of a key that is gone", 7, 9, 8, "ann", SECRET, 0, REASON_AUTH_FAILED },
        { "knows nobody without a key", 7, 0, 0, "ann", SECRET, 0, REASON_AUTH_FAILED },
        { "refuses another secret", 7, 7, 0, "ann", "adp_0123456789abcdeg", 0, REASON_AUTH_FAILED },
        { "refuses an empty secret", 7, 7, 0, "ann", "", 0, REASON_AUTH_FAILED },
        { "refuses the hash as the secret", 7, 7, 0, "ann", "07", 0, REASON_AUTH_FAILED },
        { "refuses another user", 7, 7, 0, "cid", SECRET, 0, REASON_AUTH_FAILED },
        { "refuses no user", 7, 7, 0, "", SECRET, 0, REASON_AUTH_FAILED },
        { "says that the credential has expired", 7, 7, 0, "ann", SECRET, NOW_MS - 1, REASON_CREDENTIAL_EXPIRED },
        { "says so also when an older key knows nothing of it", 7, 7, 9, "ann", SECRET, NOW_MS - 1, REASON_CREDENTIAL_EXPIRED },
        { "says so with an older key too", 7, 9, 7, "ann", SECRET, NOW_MS - 1, REASON_CREDENTIAL_EXPIRED },
    };
    const struct addr source = addr_v4(192, 0, 2, 1);
    const struct state_position position = { .epoch = 1 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct policy *p = world_with(rows[i].known, rows[i].expires_ms);
        struct credential_keys keys = keys_of(rows[i].first, rows[i].second);
        struct view *v = view_new(p, &position, &keys);
        const struct credential_record *credential = NULL;
        const struct user_record *user = NULL;

        check_row(rows[i].it);
        policy_unref(p);                    /* the view has its own */
        assert_int_equal(view_authenticate(v, span_str(rows[i].user), span_str(rows[i].secret), &source, NOW_MS,
                                           &user, &credential),
                         rows[i].want);
        if (rows[i].want == REASON_NONE) {
            assert_string_equal(user->name, "ann");
            assert_id(&credential->record, K1);
        }
        view_unref(v);
    }
}

static void test_freshness(void **state)
{
    static const struct {
        const char *it;
        uint64_t heard_ms, max_ms, now_ms, profile_ms;
        bool want;
    } rows[] = {
        { "is stale if nothing was ever heard", 0, 1000, 5, 0, true },
        { "is fresh at once", 100, 1000, 100, 0, false },
        { "is fresh at the limit", 100, 1000, 1100, 0, false },
        { "is stale behind the limit", 100, 1000, 1101, 0, true },
        { "is stale behind a profile's lower limit", 100, 1000, 151, 50, true },
        { "is fresh at a profile's lower limit", 100, 1000, 150, 50, false },
        { "takes no higher limit of a profile", 100, 1000, 1101, 5000, true },
        { "is fresh when the clock seems to run back", 100, 1000, 50, 0, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct freshness f;

        check_row(rows[i].it);
        atomic_init(&f.heard_ms, rows[i].heard_ms);
        atomic_init(&f.max_ms, rows[i].max_ms);
        assert_int_equal(freshness_is_stale(&f, rows[i].now_ms, rows[i].profile_ms), rows[i].want);
    }
}

static void *use(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        struct view *v = view_ref(arg);

        assert_non_null(policy_find_name(v->policy, RECORD_USER, SPAN("ann")));
        view_unref(v);
    }
    view_unref(arg);
    return NULL;
}

static void test_threads(void **state)
{
    const struct state_position position = { .epoch = 1 };
    const struct credential_keys keys = { .count = 0 };
    struct policy *p = base_world();
    struct view *v = view_new(p, &position, &keys);
    pthread_t threads[3];

    (void)state;
    check_row("is freed by the last of several threads");
    policy_unref(p);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use, view_ref(v)), 0);
    view_unref(v);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_authenticate), cmocka_unit_test(test_freshness), cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
