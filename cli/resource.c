#include "cli/resource.h"

#include <string.h>

static const struct verb verbs[VERB_COUNT] = {
    [VERB_LIST] = { "list", "", 0, 0, "lists %s" },
    [VERB_SHOW] = { "show", "NAME…", 1, ASK_WORDS_MAX, "shows %s" },
    [VERB_CREATE] = { "create", "[NAME]", 0, 1, "makes %s" },
    [VERB_EDIT] = { "edit", "NAME", 1, 1, "changes %s" },
    [VERB_DELETE] = { "delete", "NAME…", 1, ASK_WORDS_MAX, "deletes %s" },
    [VERB_MEMBERS] = { "members", "NAME", 1, 1, "lists the members of %s" },
    [VERB_ADD_MEMBER] = { "add-member", "NAME MEMBER…", 2, ASK_WORDS_MAX, "adds members to %s" },
    [VERB_REMOVE_MEMBER] = { "remove-member", "NAME MEMBER…", 2, ASK_WORDS_MAX,
                             "removes members from %s" },
    [VERB_ROTATE] = { "rotate", "NAME", 1, 1, "gives %s another secret" },
    [VERB_CUT] = { "cut", "[ID…]", 0, ASK_WORDS_MAX, "cuts %s" },
    [VERB_RESET] = { "reset", "ID…", 1, ASK_WORDS_MAX, "closes %s, so that the next one may try" },
    [VERB_EXPORT] = { "export", "", 0, 0, "writes all %s as JSON, one to a line" },
    [VERB_VERIFY] = { "verify", "", 0, 0, "checks that nobody changed %s" },
};

static const struct resource resources[] = {
    { .kind = KIND_USER, .word = "user", .one = "a user", .many = "users",
        .help = "people and programs that use Adit", .columns = "name status role description",
        .examples = "adit user create alice --role operator --password\n"
                    "adit user list --role admin --output id\n"
                    "adit user edit alice --status disabled --wait\n" },
    { .kind = KIND_SERVICE_ACCOUNT, .word = "service-account", .one = "a service account", .many = "service accounts",
        .help = "programs that use Adit, without a password", .columns = "name status role description",
        .examples = "adit service-account create nightly-build --role user\n"
                    "adit token create nightly-build --user nightly-build --scopes agents:read --secret-file ci.token\n"
                    "adit credential create nightly-build --user nightly-build --secret-file ci.secret\n"
                    "adit service-account edit nightly-build --status disabled --wait\n" },
    { .kind = KIND_IDENTITY_PROVIDER, .word = "identity-provider", .one = "an identity provider",
        .many = "identity providers", .help = "who else may say who somebody is (OpenID Connect)",
        .columns = "name status issuer client_id create_users description",
        .examples = "adit identity-provider create corp --issuer https://login.corp.example --client-id adit --client-secret-file corp.secret --create-users true\n"
                    "adit identity-provider edit corp --mappings '[{\"value\":\"net-admins\",\"role\":\"admin\"},{\"value\":\"staff\",\"group\":\"staff\"}]'\n"
                    "adit identity-provider list\n" },
    { .kind = KIND_GROUP, .word = "group", .one = "a group", .many = "groups",
        .help = "users, service accounts and groups under one name", .columns = "name description",
        .examples = "adit group create staff\n"
                    "adit group add-member staff alice bob\n"
                    "adit group members staff\n" },
    { .kind = KIND_CREDENTIAL, .word = "credential", .one = "a proxy credential", .many = "proxy credentials",
        .help = "what the proxy doors take as a password",
        .columns = "name user fingerprint expires_at source_networks",
        .examples = "adit credential create laptop --user alice --expires-at +90d --secret-file laptop.secret\n"
                    "adit credential list --user alice\n" },
    { .kind = KIND_PAC_LINK, .word = "pac", .one = "a PAC link", .many = "PAC links",
        .help = "where browsers get what goes to the relay",
        .columns = "name user fingerprint expires_at last_used_at",
        .examples = "adit pac create laptop --user alice --expires-at +90d\n"
                    "adit pac delete laptop\n" },
    { .kind = KIND_AGENT, .word = "agent", .one = "an agent", .many = "agents",
        .help = "programs inside closed networks",
        .columns = "name status connected last_seen_at description",
        .examples = "adit agent list\n"
                    "adit agent edit office --add-deny 10.0.0.5 --wait\n"
                    "adit agent edit office --status disabled\n" },
    { .kind = KIND_AGENT_GROUP, .word = "agent-group", .one = "an agent group", .many = "agent groups",
        .help = "agents that serve the same targets", .columns = "name routing_mode selector description",
        .examples = "adit agent-group create offices --routing-mode weighted\n"
                    "adit agent-group add-member offices office-1 --weight 3\n" },
    { .kind = KIND_JOIN_TOKEN, .word = "join-token", .one = "a join token", .many = "join tokens",
        .help = "what lets an agent or a relay join", .named_by = "agent_name",
        .columns = "id kind agent_name uses used expires_at",
        .examples = "adit join-token create office --secret-file office.token\n"
                    "adit join-token create --kind relay --expires-at +1h --secret-file relay.token\n" },
    { .kind = KIND_PROFILE, .word = "profile", .one = "a destination profile", .many = "destination profiles",
        .help = "hosts and ports under one name", .columns = "name hosts ports agent_group",
        .examples = "adit profile create wiki --hosts wiki.corp.example,*.wiki.corp.example --ports 80,443 --agent-group offices\n"
                    "adit profile edit wiki --add-ports 8080 --dry-run\n" },
    { .kind = KIND_GRANT, .word = "grant", .one = "a grant", .many = "grants", .help = "who may reach what",
        .columns = "name user group destination_profile agent_group starts_at ends_at",
        .examples = "adit grant create staff-wiki --group staff --destination-profile wiki --wait\n"
                    "adit grant create --user bob --agent-group offices --ends-at +8h --reason 'on call'\n"
                    "adit grant create --group staff --destination-profile wiki --windows 'mon,tue,wed,thu,fri 08:00-18:00 Europe/Berlin'\n" },
    { .kind = KIND_OVERRIDE, .word = "dns", .one = "a DNS override", .many = "DNS overrides",
        .help = "names that resolve to what you say",
        .columns = "name host addresses unix agent agent_group",
        .examples = "adit dns create --host db.corp.example --addresses 10.0.0.7\n"
                    "adit dns create --host panel.internal --unix unix:/run/panel.sock --agent office\n" },
    { .kind = KIND_LOCK, .word = "lock", .one = "a lock", .many = "locks", .help = "what outranks every grant",
        .columns = "name user group agent destination_profile network ends_at reason",
        .examples = "adit lock create --user mallory --reason 'lost laptop' --wait\n"
                    "adit lock create --network 198.51.100.0/24 --ends-at +1h\n" },
    { .kind = KIND_EXPECTATION, .word = "expectation", .one = "an expectation", .many = "expectations",
        .help = "who shall reach what, and who shall not, whatever is changed",
        .columns = "name user group access host port reason",
        .examples = "adit expectation create wiki-for-staff --group staff --host wiki.corp.example --port 443 --access allow\n"
                    "adit expectation create --user guest --host db.corp.example --port 5432 --access deny\n" },
    { .kind = KIND_QUOTA, .word = "quota", .one = "a quota", .many = "quotas",
        .help = "how much may be used at once, in a second, in a day",
        .columns = "name user group agent scope usage.streams max_streams streams_per_second bytes_per_second "
                   "usage.bytes_today bytes_per_day usage.saturated",
        .examples = "adit quota create alice-day --user alice --bytes-per-day 10000000000 --zone Europe/Berlin\n"
                    "adit quota create --group staff --max-streams 200 --streams-per-second 50\n"
                    "adit quota create all --scope all --bytes-per-second 50000000 --wait\n"
                    "adit quota list\n" },
    { .kind = KIND_API_TOKEN, .word = "token", .one = "an API token", .many = "API tokens",
        .help = "bearer tokens for the API", .columns = "name user scopes expires_at fingerprint last_used_at",
        .verbs = VERB_BIT(ROTATE),
        .examples = "adit token create ci --scopes users:read,groups:* --expires-at +30d --secret-file ci.token\n"
                    "adit token rotate ci --overlap 600 --secret-file ci.new\n"
                    "adit token delete ci\n" },
    { .kind = KIND_SESSION, .word = "session", .one = "a log-in session", .many = "log-in sessions",
        .help = "who is logged in", .columns = "id user source created_at expires_at",
        .examples = "adit session list --user alice\n" },
    { .kind = KIND_RELAY, .word = "relay", .one = "a relay", .many = "relays", .help = "the data plane",
        .columns = "name status connected version agents streams applied_revision",
        .examples = "adit relay list\nadit relay edit r1 --status disabled\n" },
    { .kind = KIND_COUNT, .word = "key", .one = "a key", .many = "keys", .plural = "keys",
        .help = "what signs the state, what hashes proxy credentials, and the authorities",
        .columns = "name number created_at fingerprint next next_at previous previous_until", .filters = "",
        .verbs = VERB_BIT(ROTATE),
        .examples = "adit key list\n"
                    "adit key rotate state\n"
                    "adit key rotate credential --overlap 2592000\n" },
    { .kind = KIND_COUNT, .word = "stream", .one = "a stream", .many = "streams", .plural = "streams",
        .help = "what flows through the relays, now and some minutes ago",
        .columns = "id state user_name host port agent_name opened_at bytes_in bytes_out reason",
        .filters = "user agent state", .verbs = VERB_BIT(CUT),
        .examples = "adit stream list --state open --user alice\nadit stream cut --user alice --expect 3 --wait\nadit stream cut 01J9Z6T8E2Q4W7R5Y3V1N0M8KD\n" },
    { .kind = KIND_COUNT, .word = "breaker", .one = "a breaker", .many = "breakers", .plural = "breakers",
        .help = "targets that failed again and again and are left alone for a while",
        .columns = "id state agent_group_name host port reason failures opened_at tries_again_at",
        .filters = "agent_group host", .verbs = VERB_BIT(RESET),
        .examples = "adit breaker list\nadit breaker reset 01J9Z6T8E2Q4W7R5Y3V1N0M8KD --wait\n" },
    { .kind = KIND_COUNT, .word = "diagnostic", .one = "a diagnosis", .many = "diagnoses", .plural = "diagnostics",
        .help = "targets that were tried from where agents are (adit diagnose)",
        .columns = "id at state reason host port agent_name agent_group_name destination_profile_name user_name asked_by_name",
        .filters = "state reason host",
        .examples = "adit diagnostic list --reason tls-unverified\nadit diagnostic show 01J9Z6T8E2Q4W7R5Y3V1N0M8KD\n" },
    { .kind = KIND_COUNT, .word = "decision", .one = "a route decision", .many = "route decisions",
        .plural = "route-decisions", .help = "what relays decided lately",
        .columns = "at allowed reason user_name host port agent_name", .filters = "user reason",
        .examples = "adit decision list --user alice --reason no-grant\n" },
    { .kind = KIND_COUNT, .word = "operation", .one = "an operation", .many = "operations",
        .plural = "operations", .help = "work on many objects, and how it ended",
        .columns = "at id operation state dry_run total done refused", .filters = "user operation",
        .examples = "adit api POST '/api/v1/users/batch?role=user&expected=3&dry_run=true' '{\"patch\":{\"status\":\"disabled\"}}'\n"
                    "adit operation list\n"
                    "adit api GET /api/v1/operations/01J9Z6T8E2Q4W7R5Y3V1N0M8KD/items\n" },
    { .kind = KIND_COUNT, .word = "audit", .one = "an audit event", .many = "audit events", .plural = "audit-events",
        .help = "who changed what",
        .columns = "at actor.name action object.kind object.name outcome count",
        .filters = "action outcome actor actor_id trace_id object_id object_kind",
        .verbs = VERB_BIT(EXPORT) | VERB_BIT(VERIFY),
        .examples = "adit audit list --object-kind user --created-after -1d\n"
                    "adit audit export > audit.jsonl\nadit audit verify\n" },
};

const struct resource *resource_at(size_t i)
{
    return i < ARRAY_LEN(resources) ? &resources[i] : NULL;
}

const struct resource *resource_find(const char *word)
{
    const struct resource *r;

    for (size_t i = 0; (r = resource_at(i)); i++) {
        if (strcmp(r->word, word) == 0)
            return r;
    }
    return NULL;
}

const struct kind *resource_kind(const struct resource *resource)
{
    return resource->kind == KIND_COUNT ? NULL : kind_at(resource->kind);
}

const char *resource_plural(const struct resource *resource)
{
    return resource->plural ? resource->plural : kind_at(resource->kind)->plural;
}

const struct verb *verb_at(enum verb_id id)
{
    return &verbs[id];
}

bool resource_has(const struct resource *resource, enum verb_id id)
{
    static const unsigned needs[VERB_COUNT] = {
        [VERB_CREATE] = KIND_CREATE, [VERB_EDIT] = KIND_UPDATE, [VERB_DELETE] = KIND_DELETE,
    };

    const struct kind *kind = resource_kind(resource);

    if (id == VERB_LIST || id == VERB_SHOW || (resource->verbs & (1u << id)))
        return true;
    if (!kind)
        return false;
    if (id == VERB_MEMBERS || id == VERB_ADD_MEMBER || id == VERB_REMOVE_MEMBER)
        return kind->relation != NULL;
    return needs[id] && (kind->flags & needs[id]) != 0;
}

enum verb_id resource_verb(const struct resource *resource, const char *name)
{
    for (enum verb_id id = 0; id < VERB_COUNT; id++) {
        if (strcmp(verbs[id].name, name) == 0 && resource_has(resource, id))
            return id;
    }
    return VERB_COUNT;
}
