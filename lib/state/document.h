#pragma once
#include "lib/crypto/key.h"
/*
 * document.h - signed documents: exact bytes under a signature that names its purpose.
 *
 * Shape      one line, then the bytes:
 *              adit/<kind>/v1 <cluster> <epoch> <key id> <signature> <size>\n<bytes>
 *            signed is: adit/<kind>/v1 ‖ 00 ‖ cluster ‖ 00 ‖ epoch in decimal ‖ 00 ‖ bytes.
 *            So documents can stand one behind the other in a body or a file.
 * Trust      key sets are verified with the root's public key, all others with a key of a
 *            verified key set.  Nothing of the bytes is parsed before.
 * Errors     DOCUMENT_E_… and a text for a person; -ENOMEM; -ENOBUFS: past the limit.
 * Threads    pure but for memory.
 * Source     schema/state.md.
 */
#define DOCUMENT_CLUSTER_MAX 63
#define DOCUMENT_KEY_ID_LEN 16          /* of the public key's SHA-256, hex */
#define DOCUMENT_LINE_MAX 320
#define DOCUMENT_SIZE_MAX ((size_t)256 << 20)
#define KEYSET_KEYS_MAX 8
#define STATE_TEXT_MAX 255

enum document_kind {
    DOCUMENT_KEYSET, DOCUMENT_HEAD, DOCUMENT_DELTA, DOCUMENT_SNAPSHOT, DOCUMENT_AGENTPOLICY,
    DOCUMENT_KIND_COUNT
};

enum {                                  /* > 0: named conditions */
    DOCUMENT_E_END = 1,                 /* nothing left to cut */
    DOCUMENT_E_REJECTED,                /* reterr says which rule */
    DOCUMENT_E_TOO_NEW,                 /* rejected for what only a newer program knows */
};

struct state_error {
    char text[STATE_TEXT_MAX + 1];      /* "delta 3.17, line 5, field hosts/2: ..." */
};

struct document {                       /* spans point into what it was cut from */
    enum document_kind kind;
    char cluster[DOCUMENT_CLUSTER_MAX + 1];
    uint64_t epoch;
    char key_id[DOCUMENT_KEY_ID_LEN + 1];
    unsigned char signature[KEY_SIGNATURE_MAX];
    size_t signature_len;
    struct span bytes;
    struct span whole;                  /* with the line: to be kept or passed on */
};

struct keyset;

const char *document_kind_name(enum document_kind kind);        /* "agentpolicy" */
/* Appends line and bytes to `out`. */
MUST_CHECK int document_sign(enum document_kind kind, const char *cluster, uint64_t epoch,
                             const struct key *key, struct span bytes, struct buf *out);
/* Cuts the next document off `*rest`; unverified. */
MUST_CHECK int document_cut(struct span *rest, struct document *ret_document,
                            struct state_error *reterr);
MUST_CHECK int document_verify_with_key(const struct document *d, enum document_kind expected,
                                        const char *cluster, const struct key *key,
                                        struct state_error *reterr);
MUST_CHECK int document_verify(const struct document *d, enum document_kind expected,
                               const struct keyset *keys, struct state_error *reterr);

/* A key set: the public keys that may sign state, signed by the root.  Its document's epoch
 * is its serial number, which only rises. */
MUST_CHECK int keyset_sign(const char *cluster, uint64_t serial, struct key *const *keys, size_t n,
                           const struct key *root, struct buf *out);
MUST_CHECK int keyset_open(struct span text, const char *cluster, const struct key *root,
                           struct keyset **ret_keys, struct state_error *reterr);
/* The root's key comes with its certificate, as PEM (the chain's last is taken), and must
 * have the pin. */
MUST_CHECK int keyset_open_pinned(struct span text, const char *cluster, struct span chain_pem,
                                  const char *pin, struct keyset **ret_keys,
                                  struct state_error *reterr);
struct keyset *keyset_ref(struct keyset *k);
void keyset_unref(struct keyset *k);
DEFINE_FREEP(keyset, keyset_unref)
const char *keyset_cluster(const struct keyset *k);
uint64_t keyset_serial(const struct keyset *k);
