#include "controlplane/routes/door_password.h"
#include "controlplane/domain/right.h"
#include "controlplane/routes/compile.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/lapse.h"
#include "controlplane/routes/penalty.h"
#include "controlplane/routes/rehash.h"
#include "lib/json/json.h"
#include "lib/policy/chosen.h"
#include <stdio.h>

#define ACCOUNT_DELAY_MAX_MS 4000
#define SOURCE_DELAY_MAX_MS 60000
#define KEY_MAX 160

struct question {
    struct internal *in;
    struct call call;                   /* for the penalties */
    struct json_value *body;
    struct ulid user;
    struct span password;
    bool may_be_asked, has_failed;      /* has_failed: not long ago */
    int64_t left_ms;                    /* until he may be asked about again */
    char phc[STORE_SECRET_MAX + 1], fresh[PASSWORD_PHC_MAX];
    char account_key[KEY_MAX], source_key[KEY_MAX];
};

static void question_deinit(struct question *q)
{
    secret_wipe((void *)(uintptr_t)q->password.p, q->password.n);
    secret_wipe(q->phc, sizeof(q->phc));
    secret_wipe(q->fresh, sizeof(q->fresh));
    json_value_free(q->body);
}

static bool read_question(struct question *q)
{
    struct request *req = q->call.req;
    struct span user, source = SPAN_NONE;
    struct json_error error;
    struct addr addr, network;
    char text[ADDR_TEXT_MAX];

    if (json_parse(req->body, &q->body, &error) || !json_get_str(q->body, "user", &user) ||
        !ulid_parse(user, &q->user) || !json_get_str(q->body, "password", &q->password) || !q->password.n ||
        q->password.n > PASSWORD_MAX || !json_get_str(q->body, "source", &source) || !addr_parse(source, &addr))
        return false;
    network = addr_source(&addr);
    snprintf(q->account_key, KEY_MAX, "door:%s", q->user.text);
    snprintf(q->source_key, KEY_MAX, "door-source:%s", addr_format(&network, text));
    return true;
}

static bool needs_second(const struct question *q, const struct json_value *user)
{
    return q->in->totp_roles & role_bit(doc_text(user, "role"));
}

/* As his credentials would. */
static bool has_lapsed(const struct question *q, const struct json_value *user)
{
    int64_t lapse_ms = lapse_at(user);

    return lapse_ms && lapse_ms <= (int64_t)store_now_ms(q->in->enrol.store);
}

/* As the state says it to relays, and looked at again: theirs may be older. */
static int look(struct question *q)
{
    AUTO(store_object_freep) struct store_object *user = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct store_secret secret = { 0 };
    struct json_error error;
    bool takes;
    int r = store_object_get(q->call.tx, kind_at(KIND_USER)->name, &q->user, &user);

    if (!r)
        r = json_parse(user->doc, &doc, &error);
    if (!r)
        r = store_secret_get(q->call.tx, &q->user, "password", &secret);
    if (!r)
        r = compile_takes_password(q->call.tx, &q->user, doc, &takes);
    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    q->may_be_asked = takes && doc_is(doc, "status", "active") && !needs_second(q, doc) && !has_lapsed(q, doc);
    (void)span_copy(span_of(secret.value, secret.value_len), q->phc, sizeof(q->phc));
    return 0;
}

static int look_at_penalties(struct question *q)
{
    int64_t now_ms = (int64_t)store_now_ms(q->in->enrol.store);
    struct store_penalty penalty = { 0 };
    int r = penalty_left(&q->call, q->account_key, now_ms, &q->left_ms);

    if (!r)
        r = penalty_left(&q->call, q->source_key, now_ms, &q->left_ms);
    if (!r)
        r = store_penalty_get(q->call.tx, span_str(q->account_key), &penalty);
    q->has_failed = !r && penalty.failures;
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

static int prepare(struct question *q)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int r = store_begin(q->in->enrol.store, STORE_READ, &tx);

    q->call.tx = tx;
    if (!r)
        r = look_at_penalties(q);
    return r ? r : look(q);
}

/* The source's failures stay: one password of his own says nothing of those that he tried on others. */
static int keep(struct question *q, bool is_right)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int64_t now_ms = (int64_t)store_now_ms(q->in->enrol.store), failures;
    int r;

    if (is_right && !q->fresh[0] && !q->has_failed)
        return 0;
    r = store_begin(q->in->enrol.store, STORE_WRITE, &tx);
    q->call.tx = tx;
    if (!r && is_right)
        r = penalty_forget(&q->call, q->account_key);
    if (!r && is_right)
        r = rehash_keep(tx, &q->user, q->phc, q->fresh);
    if (!r && !is_right)
        r = penalty_add(&q->call, q->account_key, ACCOUNT_DELAY_MAX_MS, now_ms, &failures);
    if (!r && !is_right)
        r = penalty_add(&q->call, q->source_key, SOURCE_DELAY_MAX_MS, now_ms, &failures);
    if (!r)
        r = penalty_trim(&q->call, now_ms);
    return r ? r : store_commit(&tx, NULL);
}

static int judge(struct question *q, enum reason *ret_why)
{
    bool is_right;
    int r = prepare(q);

    *ret_why = REASON_RATE_LIMITED;
    if (r || q->left_ms > 0)
        return r;
    is_right = q->may_be_asked && password_verify(q->password, q->phc);
    if (is_right)
        rehash_make(q->password, q->phc, q->fresh);
    *ret_why = is_right ? REASON_NONE : REASON_AUTH_FAILED;
    return keep(q, is_right);
}

void on_door_password(const struct route *route, struct request *req, struct response *res)
{
    AUTO(question_deinit) struct question q = { .in = route->ctx, .call = { .req = req, .res = res } };
    enum reason why;
    struct json_writer w;
    int r;

    if (!read_question(&q)) {
        response_problem(res, REASON_BAD_REQUEST, "%s", "user, password and source are required");
        return;
    }
    r = judge(&q, &why);
    if (r) {
        response_fail(res, r);
        return;
    }
    json_begin(&w, &res->body);
    json_open_object(&w, NULL);
    json_put_text(&w, "reason", reason_text(why));
    json_close_object(&w);
    res->status = 200;
}
