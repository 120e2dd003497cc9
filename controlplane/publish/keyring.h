#pragma once
#include "controlplane/store/store.h"
#include "lib/crypto/ca.h"
#include "lib/crypto/seal.h"
#include "lib/crypto/secret.h"
/*
 * keyring.h - every key that the control plane holds, unsealed in memory, sealed in the store.
 *
 * One root, an issuing CA for each kind, the state-signing key, the key that signs the audit's
 * checkpoints, the key of the proxy credentials' hashes.  Loading makes what is missing, in one transaction, so it may be
 * repeated; what is there is never replaced.
 *
 * Units      Unix seconds.
 * Ownership  everything handed out is the keyring's and lives as long as it does.
 * State-signing keys and credential keys are rotated (rotation.h); what was handed out of the ones
 * before stays good for some rotations, so nobody keeps it.
 *
 * Threads    any.
 * Errors     -errno with a sentence in reterr.
 */
#define KEYRING_AGENT_DAYS 7
#define KEYRING_RELAY_DAYS 30
#define KEYRING_CONTROL_DAYS 365     /* made anew at each start */
#define KEYRING_SERIAL_META "keys.serial"

struct keyring;
struct keyring_credential {
    int64_t number;
    unsigned char key[CREDENTIAL_KEY_LEN];
};

/* `cluster` must be the one that the keys were made for. */
MUST_CHECK int keyring_load(struct store *store, const char *cluster, const struct kek *kek,
                            struct keyring **ret_keys, struct buf *reterr);
void keyring_free(struct keyring *keys);
DEFINE_FREEP(keyring, keyring_free)

const char *keyring_cluster(const struct keyring *keys);
const char *keyring_pin(const struct keyring *keys);            /* of the root, hex */
struct span keyring_root_pem(const struct keyring *keys);
struct span keyring_keyset(const struct keyring *keys);         /* signed text */
/* The one that signs; its id as documents name it. */
const struct key *keyring_state_key(const struct keyring *keys);
const struct key *keyring_audit_key(const struct keyring *keys);        /* of checkpoints */
const char *keyring_state_id(const struct keyring *keys);
/* Whether a document of this key is still accepted. */
bool keyring_knows(const struct keyring *keys, const char *key_id);
/* Those that count; the first hashes what is made now. */
const struct keyring_credential *keyring_credentials(const struct keyring *keys, size_t *ret_count);
/* What hashes what is made in this transaction, though another control plane has just rotated it. */
MUST_CHECK int keyring_hashing_key(const struct keyring *keys, struct store_tx *tx,
                                   unsigned char ret_key[CREDENTIAL_KEY_LEN]);
/* Changes with each of them. */
const char *keyring_serial(const struct keyring *keys);

struct leaf_wish {
    enum cert_kind kind;
    struct ulid id;
    uint32_t generation;
    int64_t life_s;                     /* 0: the kind's usual */
};
/* A certificate for the request's key.  -EINVAL: a bad request. */
struct issued_leaf {
    char pem[CERT_PEM_MAX];             /* leaf, issuing CA, root */
    struct store_certificate row;       /* for store_certificate_put() */
};
MUST_CHECK int keyring_issue(const struct keyring *keys, const struct leaf_wish *wish, struct span csr_der,
                             int64_t now_s, struct issued_leaf *ret_issued);
/* A certificate and key for the control plane's own listeners; `hosts`: addresses and
 * names, '\n'-separated, "localhost" and loopback come by themselves. */
MUST_CHECK int keyring_issue_own(const struct keyring *keys, const struct ulid *id, struct span hosts,
                                 int64_t now_s, struct buf *ret_chain_pem, struct buf *ret_key_pem);
