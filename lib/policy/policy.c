#include "lib/policy/policy.h"
#include "lib/policy/index_internal.h"
#include <errno.h>

struct policy *policy_new(void)
{
    struct policy *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->refs = 1;
    index_init(p);
    return p;
}

struct policy *policy_ref(struct policy *p)
{
    __atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
    return p;
}

void policy_unref(struct policy *p)
{
    if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    index_deinit(p);
    free(p);
}

/* The index first while the old record is still found, then the record: what the index asks
 * for (the profile of a grant) is another kind. */
static int put_record(struct policy *p, struct record *r)
{
    struct record *old = pmap_get(&p->by_id[r->kind], record_id(r));
    int result;

    if (old == r)
        return 0;
    if (!old && p->by_id[r->kind].count >= POLICY_RECORDS_MAX)
        return -ENOSPC;
    result = old ? index_swap(p, old, r) : index_put(p, r);
    return result ? result : pmap_set(&p->by_id[r->kind], record_id(r), r);
}

static int remove_record(struct policy *p, enum record_kind kind, struct span id)
{
    struct record *old = pmap_get(&p->by_id[kind], id);
    int result;

    if (!old)
        return 0;
    result = index_drop(p, old);
    return result ? result : pmap_unset(&p->by_id[kind], id);
}

int policy_apply(const struct policy *base, const struct policy_change *changes, size_t n,
                 struct policy **ret_policy)
{
    AUTO(policy_unrefp) struct policy *p = policy_new();
    int r = 0;

    if (!p)
        return -ENOMEM;
    index_share(p, base);
    for (size_t i = 0; i < n && r == 0; i++) {
        const struct policy_change *c = &changes[i];

        r = c->put ? put_record(p, c->put) : remove_record(p, c->kind, c->id);
    }
    if (r)
        return r;
    *ret_policy = TAKE(p);
    return 0;
}

const struct record *policy_find(const struct policy *p, enum record_kind kind, struct span id)
{
    return pmap_get(&p->by_id[kind], id);
}

const struct record *policy_find_name(const struct policy *p, enum record_kind kind,
                                      struct span name)
{
    const struct index_key key = index_key_kind(INDEX_NAME, kind, name);
    const struct index_hits hits = index_find(p, &key);

    return hits.n ? index_hit(&hits, 0) : NULL;
}

size_t policy_count(const struct policy *p, enum record_kind kind)
{
    return p->by_id[kind].count;
}

const struct record *policy_next(const struct policy *p, enum record_kind kind,
                                 struct policy_cursor *cursor)
{
    struct span id;
    void *record;

    return pmap_next(&p->by_id[kind], &cursor->at, &id, &record) ? record : NULL;
}

struct pmap policy_records(const struct policy *p, enum record_kind kind)
{
    return pmap_share(&p->by_id[kind]);
}

struct span policy_setting(const struct policy *p, const char *name)
{
    const struct setting_record *s =
        RECORD_AS(policy_find(p, RECORD_SETTING, span_str(name)), SETTING, setting_record);

    return s ? span_str(s->value) : SPAN_NONE;
}
