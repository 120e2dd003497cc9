#pragma once
#include "controlplane/store/store.h"
#include "lib/policy/compare.h"
/*
 * stored.h - the policy as a transaction sees it, with what the transaction itself has written.
 *
 * Cost       led on from a policy that is close: what changed since; else all records.
 * Ownership  stored_policy() gives one reference; the list is the caller's: stored_changed_deinit().
 * Errors     the store's; -ENOMEM.
 * Threads    the transaction's.
 */
struct stored_changed {
    struct compare_changed *items;
    size_t count;
};
void stored_changed_deinit(struct stored_changed *changed);

/* `base` (NULL: none) is the policy at `at`.  `ret_changed` (may be NULL; needs `base`): what
 * differs from `base`. */
MUST_CHECK int stored_policy(struct store_tx *tx, const struct policy *base, const struct store_position *at,
                             struct policy **ret_policy, struct stored_changed *ret_changed);
