#pragma once
#include "controlplane/publish/keyring.h"
#include "lib/state/document.h"

#include <stdatomic.h>
/*
 * keyring_internal.h - this room's own: the keys that are rotated, as one generation of them.
 *
 * A rotation makes another generation.  Those before stay for a while, so that who holds something
 * of one may go on reading it: KEYRING_GENERATIONS of them, and each rotation takes three.
 */
#define KEYRING_GENERATIONS 16
#define KEYRING_KEYS_MAX 4              /* of a purpose, that count: next, active, retiring */

struct state_key {
    struct key *key;
    char id[DOCUMENT_KEY_ID_LEN + 1];
    int64_t number;
    bool is_active;
};

struct generation {
    char serial[24];
    struct buf keyset;                  /* signed */
    struct state_key states[KEYRING_KEYS_MAX];
    size_t state_count;
    struct keyring_credential credentials[KEYRING_KEYS_MAX];    /* the active one first */
    size_t credential_count;
};

struct keyring {
    char cluster[CERT_CLUSTER_MAX + 1];
    char pin[SHA256_HEX];
    struct kek kek;
    struct ca *root, *issuing[CERT_KIND_COUNT];
    struct key *audit;
    struct buf root_pem;
    struct generation generations[KEYRING_GENERATIONS];
    _Atomic unsigned current;
};

/* Reads what the store has into the next place and makes it the current one. */
MUST_CHECK int generation_load(struct keyring *keys, struct store_tx *tx);
void generation_deinit(struct generation *g);
const struct generation *generation_of(const struct keyring *keys);

/* For buffers with secrets: wiped. */
void secret_buf_deinit(struct buf *b);

/* Sealed under the purpose's name. */
MUST_CHECK int keyring_keep(const struct keyring *keys, struct store_tx *tx, const char *purpose, int64_t number,
                            const char *status, struct span public_part, struct span secret);
/* A new key of the purpose ("state", "credential") in the store. */
MUST_CHECK int keyring_make(const struct keyring *keys, struct store_tx *tx, const char *purpose, int64_t number,
                            const char *status);
/* Signs the set of all state keys in the store that are not retired, and keeps it. */
MUST_CHECK int keyring_sign_set(const struct keyring *keys, struct store_tx *tx, uint64_t serial);
/* The set under a serial number that is greater by `by`. */
MUST_CHECK int keyring_renumber(const struct keyring *keys, struct store_tx *tx, uint64_t by);
