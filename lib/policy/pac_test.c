#include "lib/policy/base_fixture.h"
#include "lib/policy/index_internal.h"
#include "lib/policy/pac.h"

#include <errno.h>
#include <string.h>

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct policy *with_link(struct policy *base, const struct ulid *link, unsigned user, int64_t expires_ms)
{
    char name[PAC_SETTING_MAX];
    struct record *record = record_new(RECORD_SETTING, span_str(pac_setting(link, name)));
    struct setting_record *setting = container_of(record, struct setting_record, record);
    const struct ulid who = uid(user);
    struct policy *p = NULL;
    struct buf value;

    assert_non_null(record);
    buf_init_fixed(&value, setting->value, sizeof(setting->value) - 1);
    pac_setting_value(SPAN(HASH), &who, expires_ms, &value);
    assert_int_equal(policy_apply(base, &(struct policy_change){ .kind = RECORD_SETTING, .put = record }, 1, &p), 0);
    record_unref(record);
    policy_unref(base);
    return p;
}

static void test_link(void **state)
{
    static const struct {
        const char *it, *hash;
        unsigned link, user;
        int64_t expires_ms;
        enum reason want;
    } rows[] = {
        { "refuses a link that is not there", HASH, 2, ANN, 0, REASON_AUTH_FAILED },
        { "refuses another secret", OTHER, 1, ANN, 0, REASON_AUTH_FAILED },
        { "refuses no secret", "", 1, ANN, 0, REASON_AUTH_FAILED },
        { "refuses a link that has ended", HASH, 1, ANN, NOW_MS, REASON_CREDENTIAL_EXPIRED },
        { "refuses a user who is off", HASH, 1, BOB, 0, REASON_USER_DISABLED },
        { "refuses a user who is gone", HASH, 1, 9, 0, REASON_AUTH_FAILED },
        { "takes a link", HASH, 1, ANN, 0, REASON_NONE },
        { "takes a link that ends later", HASH, 1, ANN, NOW_MS + 1, REASON_NONE },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct ulid made = uid(1), asked = uid(rows[i].link), user = uid(rows[i].user);
        AUTO(policy_unrefp) struct policy *p = with_link(base_world(), &made, rows[i].user, rows[i].expires_ms);
        struct ulid got;

        check_row(rows[i].it);
        assert_int_equal(pac_link_user(p, &asked, span_str(rows[i].hash), NOW_MS, &got), rows[i].want);
        if (rows[i].want == REASON_NONE)
            assert_memory_equal(got.text, user.text, ULID_LEN);
    }
}

static char text[PAC_MAX + 1];

static int written(const struct policy *p, unsigned user, const char *proxies)
{
    const struct ulid id = uid(user);
    struct buf out;
    int r;

    buf_init_fixed(&out, text, PAC_MAX);
    r = pac_write(p, &id, span_str(proxies), NOW_MS, &out);
    text[out.len] = '\0';
    return r;
}

static void test_targets(void **state)
{
    static const struct {
        const char *it, *line;
        unsigned user;
        bool is_there;
    } rows[] = {
        { "names the user's own", "add(names, \"=\" + \"db.x\", [5432,5432]);\n", ANN, true },
        { "names his groups'", "add(suffixes, \"=\" + \"x\", [80,80]);\n", ANN, true },
        { "names networks", "nets.push([[0,0,0,0,0,65535,2560,0],104,[1,65535],false]);\n", ANN, true },
        { "says which networks resolve", "nets.push([[0,0,0,0,0,65535,44048,0],108,[9000,9000],true]);\n", ANN, true },
        { "sends not everything", "all = false", ANN, true },
        { "sends everything by a whole group", "all = true", CID, true },
        { "names nothing then", "add(names, \"=\"", CID, false },
        { "names nothing of others", "add(names, \"=\"", BOB, false },
    };
    AUTO(policy_unrefp) struct policy *p = base_world();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(written(p, rows[i].user, "HTTPS r.example:443"), 0);
        assert_non_null(strstr(text, "var proxies = \"HTTPS r.example:443\""));
        assert_int_equal(strstr(text, rows[i].line) != NULL, rows[i].is_there);
    }
}

#define NAMED "add(names, \"=\" + \""

/* The state's decoder lets none of these in; the script does not rely on it. */
static void test_hostile(void **state)
{
    static const char *const names[] = {
        "\");alert(1);(\"", "a\nb", "a\\", "</script>", "\xe2\x80\xa8", "a\"b", "a'b", "\x7f", "__proto__",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct profile_record *profile = make_profile(P_OTHER, "x", 0, G1);
        struct grant_record *grant = make_grant(GR + 7, SUBJECT_USER, ANN, P_OTHER, 0);
        struct policy_change changes[] = { { .kind = RECORD_PROFILE, .put = &profile->record },
                                           { .kind = RECORD_GRANT, .put = &grant->record } };
        AUTO(policy_unrefp) struct policy *base = base_world(), *p = NULL;
        const char *line, *end;

        check_row(names[i]);
        free(profile->hosts[0].text);
        profile->hosts[0].text = strdup(names[i]);
        assert_int_equal(policy_apply(base, changes, 2, &p), 0);
        assert_int_equal(written(p, ANN, "PROXY r.example:80"), 0);
        line = strstr(text, NAMED);
        if (line && strncmp(line + strlen(NAMED), "db.x", 4) == 0)
            line = strstr(line + 1, NAMED);
        end = line ? strchr(line, '\n') : NULL;
        assert_non_null(end);
        for (const char *at = line; at < end; at++)
            assert_true(*at >= ' ' && *at < 0x7f && *at != '\'' && *at != '<' && *at != '>');
        assert_int_equal(end[-1], ';');
        record_unref(&profile->record);
        record_unref(&grant->record);
    }
}

static void test_proxies(void **state)
{
    static const struct {
        const char *it, *proxies;
        int want;
    } rows[] = {
        { "takes several", "HTTPS a.example:443; PROXY [2001:db8::1]:8080", 0 },
        { "refuses none", "", -EINVAL },
        { "refuses a quote", "HTTPS a\":443", -EINVAL },
        { "refuses a line", "HTTPS a:443\nx", -EINVAL },
        { "refuses a backslash", "HTTPS a\\:443", -EINVAL },
    };
    AUTO(policy_unrefp) struct policy *p = base_world();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        assert_int_equal(written(p, ANN, rows[i].proxies), rows[i].want);
    }
}

/* How many grants the index gives of a subject, each of them looked up in the version's records. */
static size_t indexed(const struct policy *p, unsigned subject)
{
    const struct ulid id = uid(subject);
    struct index_grants at = { .is_over = false };
    const struct grant_record *g;
    size_t n = 0;

    while ((g = index_next_grant(p, ulid_span(&id), &at))) {
        assert_ptr_equal(policy_find(p, RECORD_GRANT, record_id(&g->record)), &g->record);
        assert_memory_equal(g->subject.text, id.text, ULID_LEN);
        n++;
    }
    return n;
}

static size_t walked(const struct policy *p, unsigned subject)
{
    const struct ulid id = uid(subject);
    struct policy_cursor cursor = { 0 };
    const struct record *each;
    size_t n = 0;

    while ((each = policy_next(p, RECORD_GRANT, &cursor)))
        n += memcmp(RECORD_AS(each, GRANT, grant_record)->subject.text, id.text, ULID_LEN) == 0;
    return n;
}

/* Grants come, go, and change whose they are; versions that are kept stay as they were. */
static void test_subjects(void **state)
{
    enum { SUBJECTS = 3, GRANTS = 8, STEPS = 2000, KEPT = 50 };
    struct policy *p = base_world(), *kept = policy_ref(p);
    size_t before[SUBJECTS] = { 0 };
    uint64_t dice = 88172645463325252u;

    (void)state;
    check_row("finds each subject's grants and no others");
    for (size_t step = 0; step < STEPS; step++) {
        unsigned id = GR + 20 + (unsigned)(dice % GRANTS), who = ANN + (unsigned)(dice / 64 % SUBJECTS);

        p = dice / 1024 % 3 ? with(p, make_grant(id, SUBJECT_USER, who, dice / 4096 % 4 ? P_OTHER : 0, G1))
                            : without(p, RECORD_GRANT, id);
        for (unsigned s = 0; s < SUBJECTS; s++)
            assert_int_equal(indexed(p, ANN + s), walked(p, ANN + s));
        for (unsigned s = 0; s < SUBJECTS && step >= KEPT; s++)
            assert_int_equal(indexed(kept, ANN + s), before[s]);
        if (step % KEPT == KEPT - 1) {
            policy_unref(kept);
            kept = policy_ref(p);
            for (unsigned s = 0; s < SUBJECTS; s++)
                before[s] = indexed(kept, ANN + s);
        }
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
    }
    policy_unref(kept);
    policy_unref(p);
}

/* As many as are looked at, and one more. */
static void test_too_many(void **state)
{
    enum { MANY = 200 };
    struct policy_change *changes = calloc(PAC_GRANTS_MAX + 1, sizeof(*changes));
    AUTO(policy_unrefp) struct policy *base = with(base_world(), make_user(MANY, "many", 0)), *full = NULL, *over = NULL;

    (void)state;
    assert_non_null(changes);
    for (unsigned i = 0; i <= PAC_GRANTS_MAX; i++) {
        struct grant_record *g = make_grant(1000 + i, SUBJECT_USER, MANY, P_OTHER, 0);

        g->end_ms = 1;
        changes[i] = (struct policy_change){ .kind = RECORD_GRANT, .put = &g->record };
    }
    assert_int_equal(policy_apply(base, changes, PAC_GRANTS_MAX, &full), 0);
    assert_int_equal(policy_apply(full, changes + PAC_GRANTS_MAX, 1, &over), 0);
    check_row("looks at as many grants as may be, over or not");
    assert_int_equal(written(full, MANY, "PROXY r.example:80"), 0);
    check_row("refuses when there are more");
    assert_int_equal(written(over, MANY, "PROXY r.example:80"), -ENOBUFS);
    for (unsigned i = 0; i <= PAC_GRANTS_MAX; i++)
        record_unref(changes[i].put);
    free(changes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link), cmocka_unit_test(test_targets), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_proxies), cmocka_unit_test(test_subjects), cmocka_unit_test(test_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
