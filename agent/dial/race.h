#pragma once
#include "lib/mux/mux.h"
#include "lib/net/conn.h"
/*
 * race.h - connects to the first of several addresses that answers.
 *
 * The next address is tried when the one before failed, or after RACE_DELAY_MS; the first
 * to connect wins and the others are dropped.  Every try is kept with its time, in the order
 * in which they began; of those that the winner overtook it says so.  An open race may get
 * addresses of the other family while it runs, which take turns with those that wait.
 *
 * Ownership  race_free() drops what is under way.  on_done gets the winning conn (its
 *            owner from then on) or NULL with the reason of the last failure; the race may
 *            be freed within it.
 * Threads    its loop's thread.  on_done never comes within race_start().
 * Source     RFC 8305 section 5 (250 ms, late addresses), section 4 (families take turns).
 */
#define RACE_DELAY_MS 250
#define RACE_ADDRS_MAX MUX_TRIES_MAX
#define RACE_KNOWN_MAX (RACE_ADDRS_MAX * 4)

struct race;

struct race_result {
    struct conn *conn;              /* NULL: none answered */
    struct endpoint used;
    enum reason reason;
    struct mux_try tries[MUX_TRIES_MAX];
    size_t try_count;
};

typedef void race_fn(void *user, const struct race_result *result);

/* Puts up to RACE_KNOWN_MAX in the order to try, the families in turns, that of the first one first:
 * how many there are to try. */
size_t race_interleave(struct endpoint *list, size_t count);
/* At most RACE_ADDRS_MAX endpoints; all is over after deadline_ms.  is_open: more may come, and
 * race_close() will be called. */
MUST_CHECK int race_start(struct loop *l, const struct endpoint *to, size_t count, bool is_open,
                          uint32_t deadline_ms, race_fn *on_done, void *user, struct race **ret_race);
/* No more come, after these: without those that are in it, as many as there is room for.  on_done
 * never comes within it. */
void race_close(struct race *r, const struct endpoint *to, size_t count);
void race_free(struct race *r);
DEFINE_FREEP(race, race_free)
/* What an errno of a connect means to the one who asked. */
enum reason race_reason(int error);
