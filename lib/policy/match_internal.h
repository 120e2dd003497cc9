#pragma once
#include "lib/policy/decide.h"
#include "lib/policy/index_internal.h"
/*
 * match_internal.h - the questions that decide.c and standing.c share.  Inside lib/policy only.
 */

/*
 * The look-ups that a target needs, some at once so that their cache misses overlap, the most
 * specific first.  The user's is made beside the first of them.
 */
enum { MATCH_PROBES = 8 };
struct match_look {
    const struct policy *p;
    const struct target *t;
    struct span name;           /* of a name: what is asked next; no bytes: nothing */
    bool is_whole;              /* the name itself comes next, then its suffixes */
    unsigned bits;              /* of a literal: one more than what is asked next */
    uint64_t user_hash;
    const struct user_record *user;
    size_t n;
    struct pmap_probe probes[MATCH_PROBES + 1];
    char keys[MATCH_PROBES][INDEX_CIDR_KEY];
};
/* `user` may be NULL.  The first look-ups are made at once. */
void match_look(struct match_look *look, const struct policy *p, const struct target *t,
                const struct ulid *user);
/* Calls `visit` for each profile whose hosts name the target and whose ports have its port,
 * the most specific first, equals by id, until it answers true; answers whether it did.
 * match_resolved counts for nothing here.  Once for each look. */
typedef bool profile_visit(void *context, const struct profile_record *profile);
bool match_visit(struct match_look *look, profile_visit *visit, void *context);
bool match_profiles(const struct policy *p, const struct target *t, profile_visit *visit,
                    void *context);
/* Whether a name may be reached because of what it resolves to: the profile says so and has
 * prefixes (without any, nothing would bound what is dialled). */
bool match_resolves(const struct profile_record *profile, const struct target *t);
/* Whether the profile covers the target, also by match_resolved. */
bool match_covers(const struct policy *p, const struct profile_record *profile,
                  const struct target *t);
/* The override for the target in that place: most specific name, then narrowest scope. */
const struct override_record *match_override(const struct policy *p, const struct target *t,
                                             const struct ulid *agentgroup,
                                             const struct ulid *agent);

/* Locks in force; NULL when there is none. */
const struct lock_record *match_lock(const struct policy *p, enum lock_kind kind,
                                     const struct ulid *id, int64_t now_ms);
const struct lock_record *match_lock_address(const struct policy *p, const struct addr *addr,
                                             int64_t now_ms);
/* On the user or one of its groups, on the source. */
const struct lock_record *match_lock_user(const struct policy *p, const struct user_record *user,
                                          const struct addr *source, int64_t now_ms);
/* On a literal, on a profile that names the target. */
const struct lock_record *match_lock_target(const struct policy *p, const struct target *t,
                                            int64_t now_ms);

struct index_hits match_quotas(const struct policy *p, enum quota_scope scope, struct span id);

/* The grant alone: begin, end, windows, source.  `ret_again_ms` may be NULL. */
enum reason match_grant_in_force(const struct grant_record *g, const struct addr *source,
                                 int64_t now_ms, int64_t *ret_again_ms);
bool match_sources(const struct cidr *sources, size_t n, const struct addr *source);
bool match_ulid(const struct ulid *a, const struct ulid *b);
bool match_is_set(const struct ulid *id);
struct acl match_acl_of(const struct agent_record *agent);      /* borrowed rules */
