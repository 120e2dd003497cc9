#include "lib/policy/index_internal.h"
#include "lib/base/hash.h"
#include <errno.h>
#include <string.h>

static void record_ref_value(void *value)
{
    record_ref(value);
}

static void record_unref_value(void *value)
{
    record_unref(value);
}

static bool record_has_id(const void *value, struct span key)
{
    return span_eq(record_id(value), key);
}

const struct pmap_values record_values = {
    .ref = record_ref_value, .unref = record_unref_value, .has_key = record_has_id,
};

/*
 * A value of the index is mostly one record, and then that record itself; else a list of at
 * least two, by id, never changed, told by the lowest bit of its pointer.
 */
struct index_list {
    unsigned refs;
    size_t n;
    struct record *items[];
};

static struct index_list *as_list(const void *value)
{
    return (uintptr_t)value & 1 ? (struct index_list *)((uintptr_t)value - 1) : NULL;
}

struct index_hits index_hits_of(void *value)
{
    const struct index_list *list = as_list(value);

    if (list)
        return (struct index_hits){ .n = list->n, .items = list->items };
    return (struct index_hits){ .n = value != NULL, .one = value };
}

static const struct record *first_of(const void *value)
{
    const struct index_list *list = as_list(value);

    return list ? list->items[0] : value;
}

static void value_ref(void *value)
{
    struct index_list *l = as_list(value);

    if (l)
        __atomic_add_fetch(&l->refs, 1, __ATOMIC_RELAXED);
    else
        record_ref(value);
}

static void value_unref(void *value)
{
    struct index_list *l = as_list(value);

    if (!l) {
        record_unref(value);
        return;
    }
    if (__atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < l->n; i++)
        record_unref(l->items[i]);
    free(l);
}

/* Records that can tell whether a key is theirs; the hosts of a profile are too many for that. */
static bool has_subject(const void *value, struct span key)
{
    return span_eq(ulid_span(&RECORD_AS(first_of(value), GRANT, grant_record)->subject), key);
}

static bool has_subject_and_profile(const void *value, struct span key)
{
    const struct grant_record *g = RECORD_AS(first_of(value), GRANT, grant_record);

    return span_eq(ulid_span(&g->subject), span_first(key, ULID_LEN)) &&
           span_eq(ulid_span(&g->profile), span_skip(key, ULID_LEN));
}

static bool has_hash(const void *value, struct span key)
{
    return span_eq(span_str(RECORD_AS(first_of(value), CREDENTIAL, credential_record)->hash), key);
}

static bool has_name(const void *value, struct span key)
{
    const struct record *r = first_of(value);

    return key.p[0] == (char)r->kind && span_eq(span_str(record_name(r)), span_skip(key, 1));
}

static uint64_t hash_grant(struct span key)
{
    return index_hash_grant(hash_bytes(span_first(key, ULID_LEN)), hash_bytes(span_skip(key, ULID_LEN)));
}

#define INDEX_VALUES(has_key_) { .ref = value_ref, .unref = value_unref, .has_key = (has_key_) }
static const struct pmap_values index_values[INDEX_COUNT] = {
    [INDEX_NAME] = INDEX_VALUES(has_name),
    [INDEX_HOST] = INDEX_VALUES(NULL),
    [INDEX_SUFFIX] = INDEX_VALUES(NULL),
    [INDEX_CIDR] = INDEX_VALUES(NULL),
    [INDEX_GRANT] = { .ref = value_ref, .unref = value_unref, .hash = hash_grant,
                      .has_key = has_subject_and_profile },
    [INDEX_WHOLE] = INDEX_VALUES(has_subject),
    [INDEX_RESOLVED] = INDEX_VALUES(has_subject),
    [INDEX_HASH] = INDEX_VALUES(has_hash),
    [INDEX_OVER_HOST] = INDEX_VALUES(NULL),
    [INDEX_OVER_SUFFIX] = INDEX_VALUES(NULL),
    [INDEX_LOCK] = INDEX_VALUES(NULL),
    [INDEX_LOCK_CIDR] = INDEX_VALUES(NULL),
    [INDEX_CUT] = INDEX_VALUES(NULL),
    [INDEX_QUOTA] = INDEX_VALUES(NULL),
};

void index_init(struct policy *p)
{
    for (enum record_kind k = 0; k < RECORD_KIND_COUNT; k++)
        pmap_init(&p->by_id[k], &record_values);
    for (enum index_tag t = 0; t < INDEX_COUNT; t++)
        pmap_init(&p->index[t], &index_values[t]);
    pmap_init(&p->grants_of, &index_profile_values);
    pmap_init(&p->grants_by, &index_subject_values);
}

void index_share(struct policy *to, const struct policy *from)
{
    /* All but `refs`, which other threads count on meanwhile. */
    memcpy(to->profile_prefixes, from->profile_prefixes, sizeof(to->profile_prefixes));
    memcpy(to->lock_prefixes, from->lock_prefixes, sizeof(to->lock_prefixes));
    memcpy(to->locks, from->locks, sizeof(to->locks));
    memcpy(to->quotas, from->quotas, sizeof(to->quotas));
    to->refs = 1;
    for (enum record_kind k = 0; k < RECORD_KIND_COUNT; k++)
        to->by_id[k] = pmap_share(&from->by_id[k]);
    for (enum index_tag t = 0; t < INDEX_COUNT; t++)
        to->index[t] = pmap_share(&from->index[t]);
    to->grants_of = pmap_share(&from->grants_of);
    to->grants_by = pmap_share(&from->grants_by);
}

void index_deinit(struct policy *p)
{
    for (enum record_kind k = 0; k < RECORD_KIND_COUNT; k++)
        pmap_deinit(&p->by_id[k]);
    for (enum index_tag t = 0; t < INDEX_COUNT; t++)
        pmap_deinit(&p->index[t]);
    pmap_deinit(&p->grants_of);
    pmap_deinit(&p->grants_by);
}

static void key_add(struct index_key *key, const void *bytes, size_t n)
{
    if (n > sizeof(key->bytes) - key->n)
        n = sizeof(key->bytes) - key->n;        /* parts are bounded below this */
    if (n)
        memcpy(key->bytes + key->n, bytes, n);
    key->n += n;
}

struct index_key index_key(enum index_tag tag, struct span a, struct span b)
{
    struct index_key key;

    key.tag = tag;
    key.n = 0;
    key_add(&key, a.p, a.n);
    key_add(&key, b.p, b.n);
    return key;
}

struct index_key index_key_kind(enum index_tag tag, unsigned kind, struct span id)
{
    char byte = (char)kind;

    return index_key(tag, span_of(&byte, 1), id);
}

void index_cidr_bytes(const struct addr *addr, unsigned bits, char dst[INDEX_CIDR_KEY])
{
    memset(dst, 0, INDEX_CIDR_KEY);
    dst[0] = (char)bits;
    memcpy(dst + 1, addr->ip, bits / 8);
    if (bits % 8)
        dst[1 + bits / 8] = (char)(addr->ip[bits / 8] & (unsigned char)(0xff00 >> (bits % 8)));
}

struct index_key index_key_cidr(enum index_tag tag, const struct addr *addr, unsigned bits)
{
    char masked[INDEX_CIDR_KEY];

    index_cidr_bytes(addr, bits, masked);
    return index_key(tag, span_of(masked, sizeof(masked)), SPAN_NONE);
}

static struct span key_span(const struct index_key *key)
{
    return span_of(key->bytes, key->n);
}

struct index_hits index_find(const struct policy *p, const struct index_key *key)
{
    const struct pmap *m = &p->index[key->tag];

    return index_hits_of(m->count ? pmap_get(m, key_span(key)) : NULL);
}

static bool hits_have(const struct index_hits *hits, const struct record *r)
{
    for (size_t i = 0; i < hits->n; i++) {
        if (index_hit(hits, i) == r)
            return true;
    }
    return false;
}

static void list_push(struct index_list *l, const struct record *r)
{
    l->items[l->n++] = record_ref((struct record *)r);
}

/* A value like `old` with `put` in its place by id; NULL: out of memory. */
static void *value_with(const struct index_hits *old, struct record *put)
{
    struct index_list *l;

    if (old->n == 0)
        return record_ref(put);
    l = malloc(sizeof(*l) + (old->n + 1) * sizeof(l->items[0]));
    if (!l)
        return NULL;
    l->refs = 1;
    l->n = 0;
    for (size_t i = 0; i < old->n; i++) {
        if (put && strcmp(put->id, index_hit(old, i)->id) < 0)
            list_push(l, TAKE(put));
        list_push(l, index_hit(old, i));
    }
    if (put)
        list_push(l, put);
    return (char *)l + 1;
}

/* A value like `old`, which has at least two, without `gone`; NULL: out of memory. */
static void *value_without(const struct index_hits *old, const struct record *gone)
{
    struct index_list *l;

    if (old->n == 2)
        return record_ref((struct record *)index_hit(old, index_hit(old, 0) == gone));
    l = malloc(sizeof(*l) + (old->n - 1) * sizeof(l->items[0]));
    if (!l)
        return NULL;
    l->refs = 1;
    l->n = 0;
    for (size_t i = 0; i < old->n; i++) {
        if (index_hit(old, i) != gone)
            list_push(l, index_hit(old, i));
    }
    return (char *)l + 1;
}

/* Takes over the reference on `value`. */
static int set_value(struct policy *p, const struct index_key *key, void *value)
{
    int r = value ? pmap_set(&p->index[key->tag], key_span(key), value) : -ENOMEM;

    if (value)
        value_unref(value);
    return r;
}

static int add(struct policy *p, struct index_key key, struct record *r)
{
    const struct index_hits old = index_find(p, &key);

    return hits_have(&old, r) ? 0 : set_value(p, &key, value_with(&old, r));
}

static int drop(struct policy *p, struct index_key key, struct record *r)
{
    const struct index_hits old = index_find(p, &key);

    if (!hits_have(&old, r))
        return 0;
    if (old.n == 1)
        return pmap_unset(&p->index[key.tag], key_span(&key));
    return set_value(p, &key, value_without(&old, r));
}

/* One function for both ways, so that what is put is what is dropped. */
typedef int index_change(struct policy *p, struct index_key key, struct record *r);

static int change_host(struct policy *p, index_change *change, const struct host_pattern *host,
                       struct record *r)
{
    switch (host->kind) {
    case HOST_EXACT:
        return change(p, index_key(INDEX_HOST, span_str(host->text), SPAN_NONE), r);
    case HOST_SUFFIX:
        return change(p, index_key(INDEX_SUFFIX, span_str(host->text), SPAN_NONE), r);
    case HOST_CIDR:
        p->profile_prefixes[host->cidr.bits] += change == add ? 1 : UINT32_MAX;
        return change(p, index_key_cidr(INDEX_CIDR, &host->cidr.base, host->cidr.bits), r);
    case HOST_ANY:
    case HOST_GLOB:
    case HOST_UNIX:
    default:
        return -EINVAL;
    }
}

static int change_hosts(struct policy *p, index_change *change, struct record *r)
{
    const struct profile_record *profile = RECORD_AS(r, PROFILE, profile_record);
    int result = 0;

    for (size_t i = 0; i < profile->host_count && result == 0; i++)
        result = change_host(p, change, &profile->hosts[i], r);
    return result;
}

static int change_resolved(struct policy *p, index_change *change, struct record *grant)
{
    const struct grant_record *g = RECORD_AS(grant, GRANT, grant_record);

    return change(p, index_key(INDEX_RESOLVED, ulid_span(&g->subject), SPAN_NONE), grant);
}

/* All grants of a profile enter or leave the index of match_resolved. */
static int change_resolved_of(struct policy *p, index_change *change, const struct record *profile)
{
    const struct pmap *grants = index_grants_of(p, record_id(profile));
    struct pmap_cursor at = { 0 };
    struct span id;
    void *grant;
    int r = 0;

    if (!RECORD_AS(profile, PROFILE, profile_record)->match_resolved || !grants)
        return 0;
    while (r == 0 && pmap_next(grants, &at, &id, &grant))
        r = change_resolved(p, change, grant);
    return r;
}

static int change_grant(struct policy *p, index_change *change, struct record *r)
{
    const struct grant_record *g = RECORD_AS(r, GRANT, grant_record);
    const struct profile_record *profile;
    int result = index_change_of_subject(p, change == add, r);

    if (!result && !g->profile.text[0])
        return change(p, index_key(INDEX_WHOLE, ulid_span(&g->subject), SPAN_NONE), r);
    if (!result)
        result = change(p, index_key(INDEX_GRANT, ulid_span(&g->subject), ulid_span(&g->profile)), r);
    if (result == 0)
        result = index_change_of_profile(p, change == add, r);
    profile = policy_profile(p, &g->profile);
    if (result == 0 && profile && profile->match_resolved)
        result = change_resolved(p, change, r);
    return result;
}

static int change_credential(struct policy *p, index_change *change, struct record *r)
{
    const struct credential_record *c = RECORD_AS(r, CREDENTIAL, credential_record);

    return change(p, index_key(INDEX_HASH, span_str(c->hash), SPAN_NONE), r);
}

static int change_override(struct policy *p, index_change *change, struct record *r)
{
    const struct override_record *o = RECORD_AS(r, OVERRIDE, override_record);
    bool is_suffix = o->host.kind == HOST_SUFFIX;

    if (!is_suffix && o->host.kind != HOST_EXACT)
        return -EINVAL;
    return change(p, index_key(is_suffix ? INDEX_OVER_SUFFIX : INDEX_OVER_HOST,
                               span_str(o->host.text), SPAN_NONE), r);
}

static int change_lock(struct policy *p, index_change *change, struct record *r)
{
    const struct lock_record *l = RECORD_AS(r, LOCK, lock_record);
    uint32_t one = change == add ? 1 : UINT32_MAX;

    p->locks[l->lock_kind] += one;
    if (l->lock_kind != LOCK_ADDRESS)
        return change(p, index_key_kind(INDEX_LOCK, l->lock_kind, ulid_span(&l->target)), r);
    p->lock_prefixes[l->address.bits] += one;
    return change(p, index_key_cidr(INDEX_LOCK_CIDR, &l->address.base, l->address.bits), r);
}

static int change_cut(struct policy *p, index_change *change, struct record *r)
{
    const struct cut_record *c = RECORD_AS(r, CUT, cut_record);

    return change(p, index_key_kind(INDEX_CUT, c->cut_kind, span_str(c->target)), r);
}

static int change_quota(struct policy *p, index_change *change, struct record *r)
{
    const struct quota_record *q = RECORD_AS(r, QUOTA, quota_record);

    p->quotas[q->scope] += change == add ? 1 : UINT32_MAX;
    return change(p, index_key_kind(INDEX_QUOTA, q->scope, ulid_span(&q->target)), r);
}

static int change_name(struct policy *p, index_change *change, struct record *r)
{
    const char *name = record_name(r);

    return name ? change(p, index_key_kind(INDEX_NAME, r->kind, span_str(name)), r) : 0;
}

typedef int kind_change(struct policy *p, index_change *change, struct record *r);
static kind_change *const by_kind[RECORD_KIND_COUNT] = {
    [RECORD_PROFILE] = change_hosts,
    [RECORD_GRANT] = change_grant,
    [RECORD_CREDENTIAL] = change_credential,
    [RECORD_OVERRIDE] = change_override,
    [RECORD_LOCK] = change_lock,
    [RECORD_CUT] = change_cut,
    [RECORD_QUOTA] = change_quota,
};

static int change_record(struct policy *p, index_change *change, struct record *r)
{
    int result = change_name(p, change, r);

    if (result == 0 && by_kind[r->kind])
        result = by_kind[r->kind](p, change, r);
    return result;
}

int index_put(struct policy *p, struct record *r)
{
    int result = change_record(p, add, r);

    if (result == 0 && r->kind == RECORD_PROFILE)
        result = change_resolved_of(p, add, r);
    return result;
}

int index_drop(struct policy *p, struct record *r)
{
    int result = change_record(p, drop, r);

    if (result == 0 && r->kind == RECORD_PROFILE)
        result = change_resolved_of(p, drop, r);
    return result;
}

/* A profile that stays match_resolved leaves the index of its grants alone. */
int index_swap(struct policy *p, struct record *from, struct record *to)
{
    int result = change_record(p, drop, from);

    if (result == 0)
        result = change_record(p, add, to);
    if (result || to->kind != RECORD_PROFILE ||
        RECORD_AS(from, PROFILE, profile_record)->match_resolved ==
            RECORD_AS(to, PROFILE, profile_record)->match_resolved)
        return result;
    result = change_resolved_of(p, drop, from);
    return result ? result : change_resolved_of(p, add, to);
}
