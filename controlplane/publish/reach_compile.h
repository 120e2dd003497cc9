#pragma once
#include "lib/policy/policy.h"
#include "lib/policy/reach.h"
/*
 * reach_compile.h - what live grants let an agent be asked for, out of a policy.
 *
 * Threads    pure but for memory.     Errors  -ENOMEM, -ENOSPC.
 */
#define TOUCHED_MAX 200000

struct touched {                        /* agents whose reach may have changed; sorted at the end */
    struct ulid *ids;
    size_t count, room;
};

void touched_deinit(struct touched *t);
MUST_CHECK int touched_add(struct touched *t, const struct ulid *agent);
/* Of one record before and after a change (NULL: was not, is not); by the whole policies. */
MUST_CHECK int touched_by(struct touched *t, const struct policy *policy, const struct record *before,
                          const struct record *after);
/* Sorts, and drops what is there twice. */
void touched_settle(struct touched *t);

/* Grants that ended before `now_ms` give nothing. */
MUST_CHECK int reach_compile(const struct policy *policy, const struct ulid *agent, int64_t now_ms,
                             struct agent_reach **ret_reach);
