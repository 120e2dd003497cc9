#pragma once
#include "controlplane/store/store.h"
#include "lib/crypto/password.h"
/*
 * rehash.h - a password that was hashed elsewhere, or with less, is hashed anew when it was right.
 *
 * Threads    rehash_make: any, takes long; rehash_keep: the transaction's.
 */

/* `ret_fresh` "": the hash is good as it is, or there was no memory for another. */
void rehash_make(struct span password, const char *phc, char ret_fresh[PASSWORD_PHC_MAX]);
/* Tells one password of a user from the next, and says nothing of either: when it was set, which its
 * fingerprint remembers when it was hashed anew. */
#define REHASH_WHICH_MAX (STORE_FINGERPRINT_MAX + 1)
const char *rehash_which(const struct store_secret *password, char dst[REHASH_WHICH_MAX]);
/* Unless another one was set meanwhile. */
MUST_CHECK int rehash_keep(struct store_tx *tx, const struct ulid *user, const char *phc, const char *fresh);
