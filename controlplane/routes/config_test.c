#include "controlplane/routes/api_fixture.h"
#include "controlplane/routes/config.h"

/* No kind of the document refers to a later one, or has it as a member: so one pass makes all. */
static void test_order(void **state)
{
    const struct kind *kind, *later;

    (void)state;
    for (size_t i = 0; (kind = config_kind_at(i)); i++) {
        const struct field *field;

        check_row(kind->name);
        assert_null(kind->secret);
        assert_ptr_equal(config_kind_by_plural(span_str(kind->plural)), kind);
        for (size_t k = i + 1; (later = config_kind_at(k)); k++) {
            for (size_t f = 0; (field = kind_field_at(kind, f)); f++)
                assert_false(field->leaf == LEAF_REF && field->ref == later->id);
        }
    }
    assert_null(config_kind_by_plural(SPAN("api-tokens")));
    assert_null(config_kind_by_plural(SPAN("proxy-credentials")));
}

/* Each row sees what those before it left. */
static void test_documents(void **state)
{
    static const struct {
        const char *it, *query, *body;
        int status;
        const char *says;
    } rows[] = {
        { "needs an owner", "", "{}", 422, "?owner" },
        { "refuses an owner that is no name", "?owner=A%20B", "{}", 422, "?owner" },
        { "takes nothing", "?owner=o", "{}", 200, "\"created\":0" },
        { "refuses what is no object", "?owner=o", "[]", 422, "must be an object" },
        { "refuses what is no JSON", "?owner=o", "{\"users\":", 400, "bad-request" },
        { "makes objects", "?owner=o", "{\"users\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"groups\":[{\"name\":\"g\",\"members\":[\"a\"]}]}",
          200, "\"created\":3,\"updated\":0,\"deleted\":0,\"members\":1" },
        { "leaves what is as declared", "?owner=o", "{\"users\":[{\"name\":\"a\"}],\"groups\":[{\"name\":\"g\",\"members\":[\"a\"]}]}",
          200, "\"updated\":0,\"deleted\":0,\"members\":0,\"unchanged\":2" },
        { "keeps the members of a group that says nothing of them", "?owner=o", "{\"groups\":[{\"name\":\"g\"}]}", 200, "\"members\":0" },
        { "gives a field back its default", "?owner=o", "{\"users\":[{\"name\":\"a\",\"status\":\"disabled\"}]}", 200, "\"updated\":1" },
        { "and says from what to what", "?owner=o", "{\"users\":[{\"name\":\"a\"}]}", 200,
          "{\"field\":\"status\",\"before\":\"disabled\",\"after\":\"active\"}" },
        { "touches nobody else's", "?owner=p", "{\"users\":[{\"name\":\"a\"}]}", 409, "is managed by o" },
        { "takes over when told", "?owner=p&take_over=true", "{\"users\":[{\"name\":\"a\"}]}", 200, "\"taken_over\":1" },
        { "prunes its own alone", "?owner=o&prune=true", "{\"users\":[]}", 200, "\"deleted\":1" },
        { "prunes no more than was allowed", "?owner=p&prune=true&max_deletes=0", "{\"users\":[]}", 409, "max_deletes=0" },
        { "undoes all of what is refused", "?owner=p", "{\"users\":[{\"name\":\"c\"},{\"name\":\"d\",\"role\":\"king\"}]}", 422, "/users/1/role" },
        { "as if it had not been", "?owner=q", "{\"users\":[{\"name\":\"c\"}]}", 200, "\"created\":1" },
        { "refuses a group within itself", "?owner=o", "{\"groups\":[{\"name\":\"g\",\"members\":[{\"name\":\"g\",\"kind\":\"group\"}]}]}", 409,
          "member of itself" },
        { "refuses a state that nobody looked at", "?owner=o&revision=1", "{}", 409, "effect-changed" },
        { "refuses a number that is none", "?owner=o&max_deletes=many", "{}", 422, "?max_deletes" },
    };
    static struct fix f;
    static struct fix_answer answer;

    (void)state;
    fix_start(&f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char path[128];

        check_row(rows[i].it);
        snprintf(path, sizeof(path), "/config%s", rows[i].query);
        fix_ask(&f, f.users[FIX_ADMIN].token, "PUT", path, FIX_JSON, rows[i].body, &answer);
        if (answer.status != rows[i].status || !strstr(answer.text, rows[i].says))
            fail_msg("wanted %d and %s, seen %s", rows[i].status, rows[i].says, answer.text);
    }
    fix_ask(&f, f.users[FIX_AUDITOR].token, "GET", "/config?owner=p", FIX_JSON, NULL, &answer);
    assert_non_null(strstr(answer.text, "\"users\":[{\"name\":\"a\",\"status\":\"active\",\"role\":\"user\"}]"));
    fix_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_order), cmocka_unit_test(test_documents) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
