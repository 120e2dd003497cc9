#pragma once
#include "lib/base/ulid.h"
#include "lib/policy/acl.h"
/*
 * record.h - the typed records that a state is made of.
 *
 * A record is filled in by one owner, then given to a policy and never changed again.
 * schema/state.md says what each field may hold; what a decoder let through is in range.
 *
 * Shape      what decisions ask for stands before names: fewer cache lines.
 * Units      times are Unix milliseconds, 0 means none; ids are ULIDs (settings: names).
 * Ownership  counted: record_new() gives one reference, record_unref() of the last one
 *            frees the record with its arrays (made by malloc).
 * Threads    a record in a policy is only read; the count is atomic.
 */
#define RECORD_ID_MAX 63
#define RECORD_NAME_MAX 63
#define RECORD_TEXT_MAX 255

#define RECORD_KINDS(X) \
    X(USER, user) X(GROUP, group) X(CREDENTIAL, credential) X(AGENT, agent) \
    X(AGENTGROUP, agentgroup) X(PROFILE, profile) X(GRANT, grant) X(OVERRIDE, override) \
    X(LOCK, lock) X(CUT, cut) X(RELAY, relay) X(AGENTPOLICY, agentpolicy) X(SETTING, setting) \
    X(QUOTA, quota)

enum record_kind {
#define RECORD_ENUM(upper, lower) RECORD_##upper,
    RECORD_KINDS(RECORD_ENUM)
#undef RECORD_ENUM
    RECORD_KIND_COUNT
};

struct record {
    enum record_kind kind;
    unsigned refs;
    char id[ULID_LEN + 1];              /* "" in a setting, see record_id() */
};

struct user_record {                    /* service accounts too */
    struct record record;
    bool is_active;
    bool is_service;
    struct ulid *groups;                /* flattened: every group, also by nesting */
    size_t group_count;
    char name[RECORD_NAME_MAX + 1];
};

struct group_record {
    struct record record;
    char name[RECORD_NAME_MAX + 1];
};

struct credential_record {
    struct record record;
    struct ulid user;
    char hash[65];                      /* keyed hash of the secret, lower-case hex */
    int64_t expires_ms;
    struct cidr *sources;               /* none: from everywhere */
    size_t source_count;
};

struct agent_record {
    struct record record;
    bool is_active;
    bool has_acl;                       /* false: unknown; the agent decides alone */
    int64_t generation;                 /* certificates below it are refused */
    struct acl_rule *allow, *deny, *special;    /* the agent's own file, as it told */
    size_t allow_count, deny_count, special_count;
    char name[RECORD_NAME_MAX + 1];
};

enum routing_mode { ROUTE_PRIORITY, ROUTE_WEIGHTED, ROUTE_LEAST_STREAMS, ROUTE_LOWEST_LATENCY };

struct agentgroup_member {
    struct ulid agent;
    int64_t priority;                   /* lower goes first */
    int64_t weight;                     /* 0: never chosen by weight while others can be */
    bool is_enabled;
};

struct agentgroup_record {
    struct record record;
    enum routing_mode mode;
    struct agentgroup_member *members;  /* selectors already made into members */
    size_t member_count;
    char name[RECORD_NAME_MAX + 1];
};

struct profile_record {
    struct record record;
    struct port_range *ports;           /* none: all */
    size_t port_count;
    bool match_resolved;                /* names that resolve into its CIDRs, too */
    bool allow_special;
    struct ulid agentgroup;             /* default for its grants */
    int64_t max_staleness_s;            /* 0: the cluster's */
    struct host_pattern *hosts;         /* exact, suffix, CIDR */
    size_t host_count;
    char name[RECORD_NAME_MAX + 1];
};

struct grant_window {                   /* local time of the grant's zone */
    int64_t days;                       /* bit 0 Monday … bit 6 Sunday: of its begin */
    int64_t from_min, to_min;           /* 0..1439, 1..1440; to <= from: into the next day */
};

struct zone_offset {
    int64_t from_s;                     /* Unix seconds from which the offset holds */
    int64_t offset_s;                   /* local minus UTC */
};

enum subject_kind { SUBJECT_USER, SUBJECT_GROUP };

struct grant_record {
    struct record record;
    enum subject_kind subject_kind;
    struct ulid subject;
    struct ulid profile;                /* empty: the whole agent group */
    struct ulid agentgroup;             /* empty with a profile: the profile's */
    int64_t start_ms, end_ms;
    int64_t stream_limit;               /* 0: none */
    size_t window_count, offset_count, source_count;
    struct grant_window *windows;       /* none: always */
    struct zone_offset *offsets;        /* rising from_s; the first holds before it, too */
    struct cidr *sources;
};

enum override_scope { OVERRIDE_ALL, OVERRIDE_AGENTGROUP, OVERRIDE_AGENT };

struct override_record {
    struct record record;
    struct host_pattern host;           /* exact or suffix */
    enum override_scope scope;
    struct ulid scope_id;
    struct addr *addrs;                 /* these, or one path */
    size_t addr_count;
    char unix_path[ADDR_UNIX_MAX];
};

enum lock_kind { LOCK_USER, LOCK_GROUP, LOCK_AGENT, LOCK_PROFILE, LOCK_ADDRESS };

struct lock_record {
    struct record record;
    enum lock_kind lock_kind;
    struct ulid target;
    struct cidr address;                /* a source, or a literal target, within it */
    int64_t until_ms;
    char reason[RECORD_TEXT_MAX + 1];
};

enum cut_kind { CUT_STREAM, CUT_USER, CUT_CREDENTIAL, CUT_GRANT, CUT_PROFILE, CUT_AGENT, CUT_BREAKER };

struct cut_record {                     /* streams opened before `before_ms` end; a breaker is reset */
    struct record record;
    enum cut_kind cut_kind;
    char target[RECORD_ID_MAX + 1];     /* a ULID, or the stream's uid as text */
    int64_t before_ms;
    int64_t until_ms;                   /* the record means nothing afterwards */
    char reason[RECORD_TEXT_MAX + 1];
};

struct relay_record {
    struct record record;
    char name[RECORD_NAME_MAX + 1];
    bool is_active;
    char address[RECORD_TEXT_MAX + 1];  /* host:port that agents and peers dial; may be "" */
    char zone[RECORD_NAME_MAX + 1];
};

struct agentpolicy_record {             /* id: the agent's */
    struct record record;
    char *document;                     /* signed, to be passed on as it is */
};

enum quota_scope { QUOTA_USER, QUOTA_GROUP, QUOTA_AGENT, QUOTA_ALL };

struct quota_record {                   /* what all of its scope may use together; 0: any amount */
    struct record record;
    enum quota_scope scope;
    struct ulid target;                 /* empty: QUOTA_ALL */
    int64_t streams;                    /* at once */
    int64_t streams_per_s, burst;       /* new ones, and so many of them at a time */
    int64_t bytes_per_s, bytes_per_day; /* both ways together */
    size_t offset_count;
    struct zone_offset *offsets;        /* of the zone whose days count; none: UTC */
};

struct setting_record {
    struct record record;
    char name[RECORD_ID_MAX + 1];       /* its id */
    char value[1024];
};

const char *record_kind_name(enum record_kind kind);            /* "agentgroup" */
bool record_kind_parse(struct span text, enum record_kind *ret_kind);
/* Zeroed, with one reference; the id is copied.  NULL: out of memory or not an id of that kind. */
struct record *record_new(enum record_kind kind, struct span id);
struct record *record_ref(struct record *r);
void record_unref(struct record *r);
DEFINE_FREEP(record, record_unref)
static inline struct span record_id(const struct record *r)
{
    if (r->kind == RECORD_SETTING)
        return span_str(((const struct setting_record *)(const void *)r)->name);
    return (struct span){ r->id, ULID_LEN };
}
/* Its unique name, NULL for kinds without one. */
const char *record_name(const struct record *r);

/* A checked cast: NULL stays NULL, another kind gives NULL. */
#define RECORD_AS(r_, KIND_, type_)                                                    \
    ({                                                                                 \
        const struct record *as_ = (r_);                                               \
        (const struct type_ *)(const void *)(as_ && as_->kind == RECORD_##KIND_ ? as_ : NULL); \
    })
