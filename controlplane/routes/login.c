#include "controlplane/domain/closure.h"
#include "controlplane/domain/when.h"
#include "controlplane/routes/answer.h"
#include "controlplane/routes/body.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/secret.h"
#include <errno.h>
#include <stdio.h>

/* POST /login-sessions.  Failures slow down the account a little and the source a lot.  Where
 * somebody has logged in before he is counted by himself: strangers who fail in his name, from
 * elsewhere or beside him, cannot lock him out; and a log-in of one's own wipes out nothing of
 * what one tried on others. */
#define SESSION_MS (12 * 3600 * 1000LL)
#define FREE_FAILURES 3
#define ACCOUNT_DELAY_MAX_MS 4000
#define SOURCE_DELAY_MAX_MS 60000
#define PENALTIES_KEPT 100000
#define PENALTY_LIFE_MS (3600 * 1000LL)
#define HOME_LIFE_MS (30 * 24 * 3600 * 1000LL)
#define KEY_MAX 160

struct login {
    struct call *c;
    struct json_value *body;
    struct span name, password;
    struct ulid user;                   /* empty: there is none of this name */
    char phc[STORE_SECRET_MAX + 1];     /* "" likewise, or without a password */
    bool is_active, is_home;            /* is_home: he has logged in from this source lately */
    char account_key[KEY_MAX], source_key[KEY_MAX], home_key[KEY_MAX], own_key[KEY_MAX];
};

static void login_deinit(struct login *l)
{
    secret_wipe((void *)(uintptr_t)l->password.p, l->password.n);
    json_value_free(l->body);
}

static void name_keys(struct login *l)
{
    struct addr network = addr_source(&l->c->req->peer);
    char source[ADDR_TEXT_MAX];
    int n = (int)l->name.n;

    addr_format(&network, source);
    snprintf(l->account_key, KEY_MAX, "account:%.*s", n, l->name.p);
    snprintf(l->source_key, KEY_MAX, "source:%s", source);
    snprintf(l->home_key, KEY_MAX, "home:%.*s@%s", n, l->name.p, source);
    snprintf(l->own_key, KEY_MAX, "own:%.*s@%s", n, l->name.p, source);
}

static int read_login(struct login *l)
{
    static const struct check_limits password = { 1, 128, NULL };
    struct check_limits none = { 0 };
    AUTO(buf_deinit) struct buf scratch;
    const char *message;
    int r;

    buf_init_heap(&scratch, 1024);
    r = body_parse(l->c, &l->body);
    if (r)
        return r;
    if (!json_get_str(l->body, "user", &l->name)
        || check_text(LEAF_NAME, &none, l->name, &scratch, &message) != CHECK_OK)
        return call_refuse_at(l->c, REASON_INVALID, "/user", "is required: the name of a user");
    if (!json_get_str(l->body, "password", &l->password) ||
        check_text(LEAF_TEXT, &password, l->password, &scratch, &message) != CHECK_OK)
        return call_refuse_at(l->c, REASON_INVALID, "/password",
                              "is required: 1 to 128 characters");
    if (json_count(l->body) != 2)
        return call_refuse_at(l->c, REASON_INVALID, "", "takes user and password and nothing else");
    secret_wipe(scratch.data, scratch.len);
    name_keys(l);
    return 0;
}

/* ---- penalties ---- */
static int delay_left(struct login *l, const char *key, int64_t now_ms, int64_t *left_ms)
{
    struct store_penalty penalty = { 0 };
    int r = store_penalty_get(l->c->tx, span_str(key), &penalty);

    if (!r && penalty.until_ms - now_ms > *left_ms)
        *left_ms = penalty.until_ms - now_ms;
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

static int look_home(struct login *l, int64_t now_ms)
{
    int64_t left_ms = 0;
    int r = delay_left(l, l->home_key, now_ms, &left_ms);

    l->is_home = left_ms > 0;
    return r;
}

static int check_penalties(struct login *l)
{
    int64_t now_ms = (int64_t)store_now_ms(l->c->api->options.store), left_ms = 0;
    int r = look_home(l, now_ms);

    if (!r && l->is_home)
        r = delay_left(l, l->own_key, now_ms, &left_ms);
    if (!r && !l->is_home)
        r = delay_left(l, l->account_key, now_ms, &left_ms);
    if (!r && !l->is_home)
        r = delay_left(l, l->source_key, now_ms, &left_ms);
    if (r || left_ms <= 0)
        return r;
    l->c->res->problem.retry_after_s = (unsigned)((left_ms + 999) / 1000);
    return call_refuse(l->c, REASON_RATE_LIMITED, "Too many failures; try again in a while.");
}

static int punish(struct login *l, const char *key, int64_t max_ms, int64_t now_ms,
                  int64_t *ret_failures)
{
    struct store_penalty penalty = { 0 };
    int64_t delay_ms = 0, over;
    int r = store_penalty_get(l->c->tx, span_str(key), &penalty);

    if (r && r != STORE_E_NOT_FOUND)
        return r;
    over = ++penalty.failures - FREE_FAILURES;
    if (over > 0)
        delay_ms = over > 8 ? max_ms : 500LL << over;
    penalty.until_ms = now_ms + (delay_ms > max_ms ? max_ms : delay_ms);
    *ret_failures = penalty.failures;
    return store_penalty_put(l->c->tx, span_str(key), penalty);
}

static int forgive(struct login *l)
{
    int64_t now_ms = (int64_t)store_now_ms(l->c->api->options.store);
    const struct store_penalty home = { 0, now_ms + HOME_LIFE_MS };
    const struct store_penalty none = { 0 };
    int r = store_penalty_put(l->c->tx, span_str(l->home_key), home);

    if (!r)
        r = store_penalty_put(l->c->tx, span_str(l->own_key), none);
    return r || l->is_home ? r : store_penalty_put(l->c->tx, span_str(l->account_key), none);
}

/* Failures are audited with the name as their number doubles, so that strangers cannot fill the
 * disk; those between are told with all other refusals (refusals.h). */
static int note_failure(struct login *l)
{
    struct change change = call_change(l->c);
    int64_t now_ms = (int64_t)store_now_ms(l->c->api->options.store), account, failures;
    int r = l->is_home ? 0 : punish(l, l->account_key, ACCOUNT_DELAY_MAX_MS, now_ms, &account);

    if (!r)
        r = punish(l, l->is_home ? l->own_key : l->source_key, SOURCE_DELAY_MAX_MS, now_ms,
                   &failures);
    if (!r)
        r = store_penalties_trim(l->c->tx, now_ms - PENALTY_LIFE_MS, PENALTIES_KEPT);
    if (r)
        return r;
    change.event.actor_kind = "anonymous";
    change.event.object_kind = "user";
    change.event.object_name = l->name;
    change.event.outcome = reason_text(REASON_UNAUTHENTICATED);
    if (!(failures & (failures - 1))) {
        r = store_audit_append(l->c->tx, &change.event, NULL);
        l->c->res->note.is_audited = !r;
    }
    return r ? r : store_commit(&l->c->tx, NULL);
}

/* ---- who is it ---- */
static int find_user(struct login *l)
{
    AUTO(store_object_freep) struct store_object *user = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct store_secret secret;
    struct json_error error;
    int r = store_object_find(l->c->tx, "user", l->name, &user);

    if (!r)
        r = json_parse(user->doc, &doc, &error);
    if (!r)
        r = store_secret_get(l->c->tx, &user->id, "password", &secret);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    l->user = user->id;
    l->is_active = doc_is(doc, "status", "active");
    (void)span_copy(span_of(secret.value, secret.value_len), l->phc, sizeof(l->phc));
    return 0;
}

/* Somebody who is not there costs as much as somebody who is. */
static bool verify(const struct login *l)
{
    static const char nobody[] = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
                                 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    bool is_right = password_verify(l->password, l->phc[0] ? l->phc : nobody);

    return is_right && l->phc[0] && l->is_active;
}

static int collect(void *ctx, const struct store_object *row)
{
    return closure_add(ctx, &row->id);
}

/* The user's sessions that are over go when he logs in again. */
static int forget_sessions(struct login *l)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = l->c->kind->name,
                                 .limit = 100, .filter_count = 2 };
    AUTO(closure_deinit) struct closure ids = { 0 };
    AUTO(buf_deinit) struct buf next;
    char now[WHEN_TEXT_MAX];
    int r;

    buf_init_heap(&next, 4096);
    when_format((int64_t)store_now_ms(l->c->api->options.store), now);
    query.filters[0] = (struct store_filter){ .field = "user", .text = ulid_span(&l->user) };
    query.filters[1] =
        (struct store_filter){ .field = "expires_at", .op = STORE_LT, .text = span_str(now) };
    r = store_list(l->c->tx, &query, collect, &ids, &next);
    for (size_t i = 0; !r && i < ids.count; i++)
        r = store_object_delete(l->c->tx, query.kind, &ids.ids[i], 0);
    return r;
}

static int make_session(struct login *l)
{
    AUTO(issued_deinit) struct issued issued;
    AUTO(store_object_freep) struct store_object *object = NULL;
    struct call *c = l->c;
    struct change change = call_change(c);
    char doc[256], expires[WHEN_TEXT_MAX], peer[ADDR_TEXT_MAX];
    struct ulid id = store_new_id(c->api->options.store);
    int r;

    issued_init(&issued);
    snprintf(doc, sizeof(doc), "{\"user\":\"%s\",\"expires_at\":\"%s\",\"source\":\"%s\"}",
             l->user.text,
             when_format((int64_t)store_now_ms(c->api->options.store) + SESSION_MS, expires),
             addr_format(&c->req->peer, peer));
    change.event.actor_kind = "user";
    change.event.actor_id = ulid_span(&l->user);
    change.event.actor_name = l->name;
    r = issued_make_token("api-token", &issued);
    if (!r)
        r = change_insert(&change, &(struct change_object){
                                       .kind = c->kind,
                                       .id = id,
                                       .doc = span_str(doc),
                                       .secret = issued.secret,
                                       .refs = &(struct change_ref){ "user", l->user },
                                       .ref_count = 1,
                                       .created_by = l->user.text,
                                   });
    if (!r)
        r = store_object_get(c->tx, c->kind->name, &id, &object);
    if (!r)
        r = view_answer(c, object, SPAN_NONE, buf_span(&issued.shown));
    if (r)
        return r;
    response_etag(c->res, object->version);
    response_header(c->res, "Location", "/api/v1/login-sessions/%s", id.text);
    c->res->status = 201;
    return call_commit(c);
}

/* The slow part runs without a transaction. */
static int log_in(struct call *c)
{
    AUTO(login_deinit) struct login l = { .c = c };
    bool is_right;
    int r = read_login(&l);

    if (!r)
        r = check_penalties(&l);
    if (!r)
        r = find_user(&l);
    if (r)
        return r;
    store_rollback(c->tx);
    c->tx = NULL;
    is_right = verify(&l);
    r = store_begin(c->api->options.store, STORE_WRITE, &c->tx);
    if (!r && !is_right) {
        r = note_failure(&l);
        return r ? r
                 : call_refuse(c, REASON_UNAUTHENTICATED, "The name and password do not match.");
    }
    if (!r)
        r = forgive(&l);
    if (!r)
        r = forget_sessions(&l);
    return r ? r : make_session(&l);
}

void on_login(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, log_in);
}
