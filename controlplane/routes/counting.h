#pragma once
#include "controlplane/store/store.h"
/*
 * counting.h - what relays tell of streams and decisions, added up for the statistics.
 *
 * One for each transaction: what its events add to the same minute and key is written once, at the
 * end.  An event that was kept before (events come at least once) counts nothing.
 *
 * Ownership  counting_free().
 * Threads    the transaction's.
 */
struct counting;
struct counting *counting_new(struct store_tx *tx);     /* NULL: out of memory */
void counting_free(struct counting *c);
DEFINE_FREEP(counting, counting_free)

struct counted {
    struct span type;           /* "stream.opened", …; others count nothing */
    struct ulid id;
    int64_t at_ms;
    struct span data;           /* an object as it came */
};
/* Before the event itself is kept. */
MUST_CHECK int counting_take(struct counting *c, const struct counted *event);
/* Writes what was added up. */
MUST_CHECK int counting_flush(struct counting *c);
