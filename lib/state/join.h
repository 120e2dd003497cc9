#pragma once
#include "lib/crypto/cert.h"
#include "lib/state/document.h"
/*
 * join.h - join tokens: how a newcomer knows whom it joins, and proves that it may.
 *
 * Shape      "adit-join-1." and base64url of JSON {id, secret, kind, cluster, addrs, pin}.
 *            The secret is 32 random bytes; it never travels: what is sent is the id, the
 *            CSR (DER) and HMAC-SHA-256(secret, "adit-join/v1" ‖ 00 ‖ id ‖ 00 ‖ CSR).
 * Limits     1 to 8 addresses ("host:port", "wss://host:port/path", "https://host:port"), the
 *            text at most JOIN_TOKEN_MAX bytes.
 * Errors     -EINVAL: malformed; -ENOBUFS.
 * Threads    pure.
 */
#define JOIN_TOKEN_MAX 4096
#define JOIN_SECRET_LEN 32
#define JOIN_ADDRS_MAX 8
#define JOIN_ADDR_LEN 255
#define JOIN_MAC_LEN 43                 /* base64url, without its NUL */

struct join_token {
    struct ulid id;
    unsigned char secret[JOIN_SECRET_LEN];
    enum cert_kind kind;                /* agent or relay */
    char cluster[CERT_CLUSTER_MAX + 1];
    char addrs[JOIN_ADDRS_MAX][JOIN_ADDR_LEN + 1];
    size_t addr_count;
    char pin[SHA256_HEX];
};

MUST_CHECK int join_token_format(const struct join_token *t, struct buf *out);
MUST_CHECK int join_token_parse(struct span text, struct join_token *ret_token);
void join_token_wipe(struct join_token *t);

void join_mac(const unsigned char secret[JOIN_SECRET_LEN], const struct ulid *id,
              struct span csr_der, char ret_mac[JOIN_MAC_LEN + 1]);
bool join_mac_check(const unsigned char secret[JOIN_SECRET_LEN], const struct ulid *id,
                    struct span csr_der, struct span mac);
