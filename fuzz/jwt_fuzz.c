// room: lib/jose
// parser: lib/jose/jwk.c lib/jose/jwt.c
// beside: jose_alg_name
#include "lib/jose/jwt.h"
#include <stdlib.h>

/* A token and a set of keys from somebody, with a line end between; what is taken is what the
 * list allows.  Claims are looked at as if they had been signed. */
static const struct id_token_want want = {
    .issuer = SPAN_INIT("https://idp"), .client_id = SPAN_INIT("me"), .nonce = SPAN_INIT("n"),
    .access_token = SPAN_INIT("token"), .now_s = 1800000000,
};

static void look_at_claims(struct span text)
{
    AUTO(json_value_freep) struct json_value *claims = NULL;
    struct json_error error;

    if (json_parse(text, &claims, &error) == 0)
        (void)id_token_objection(claims, &want);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    AUTO(json_value_freep) struct json_value *claims = NULL;
    AUTO(jwks_freep) struct jwks *keys = NULL;
    struct span rest = span_of(data, size), token;
    enum jose_alg alg;

    if (!span_cut(&rest, '\n', &token))
        return 0;
    look_at_claims(rest);
    if (jwks_parse(rest, &keys) != 0)
        return 0;
    if (jwks_count(keys) > JWKS_KEYS_MAX)
        abort();
    if (jwt_verify(token, keys, JOSE_ALG_BIT(JOSE_ES256), &alg, &claims) == 0 && alg != JOSE_ES256)
        abort();
    json_value_freep(&claims);
    claims = NULL;
    if (jwt_verify(token, keys, JOSE_ALGS_ALL, &alg, &claims) == 0 && alg >= JOSE_ALG_COUNT)
        abort();
    return 0;
}
