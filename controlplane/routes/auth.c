#include "controlplane/routes/api_internal.h"
#include "controlplane/domain/right.h"
#include "controlplane/routes/admitted.h"
#include "controlplane/domain/kind.h"
#include "controlplane/routes/cookie.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/lapse.h"
#include "controlplane/routes/token.h"
#include "lib/base/encode.h"
#include <stdio.h>
#include <string.h>

/* Who calls: a bearer token of a user or service account that is active. */
struct caller {
    struct store_object *token, *user;
    bool is_previous;                   /* the token's secret was replaced lately */
    struct json_value *token_doc, *user_doc;
};

static void caller_deinit(struct caller *c)
{
    store_object_free(c->token);
    store_object_free(c->user);
    json_value_free(c->token_doc);
    json_value_free(c->user_doc);
}

/* The header, when there is one; otherwise a browser's cookie. */
static bool token_of(const struct request *req, struct span *ret_token, bool *ret_is_cookie)
{
    struct span rest = request_header(req, "Authorization"), scheme;

    *ret_is_cookie = !rest.p && cookie_get(req, COOKIE_SESSION, ret_token);
    if (*ret_is_cookie)
        return api_token_is_well_formed(*ret_token);

    if (!span_cut(&rest, ' ', &scheme) || !rest.p || !span_eq_nocase(scheme, SPAN("Bearer")))
        return false;
    *ret_token = span_trim(rest);
    return api_token_is_well_formed(*ret_token);
}

static int load(struct store_tx *tx, struct span token, struct caller *c)
{
    char hash[SHA256_HEX];
    struct store_secret secret;
    struct json_error error;
    struct ulid user;
    int r;

    api_token_hash(token, hash);
    r = store_secret_find(tx, TOKEN_PURPOSE, span_str(hash), &secret);
    if (r == STORE_E_NOT_FOUND) {
        c->is_previous = true;
        r = store_secret_find(tx, TOKEN_PREVIOUS, span_str(hash), &secret);
    }
    if (!r)
        r = store_object_get(tx, NULL, &secret.object, &c->token);
    if (!r)
        r = json_parse(c->token->doc, &c->token_doc, &error);
    if (r)
        return r;
    user = doc_id(c->token_doc, "user");
    r = store_object_get(tx, NULL, &user, &c->user);
    return r ? r : json_parse(c->user->doc, &c->user_doc, &error);
}

static bool is_from_allowed(const struct json_value *token, const struct addr *peer)
{
    size_t count = doc_count(token, "source_networks");
    struct cidr network;

    for (size_t i = 0; i < count; i++) {
        if (cidr_parse(doc_item(token, "source_networks", i), &network) && cidr_has(&network, peer))
            return true;
    }
    return !count;
}

static bool is_api_token(const struct caller *c)
{
    return !strcmp(c->token->kind, kind_at(KIND_API_TOKEN)->name);
}

/* Why the token does not count now; NULL: it does. */
static const char *objection(const struct caller *c, const struct request *req, uint64_t now_ms)
{
    int64_t end_ms = doc_time(c->token_doc, "expires_at"), lapse_ms = is_api_token(c) ? lapse_at(c->user_doc) : 0;

    if (end_ms && end_ms <= (int64_t)now_ms)
        return "the token has expired";
    if (lapse_ms && lapse_ms <= (int64_t)now_ms)
        return "the user has not logged in at the identity provider for a week";
    if (c->is_previous && doc_time(c->token_doc, "previous_until") <= (int64_t)now_ms)
        return "the token was replaced by another";
    if (!is_from_allowed(c->token_doc, &req->peer))
        return "the token may not be used from this address";
    if (!doc_is(c->user_doc, "status", "active"))
        return "the user or service account is disabled";
    return NULL;
}

static void put_scopes(const struct json_value *token, char *dst, size_t size)
{
    struct buf scopes;

    buf_init_fixed(&scopes, dst, size);
    for (size_t i = 0; i < doc_count(token, "scopes"); i++) {
        struct span scope = doc_item(token, "scopes", i);

        if (scopes.len)
            buf_put_u8(&scopes, ' ');
        buf_put_span(&scopes, scope);
    }
    if (!doc_count(token, "scopes"))            /* a log-in session: all that the role allows */
        buf_put_str(&scopes, "*:*");
    buf_put_u8(&scopes, 0);
    if (buf_error(&scopes))
        dst[0] = 0;
}

static void fill_principal(const struct caller *c, struct principal *p)
{
    snprintf(p->kind, sizeof(p->kind), "%.15s", c->user->kind);
    snprintf(p->id, sizeof(p->id), "%s", c->user->id.text);
    snprintf(p->name, sizeof(p->name), "%s", c->user->name);
    snprintf(p->token_id, sizeof(p->token_id), "%s", c->token->id.text);
    p->roles = role_bit(doc_text(c->user_doc, "role"));
    put_scopes(c->token_doc, p->scopes, sizeof(p->scopes));
}

static bool refuse(struct response *res, int r, const char *why)
{
    if (r == STORE_E_BUSY)
        response_problem(res, REASON_OVERLOAD, "%s", reason_what(REASON_OVERLOAD));
    else if (r < 0)
        response_fail(res, r);
    else
        response_problem(res, REASON_UNAUTHENTICATED, "%s", why);
    return false;
}

static bool is_admitted(const struct api *api, const struct caller *c, struct response *res)
{
    enum reason why = admitted_now(api, &c->user->id);

    if (why != REASON_NONE)
        response_problem(res, why, "%s", reason_what(why));
    return why == REASON_NONE;
}

/* Only sessions come by cookie, and change something only from our own pages. */
static bool is_cookie_good(const struct api *api, const struct caller *c, const struct request *req,
                           struct span token, struct response *res)
{
    const char *why = csrf_objection(req, token, api->options.public_url);

    if (strcmp(c->token->kind, kind_at(KIND_SESSION)->name) != 0)
        return refuse(res, 0, reason_what(REASON_UNAUTHENTICATED));
    if (why)
        response_problem(res, REASON_FORBIDDEN, "%s", why);
    return !why;
}

bool api_authenticate(void *ctx, struct request *req, struct response *res)
{
    struct api *api = ctx;
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    AUTO(caller_deinit) struct caller caller = { 0 };
    struct span token;
    const char *why;
    bool is_cookie;
    int r;

    if (!token_of(req, &token, &is_cookie))
        return refuse(res, 0, reason_what(REASON_UNAUTHENTICATED));
    r = store_begin(api->options.store, STORE_READ, &tx);
    if (!r)
        r = load(tx, token, &caller);
    if (r)
        return refuse(res, r, reason_what(REASON_UNAUTHENTICATED));
    why = objection(&caller, req, store_now_ms(api->options.store));
    if (why)
        return refuse(res, 0, why);
    if (is_cookie && !is_cookie_good(api, &caller, req, token, res))
        return false;
    if (!is_admitted(api, &caller, res))
        return false;
    fill_principal(&caller, &req->principal);
    if (is_api_token(&caller))
        uses_note(&api->uses, &caller.token->id, &req->peer);
    req->principal.is_session = is_cookie;
    return true;
}

/* ---- kept answers ---- */
void api_request_hash(const struct request *req, char ret_hex[SHA256_HEX])
{
    struct span parts[2 * REQUEST_QUERIES_MAX + 1] = { span_str(req->body_hash) };
    unsigned char digest[SHA256_LEN];
    struct buf hex;
    size_t count = 1;

    for (size_t i = 0; i < request_query_count(req) && count + 2 <= ARRAY_LEN(parts);
         i++, count += 2)
        request_query_at(req, i, &parts[count], &parts[count + 1]);
    sha256_parts(parts, count, digest);
    buf_init_fixed(&hex, ret_hex, SHA256_HEX);
    hex_encode(span_of(digest, sizeof(digest)), &hex);
    ret_hex[SHA256_HEX - 1] = 0;
}

static void give_answer(const struct store_answer *answer, struct response *res)
{
    res->status = answer->status;
    buf_put_span(&res->body, buf_span(&answer->body));
    if (answer->location[0])
        response_header(res, "Location", "%s", answer->location);
    if (answer->etag[0])
        response_header(res, "ETag", "%s", answer->etag);
    response_header(res, "Idempotency-Replayed", "true");
}

bool api_replay(void *ctx, struct request *req, struct response *res)
{
    const struct api *api = ctx;
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    struct store_answer answer = { 0 };
    char hash[SHA256_HEX];
    int r = store_begin(api->options.store, STORE_READ, &tx);

    if (!r)
        r = store_answer_get(tx, span_str(req->principal.id), req->idempotency_key,
                             req->route->operation, &answer);
    if (r == STORE_E_NOT_FOUND)
        return false;
    if (r)
        return !refuse(res, r, "");
    api_request_hash(req, hash);
    if (!span_eq(span_str(answer.body_hash), span_str(hash)))
        response_problem(res, REASON_IDEMPOTENCY_MISMATCH, "%s",
                         reason_what(REASON_IDEMPOTENCY_MISMATCH));
    else
        give_answer(&answer, res);
    buf_deinit(&answer.body);
    return true;
}
