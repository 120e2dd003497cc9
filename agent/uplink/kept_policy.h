#pragma once
#include "lib/member/member.h"
#include "lib/state/agentpolicy.h"
/*
 * kept_policy.h - the policy that the control plane signed for this agent, as it was kept.
 *
 * Shape      the file "policy" (0600) in the data directory: the signed document as it came.
 * Errors     DOCUMENT_E_REJECTED with the rule in reterr; nothing changes then.
 * Threads    one.
 */
struct kept_policy {
    const struct member *member;
    struct agentpolicy_header header;       /* revision 0: none yet */
};

/* Verifies, keeps on disk, and gives what it permits. */
MUST_CHECK int kept_policy_take(struct kept_policy *k, struct span text, struct agent_reach **ret_reach,
                                struct state_error *reterr);
/* The one on disk, verified again; NULL when there is none that counts. */
struct agent_reach *kept_policy_load(struct kept_policy *k);
