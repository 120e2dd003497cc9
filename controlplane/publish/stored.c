#include "controlplane/publish/stored.h"
#include "controlplane/publish/publish_internal.h"

#include <errno.h>

void stored_changed_deinit(struct stored_changed *changed)
{
    free(changed->items);
    *changed = (struct stored_changed){ 0 };
}

static int load(struct store_tx *tx, struct policy **ret_policy)
{
    AUTO(batch_deinit) struct batch b;
    AUTO(policy_unrefp) struct policy *empty = policy_new();
    int r;

    batch_init(&b, true);
    if (!empty)
        return -ENOMEM;
    r = store_state_each(tx, batch_add, &b);
    return r ? r : batch_apply(&b, empty, ret_policy);
}

static int tell_changed(const struct batch *b, struct stored_changed *changed)
{
    changed->items = calloc(b->count + 1, sizeof(*changed->items));
    if (!changed->items)
        return -ENOMEM;
    for (size_t i = 0; i < b->count; i++) {
        struct compare_changed *one = &changed->items[changed->count++];

        one->kind = b->changes[i].kind;
        if (!span_copy(span_str(b->ids[i].text), one->id.text, sizeof(one->id.text)))
            changed->count--;           /* a setting: it has a name, and decides nothing */
    }
    return 0;
}

static int lead_on(struct store_tx *tx, const struct policy *base, uint64_t revision, struct policy **ret_policy,
                   struct stored_changed *ret_changed)
{
    AUTO(batch_deinit) struct batch b;
    int r;

    batch_init(&b, false);
    r = store_state_changes(tx, revision, batch_add, &b);
    if (!r)
        r = batch_apply(&b, base, ret_policy);
    return r || !ret_changed ? r : tell_changed(&b, ret_changed);
}

int stored_policy(struct store_tx *tx, const struct policy *base, const struct store_position *at,
                  struct policy **ret_policy, struct stored_changed *ret_changed)
{
    struct store_position now;
    int r = store_position(tx, &now);

    if (r)
        return r;
    if (!base || at->epoch != now.epoch || at->revision > now.revision)
        return load(tx, ret_policy);
    r = lead_on(tx, base, at->revision, ret_policy, ret_changed);
    return r == STORE_E_NOT_FOUND ? load(tx, ret_policy) : r;
}
