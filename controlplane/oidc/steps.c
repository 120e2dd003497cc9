#include "controlplane/oidc/oidc_internal.h"
#include "lib/log/log.h"
#include "lib/crypto/digest.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

/* An ask walks: what the provider publishes, the code for a token, its keys, the check.  A step
 * answers whether the next one can be taken at once; otherwise a fetch's end goes on with it. */

static bool is_younger(uint64_t at_ms, unsigned than_ms)
{
    return at_ms && oidc_now_ms() - at_ms < than_ms;
}

static void finish(struct oidc *o, struct asked *a)
{
    a->step = STEP_DONE;
    a->answer.is_done = true;
    a->end_ms = oidc_now_ms() + OIDC_KEPT_MS;
    o->has_answers = true;
}

void asked_fail(struct oidc *o, struct asked *a, enum reason reason, const char *why)
{
    LOG(WARNING, "oidc.failed", S("provider", a->known->id.text), S("reason", reason_text(reason)),
        S("detail", why), S("trace_id", a->key));
    o->stats.refused += reason == REASON_IDENTITY_PROVIDER_REFUSED;
    o->stats.unavailable += reason != REASON_IDENTITY_PROVIDER_REFUSED;
    a->answer.reason = reason;
    snprintf(a->answer.why, sizeof(a->answer.why), "%s", why);
    finish(o, a);
}

static void refuse(struct oidc *o, struct asked *a, const char *why)
{
    asked_fail(o, a, REASON_IDENTITY_PROVIDER_REFUSED, why);
}

/* What all who ask need: one fetch for all of them, and a pause after one that failed. */
static bool need(struct oidc *o, struct asked *a, enum fetch_kind kind)
{
    struct known *k = a->known;
    struct fetch *f;
    char url[OIDC_URL_MAX + 40];
    size_t len = strlen(k->issuer);

    if (k->fetches[kind].runs)
        return false;
    if (k->fetches[kind].has_failed && is_younger(k->fetches[kind].tried_ms, o->options.pause_ms)) {
        asked_fail(o, a, REASON_IDENTITY_PROVIDER_UNAVAILABLE, k->why);
        return false;
    }
    len -= len && k->issuer[len - 1] == '/';
    snprintf(url, sizeof(url), "%.*s/.well-known/openid-configuration", (int)len, k->issuer);
    if (fetch_new(o, k, kind, kind == FETCH_KEYS ? k->metadata.jwks_uri : url, SPAN_NONE, &f))
        asked_fail(o, a, REASON_OVERLOAD, "out of memory");
    else
        k->fetches[kind].runs = true;
    return false;
}

static bool step_metadata(struct oidc *o, struct asked *a)
{
    struct known *k = a->known;

    if (!is_younger(k->metadata_ms, o->options.fresh_ms))
        return need(o, a, FETCH_METADATA);
    if (!a->code) {
        snprintf(a->answer.authorization_endpoint, OIDC_URL_MAX, "%s", k->metadata.authorization_endpoint);
        finish(o, a);
        return false;
    }
    if (a->code_issuer ? strcmp(a->code_issuer, k->issuer) != 0 : k->metadata.names_itself) {
        refuse(o, a, "the code comes from another issuer");
        return false;
    }
    a->step = STEP_TOKEN;
    return true;
}

/* ---- the code for a token ---- */
static void put_field(struct buf *body, const char *name, const char *value)
{
    buf_printf(body, "%s%s=", body->len ? "&" : "", name);
    oidc_escape(value, body);
}

static void put_token_body(const struct asked *a, struct buf *body)
{
    bool is_public = !a->client_secret[0], in_body = is_public || a->known->metadata.posts_secret;

    put_field(body, "grant_type", "authorization_code");
    put_field(body, "code", a->code);
    put_field(body, "redirect_uri", a->redirect_uri);
    put_field(body, "code_verifier", a->verifier);
    if (in_body)
        put_field(body, "client_id", a->client_id);
    if (in_body && !is_public)
        put_field(body, "client_secret", a->client_secret);
}

static bool step_token(struct oidc *o, struct asked *a)
{
    const struct metadata *m = &a->known->metadata;
    AUTO(buf_deinit) struct buf body;
    int r;

    buf_init_heap(&body, 32768);
    put_token_body(a, &body);
    r = buf_error(&body);
    if (!r)
        r = fetch_new(o, a->known, FETCH_TOKEN, m->token_endpoint, buf_span(&body), &a->fetch);
    if (body.len)
        secret_wipe(body.data, body.len);
    if (!r && a->client_secret[0] && !m->posts_secret)
        r = fetch_add_basic(a->fetch, a->client_id, a->client_secret);
    if (r) {
        if (a->fetch)
            fetch_free(o, a->fetch);
        a->fetch = NULL;
        asked_fail(o, a, REASON_OVERLOAD, "out of memory");
        return false;
    }
    a->fetch->asked = a;
    a->step = STEP_TOKEN_RUNS;
    return false;
}

static bool step_token_runs(struct oidc *o, struct asked *a)
{
    (void)o;
    (void)a;
    return false;
}

/* ---- the token ---- */
static void check_claims(struct oidc *o, struct asked *a, struct json_value *claims, enum jose_alg alg)
{
    const struct id_token_want want = {
        .issuer = span_str(a->known->issuer), .client_id = span_str(a->client_id),
        .nonce = span_str(a->nonce), .access_token = span_str(a->access_token), .alg = alg,
        .now_s = (int64_t)time(NULL),
    };
    const char *why = id_token_objection(claims, &want);

    if (why) {
        json_value_free(claims);
        refuse(o, a, why);
        return;
    }
    a->answer.claims = claims;
    finish(o, a);
}

static bool step_verify(struct oidc *o, struct asked *a)
{
    static const char *const objections[] = {
        [JWT_E_MALFORMED] = "the ID token is malformed",
        [JWT_E_ALGORITHM] = "the ID token is not signed by an algorithm that is allowed",
        [JWT_E_UNKNOWN_KEY] = "the ID token is signed by a key that the provider does not publish",
        [JWT_E_SIGNATURE] = "the ID token's signature is wrong",
    };
    struct json_value *claims = NULL;
    enum jose_alg alg;
    int r;

    a->step = STEP_KEYS;
    if (!a->has_new_keys && !is_younger(a->known->keys_ms, o->options.fresh_ms))
        return true;
    r = jwt_verify(span_str(a->id_token), a->known->keys, a->algs, &alg, &claims);
    if (r == JWT_E_UNKNOWN_KEY && !a->has_new_keys)
        return true;
    if (r < 0)
        asked_fail(o, a, REASON_OVERLOAD, "out of memory");
    else if (r)
        refuse(o, a, objections[r]);
    else
        check_claims(o, a, claims, alg);
    return false;
}

static bool step_keys(struct oidc *o, struct asked *a)
{
    struct known *k = a->known;

    if (k->fetches[FETCH_KEYS].runs || k->fetches[FETCH_KEYS].has_failed ||
        !is_younger(k->fetches[FETCH_KEYS].tried_ms, o->options.pause_ms))
        return need(o, a, FETCH_KEYS);
    a->has_new_keys = true;
    a->step = STEP_VERIFY;
    return true;
}

void asked_go_on(struct oidc *o, struct asked *a)
{
    static bool (*const steps[])(struct oidc *o, struct asked *a) = {
        [STEP_METADATA] = step_metadata, [STEP_TOKEN] = step_token, [STEP_TOKEN_RUNS] = step_token_runs,
        [STEP_VERIFY] = step_verify, [STEP_KEYS] = step_keys,
    };

    while (a->step != STEP_DONE && steps[a->step](o, a))
        ;
}

/* ---- a fetch has ended ---- */
/* False: `why` says it (OIDC_WHY_MAX). */
static bool is_answer(const struct fetch *f, const char *error, long status, char *why)
{
    static const char *const names[FETCH_KIND_COUNT] = { "configuration", "keys", "token endpoint" };

    if (buf_error(&f->body) == -ENOBUFS)
        snprintf(why, OIDC_WHY_MAX, "the provider's %s: the answer is too large", names[f->kind]);
    else if (error)
        snprintf(why, OIDC_WHY_MAX, "the provider's %s: %s", names[f->kind], error);
    else if (status != 200)
        snprintf(why, OIDC_WHY_MAX, "the provider's %s: it answers %ld", names[f->kind], status);
    return !error && status == 200 && !buf_error(&f->body);
}

static void set_metadata(struct known *k, struct span body)
{
    const char *why = metadata_parse(body, k->issuer, &k->metadata);

    if (why)
        snprintf(k->why, sizeof(k->why), "%s", why);
    else
        k->metadata_ms = oidc_now_ms();
    k->fetches[FETCH_METADATA].has_failed = why != NULL;
}

static void set_keys(struct known *k, struct span body)
{
    struct jwks *keys = NULL;
    int r = jwks_parse(body, &keys);

    k->fetches[FETCH_KEYS].has_failed = r != 0;
    if (r) {
        snprintf(k->why, sizeof(k->why), "the provider's keys: %s",
                 r == -EMSGSIZE ? "there are too many" : "they are no JWK set");
        return;
    }
    jwks_free(k->keys);
    k->keys = keys;
    k->keys_ms = oidc_now_ms();
}

/* All who waited for it go on, or fail with it. */
static void published_ended(struct oidc *o, struct fetch *f, const char *error, long status)
{
    enum step waiting = f->kind == FETCH_KEYS ? STEP_KEYS : STEP_METADATA;
    struct known *k = f->known;
    enum fetch_kind kind = f->kind;

    k->fetches[kind].runs = false;
    k->fetches[kind].tried_ms = oidc_now_ms();
    k->fetches[kind].has_failed = !is_answer(f, error, status, k->why);
    if (!k->fetches[kind].has_failed)
        (kind == FETCH_KEYS ? set_keys : set_metadata)(k, buf_span(&f->body));
    LIST_EACH(&o->asks, node) {
        struct asked *a = container_of(node, struct asked, node);

        if (a->known != k || a->step != waiting)
            continue;
        if (k->fetches[kind].has_failed)
            asked_fail(o, a, REASON_IDENTITY_PROVIDER_UNAVAILABLE, k->why);
        else
            asked_go_on(o, a);
    }
}

static char *get_text(const struct json_value *v, const char *name)
{
    struct span text;

    return json_get_str(v, name, &text) ? span_dup(text) : NULL;
}

static bool read_tokens(struct asked *a, struct span body)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct json_error error;

    if (json_parse(body, &v, &error) || json_kind_of(v) != JSON_IS_OBJECT)
        return false;
    a->id_token = get_text(v, "id_token");
    a->access_token = get_text(v, "access_token");
    return a->id_token != NULL;
}

static void token_ended(struct oidc *o, struct fetch *f, const char *error, long status)
{
    struct asked *a = f->asked;
    char why[OIDC_WHY_MAX];

    if (!a || a->step != STEP_TOKEN_RUNS)
        return;
    if (!error && (status == 400 || status == 401))
        refuse(o, a, status == 400 ? "the provider does not take the code" : "the provider does not take the client");
    else if (!is_answer(f, error, status, why))
        asked_fail(o, a, REASON_IDENTITY_PROVIDER_UNAVAILABLE, why);
    else if (!read_tokens(a, buf_span(&f->body)))
        refuse(o, a, "the provider gives no ID token");
    else
        a->step = STEP_VERIFY;
    asked_go_on(o, a);
}

void fetch_ended(struct oidc *o, struct fetch *f, const char *error, long status)
{
    if (f->kind == FETCH_TOKEN)
        token_ended(o, f, error, status);
    else
        published_ended(o, f, error, status);
    fetch_free(o, f);
}
