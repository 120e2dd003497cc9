#include "lib/jose/jwk.h"
#include "lib/base/encode.h"
#include "lib/json/json.h"
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdlib.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define RSA_EXPONENT_MAX 8              /* bytes */
#define COORDINATE_LEN 32

/* The library's types are no structs by name: cleanups of their own. */
#define CLEANUP(type_)                                                                            \
    static inline void type_##_freep(type_ **p)                                                   \
    {                                                                                             \
        type_##_free(*p);                                                                         \
    }
CLEANUP(EVP_PKEY_CTX)
CLEANUP(EVP_MD_CTX)
CLEANUP(OSSL_PARAM_BLD)
CLEANUP(OSSL_PARAM)
CLEANUP(ECDSA_SIG)

static inline void bn_freep(BIGNUM **p)
{
    BN_free(*p);
}

struct jwk {
    char id[JWK_ID_MAX + 1];            /* "": it has none */
    enum jose_alg alg;
    EVP_PKEY *key;
};

struct jwks {
    struct jwk keys[JWKS_KEYS_MAX];
    size_t count;
};

static const char *const alg_names[JOSE_ALG_COUNT] = { "RS256", "ES256", "EdDSA" };

bool jose_alg_parse(struct span text, enum jose_alg *ret_alg)
{
    for (enum jose_alg alg = 0; alg < JOSE_ALG_COUNT; alg++) {
        if (!span_eq(text, span_str(alg_names[alg])))
            continue;
        *ret_alg = alg;
        return true;
    }
    return false;
}

const char *jose_alg_name(enum jose_alg alg)
{
    return alg_names[alg];
}

/* ---- keys ---- */
static bool get_bytes(const struct json_value *jwk, const char *name, struct buf *out)
{
    struct span text;

    return json_get_str(jwk, name, &text) && text.n && base64url_decode(text, out) && !buf_error(out);
}

static bool is_curve(const struct json_value *jwk, const char *name)
{
    struct span curve;

    return json_get_str(jwk, "crv", &curve) && span_eq(curve, span_str(name));
}

static EVP_PKEY *make_key(const char *type, OSSL_PARAM_BLD *build)
{
    AUTO(OSSL_PARAM_freep) OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    AUTO(EVP_PKEY_CTX_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;

    if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) <= 0 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) <= 0)
        return NULL;
    return key;
}

static EVP_PKEY *read_rsa(const struct json_value *jwk)
{
    AUTO(OSSL_PARAM_BLD_freep) OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    AUTO(bn_freep) BIGNUM *n = NULL;
    AUTO(bn_freep) BIGNUM *e = NULL;
    unsigned char n_mem[RSA_BITS_MAX / 8], e_mem[RSA_EXPONENT_MAX];
    struct buf n_bytes, e_bytes;

    buf_init_fixed(&n_bytes, n_mem, sizeof(n_mem));
    buf_init_fixed(&e_bytes, e_mem, sizeof(e_mem));
    if (!build || !get_bytes(jwk, "n", &n_bytes) || !get_bytes(jwk, "e", &e_bytes))
        return NULL;
    n = BN_bin2bn(n_bytes.data, (int)n_bytes.len, NULL);
    e = BN_bin2bn(e_bytes.data, (int)e_bytes.len, NULL);
    if (!n || !e || BN_num_bits(n) < RSA_BITS_MIN || !BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e))
        return NULL;
    if (!OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) ||
        !OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e))
        return NULL;
    return make_key("RSA", build);
}

/* An invalid point could tell something about nothing here, but a key that is none is none. */
static EVP_PKEY *checked(EVP_PKEY *key)
{
    AUTO(EVP_PKEY_CTX_freep) EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;

    if (ctx && EVP_PKEY_public_check(ctx) > 0)
        return key;
    EVP_PKEY_free(key);
    return NULL;
}

static EVP_PKEY *read_ec(const struct json_value *jwk)
{
    AUTO(OSSL_PARAM_BLD_freep) OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    unsigned char point[1 + 2 * COORDINATE_LEN];
    struct buf out;

    buf_init_fixed(&out, point, sizeof(point));
    buf_put_u8(&out, 4);                /* not compressed */
    if (!build || !is_curve(jwk, "P-256") || !get_bytes(jwk, "x", &out) ||
        out.len != 1 + COORDINATE_LEN || !get_bytes(jwk, "y", &out) || out.len != sizeof(point))
        return NULL;
    if (!OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ||
        !OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)))
        return NULL;
    return checked(make_key("EC", build));
}

static EVP_PKEY *read_okp(const struct json_value *jwk)
{
    unsigned char mem[COORDINATE_LEN];
    struct buf x;

    buf_init_fixed(&x, mem, sizeof(mem));
    if (!is_curve(jwk, "Ed25519") || !get_bytes(jwk, "x", &x) || x.len != sizeof(mem))
        return NULL;
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x.data, x.len);
}

static const struct {
    const char *type;
    enum jose_alg alg;
    EVP_PKEY *(*read)(const struct json_value *jwk);
} types[] = {
    { "RSA", JOSE_RS256, read_rsa },
    { "EC", JOSE_ES256, read_ec },
    { "OKP", JOSE_EDDSA, read_okp },
};

static bool is_for_verifying(const struct json_value *jwk)
{
    const struct json_value *operations = json_get(jwk, "key_ops");
    struct span text;

    if (json_get(jwk, "use") && !(json_get_str(jwk, "use", &text) && span_eq(text, SPAN("sig"))))
        return false;
    for (size_t i = 0; operations && i < json_count(operations); i++) {
        if (json_as_str(json_at(operations, i), &text) && span_eq(text, SPAN("verify")))
            return true;
    }
    return !operations;
}

/* False: not one that we can use. */
static bool read_key(const struct json_value *jwk, struct jwk *ret)
{
    struct span type, id, name;

    if (!json_get_str(jwk, "kty", &type) || !is_for_verifying(jwk))
        return false;
    if (json_get(jwk, "kid") && !(json_get_str(jwk, "kid", &id) && span_copy(id, ret->id, sizeof(ret->id))))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (!span_eq(type, span_str(types[i].type)))
            continue;
        ret->alg = types[i].alg;
        if (json_get(jwk, "alg") &&
            !(json_get_str(jwk, "alg", &name) && span_eq(name, span_str(alg_names[ret->alg]))))
            return false;
        ret->key = types[i].read(jwk);
        return ret->key != NULL;
    }
    return false;
}

int jwks_parse(struct span json, struct jwks **ret_keys)
{
    AUTO(json_value_freep) struct json_value *set = NULL;
    AUTO(jwks_freep) struct jwks *keys = NULL;
    const struct json_value *list;
    struct json_error error;
    int r;

    if (json.n > JWKS_TEXT_MAX)
        return -EMSGSIZE;
    r = json_parse(json, &set, &error);
    if (r)
        return r;
    list = json_get(set, "keys");
    if (!list || json_kind_of(list) != JSON_IS_ARRAY)
        return -EINVAL;
    if (json_count(list) > JWKS_KEYS_MAX)
        return -EMSGSIZE;
    keys = calloc(1, sizeof(*keys));
    if (!keys)
        return -ENOMEM;
    for (size_t i = 0; i < json_count(list); i++) {
        struct jwk key = { .id = "" };

        if (json_kind_of(json_at(list, i)) == JSON_IS_OBJECT && read_key(json_at(list, i), &key))
            keys->keys[keys->count++] = key;
    }
    *ret_keys = TAKE(keys);
    return 0;
}

void jwks_free(struct jwks *keys)
{
    for (size_t i = 0; keys && i < keys->count; i++)
        EVP_PKEY_free(keys->keys[i].key);
    free(keys);
}

size_t jwks_count(const struct jwks *keys)
{
    return keys->count;
}

/* ---- signatures ---- */
static bool verify_der(EVP_PKEY *key, const EVP_MD *digest, struct span text, const void *signature,
                       size_t len)
{
    AUTO(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    return ctx && EVP_DigestVerifyInit(ctx, NULL, digest, NULL, key) > 0 &&
           EVP_DigestVerify(ctx, signature, len, (const void *)text.p, text.n) == 1;
}

/* R and S, 32 bytes each, as OpenSSL wants them. */
static bool verify_es256(EVP_PKEY *key, struct span text, struct span signature)
{
    AUTO(ECDSA_SIG_freep) ECDSA_SIG *sig = ECDSA_SIG_new();
    AUTO(bn_freep) BIGNUM *r = NULL;
    AUTO(bn_freep) BIGNUM *s = NULL;
    unsigned char der[80], *at = der;
    const unsigned char *bytes = (const void *)signature.p;
    int len;

    if (!sig || signature.n != 2 * COORDINATE_LEN)
        return false;
    r = BN_bin2bn(bytes, COORDINATE_LEN, NULL);
    s = BN_bin2bn(bytes + COORDINATE_LEN, COORDINATE_LEN, NULL);
    if (!r || !s || !ECDSA_SIG_set0(sig, r, s))
        return false;
    (void)TAKE(r);
    (void)TAKE(s);
    len = i2d_ECDSA_SIG(sig, NULL);
    if (len <= 0 || len > (int)sizeof(der))
        return false;
    len = i2d_ECDSA_SIG(sig, &at);
    return len > 0 && verify_der(key, EVP_sha256(), text, der, (size_t)len);
}

static bool verify_one(const struct jwk *key, struct span text, struct span signature)
{
    switch (key->alg) {
    case JOSE_RS256:
        return verify_der(key->key, EVP_sha256(), text, signature.p, signature.n);
    case JOSE_ES256:
        return verify_es256(key->key, text, signature);
    case JOSE_EDDSA:
        return verify_der(key->key, NULL, text, signature.p, signature.n);
    case JOSE_ALG_COUNT:
        break;
    }
    return false;
}

int jwks_verify(const struct jwks *keys, enum jose_alg alg, struct span kid, struct span signed_text,
                struct span signature)
{
    const struct jwk *found = NULL;
    size_t count = 0;

    for (size_t i = 0; i < keys->count; i++) {
        const struct jwk *key = &keys->keys[i];

        if (key->alg != alg || (kid.p && !span_eq(kid, span_str(key->id))))
            continue;
        found = key;
        count++;
    }
    if (count != 1)                     /* of two under one name neither is the one */
        return JWKS_E_NO_KEY;
    return verify_one(found, signed_text, signature) ? 0 : JWKS_E_SIGNATURE;
}
