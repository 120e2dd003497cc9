#pragma once
#include "lib/base/span.h"
/*
 * digest.h - SHA-256, HMAC-SHA-256, HKDF-SHA-256, and wiping of secrets.
 *
 * Secrets are compared with span_eq_secret() and wiped with secret_wipe().
 *
 * Errors     none: running out of memory inside the library aborts.
 * Source     FIPS 180-4, RFC 2104, RFC 5869; SHA-1 serves RFC 6455 section 4.2.2 only.
 * Threads    any.
 */
#define SHA256_LEN 32
#define SHA256_HEX (2 * SHA256_LEN + 1)         /* with its NUL */
#define SHA1_LEN 20

void sha256(struct span bytes, unsigned char ret_digest[SHA256_LEN]);
/* Over the parts, one behind the other. */
void sha256_parts(const struct span *parts, size_t n, unsigned char ret_digest[SHA256_LEN]);
/* Lower-case hex. */
void sha256_hex(struct span bytes, char ret_hex[SHA256_HEX]);
/* The WebSocket accept value is made of it and nothing else may be. */
void sha1_for_websocket(struct span bytes, unsigned char ret_digest[SHA1_LEN]);

void hmac_sha256(struct span key, struct span bytes, unsigned char ret_mac[SHA256_LEN]);
void hmac_sha256_parts(struct span key, const struct span *parts, size_t n,
                       unsigned char ret_mac[SHA256_LEN]);
/* Extract and expand; n <= 255 * 32. */
void hkdf_sha256(struct span key, struct span salt, struct span info, void *dst, size_t n);

/* Overwrites with zeros; the compiler may not leave it out. */
void secret_wipe(void *secret, size_t n);

/* Digests of a long input that arrives in pieces. */
struct sha256_run;
struct sha256_run *sha256_run_new(void);
void sha256_run_add(struct sha256_run *run, struct span bytes);
void sha256_run_end(struct sha256_run *run, unsigned char ret_digest[SHA256_LEN]);
void sha256_run_free(struct sha256_run *run);
DEFINE_FREEP(sha256_run, sha256_run_free)
