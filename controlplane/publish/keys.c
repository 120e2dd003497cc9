#include "controlplane/publish/publish_internal.h"
#include "controlplane/publish/rotation.h"

#include <string.h>

#define RESIGNED_AT_ONCE 200            /* policies of agents in one delta, beside what has changed */

bool publish_is_known(const struct publisher *p, struct span document)
{
    struct state_error ignored;
    struct document d;

    return !document_cut(&document, &d, &ignored) && keyring_knows(p->options.keys, d.key_id);
}

/* What a key has signed that has ended is served to nobody: who is behind gets the snapshot. */
static void drop_unknown(struct publisher *p)
{
    const struct chain_of_deltas *c = &p->deltas;
    const struct delta *first = list_is_empty(&c->deltas) ? NULL : container_of(list_first(&c->deltas), struct delta, node);

    pthread_mutex_lock(&p->lock);
    if (first && !publish_is_known(p, span_of(first->document, first->len)))
        deltas_clear(&p->deltas);
    if (p->snapshot.len && !publish_is_known(p, buf_span(&p->snapshot)))
        p->snapshot_at = STATE_POSITION_NONE;   /* another is due with the next step */
    pthread_mutex_unlock(&p->lock);
}

static bool is_current(const struct publisher *p, const struct agentpolicy_record *record)
{
    struct span text = span_str(record->document);
    struct state_error ignored;
    struct document d;

    return !document_cut(&text, &d, &ignored) && strcmp(d.key_id, keyring_state_id(p->options.keys)) == 0;
}

int publish_stale(struct publisher *p, const struct policy *policy, struct touched *t)
{
    struct policy_cursor cursor = { 0 };
    const struct record *each;
    size_t found = 0;
    int r = 0;

    while (p->is_resigning && !r && found < RESIGNED_AT_ONCE &&
           (each = policy_next(policy, RECORD_AGENTPOLICY, &cursor))) {
        struct ulid id;

        if (is_current(p, RECORD_AS(each, AGENTPOLICY, agentpolicy_record)) || !ulid_parse(record_id(each), &id))
            continue;
        found++;
        r = touched_add(t, &id);
    }
    if (!r && !found)
        p->is_resigning = false;
    return r;
}

int publish_fresh(struct publisher *p, struct store_tx *tx)
{
    bool has_changed = false;
    int r = rotation_refresh(tx, p->options.keys, &has_changed);

    if (!r && has_changed) {
        p->is_resigning = true;
        drop_unknown(p);
    }
    return r;
}

static int read_keys(struct publisher *p)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int r = store_begin(p->options.store, STORE_READ, &tx);

    return r ? r : publish_fresh(p, tx);
}

/* Whether a step is due, without a lock. */
static int look(struct publisher *p, bool *ret_is_due)
{
    static const char *const purposes[] = { "state", "credential" };
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int64_t now_ms = (int64_t)store_now_ms(p->options.store);
    int r = store_begin(p->options.store, STORE_READ, &tx);

    *ret_is_due = false;
    for (size_t i = 0; !r && i < ARRAY_LEN(purposes); i++) {
        struct rotation plan;

        r = rotation_get(tx, purposes[i], &plan);
        *ret_is_due |= !r && plan.activate_ms && now_ms >= plan.activate_ms;
    }
    return r;
}

static int lead_on(struct publisher *p)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    bool has_changed = false, is_due;
    int r = look(p, &is_due);

    if (r || !is_due)
        return r;
    r = store_begin(p->options.store, STORE_WRITE, &tx);
    if (!r)
        r = rotation_step(tx, p->options.keys, !p->is_resigning, &has_changed);
    return r || !has_changed ? r : store_commit(&tx, NULL);
}

int publish_keys(struct publisher *p)
{
    int r = p->leads ? lead_on(p) : 0;

    return publish_errno(p, r ? r : read_keys(p));
}
