#pragma once
#include "lib/base/pmap.h"
#include "lib/policy/record.h"
/*
 * policy.h - one immutable version of everything that decisions are made from.
 *
 * Shape      records by id, and indexes for the questions of decide.h.  A new version
 *            shares all that did not change with the one before.
 * Cost       policy_apply: O(log n) time and bytes for each changed record (and for each of
 *            its hosts); policy_find: O(log n).
 * Ownership  counted; the empty policy is made by policy_new().  Records and pointers into
 *            them live as long as the version that gave them.
 * Threads    a version never changes: any number of threads may read, ref and unref it.
 * Errors     -ENOMEM, -ENOSPC past POLICY_RECORDS_MAX of a kind: the old version stands.
 */
#define POLICY_RECORDS_MAX 2000000

struct policy;

struct policy_change {
    enum record_kind kind;
    struct record *put;         /* this record (a reference is taken); NULL: remove `id` */
    struct span id;
};

struct policy *policy_new(void);                        /* NULL: out of memory */
struct policy *policy_ref(struct policy *p);
void policy_unref(struct policy *p);
DEFINE_FREEP(policy, policy_unref)
/* In order; removing what is not there does nothing. */
MUST_CHECK int policy_apply(const struct policy *base, const struct policy_change *changes,
                            size_t n, struct policy **ret_policy);

const struct record *policy_find(const struct policy *p, enum record_kind kind, struct span id);
/* By name (user, group, agent, agentgroup, profile, relay); of several the lowest id. */
const struct record *policy_find_name(const struct policy *p, enum record_kind kind,
                                      struct span name);
size_t policy_count(const struct policy *p, enum record_kind kind);
/* Every record of a kind once, in any order; start with a zeroed cursor. */
struct policy_cursor {
    struct pmap_cursor at;
};
const struct record *policy_next(const struct policy *p, enum record_kind kind,
                                 struct policy_cursor *cursor);
/* All records of a kind, one more handle on them (pmap_deinit); two policies with the same root have
 * the same ones. */
struct pmap policy_records(const struct policy *p, enum record_kind kind);
/* A setting's value; SPAN_NONE when it is not set. */
struct span policy_setting(const struct policy *p, const char *name);

#define policy_user(p, ulid_) RECORD_AS(policy_find((p), RECORD_USER, ulid_span(ulid_)), USER, user_record)
#define policy_agent(p, ulid_) RECORD_AS(policy_find((p), RECORD_AGENT, ulid_span(ulid_)), AGENT, agent_record)
#define policy_relay(p, ulid_) RECORD_AS(policy_find((p), RECORD_RELAY, ulid_span(ulid_)), RELAY, relay_record)
#define policy_agentgroup(p, ulid_) RECORD_AS(policy_find((p), RECORD_AGENTGROUP, ulid_span(ulid_)), AGENTGROUP, agentgroup_record)
#define policy_profile(p, ulid_) RECORD_AS(policy_find((p), RECORD_PROFILE, ulid_span(ulid_)), PROFILE, profile_record)
#define policy_grant(p, ulid_) RECORD_AS(policy_find((p), RECORD_GRANT, ulid_span(ulid_)), GRANT, grant_record)
#define policy_credential(p, ulid_) RECORD_AS(policy_find((p), RECORD_CREDENTIAL, ulid_span(ulid_)), CREDENTIAL, credential_record)
