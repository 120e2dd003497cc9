#pragma once
#include "dataplane/policy/tally.h"
#include "dataplane/policy/view.h"
#include "lib/base/list.h"
#include "lib/base/map.h"
/*
 * live.h - the streams of one worker and what each stands on, so that whoever loses access
 * loses his streams too.
 *
 * After each new view, and when the clock may change an answer, every stream is asked for
 * again; in slices, so that no stream waits for it.
 *
 * Cost       a sweep asks LIVE_SLICE streams for each call of live_sweep(); adding and
 *            removing are O(1).
 * Units      milliseconds of Unix time.
 * Ownership  the set borrows its entries, which are embedded in their owners.
 * Threads    one worker's.
 */
#define LIVE_SLICE 256

struct live_entry {
    struct list node;
    struct map_node by_uid;
    struct policy_standing standing;
    int64_t again_ms;               /* when time alone may change the answer */
    uint64_t max_stale_ms;          /* of its profile; 0: the cluster's */
    uint64_t grant_limit;           /* streams that its grant may have; 0: any number */
    uint64_t swept;                 /* number of the sweep that asked last */
    struct grant_count *count;
};

struct live {
    struct list entries;            /* those asked least lately first */
    struct map by_uid;
    struct tally *tally;            /* how many streams stand on each grant, on all workers */
    uint64_t sweep;                 /* number of the newest sweep wanted */
    int64_t next_ms;                /* earliest again_ms */
    void (*on_cut)(void *user, struct live_entry *entry, enum reason why);
    /* Asked for each that may stay; another reason than REASON_NONE cuts it all the same.  NULL: none. */
    enum reason (*on_stays)(void *user, struct live_entry *entry);
    void *user;
    uint64_t cuts;
};

void live_init(struct live *l, struct tally *tally, size_t streams_max,
               void (*on_cut)(void *user, struct live_entry *entry, enum reason why), void *user);
void live_deinit(struct live *l);
/* `entry->standing`, max_stale_ms and grant_limit are filled in, and were decided by `v` just
 * now.  -EDQUOT: the grant has as many as it may; -ENOSPC, -ENOMEM, -EEXIST (uid). */
MUST_CHECK int live_add(struct live *l, struct live_entry *entry, const struct view *v, int64_t now_ms);
void live_remove(struct live *l, struct live_entry *entry);
/* To another worker's set: lifted from this one, it counts on its grant all the same, and lands
 * in that one, or is put down (-ENOSPC, -ENOMEM, -EEXIST).  *ret_why: it stands no longer, as
 * that worker sees it; without a view it is asked when one comes. */
void live_lift(struct live *l, struct live_entry *entry);
MUST_CHECK int live_land(struct live *l, struct live_entry *entry, const struct view *v, int64_t now_ms,
                         enum reason *ret_why);
/* A sweep is due: after a new view, when live_next_ms() has come, and every second while the
 * configuration is older than it should be. */
void live_want_sweep(struct live *l);
/* Asks for the next slice; true: more is left, call again soon.  on_cut has to remove the
 * entry it is given. */
bool live_sweep(struct live *l, const struct view *v, const struct freshness *f, int64_t now_ms,
                uint64_t mono_now_ms);
/* When the next sweep is due by the clock alone (INT64_MAX: never). */
int64_t live_next_ms(const struct live *l);
