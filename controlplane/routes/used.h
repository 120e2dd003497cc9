#pragma once
#include "controlplane/routes/live.h"
#include "lib/json/json.h"
/*
 * used.h - what relays told of quotas (schema/internal.md, quota.used), one document for each quota.
 *
 * A relay tells what it counted on a day since its start; what it had counted in earlier starts
 * of that day is kept beside it.  So a report that comes twice counts once, and what was used
 * before a restart is given back.
 *
 * Units      bytes; Unix milliseconds.
 * Errors     the store's; -EINVAL: not of the form; -ENOMEM.
 */
struct used {
    int64_t streams, bytes;         /* of relays that are connected; of today */
    int64_t day_end_ms, told_ms;    /* 0: not told yet */
    unsigned saturated;             /* bits of used_limits */
};

#define USED_LIMITS 4
extern const char *const used_limits[USED_LIMITS];      /* as the API names them */

/* The data of an event; quotas that are gone are passed over. */
MUST_CHECK int used_keep(struct store_tx *tx, const char *relay, struct span boot, int64_t at_ms, struct span data);
/* The quota goes. */
MUST_CHECK int used_forget(struct store_tx *tx, const struct ulid *quota);
MUST_CHECK int used_read(struct store_tx *tx, const struct live *live, const struct ulid *quota,
                         struct used *ret_used);
/* {"quotas": [...]}: what counts today and was not counted by that start of the relay. */
MUST_CHECK int used_write_others(struct store_tx *tx, const char *relay, struct span boot, struct buf *out);
/* The same as the body of an answer. */
MUST_CHECK int used_answer(struct store *store, const char *relay, struct span boot, struct buf *ret_body);
