#pragma once
#include "controlplane/publish/reach_cache.h"
#include "lib/policy/reach.h"
/*
 * reach_compile.h - what live grants let agents be asked for.
 *
 * Cost       one walk over the members of granted groups and over the overrides, then each
 *            agent its own rules.
 * Threads    pure but for memory.     Errors  -ENOMEM, -ENOSPC, the callback's.
 */
typedef int (*reach_fn)(void *ctx, const struct ulid *agent, const struct agent_reach *reach);

/* For each of the touched agents (settled), in their order; `reach` lives for the call, NULL:
 * more rules than are taken. */
MUST_CHECK int reach_compile(const struct reach_cache *cache, const struct policy *policy,
                             const struct touched *agents, reach_fn fn, void *ctx);
