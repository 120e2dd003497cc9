#pragma once
#include "lib/crypto/cert.h"
/*
 * ca.h - certificate authorities and certificate requests.
 *
 * One root, one issuing CA for each kind; see cert.h for names, order and serial numbers.
 * A leaf's name, kind, times and alternative names come from the caller alone: of the
 * request only the public key is taken, after its own signature was checked.
 *
 * Shape      requests travel as DER.
 * Units      Unix seconds; the caller backdates (5 minutes) and says the end.
 * Ownership  a CA holds its own handles on key and chain.
 * Threads    a CA never changes: any number of threads may issue.
 * Errors     -EINVAL: malformed request, foreign key, times or names; -ENOMEM.
 * Source     RFC 2986 (requests), RFC 5280 (profiles).
 */
#define CA_ALT_NAMES_MAX 32
#define CSR_DER_MAX 4096

struct ca;

struct ca_leaf {
    enum cert_kind kind;        /* must be the CA's */
    struct ulid id;
    uint32_t generation;
    int64_t not_before_s, not_after_s;
    const char *const *dns_names;       /* "relay.example", "localhost" */
    size_t dns_count;
    const struct addr *addrs;
    size_t addr_count;
};

MUST_CHECK int ca_new_root(const char *cluster, int64_t not_before_s, int64_t not_after_s,
                           struct ca **ret_ca);
MUST_CHECK int ca_new_issuing(const struct ca *root, enum cert_kind kind, int64_t not_before_s,
                              int64_t not_after_s, struct ca **ret_ca);
/* From what was kept; -EINVAL when the key is not the chain's. */
MUST_CHECK int ca_load(struct key *key, struct chain *chain, struct ca **ret_ca);
void ca_free(struct ca *ca);
DEFINE_FREEP(ca, ca_free)
const struct key *ca_key(const struct ca *ca);          /* borrowed */
const struct chain *ca_chain(const struct ca *ca);      /* issuing CA, root; or the root alone */

/* A leaf for the request's key; the chain is leaf, issuing CA, root. */
MUST_CHECK int ca_issue(const struct ca *ca, struct span csr_der, const struct ca_leaf *leaf,
                        struct chain **ret_chain);
/* The same for a key of one's own (the embedded default, the control plane itself). */
MUST_CHECK int ca_issue_for_key(const struct ca *ca, const struct key *key,
                                const struct ca_leaf *leaf, struct chain **ret_chain);

MUST_CHECK int csr_make(const struct key *key, struct buf *ret_der);
/* Well-formed, P-256, signed by its own key.  `ret_key` may be NULL. */
MUST_CHECK int csr_check(struct span csr_der, struct key **ret_key);
