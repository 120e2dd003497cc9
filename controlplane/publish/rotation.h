#pragma once
#include "controlplane/publish/keyring.h"
/*
 * rotation.h - another key takes the place of the one before, under overlap.
 *
 *     next      made, and told to relays and agents (the key set holds it; relays have it)
 *     active    signs, or hashes; the one before is retiring: it counts, but makes nothing new
 *     retired   ended; its private part is gone
 *
 * Each step changes the serial, which stands in the state as setting `keys`: relays ask for the keys
 * anew when they see another one.  The steps are by the clock, by whoever publishes.
 *
 * Units      milliseconds.
 * Errors     the store's; ROTATION_E_BUSY; -errno.
 * Threads    the transaction's; rotation_refresh() one at a time.
 */
#define ROTATION_LEAD_MS 10000          /* from next to active: two polls of a relay */
#define ROTATION_OVERLAP_MAX_S (366LL * 86400)

enum { ROTATION_E_BUSY = 2000 };        /* the one before has not ended yet */

struct rotation {                       /* of a purpose, under way */
    int64_t activate_ms, retire_ms;     /* 0: none is */
};

bool rotation_is_purpose(struct span name);     /* "state", "credential" */
MUST_CHECK int rotation_get(struct store_tx *tx, const char *purpose, struct rotation *ret_rotation);
MUST_CHECK int rotation_begin(struct store_tx *tx, const struct keyring *keys, const char *purpose, int64_t overlap_ms);
/* What is due.  `may_retire` false: something of the old state key is still needed. */
MUST_CHECK int rotation_step(struct store_tx *tx, const struct keyring *keys, bool may_retire, bool *ret_has_changed);
/* Takes over what the store has, if that is another generation. */
MUST_CHECK int rotation_refresh(struct store_tx *tx, struct keyring *keys, bool *ret_has_changed);
