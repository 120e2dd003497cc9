#include "controlplane/routes/refusals.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define HOUR_MS 3600000ULL

struct tally {
    uint64_t count;
    int64_t first_ms, last_ms;
};

struct row {
    struct map_node node;
    struct list link;                   /* in its share, or in a batch */
    struct share *share;
    enum reason reason;
    struct tally tally;
    bool is_others;                     /* of a code alone: in no map */
    const char *action, *object_kind;
    char key[160], actor_kind[16], actor_id[ULID_LEN + 1], actor_name[254], token_id[ULID_LEN + 1];
    char address[ADDR_TEXT_MAX], object_id[ULID_LEN + 1], object_name[64], trace_id[33];
};

/* Strangers', or everybody else's. */
struct share {
    struct map map;
    struct list rows;                   /* the oldest first */
    struct tally others[REASON_COUNT];
    uint64_t leave;                     /* events that may be written, times HOUR_MS */
    uint64_t at_ms;                     /* when that was reckoned */
};

enum { STRANGERS, KNOWN, SHARES };

struct refusals {
    struct refusals_options options;
    pthread_mutex_t lock;               /* all below */
    struct share shares[SHARES];
    struct refusals_stats stats;
};

static uint64_t now_ms(const struct refusals *r)
{
    return store_now_ms(r->options.store);
}

static void tally_add(struct tally *t, const struct tally *more)
{
    if (!t->count || more->first_ms < t->first_ms)
        t->first_ms = more->first_ms;
    if (more->last_ms > t->last_ms)
        t->last_ms = more->last_ms;
    t->count += more->count;
}

/* ---- noting ---- */

static struct row *row_new(const struct refusal *what)
{
    const struct store_audit *e = &what->event;
    struct row *row = calloc(1, sizeof(*row));

    if (!row)
        return NULL;
    list_init(&row->link);
    row->reason = what->reason;
    row->action = e->action;
    snprintf(row->actor_kind, sizeof(row->actor_kind), "%s", e->actor_kind);
    snprintf(row->key, sizeof(row->key), "%d %s:" SPAN_FMT " %s", (int)what->reason, e->actor_kind,
             SPAN_ARG(what->is_known ? e->actor_id : what->source), e->action);
    return row;
}

/* Of several tokens, addresses, objects under one row the last one is told. */
static void row_touch(struct row *row, const struct store_audit *e)
{
    (void)span_copy(e->actor_id, row->actor_id, sizeof(row->actor_id));
    (void)span_copy(e->actor_name, row->actor_name, sizeof(row->actor_name));
    (void)span_copy(e->token_id, row->token_id, sizeof(row->token_id));
    (void)span_copy(e->address, row->address, sizeof(row->address));
    (void)span_copy(e->object_id, row->object_id, sizeof(row->object_id));
    (void)span_copy(e->object_name, row->object_name, sizeof(row->object_name));
    (void)span_copy(span_str(e->trace_id), row->trace_id, sizeof(row->trace_id));
    row->object_kind = e->object_kind;
}

static void row_free(struct row *row)
{
    list_remove(&row->link);
    free(row);
}
DEFINE_FREEP(row, row_free)

static void fold(struct refusals *r, struct share *share, enum reason reason, const struct tally *tally)
{
    r->stats.folded += tally->count;
    tally_add(&share->others[reason], tally);
}

/* The share's row of that key, `row` or the one that was there; NULL: there is no room. */
static struct row *keep_row(struct share *share, struct row *row)
{
    struct map_node *found = map_find(&share->map, span_str(row->key));

    if (found)
        return container_of(found, struct row, node);
    if (map_insert(&share->map, &row->node, span_str(row->key)))
        return NULL;
    row->share = share;
    list_append(&share->rows, &row->link);
    return row;
}

void refusals_note(struct refusals *r, const struct refusal *what)
{
    struct share *share = &r->shares[what->is_known ? KNOWN : STRANGERS];
    int64_t now = (int64_t)now_ms(r);
    const struct tally tally = what->count ? (struct tally){ what->count, what->first_ms, what->last_ms }
                                           : (struct tally){ 1, now, now };
    struct row *made = row_new(what), *row;

    pthread_mutex_lock(&r->lock);
    r->stats.waiting += tally.count;
    row = made ? keep_row(share, made) : NULL;
    if (row) {
        row_touch(row, &what->event);
        tally_add(&row->tally, &tally);
    } else {
        fold(r, share, what->reason, &tally);
    }
    pthread_mutex_unlock(&r->lock);
    if (made && made != row)
        row_free(made);
}

/* ---- flushing ---- */

/* With the lock held: how many events the share may write. */
static uint64_t leave_of(const struct refusals *r, struct share *share)
{
    uint64_t now = now_ms(r), full = r->options.per_hour * HOUR_MS;
    uint64_t passed_ms = now > share->at_ms ? now - share->at_ms : 0;

    share->at_ms = now;
    share->leave += (passed_ms < HOUR_MS ? passed_ms : HOUR_MS) * r->options.per_hour;
    if (share->leave > full)
        share->leave = full;
    return share->leave / HOUR_MS;
}

static void take_row(struct share *share, struct row *row, struct list *batch)
{
    map_remove(&share->map, &row->node);
    list_remove(&row->link);
    list_append(batch, &row->link);
}

/* False without memory: told the next time. */
static bool take_others(struct refusals *r, struct share *share, enum reason reason, struct list *batch)
{
    const char *who = share == &r->shares[STRANGERS] ? "anonymous" : "others";
    struct row *row = row_new(&(struct refusal){ reason, .event = { .actor_kind = who, .action = "others" } });

    if (!row)
        return false;
    row->share = share;
    row->is_others = true;
    row->tally = share->others[reason];
    share->others[reason] = (struct tally){ 0 };
    list_append(batch, &row->link);
    return true;
}

/* The code that has waited longest; REASON_COUNT: none waits. */
static enum reason oldest_others(const struct share *share)
{
    enum reason oldest = REASON_COUNT;

    for (enum reason reason = 0; reason < REASON_COUNT; reason++)
        if (share->others[reason].count &&
            (oldest == REASON_COUNT || share->others[reason].first_ms < share->others[oldest].first_ms))
            oldest = reason;
    return oldest;
}

/* With the lock held.  What waited without a row goes first, so that each code is told in time. */
static void take_share(struct refusals *r, struct share *share, bool is_last, struct list *batch)
{
    uint64_t had = is_last ? UINT64_MAX : leave_of(r, share), left = had;
    enum reason reason;

    while (left && (reason = oldest_others(share)) != REASON_COUNT && take_others(r, share, reason, batch))
        left--;
    LIST_EACH(&share->rows, link) {
        struct row *row = container_of(link, struct row, link);

        if (left) {
            left--;
            take_row(share, row, batch);
            continue;
        }
        fold(r, share, row->reason, &row->tally);
        map_remove(&share->map, &row->node);
        row_free(row);
    }
    if (!is_last)
        share->leave -= (had - left) * HOUR_MS;
}

static int write_row(struct store_tx *tx, const struct row *row)
{
    struct store_audit event = {
        .actor_kind = row->actor_kind,
        .actor_id = span_str(row->actor_id),
        .actor_name = span_str(row->actor_name),
        .token_id = span_str(row->token_id),
        .address = span_str(row->address),
        .action = row->action,
        .object_kind = row->object_kind,
        .object_id = span_str(row->object_id),
        .object_name = span_str(row->object_name),
        .outcome = reason_text(row->reason),
        .trace_id = row->trace_id,
        .count = row->tally.count,
        .first_ms = row->tally.first_ms,
        .last_ms = row->tally.last_ms,
    };

    return store_audit_append(tx, &event, NULL);
}

static int write_batch(struct refusals *r, const struct list *batch)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int e = store_begin(r->options.store, STORE_WRITE, &tx);

    LIST_EACH(batch, link)
        e = e ? e : write_row(tx, container_of(link, struct row, link));
    return e ? e : store_commit(&tx, NULL);
}

/* With the lock held: as if it had not been taken. */
static void put_back(struct refusals *r, struct row *row)
{
    struct share *share = row->share;
    struct row *kept;

    share->leave += HOUR_MS;
    list_remove(&row->link);
    kept = row->is_others ? NULL : keep_row(share, row);
    if (kept == row)
        return;
    if (kept)
        tally_add(&kept->tally, &row->tally);
    else if (row->is_others)
        tally_add(&share->others[row->reason], &row->tally);
    else
        fold(r, share, row->reason, &row->tally);
    row_free(row);
}

static void settle(struct refusals *r, struct list *batch, bool is_written)
{
    pthread_mutex_lock(&r->lock);
    LIST_EACH(batch, link) {
        struct row *row = container_of(link, struct row, link);

        if (!is_written) {
            put_back(r, row);
            continue;
        }
        r->stats.written++;
        r->stats.waiting -= row->tally.count;
        row_free(row);
    }
    pthread_mutex_unlock(&r->lock);
}

int refusals_flush(struct refusals *r, bool is_last)
{
    struct list batch;
    int e;

    list_init(&batch);
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < SHARES; i++)
        take_share(r, &r->shares[i], is_last, &batch);
    pthread_mutex_unlock(&r->lock);
    if (list_is_empty(&batch))
        return 0;
    e = write_batch(r, &batch);
    settle(r, &batch, !e);
    return e;
}

/* ---- life ---- */

void refusals_get_stats(struct refusals *r, struct refusals_stats *ret_stats)
{
    pthread_mutex_lock(&r->lock);
    *ret_stats = r->stats;
    pthread_mutex_unlock(&r->lock);
}

int refusals_new(const struct refusals_options *options, struct refusals **ret_refusals)
{
    struct refusals *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    r->options = *options;
    pthread_mutex_init(&r->lock, NULL);
    for (size_t i = 0; i < SHARES; i++) {
        map_init(&r->shares[i].map, options->rows_max);
        list_init(&r->shares[i].rows);
        r->shares[i].at_ms = now_ms(r);
        r->shares[i].leave = options->per_hour * HOUR_MS;
    }
    *ret_refusals = r;
    return 0;
}

void refusals_free(struct refusals *r)
{
    for (size_t i = 0; i < SHARES; i++) {
        LIST_EACH(&r->shares[i].rows, link)
            row_free(container_of(link, struct row, link));
        map_deinit(&r->shares[i].map);
    }
    pthread_mutex_destroy(&r->lock);
    free(r);
}
