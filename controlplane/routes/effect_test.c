/*
 * What a dry run says against what then happens: generated changes of a generated world, through the API.
 * access/explain is asked about pairs before and after each; living streams are judged as relays do.
 * ADIT_SEED=n: another world; ADIT_CHANGES, ADIT_PAIRS: how many changes, and pairs at each.
 */
#include "controlplane/publish/stored.h"
#include "controlplane/routes/api_fixture.h"
#include "controlplane/routes/doc.h"
#include "lib/policy/decide.h"
#include <time.h>

enum { USERS = 5, GROUPS = 3, AGENTS = 3, PLACES = 2, PROFILES = 6, GRANTS = 10, LOCKS = 3, STREAMS_MAX = 64 };

static const char *const hosts[] = { "a.x", "b.x", "a.b.x", "*.x", "*.b.x", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3" };
static const char *const targets[] = { "a.x", "b.x", "a.b.x", "q.b.x", "q.x", "10.1.2.3", "10.1.9.9", "10.2.0.1", "c.y" };
static const char *const ports[] = { "80", "80-90", "1-65535" };

static struct fix f;
static struct fix_answer answer;
static uint64_t seed, still_ms;

static uint64_t still_clock(void)
{
    return still_ms;
}

static unsigned roll(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % n);
}

static unsigned long number(const char *name, unsigned long otherwise)
{
    return getenv(name) ? strtoul(getenv(name), NULL, 10) : otherwise;
}

/* ---- asking ---- */
static int ask(const char *method, const char *path, const char *body)
{
    fix_ask(&f, f.users[FIX_ADMIN].token, method, path, body ? FIX_JSON : "If-Match: *\r\n", body, &answer);
    return answer.status;
}

static struct json_value *parsed(void)
{
    struct json_value *v;
    struct json_error error;

    assert_int_equal(json_parse(span_str(answer.body), &v, &error), 0);
    return v;
}

static struct policy *load_policy(void *ctx, const struct store_position *at)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    struct policy *p = NULL;

    (void)ctx;
    assert_int_equal(store_begin(f.store, STORE_READ, &tx), 0);
    assert_int_equal(stored_policy(tx, NULL, at, &p, NULL), 0);
    return p;
}

static void tune(struct fix *fix, struct api_options *options)
{
    (void)fix;
    options->policy = load_policy;
}

/* ---- the world ---- */
static void make(const char *path, const char *format, ...) PRINTF_LIKE(2, 3);
static void make(const char *path, const char *format, ...)
{
    char body[512];
    va_list args;

    va_start(args, format);
    vsnprintf(body, sizeof(body), format, args);
    va_end(args);
    if (ask("POST", path, body) != 201)
        fail_msg("%s %s: %s", path, body, answer.body);
}

/* Agents join, relays report: the store's own ways here. */
static void make_agents(void)
{
    AUTO(buf_deinit) struct buf report;
    struct store_tx *tx;
    struct ulid relay;

    buf_init_heap(&report, 4096);
    buf_put_str(&report, "{\"epoch\":1,\"revision\":1,\"agents\":[");
    assert_int_equal(store_begin(f.store, STORE_WRITE, &tx), 0);
    relay = fix_insert(&f, tx, KIND_RELAY, "relay", "{\"status\":\"active\"}", NULL, (struct change_secret){ 0 });
    for (unsigned i = 0; i < AGENTS; i++) {
        struct ulid id;
        char name[16];

        snprintf(name, sizeof(name), "agent-%u", i);
        id = fix_insert(&f, tx, KIND_AGENT, name, "{\"status\":\"active\"}", NULL, (struct change_secret){ 0 });
        buf_printf(&report, "%s{\"id\":\"%s\"}", i ? "," : "", id.text);
    }
    buf_put_str(&report, "]}");
    assert_int_equal(store_report_put(tx, &relay, "relay.applied", buf_span(&report)), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static void make_world(void)
{
    make_agents();
    for (unsigned i = 0; i < USERS; i++)
        make("/users", "{\"name\":\"user-%u\"}", i);
    for (unsigned i = 0; i < GROUPS; i++)
        make("/groups", "{\"name\":\"group-%u\"}", i);
    for (unsigned i = 0; i < PLACES; i++)
        make("/agent-groups", "{\"name\":\"place-%u\",\"routing_mode\":\"priority\"}", i);
    for (unsigned i = 0; i < PROFILES; i++)
        make("/destination-profiles", "{\"name\":\"profile-%u\",\"hosts\":[\"%s\"],\"ports\":[\"%s\"],\"agent_group\":\"place-%u\"}",
             i, hosts[roll(ARRAY_LEN(hosts))], ports[roll(ARRAY_LEN(ports))], roll(PLACES));
    for (unsigned i = 0; i < AGENTS + PLACES; i++) {
        char path[96];

        snprintf(path, sizeof(path), "/agent-groups/place-%u/members/agent-%u", i % PLACES, i % AGENTS);
        assert_true(ask("PUT", path, "{}") < 300);
    }
    for (unsigned i = 0; i < USERS; i++) {
        char path[96];

        snprintf(path, sizeof(path), "/groups/group-%u/members/user-%u", i % GROUPS, i);
        assert_true(ask("PUT", path, "{}") < 300);
    }
    for (unsigned i = 0; i < GRANTS; i += 2)
        make("/grants", "{\"name\":\"grant-%u\",\"%s\":\"%s-%u\",\"destination_profile\":\"profile-%u\"}", i,
             i % 4 ? "user" : "group", i % 4 ? "user" : "group", i % GROUPS, i % PROFILES);
}

/* ---- changes: what is there goes, or becomes other; what is not comes ---- */
struct request_text {
    const char *method;
    char path[160], body[512];
};

static bool is_there(const char *path)
{
    return ask("GET", path, NULL) == 200;
}

static void change_grant(struct request_text *t)
{
    unsigned n = roll(GRANTS);
    bool is_user = roll(2), is_whole = roll(6) == 0;

    snprintf(t->path, sizeof(t->path), "/grants/grant-%u", n);
    t->method = is_there(t->path) ? "DELETE" : "POST";
    if (t->method[0] == 'D')
        return;
    snprintf(t->path, sizeof(t->path), "/grants");
    snprintf(t->body, sizeof(t->body), "{\"name\":\"grant-%u\",\"%s\":\"%s-%u\",\"%s\":\"%s-%u\"%s}", n,
             is_user ? "user" : "group", is_user ? "user" : "group", is_user ? roll(USERS) : roll(GROUPS),
             is_whole ? "agent_group" : "destination_profile", is_whole ? "place" : "profile",
             is_whole ? roll(PLACES) : roll(PROFILES), roll(4) ? "" : ",\"ends_at\":\"2020-01-01T00:00:00Z\"");
}

static void change_profile(struct request_text *t)
{
    bool has_network = roll(2);

    t->method = "PATCH";
    snprintf(t->path, sizeof(t->path), "/destination-profiles/profile-%u", roll(PROFILES));
    snprintf(t->body, sizeof(t->body), "{\"hosts\":[\"%s\"%s],\"ports\":[\"%s\"],\"match_resolved\":%s}",
             hosts[roll(4)], has_network ? ",\"10.0.0.0/8\"" : "", ports[roll(ARRAY_LEN(ports))],
             has_network && roll(2) ? "true" : "false");
}

static void change_user(struct request_text *t)
{
    t->method = "PATCH";
    snprintf(t->path, sizeof(t->path), "/users/user-%u", roll(USERS));
    snprintf(t->body, sizeof(t->body), "{\"status\":\"%s\"}", roll(4) ? "active" : "disabled");
}

static void change_users(struct request_text *t)
{
    t->method = "POST";
    snprintf(t->path, sizeof(t->path), "/users/batch?name=user-%u&expected=1", roll(USERS));
    snprintf(t->body, sizeof(t->body), "{\"patch\":{\"status\":\"%s\"}}", roll(2) ? "active" : "disabled");
}

static void change_member(struct request_text *t)
{
    bool is_place = roll(3) == 0;

    if (is_place)
        snprintf(t->path, sizeof(t->path), "/agent-groups/place-%u/members/agent-%u", roll(PLACES), roll(AGENTS));
    else
        snprintf(t->path, sizeof(t->path), "/groups/group-%u/members/%s-%u", roll(GROUPS), "user", roll(USERS));
    t->method = is_there(t->path) ? "DELETE" : "PUT";
    if (t->method[0] == 'P')
        snprintf(t->body, sizeof(t->body), "{}");
}

static void change_lock(struct request_text *t)
{
    static const char *const fields[] = { "user", "group", "agent", "destination_profile", "network" };
    static const char *const names[] = { "user", "group", "agent", "profile" };
    static const unsigned counts[] = { USERS, GROUPS, AGENTS, PROFILES };
    unsigned n = roll(LOCKS), what = roll(ARRAY_LEN(fields));

    snprintf(t->path, sizeof(t->path), "/locks/lock-%u", n);
    t->method = is_there(t->path) ? "DELETE" : "POST";
    if (t->method[0] == 'D')
        return;
    snprintf(t->path, sizeof(t->path), "/locks");
    if (what == 4)
        snprintf(t->body, sizeof(t->body), "{\"name\":\"lock-%u\",\"network\":\"10.1.0.0/16\"}", n);
    else
        snprintf(t->body, sizeof(t->body), "{\"name\":\"lock-%u\",\"%s\":\"%s-%u\"}", n, fields[what], names[what],
                 roll(counts[what]));
}

static void (*const changes[])(struct request_text *t) = {
    change_grant, change_grant, change_grant, change_profile, change_user, change_users, change_member, change_lock,
};

/* ---- pairs ---- */
struct pair {
    unsigned user, target;
    uint16_t port;
    bool was, is;
};

static bool explain(const struct pair *p)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    char path[160];

    snprintf(path, sizeof(path), "/access/explain?user=user-%u&host=%s&port=%u", p->user, targets[p->target], p->port);
    assert_int_equal(ask("GET", path, NULL), 200);
    v = parsed();
    return doc_bool(v, "allowed");
}

/* Whatever is allowed, some grant that is in force says. */
static void check_effective(const struct pair *p)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    char path[160];

    snprintf(path, sizeof(path), "/access/effective?user=user-%u&host=%s&port=%u", p->user, targets[p->target], p->port);
    assert_int_equal(ask("GET", path, NULL), 200);
    v = parsed();
    if (!p->is)
        return;
    for (size_t i = 0; i < doc_count(v, "items"); i++) {
        if (doc_bool(json_at(json_get(v, "items"), i), "in_force"))
            return;
    }
    fail_msg("user-%u reaches %s:%u, but effective names no grant: %s", p->user, targets[p->target], p->port, answer.body);
}

static bool covers(const struct json_value *item, const struct pair *p)
{
    AUTO(buf_deinit) struct buf name;
    struct host_pattern pattern;
    struct port_range range;
    struct target t;
    bool is_covered;

    buf_init_heap(&name, 64);
    buf_printf(&name, "user-%u", p->user);
    assert_true(target_parse(span_str(targets[p->target]), p->port, &t));
    assert_int_equal(host_pattern_parse(doc_text(item, "host"), &pattern), 0);
    assert_true(port_range_parse(doc_text(item, "ports"), &range));
    is_covered = span_eq(doc_text(json_get(item, "user"), "name"), buf_span(&name)) &&
                 host_pattern_matches(&pattern, &t) && range.first <= p->port && p->port <= range.last;
    host_pattern_deinit(&pattern);
    return is_covered;
}

static unsigned changed_pairs, told_wholly;

static void check_pair(const struct json_value *effect, const struct pair *p)
{
    const struct json_value *list = json_get(effect, p->is ? "gains" : "losses"), *first = json_get(list, "first");

    if (p->was == p->is)
        return;
    changed_pairs++;
    if (doc_int(list, "count") > (int64_t)json_count(first))
        return;                         /* not all are shown */
    told_wholly++;
    for (size_t i = 0; i < json_count(first); i++) {
        if (covers(json_at(first, i), p))
            return;
    }
    fail_msg("user-%u %s %s:%u, which the dry run did not say", p->user, p->is ? "gains" : "loses",
             targets[p->target], p->port);
}

/* ---- living streams ---- */
static struct {
    struct ulid id;
    struct policy_standing standing;
} streams[STREAMS_MAX];
static size_t stream_count;
static unsigned cut_streams;

static void open_stream(const struct policy *p)
{
    static struct policy_decision d;
    struct policy_question q = { .now_ms = (int64_t)still_ms, .source = addr_v4(127, 0, 0, 1) };
    const struct record *user;
    struct store_tx *tx;
    char name[16], doc[1024];

    snprintf(name, sizeof(name), "user-%u", roll(USERS));
    user = policy_find_name(p, RECORD_USER, span_str(name));
    assert_true(target_parse(span_str(targets[roll(ARRAY_LEN(targets))]), (uint16_t)(79 + roll(3)), &q.target));
    (void)span_copy(record_id(user), q.user.text, sizeof(q.user.text));
    if (stream_count == STREAMS_MAX || policy_decide(p, &q, &d) != REASON_NONE)
        return;
    streams[stream_count].id = store_new_id(f.store);
    policy_stand(&d, &q, NULL, NULL, &streams[stream_count].standing);
    snprintf(doc, sizeof(doc), "{\"state\":\"open\",\"user\":\"%s\",\"grant\":\"%s\",%s%s%s\"agentgroup\":\"%s\",\"agent\":\"%s\","
             "\"source\":\"127.0.0.1\",\"host\":\"%s\",\"port\":%u,\"opened_at_ms\":%lld}", q.user.text, d.grant->record.id,
             d.profile ? "\"profile\":\"" : "", d.profile ? d.profile->record.id : "", d.profile ? "\"," : "",
             d.agentgroup->record.id, d.agent->record.id, q.target.name, q.target.port, (long long)q.now_ms);
    assert_int_equal(store_begin(f.store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_record_put(tx, STORE_STREAMS, &streams[stream_count].id, span_str(doc)), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    stream_count++;
}

/* As relays do when the policy changed: who stands no more is cut.  How many were. */
static size_t cut(const struct policy *p)
{
    size_t kept = 0, was = stream_count;
    struct store_tx *tx;
    int64_t again_ms;

    assert_int_equal(store_begin(f.store, STORE_WRITE, &tx), 0);
    for (size_t i = 0; i < was; i++) {
        if (policy_still_allowed(p, &streams[i].standing, (int64_t)still_ms, &again_ms) == REASON_NONE)
            streams[kept++] = streams[i];
        else
            assert_int_equal(store_record_merge(tx, STORE_STREAMS, &streams[i].id, SPAN("{\"state\":\"closed\"}")), 0);
    }
    assert_int_equal(store_commit(&tx, NULL), 0);
    stream_count = kept;
    return was - kept;
}

/* ---- one change ---- */
static struct json_value *ask_change(const struct request_text *t, const char *more)
{
    char path[256];
    int status;

    snprintf(path, sizeof(path), "%s%s%s", t->path, strchr(t->path, '?') ? "&" : "?", more);
    status = ask(t->method, path, t->body[0] ? t->body : NULL);
    if (status >= 300)
        fail_msg("%s %s %s: %s", t->method, path, t->body, answer.body);
    return answer.body[0] ? parsed() : NULL;
}

static void roll_pairs(struct pair *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pairs[i] = (struct pair){ roll(USERS), roll(ARRAY_LEN(targets)), (uint16_t)(79 + roll(3)), false, false };
        pairs[i].was = explain(&pairs[i]);
    }
}

static void check_change(struct pair *pairs, size_t n)
{
    AUTO(json_value_freep) struct json_value *dry = NULL, *done = NULL;
    AUTO(policy_unrefp) struct policy *before = load_policy(NULL, NULL), *after = NULL;
    struct request_text t = { 0 };
    const struct json_value *effect;
    char more[64];
    size_t cuts;

    for (size_t i = 0; i < 4; i++)
        open_stream(before);
    changes[roll(ARRAY_LEN(changes))](&t);
    roll_pairs(pairs, n);
    dry = ask_change(&t, "dry_run=true");
    effect = json_get(dry, "effect");
    assert_non_null(effect);
    snprintf(more, sizeof(more), "revision=%lld", (long long)doc_int(dry, "revision"));
    done = ask_change(&t, more);
    after = load_policy(NULL, NULL);
    cuts = cut(after);
    cut_streams += cuts;
    if (doc_int(json_get(effect, "streams_cut"), "count") != (int64_t)cuts)
        fail_msg("%zu streams were cut by %s %s %s, not %lld", cuts, t.method, t.path, t.body,
                 (long long)doc_int(json_get(effect, "streams_cut"), "count"));
    for (size_t i = 0; i < n; i++) {
        pairs[i].is = explain(&pairs[i]);
        check_pair(effect, &pairs[i]);
        if (i % 8 == 0)
            check_effective(&pairs[i]);
    }
}

static void begin_world(void)
{
    still_ms = (uint64_t)time(NULL) * 1000;
    fix_clock = still_clock;
    fix_start_tuned(&f, tune);
    seed = number("ADIT_SEED", 1) * 0x9e3779b97f4a7c15u;
    stream_count = 0;
    make_world();
}

static void end_world(void)
{
    fix_clock = NULL;
    fix_stop(&f);
}

static void test_agrees_with_what_happens(void **state)
{
    unsigned long count = number("ADIT_CHANGES", 40), pairs = number("ADIT_PAIRS", 30);
    AUTO(freep) struct pair *pair = calloc(pairs, sizeof(*pair));
    char row[96];

    (void)state;
    assert_non_null(pair);
    begin_world();
    for (unsigned long i = 0; i < count; i++) {
        snprintf(row, sizeof(row), "says what change %lu does (ADIT_SEED=%lu)", i, number("ADIT_SEED", 1));
        check_row(row);
        check_change(pair, pairs);
    }
    end_world();
    print_message("%u pairs changed, %u told one by one, %u streams cut\n", changed_pairs, told_wholly, cut_streams);
    assert_true(changed_pairs > count / 4 && told_wholly && cut_streams);
}

static void test_harm_and_revision(void **state)
{
    (void)state;
    begin_world();
    assert_int_equal(ask("POST", "/users", "{\"name\":\"eve\",\"role\":\"admin\"}"), 201);
    assert_int_equal(ask("PATCH", "/users/ada?dry_run=true", "{\"status\":\"disabled\"}"), 200);
    assert_non_null(strstr(answer.body, "You would be disabled."));
    assert_int_equal(ask("DELETE", "/users/ada?dry_run=true&cascade=true", NULL), 200);
    assert_non_null(strstr(answer.body, "You would be gone."));
    assert_non_null(strstr(answer.body, "What you ask with would be gone."));
    assert_int_equal(ask("POST", "/locks?dry_run=true", "{\"user\":\"ada\"}"), 200);
    assert_non_null(strstr(answer.body, "You would be locked."));
    assert_int_equal(ask("PATCH", "/users/ada?dry_run=true", "{\"role\":\"user\"}"), 200);
    assert_non_null(strstr(answer.body, "Your role would be narrower."));
    assert_int_equal(ask("PATCH", "/users/user-1?dry_run=true", "{\"status\":\"disabled\"}"), 200);
    assert_non_null(strstr(answer.body, "\"harm\":{\"count\":0"));
    assert_int_equal(ask("PATCH", "/users/user-1?revision=1", "{\"status\":\"disabled\"}"), 409);
    assert_non_null(strstr(answer.body, "effect-changed"));
    assert_int_equal(ask("PATCH", "/users/user-1?revision=x", "{\"status\":\"disabled\"}"), 422);
    assert_int_equal(ask("PUT", "/config?owner=me&dry_run=true", "{\"groups\":[{\"name\":\"new\",\"members\":[\"user-1\"]}]}"), 200);
    assert_non_null(strstr(answer.body, "\"effect\":{\"gains\""));
    end_world();
}

static void test_expectations(void **state)
{
    static const struct {
        const char *it, *method, *path, *body;
        int status;
        const char *says;
    } steps[] = {
        { "a grant", "POST", "/grants", "{\"name\":\"one\",\"group\":\"staff\",\"destination_profile\":\"web\"}", 201, NULL },
        { "what holds", "POST", "/expectations",
          "{\"name\":\"in\",\"group\":\"staff\",\"host\":\"w.x\",\"port\":80,\"access\":\"allow\"}", 201, NULL },
        { "what shall not be", "POST", "/expectations",
          "{\"name\":\"out\",\"user\":\"uwe\",\"host\":\"w.x\",\"port\":80,\"access\":\"deny\"}", 201, NULL },
        { "no pattern", "POST", "/expectations",
          "{\"name\":\"all\",\"user\":\"uwe\",\"host\":\"*.x\",\"port\":80,\"access\":\"deny\"}", 409, "one name" },
        { "shows what would break", "DELETE", "/grants/one?dry_run=true", NULL, 200, "\"expectations_broken\":{\"count\":1" },
        { "breaks none by a deletion", "DELETE", "/grants/one", NULL, 409, "\"name\":\"in\",\"access\":\"allow\",\"user\":\"victor\"" },
        { "nor by a batch", "POST", "/grants/batch?name=one&expected=1", "{\"delete\":true}", 409, "expectation-broken" },
        { "nor by a member", "PUT", "/groups/staff/members/uwe", "{}", 409, "\"name\":\"out\"" },
        { "nor by a document", "PUT", "/config?owner=me", "{\"locks\":[{\"name\":\"l\",\"user\":\"victor\"}]}", 409,
          "expectation-broken" },
        { "nothing was done", "GET", "/grants/one", NULL, 200, NULL },
        { "others are free", "PUT", "/groups/staff/members/olga", "{}", 201, NULL },
        { "on purpose", "DELETE", "/grants/one?break_expectations=true", NULL, 204, NULL },
        { "which is audited", "GET", "/audit-events?outcome=expectation-broken&object_kind=expectation", NULL, 200, "\"outcome\":\"expectation-broken\"" },
        { "what is broken already stops nobody", "PATCH", "/users/victor", "{\"status\":\"disabled\"}", 200, NULL },
    };

    (void)state;
    fix_start(&f);
    make("/agent-groups", "{\"name\":\"place\",\"routing_mode\":\"priority\"}");
    make("/agents", "{\"name\":\"agent\"}");
    make("/groups", "{\"name\":\"staff\"}");
    make("/destination-profiles", "{\"name\":\"web\",\"hosts\":[\"w.x\"],\"ports\":[\"80\"],\"agent_group\":\"place\"}");
    assert_int_equal(ask("PUT", "/agent-groups/place/members/agent", "{}"), 201);
    assert_int_equal(ask("PUT", "/groups/staff/members/victor", "{}"), 201);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        check_row(steps[i].it);
        if (ask(steps[i].method, steps[i].path, steps[i].body) != steps[i].status)
            fail_msg("%s", answer.text);
        if (steps[i].says && !strstr(answer.body, steps[i].says))
            fail_msg("%s", answer.body);
    }
    fix_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_harm_and_revision),
        cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_agrees_with_what_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
