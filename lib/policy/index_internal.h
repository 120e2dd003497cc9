#pragma once
#include "lib/base/pmap.h"
#include "lib/policy/policy.h"
/*
 * index_internal.h - how a policy finds the few records that a question is about.
 *
 * For each question a persistent map from its keys to short lists of records, sorted by id
 * (one map for all would be deeper, and asked in vain where there is nothing to find), and
 * for each profile the set of its grants.  Inside lib/policy only.
 *
 * Threads    as policy.h.
 */
#define ADDR_BITS 128

enum index_tag {
    INDEX_NAME,                 /* kind, name */
    INDEX_HOST,                 /* exact host of profiles */
    INDEX_SUFFIX,               /* suffix of profiles */
    INDEX_CIDR,                 /* prefix of profiles */
    INDEX_GRANT,                /* subject, profile */
    INDEX_WHOLE,                /* subject: grants on whole agent groups */
    INDEX_RESOLVED,             /* subject: grants on match_resolved profiles */
    INDEX_HASH,                 /* keyed hash of credentials */
    INDEX_OVER_HOST,            /* exact host of overrides */
    INDEX_OVER_SUFFIX,
    INDEX_LOCK,                 /* lock kind, ULID */
    INDEX_LOCK_CIDR,
    INDEX_CUT,                  /* cut kind, target */
    INDEX_QUOTA,                /* scope, ULID */
    INDEX_COUNT
};

struct index_key {
    enum index_tag tag;
    size_t n;
    char bytes[1 + 254 + 64];
};

/* What a question finds, by id. */
struct index_hits {
    size_t n;
    const struct record *one;           /* of n = 1 */
    struct record *const *items;        /* NULL: there is one */
};
static inline const struct record *index_hit(const struct index_hits *hits, size_t i)
{
    return hits->items ? hits->items[i] : hits->one;
}

struct policy {
    unsigned refs;
    struct pmap by_id[RECORD_KIND_COUNT];
    struct pmap index[INDEX_COUNT];
    struct pmap grants_of;      /* profile id → set of grants */
    struct pmap grants_by;      /* subject → its grants, see index_next_grant() */
    uint32_t profile_prefixes[ADDR_BITS + 1];   /* how many CIDR hosts have that length */
    uint32_t lock_prefixes[ADDR_BITS + 1];
    uint32_t locks[LOCK_ADDRESS + 1];
    uint32_t quotas[QUOTA_ALL + 1];
};

extern const struct pmap_values record_values;

struct index_key index_key(enum index_tag tag, struct span a, struct span b);
struct index_key index_key_cidr(enum index_tag tag, const struct addr *addr, unsigned bits);
struct index_key index_key_kind(enum index_tag tag, unsigned kind, struct span id);
struct index_hits index_find(const struct policy *p, const struct index_key *key);
struct index_hits index_hits_of(void *value);   /* of a map of the index */
/* INDEX_GRANT hashes its parts one by one, so that each is hashed once in a decision. */
static inline uint64_t index_hash_grant(uint64_t of_subject, uint64_t of_profile)
{
    return of_subject ^ (of_profile << 32 | of_profile >> 32);
}
/* The grants of a subject, whole agent groups' too, one after the other; NULL: no more.  Start with
 * a zeroed cursor. */
struct index_grants {
    struct pmap_cursor cursor;
    bool is_over;
};
const struct grant_record *index_next_grant(const struct policy *p, struct span subject, struct index_grants *at);

/* index_grants.c: the sets of grants of a profile and of a subject. */
extern const struct pmap_values index_profile_values, index_subject_values;
const struct pmap *index_grants_of(const struct policy *p, struct span profile);    /* NULL: none */
MUST_CHECK int index_change_of_profile(struct policy *p, bool is_add, struct record *grant);
MUST_CHECK int index_change_of_subject(struct policy *p, bool is_add, struct record *grant);

#define INDEX_CIDR_KEY (1 + sizeof(struct addr))
void index_cidr_bytes(const struct addr *addr, unsigned bits, char dst[INDEX_CIDR_KEY]);
static inline bool index_is_empty(const struct policy *p, enum index_tag tag)
{
    return p->index[tag].count == 0;
}

/* Of a version that is still being made. */
MUST_CHECK int index_put(struct policy *p, struct record *r);
MUST_CHECK int index_drop(struct policy *p, struct record *r);
/* `from` is replaced by `to`, both of one kind and id. */
MUST_CHECK int index_swap(struct policy *p, struct record *from, struct record *to);
void index_init(struct policy *p);
void index_share(struct policy *to, const struct policy *from);
void index_deinit(struct policy *p);
