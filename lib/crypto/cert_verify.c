#include "lib/crypto/cert_internal.h"
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <string.h>

enum { OUR_LENGTH = 3 };        /* leaf, issuing CA, root */

static inline void store_freep(X509_STORE **store)
{
    X509_STORE_free(*store);
}

static inline void store_ctx_freep(X509_STORE_CTX **ctx)
{
    X509_STORE_CTX_free(*ctx);
}

static inline void stack_freep(STACK_OF(X509) **stack)
{
    sk_X509_free(*stack);
}

/* Signatures, CA rights, path lengths, unknown critical extensions.  Times are left to the
 * caller's clock. */
static bool path_holds(const struct chain *c)
{
    AUTO(store_freep) X509_STORE *store = X509_STORE_new();
    AUTO(store_ctx_freep) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    AUTO(stack_freep) STACK_OF(X509) *between = sk_X509_new_null();
    bool ok;

    if (!store || !ctx || !between || X509_STORE_add_cert(store, c->certs[OUR_LENGTH - 1]) != 1 ||
        sk_X509_push(between, c->certs[1]) != 1 ||
        X509_STORE_CTX_init(ctx, store, c->certs[0], between) != 1)
        return false;
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_X509_STRICT);
    ok = X509_verify_cert(ctx) == 1;
    ERR_clear_error();
    return ok;
}

/* Root, issuing CA and leaf name one cluster and one kind. */
static bool names_hold(const struct chain *c, const char *cluster)
{
    struct cert_name leaf, issuing, root;

    return cert_name_of(c->certs[0], &leaf) && cert_name_of(c->certs[1], &issuing) &&
           cert_name_of(c->certs[2], &root) && leaf.role == ROLE_LEAF &&
           issuing.role == ROLE_ISSUING && root.role == ROLE_ROOT && leaf.kind == issuing.kind &&
           strcmp(leaf.cluster, cluster) == 0 && strcmp(issuing.cluster, cluster) == 0 &&
           strcmp(root.cluster, cluster) == 0;
}

static enum reason time_holds(const X509 *cert, int64_t now_s, int64_t grace_s)
{
    int64_t begin_s, end_s;

    if (!time_of(X509_get0_notBefore(cert), &begin_s) || !time_of(X509_get0_notAfter(cert), &end_s))
        return REASON_BAD_CERTIFICATE;
    if (begin_s > now_s + CERT_LEEWAY_S)
        return REASON_CLOCK_SKEW;
    return end_s + CERT_LEEWAY_S + grace_s < now_s ? REASON_CERTIFICATE_EXPIRED : REASON_NONE;
}

static enum reason times_hold(const struct chain *c, int64_t now_s, enum cert_expiry expiry)
{
    enum reason reason = REASON_NONE;

    for (size_t i = 0; i < c->n && reason == REASON_NONE; i++) {
        bool may_renew = i == 0 && expiry == CERT_EXPIRY_MAY_RENEW;

        reason = time_holds(c->certs[i], now_s, may_renew ? CERT_RENEW_GRACE_S : 0);
    }
    return reason;
}

enum reason chain_verify_any(const struct chain *c, const struct trust *trust, int64_t now_s,
                             enum cert_expiry expiry, struct identity *ret_identity)
{
    char pin[SHA256_HEX];
    struct identity id;
    enum reason reason;

    if (c->n != OUR_LENGTH || chain_root_pin(c, pin) || strcmp(pin, trust->pin) != 0 ||
        !names_hold(c, trust->cluster) || chain_identity(c, &id) || !path_holds(c))
        return REASON_BAD_CERTIFICATE;
    reason = times_hold(c, now_s, expiry);
    if (reason != REASON_NONE)
        return reason;
    id.is_expired = time_holds(c->certs[0], now_s, 0) != REASON_NONE;
    *ret_identity = id;
    return REASON_NONE;
}

enum reason chain_verify(const struct chain *c, const struct trust *trust, enum cert_kind expected,
                         int64_t now_s, enum cert_expiry expiry, struct identity *ret_identity)
{
    struct cert_name leaf;

    if (!cert_name_of(c->certs[0], &leaf) || leaf.role != ROLE_LEAF || leaf.kind != expected)
        return REASON_BAD_CERTIFICATE;
    return chain_verify_any(c, trust, now_s, expiry, ret_identity);
}

enum reason chain_verify_pin(const struct chain *c, const char *pin, enum cert_kind expected,
                             int64_t now_s, struct identity *ret_identity)
{
    struct trust trust = { 0 };
    struct cert_name root;

    if (!span_copy(span_str(pin), trust.pin, sizeof(trust.pin)) ||
        !cert_name_of(c->certs[c->n - 1], &root))
        return REASON_BAD_CERTIFICATE;
    memcpy(trust.cluster, root.cluster, sizeof(trust.cluster));
    return chain_verify(c, &trust, expected, now_s, CERT_EXPIRY_STRICT, ret_identity);
}
