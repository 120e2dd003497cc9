#pragma once
#include "lib/crypto/cert.h"
#include <openssl/x509.h>
/*
 * cert_internal.h - what cert.c, cert_verify.c, cert_tls.c and ca.c share.
 */
struct chain {
    unsigned refs;
    size_t n;
    X509 *certs[CERT_CHAIN_MAX];
};

enum cert_role { ROLE_ROOT, ROLE_ISSUING, ROLE_LEAF };

/* A certificate's URI SAN, taken apart. */
struct cert_name {
    enum cert_role role;
    char cluster[CERT_CLUSTER_MAX + 1];
    enum cert_kind kind;        /* not of the root */
    struct ulid id;             /* of a leaf */
};

enum { SERIAL_LEN = 17, SERIAL_RANDOM = 12 };

/* Exactly one URI SAN, of a form that cert.h names. */
bool cert_name_of(const X509 *cert, struct cert_name *ret_name);
/* Writes the URI (dst of 160 bytes). */
void cert_name_uri(const struct cert_name *name, char *dst, size_t dst_size);
struct chain *chain_new(void);
/* Takes a reference on the certificate; -EINVAL when the chain is full. */
int chain_add(struct chain *c, X509 *cert);
int key_of_pkey(const EVP_PKEY *pkey, struct key **ret_key);
bool time_of(const ASN1_TIME *t, int64_t *ret_s);
