#pragma once
#include "controlplane/http/request.h"
#include "controlplane/publish/keyring.h"
#include "controlplane/store/store.h"
/*
 * enrol.h - identities of agents and relays: joining with a token, renewal.
 *
 * A use of a token is counted in the transaction that issues.  The same CSR within ten
 * minutes gets the same answer, so that a lost answer costs nothing.  Each renewal raises
 * the generation; an older one than the last means that a key was copied: the identity is
 * locked, and the audit trail says so.
 *
 * Errors     REASON_NONE and the answer, or why not; REASON_INTERNAL was logged.
 * Threads    any.
 */
struct enrol {                          /* borrowed */
    struct store *store;
    const struct keyring *keys;
    const struct kek *kek;              /* opens the secrets of join tokens */
    int64_t agent_life_s;               /* of an agent's certificate; 0: the usual */
};

struct enrol_join {
    enum cert_kind kind;                /* of the door: the token must be for the same */
    struct ulid token;
    struct span csr_der, mac, name;     /* name: proposed; may be empty */
    struct span address;                /* where the newcomer is seen from */
    const char *trace_id;
};

struct enrol_renew {
    struct ulid id;
    uint32_t generation;                /* of the certificate that was shown */
    struct span csr_der;
    const char *relay;                  /* who passed it on: for the audit event */
    const char *trace_id;
};

struct enrolled {
    struct ulid id;
    enum cert_kind kind;
    char name[64];
    struct buf chain_pem;               /* enrolled_deinit() */
};

void enrolled_deinit(struct enrolled *e);
/* TOKEN_INVALID, TOKEN_USED, BAD_REQUEST (the CSR), OVERLOAD, INTERNAL. */
enum reason enrol_join(const struct enrol *e, const struct enrol_join *ask, struct enrolled *ret);
/* AGENT_REVOKED, LOCKED, CERTIFICATE_EXPIRED, BAD_REQUEST, OVERLOAD, INTERNAL. */
enum reason enrol_renew(const struct enrol *e, const struct enrol_renew *ask, struct enrolled *ret);
