#pragma once
#include "lib/base/buf.h"
/*
 * key.h - EC P-256 keys: made where they are used, kept 0600, signing documents.
 *
 * Shape      a key is private (signs) or public only (verifies).  Signatures are ECDSA
 *            with SHA-256, DER, at most KEY_SIGNATURE_MAX bytes.
 * Ownership  the caller owns the key; key_ref() gives a second handle on the same one.
 * Threads    a key may be used from any number of threads at once.
 * Errors     -EINVAL: not a P-256 key or malformed; -ENOMEM; -errno of the file.
 * Source     FIPS 186-4, RFC 5915, RFC 5208 (PKCS #8), RFC 5480 (public key info).
 */
#define KEY_SIGNATURE_MAX 80
#define KEY_PUBLIC_DER_MAX 128
#define KEY_PEM_MAX 1024

struct key;
struct evp_pkey_st;                     /* OpenSSL's EVP_PKEY, for lib/net's TLS */

MUST_CHECK int key_generate(struct key **ret_key);
struct key *key_ref(struct key *k);
void key_free(struct key *k);
DEFINE_FREEP(key, key_free)
bool key_is_private(const struct key *k);

/* A private key, PKCS #8 or SEC 1. */
MUST_CHECK int key_parse_private_pem(struct span pem, struct key **ret_key);
/* PKCS #8 without encryption: for files of mode 0600 and for sealing.  Wipe the buffer. */
MUST_CHECK int key_private_pem(const struct key *k, struct buf *out);
MUST_CHECK int key_parse_public_der(struct span der, struct key **ret_key);
MUST_CHECK int key_parse_public_pem(struct span pem, struct key **ret_key);
MUST_CHECK int key_public_der(const struct key *k, struct buf *out);
MUST_CHECK int key_public_pem(const struct key *k, struct buf *out);
/* SHA-256 of the public key's DER, lower-case hex (SHA256_HEX bytes). */
MUST_CHECK int key_fingerprint(const struct key *k, char ret_hex[65]);

/* File of mode 0600, written whole or not at all. */
MUST_CHECK int key_save(const struct key *k, const char *path);
MUST_CHECK int key_load(const char *path, struct key **ret_key);
/* Loads the key; where there is no file, makes one and saves it. */
MUST_CHECK int key_load_or_make(const char *path, struct key **ret_key);

MUST_CHECK int key_sign(const struct key *k, struct span bytes, struct buf *out);
bool key_verify(const struct key *k, struct span bytes, struct span signature);
/* The same over parts, one behind the other, which are not copied together. */
MUST_CHECK int key_sign_parts(const struct key *k, const struct span *parts, size_t n,
                              struct buf *out);
bool key_verify_parts(const struct key *k, const struct span *parts, size_t n,
                      struct span signature);

struct evp_pkey_st *key_openssl(const struct key *k);   /* borrowed */
