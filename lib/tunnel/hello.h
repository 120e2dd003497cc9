#pragma once
#include "lib/crypto/cert.h"
#include "lib/json/json.h"
/*
 * hello.h - the JSON of HELLO, and the proofs in it.
 *
 * Shape      schema/tunnel.md, "HELLO".  Accepting side: who it is, a nonce, an offered
 *            session.  Dialling side: who it is, its nonce, one credential.
 * Ownership  hello_deinit() frees what hello_decode() made.
 * Errors     hello_decode(): -EINVAL with the field in reterr; -ENOMEM.
 * Threads    no state.
 */
#define TUNNEL_PROTOCOL 1
#define TUNNEL_NONCE_LEN 32
#define TUNNEL_SECRET_LEN 32
#define TUNNEL_PROOF_LEN 32
#define TUNNEL_TEXT_MAX 64
#define TUNNEL_RELAYS_MAX 16
#define TUNNEL_WORKERS_MAX 1024

enum tunnel_credential {
    TUNNEL_NONE,                /* the accepting side */
    TUNNEL_CERTIFICATE,         /* shown under TLS */
    TUNNEL_SESSION,             /* a lane more, or back again */
    TUNNEL_SIGNATURE,           /* TLS ends before the relay: the key signs both nonces */
    TUNNEL_JOIN,                /* no identity yet: a token's id, a CSR, its MAC */
    TUNNEL_CREDENTIAL_COUNT
};

struct tunnel_session {
    struct ulid id;
    unsigned char secret[TUNNEL_SECRET_LEN];
};

struct tunnel_hello {
    int64_t protocol;
    struct json_strs features;          /* of the link */
    char id[ULID_LEN + 1];              /* of the certificate; "" when joining */
    char name[TUNNEL_TEXT_MAX];
    char boot_id[ULID_LEN + 1];
    int64_t starts;                     /* start counter */
    char software[TUNNEL_TEXT_MAX];     /* "adit-agent/0.1" */
    char platform[TUNNEL_TEXT_MAX];     /* "linux/x86_64" */
    char zone[TUNNEL_TEXT_MAX];
    int64_t streams_max;
    unsigned char nonce[TUNNEL_NONCE_LEN];
    struct tunnel_session session;      /* accepting: offered; TUNNEL_SESSION: its id only */
    /* accepting side */
    struct json_strs relays;            /* live relays: "host:port" */
    int64_t first_retry_ms;             /* window to draw the first retry from */
    int64_t workers, worker;            /* threads that carry links there (0: one), and this link's */
    /* dialling side */
    char replaces[ULID_LEN + 1];        /* the session that the link was offered which this one is in
                                         * place of; "": none */
    enum tunnel_credential credential;
    unsigned char proof[TUNNEL_PROOF_LEN];
    char *chain_pem, *signature;        /* TUNNEL_SIGNATURE; signature: base64url of DER */
    char *token_id, *csr, *mac;         /* TUNNEL_JOIN, passed on as they stand */
};

MUST_CHECK int hello_decode(struct span json, bool is_accepting_side,
                            struct tunnel_hello *ret_hello, struct json_error *reterr);
void hello_encode(const struct tunnel_hello *h, struct buf *out);
void hello_deinit(struct tunnel_hello *h);

/* HMAC-SHA-256(secret, accepting side's nonce, dialling side's nonce, dialling side's boot id). */
void hello_proof(const struct tunnel_hello *accepting, const struct tunnel_hello *dialling,
                 struct span secret, unsigned char ret_proof[TUNNEL_PROOF_LEN]);
/* Constant time. */
bool hello_proof_is_right(const struct tunnel_hello *accepting, const struct tunnel_hello *dialling,
                          struct span secret);
/* Signs "adit-hello/v1", both nonces and the accepting side's id. */
MUST_CHECK int hello_sign(const struct tunnel_hello *accepting, struct tunnel_hello *dialling,
                          const struct key *key);
/* REASON_NONE and the identity, or why not (BAD_PROOF, BAD_CERTIFICATE, …). */
enum reason hello_check_signature(const struct tunnel_hello *accepting,
                                  const struct tunnel_hello *dialling, const struct trust *trust,
                                  enum cert_kind kind, int64_t now_s,
                                  struct identity *ret_identity);

/* Two processes say they are the same agent. */
enum hello_order {
    HELLO_SAME,         /* the same boot: one more lane */
    HELLO_NEWER,        /* the new one replaces the old: `replaced` to the old one, an alarm */
    HELLO_OLDER,        /* the new one is refused: `replaced` */
};
enum hello_order hello_order(struct span old_boot_id, int64_t old_starts, struct span new_boot_id,
                             int64_t new_starts);
