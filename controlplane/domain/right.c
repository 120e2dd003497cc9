#include "controlplane/domain/right.h"

enum {
    M = ROLE_BIT_ADMIN,
    OM = ROLE_BIT_OPERATOR | M,
    AOM = ROLE_BIT_AUDITOR | OM,
    ALL = ROLE_BITS_ALL,
    NO = 0,
};

static const struct right rights[] = {
    /* operation                    everybody's  his own */
    { "identity-providers.list",        AOM,     NO },
    { "identity-providers.create",      M,       NO },
    { "identity-providers.get",         AOM,     NO },
    { "identity-providers.update",      M,       NO },
    { "identity-providers.delete",      M,       NO },
    { "identity-providers.batch",       M,       NO },
    { "identity-providers.log-in",      NO,      NO },      /* public: the browser's way there and back */
    { "identity-providers.callback",    NO,      NO },
    { "identity-providers.redeem",      NO,      NO },      /* public: the code and its verifier prove it */
    { "users.list",                     AOM,     ALL },
    { "users.create",                   OM,      NO },
    { "users.get",                      AOM,     ALL },
    { "users.update",                   OM,      ALL },     /* own: the password only */
    { "users.delete",                   OM,      NO },
    { "users.batch",                    OM,      NO },
    { "keys.list",                      AOM,     NO },
    { "keys.get",                       AOM,     NO },
    { "keys.rotate",                    M,       NO },
    { "users.totp.create",              NO,      ALL },
    { "users.totp.confirm",             NO,      ALL },
    { "users.totp.delete",              OM,      NO },
    { "service-accounts.list",          AOM,     NO },
    { "service-accounts.create",        OM,      NO },
    { "service-accounts.get",           AOM,     NO },
    { "service-accounts.update",        OM,      NO },
    { "service-accounts.delete",        OM,      NO },
    { "service-accounts.batch",         OM,      NO },
    { "groups.list",                    AOM,     NO },
    { "groups.create",                  OM,      NO },
    { "groups.get",                     AOM,     NO },
    { "groups.update",                  OM,      NO },
    { "groups.delete",                  OM,      NO },
    { "groups.batch",                   OM,      NO },
    { "groups.members.list",            AOM,     NO },
    { "groups.members.get",             AOM,     NO },
    { "groups.members.put",             OM,      NO },
    { "groups.members.delete",          OM,      NO },
    { "proxy-credentials.list",         AOM,     ALL },
    { "proxy-credentials.create",       OM,      ALL },
    { "proxy-credentials.get",          AOM,     ALL },
    { "proxy-credentials.update",       OM,      ALL },
    { "proxy-credentials.delete",       OM,      ALL },
    { "proxy-credentials.batch",        OM,      NO },
    { "pac-links.list",                 AOM,     ALL },
    { "pac-links.create",               OM,      ALL },
    { "pac-links.get",                  AOM,     ALL },
    { "pac-links.update",               OM,      ALL },
    { "pac-links.delete",               OM,      ALL },
    { "pac-links.batch",                OM,      NO },
    { "agents.list",                    AOM,     NO },
    { "agents.create",                  OM,      NO },
    { "agents.get",                     AOM,     NO },
    { "agents.update",                  OM,      NO },
    { "agents.delete",                  OM,      NO },
    { "agents.batch",                   OM,      NO },
    { "agent-groups.list",              AOM,     NO },
    { "agent-groups.create",            OM,      NO },
    { "agent-groups.get",               AOM,     NO },
    { "agent-groups.update",            OM,      NO },
    { "agent-groups.delete",            OM,      NO },
    { "agent-groups.batch",             OM,      NO },
    { "agent-groups.members.list",      AOM,     NO },
    { "agent-groups.members.get",       AOM,     NO },
    { "agent-groups.members.put",       OM,      NO },
    { "agent-groups.members.delete",    OM,      NO },
    { "join-tokens.list",               AOM,     NO },
    { "join-tokens.create",             OM,      NO },      /* for relays: admins only */
    { "join-tokens.get",                AOM,     NO },
    { "join-tokens.update",             OM,      NO },
    { "join-tokens.delete",             OM,      NO },
    { "join-tokens.batch",              OM,      NO },
    { "destination-profiles.list",      AOM,     NO },
    { "destination-profiles.create",    OM,      NO },
    { "destination-profiles.get",       AOM,     NO },
    { "destination-profiles.update",    OM,      NO },
    { "destination-profiles.delete",    OM,      NO },
    { "destination-profiles.batch",     OM,      NO },
    { "grants.list",                    AOM,     ALL },
    { "grants.create",                  OM,      NO },
    { "grants.get",                     AOM,     ALL },
    { "grants.update",                  OM,      NO },
    { "grants.delete",                  OM,      NO },
    { "grants.batch",                   OM,      NO },
    { "dns-overrides.list",             AOM,     NO },
    { "dns-overrides.create",           OM,      NO },
    { "dns-overrides.get",              AOM,     NO },
    { "dns-overrides.update",           OM,      NO },
    { "dns-overrides.delete",           OM,      NO },
    { "dns-overrides.batch",            OM,      NO },
    { "locks.list",                     AOM,     NO },
    { "locks.create",                   OM,      NO },
    { "locks.get",                      AOM,     NO },
    { "locks.update",                   OM,      NO },
    { "locks.delete",                   OM,      NO },
    { "locks.batch",                    OM,      NO },
    { "quotas.list",                    AOM,     ALL },
    { "quotas.create",                  OM,      NO },
    { "quotas.get",                     AOM,     ALL },
    { "quotas.update",                  OM,      NO },
    { "quotas.delete",                  OM,      NO },
    { "quotas.batch",                   OM,      NO },
    { "expectations.list",              AOM,     NO },
    { "expectations.create",            OM,      NO },
    { "expectations.get",               AOM,     NO },
    { "expectations.update",            OM,      NO },
    { "expectations.delete",            OM,      NO },
    { "expectations.batch",             OM,      NO },
    { "api-tokens.list",                AOM,     ALL },
    { "api-tokens.create",              OM,      ALL },
    { "api-tokens.get",                 AOM,     ALL },
    { "api-tokens.update",              OM,      ALL },
    { "api-tokens.rotate",              OM,      ALL },
    { "api-tokens.delete",              OM,      ALL },
    { "api-tokens.batch",               OM,      NO },
    { "login-sessions.list",            AOM,     ALL },
    { "login-sessions.create",          NO,      NO },      /* public: this is how one logs in */
    { "login-sessions.get",             AOM,     ALL },
    { "login-sessions.delete",          OM,      ALL },
    { "login-sessions.batch",           OM,      NO },
    { "relays.list",                    AOM,     NO },
    { "relays.get",                     AOM,     NO },
    { "relays.update",                  M,       NO },
    { "relays.delete",                  M,       NO },
    { "relays.batch",                   M,       NO },
    { "streams.list",                   AOM,     ALL },
    { "streams.get",                    AOM,     ALL },
    { "streams.delete",                 OM,      ALL },
    { "diagnostics.list",               AOM,     ALL },
    { "diagnostics.create",             OM,      ALL },     /* own: what he may reach */
    { "diagnostics.get",                AOM,     ALL },
    { "breakers.list",                  AOM,     NO },
    { "breakers.get",                   AOM,     NO },
    { "breakers.delete",                OM,      NO },
    { "streams.cut",                    OM,      NO },
    { "route-decisions.list",           AOM,     ALL },
    { "route-decisions.get",            AOM,     ALL },
    { "audit-events.list",              AOM,     NO },
    { "audit-events.get",               AOM,     NO },
    { "audit-events.verify",            AOM,     NO },
    { "audit-events.revert",            OM,      NO },      /* and the object's own right */
    { "config.get",                     AOM,     NO },      /* and each kind's list */
    { "config.put",                     OM,      NO },      /* and each object's own right */
    { "access.explain",                 AOM,     ALL },
    { "access.effective",               AOM,     ALL },
    { "me.get",                         ALL,     NO },
    { "revisions.get",                  ALL,     NO },
    { "operations.list",                AOM,     ALL },
    { "operations.get",                 AOM,     ALL },
    { "operations.items",               AOM,     ALL },
    { "events.listen",                  ALL,     NO },      /* and for each event, what it is about */
    { "statistics.get",                 AOM,     NO },
    { "status.get",                     AOM,     NO },
    { "join",                           NO,      NO },      /* public: the token's MAC proves it */
    { "openapi.get",                    NO,      NO },
};

static const struct {
    unsigned bit;
    const char *name;
} roles[] = {                           /* from the widest to the narrowest */
    { ROLE_BIT_ADMIN, "admin" },
    { ROLE_BIT_OPERATOR, "operator" },
    { ROLE_BIT_AUDITOR, "auditor" },
    { ROLE_BIT_USER, "user" },
};

const struct right *right_at(size_t i)
{
    return i < ARRAY_LEN(rights) ? &rights[i] : NULL;
}

const struct right *right_find(struct span operation)
{
    for (size_t i = 0; i < ARRAY_LEN(rights); i++) {
        if (span_eq(span_str(rights[i].operation), operation))
            return &rights[i];
    }
    return NULL;
}

unsigned role_bit(struct span role)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (span_eq(span_str(roles[i].name), role))
            return roles[i].bit;
    }
    return 0;
}

const char *role_name(unsigned bit)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (roles[i].bit & bit)
            return roles[i].name;
    }
    return "";
}

bool role_covers(unsigned actor, unsigned role)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (roles[i].bit & actor)
            return true;
        if (roles[i].bit & role)
            return false;
    }
    return false;
}

bool role_may_give(unsigned actor, unsigned role)
{
    return (actor & ROLE_BIT_ADMIN) || (role == ROLE_BIT_USER && (actor & ROLE_BIT_OPERATOR));
}
