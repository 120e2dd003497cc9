#pragma once
#include "controlplane/routes/live.h"
#include "lib/base/reason.h"
/*
 * breaker.h - the breakers that are not closed, as the connected relays told last (schema/internal.md,
 * applied).
 *
 * Ownership  spans live for the call.
 * Errors     the store's; -ENOMEM.
 */
struct breaker_seen {
    struct ulid id, agentgroup, relay;
    struct span host, reason;
    int64_t port, failures, opened_ms;
    int64_t until_ms;               /* when one may try; 0: one tries now */
    bool is_trying;
};

typedef int (*breaker_fn)(void *ctx, const struct breaker_seen *breaker);
MUST_CHECK int breakers_seen(struct store_tx *tx, const struct live *live, breaker_fn fn, void *ctx);
