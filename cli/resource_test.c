#include "cli/ask.h"
#include "cli/fields.h"
#include "cli/help.h"
#include "cli/show.h"
#include "lib/check/check.h"

#include <string.h>

/* 2026-01-31T18:00:00Z */
#define NOW_S 1769882400

static void test_every_kind_has_its_words(void **state)
{
    (void)state;
    for (enum kind_id id = 0; id < KIND_COUNT; id++) {
        const struct resource *r;
        bool is_there = false;

        check_row(kind_at(id)->name);
        for (size_t i = 0; (r = resource_at(i)); i++)
            is_there |= r->kind == id;
        assert_true(is_there);
    }
}

static bool is_shown_by_server(struct span column)
{
    static const char *const shown[] = {
        "id", "name", "created_at", "updated_at", "fingerprint", "used", "last_used_at", "connected", "last_seen_at",
        "version", "agents", "streams", "applied_revision", "usage.streams", "usage.bytes_today",
        "usage.saturated",
    };

    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        if (span_eq(column, span_str(shown[i])))
            return true;
    }
    return false;
}

/* A column or an example that the API knows nothing of would be a dead letter. */
static void test_rows_name_what_there_is(void **state)
{
    const struct resource *r;

    (void)state;
    for (size_t i = 0; (r = resource_at(i)); i++) {
        const struct kind *kind = resource_kind(r);
        struct span rest = span_str(r->columns), word, line;

        check_row(r->word);
        assert_ptr_equal(resource_find(r->word), r);
        while (kind && span_cut(&rest, ' ', &word))
            assert_true(kind_field(kind, word) || is_shown_by_server(word));
        rest = span_str(r->examples);
        assert_true(rest.n > 0);
        while (span_cut(&rest, '\n', &line)) {
            if (line.n)
                assert_true(span_starts(line, SPAN("adit ")));
        }
        for (enum verb_id id = 0; id < VERB_COUNT; id++) {
            struct flags flags;

            if (!resource_has(r, id))
                continue;
            flags_of(r, id, &flags);
            assert_true(flags.count < FLAGS_MAX);
            for (size_t f = 0; f < flags.count; f++)
                assert_ptr_equal(flags_find(&flags, span_str(flags.items[f].name)), &flags.items[f]);
        }
    }
}

/* ---- the body that flags make ---- */
#define ARGS_MAX 8

static char *put(char mem[128], const char *text)
{
    assert_true(span_copy(span_str(text), mem, 128));
    return mem;
}

static bool body_of(const char *word, const char *verb, const char *const *args, const char *before,
                    struct buf *out)
{
    AUTO(json_value_freep) struct json_value *object = NULL;
    struct ask *ask = calloc(1, sizeof(*ask));
    char mem[ARGS_MAX + 2][128], *argv[ARGS_MAX + 2];
    const struct resource *resource = resource_find(word);
    struct json_error error;
    int argc = 0;
    bool ok;

    assert_non_null(ask);
    argv[argc++] = put(mem[0], verb);
    for (size_t i = 0; i < ARGS_MAX && args[i]; i++, argc++)
        argv[argc] = put(mem[argc], args[i]);
    argv[argc] = NULL;
    if (before)
        assert_int_equal(json_parse(span_str(before), &object, &error), 0);
    ok = ask_read(resource, resource_verb(resource, verb), argc, argv, ask) &&
         fields_write(ask, object, NULL, NOW_S, out);
    ask_deinit(ask);
    free(ask);
    return ok;
}

static void test_bodies(void **state)
{
    static const struct {
        const char *it, *word, *verb, *args[ARGS_MAX], *before, *want;      /* NULL: refused */
    } rows[] = {
        { "takes the name as the word", "user", "create", { "alice" }, NULL, "{\"name\":\"alice\"}" },
        { "takes what a join token is named by", "join-token", "create", { "office", "--name", "t" }, NULL,
          "{\"agent_name\":\"office\",\"name\":\"t\"}" },
        { "splits lists, joins flags that come again", "profile", "create",
          { "w", "--ports", "80,443", "--ports", "8000-8100" }, NULL,
          "{\"name\":\"w\",\"ports\":[\"80\",\"443\",\"8000-8100\"]}" },
        { "leaves the commas of a rule", "agent", "edit", { "a", "--deny", "h:80,443" }, "{}",
          "{\"deny\":[\"h:80,443\"]}" },
        { "empties a list", "agent", "edit", { "a", "--deny", "" }, "{}", "{\"deny\":[]}" },
        { "counts from now", "grant", "create", { "--ends-at", "+2h" }, NULL,
          "{\"ends_at\":\"2026-01-31T20:00:00Z\"}" },
        { "leaves a time as it is", "grant", "create", { "--ends-at=tomorrow" }, NULL, "{\"ends_at\":\"tomorrow\"}" },
        { "takes a switch with and without a value", "profile", "create",
          { "--match-resolved", "--allow-special=false" }, NULL,
          "{\"match_resolved\":true,\"allow_special\":false}" },
        { "refuses what is neither", "profile", "create", { "--match-resolved=yes" }, NULL, NULL },
        { "refuses what is no number", "grant", "create", { "--max-streams", "-1" }, NULL, NULL },
        { "adds to what is there, and takes away by the canonical form", "agent", "edit",
          { "a", "--add-deny", "10.0.0.6", "--remove-deny", "10.0.0.5" }, "{\"deny\":[\"10.0.0.5/32\",\"x.test\"]}",
          "{\"deny\":[\"x.test\",\"10.0.0.6\"]}" },
        { "does not take away what is not there", "agent", "edit", { "a", "--remove-deny", "10.0.0.7" },
          "{\"deny\":[\"10.0.0.5/32\"]}", NULL },
        { "makes a patch of labels", "user", "edit", { "a", "--labels", "k=v=w", "--remove-labels", "old" }, NULL,
          "{\"labels\":{\"k\":\"v=w\",\"old\":null}}" },
        { "refuses a label without a value", "user", "create", { "a", "--labels", "k" }, NULL, NULL },
        { "unsets", "user", "edit", { "a", "--unset", "description" }, NULL, "{\"description\":null}" },
        { "reads a window", "grant", "create", { "--windows", "mon,tue 08:00-18:00 Europe/Berlin" }, NULL,
          "{\"windows\":[{\"days\":[\"mon\",\"tue\"],\"from\":\"08:00\",\"to\":\"18:00\",\"zone\":\"Europe/Berlin\"}]}" },
        { "refuses half a window", "grant", "create", { "--windows", "mon 08:00" }, NULL, NULL },
        { "refuses a flag of another resource", "user", "create", { "a", "--ports", "80" }, NULL, NULL },
        { "refuses a password in the arguments", "user", "create", { "a", "--password=secret12" }, NULL, NULL },
        { "refuses what cannot be changed", "grant", "edit", { "a", "--user", "x" }, NULL, NULL },
        { "refuses the same flag twice", "user", "create", { "a", "--role", "user", "--role", "admin" }, NULL, NULL },
        { "refuses a word too many", "user", "create", { "a", "b" }, NULL, NULL },
        { "takes dashes as a word behind --", "user", "create", { "--", "--x" }, NULL, "{\"name\":\"--x\"}" },
        { "makes nothing of nothing", "user", "edit", { "a" }, NULL, "{}" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(buf_deinit) struct buf out;
        bool ok;

        check_row(rows[i].it);
        buf_init_heap(&out, 4096);
        ok = body_of(rows[i].word, rows[i].verb, rows[i].args, rows[i].before, &out);
        assert_int_equal(ok, rows[i].want != NULL);
        if (ok)
            assert_string_equal(buf_text(&out), rows[i].want);
    }
}

static void test_times(void **state)
{
    static const struct { const char *it, *text, *want; } rows[] = {
        { "goes forward", "+90m", "2026-01-31T19:30:00Z" }, { "goes back", "-1d", "2026-01-30T18:00:00Z" },
        { "knows weeks", "+1w", "2026-02-07T18:00:00Z" }, { "leaves an unknown unit", "+1y", "+1y" },
        { "leaves what is no number", "+xh", "+xh" }, { "leaves a lone sign", "+", "+" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[32];

        check_row(rows[i].it);
        assert_string_equal(ask_time(rows[i].text, NOW_S, mem, sizeof(mem)), rows[i].want);
    }
}

static void test_values(void **state)
{
    static const struct { const char *it, *json, *want; } rows[] = {
        { "shows text", "\"a\"", "a" }, { "shows that there is none", "null", "-" },
        { "joins lists", "[\"a\",1,true]", "a,1,true" }, { "shows an empty list", "[]", "-" },
        { "shows labels", "{\"k\":\"v\",\"l\":\"w\"}", "k=v,l=w" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(json_value_freep) struct json_value *value = NULL;
        AUTO(buf_deinit) struct buf out;
        struct json_error error;
        char text[128];

        check_row(rows[i].it);
        buf_init_heap(&out, 4096);
        snprintf(text, sizeof(text), "{\"v\":%s}", rows[i].json);
        assert_int_equal(json_parse(span_str(text), &value, &error), 0);
        show_value(json_get(value, "v"), &out);
        assert_string_equal(buf_text(&out), rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_has_its_words), cmocka_unit_test(test_rows_name_what_there_is),
        cmocka_unit_test(test_bodies), cmocka_unit_test(test_times), cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
