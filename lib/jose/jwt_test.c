#include "lib/base/encode.h"
#include "lib/check/check.h"
#include "lib/jose/jwt.h"
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/x509.h>
#include <stdio.h>

/* Tokens are made here with OpenSSL; the RFCs' own examples are in test_examples. */
#define NOW 1800000000
#define TEXT_MAX 16384

static EVP_PKEY *keys[JOSE_ALG_COUNT], *foreign;
static struct jwks *set;

static void put_b64(struct buf *out, struct span bytes)
{
    base64url_encode(bytes, out);
}

static void put_number(struct buf *out, const EVP_PKEY *key, const char *param, int size)
{
    unsigned char bytes[1024];
    BIGNUM *n = NULL;

    assert_int_equal(EVP_PKEY_get_bn_param(key, param, &n), 1);
    size = size ? size : BN_num_bytes(n);
    assert_int_equal(BN_bn2binpad(n, bytes, size), size);
    BN_free(n);
    put_b64(out, span_of(bytes, (size_t)size));
}

/* `more`: further members. */
static void put_jwk(struct buf *out, enum jose_alg alg, const EVP_PKEY *key, const char *more)
{
    unsigned char raw[32];
    size_t len = sizeof(raw);

    buf_printf(out, "{%s", more);
    if (alg == JOSE_RS256) {
        buf_put_str(out, "\"kty\":\"RSA\",\"n\":\"");
        put_number(out, key, OSSL_PKEY_PARAM_RSA_N, 0);
        buf_put_str(out, "\",\"e\":\"");
        put_number(out, key, OSSL_PKEY_PARAM_RSA_E, 0);
    } else if (alg == JOSE_ES256) {
        buf_put_str(out, "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"");
        put_number(out, key, OSSL_PKEY_PARAM_EC_PUB_X, 32);
        buf_put_str(out, "\",\"y\":\"");
        put_number(out, key, OSSL_PKEY_PARAM_EC_PUB_Y, 32);
    } else {
        assert_int_equal(EVP_PKEY_get_raw_public_key(key, raw, &len), 1);
        buf_put_str(out, "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
        put_b64(out, span_of(raw, len));
    }
    buf_put_str(out, "\"}");
}

static int set_up(void **state)
{
    AUTO(buf_deinit) struct buf json;

    (void)state;
    keys[JOSE_RS256] = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    keys[JOSE_ES256] = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    keys[JOSE_EDDSA] = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    foreign = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    buf_init_heap(&json, TEXT_MAX);
    buf_put_str(&json, "{\"keys\":[");
    put_jwk(&json, JOSE_RS256, keys[JOSE_RS256], "\"kid\":\"r\",\"use\":\"sig\",\"alg\":\"RS256\",");
    buf_put_str(&json, ",");
    put_jwk(&json, JOSE_ES256, keys[JOSE_ES256], "\"kid\":\"e\",\"key_ops\":[\"verify\"],");
    buf_put_str(&json, ",");
    put_jwk(&json, JOSE_EDDSA, keys[JOSE_EDDSA], "\"kid\":\"d\",");
    buf_put_str(&json, "]}");
    return jwks_parse(buf_span(&json), &set);
}

static int tear_down(void **state)
{
    (void)state;
    jwks_free(set);
    for (size_t i = 0; i < JOSE_ALG_COUNT; i++)
        EVP_PKEY_free(keys[i]);
    EVP_PKEY_free(foreign);
    return 0;
}

/* R and S without the DER around them. */
static size_t flatten(unsigned char *sig, size_t len)
{
    const unsigned char *at = sig;
    ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &at, (long)len);

    assert_non_null(parsed);
    BN_bn2binpad(ECDSA_SIG_get0_r(parsed), sig, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(parsed), sig + 32, 32);
    ECDSA_SIG_free(parsed);
    return 64;
}

static void sign(struct buf *token, EVP_PKEY *key)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool is_ed = EVP_PKEY_is_a(key, "ED25519");
    unsigned char sig[512];
    size_t len = sizeof(sig);

    assert_int_equal(EVP_DigestSignInit(ctx, NULL, is_ed ? NULL : EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &len, token->data, token->len), 1);
    EVP_MD_CTX_free(ctx);
    if (EVP_PKEY_is_a(key, "EC"))
        len = flatten(sig, len);
    buf_put_str(token, ".");
    put_b64(token, span_of(sig, len));
}

static void start(struct buf *token, const char *header, const char *claims)
{
    buf_init_heap(token, TEXT_MAX);
    put_b64(token, span_str(header));
    buf_put_str(token, ".");
    put_b64(token, span_str(claims));
}

static int verify(const struct buf *token, unsigned algs)
{
    struct json_value *claims = NULL;
    enum jose_alg alg;
    int r = jwt_verify(buf_span(token), set, algs, &alg, &claims);

    json_value_free(claims);
    return r;
}

static void test_signatures(void **state)
{
    static const struct {
        const char *it, *header;
        enum jose_alg key;
        unsigned algs;
        int want;
    } rows[] = {
        { "refuses no algorithm", "{}", JOSE_RS256, JOSE_ALGS_ALL, JWT_E_ALGORITHM },
        { "refuses none", "{\"alg\":\"none\"}", JOSE_RS256, JOSE_ALGS_ALL, JWT_E_ALGORITHM },
        { "refuses nOnE", "{\"alg\":\"nOnE\"}", JOSE_RS256, JOSE_ALGS_ALL, JWT_E_ALGORITHM },
        { "refuses a shared key", "{\"alg\":\"HS256\",\"kid\":\"r\"}", JOSE_RS256, JOSE_ALGS_ALL, JWT_E_ALGORITHM },
        { "refuses what is not listed", "{\"alg\":\"ES256\",\"kid\":\"e\"}", JOSE_ES256,
          JOSE_ALG_BIT(JOSE_RS256), JWT_E_ALGORITHM },
        { "refuses another spelling", "{\"alg\":\"rs256\",\"kid\":\"r\"}", JOSE_RS256, JOSE_ALGS_ALL, JWT_E_ALGORITHM },
        { "refuses an algorithm that is no text", "{\"alg\":1}", JOSE_RS256, JOSE_ALGS_ALL, JWT_E_ALGORITHM },
        { "refuses crit", "{\"alg\":\"RS256\",\"kid\":\"r\",\"crit\":[\"x\"]}", JOSE_RS256, JOSE_ALGS_ALL,
          JWT_E_MALFORMED },
        { "refuses b64", "{\"alg\":\"RS256\",\"kid\":\"r\",\"b64\":false}", JOSE_RS256, JOSE_ALGS_ALL,
          JWT_E_MALFORMED },
        { "refuses an access token", "{\"alg\":\"RS256\",\"kid\":\"r\",\"typ\":\"at+jwt\"}", JOSE_RS256,
          JOSE_ALGS_ALL, JWT_E_MALFORMED },
        { "refuses a name twice", "{\"alg\":\"RS256\",\"kid\":\"r\",\"kid\":\"e\"}", JOSE_RS256, JOSE_ALGS_ALL,
          JWT_E_MALFORMED },
        { "refuses a key of another type", "{\"alg\":\"RS256\",\"kid\":\"e\"}", JOSE_RS256, JOSE_ALGS_ALL,
          JWT_E_UNKNOWN_KEY },
        { "does not know a key", "{\"alg\":\"RS256\",\"kid\":\"new\"}", JOSE_RS256, JOSE_ALGS_ALL, JWT_E_UNKNOWN_KEY },
        { "does not know an empty name", "{\"alg\":\"RS256\",\"kid\":\"\"}", JOSE_RS256, JOSE_ALGS_ALL,
          JWT_E_UNKNOWN_KEY },
        { "refuses another's signature", "{\"alg\":\"EdDSA\",\"kid\":\"d\"}", JOSE_ES256, JOSE_ALGS_ALL,
          JWT_E_SIGNATURE },
        { "takes RS256", "{\"alg\":\"RS256\",\"kid\":\"r\",\"typ\":\"JWT\"}", JOSE_RS256, JOSE_ALGS_ALL, 0 },
        { "takes ES256", "{\"alg\":\"ES256\",\"kid\":\"e\"}", JOSE_ES256, JOSE_ALGS_ALL, 0 },
        { "takes EdDSA", "{\"alg\":\"EdDSA\",\"kid\":\"d\"}", JOSE_EDDSA, JOSE_ALGS_ALL, 0 },
        { "takes the one key without its name", "{\"alg\":\"ES256\"}", JOSE_ES256, JOSE_ALGS_ALL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(buf_deinit) struct buf token;

        check_row(rows[i].it);
        start(&token, rows[i].header, "{\"iss\":\"x\"}");
        sign(&token, keys[rows[i].key]);
        assert_int_equal(verify(&token, rows[i].algs), rows[i].want);
    }
}

static void test_hs256_with_the_public_key(void **state)
{
    AUTO(buf_deinit) struct buf token, der;
    unsigned char mac[EVP_MAX_MD_SIZE], *at = NULL;
    unsigned len;
    int n = i2d_PUBKEY(keys[JOSE_RS256], &at);

    (void)state;
    buf_init_heap(&der, TEXT_MAX);
    start(&token, "{\"alg\":\"HS256\",\"kid\":\"r\"}", "{}");
    assert_non_null(HMAC(EVP_sha256(), at, n, token.data, token.len, mac, &len));
    OPENSSL_free(at);
    buf_put_str(&token, ".");
    put_b64(&token, span_of(mac, len));
    assert_int_equal(verify(&token, JOSE_ALGS_ALL), JWT_E_ALGORITHM);
}

static void test_changed_bytes(void **state)
{
    AUTO(buf_deinit) struct buf token;
    size_t refused = 0;

    (void)state;
    start(&token, "{\"alg\":\"ES256\",\"kid\":\"e\"}", "{\"sub\":\"somebody\"}");
    sign(&token, keys[JOSE_ES256]);
    for (size_t i = 0; i < token.len; i++) {
        unsigned char was = token.data[i];

        token.data[i] = was == 'A' ? 'B' : 'A';
        refused += verify(&token, JOSE_ALGS_ALL) != 0;
        token.data[i] = was;
    }
    assert_int_equal(refused, token.len);
    for (size_t len = token.len; len-- > 0;) {
        token.len = len;
        assert_int_not_equal(verify(&token, JOSE_ALGS_ALL), 0);
    }
}

static void test_sets(void **state)
{
    static const struct {
        const char *it, *json;
        int want;
        size_t count;
    } rows[] = {
        { "refuses what is not JSON", "x", -EINVAL, 0 },
        { "refuses what is no set", "[]", -EINVAL, 0 },
        { "refuses a set without keys", "{\"keys\":{}}", -EINVAL, 0 },
        { "takes an empty set", "{\"keys\":[]}", 0, 0 },
        { "leaves out what is no object", "{\"keys\":[1,null,\"x\"]}", 0, 0 },
        { "leaves out shared keys", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", 0, 0 },
        { "leaves out a point beside the curve",
          "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
          "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1\"}]}", 0, 0 },
        { "leaves out small RSA keys", "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"ALvD\",\"e\":\"AQAB\"}]}", 0, 0 },
        { "leaves out keys for encryption",
          "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"enc\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
          0, 0 },
        { "leaves out keys for another algorithm",
          "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"HS256\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
          0, 0 },
        { "takes a key", "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
          0, 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct jwks *got = NULL;

        check_row(rows[i].it);
        assert_int_equal(jwks_parse(span_str(rows[i].json), &got), rows[i].want);
        if (got)
            assert_int_equal(jwks_count(got), rows[i].count);
        jwks_free(got);
    }
}

static void test_large_sets(void **state)
{
    AUTO(buf_deinit) struct buf json;
    struct jwks *got = NULL;

    (void)state;
    buf_init_heap(&json, 2 * JWKS_TEXT_MAX);
    buf_put_str(&json, "{\"keys\":[1");
    for (size_t i = 0; i < JWKS_KEYS_MAX; i++)
        buf_put_str(&json, ",1");
    buf_put_str(&json, "]}");
    check_row("refuses more keys than the limit");
    assert_int_equal(jwks_parse(buf_span(&json), &got), -EMSGSIZE);
    while (json.len <= JWKS_TEXT_MAX)
        buf_put_str(&json, "                                                                ");
    check_row("refuses a longer text than the limit");
    assert_int_equal(jwks_parse(buf_span(&json), &got), -EMSGSIZE);
}

/* RFC 7515 A.3 and RFC 8037 A.4. */
static void test_examples(void **state)
{
    static const struct {
        const char *it, *set, *text, *signature;
        enum jose_alg alg;
    } rows[] = {
        { "checks RFC 7515's ES256",
          "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
          "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
          "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p"
          "c19yb290Ijp0cnVlfQ",
          "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q", JOSE_ES256 },
        { "checks RFC 8037's EdDSA",
          "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
          "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
          "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg", JOSE_EDDSA },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(buf_deinit) struct buf signature;
        struct jwks *got = NULL;

        check_row(rows[i].it);
        buf_init_heap(&signature, 256);
        assert_true(base64url_decode(span_str(rows[i].signature), &signature));
        assert_int_equal(jwks_parse(span_str(rows[i].set), &got), 0);
        assert_int_equal(jwks_verify(got, rows[i].alg, SPAN_NONE, span_str(rows[i].text), buf_span(&signature)), 0);
        signature.data[5] ^= 1;
        assert_int_equal(jwks_verify(got, rows[i].alg, SPAN_NONE, span_str(rows[i].text), buf_span(&signature)),
                         JWKS_E_SIGNATURE);
        jwks_free(got);
    }
}

#define GOOD "\"iss\":\"https://idp\",\"sub\":\"u1\",\"exp\":1800000300,\"iat\":1800000000,\"nonce\":\"n\""
static void test_claims(void **state)
{
    static const struct {
        const char *it, *claims;
        bool is_good;
    } rows[] = {
        { "takes what was asked for", "{" GOOD ",\"aud\":\"me\"}", true },
        { "takes a list of one", "{" GOOD ",\"aud\":[\"me\"]}", true },
        { "takes several with azp", "{" GOOD ",\"aud\":[\"me\",\"he\"],\"azp\":\"me\"}", true },
        { "takes at_hash that fits", "{" GOOD ",\"aud\":\"me\",\"at_hash\":\"77QmUPtjPfzWtF2AnpK9RQ\"}", true },
        { "allows a minute of drift", "{\"iss\":\"https://idp\",\"sub\":\"u1\",\"exp\":1799999950,"
          "\"iat\":1800000050,\"nbf\":1800000050,\"nonce\":\"n\",\"aud\":\"me\"}", true },
        { "takes times with a fraction", "{\"iss\":\"https://idp\",\"sub\":\"u1\",\"exp\":1800000300.75,"
          "\"iat\":1799999999.25,\"nbf\":1.8e9,\"nonce\":\"n\",\"aud\":\"me\"}", true },
        { "refuses what is over, with a fraction", "{\"iss\":\"https://idp\",\"sub\":\"u1\",\"exp\":1799999940.9,"
          "\"iat\":1799999000,\"nonce\":\"n\",\"aud\":\"me\"}", false },
        { "refuses an end beyond counting", "{\"iss\":\"https://idp\",\"sub\":\"u1\",\"exp\":1e300,"
          "\"iat\":1800000000,\"nonce\":\"n\",\"aud\":\"me\"}", false },
        { "refuses an end as text", "{\"iss\":\"https://idp\",\"sub\":\"u1\",\"exp\":\"1800000300\","
          "\"iat\":1800000000,\"nonce\":\"n\",\"aud\":\"me\"}", false },
        { "refuses no audience", "{" GOOD "}", false },
        { "refuses another's", "{" GOOD ",\"aud\":\"he\"}", false },
        { "refuses several without azp", "{" GOOD ",\"aud\":[\"me\",\"he\"]}", false },
        { "refuses another party", "{" GOOD ",\"aud\":\"me\",\"azp\":\"he\"}", false },
        { "refuses an audience that is no text", "{" GOOD ",\"aud\":[\"me\",1],\"azp\":\"me\"}", false },
        { "refuses another access token", "{" GOOD ",\"aud\":\"me\",\"at_hash\":\"77QmUPtjPfzWtF2AnpK9RR\"}", false },
        { "refuses another issuer", "{\"iss\":\"https://idp/\",\"sub\":\"u1\",\"exp\":1800000300,\"iat\":1800000000,"
          "\"nonce\":\"n\",\"aud\":\"me\"}", false },
        { "refuses another nonce", "{\"iss\":\"https://idp\",\"sub\":\"u1\",\"exp\":1800000300,\"iat\":1800000000,"
          "\"nonce\":\"m\",\"aud\":\"me\"}", false },
        { "refuses no nonce", "{\"iss\":\"https://idp\",\"sub\":\"u1\",\"exp\":1800000300,\"iat\":1800000000,"
          "\"aud\":\"me\"}", false },
        { "refuses what is over", "{\"iss\":\"https://idp\",\"sub\":\"u1\",\"exp\":1799999940,\"iat\":1799999000,"
          "\"nonce\":\"n\",\"aud\":\"me\"}", false },
        { "refuses no end", "{\"iss\":\"https://idp\",\"sub\":\"u1\",\"iat\":1800000000,\"nonce\":\"n\",\"aud\":\"me\"}",
          false },
        { "refuses the future", "{\"iss\":\"https://idp\",\"sub\":\"u1\",\"exp\":1800000900,\"iat\":1800000061,"
          "\"nonce\":\"n\",\"aud\":\"me\"}", false },
        { "refuses what is old", "{\"iss\":\"https://idp\",\"sub\":\"u1\",\"exp\":1800000900,\"iat\":1799990000,"
          "\"nonce\":\"n\",\"aud\":\"me\"}", false },
        { "refuses what is not valid yet", "{" GOOD ",\"aud\":\"me\",\"nbf\":1800000061}", false },
        { "refuses no subject", "{\"iss\":\"https://idp\",\"exp\":1800000300,\"iat\":1800000000,\"nonce\":\"n\","
          "\"aud\":\"me\"}", false },
        { "refuses an empty subject", "{\"iss\":\"https://idp\",\"sub\":\"\",\"exp\":1800000300,\"iat\":1800000000,"
          "\"nonce\":\"n\",\"aud\":\"me\"}", false },
        { "refuses a subject with a line end", "{\"iss\":\"https://idp\",\"sub\":\"a\\nb\",\"exp\":1800000300,"
          "\"iat\":1800000000,\"nonce\":\"n\",\"aud\":\"me\"}", false },
    };
    const struct id_token_want want = {
        .issuer = SPAN("https://idp"), .client_id = SPAN("me"), .nonce = SPAN("n"),
        .access_token = SPAN("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), .alg = JOSE_RS256, .now_s = NOW,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_value *claims = NULL;
        struct json_error error;

        check_row(rows[i].it);
        assert_int_equal(json_parse(span_str(rows[i].claims), &claims, &error), 0);
        assert_int_equal(id_token_objection(claims, &want) == NULL, rows[i].is_good);
        json_value_free(claims);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signatures), cmocka_unit_test(test_hs256_with_the_public_key),
        cmocka_unit_test(test_changed_bytes), cmocka_unit_test(test_sets),
        cmocka_unit_test(test_large_sets), cmocka_unit_test(test_examples),
        cmocka_unit_test(test_claims),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
