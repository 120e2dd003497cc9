#include "controlplane/routes/answer.h"
#include "controlplane/routes/body.h"
#include "controlplane/routes/compile.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/guard.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/penalty.h"
#include "controlplane/routes/second.h"
#include "controlplane/routes/session.h"
#include "lib/crypto/totp.h"

#include <stdio.h>

/* /users/{id}/totp: a user enrols himself, in two steps; whoever may tend him takes it away. */

struct enrolment {
    struct call *c;
    struct store_object *user;
    struct json_value *body;
    struct span code;                   /* empty: none was given */
    char key[SECOND_KEY_MAX];           /* of penalties */
};

static void enrolment_deinit(struct enrolment *e)
{
    secret_wipe((void *)(uintptr_t)e->code.p, e->code.n);
    json_value_free(e->body);
    store_object_free(e->user);
}

static int read_code(struct enrolment *e, bool is_needed)
{
    static const struct check_limits limits = { TOTP_DIGITS, SECOND_RECOVERY_LEN, NULL };
    bool is_given;
    const char *message;
    unsigned char mem[128];
    struct buf scratch;
    int r = e->c->req->body.n ? body_parse(e->c, &e->body) : 0;

    if (r)
        return r;
    buf_init_fixed(&scratch, mem, sizeof(mem));
    is_given = e->body && json_get(e->body, "code");
    if (is_given != (e->body && json_count(e->body) == 1) && (is_given || json_count(e->body)))
        return call_refuse_at(e->c, REASON_INVALID, "", "takes code and nothing else");
    if ((is_needed && !is_given) ||
        (is_given && (!json_get_str(e->body, "code", &e->code) ||
                      check_text(LEAF_TEXT, &limits, e->code, &scratch, &message) != CHECK_OK)))
        return call_refuse_at(e->c, REASON_INVALID, "/code", "is required: 6 to 19 characters");
    return 0;
}

static int start(struct call *c, struct enrolment *e)
{
    int r = call_path_object(c, 0, &e->user);

    e->c = c;
    if (!r)
        r = guard_sees(c, e->user);
    if (!r && !call_is_own(c, ulid_span(&e->user->id)))
        r = call_refuse(c, REASON_FORBIDDEN, "Everybody enrols himself.");
    if (!r)
        second_penalty_key(&e->user->id, e->key);
    return r;
}

static int check_penalty(struct enrolment *e)
{
    int64_t now_ms = (int64_t)store_now_ms(e->c->api->options.store), left_ms = 0;
    int r = penalty_left(e->c, e->key, now_ms, &left_ms);

    return r || left_ms <= 0 ? r : penalty_refuse(e->c, left_ms);
}

/* Nothing but the penalty is kept. */
static int refuse_code(struct enrolment *e)
{
    struct call *c = e->c;
    int64_t now_ms = (int64_t)store_now_ms(c->api->options.store), failures;
    int r;

    store_rollback(c->tx);
    c->tx = NULL;
    r = store_begin(c->api->options.store, STORE_WRITE, &c->tx);
    if (!r)
        r = penalty_add(c, e->key, SECOND_DELAY_MAX_MS, now_ms, &failures);
    if (!r)
        r = store_commit(&c->tx, NULL);
    return r ? r : call_refuse_at(c, REASON_CONFLICT, "/code", "is not the present code, or was used before");
}

static int audit(struct enrolment *e, const char *what)
{
    struct change change = call_change(e->c);

    change.event.object_kind = "user";
    change.event.object_id = ulid_span(&e->user->id);
    change.event.object_name = span_str(e->user->name);
    change.event.outcome = "ok";
    change.event.after = span_str(what);
    return store_audit_append(e->c->tx, &change.event, NULL);
}

/* ---- POST …/totp ---- */
/* Who has a second factor shows it before he gets another. */
static int prove(struct enrolment *e)
{
    struct second second;
    bool is_right = false;
    int r = second_get(e->c->tx, &e->user->id, &second);

    if (r || !second.is_active)
        return r;
    if (!e->code.n)
        return call_refuse(e->c, REASON_TOTP_REQUIRED, "%s", reason_what(REASON_TOTP_REQUIRED));
    r = check_penalty(e);
    if (!r)
        r = second_use(e->c, &e->user->id, e->code, &is_right);
    if (!r && !is_right)
        return refuse_code(e);
    return r ? r : penalty_forget(e->c, e->key);
}

static void put_secret(struct enrolment *e, struct span secret)
{
    const char *cluster = e->c->api->options.cluster;
    char uri[512];
    struct json_writer w;

    snprintf(uri, sizeof(uri), "otpauth://totp/%s:%s?secret=" SPAN_FMT "&issuer=%s", cluster, e->user->name,
             SPAN_ARG(secret), cluster);
    json_begin(&w, &e->c->res->body);
    json_open_object(&w, NULL);
    json_put_str(&w, "secret", secret);
    json_put_text(&w, "uri", uri);
    json_close_object(&w);
    secret_wipe(uri, sizeof(uri));
}

static int begin(struct call *c)
{
    AUTO(enrolment_deinit) struct enrolment e = { 0 };
    char mem[TOTP_TEXT_LEN + 1];
    struct buf secret;
    int r = start(c, &e);

    buf_init_fixed(&secret, mem, sizeof(mem));
    if (!r)
        r = read_code(&e, false);
    if (!r)
        r = prove(&e);
    if (!r)
        r = second_begin(c, &e.user->id, &secret);
    if (!r)
        r = audit(&e, "{\"totp\":\"begun\"}");
    if (r)
        return r;
    put_secret(&e, buf_span(&secret));
    secret_wipe(mem, sizeof(mem));
    c->res->status = 201;
    return call_commit(c);
}

/* ---- POST …/totp/confirm ---- */
static void put_codes(struct call *c, struct span codes)
{
    struct json_writer w;
    struct span code;

    json_begin(&w, &c->res->body);
    json_open_object(&w, NULL);
    json_open_array(&w, "recovery_codes");
    while (span_cut(&codes, '\n', &code)) {
        if (code.n)
            json_put_str(&w, NULL, code);
    }
    json_close_array(&w);
    json_close_object(&w);
}

static int confirm(struct call *c)
{
    AUTO(enrolment_deinit) struct enrolment e = { 0 };
    char mem[SECOND_RECOVERY_CODES * (SECOND_RECOVERY_LEN + 1) + 1];
    bool is_right = false;
    struct buf codes;
    int r = start(c, &e);

    buf_init_fixed(&codes, mem, sizeof(mem));
    if (!r)
        r = read_code(&e, true);
    if (!r)
        r = check_penalty(&e);
    if (!r)
        r = second_confirm(c, &e.user->id, e.code, &is_right, &codes);
    if (!r && !is_right)
        r = refuse_code(&e);
    if (!r)
        r = penalty_forget(c, e.key);
    if (!r)
        r = compile_door_password(c->tx, &e.user->id);
    if (!r)
        r = audit(&e, "{\"totp\":\"active\"}");
    if (r)
        return r;
    put_codes(c, buf_span(&codes));
    secret_wipe(mem, sizeof(mem));
    c->res->status = 200;
    return call_commit(c);
}

/* ---- DELETE …/totp ---- */
/* Whose factor was lost or is in wrong hands logs in anew. */
static int end_sessions(struct enrolment *e)
{
    struct change change = call_change(e->c);

    return sessions_end(&change, &e->user->id, SPAN_NONE);
}

static int reset(struct call *c)
{
    AUTO(enrolment_deinit) struct enrolment e = { .c = c };
    int r = call_path_object(c, 0, &e.user);

    if (!r && call_is_own(c, ulid_span(&e.user->id)))
        r = call_refuse(c, REASON_CONFLICT, "Somebody else takes it away; you may enrol anew.");
    if (!r)
        r = guard_user(c, &e.user->id);
    if (!r)
        r = second_forget(c->tx, &e.user->id);
    if (!r)
        r = compile_door_password(c->tx, &e.user->id);
    if (!r)
        r = audit(&e, "{\"totp\":\"none\"}");
    if (!r)
        r = end_sessions(&e);
    if (r)
        return r == STORE_E_NOT_FOUND ? call_refuse(c, REASON_CONFLICT, "The user has none.") : r;
    c->res->status = 204;
    return call_commit(c);
}

void on_totp_begin(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, begin);
}

void on_totp_confirm(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, confirm);
}

void on_totp_reset(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, reset);
}
