#pragma once
#include "lib/base/buf.h"
#include "lib/crypto/cert.h"
#include "lib/state/agentpolicy.h"
#include "lib/state/join.h"
/*
 * identity.h - who this agent is, and what it keeps on disk to stay it.
 *
 * Shape      in the data directory (0700), files of 0600, each whole or not there:
 *              agent.pem      private key and certificate chain, together, so that a
 *                             renewal replaces both or neither
 *              agent.json     cluster, id, the root's pin, addresses to dial
 *              starts         how often it was started (the newer of two wins)
 *              keyset, policy the control plane's signed documents, as they came
 *              lock           held while an agent runs on the directory
 * Ownership  identity_free() unlocks.
 * Threads    one.  Calls block on the disk: at start, and a few a week after.
 * Errors     -errno, with a sentence for a person in reterr.
 */
#define IDENTITY_ADDRS_MAX JOIN_ADDRS_MAX
#define RELAY_HOST_MAX 254
#define RELAY_PORT 7443             /* when an address names none */

struct agent_identity {
    char *dir;
    int lock_fd;
    struct trust trust;
    struct key *key;
    struct chain *chain;
    struct identity self;           /* of the chain's leaf; id "" before joining */
    char addrs[IDENTITY_ADDRS_MAX][JOIN_ADDR_LEN + 1];
    size_t addr_count;
    int64_t starts;
    struct keyset *keys;            /* NULL: none yet */
    struct agentpolicy_header policy;       /* revision 0: none yet */
};

/* Locks the directory (made when missing).  -EBUSY: another agent runs on it. */
MUST_CHECK int identity_open(const char *dir, struct agent_identity **ret_identity, struct buf *reterr);
/* Reads key, chain and addresses, checks them against each other, counts this start. */
MUST_CHECK int identity_load(struct agent_identity *id, struct buf *reterr);
void identity_free(struct agent_identity *id);
DEFINE_FREEP(agent_identity, identity_free)
bool identity_is_joined(const struct agent_identity *id);
/* What joining gave: takes key and chain over when they fit the token's pin and cluster. */
MUST_CHECK int identity_adopt(struct agent_identity *id, const struct join_token *token, struct key *key,
                              struct span chain_pem, int64_t now_s, struct buf *reterr);
/* What renewal gave: the chain must name this agent and hold `key`. */
MUST_CHECK int identity_renew(struct agent_identity *id, struct key *key, struct span chain_pem,
                              int64_t now_s, struct buf *reterr);
/* When to ask for a new certificate: a third of the present one's life. */
int64_t identity_renew_at_s(const struct agent_identity *id);
/* Verifies and keeps a signed document; DOCUMENT_E_REJECTED with the rule in reterr. */
MUST_CHECK int identity_keep_keyset(struct agent_identity *id, struct span text, struct state_error *reterr);
MUST_CHECK int identity_keep_policy(struct agent_identity *id, struct span text,
                                    struct agent_reach **ret_reach, struct state_error *reterr);
/* The policy that was kept, verified again; NULL when there is none that counts. */
struct agent_reach *identity_kept_reach(struct agent_identity *id);

/* "wss://host:port/path", "host:port", "host": what tokens and options hold. */
MUST_CHECK int relay_address_parse(const char *addr, char ret_host[RELAY_HOST_MAX], uint16_t *ret_port,
                                   struct buf *reterr);
