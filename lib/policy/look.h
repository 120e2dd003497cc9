#pragma once
#include "lib/policy/decide.h"
/*
 * look.h - what a diagnosis may try that an operator asks for: no grant of his stands behind it, all
 * else is as for a stream.
 *
 * The agent's own half (its file, its signed policy, the forbidden table) is asked there: it holds
 * only what some grant gives through that agent.
 *
 * Threads    pure.
 */
struct policy_look {
    struct target target;
    struct ulid agent;
    struct ulid agentgroup;     /* whose overrides apply; "": none's */
    struct ulid profile;        /* what it stands on; "": on the agent's policy alone */
    int64_t now_ms;
};

/* REASON_NONE, with agent, override, ranges and allow_special of `ret_decision` filled in; or
 * AGENT_REVOKED, LOCKED (with the lock), ACL_DENIED, TARGET_FORBIDDEN, NO_GRANT (the profile does not
 * name the target).  allow_special only by a profile. */
enum reason policy_look(const struct policy *p, const struct policy_look *look, struct policy_decision *ret_decision);
