#include "controlplane/audit/keeper.h"
#include "lib/crypto/digest.h"
#include "lib/log/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REMOVED_AT_A_TIME 2000          /* a transaction: others write meanwhile */
#define REMOVALS_MAX 50                 /* transactions of a beat */
#define STEADY_IDLES 2                  /* how far the steady clock goes at most from one to the next */
#define DAY_MS (24ULL * 3600 * 1000)

struct audit_keeper {
    struct audit_keeper_options options;
    struct outside *outside;
    struct checkpoint last, next, base;
    char last_hash[SHA256_HEX];
    bool is_ending;
    _Atomic uint64_t signed_count, failures, removed, waiting;
    _Atomic int64_t newest;
};

static int take(void *ctx, const struct store_checkpoint *row)
{
    return checkpoint_read(row->doc, ctx);
}

static int take_last(void *ctx, const struct store_checkpoint *row)
{
    struct audit_keeper *k = ctx;

    sha256_hex(row->doc, k->last_hash);
    return take(&k->last, row);
}

static int load_last(struct audit_keeper *k, struct store_tx *tx)
{
    int r = store_checkpoint_before(tx, INT64_MAX, take_last, k);

    if (r != STORE_E_NOT_FOUND)
        return r;
    memset(&k->last, 0, sizeof(k->last));
    k->last_hash[0] = '\0';
    return 0;
}

/* ---- the next one ---- */

static int add_head(void *ctx, const struct store_audit_head *head)
{
    struct checkpoint *c = ctx;

    if (c->head_count == CHECKPOINT_HEADS_MAX)
        return AUDIT_KEEPER_E_WRITERS;
    c->heads[c->head_count++] = *head;
    return 0;
}

static bool has_same_heads(const struct checkpoint *a, const struct checkpoint *b)
{
    bool is_same = a->head_count == b->head_count;

    for (size_t i = 0; is_same && i < a->head_count; i++)
        is_same = a->heads[i].seq == b->heads[i].seq && !strcmp(a->heads[i].hash, b->heads[i].hash);
    return is_same;
}

static int64_t steady_after(const struct audit_keeper *k, int64_t now_ms)
{
    const int64_t most_ms = STEADY_IDLES * (int64_t)k->options.idle_ms;
    int64_t passed_ms = now_ms - k->last.at_ms;

    if (!k->last.number)
        return now_ms;
    return k->last.steady_ms + (passed_ms < 0 ? 0 : passed_ms > most_ms ? most_ms : passed_ms);
}

/* Begins with what the last one leaves as it was. */
static int begin_next(struct audit_keeper *k, struct store_tx *tx, int64_t now_ms)
{
    struct store_position at;
    int r = store_position(tx, &at);

    memset(&k->next, 0, sizeof(k->next));
    k->next.epoch = (int64_t)at.epoch;
    k->next.number = k->last.number + 1;
    k->next.at_ms = now_ms;
    k->next.steady_ms = steady_after(k, now_ms);
    k->next.removed_to = k->last.removed_to;
    snprintf(k->next.cluster, sizeof(k->next.cluster), "%s", k->options.cluster);
    snprintf(k->next.by, sizeof(k->next.by), "%s", k->options.writer);
    snprintf(k->next.prev, sizeof(k->next.prev), "%s", k->last_hash);
    return r;
}

static int note_removal(struct audit_keeper *k, struct store_tx *tx)
{
    char after[96];
    struct store_audit event = { .actor_kind = "system", .action = "audit-events.retain", .outcome = "ok",
                                 .object_kind = "audit-event" };

    snprintf(after, sizeof(after), "{\"removed_to_checkpoint\":%lld}", (long long)k->next.removed_to);
    event.after = span_str(after);
    return store_audit_append(tx, &event, NULL);
}

/* The newest checkpoint that is older than `until_ms` by the steady clock, among `low` (which is, or is
 * none) and those before `high`: halving, since neither numbers nor that clock go back. */
static int find_base(struct audit_keeper *k, struct store_tx *tx, int64_t low, int64_t high, int64_t until_ms)
{
    int r = 0;

    while (!r && high - low > 1) {
        int64_t middle = low + (high - low) / 2;

        r = store_checkpoint_get(tx, middle, take, &k->base);
        if (!r && k->base.steady_ms < until_ms)
            low = middle;
        else
            high = middle;
    }
    if (r || !low)
        return r ? r : STORE_E_NOT_FOUND;
    return store_checkpoint_get(tx, low, take, &k->base);
}

/* Whole segments, and not one each minute: a tenth of the time that they are kept, at most a day. */
static int choose_removal(struct audit_keeper *k, struct store_tx *tx)
{
    uint64_t slack_ms = k->options.keep_ms / 10 < DAY_MS ? k->options.keep_ms / 10 : DAY_MS;
    int64_t removed_ms = 0;
    int r = 0;

    if (!k->options.keep_ms)
        return 0;
    if (k->last.removed_to)
        r = store_checkpoint_get(tx, k->last.removed_to, take, &k->base);
    if (!r && k->last.removed_to)
        removed_ms = k->base.steady_ms;
    if (!r)
        r = find_base(k, tx, k->last.removed_to, k->next.number, k->next.steady_ms - (int64_t)k->options.keep_ms);
    if (r == STORE_E_NOT_FOUND)
        return 0;
    if (r || k->base.number <= k->last.removed_to || k->base.steady_ms - removed_ms < (int64_t)slack_ms)
        return r;
    k->next.removed_to = k->base.number;
    return note_removal(k, tx);
}

static bool is_due(const struct audit_keeper *k, int64_t now_ms)
{
    int64_t age_ms = now_ms - k->last.at_ms;

    if (!k->is_ending && age_ms >= 0 && age_ms < (int64_t)k->options.every_ms / 2)
        return false;                   /* another leader's, a moment ago */
    return !has_same_heads(&k->last, &k->next) || age_ms < 0 || age_ms >= (int64_t)k->options.idle_ms;
}

static int put_next(struct audit_keeper *k, struct store_tx *tx)
{
    AUTO(buf_deinit) struct buf doc, signature;
    int r;

    buf_init_heap(&doc, CHECKPOINT_DOC_MAX);
    buf_init_heap(&signature, 256);
    r = checkpoint_write(&k->next, &doc);
    if (!r)
        r = checkpoint_sign(k->options.key, buf_span(&doc), &signature);
    return r ? r : store_checkpoint_put(tx, &(struct store_checkpoint){
        k->next.number, k->next.at_ms, buf_span(&doc), buf_span(&signature) });
}

static int sign_next(struct audit_keeper *k)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int64_t now_ms = (int64_t)store_now_ms(k->options.store);
    int r = store_begin(k->options.store, STORE_WRITE, &tx);

    if (!r)
        r = load_last(k, tx);
    if (!r)
        r = begin_next(k, tx, now_ms);
    if (!r)
        r = choose_removal(k, tx);
    if (!r)
        r = store_audit_heads(tx, add_head, &k->next);
    if (r || !is_due(k, now_ms))
        return r;
    r = put_next(k, tx);
    if (!r)
        r = store_commit(&tx, NULL);
    if (r)
        return r;
    k->last = k->next;
    atomic_fetch_add(&k->signed_count, 1);
    return 0;
}

/* ---- what an earlier checkpoint lets go ---- */

static int remove_some(struct audit_keeper *k, uint64_t *ret_removed)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    uint64_t removed = 0, one;
    int r = store_begin(k->options.store, STORE_WRITE, &tx);

    for (size_t i = 0; !r && i < k->base.head_count && removed < REMOVED_AT_A_TIME; i++) {
        r = store_audit_remove(tx, &k->base.heads[i], REMOVED_AT_A_TIME - removed, &one);
        if (!r)
            removed += one;
    }
    if (!r && removed)
        r = store_commit(&tx, NULL);
    if (!r)
        *ret_removed = removed;
    return r;
}

static int load_base(struct audit_keeper *k)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int r = store_begin(k->options.store, STORE_READ, &tx);

    return r ? r : store_checkpoint_get(tx, k->last.removed_to, take, &k->base);
}

static int remove_old(struct audit_keeper *k)
{
    uint64_t removed = REMOVED_AT_A_TIME;
    int r = k->last.removed_to ? load_base(k) : 0;

    if (!k->last.removed_to)
        return 0;
    for (int i = 0; !r && i < REMOVALS_MAX && removed == REMOVED_AT_A_TIME; i++) {
        r = remove_some(k, &removed);
        if (!r)
            atomic_fetch_add(&k->removed, removed);
    }
    return r;
}

/* ---- */

int audit_keeper_beat(struct audit_keeper *k, bool leads)
{
    int r;

    if (!leads)
        return 0;
    r = sign_next(k);
    if (!r)
        r = remove_old(k);
    if (!r)
        r = outside_send(k->outside, k->options.store, k->last.number);
    atomic_store(&k->newest, k->last.number);
    atomic_store(&k->waiting, outside_waiting(k->outside));
    if (r)
        atomic_fetch_add(&k->failures, 1);
    return r;
}

int audit_keeper_finish(struct audit_keeper *k, bool leads)
{
    k->is_ending = true;
    return audit_keeper_beat(k, leads);
}

void audit_keeper_get_stats(const struct audit_keeper *k, struct audit_keeper_stats *ret_stats)
{
    *ret_stats = (struct audit_keeper_stats){
        .signed_count = atomic_load(&k->signed_count), .failures = atomic_load(&k->failures),
        .removed = atomic_load(&k->removed), .waiting = atomic_load(&k->waiting),
        .newest = atomic_load(&k->newest),
    };
}

int audit_keeper_new(const struct audit_keeper_options *options, struct audit_keeper **ret_keeper,
                     struct buf *reterr)
{
    AUTO(audit_keeper_freep) struct audit_keeper *k = calloc(1, sizeof(*k));
    int r;

    if (!k)
        return -ENOMEM;
    k->options = *options;
    r = outside_new(&options->outside, &k->outside, reterr);
    if (r)
        return r;
    *ret_keeper = TAKE(k);
    return 0;
}

void audit_keeper_free(struct audit_keeper *k)
{
    if (k->outside)
        outside_free(k->outside);
    free(k);
}
