#pragma once
#include "controlplane/routes/call.h"
#include "controlplane/routes/live.h"
#include "lib/state/feature.h"
/*
 * enforce.h - whether the relays are new enough for what is in the state, or shall come into it.
 *
 * One signed state goes to all relays; one that does not know a kind of record keeps the state that
 * it had.  So a write that needs what an enrolled relay does not know is refused, before anything
 * is committed; and a relay that turned out too old afterwards is named by `status`.
 *
 * Threads    the transaction's.
 */
/* What the relay does not know of a set of features; nothing of one that has never reported. */
uint32_t enforce_missing(const struct live_relay *relay, uint32_t features);
/* "cut-breaker, quota" */
void enforce_names(uint32_t features, struct buf *out);
/* What all in force needs; 0 while there is nothing. */
uint32_t enforce_in_force(const struct call *c);
/* At the end of a write: CALL_E_ANSWERED with relay-too-old. */
MUST_CHECK int enforce_check(struct call *c);
