#include "controlplane/routes/admitted.h"
#include "controlplane/routes/answer.h"
#include "controlplane/routes/body.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/penalty.h"
#include "controlplane/routes/rehash.h"
#include "controlplane/routes/second.h"
#include "controlplane/routes/session.h"
#include <errno.h>
#include <stdio.h>

/* POST /login-sessions.  Failures slow down the account a little and the source a lot.  Where
 * somebody has logged in before he is counted by himself: strangers who fail in his name, from
 * elsewhere or beside him, cannot lock him out; and a log-in of one's own wipes out nothing of
 * what one tried on others. */
#define ACCOUNT_DELAY_MAX_MS 4000
#define SOURCE_DELAY_MAX_MS 60000
#define HOME_LIFE_MS (30 * 24 * 3600 * 1000LL)
#define KEY_MAX 160

struct login {
    struct call *c;
    struct json_value *body;
    struct span name, password, code;   /* code empty: none was given */
    struct ulid user;                   /* empty: there is none of this name */
    char phc[STORE_SECRET_MAX + 1];     /* "" likewise, or without a password */
    char fresh[PASSWORD_PHC_MAX];       /* the same password, hashed as we do; "": it was already */
    bool is_active, is_home;            /* is_home: he has logged in from this source lately */
    bool needs_second;                  /* a second factor is required of him */
    bool is_enrolling;                  /* he has none yet: he may enrol and nothing else */
    bool is_code_wrong;                 /* the password was right */
    char account_key[KEY_MAX], source_key[KEY_MAX], home_key[KEY_MAX], own_key[KEY_MAX];
    char second_key[SECOND_KEY_MAX];    /* "" before the user is found */
};

static void login_deinit(struct login *l)
{
    secret_wipe((void *)(uintptr_t)l->password.p, l->password.n);
    secret_wipe((void *)(uintptr_t)l->code.p, l->code.n);
    secret_wipe(l->phc, sizeof(l->phc));
    secret_wipe(l->fresh, sizeof(l->fresh));
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

static int read_code(struct login *l, struct buf *scratch)
{
    static const struct check_limits code = { 6, SECOND_RECOVERY_LEN, NULL };
    const struct json_value *given = json_get(l->body, "code");
    const char *message;

    if (given && (!json_as_str(given, &l->code) ||
                  check_text(LEAF_TEXT, &code, l->code, scratch, &message) != CHECK_OK))
        return call_refuse_at(l->c, REASON_INVALID, "/code", "must be 6 to 19 characters");
    if (json_count(l->body) != (given ? 3u : 2u))
        return call_refuse_at(l->c, REASON_INVALID, "", "takes user, password and code and nothing else");
    return 0;
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
    r = read_code(l, &scratch);
    if (r)
        return r;
    secret_wipe(scratch.data, scratch.len);
    name_keys(l);
    return 0;
}

/* ---- penalties ---- */
static int look_home(struct login *l, int64_t now_ms)
{
    int64_t left_ms = 0;
    int r = penalty_left(l->c, l->home_key, now_ms, &left_ms);

    l->is_home = left_ms > 0;
    return r;
}

static int check_penalties(struct login *l)
{
    int64_t now_ms = (int64_t)store_now_ms(l->c->api->options.store), left_ms = 0;
    int r = look_home(l, now_ms);

    if (!r && l->is_home)
        r = penalty_left(l->c, l->own_key, now_ms, &left_ms);
    if (!r && !l->is_home)
        r = penalty_left(l->c, l->account_key, now_ms, &left_ms);
    if (!r && !l->is_home)
        r = penalty_left(l->c, l->source_key, now_ms, &left_ms);
    return r || left_ms <= 0 ? r : penalty_refuse(l->c, left_ms);
}

static int forgive(struct login *l)
{
    int64_t now_ms = (int64_t)store_now_ms(l->c->api->options.store);
    const struct store_penalty home = { 0, now_ms + HOME_LIFE_MS };
    int r = store_penalty_put(l->c->tx, span_str(l->home_key), home);

    if (!r)
        r = penalty_forget(l->c, l->own_key);
    if (!r && !l->is_home)
        r = penalty_forget(l->c, l->second_key);
    return r || l->is_home ? r : penalty_forget(l->c, l->account_key);
}

/* Failures are audited with the name as their number doubles, so that strangers cannot fill the
 * disk; those between are told with all other refusals (refusals.h). */
static int note_failure(struct login *l)
{
    struct change change = call_change(l->c);
    int64_t now_ms = (int64_t)store_now_ms(l->c->api->options.store), account, failures;
    int r = l->is_home ? 0 : penalty_add(l->c, l->account_key, ACCOUNT_DELAY_MAX_MS, now_ms, &account);

    if (!r && l->is_code_wrong && !l->is_home)
        r = penalty_add(l->c, l->second_key, SECOND_DELAY_MAX_MS, now_ms, &account);
    if (!r)
        r = penalty_add(l->c, l->is_home ? l->own_key : l->source_key, SOURCE_DELAY_MAX_MS, now_ms,
                        &failures);
    if (!r)
        r = penalty_trim(l->c, now_ms);
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
    second_penalty_key(&l->user, l->second_key);
    l->is_active = doc_is(doc, "status", "active");
    l->needs_second = doc_bool(doc, "totp_required") ||
        (l->c->api->options.totp_roles & role_bit(doc_text(doc, "role")));
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

/* Who has the password and guesses codes, from wherever, waits longer than strangers make anybody
 * wait; at home he is counted by himself, as with passwords. */
static int check_second_penalty(struct login *l)
{
    int64_t now_ms = (int64_t)store_now_ms(l->c->api->options.store), left_ms = 0;
    int r = l->is_home ? 0 : penalty_left(l->c, l->second_key, now_ms, &left_ms);

    return r || left_ms <= 0 ? r : penalty_refuse(l->c, left_ms);
}

/* In the transaction that lets in, so that a code is good once. */
static int check_second(struct login *l, bool *ret_is_right)
{
    struct second second;
    int r = second_get(l->c->tx, &l->user, &second);

    l->is_enrolling = l->needs_second && !second.is_active;
    if (r || !second.is_active)
        return r;
    if (!l->code.n)
        return call_refuse(l->c, REASON_TOTP_REQUIRED, "%s", reason_what(REASON_TOTP_REQUIRED));
    r = check_second_penalty(l);
    if (!r)
        r = second_use(l->c, &l->user, l->code, ret_is_right);
    l->is_code_wrong = !r && !*ret_is_right;
    return r;
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
    if (is_right)
        rehash_make(l.password, l.phc, l.fresh);
    r = store_begin(c->api->options.store, STORE_WRITE, &c->tx);
    if (!r && is_right)
        r = check_penalties(&l);        /* again: what came beside this one may have failed meanwhile */
    if (!r && is_right)
        r = check_second(&l, &is_right);
    if (!r && !is_right) {
        r = note_failure(&l);
        return r ? r
                 : call_refuse(c, REASON_UNAUTHENTICATED, "Name, password and code do not match.");
    }
    if (!r && admitted_now(c->api, &l.user) != REASON_NONE)
        return call_refuse(c, REASON_LOCKED, "%s", reason_what(REASON_LOCKED));
    if (!r)
        r = forgive(&l);
    if (!r)
        r = rehash_keep(c->tx, &l.user, l.phc, l.fresh);
    return r ? r : session_give(c, &(struct session_of){ l.user, l.name, l.is_enrolling });
}

void on_login(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, log_in);
}
