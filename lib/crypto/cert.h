#pragma once
#include "lib/base/addr.h"
#include "lib/base/reason.h"
#include "lib/base/ulid.h"
#include "lib/crypto/digest.h"
#include "lib/crypto/key.h"
/*
 * cert.h - certificate chains and who they say their holder is.
 *
 * Shape      a chain is the leaf, its issuing CA and the root, in this order; a CA's own
 *            chain begins with the CA.  Names are URI SANs and nothing else:
 *              adit://<cluster>/ca/root            the root
 *              adit://<cluster>/ca/<kind>          an issuing CA
 *              adit://<cluster>/<kind>/<ulid>      a leaf, by the issuing CA of that kind
 *            A certificate of one kind never passes where another is expected.
 *            The generation is the last 4 bytes (big-endian) of the 17-byte serial
 *            number: 01, 12 random bytes, generation.
 * Trust      a pin: SHA-256 of the root's DER, lower-case hex.
 * Units      times are Unix seconds, brought by the caller.
 * Ownership  the caller owns chains.
 * Threads    a chain never changes: any number of threads may read it.
 * Errors     -EINVAL: malformed; -ENOMEM.  Verification answers a reason.
 * Source     RFC 5280 (OpenSSL does the path), RFC 5280 section 4.2.1.6 (URI SAN).
 */
#define CERT_CHAIN_MAX 4
#define CERT_PEM_MAX 32768
#define CERT_CLUSTER_MAX 63
#define CERT_LEEWAY_S 60                        /* clocks may differ by this */
#define CERT_RENEW_GRACE_S (30 * 86400)         /* an expired one may still renew */

enum cert_kind { CERT_AGENT, CERT_RELAY, CERT_CONTROL, CERT_USER, CERT_KIND_COUNT };

struct identity {
    char cluster[CERT_CLUSTER_MAX + 1];
    enum cert_kind kind;
    struct ulid id;
    uint32_t generation;
    int64_t not_before_s, not_after_s;
    bool is_expired;                            /* only where the caller tolerates it */
    char fingerprint[SHA256_HEX];               /* of the leaf's DER */
};

struct trust {
    char cluster[CERT_CLUSTER_MAX + 1];
    char pin[SHA256_HEX];
};

enum cert_expiry {
    CERT_EXPIRY_STRICT,
    CERT_EXPIRY_MAY_RENEW,      /* expired for at most CERT_RENEW_GRACE_S passes, reported */
};

struct chain;
struct x509_st;                 /* OpenSSL's X509, X509_STORE_CTX, SSL, SSL_CTX: for TLS */
struct x509_store_ctx_st;
struct ssl_st;
struct ssl_ctx_st;

/* What a cluster may be called: it stands in every name. */
bool cluster_is_valid(struct span cluster);
const char *cert_kind_name(enum cert_kind kind);        /* "agent" */
bool cert_kind_parse(struct span text, enum cert_kind *ret_kind);

MUST_CHECK int chain_parse_pem(struct span pem, struct chain **ret_chain);
MUST_CHECK int chain_parse_der(const struct span *certs, size_t n, struct chain **ret_chain);
MUST_CHECK int chain_pem(const struct chain *c, struct buf *out);
struct chain *chain_ref(struct chain *c);
void chain_free(struct chain *c);
DEFINE_FREEP(chain, chain_free)
size_t chain_length(const struct chain *c);
/* DER of certificate i, behind what `out` holds. */
MUST_CHECK int chain_der(const struct chain *c, size_t i, struct buf *out);
/* The pin of the last certificate. */
MUST_CHECK int chain_root_pin(const struct chain *c, char ret_pin[SHA256_HEX]);
/* The last certificate alone, as PEM: what curl's --cacert takes. */
MUST_CHECK int chain_root_pem(const struct chain *c, struct buf *out);
/* The public key of certificate i (of the root: i = chain_length() - 1). */
MUST_CHECK int chain_public_key(const struct chain *c, size_t i, struct key **ret_key);
bool chain_has_key(const struct chain *c, const struct key *k);        /* the leaf's */

/* What the leaf says, unverified: for logs, and for one's own. */
MUST_CHECK int chain_identity(const struct chain *c, struct identity *ret_identity);
/* REASON_NONE, or
 *   BAD_CERTIFICATE      not this pin, issuer, kind, cluster or form
 *   CERTIFICATE_EXPIRED  its end (or its CA's) is past
 *   CLOCK_SKEW           its begin is still to come
 * `ret_identity` is written on REASON_NONE only. */
enum reason chain_verify(const struct chain *c, const struct trust *trust, enum cert_kind expected,
                         int64_t now_s, enum cert_expiry expiry, struct identity *ret_identity);
/* The same, for any leaf kind. */
enum reason chain_verify_any(const struct chain *c, const struct trust *trust, int64_t now_s,
                             enum cert_expiry expiry, struct identity *ret_identity);
/* Only that the chain's last certificate is the pinned root and the rest hangs below it:
 * for whoever joins and knows nothing but the pin. */
enum reason chain_verify_pin(const struct chain *c, const char *pin, enum cert_kind expected,
                             int64_t now_s, struct identity *ret_identity);

/* TLS: what the peer showed (-ENOENT: nothing), and installing one's own. */
MUST_CHECK int chain_from_store_ctx(struct x509_store_ctx_st *ctx, struct chain **ret_chain);
MUST_CHECK int chain_install(const struct chain *c, const struct key *k, struct ssl_ctx_st *ctx);
