#pragma once
#include "lib/jose/jwk.h"
#include "lib/json/json.h"
/*
 * jwt.h - ID tokens: signed JWTs in the compact form, and what OpenID Connect wants of them.
 *
 * The algorithm is taken when the caller's list has it and the key is of its type; nothing that a
 * token says can widen that.  Encrypted tokens, tokens with "crit", and those of another type than
 * JWT are refused.
 *
 * Limits     JWT_MAX bytes.
 * Units      Unix seconds.
 * Ownership  the caller frees the claims.
 * Threads    pure but for memory.
 * Source     RFC 7515, RFC 7519, RFC 8725; OpenID Connect Core 1.0 sections 3.1.3.6 and 3.1.3.7.
 */
#define JWT_MAX ((size_t)32 << 10)
#define ID_TOKEN_LEEWAY_S 60
#define ID_TOKEN_AGE_MAX_S 3600         /* since it was issued: it was asked for just now */
#define ID_TOKEN_SUBJECT_MAX 255

enum {
    JWT_E_MALFORMED = 1,
    JWT_E_ALGORITHM,            /* not one of the caller's */
    JWT_E_UNKNOWN_KEY,          /* no such key in the set: perhaps it is new */
    JWT_E_SIGNATURE,
};

/* JWT_E_…; -ENOMEM. */
MUST_CHECK int jwt_verify(struct span token, const struct jwks *keys, unsigned algs,
                          enum jose_alg *ret_alg, struct json_value **ret_claims);

struct id_token_want {
    struct span issuer, client_id, nonce;
    struct span access_token;   /* for at_hash; NONE: there was none */
    enum jose_alg alg;          /* that the token was signed with */
    int64_t now_s;
};

/* NULL: it is what we asked for.  Otherwise the sentence that says why not (static). */
const char *id_token_objection(const struct json_value *claims, const struct id_token_want *want);
