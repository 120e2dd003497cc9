#include "dataplane/policy/live.h"
#include <errno.h>

void live_init(struct live *l, struct tally *tally, size_t streams_max,
               void (*on_cut)(void *user, struct live_entry *entry, enum reason why), void *user)
{
    *l = (struct live){ .tally = tally, .on_cut = on_cut, .user = user, .next_ms = INT64_MAX };
    list_init(&l->entries);
    map_init(&l->by_uid, streams_max);
}

void live_deinit(struct live *l)
{
    map_deinit(&l->by_uid);
}

static void note_next(struct live *l, const struct live_entry *entry)
{
    if (entry->again_ms < l->next_ms)
        l->next_ms = entry->again_ms;
}

static int enter(struct live *l, struct live_entry *entry)
{
    int r = map_insert(&l->by_uid, &entry->by_uid, span_str(entry->standing.uid));

    if (r) {
        tally_put_grant(l->tally, TAKE(entry->count));
        return r;
    }
    entry->swept = l->sweep;
    list_append(&l->entries, &entry->node);
    return 0;
}

int live_land(struct live *l, struct live_entry *entry, const struct view *v, int64_t now_ms, enum reason *ret_why)
{
    int r = enter(l, entry);

    if (r)
        return r;
    *ret_why = v ? policy_still_allowed(v->policy, &entry->standing, now_ms, &entry->again_ms) : REASON_NONE;
    note_next(l, entry);
    return 0;
}

int live_add(struct live *l, struct live_entry *entry, const struct view *v, int64_t now_ms)
{
    enum reason why;                /* decided by the same view: it is asked for the time alone */
    int r = tally_take_grant(l->tally, &entry->standing.grant, entry->grant_limit, &entry->count);

    return r ? r : live_land(l, entry, v, now_ms, &why);
}

void live_lift(struct live *l, struct live_entry *entry)
{
    list_remove(&entry->node);
    map_remove(&l->by_uid, &entry->by_uid);
}

void live_remove(struct live *l, struct live_entry *entry)
{
    if (!entry->count)
        return;
    live_lift(l, entry);
    tally_put_grant(l->tally, TAKE(entry->count));
}

void live_want_sweep(struct live *l)
{
    l->sweep++;
    l->next_ms = INT64_MAX;                 /* found anew by the sweep */
}

int64_t live_next_ms(const struct live *l)
{
    return l->next_ms;
}

static enum reason ask(struct live_entry *entry, const struct view *v, const struct freshness *f,
                       int64_t now_ms, uint64_t mono_now_ms)
{
    if (entry->max_stale_ms && freshness_is_stale(f, mono_now_ms, entry->max_stale_ms))
        return REASON_STALE_CONFIG;
    return policy_still_allowed(v->policy, &entry->standing, now_ms, &entry->again_ms);
}

bool live_sweep(struct live *l, const struct view *v, const struct freshness *f, int64_t now_ms,
                uint64_t mono_now_ms)
{
    for (size_t i = 0; i < LIVE_SLICE; i++) {
        struct list *first = list_first(&l->entries);
        struct live_entry *entry = first ? container_of(first, struct live_entry, node) : NULL;
        enum reason why;

        if (!entry || entry->swept == l->sweep)
            return false;

        entry->swept = l->sweep;
        list_remove(first);
        list_append(&l->entries, first);
        why = ask(entry, v, f, now_ms, mono_now_ms);
        if (why == REASON_NONE && l->on_stays)
            why = l->on_stays(l->user, entry);
        if (why == REASON_NONE) {
            note_next(l, entry);
            continue;
        }
        l->cuts++;
        l->on_cut(l->user, entry, why);
    }
    return true;
}
