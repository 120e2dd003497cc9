#pragma once
#include "lib/base/buf.h"
/*
 * seal.h - keys at rest, sealed under a key-encryption key.
 *
 * Shape      "aditseal1" ‖ 12 random bytes ‖ ciphertext ‖ 16 bytes of tag; AES-256-GCM.
 *            `label` names what is sealed (e.g. "ca/agent") and is authenticated: a sealed
 *            value does not open under another name.
 * Errors     -EBADMSG: not sealed under this key and label, or changed; -ENOBUFS.
 * Source     NIST SP 800-38D.  A random nonce of 96 bits: at most 2^32 seals for one key.
 * Threads    any.
 */
#define KEK_LEN 32
#define SEAL_OVERHEAD (9 + 12 + 16)

struct kek {
    unsigned char bytes[KEK_LEN];
};

/* File with 64 hex digits; where there is none, makes one (0600). */
MUST_CHECK int kek_load_or_make(const char *path, struct kek *ret_kek);
MUST_CHECK int kek_load(const char *path, struct kek *ret_kek);
void kek_wipe(struct kek *k);

MUST_CHECK int seal(const struct kek *k, struct span label, struct span plain, struct buf *out);
MUST_CHECK int unseal(const struct kek *k, struct span label, struct span sealed, struct buf *out);
