#include "controlplane/routes/admitted.h"
#include "controlplane/routes/body.h"
#include "controlplane/routes/cookie.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/session.h"
#include "controlplane/routes/sign_in.h"
#include "controlplane/routes/ticket.h"
#include "controlplane/routes/view.h"
#include "lib/base/encode.h"
#include "lib/crypto/random.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* GET /identity-providers/{id}/callback: back from the provider, with a code; and POST …/redeem, where
 * a terminal gets its session. */
#define CODE_MAX 4096
#define CODE_PURPOSE "terminal"
#define ONCE "oidc"                     /* whose kept answers these are */

struct arrival {
    struct provider provider;
    struct journey journey;
    char state[TICKET_DERIVED_MAX], nonce[TICKET_DERIVED_MAX], verifier[TICKET_DERIVED_MAX];
    struct buf code, issuer;
    bool has_issuer;
};

static void arrival_deinit(struct arrival *a)
{
    provider_deinit(&a->provider);
    secret_wipe(a->verifier, sizeof(a->verifier));
    buf_deinit(&a->code);
    buf_deinit(&a->issuer);
}

static int refuse(struct call *c, const char *why)
{
    return call_refuse(c, REASON_IDENTITY_PROVIDER_REFUSED, "%s", why);
}

static int64_t now_of(const struct call *c)
{
    return (int64_t)store_now_ms(c->api->options.store);
}

int sign_in_once(struct call *c, struct span key)
{
    struct store_answer answer = { .status = 204 };
    char hash[SHA256_HEX];
    int r;

    sha256_hex(key, hash);
    r = store_answer_get(c->tx, SPAN(ONCE), span_str(hash), ONCE, &answer);
    buf_deinit(&answer.body);
    if (!r)
        return refuse(c, "This log-in was used already; begin anew.");
    answer = (struct store_answer){ .status = 204 };
    return r == STORE_E_NOT_FOUND ? store_answer_put(c->tx, SPAN(ONCE), span_str(hash), ONCE, &answer) : r;
}

/* ---- is it the browser that went? ---- */
static int read_journey(struct call *c, struct arrival *a)
{
    const struct kek *kek = &c->api->options.kek;
    struct span ticket, state = SPAN_NONE;
    int r;

    if (!cookie_get(c->req, COOKIE_SIGN_IN, &ticket))
        return refuse(c, "This browser began no log-in here, or more than ten minutes ago; begin anew.");
    r = journey_read(c, ticket, &a->journey);
    if (r)
        return r == -EBADMSG ? refuse(c, "The log-in's cookie is not one of ours; begin anew.") : r;
    if (a->journey.end_ms <= now_of(c))
        return refuse(c, "The log-in took longer than ten minutes; begin anew.");
    if (!span_eq(ulid_span(&a->journey.provider), ulid_span(&a->provider.object->id)))
        return refuse(c, "The log-in was begun with another provider.");
    ticket_derive(kek, "state", span_str(a->journey.seed), a->state);
    ticket_derive(kek, "nonce", span_str(a->journey.seed), a->nonce);
    ticket_derive(kek, "verifier", span_str(a->journey.seed), a->verifier);
    (void)request_query(c->req, "state", &state);
    if (!span_eq_secret(state, span_str(a->state)))
        return refuse(c, "The answer belongs to another log-in; begin anew.");
    return 0;
}

static int read_answer(struct call *c, struct arrival *a)
{
    struct span code = SPAN_NONE, error, issuer = SPAN_NONE;

    if (request_query(c->req, "error", &error))
        return refuse(c, span_eq(error, SPAN("access_denied")) ? "The provider says: access_denied."
                                                               : "The provider answers with an error.");
    if (!request_query(c->req, "code", &code) || !code.n || code.n > CODE_MAX || memchr(code.p, 0, code.n))
        return refuse(c, "The provider gives no code.");
    a->has_issuer = request_query(c->req, "iss", &issuer);
    if (issuer.n && memchr(issuer.p, 0, issuer.n))
        return refuse(c, "The code comes from another issuer.");
    buf_put_span(&a->code, code);
    buf_put_span(&a->issuer, issuer);
    return buf_error(&a->code) ? buf_error(&a->code) : buf_error(&a->issuer);
}

static struct oidc_ask ask_of(struct arrival *a)
{
    struct oidc_ask ask = provider_ask(&a->provider);

    ask.code = buf_text(&a->code);
    ask.verifier = a->verifier;
    ask.nonce = a->nonce;
    ask.code_issuer = a->has_issuer ? buf_text(&a->issuer) : NULL;
    return ask;
}

/* ---- what one gets ---- */
static void put_page(struct call *c, const char *return_to)
{
    struct buf *body = &c->res->body;
    AUTO(buf_deinit) struct buf href;

    buf_init_heap(&href, 1024);
    for (const char *at = return_to; *at; at++) {
        if (*at == '&')
            buf_put_str(&href, "&amp;");
        else
            buf_put_u8(&href, (uint8_t)*at);
    }
    buf_printf(body, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Adit: logged in</title>\n"
                     "<meta http-equiv=\"refresh\" content=\"0; url=%s\">\n</head>\n<body>\n<p>Logged in. "
                     "<a href=\"%s\">Go on</a></p>\n</body>\n</html>\n", buf_text(&href), buf_text(&href));
    c->res->content_type = "text/html; charset=utf-8";
    c->res->status = 200;
}

/* A page that leads on, and no redirect: to a browser the way from the provider up to here is another
 * site's doing, along which it sends no Strict cookie. */
static int give_cookie(struct call *c, const struct arrival *a, const struct store_object *user)
{
    AUTO(issued_deinit) struct issued issued;
    struct ulid id;
    int r;

    issued_init(&issued);
    r = session_make(c, &(struct session_of){ user->id, span_str(user->name), false }, &issued, &id);
    if (r)
        return r;
    cookie_put_session(c->res, buf_span(&issued.shown), SESSION_MS / 1000);
    put_page(c, a->journey.return_to);
    return call_commit(c);
}

/* The terminal waits on the browser's own machine: nobody else gets the code, and without the
 * verifier it is nothing. */
static int give_code(struct call *c, const struct arrival *a, const struct store_object *user)
{
    AUTO(buf_deinit) struct buf payload, ticket, url;
    unsigned char salt[16];
    int r;

    buf_init_heap(&payload, 1024);
    buf_init_heap(&ticket, 1024);
    buf_init_heap(&url, RESPONSE_LOCATION_MAX - 1);
    random_bytes(salt, sizeof(salt));
    buf_printf(&payload, "%s %s %lld %s ", a->provider.object->id.text, user->id.text,
               (long long)now_of(c) + SIGN_IN_CODE_MS, a->journey.challenge);
    base64url_encode(span_of(salt, sizeof(salt)), &payload);
    r = buf_error(&payload);
    if (!r)
        r = ticket_write(&c->api->options.kek, CODE_PURPOSE, buf_span(&payload), &ticket);
    if (r)
        return r;
    buf_printf(&url, "http://127.0.0.1:%u/?code=%s", a->journey.port, buf_text(&ticket));
    response_redirect(c->res, 303, buf_span(&url));
    return call_commit(c);
}

static int arrive(struct call *c, struct arrival *a, const struct json_value *claims)
{
    AUTO(store_object_freep) struct store_object *user = NULL;
    int r;

    store_rollback(TAKE(c->tx));
    r = store_begin(c->api->options.store, STORE_WRITE, &c->tx);
    if (!r)
        r = sign_in_once(c, span_str(a->state));
    if (!r)
        r = sign_in_user(c, &a->provider, claims, &user);
    if (!r && admitted_now(c->api, &user->id) != REASON_NONE)
        r = call_refuse(c, REASON_LOCKED, "%s", reason_what(REASON_LOCKED));
    if (r)
        return r;
    response_header(c->res, "Set-Cookie", "%s=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax", COOKIE_SIGN_IN);
    return a->journey.port ? give_code(c, a, user) : give_cookie(c, a, user);
}

static int callback(struct call *c)
{
    AUTO(arrival_deinit) struct arrival a = { .has_issuer = false };
    AUTO(json_value_freep) struct json_value *claims = NULL;
    struct oidc_answer answer;
    struct oidc_ask ask;
    int r;

    provider_init(&a.provider);
    buf_init_heap(&a.code, CODE_MAX + 1);
    buf_init_heap(&a.issuer, CODE_MAX + 1);
    r = provider_load(c, &a.provider);
    if (!r)
        r = read_journey(c, &a);
    if (!r)
        r = read_answer(c, &a);
    if (r)
        return r;
    ask = ask_of(&a);
    r = provider_wait(c, a.state, &ask, &answer);
    if (r)
        return r;
    claims = answer.claims;
    return arrive(c, &a, claims);
}

void on_sign_in_callback(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, callback);
}

/* ---- a terminal's code ---- */
static int read_redeem(struct call *c, struct json_value **ret_body, struct span *ret_code, struct span *ret_verifier)
{
    int r = body_parse(c, ret_body);

    if (r)
        return r;
    if (!json_get_str(*ret_body, "code", ret_code) || !ret_code->n || ret_code->n > 1024)
        return call_refuse_at(c, REASON_INVALID, "/code", "is required: what the browser brought");
    if (!json_get_str(*ret_body, "verifier", ret_verifier) || ret_verifier->n < 43 || ret_verifier->n > 128)
        return call_refuse_at(c, REASON_INVALID, "/verifier", "is required: 43 to 128 characters");
    if (json_count(*ret_body) != 2)
        return call_refuse_at(c, REASON_INVALID, "", "takes code and verifier and nothing else");
    return 0;
}

/* False: not our code, too old, of another provider, or not this terminal's. */
static bool is_code_good(struct call *c, const struct provider *p, struct span code, struct span verifier,
                         struct ulid *ret_user)
{
    AUTO(buf_deinit) struct buf payload, challenge;
    unsigned char digest[SHA256_LEN];
    struct span rest, parts[4];
    uint64_t end_ms;

    buf_init_heap(&payload, 1024);
    buf_init_heap(&challenge, 64);
    if (ticket_read(&c->api->options.kek, CODE_PURPOSE, code, &payload))
        return false;
    rest = buf_span(&payload);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!span_cut(&rest, ' ', &parts[i]))
            return false;
    }
    sha256(verifier, digest);
    base64url_encode(span_of(digest, sizeof(digest)), &challenge);
    return span_eq(parts[0], ulid_span(&p->object->id)) && ulid_parse(parts[1], ret_user) &&
           span_to_u64(parts[2], INT64_MAX, &end_ms) && (int64_t)end_ms > now_of(c) &&
           span_eq_secret(parts[3], buf_span(&challenge));
}

static int give_session(struct call *c, const struct provider *p, struct span code, struct span verifier)
{
    AUTO(store_object_freep) struct store_object *user = NULL;
    struct ulid user_id;
    int r;

    if (!is_code_good(c, p, code, verifier, &user_id))
        return refuse(c, "The code is not good, not good any more, or not this terminal's.");
    r = sign_in_once(c, code);
    if (!r)
        r = store_object_get(c->tx, kind_at(KIND_USER)->name, &user_id, &user);
    return r ? r : session_give(c, &(struct session_of){ user_id, span_str(user->name), false });
}

static int redeem(struct call *c)
{
    AUTO(json_value_freep) struct json_value *body = NULL;
    AUTO(provider_deinit) struct provider p;
    struct span code, verifier;
    int r;

    provider_init(&p);
    r = provider_load(c, &p);
    if (!r)
        r = read_redeem(c, &body, &code, &verifier);
    return r ? r : give_session(c, &p, code, verifier);
}

void on_sign_in_redeem(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, redeem);
}
