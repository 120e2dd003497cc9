#include "cli/intratun/intratun.h"
#include "lib/check/check.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_patterns(void **state)
{
    static const struct {
        const char *pattern, *rule;     /* NULL: cannot be said */
    } rows[] = {
        { "^wiki\\.corp\\.example:443$", "wiki.corp.example:443" },
        { "^wiki\\.corp\\.example:", "wiki.corp.example" },
        { "^wiki.corp.example$", "wiki.corp.example" },
        { "wiki\\.corp:443", "wiki.corp:443" },
        { "\\.corp\\.example:443", "*.corp.example:443" },
        { "^\\.corp", NULL },
        { "^wiki\\.", NULL },
        { ".*corp\\.example", NULL },
        { "^.*\\.corp\\.example:(80|443)$", "*.corp.example:80,443" },
        { "^[^.]+\\.corp:5432$", "*.corp:5432" },
        { "^db-[^.]+\\.corp:5432$", NULL },
        { "^10\\.1\\.2\\.3:22$", "10.1.2.3/32:22" },
        { "^host:\\d+$", "host" },
        { "", "*" },
        { ".*", "*" },
        { "^.*$", "*" },
        { ".*:443$", "*:443" },
        { "^(wiki|git)\\.corp:443$", NULL },
        { "^wiki\\.corp:[48]+$", NULL },
        { "^a?b:80$", NULL },
        { "^a+b:80$", NULL },
        { "(a+)+$", NULL },
        { "^10\\.1\\.\\d+\\.3:22$", NULL },
        { "^h:0$", NULL },
        { "^h:70000$", NULL },
        { "^h:(80", NULL },
        { "^h:80$x", NULL },
        { "^h\\.$:80", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[1024];
        const char *why = "";
        struct buf rule;
        bool is_rule;

        check_row(rows[i].pattern);
        buf_init_fixed(&rule, mem, sizeof(mem) - 1);
        is_rule = intratun_rule(span_str(rows[i].pattern), &rule, &why);
        assert_int_equal(is_rule, rows[i].rule != NULL);
        if (is_rule)
            assert_string_equal(buf_text(&rule), rows[i].rule);
        else
            assert_true(why[0]);
    }
}

static void test_names(void **state)
{
    static const struct {
        const char *key, *wish, *name;
    } rows[] = {
        { "1", "alice", "alice" }, { "2", "Alice Smith", "alice-smith" }, { "3", "ALICE", "alice-2" },
        { "4", "--x..y--", "x-y" }, { "5", "\xc3\xa4", "unnamed" }, { "6", "", "unnamed-2" },
    };
    AUTO(intratun_names_freep) struct intratun_names *names = NULL;
    struct intratun_named found;
    const char *name;

    (void)state;
    assert_int_equal(intratun_names_new(&names), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].wish);
        assert_int_equal(intratun_names_add(names, span_str(rows[i].key), span_str(rows[i].wish), i, &name), 0);
        assert_string_equal(name, rows[i].name);
        assert_true(intratun_names_find(names, span_str(rows[i].key), &found));
        assert_string_equal(found.name, rows[i].name);
        assert_int_equal(found.row, i);
    }
    assert_int_equal(intratun_names_add(names, SPAN("1"), SPAN("z"), 9, &name), -EEXIST);
    assert_false(intratun_names_find(names, SPAN("z"), &found));
}

/* ---- plans ---- */
static struct json_value *json_of(const char *text)
{
    struct json_value *value = NULL;
    struct json_error error;

    assert_int_equal(json_parse(span_str(text), &value, &error), 0);
    return value;
}

static void test_plans(void **state)
{
    static const char agents[] = "[{\"identification\":\"Office\",\"location\":\"Bonn\",\"login\":\"office-1\",\"password\":\"long enough\","
        "\"acl_allow\":[\"^wiki:443$\",\"(a|b)\"]},{\"login\":7,\"password\":\"short\",\"acl_allow\":[\"(a|b)\"]},{\"login\":\"office-1\"},{}]";
    static const char tables[] = "{\"users\":[{\"id\":\"usr-1\",\"username\":\"Alice\",\"password_hash\":\"$2a$10$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\","
        "\"status\":\"active\",\"role\":\"admin\"},{\"id\":\"usr-2\",\"username\":\"bob\",\"password_hash\":\"\",\"status\":\"disabled\"}],"
        "\"agent_groups\":[{\"id\":\"grp-1\",\"slug\":\"offices\",\"name\":\"All offices\"},{\"id\":\"grp-2\",\"slug\":\"others\"}],"
        "\"agent_memberships\":[{\"group_id\":\"grp-1\",\"agent_id\":\"office-1\",\"priority\":5,\"weight\":0,\"enabled\":1},"
        "{\"group_id\":\"grp-1\",\"agent_id\":\"Office\",\"priority\":5,\"weight\":0,\"enabled\":1},{\"group_id\":\"grp-1\",\"agent_id\":\"gone\"}],"
        "\"destination_profiles\":[{\"id\":\"dst-1\",\"slug\":\"wiki\",\"host\":\"Wiki.Corp\",\"port\":443,\"default_group_id\":\"grp-1\"},"
        "{\"id\":\"dst-2\",\"slug\":\"bad\",\"host\":\"a b\",\"port\":443,\"default_group_id\":\"grp-1\"},{\"id\":\"dst-3\",\"slug\":\"worse\",\"host\":\"a\",\"port\":0,\"default_group_id\":\"grp-1\"}],"
        "\"access_grants\":[{\"id\":\"g1\",\"user_id\":\"usr-1\",\"destination_profile_id\":\"dst-1\"},{\"id\":\"g2\",\"user_id\":\"usr-1\",\"destination_profile_id\":\"dst-1\",\"group_id\":\"grp-2\"},"
        "{\"id\":\"g3\",\"user_id\":\"usr-1\",\"destination_profile_id\":\"dst-1\",\"group_id\":\"grp-1\"},{\"id\":\"g4\",\"user_id\":\"usr-2\",\"group_id\":\"grp-2\"},"
        "{\"id\":\"g5\",\"user_id\":\"nobody\",\"group_id\":\"grp-2\"},{\"id\":\"g6\",\"user_id\":\"usr-1\",\"destination_profile_id\":\"dst-2\"}]}";
    static const char *const wanted[] = {
        "{\"name\":\"alice\",\"status\":\"active\",\"door_password\":true}", "{\"name\":\"bob\",\"status\":\"disabled\",\"door_password\":false}",
        "{\"name\":\"office-1\",\"description\":\"Office\",\"labels\":{\"location\":\"Bonn\"},\"allow\":[\"wiki:443\"]}",
        "{\"name\":\"7\",\"labels\":{},\"allow\":[],\"deny\":[\"*\"]}",
        "{\"name\":\"offices\",\"description\":\"All offices\",\"members\":[{\"name\":\"office-1\",\"priority\":5,\"weight\":1,\"enabled\":true}]}",
        "{\"name\":\"agent-office-1\",\"members\":[\"office-1\"]}", "\"agent_group\":\"agent-office-1\"",
        "{\"name\":\"wiki\",\"hosts\":[\"wiki.corp\"],\"ports\":[\"443\"],\"agent_group\":\"offices\"}", "\"name\":\"wiki-via-others\"",
        "{\"name\":\"alice-wiki\",\"user\":\"alice\",\"destination_profile\":\"wiki\"},{\"name\":\"alice-wiki-via-others\"",
        "{\"name\":\"bob-others\",\"user\":\"bob\",\"agent_group\":\"others\"}", "{\"name\":\"db-corp\",\"host\":\"db.corp\",\"addresses\":[\"10.0.0.1\"]}",
    };
    static const char *const noted[] = {
        "user Alice: is called alice here", "the role admin had no effect there", "user bob: has no bcrypt hash", "the pattern (a|b) is left out",
        "agent 7: nothing of its access list", "agent office-1: is there twice", "agent without an id", "its member gone is no agent", "destination profile bad:",
        "destination profile worse:", "access grant g5: is left out: its user", "access grant g6: is left out: its destination profile",
        "DNS override x y:", "agent log-in 7: its password",
    };
    AUTO(intratun_source_deinit) struct intratun_source source = {
        .agents = json_of(agents), .tables = json_of(tables),
        .overrides = json_of("[{\"host\":\"DB.corp.\",\"address\":\"10.0.0.1\"},{\"host\":\"x y\",\"address\":\"z\"}]"),
    };
    AUTO(intratun_plan_deinit) struct intratun_plan plan;
    char mem[200];
    struct buf error;

    (void)state;
    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    assert_int_equal(intratun_plan_make(&source, &(struct intratun_options){ SPAN_NONE, true }, &plan, &error), 0);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        check_row(wanted[i]);
        if (!strstr(buf_text(&plan.document), wanted[i]))
            fail_msg("not in %s", buf_text(&plan.document));
    }
    for (size_t i = 0; i < ARRAY_LEN(noted); i++) {
        check_row(noted[i]);
        if (!strstr(buf_text(&plan.notes), noted[i]))
            fail_msg("not in %s", buf_text(&plan.notes));
    }
    check_row("keeps secrets out of the document and the notes");
    assert_null(strstr(buf_text(&plan.document), "$2a$"));
    assert_null(strstr(buf_text(&plan.document), "long enough"));
    assert_null(strstr(buf_text(&plan.notes), "long enough"));
    assert_non_null(strstr(buf_text(&plan.secrets), "{\"user\":\"alice\",\"password_hash\":\"$2a$"));
    assert_non_null(strstr(buf_text(&plan.secrets), "\"password\":\"long enough\""));
}

/* ---- hostile files ---- */
static char dir[] = "/tmp/adit-intratun-test.XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const files[] = { "good", "bomb", "texts", "large", "link", "pipe", "a.db", "b.db", "b.link" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(files[i]);
    return chdir("/") || rmdir(dir);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void make_database(const char *path, const char *sql)
{
    sqlite3 *db = NULL;

    unlink(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

#define USERS "CREATE TABLE users(id TEXT PRIMARY KEY, username TEXT, password_hash TEXT, status TEXT, role TEXT);"
#define REST \
    "CREATE TABLE agent_groups(id TEXT, name TEXT, slug TEXT, description TEXT, routing_mode TEXT);" \
    "CREATE TABLE agent_memberships(group_id TEXT, agent_id TEXT, priority INT, weight INT, enabled INT);" \
    "CREATE TABLE destination_profiles(id TEXT, name TEXT, slug TEXT, host TEXT, port INT, protocol_hint TEXT, default_group_id TEXT, notes TEXT);" \
    "CREATE TABLE access_grants(id TEXT, user_id TEXT, group_id TEXT, destination_profile_id TEXT, access_mode TEXT);"

static void test_databases(void **state)
{
    static const struct {
        const char *it, *sql, *says;    /* NULL: it is read */
    } rows[] = {
        { "reads what intratun made", USERS REST "INSERT INTO users VALUES ('u', 'ann', '', 'active', 'user');", NULL },
        { "refuses another schema", "CREATE TABLE other(a);", "table users: it is not there" },
        { "names the column that is missing", "CREATE TABLE users(id);" REST, "table users: no such column" },
        { "refuses a view that counts for ever",
          "CREATE VIEW users AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n AS id, n AS username, n AS password_hash, "
          "n AS status, n AS role FROM c;" REST, "table users: it is not there" },
        { "refuses a blob", USERS REST "INSERT INTO users VALUES (x'00ff', 'a', '', '', '');", "neither text nor a whole number" },
        { "refuses a value of megabytes", USERS REST "INSERT INTO users VALUES (printf('%.*c', 100000, 'x'), 'a', '', '', '');", "too long" },
        { "refuses what is no text", USERS REST "INSERT INTO users VALUES (CAST(x'61ff' AS TEXT), 'a', '', '', '');", "no text" },
        { "refuses too many rows", USERS REST "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 200001) INSERT INTO users "
          "SELECT n, '', '', '', '' FROM c;", "too many rows" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(intratun_source_deinit) struct intratun_source source = { 0 };
        char mem[1000];
        struct buf error;
        int r;

        check_row(rows[i].it);
        buf_init_fixed(&error, mem, sizeof(mem) - 1);
        make_database("a.db", rows[i].sql);
        r = intratun_read_database("a.db", &source, &error);
        assert_int_equal(r, rows[i].says ? -EINVAL : 0);
        if (rows[i].says && !strstr(buf_text(&error), rows[i].says))
            fail_msg("said: %s", buf_text(&error));
    }
}

static void test_files(void **state)
{
    AUTO(intratun_source_deinit) struct intratun_source source = { 0 };
    static const struct {
        const char *it, *path, *says;
    } rows[] = {
        { "refuses a link", "link", "symbolic link" }, { "refuses a pipe", "pipe", "no regular file" },
        { "refuses a directory", ".", "no regular file" }, { "refuses what is not there", "gone", "No such file" },
        { "refuses an alias bomb", "bomb", "anchors" }, { "refuses what is too large", "large", "too large" },
        { "refuses a list of texts", "texts", "no list of mappings" },
    };
    char mem[1000];
    struct buf error;

    (void)state;
    write_file("good", "agents:\n  - login: a\n");
    write_file("bomb", "a: &a [x, x]\nagents: [*a, *a]\n");
    write_file("texts", "agents: [a, b]\n");
    write_file("large", "");
    assert_int_equal(truncate("large", (off_t)INTRATUN_YAML_MAX + 1), 0);
    assert_int_equal(symlink("good", "link"), 0);
    assert_int_equal(mkfifo("pipe", 0600), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(rows[i].it);
        buf_init_fixed(&error, mem, sizeof(mem) - 1);
        assert_int_equal(intratun_read_yaml(rows[i].path, "agents", &source.agents, &error), -EINVAL);
        if (!strstr(buf_text(&error), rows[i].says))
            fail_msg("said: %s", buf_text(&error));
    }
    make_database("b.db", USERS REST);
    assert_int_equal(symlink("b.db", "b.link"), 0);
    for (const char *const *path = (const char *const[]){ "b.link", "pipe", "good", "gone", NULL }; *path; path++) {
        check_row(*path);
        buf_init_fixed(&error, mem, sizeof(mem) - 1);
        assert_int_equal(intratun_read_database(*path, &source, &error), -EINVAL);
        assert_true(error.len > 0);
    }
    buf_init_fixed(&error, mem, sizeof(mem) - 1);
    assert_int_equal(intratun_read_yaml("good", "agents", &source.agents, &error), 0);
    assert_int_equal(json_count(source.agents), 1);
    write_file("empty", "");
    assert_int_equal(intratun_read_yaml("empty", "overrides", &source.overrides, &error), 0);
    assert_int_equal(json_count(source.overrides), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_patterns), cmocka_unit_test(test_names), cmocka_unit_test(test_plans),
                                        cmocka_unit_test(test_databases), cmocka_unit_test(test_files) };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
