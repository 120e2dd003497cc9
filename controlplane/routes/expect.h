#pragma once
#include "controlplane/store/store.h"
#include "lib/base/reason.h"
#include "lib/policy/policy.h"
/*
 * expect.h - expectations: who shall reach what, and who shall not, whatever is changed.
 *
 * One on a group holds when every active member may (allow), or none may (deny).  Every agent counts
 * as connected and every quota as free.
 *
 * Errors     the store's; -ENOMEM.
 * Threads    the transaction's.
 */
#define EXPECTATIONS_MAX 1000
#define EXPECT_DECISIONS_MAX 100000     /* on each side; beyond, the rest counts as held */

struct expectation_seen {
    const struct ulid *id;
    const char *name, *host, *user;     /* user: one for whom it does not hold; "": he is gone */
    uint16_t port;
    bool is_allow;
    enum reason reason;                 /* of the decision */
};
typedef void (*expectation_fn)(void *ctx, const struct expectation_seen *seen);

MUST_CHECK int expectations_exist(struct store_tx *tx, bool *ret_exist);
/* Gives those that hold before and do not after. */
MUST_CHECK int expectations_broken(struct store_tx *tx, const struct policy *before, const struct policy *after,
                                   int64_t now_ms, expectation_fn fn, void *ctx, bool *ret_is_truncated);
