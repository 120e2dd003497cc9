#include "lib/state/record_table_internal.h"

#define TIME_MAX ((int64_t)1 << 53)             /* milliseconds that every JSON reader keeps */
#define DOCUMENT_TEXT_MAX ((int64_t)512 << 10)

#define AT(type, member) offsetof(struct type, member), sizeof_field(struct type, member)
#define NAME(type) { "name", FIELD_NAME, true, AT(type, name), 1, RECORD_NAME_MAX }
#define TEXT(type, key, member, min) \
    { key, FIELD_TEXT, (min) > 0, AT(type, member), min, sizeof_field(struct type, member) - 1 }
#define ID(type, key, member, required) { key, FIELD_ID, required, AT(type, member) }
#define INT(type, key, member, min, max) { key, FIELD_INT, false, AT(type, member), min, max }
#define TIME(type, member) { #member, FIELD_INT, false, AT(type, member), 0, TIME_MAX }
#define BOOL(type, key, member, required) { key, FIELD_BOOL, required, AT(type, member) }
#define ENUM(type, key, member, texts) \
    { key, FIELD_ENUM, true, AT(type, member), 0, ARRAY_LEN(texts), texts }
#define LIST(type, key, member, counter, min, max, codec) \
    { key, FIELD_LIST, (min) > 0, AT(type, member), min, max, NULL, &codec, \
      offsetof(struct type, counter) }

static const struct record_field user_fields[] = {
    NAME(user_record),
    BOOL(user_record, "active", is_active, true),
    BOOL(user_record, "service", is_service, false),
    LIST(user_record, "groups", groups, group_count, 0, 256, element_ulid),
};

static const struct record_field group_fields[] = { NAME(group_record) };

static const struct record_field credential_fields[] = {
    ID(credential_record, "user", user, true),
    { "hash", FIELD_HEX, true, AT(credential_record, hash), 64, 64 },
    TIME(credential_record, expires_ms),
    LIST(credential_record, "sources", sources, source_count, 0, 32, element_cidr),
};

static const struct record_field agent_fields[] = {
    NAME(agent_record),
    BOOL(agent_record, "active", is_active, true),
    BOOL(agent_record, "acl_known", has_acl, false),
    INT(agent_record, "generation", generation, 0, UINT32_MAX),
    LIST(agent_record, "allow", allow, allow_count, 0, ACL_RULES_MAX, element_rule),
    LIST(agent_record, "deny", deny, deny_count, 0, ACL_RULES_MAX, element_rule),
    LIST(agent_record, "special", special, special_count, 0, ACL_RULES_MAX, element_rule),
};

static const char *const modes[] = {
    [ROUTE_PRIORITY] = "priority",
    [ROUTE_WEIGHTED] = "weighted",
    [ROUTE_LEAST_STREAMS] = "least-streams",
    [ROUTE_LOWEST_LATENCY] = "lowest-latency",
};

static const struct record_field agentgroup_fields[] = {
    NAME(agentgroup_record),
    ENUM(agentgroup_record, "mode", mode, modes),
    LIST(agentgroup_record, "members", members, member_count, 0, 1000, element_member),
};

static const struct record_field profile_fields[] = {
    NAME(profile_record),
    LIST(profile_record, "hosts", hosts, host_count, 1, 1000, element_host),
    LIST(profile_record, "ports", ports, port_count, 0, 64, element_port),
    BOOL(profile_record, "match_resolved", match_resolved, false),
    BOOL(profile_record, "allow_special", allow_special, false),
    ID(profile_record, "agentgroup", agentgroup, false),
    INT(profile_record, "max_staleness_s", max_staleness_s, 0, 31 * 86400),
};

static const char *const subject_kinds[] = { [SUBJECT_USER] = "user", [SUBJECT_GROUP] = "group" };

static const struct record_field grant_fields[] = {
    ENUM(grant_record, "subject_kind", subject_kind, subject_kinds),
    ID(grant_record, "subject", subject, true),
    ID(grant_record, "profile", profile, false),
    ID(grant_record, "agentgroup", agentgroup, false),
    TIME(grant_record, start_ms),
    TIME(grant_record, end_ms),
    LIST(grant_record, "windows", windows, window_count, 0, 16, element_window),
    LIST(grant_record, "offsets", offsets, offset_count, 0, 64, element_offset),
    LIST(grant_record, "sources", sources, source_count, 0, 32, element_cidr),
    INT(grant_record, "stream_limit", stream_limit, 0, 1000000),
};

static const char *const scopes[] = {
    [OVERRIDE_ALL] = "all", [OVERRIDE_AGENTGROUP] = "agentgroup", [OVERRIDE_AGENT] = "agent"
};

static const struct record_field override_fields[] = {
    { "host", FIELD_HOST, true, AT(override_record, host) },
    ENUM(override_record, "scope", scope, scopes),
    ID(override_record, "scope_id", scope_id, false),
    LIST(override_record, "addrs", addrs, addr_count, 0, 16, element_addr),
    TEXT(override_record, "unix", unix_path, 0),
};

static const char *const lock_kinds[] = {
    [LOCK_USER] = "user", [LOCK_GROUP] = "group", [LOCK_AGENT] = "agent",
    [LOCK_PROFILE] = "profile", [LOCK_ADDRESS] = "address",
};

static const struct record_field lock_fields[] = {
    ENUM(lock_record, "kind", lock_kind, lock_kinds),
    ID(lock_record, "target", target, false),
    { "address", FIELD_CIDR, false, AT(lock_record, address) },
    TIME(lock_record, until_ms),
    TEXT(lock_record, "reason", reason, 0),
};

static const char *const cut_kinds[] = {
    [CUT_STREAM] = "stream", [CUT_USER] = "user", [CUT_CREDENTIAL] = "credential",
    [CUT_GRANT] = "grant", [CUT_PROFILE] = "profile", [CUT_AGENT] = "agent",
    [CUT_BREAKER] = "breaker",
};

static const struct record_field cut_fields[] = {
    ENUM(cut_record, "kind", cut_kind, cut_kinds),
    TEXT(cut_record, "target", target, 1),
    { "before_ms", FIELD_INT, true, AT(cut_record, before_ms), 1, TIME_MAX },
    TIME(cut_record, until_ms),
    TEXT(cut_record, "reason", reason, 0),
};

static const struct record_field relay_fields[] = {
    NAME(relay_record),
    BOOL(relay_record, "active", is_active, true),
    TEXT(relay_record, "address", address, 0),
    TEXT(relay_record, "zone", zone, 0),
};

static const struct record_field agentpolicy_fields[] = {
    { "document", FIELD_HEAP_TEXT, true, AT(agentpolicy_record, document), 1, DOCUMENT_TEXT_MAX },
};

static const struct record_field setting_fields[] = { TEXT(setting_record, "value", value, 1) };

static const char *const quota_scopes[] = {
    [QUOTA_USER] = "user", [QUOTA_GROUP] = "group", [QUOTA_AGENT] = "agent", [QUOTA_ALL] = "all",
};

static const struct record_field quota_fields[] = {
    ENUM(quota_record, "scope", scope, quota_scopes),
    ID(quota_record, "target", target, false),
    INT(quota_record, "streams", streams, 0, 1000000),
    INT(quota_record, "streams_per_s", streams_per_s, 0, 1000000),
    INT(quota_record, "burst", burst, 0, 1000000),
    INT(quota_record, "bytes_per_s", bytes_per_s, 0, (int64_t)1 << 40),
    INT(quota_record, "bytes_per_day", bytes_per_day, 0, (int64_t)1 << 53),
    LIST(quota_record, "offsets", offsets, offset_count, 0, 64, element_offset),
};

static const char *check_profile(const struct record *r)
{
    const struct profile_record *p = RECORD_AS(r, PROFILE, profile_record);
    size_t networks = 0;

    for (size_t i = 0; i < p->host_count; i++)
        networks += p->hosts[i].kind == HOST_CIDR;
    if (p->match_resolved && (networks < 1 || networks > 64))
        return "field match_resolved: needs 1 to 64 networks in hosts";
    return NULL;
}

static bool are_rising(const struct zone_offset *offsets, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (offsets[i].from_s <= offsets[i - 1].from_s)
            return false;
    }
    return true;
}

static const char *check_grant(const struct record *r)
{
    const struct grant_record *g = RECORD_AS(r, GRANT, grant_record);

    if (!g->profile.text[0] && !g->agentgroup.text[0])
        return "field profile: profile or agentgroup must be there";
    if (g->end_ms && g->end_ms <= g->start_ms)
        return "field end_ms: must be later than start_ms";
    if (g->window_count > 0 && g->offset_count == 0)
        return "field offsets: must be there with windows";
    return are_rising(g->offsets, g->offset_count) ? NULL : "field offsets: from_s must rise";
}

static const char *check_override(const struct record *r)
{
    const struct override_record *o = RECORD_AS(r, OVERRIDE, override_record);

    if (o->host.kind != HOST_EXACT && o->host.kind != HOST_SUFFIX)
        return "field host: must be a host or *.suffix";
    if ((o->addr_count > 0) == (o->unix_path[0] != '\0'))
        return "field addrs: addresses or a unix path, one of both";
    if (o->unix_path[0] && o->unix_path[0] != '/')
        return "field unix: must be an absolute path";
    if ((o->scope == OVERRIDE_ALL) != (o->scope_id.text[0] == '\0'))
        return "field scope_id: must be there exactly where scope is not all";
    return NULL;
}

static const char *check_lock(const struct record *r)
{
    const struct lock_record *l = RECORD_AS(r, LOCK, lock_record);
    bool has_target = l->target.text[0] != '\0', has_address = l->address.bits != 0;

    if (l->lock_kind == LOCK_ADDRESS ? has_target || !has_address : !has_target || has_address)
        return "field target: an address lock has address, every other target";
    return NULL;
}

static const char *check_quota(const struct record *r)
{
    const struct quota_record *q = RECORD_AS(r, QUOTA, quota_record);

    if ((q->scope == QUOTA_ALL) != (q->target.text[0] == '\0'))
        return "field target: must be there exactly where scope is not all";
    if ((q->streams_per_s > 0) != (q->burst > 0))
        return "field burst: must be there with streams_per_s";
    return are_rising(q->offsets, q->offset_count) ? NULL : "field offsets: from_s must rise";
}

#define TABLE(fields_, check_) { fields_, ARRAY_LEN(fields_), check_ }
static const struct record_table tables[RECORD_KIND_COUNT] = {
    [RECORD_USER] = TABLE(user_fields, NULL),
    [RECORD_GROUP] = TABLE(group_fields, NULL),
    [RECORD_CREDENTIAL] = TABLE(credential_fields, NULL),
    [RECORD_AGENT] = TABLE(agent_fields, NULL),
    [RECORD_AGENTGROUP] = TABLE(agentgroup_fields, NULL),
    [RECORD_PROFILE] = TABLE(profile_fields, check_profile),
    [RECORD_GRANT] = TABLE(grant_fields, check_grant),
    [RECORD_OVERRIDE] = TABLE(override_fields, check_override),
    [RECORD_LOCK] = TABLE(lock_fields, check_lock),
    [RECORD_CUT] = TABLE(cut_fields, NULL),
    [RECORD_RELAY] = TABLE(relay_fields, NULL),
    [RECORD_AGENTPOLICY] = TABLE(agentpolicy_fields, NULL),
    [RECORD_SETTING] = TABLE(setting_fields, NULL),
    [RECORD_QUOTA] = TABLE(quota_fields, check_quota),
};

const struct record_table *record_table(enum record_kind kind)
{
    return &tables[kind];
}
