#pragma once
#include "lib/base/reason.h"
#include "lib/policy/policy.h"
/*
 * decide.h - the relay's half of the decision: who may reach what, through which agent.
 *
 * One pure function over a policy, the live agents and the time; the relay calls it for
 * traffic, the control plane to explain.  Nothing is allowed unless a grant says so, and a
 * lock outranks every grant.
 *
 * Order      user active and not locked → grants that match the target, port, source and
 *            time, the most specific profile first (exact host, longest suffix, longest
 *            prefix, match_resolved, then whole agent group; equals by the profile's id, the
 *            user's own before its groups', the grant's id) → members of the agent group that
 *            can take it → its routing mode (proved before unproved; equals: own session
 *            before a peer's, fewest streams, id) → quotas of the user, its groups, all.
 * Locks      of a profile refuse every target that its hosts and ports name, whichever
 *            grant would allow it; a match_resolved profile that is locked gives nothing.
 * Unix       an override to a socket needs allow_special of the grant's profile.
 * Cost       does not grow with users, grants or profiles that do not match.
 * Units      milliseconds of Unix time; microseconds of round trip.
 * Ownership  results point into the policy: hold a reference on it as long as they are used.
 * Threads    pure; the registry's callbacks run on the caller's thread.
 */
#define POLICY_REFUSALS_MAX 16
#define POLICY_RANGES_MAX 64

struct agent_live {
    bool is_held;               /* some relay holds a session */
    bool is_own;                /* it is this relay */
    bool is_proved;             /* bytes both ways lately */
    bool is_draining;
    bool is_breaker_open;       /* for this agent group and target */
    uint32_t streams;
    uint32_t rtt_us;            /* 0: not measured yet, goes last */
    uint32_t breaker_ms;        /* until the breaker lets one try; 0: not known */
};

struct policy_registry {
    void *context;
    /* False: never heard of.  `ret_live` is zeroed before. */
    bool (*agent)(void *context, const struct ulid *agent, const struct ulid *agentgroup,
                  const struct target *target, struct agent_live *ret_live);
    /* Streams that stand on the grant now; NULL: not counted. */
    uint64_t (*grant_streams)(void *context, const struct ulid *grant);
    /* Whether one stream more fits; else `ret_wait_ms` is how long it may take until it does, 0: not
     * known.  NULL: always. */
    bool (*quota_has_room)(void *context, const struct quota_record *quota, uint64_t *ret_wait_ms);
};

struct policy_question {
    struct ulid user;
    struct addr source;
    struct target target;
    int64_t now_ms;
    uint64_t random;            /* for weighted routing */
    const struct policy_registry *registry;     /* NULL: every agent counts as live */
};

struct policy_refusal {         /* a grant or an agent that was looked at and not taken */
    enum record_kind kind;      /* RECORD_GRANT, RECORD_AGENT */
    struct ulid id;
    struct ulid agentgroup;     /* of an agent */
    enum reason reason;
    uint32_t wait_ms;           /* QUOTA_*, BREAKER_OPEN: when to try again; 0: not known */
};

struct policy_decision {
    enum reason reason;         /* REASON_NONE: allowed */
    /* As far as it got; on REASON_NONE all but `profile`, `override`, `lock` are there. */
    const struct user_record *user;
    const struct grant_record *grant;
    const struct profile_record *profile;       /* NULL: whole agent group */
    const struct agentgroup_record *agentgroup;
    const struct agent_record *agent;
    const struct override_record *override;     /* resolve-to; NULL: the agent resolves */
    const struct lock_record *lock;             /* that refused */
    const struct quota_record *quota;           /* QUOTA_USER, _GROUP, _ALL, _AGENT: that refused */
    uint64_t wait_ms;                           /* QUOTA_*, BREAKER_OPEN: when to try again; 0: not known */
    bool allow_special;
    bool is_own;                                /* the agent's session is this relay's */
    int64_t max_staleness_s;                    /* the profile's, 0: the cluster's */
    struct cidr ranges[POLICY_RANGES_MAX];      /* permitted; none: all that is not special */
    size_t range_count;
    struct policy_refusal refusals[POLICY_REFUSALS_MAX];
    size_t refusal_count;
    size_t refusals_dropped;                    /* more than fitted */
};

/* Writes `ret_decision` whole and returns its reason. */
enum reason policy_decide(const struct policy *p, const struct policy_question *q,
                          struct policy_decision *ret_decision);

/* The quotas that a stream of the user through the agent takes from: the agent's, the user's, its
 * groups', everybody's, each by id.  At most `max`; how many there are. */
#define POLICY_QUOTAS_MAX 64
size_t policy_quotas(const struct policy *p, const struct user_record *user, const struct ulid *agent,
                     const struct quota_record **ret_quotas, size_t max);
/* Whether the state says that the breaker with that id is to be closed. */
bool policy_resets_breaker(const struct policy *p, const struct ulid *breaker);
enum reason policy_quota_reason(enum quota_scope scope);

/* `hash`: the keyed hash of the secret, lower-case hex.  REASON_NONE gives both records;
 * else AUTH_FAILED, CREDENTIAL_EXPIRED, SOURCE_DENIED, USER_DISABLED, LOCKED. */
enum reason policy_authenticate(const struct policy *p, struct span hash, struct span user_name,
                                const struct addr *source, int64_t now_ms,
                                const struct user_record **ret_user,
                                const struct credential_record **ret_credential);

/* Whether a lock keeps the user, or a group of his, from everything: LOCKED or NONE.  Who is not
 * in the state (yet) is not locked. */
enum reason policy_user_admitted(const struct policy *p, const struct ulid *user, int64_t now_ms);

/* What a living stream stands on; taken over from the decision when it opens. */
struct policy_standing {
    struct ulid user, credential;       /* credential empty: came another way */
    struct ulid grant, profile, agentgroup, agent;      /* profile empty: whole group */
    struct addr source;
    struct target target;
    bool uses_special;                  /* a Unix socket, or a forbidden address lifted */
    int64_t opened_ms;
    char uid[RECORD_ID_MAX + 1];        /* the stream's */
};
void policy_stand(const struct policy_decision *d, const struct policy_question *q,
                  const struct credential_record *credential, const char *uid,
                  struct policy_standing *ret_standing);
/* Asked for every living stream whenever the policy changed, and at `ret_again_ms` (the
 * next time at which the answer may change by the clock alone; INT64_MAX: never).
 * REASON_NONE: may go on.  Else cut: LOCKED, USER_DISABLED, CREDENTIAL_REVOKED,
 * CREDENTIAL_EXPIRED, GRANT_EXPIRED, GRANT_NOT_NOW, SOURCE_DENIED, AGENT_REVOKED, REVOKED. */
enum reason policy_still_allowed(const struct policy *p, const struct policy_standing *s,
                                 int64_t now_ms, int64_t *ret_again_ms);

/* Whether the agent's, or relay's, certificate of that generation still counts:
 * REASON_NONE, AGENT_REVOKED, LOCKED; for relays BAD_CERTIFICATE. */
enum reason policy_agent_admitted(const struct policy *p, const struct ulid *agent,
                                  uint32_t generation, int64_t now_ms);
enum reason policy_relay_admitted(const struct policy *p, const struct ulid *relay);
