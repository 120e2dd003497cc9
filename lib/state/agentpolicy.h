#pragma once
#include "lib/policy/reach.h"
#include "lib/state/document.h"
/*
 * agentpolicy.h - what the control plane permits an agent to reach, signed for that agent.
 *
 * Relays pass it on as it is (record kind agentpolicy, NOTICE); the agent verifies it.
 *
 * Shape      a line of JSON (format, cluster, epoch, revision, agent, count), then one rule
 *            a line: flags, space, rule (acl.h).  Flags: "-" or any of "r" match_resolved,
 *            "s" allow_special.
 * Errors     DOCUMENT_E_REJECTED, -ENOMEM, -ENOBUFS.
 * Source     schema/state.md.
 */
#define AGENTPOLICY_MAX ((size_t)256 << 10)

struct agentpolicy_header {
    uint64_t epoch, revision;           /* an agent refuses what is older than it has */
    char agent[27];
};

MUST_CHECK int agentpolicy_sign(const char *cluster, const struct agentpolicy_header *h,
                                const struct agent_reach *reach, const struct key *key,
                                struct buf *out);
/* Verified, for `agent`, not older than `newest` (may be NULL). */
MUST_CHECK int agentpolicy_open(struct span text, const struct keyset *keys, const char *agent,
                                const struct agentpolicy_header *newest,
                                struct agentpolicy_header *ret_header,
                                struct agent_reach **ret_reach, struct state_error *reterr);
