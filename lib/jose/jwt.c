#include "lib/jose/jwt.h"
#include "lib/base/encode.h"
#include <errno.h>
#include <openssl/evp.h>

struct parts {
    struct span header, payload, signature, signed_text;
};

static bool split(struct span token, struct parts *ret)
{
    struct span rest = token;

    if (!span_cut(&rest, '.', &ret->header) || !rest.p || !span_cut(&rest, '.', &ret->payload) || !rest.p)
        return false;
    ret->signature = rest;
    ret->signed_text = span_first(token, ret->header.n + 1 + ret->payload.n);
    return ret->header.n && ret->payload.n && span_find(rest, '.') == rest.n;
}

/* 0, JWT_E_MALFORMED, -ENOMEM. */
static int decode_object(struct span text, struct json_value **ret_object)
{
    AUTO(json_value_freep) struct json_value *value = NULL;
    AUTO(buf_deinit) struct buf bytes;
    struct json_error error;
    int r;

    buf_init_heap(&bytes, JWT_MAX);
    if (!base64url_decode(text, &bytes))
        return JWT_E_MALFORMED;
    if (buf_error(&bytes))
        return buf_error(&bytes);
    r = json_parse(buf_span(&bytes), &value, &error);
    if (r)
        return r == -ENOMEM ? r : JWT_E_MALFORMED;
    if (json_kind_of(value) != JSON_IS_OBJECT)
        return JWT_E_MALFORMED;
    *ret_object = TAKE(value);
    return 0;
}

static int read_header(const struct json_value *header, unsigned algs, enum jose_alg *ret_alg,
                       struct span *ret_kid)
{
    struct span alg, type;

    if (json_get(header, "crit") || json_get(header, "b64"))
        return JWT_E_MALFORMED;
    if (json_get(header, "typ") &&
        !(json_get_str(header, "typ", &type) && span_eq_nocase(type, SPAN("JWT"))))
        return JWT_E_MALFORMED;
    if (json_get(header, "kid") && !json_get_str(header, "kid", ret_kid))
        return JWT_E_MALFORMED;
    if (!json_get_str(header, "alg", &alg) || !jose_alg_parse(alg, ret_alg) ||
        !(algs & JOSE_ALG_BIT(*ret_alg)))
        return JWT_E_ALGORITHM;
    return 0;
}

static int check_signature(const struct parts *p, const struct jwks *keys, enum jose_alg alg,
                           struct span kid)
{
    AUTO(buf_deinit) struct buf signature;

    buf_init_heap(&signature, JWT_MAX);
    if (!base64url_decode(p->signature, &signature))
        return JWT_E_MALFORMED;
    if (buf_error(&signature))
        return buf_error(&signature);
    switch (jwks_verify(keys, alg, kid, p->signed_text, buf_span(&signature))) {
    case 0:
        return 0;
    case JWKS_E_NO_KEY:
        return JWT_E_UNKNOWN_KEY;
    default:
        return JWT_E_SIGNATURE;
    }
}

int jwt_verify(struct span token, const struct jwks *keys, unsigned algs, enum jose_alg *ret_alg,
               struct json_value **ret_claims)
{
    AUTO(json_value_freep) struct json_value *header = NULL;
    struct span kid = SPAN_NONE;
    enum jose_alg alg;
    struct parts p;
    int r;

    if (token.n > JWT_MAX || !split(token, &p))
        return JWT_E_MALFORMED;
    r = decode_object(p.header, &header);
    if (!r)
        r = read_header(header, algs, &alg, &kid);
    if (!r)
        r = check_signature(&p, keys, alg, kid);
    if (!r)
        r = decode_object(p.payload, ret_claims);
    if (!r)
        *ret_alg = alg;
    return r;
}

/* ---- what an ID token must say ---- */
static bool is_text(const struct json_value *claims, const char *name, struct span wanted)
{
    struct span text;

    return json_get_str(claims, name, &text) && span_eq_secret(text, wanted);
}

static bool has_audience(const struct json_value *claims, struct span client_id)
{
    const struct json_value *aud = json_get(claims, "aud");
    bool is_named = false;
    struct span text;

    if (!aud || json_kind_of(aud) != JSON_IS_ARRAY)
        return aud && json_as_str(aud, &text) && span_eq(text, client_id);
    for (size_t i = 0; i < json_count(aud); i++) {
        if (!json_as_str(json_at(aud, i), &text))
            return false;
        is_named |= span_eq(text, client_id);
    }
    /* Others may use it too: then it must say that it was made for us. */
    return is_named && (json_count(aud) == 1 || json_get(claims, "azp"));
}

static bool is_subject(const struct json_value *claims)
{
    struct span sub;

    if (!json_get_str(claims, "sub", &sub) || !sub.n || sub.n > ID_TOKEN_SUBJECT_MAX)
        return false;
    for (size_t i = 0; i < sub.n; i++) {
        if (sub.p[i] < ' ' || sub.p[i] > '~')
            return false;
    }
    return true;
}

/* Seconds, perhaps with a fraction. */
static bool get_time(const struct json_value *claims, const char *name, int64_t *ret_s)
{
    return json_get_whole(claims, name, ret_s) && *ret_s >= 0 && *ret_s < (int64_t)1 << 40;
}

static const char *time_objection(const struct json_value *claims, int64_t now_s)
{
    int64_t at;

    if (!get_time(claims, "exp", &at) || at <= now_s - ID_TOKEN_LEEWAY_S)
        return "the ID token has expired";
    if (!get_time(claims, "iat", &at) || at > now_s + ID_TOKEN_LEEWAY_S)
        return "the ID token was issued in the future";
    if (at < now_s - ID_TOKEN_AGE_MAX_S)
        return "the ID token was issued long ago";
    if (json_get(claims, "nbf") && (!get_time(claims, "nbf", &at) || at > now_s + ID_TOKEN_LEEWAY_S))
        return "the ID token is not valid yet";
    return NULL;
}

/* The left half of the access token's digest, by the algorithm's own hash. */
static bool is_at_hash(const struct json_value *claims, const struct id_token_want *want)
{
    const EVP_MD *digest = want->alg == JOSE_EDDSA ? EVP_sha512() : EVP_sha256();
    unsigned char hash[EVP_MAX_MD_SIZE];
    char text[EVP_MAX_MD_SIZE];
    struct buf encoded;
    unsigned len;

    if (!want->access_token.p ||
        !EVP_Digest(want->access_token.p, want->access_token.n, hash, &len, digest, NULL))
        return false;
    buf_init_fixed(&encoded, text, sizeof(text));
    base64url_encode(span_of(hash, len / 2), &encoded);
    return !buf_error(&encoded) && is_text(claims, "at_hash", buf_span(&encoded));
}

const char *id_token_objection(const struct json_value *claims, const struct id_token_want *want)
{
    const char *why;

    if (!is_text(claims, "iss", want->issuer))
        return "the ID token is of another issuer";
    if (!has_audience(claims, want->client_id))
        return "the ID token is for another audience";
    if (json_get(claims, "azp") && !is_text(claims, "azp", want->client_id))
        return "the ID token was made for another party";
    if (!is_subject(claims))
        return "the ID token names no subject";
    why = time_objection(claims, want->now_s);
    if (why)
        return why;
    if (!is_text(claims, "nonce", want->nonce))
        return "the ID token has another nonce";
    if (json_get(claims, "at_hash") && !is_at_hash(claims, want))
        return "the ID token belongs to another access token";
    return NULL;
}
