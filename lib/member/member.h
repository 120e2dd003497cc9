#pragma once
#include "lib/base/buf.h"
#include "lib/crypto/cert.h"
#include "lib/state/join.h"
/*
 * member.h - who this agent or relay is, and what it keeps on disk to stay it.
 *
 * Shape      in the data directory (0700), files of 0600, each whole or not there:
 *              member.pem     private key and certificate chain, together, so that a
 *                             renewal replaces both or neither
 *              member.json    cluster, the root's pin, addresses to dial
 *              starts         how often it was started (the newer of two wins)
 *              keyset         the control plane's signed key set, as it came
 *              lock           held while a program runs on the directory
 * Ownership  member_free() unlocks.
 * Threads    one.  Calls block on the disk: at start, and a few a week after.
 * Errors     -errno, with a sentence for a person in reterr.
 */
#define MEMBER_ADDRS_MAX JOIN_ADDRS_MAX
#define RELAY_HOST_MAX 254
#define RELAY_PORT 7443             /* when an address names none */

struct member {
    enum cert_kind kind;
    char *dir;
    int lock_fd;
    struct trust trust;
    struct key *key;
    struct chain *chain;
    struct identity self;           /* of the chain's leaf; id "" before joining */
    char addrs[MEMBER_ADDRS_MAX][JOIN_ADDR_LEN + 1];
    size_t addr_count;
    int64_t starts;
    struct keyset *keys;            /* NULL: none yet */
};

/* Locks the directory (made when missing).  -EBUSY: another program runs on it. */
MUST_CHECK int member_open(enum cert_kind kind, const char *dir, struct member **ret_member,
                           struct buf *reterr);
/* Reads key, chain and addresses, checks them against each other, counts this start. */
MUST_CHECK int member_load(struct member *m, struct buf *reterr);
void member_free(struct member *m);
DEFINE_FREEP(member, member_free)
bool member_is_joined(const struct member *m);
/* What joining gave: takes key and chain over when they fit the token's pin and cluster. */
MUST_CHECK int member_adopt(struct member *m, const struct join_token *token, struct key *key,
                              struct span chain_pem, int64_t now_s, struct buf *reterr);
/* What renewal gave: the chain must name this member and hold `key`. */
MUST_CHECK int member_renew(struct member *m, struct key *key, struct span chain_pem,
                              int64_t now_s, struct buf *reterr);
/* When to ask for a new certificate: a third of the present one's life. */
int64_t member_renew_at_s(const struct member *m);
/* Verifies and keeps a signed document; DOCUMENT_E_REJECTED with the rule in reterr. */
MUST_CHECK int member_keep_keyset(struct member *m, struct span text, struct state_error *reterr);
/* "wss://host:port/path", "host:port", "host": what tokens and options hold. */
MUST_CHECK int relay_address_parse(const char *addr, char ret_host[RELAY_HOST_MAX], uint16_t *ret_port,
                                   struct buf *reterr);
