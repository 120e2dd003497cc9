#include "lib/policy/index_internal.h"
#include <errno.h>

/* The grants of a profile: any number, so a map and not a list. */
struct grant_set {
    unsigned refs;
    struct pmap grants;
};

static void set_ref(void *value)
{
    struct grant_set *s = value;

    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
}

static void set_unref(void *value)
{
    struct grant_set *s = value;

    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    pmap_deinit(&s->grants);
    free(s);
}

static inline void set_freep(struct grant_set **s)
{
    set_unref(*s);
}

const struct pmap_values index_profile_values = { .ref = set_ref, .unref = set_unref };

/* The grants of a subject are mostly one, and then that record itself; else a set of at least two, told
 * by the lowest bit of its pointer. */
static struct grant_set *as_set(const void *value)
{
    return (uintptr_t)value & 1 ? (struct grant_set *)((uintptr_t)value - 1) : NULL;
}

static void subject_ref(void *value)
{
    if (as_set(value))
        set_ref(as_set(value));
    else
        record_ref(value);
}

static void subject_unref(void *value)
{
    if (as_set(value))
        set_unref(as_set(value));
    else
        record_unref(value);
}

static const struct record *any_of(const struct grant_set *set)
{
    struct pmap_cursor at = { 0 };
    struct span id;
    void *grant = NULL;

    return pmap_next(&set->grants, &at, &id, &grant) ? grant : NULL;
}

static bool subject_has_key(const void *value, struct span key)
{
    const struct record *one = as_set(value) ? any_of(as_set(value)) : value;

    return span_eq(ulid_span(&RECORD_AS(one, GRANT, grant_record)->subject), key);
}

const struct pmap_values index_subject_values = {
    .ref = subject_ref, .unref = subject_unref, .has_key = subject_has_key,
};

const struct grant_record *index_next_grant(const struct policy *p, struct span subject, struct index_grants *at)
{
    void *value = at->is_over ? NULL : pmap_get(&p->grants_by, subject), *grant = value;
    struct grant_set *set = as_set(value);
    struct span id;

    if (set && !pmap_next(&set->grants, &at->cursor, &id, &grant))
        return NULL;
    at->is_over = !set;
    return RECORD_AS((const struct record *)grant, GRANT, grant_record);
}

const struct pmap *index_grants_of(const struct policy *p, struct span profile)
{
    const struct grant_set *set = pmap_get(&p->grants_of, profile);

    return set ? &set->grants : NULL;
}

/* A set like `old` (NULL: an empty one) after the change. */
static int set_with(const struct grant_set *old, bool is_add, struct record *grant,
                    struct grant_set **ret_set)
{
    AUTO(set_freep) struct grant_set *set = calloc(1, sizeof(*set));
    int r;

    if (!set)
        return -ENOMEM;
    set->refs = 1;
    if (old)
        set->grants = pmap_share(&old->grants);
    else
        pmap_init(&set->grants, &record_values);
    r = is_add ? pmap_set(&set->grants, record_id(grant), grant)
                      : pmap_unset(&set->grants, record_id(grant));
    if (!r)
        *ret_set = TAKE(set);
    return r;
}

int index_change_of_profile(struct policy *p, bool is_add, struct record *grant)
{
    AUTO(set_freep) struct grant_set *set = NULL;
    const struct grant_record *g = RECORD_AS(grant, GRANT, grant_record);
    const struct grant_set *old = pmap_get(&p->grants_of, ulid_span(&g->profile));
    int r;

    if (!is_add && old && old->grants.count == 1)
        return pmap_unset(&p->grants_of, ulid_span(&g->profile));
    r = set_with(old, is_add, grant, &set);
    return r ? r : pmap_set(&p->grants_of, ulid_span(&g->profile), set);
}

static int add_of_subject(struct policy *p, struct span subject, void *old, struct record *grant)
{
    AUTO(set_freep) struct grant_set *set = NULL;
    int r = 0;

    if (!old)
        return pmap_set(&p->grants_by, subject, grant);
    r = set_with(as_set(old), true, as_set(old) ? grant : old, &set);
    if (!r && !as_set(old))
        r = pmap_set(&set->grants, record_id(grant), grant);
    return r ? r : pmap_set(&p->grants_by, subject, (char *)set + 1);
}

static int drop_of_subject(struct policy *p, struct span subject, void *old, struct record *grant)
{
    AUTO(set_freep) struct grant_set *set = NULL;
    int r;

    if (!as_set(old))
        return pmap_unset(&p->grants_by, subject);
    r = set_with(as_set(old), false, grant, &set);
    if (r)
        return r;
    return pmap_set(&p->grants_by, subject, set->grants.count > 1 ? (char *)set + 1 : (void *)any_of(set));
}

int index_change_of_subject(struct policy *p, bool is_add, struct record *grant)
{
    struct span subject = ulid_span(&RECORD_AS(grant, GRANT, grant_record)->subject);
    void *old = pmap_get(&p->grants_by, subject);

    if (is_add)
        return add_of_subject(p, subject, old, grant);
    return old ? drop_of_subject(p, subject, old, grant) : 0;
}
