#include "controlplane/domain/kind.h"

#define TEXT(name_, min_, max_, ...) \
    { .name = (name_), .leaf = LEAF_TEXT, .limits = { (min_), (max_), NULL }, __VA_ARGS__ }
#define ENUM(name_, words_, ...) \
    { .name = (name_), .leaf = LEAF_ENUM, .limits = { .words = (words_) }, __VA_ARGS__ }
#define REF(name_, kind_, ...) \
    { .name = (name_), .leaf = LEAF_REF, .ref = KIND_##kind_, __VA_ARGS__ }
#define TIME(name_, ...) { .name = (name_), .leaf = LEAF_TIME, __VA_ARGS__ }
#define INT(name_, min_, max_, ...) \
    { .name = (name_), .leaf = LEAF_INT, .limits = { (min_), (max_), NULL }, __VA_ARGS__ }
#define BOOL(name_, ...) { .name = (name_), .leaf = LEAF_BOOL, __VA_ARGS__ }
#define LIST(name_, leaf_, min_, max_, ...)                                                   \
    { .name = (name_), .shape = SHAPE_LIST, .leaf = (leaf_), .items_min = (min_),             \
      .items_max = (max_), __VA_ARGS__ }
#define LABELS(name_, ...)                                                                    \
    { .name = (name_), .shape = SHAPE_MAP, .leaf = LEAF_TEXT, .limits = { 0, 255, NULL },     \
      .items_max = 32, __VA_ARGS__ }
#define NETWORKS(name_) LIST(name_, LEAF_NETWORK, 0, 32)
#define NEEDED .flags = FIELD_REQUIRED
#define FIXED .flags = FIELD_IMMUTABLE
#define FIXED_FILTER .flags = FIELD_IMMUTABLE | FIELD_FILTER
#define FILTER .flags = FIELD_FILTER
#define OURS .flags = FIELD_SERVER
#define FIELDS(table_) .fields = (table_), .field_count = ARRAY_LEN(table_)

#define ROLES "user auditor operator admin"
#define ON_OFF "active disabled"

static const struct field common[] = {
    TEXT("description", 0, 500),
    LABELS("labels"),
};

static const struct field mapping[] = {
    TEXT("value", 1, 255, NEEDED),
    { .name = "group", .leaf = LEAF_NAME },
    ENUM("role", ROLES),
};

static const struct field identity_provider[] = {
    ENUM("status", ON_OFF, FILTER, .initial = "\"active\""),
    { .name = "issuer", .leaf = LEAF_URL, .flags = FIELD_REQUIRED | FIELD_IMMUTABLE },
    TEXT("client_id", 1, 255, NEEDED),
    TEXT("client_secret", 1, 512, .flags = FIELD_SECRET),
    LIST("scopes", LEAF_WORD, 0, 32, .flags = FIELD_DISTINCT, .limits = { 1, 64, NULL },
         .initial = "[\"openid\",\"profile\",\"email\"]"),
    LIST("algorithms", LEAF_ENUM, 1, 3, .flags = FIELD_DISTINCT,
         .limits = { .words = "RS256 ES256 EdDSA" }, .initial = "[\"RS256\",\"ES256\",\"EdDSA\"]"),
    { .name = "name_claim", .leaf = LEAF_WORD, .limits = { 1, 64, NULL },
      .initial = "\"preferred_username\"" },
    { .name = "groups_claim", .leaf = LEAF_WORD, .limits = { 1, 64, NULL }, .initial = "\"groups\"" },
    { .name = "mappings", .shape = SHAPE_ROWS, .items_max = 256, .rows = mapping,
      .row_count = ARRAY_LEN(mapping) },
    BOOL("create_users", .initial = "false"),
    { .name = "ca", .leaf = LEAF_PEM, .limits = { 1, 4000, NULL } },
};

static const struct field user[] = {
    ENUM("status", ON_OFF, FILTER, .initial = "\"active\""),
    ENUM("role", ROLES, FILTER, .initial = "\"user\""),
    TEXT("password", 8, 128, .flags = FIELD_SECRET),
    TEXT("password_hash", 60, 60, .flags = FIELD_SECRET),
    BOOL("door_password"),
    BOOL("totp_required"),
    REF("identity_provider", IDENTITY_PROVIDER, FILTER),
    TEXT("subject", 1, 255),
    TIME("last_login_at", OURS),
};

static const struct field service_account[] = {
    ENUM("status", ON_OFF, FILTER, .initial = "\"active\""),
    ENUM("role", ROLES, FILTER, .initial = "\"user\""),
};

static const struct field credential[] = {
    REF("user", USER, FIXED_FILTER),
    TIME("expires_at"),
    NETWORKS("source_networks"),
};

static const struct field agent[] = {
    ENUM("status", ON_OFF, FILTER, .initial = "\"active\""),
    LIST("allow", LEAF_ACL_RULE, 0, 256),
    LIST("deny", LEAF_ACL_RULE, 0, 256),
};

static const struct field agent_group[] = {
    ENUM("routing_mode", "priority weighted least-streams lowest-latency",
         .initial = "\"priority\""),
    LABELS("selector"),
};

static const struct field join_token[] = {
    ENUM("kind", "agent relay", FIXED_FILTER, .initial = "\"agent\""),
    INT("uses", 1, 10000, FIXED, .initial = "1"),
    TIME("expires_at"),
    { .name = "agent_name", .leaf = LEAF_NAME, FIXED },
    LABELS("agent_labels"),
};

static const struct field profile[] = {
    LIST("hosts", LEAF_HOST_PATTERN, 1, 1000, NEEDED),
    LIST("ports", LEAF_PORTS, 1, 64, NEEDED),
    BOOL("match_resolved", .initial = "false"),
    BOOL("allow_special", .initial = "false"),
    REF("agent_group", AGENT_GROUP, .flags = FIELD_REQUIRED | FIELD_FILTER),
    INT("max_staleness_s", 1, 604800),
};

static const struct field window[] = {
    LIST("days", LEAF_ENUM, 1, 7, .flags = FIELD_REQUIRED | FIELD_DISTINCT,
         .limits = { .words = "mon tue wed thu fri sat sun" }),
    { .name = "from", .leaf = LEAF_HOUR, NEEDED },
    { .name = "to", .leaf = LEAF_HOUR_END, NEEDED },
    { .name = "zone", .leaf = LEAF_ZONE, NEEDED },
};

static const struct field grant[] = {
    REF("user", USER, FIXED_FILTER),
    REF("group", GROUP, FIXED_FILTER),
    REF("destination_profile", PROFILE, FIXED_FILTER),
    REF("agent_group", AGENT_GROUP, FIXED_FILTER),
    TIME("starts_at"),
    TIME("ends_at"),
    { .name = "windows", .shape = SHAPE_ROWS, .items_max = 16, .rows = window,
      .row_count = ARRAY_LEN(window) },
    NETWORKS("source_networks"),
    INT("max_streams", 1, 100000),
    TEXT("reason", 0, 500),
};

static const struct field override[] = {
    { .name = "host", .leaf = LEAF_HOST, NEEDED },
    LIST("addresses", LEAF_ADDRESS, 1, 16),
    { .name = "unix", .leaf = LEAF_UNIX_PATH },
    REF("agent", AGENT, FIXED_FILTER),
    REF("agent_group", AGENT_GROUP, FIXED_FILTER),
};

static const struct field lock[] = {
    REF("user", USER, FIXED_FILTER),
    REF("group", GROUP, FIXED_FILTER),
    REF("agent", AGENT, FIXED_FILTER),
    REF("destination_profile", PROFILE, FIXED_FILTER),
    { .name = "network", .leaf = LEAF_NETWORK, FIXED },
    TIME("ends_at"),
    TEXT("reason", 0, 500),
};

static const struct field expectation[] = {
    REF("user", USER, FIXED_FILTER),
    REF("group", GROUP, FIXED_FILTER),
    { .name = "host", .leaf = LEAF_HOST_PATTERN, NEEDED },
    INT("port", 1, 65535, NEEDED),
    ENUM("access", "allow deny", .flags = FIELD_REQUIRED | FIELD_FILTER),
    { .name = "source", .leaf = LEAF_ADDRESS },
    TEXT("reason", 0, 500),
};

#define RATE_MAX ((int64_t)1 << 40)
#define BYTES_MAX ((int64_t)1 << 50)

static const struct field quota[] = {
    REF("user", USER, FIXED_FILTER),
    REF("group", GROUP, FIXED_FILTER),
    REF("agent", AGENT, FIXED_FILTER),
    ENUM("scope", "all", FIXED_FILTER),
    INT("max_streams", 1, 1000000),
    INT("streams_per_second", 1, 100000),
    INT("streams_burst", 1, 1000000),
    INT("bytes_per_second", 1024, RATE_MAX),
    INT("bytes_per_day", 1, BYTES_MAX),
    { .name = "zone", .leaf = LEAF_ZONE, .initial = "\"UTC\"" },
};

static const struct field api_token[] = {
    REF("user", USER, FIXED_FILTER),
    LIST("scopes", LEAF_SCOPE, 1, 64, .initial = "[\"*:*\"]"),
    TIME("expires_at"),
    NETWORKS("source_networks"),
    TIME("previous_until", OURS),
};

static const struct field session[] = {
    REF("user", USER, .flags = FIELD_SERVER | FIELD_FILTER),
    LIST("scopes", LEAF_SCOPE, 0, 64, OURS),
    TIME("expires_at", OURS),
    { .name = "source", .leaf = LEAF_ADDRESS, OURS },
};

static const struct field pac_link[] = {
    REF("user", USER, FIXED_FILTER),
    TIME("expires_at"),
};

static const struct field relay[] = {
    ENUM("status", ON_OFF, .initial = "\"active\""),
};

static const struct field agent_member[] = {
    INT("priority", 0, 1000, .initial = "100"),
    INT("weight", 0, 1000, .initial = "1"),
    BOOL("enabled", .initial = "true"),
};

#define CRUD (KIND_CREATE | KIND_UPDATE | KIND_DELETE)
#define KIND(id_, name_, flags_, ...)                                                         \
    [KIND_##id_] = { .id = KIND_##id_, .name = (name_), .plural = name_ "s", .flags = (flags_), \
                     __VA_ARGS__ }

static const struct kind kinds[KIND_COUNT] = {
    KIND(IDENTITY_PROVIDER, "identity-provider", CRUD, FIELDS(identity_provider)),
    KIND(USER, "user", CRUD | KIND_IN_STATE, FIELDS(user), .owner = "id"),
    KIND(SERVICE_ACCOUNT, "service-account", CRUD | KIND_IN_STATE, FIELDS(service_account)),
    KIND(GROUP, "group", CRUD | KIND_IN_STATE, .relation = "group",
         .member_kinds = { KIND_USER, KIND_SERVICE_ACCOUNT, KIND_GROUP }, .member_kind_count = 3),
    KIND(CREDENTIAL, "proxy-credential", CRUD | KIND_NAME_OPTIONAL | KIND_IN_STATE,
         FIELDS(credential), .owner = "user", .secret = "secret", .purpose = "credential"),
    KIND(AGENT, "agent", CRUD | KIND_IN_STATE, FIELDS(agent)),
    KIND(AGENT_GROUP, "agent-group", CRUD | KIND_IN_STATE, FIELDS(agent_group),
         .relation = "agent-group", .member_kinds = { KIND_AGENT }, .member_kind_count = 1,
         .member_fields = agent_member, .member_field_count = ARRAY_LEN(agent_member)),
    KIND(JOIN_TOKEN, "join-token", CRUD | KIND_NAME_OPTIONAL, FIELDS(join_token),
         .secret = "token", .purpose = "join"),
    KIND(PROFILE, "destination-profile", CRUD | KIND_IN_STATE, FIELDS(profile)),
    KIND(GRANT, "grant", CRUD | KIND_NAME_OPTIONAL | KIND_IN_STATE, FIELDS(grant), .owner = "user",
         .exactly_one = { "user group", "destination_profile agent_group" }),
    KIND(OVERRIDE, "dns-override", CRUD | KIND_NAME_OPTIONAL | KIND_IN_STATE, FIELDS(override),
         .exactly_one = { "addresses unix" }, .at_most_one = "agent agent_group"),
    KIND(LOCK, "lock", CRUD | KIND_NAME_OPTIONAL | KIND_IN_STATE, FIELDS(lock),
         .exactly_one = { "user group agent destination_profile network" }),
    KIND(QUOTA, "quota", CRUD | KIND_NAME_OPTIONAL | KIND_IN_STATE, FIELDS(quota), .owner = "user",
         .exactly_one = { "user group agent scope" }),
    KIND(API_TOKEN, "api-token", CRUD | KIND_NAME_OPTIONAL, FIELDS(api_token), .owner = "user",
         .secret = "token", .purpose = "api-token"),
    KIND(SESSION, "login-session", KIND_DELETE | KIND_NAME_OPTIONAL, FIELDS(session),
         .owner = "user", .secret = "token", .purpose = "api-token"),
    KIND(PAC_LINK, "pac-link", CRUD | KIND_NAME_OPTIONAL | KIND_IN_STATE, FIELDS(pac_link), .owner = "user",
         .secret = "link", .purpose = "pac"),
    KIND(EXPECTATION, "expectation", CRUD | KIND_NAME_OPTIONAL, FIELDS(expectation),
         .exactly_one = { "user group" }),
    KIND(RELAY, "relay", KIND_UPDATE | KIND_DELETE | KIND_IN_STATE, FIELDS(relay)),
};

const struct kind *kind_at(enum kind_id id)
{
    return &kinds[id];
}

const struct kind *kind_by_name(struct span name)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (span_eq(span_str(kinds[i].name), name))
            return &kinds[i];
    }
    return NULL;
}

const struct kind *kind_by_plural(struct span plural)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (span_eq(span_str(kinds[i].plural), plural))
            return &kinds[i];
    }
    return NULL;
}

const struct field *kind_field_at(const struct kind *kind, size_t i)
{
    if (i < ARRAY_LEN(common))
        return &common[i];
    i -= ARRAY_LEN(common);
    return i < kind->field_count ? &kind->fields[i] : NULL;
}

const struct field *kind_field(const struct kind *kind, struct span name)
{
    const struct field *f;

    for (size_t i = 0; (f = kind_field_at(kind, i)); i++) {
        if (span_eq(span_str(f->name), name))
            return f;
    }
    return NULL;
}
