#include "controlplane/routes/api_fixture.h"

/*
 * Every operation, by every role, on what is his own and what is another's: the answer is
 * what the table of rights says and nothing else.
 */
struct walk {
    struct fix fix;
    struct fix_answer answer;
    const struct route *routes;
    size_t route_count;
    struct ulid objects[KIND_COUNT];                    /* of nobody */
    struct ulid owned[KIND_COUNT][FIX_USERS];
    struct ulid streams[FIX_USERS], decisions[FIX_USERS], operations[FIX_USERS], diagnostics[FIX_USERS], audit;
};

static struct ulid put_record(struct walk *w, struct store_tx *tx, enum store_source source,
                              const struct ulid *user)
{
    struct ulid id = store_new_id(w->fix.store);
    char doc[256];

    snprintf(doc, sizeof(doc), "{\"user\":\"%s\",\"asked_by\":\"%s\",\"stream\":\"%s\",\"state\":\"open\"}",
             user->text, user->text, id.text);
    assert_int_equal(store_record_put(tx, source, &id, span_str(doc)), 0);
    return id;
}

static void make_owned(struct walk *w, struct store_tx *tx, size_t u)
{
    struct fix *f = &w->fix;
    struct ulid *user = &f->users[u].id;
    struct change_secret none = { 0 }, hash = { "credential", span_str(f->users[u].token), "" };
    struct change_secret pac = { "pac", span_str(f->users[u].token), "" };
    char doc[256];

    w->owned[KIND_USER][u] = *user;
    w->owned[KIND_API_TOKEN][u] = f->users[u].token_id;
    snprintf(doc, sizeof(doc), "{\"user\":\"%s\",\"scopes\":[\"*:*\"]}", user->text);
    w->owned[KIND_CREDENTIAL][u] = fix_insert(f, tx, KIND_CREDENTIAL, NULL, doc, user, hash);
    w->owned[KIND_PAC_LINK][u] = fix_insert(f, tx, KIND_PAC_LINK, NULL, doc, user, pac);
    w->owned[KIND_SESSION][u] = fix_insert(f, tx, KIND_SESSION, NULL, doc, user, none);
    w->owned[KIND_GRANT][u] = fix_insert(f, tx, KIND_GRANT, NULL, doc, user, none);
    w->owned[KIND_QUOTA][u] = fix_insert(f, tx, KIND_QUOTA, NULL, doc, user, none);
    w->streams[u] = put_record(w, tx, STORE_STREAMS, user);
    w->decisions[u] = put_record(w, tx, STORE_DECISIONS, user);
    w->operations[u] = put_record(w, tx, STORE_OPERATIONS, user);
    w->diagnostics[u] = put_record(w, tx, STORE_DIAGNOSTICS, user);
}

static int keep_id(void *ctx, const struct store_object *row)
{
    *(struct ulid *)ctx = row->id;
    return 0;
}

static void make_objects(struct walk *w)
{
    static const struct {
        enum kind_id kind;
        const char *doc;
    } rows[] = {
        { KIND_SERVICE_ACCOUNT, "{\"status\":\"active\",\"role\":\"user\"}" },
        { KIND_IDENTITY_PROVIDER, "{\"status\":\"active\",\"issuer\":\"https://idp.example\",\"client_id\":\"adit\"}" },
        { KIND_GROUP, "{}" },
        { KIND_AGENT, "{\"status\":\"active\"}" },
        { KIND_AGENT_GROUP, "{\"routing_mode\":\"priority\"}" },
        { KIND_JOIN_TOKEN, "{\"kind\":\"agent\",\"uses\":1}" },
        { KIND_PROFILE, "{\"hosts\":[\"a.b\"],\"ports\":[\"80\"]}" },
        { KIND_OVERRIDE, "{\"host\":\"a.b\",\"addresses\":[\"10.0.0.1\"]}" },
        { KIND_LOCK, "{\"network\":\"10.0.0.0/8\"}" },
        { KIND_RELAY, "{\"status\":\"active\"}" },
        { KIND_EXPECTATION, "{\"host\":\"a.b\",\"port\":80,\"access\":\"deny\"}" },
    };
    struct store_query audit = { .source = STORE_AUDIT, .limit = 1 };
    AUTO(buf_deinit) struct buf next;
    struct store_tx *tx;
    struct change change;
    bool is_new;

    buf_init_heap(&next, 1024);
    assert_int_equal(store_begin(w->fix.store, STORE_WRITE, &tx), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        w->objects[rows[i].kind] = fix_insert(&w->fix, tx, rows[i].kind, "thing", rows[i].doc, NULL,
                                              (struct change_secret){ 0 });
    for (size_t u = 0; u < FIX_USERS; u++)
        make_owned(w, tx, u);
    change = fix_change(tx);
    assert_int_equal(change_member_put(&change, kind_at(KIND_GROUP), &w->objects[KIND_GROUP],
                                       &w->fix.users[FIX_VICTIM].id, SPAN("{}"), &is_new), 0);
    assert_int_equal(change_member_put(&change, kind_at(KIND_AGENT_GROUP),
                                       &w->objects[KIND_AGENT_GROUP], &w->objects[KIND_AGENT],
                                       SPAN("{\"priority\":1,\"weight\":1,\"enabled\":true}"),
                                       &is_new), 0);
    assert_int_equal(store_list(tx, &audit, keep_id, &w->audit, &next), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static void setup(struct walk *w)
{
    fix_start(&w->fix);
    w->routes = api_routes(w->fix.api, &w->route_count);
    make_objects(w);
}

/* ---- one request ---- */
static bool is_of(const struct route *route, const char *plural)
{
    return span_starts(span_str(route->operation), span_str(plural));
}

/* Told just now by the relay: what is told long ago counts no more. */
static const char *breaker_of(const struct walk *w)
{
    static const char id[] = "01J9Z6T8E2Q4W7R5Y3V1N0M8KD";
    struct store_tx *tx;

    assert_int_equal(store_begin(w->fix.store, STORE_WRITE, &tx), 0);
    assert_int_equal(store_report_put(tx, &w->objects[KIND_RELAY], "relay.applied",
                                      SPAN("{\"breakers\":[{\"id\":\"01J9Z6T8E2Q4W7R5Y3V1N0M8KD\"}]}")), 0);
    assert_int_equal(store_commit(&tx, NULL), 0);
    return id;
}

/* The object that the path names: of user `u` where the kind has owners. */
static const char *object_of(const struct walk *w, const struct route *route, size_t u)
{
    const struct kind *kind = route->data;

    if (is_of(route, "breakers."))
        return breaker_of(w);
    if (is_of(route, "streams."))
        return w->streams[u].text;
    if (is_of(route, "diagnostics."))
        return w->diagnostics[u].text;
    if (is_of(route, "route-decisions."))
        return w->decisions[u].text;
    if (is_of(route, "keys."))
        return "state";
    if (is_of(route, "operations."))
        return w->operations[u].text;
    if (is_of(route, "audit-events."))
        return w->audit.text;
    if (!kind)
        return "0";
    return kind->owner ? w->owned[kind->id][u].text : w->objects[kind->id].text;
}

static void path_of(const struct walk *w, const struct route *route, size_t u, char *dst,
                    size_t size)
{
    const struct kind *kind = route->data;
    bool is_group = kind && kind->id == KIND_GROUP;
    const char *member = is_group ? w->fix.users[FIX_VICTIM].id.text : w->objects[KIND_AGENT].text;
    struct span rest = span_str(route->path), part;
    struct buf path;

    buf_init_fixed(&path, dst, size);
    rest = span_skip(rest, strlen("/api/v1/"));
    while (span_cut(&rest, '/', &part)) {
        buf_put_u8(&path, '/');
        if (part.p[0] != '{')
            buf_put_span(&path, part);
        else
            buf_put_str(&path, span_eq(part, SPAN("{member}")) ? member : object_of(w, route, u));
    }
    if (strstr(route->query, "dry_run"))
        buf_put_str(&path, "?dry_run=true");
    if (is_of(route, "access."))
        buf_printf(&path, "?host=a.b&port=80&user=%s", w->fix.users[u].id.text);
    if (is_of(route, "events."))
        buf_put_str(&path, "?seconds=0");
    buf_put_u8(&path, 0);
    assert_int_equal(buf_error(&path), 0);
}

static const struct {
    const char *operation, *body;       /* %s: the owner's id */
} bodies[] = {
    { "users.create", "{\"name\":\"new\"}" },
    { "users.update", "{\"password\":\"a new password\"}" },
    { "service-accounts.create", "{\"name\":\"new\"}" },
    { "identity-providers.create",
      "{\"name\":\"new\",\"issuer\":\"https://idp.example\",\"client_id\":\"adit\"}" },
    { "groups.create", "{\"name\":\"new\"}" },
    { "proxy-credentials.create", "{\"user\":\"%s\"}" },
    { "pac-links.create", "{\"user\":\"%s\"}" },
    { "agents.create", "{\"name\":\"new\"}" },
    { "agent-groups.create", "{\"name\":\"new\"}" },
    { "join-tokens.create", "{}" },
    { "destination-profiles.create",
      "{\"name\":\"new\",\"hosts\":[\"a.b\"],\"ports\":[\"80\"],\"agent_group\":\"thing\"}" },
    { "grants.create", "{\"user\":\"victor\",\"agent_group\":\"thing\"}" },
    { "dns-overrides.create", "{\"host\":\"a.b\",\"addresses\":[\"10.0.0.1\"]}" },
    { "locks.create", "{\"user\":\"victor\"}" },
    { "diagnostics.create", "{\"user\":\"%s\",\"host\":\"a.b\",\"port\":80}" },
    { "expectations.create", "{\"user\":\"victor\",\"host\":\"a.b\",\"port\":80,\"access\":\"deny\"}" },
    { "quotas.create", "{\"user\":\"victor\",\"max_streams\":5}" },
    { "api-tokens.create", "{\"user\":\"%s\",\"scopes\":[\"*:read\"]}" },
};

static const char *body_of(const struct walk *w, const struct route *route, size_t u, char *dst,
                           size_t size)
{
    if (!route->body_max)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        const char *at = strstr(bodies[i].body, "%s");

        if (strcmp(bodies[i].operation, route->operation) != 0)
            continue;
        if (!at)
            return bodies[i].body;
        snprintf(dst, size, "%.*s%s%s", (int)(at - bodies[i].body), bodies[i].body,
                 w->fix.users[u].id.text, at + 2);
        return dst;
    }
    return "{}";
}

/* ---- what must come ---- */
enum verdict { ALLOWED, FORBIDDEN, HIDDEN };

static const char *verdict_name(enum verdict v)
{
    return v == ALLOWED ? "allows" : v == FORBIDDEN ? "forbids" : "hides";
}

static bool is_about_one(const struct route *route)
{
    return strchr(route->path, '{') || is_of(route, "access.") || strcmp(route->operation, "diagnostics.create") == 0;
}

static enum verdict verdict_of(const struct right *right, const struct route *route, unsigned role,
                               bool is_own)
{
    bool is_list = span_ends(span_str(route->operation), SPAN(".list"));

    if (right->any & role)
        return ALLOWED;
    if (!(right->own & role))
        return FORBIDDEN;
    if (is_own || is_list)
        return ALLOWED;
    return is_about_one(route) ? HIDDEN : FORBIDDEN;
}

static enum verdict verdict_in(const struct fix_answer *a)
{
    return a->status == 403 ? FORBIDDEN : a->status == 404 ? HIDDEN : ALLOWED;
}

static void ask(struct walk *w, const struct route *route, const struct right *right, size_t caller,
                size_t owner)
{
    struct fix_user *u = &w->fix.users[caller];
    char path[512], body[512], it[128];
    enum verdict want = verdict_of(right, route, role_bit(span_str(u->role)), caller == owner);

    path_of(w, route, owner, path, sizeof(path));
    fix_ask(&w->fix, u->token, route->method, path, FIX_JSON,
            body_of(w, route, owner, body, sizeof(body)), &w->answer);
    snprintf(it, sizeof(it), "%s %s to %s on %s", verdict_name(want), route->operation, u->role,
             caller == owner ? "his own" : "another's");
    if (verdict_in(&w->answer) != want || w->answer.status == 401 || w->answer.status >= 500)
        if (!(w->answer.status == 503 && (is_of(route, "access.") || is_of(route, "diagnostics."))))      /* no policy in this test */
            fail_msg("it %s; but: %s", it, w->answer.text);
}

static void test_walk(void **state)
{
    static struct walk w;
    size_t asked = 0;

    (void)state;
    setup(&w);
    for (size_t i = 0; i < w.route_count; i++) {
        const struct route *route = &w.routes[i];
        const struct right *right = right_find(span_str(route->operation));

        if (!right || (route->flags & ROUTE_PUBLIC))
            continue;
        for (size_t caller = 0; caller < FIX_VICTIM; caller++, asked += 2) {
            ask(&w, route, right, caller, caller);
            ask(&w, route, right, caller, FIX_VICTIM);
        }
    }
    assert_true(asked > 600);
    fix_stop(&w.fix);
}

static void test_nobody_gets_nothing(void **state)
{
    static struct walk w;

    (void)state;
    setup(&w);
    for (size_t i = 0; i < w.route_count; i++) {
        const struct route *route = &w.routes[i];
        char path[512];

        if ((route->flags & ROUTE_PUBLIC))
            continue;
        path_of(&w, route, FIX_VICTIM, path, sizeof(path));
        fix_ask(&w.fix, NULL, route->method, path, FIX_JSON, route->body_max ? "{}" : NULL,
                &w.answer);
        assert_int_equal(w.answer.status, 401);
        fix_ask(&w.fix, "adit_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", route->method,
                path, FIX_JSON, route->body_max ? "{}" : NULL, &w.answer);
        assert_int_equal(w.answer.status, 401);
    }
    fix_stop(&w.fix);
}

/* ---- scopes: what a token may is neither more nor less than what it says ---- */
static void token_of(struct walk *w, const char *scope, char ret_token[API_TOKEN_LEN + 1])
{
    char doc[256], hash[SHA256_HEX];
    struct ulid *admin = &w->fix.users[FIX_ADMIN].id;
    struct store_tx *tx;

    api_token_make(ret_token);
    api_token_hash(span_str(ret_token), hash);
    snprintf(doc, sizeof(doc), "{\"user\":\"%s\",\"scopes\":[\"%s\"]}", admin->text, scope);
    assert_int_equal(store_begin(w->fix.store, STORE_WRITE, &tx), 0);
    fix_insert(&w->fix, tx, KIND_API_TOKEN, NULL, doc, admin,
               (struct change_secret){ "api-token", span_str(hash), "" });
    assert_int_equal(store_commit(&tx, NULL), 0);
}

static void ask_scoped(struct walk *w, const struct route *route, const char *scope, bool is_allowed)
{
    char token[API_TOKEN_LEN + 1], path[512], body[512];

    token_of(w, scope, token);
    path_of(w, route, FIX_VICTIM, path, sizeof(path));
    fix_ask(&w->fix, token, route->method, path, FIX_JSON,
            body_of(w, route, FIX_VICTIM, body, sizeof(body)), &w->answer);
    if ((w->answer.status != 403) != is_allowed && !strstr(w->answer.text, "wider-than-own"))
        fail_msg("it %s %s with the scope %s; but: %s", is_allowed ? "allows" : "forbids",
                 route->operation, scope, w->answer.text);
    assert_int_not_equal(w->answer.status, 401);
}

static void test_scopes(void **state)
{
    static struct walk w;
    size_t asked = 0;

    (void)state;
    setup(&w);
    for (size_t i = 0; i < w.route_count; i++) {
        const struct route *route = &w.routes[i];
        struct span rest = span_str(route->scope), resource;
        char scope[64];

        if (!route->scope)
            continue;
        assert_true(span_cut(&rest, ':', &resource));
        ask_scoped(&w, route, route->scope, true);
        snprintf(scope, sizeof(scope), SPAN_FMT ":%s", SPAN_ARG(resource),
                 span_eq(rest, SPAN("read")) ? "write" : "read");
        ask_scoped(&w, route, scope, false);
        snprintf(scope, sizeof(scope), "%s:*", span_eq(resource, SPAN("users")) ? "groups" : "users");
        ask_scoped(&w, route, scope, false);
        asked += 3;
    }
    assert_true(asked > 200);
    fix_stop(&w.fix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_nobody_gets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
