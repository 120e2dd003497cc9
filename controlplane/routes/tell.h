#pragma once
#include "controlplane/domain/kind.h"
#include "controlplane/store/store.h"
/*
 * tell.h - what listeners of GET /events are told of, written in the transaction of what happened.
 *
 * Errors     the store's; -errno.
 * Threads    the transaction's.
 */
#define TOPICS(X) X(CHANGES, "changes") X(AGENTS, "agents") X(RELAYS, "relays") X(ALARMS, "alarms")  \
    X(OPERATIONS, "operations")
enum topic {
#define TOPIC_ENUM(name_, text_) TOPIC_##name_,
    TOPICS(TOPIC_ENUM)
#undef TOPIC_ENUM
    TOPIC_COUNT
};
const char *topic_name(enum topic topic);
enum topic topic_find(struct span name);        /* TOPIC_COUNT */

/* An object was "created", "changed", "deleted", or its "members" were; `doc`: as it is, or was. */
MUST_CHECK int tell_change(struct store_tx *tx, const char *what, const struct kind *kind,
                           const struct ulid *id, struct span name, struct span doc);
MUST_CHECK int tell_agent(struct store_tx *tx, const struct ulid *agent, const char *relay, bool is_up);
MUST_CHECK int tell_alarm(struct store_tx *tx, struct span reason, struct span object, struct span text);
/* What a relay runs from now on, before its report is kept: told once. */
MUST_CHECK int tell_applied(struct store_tx *tx, const struct ulid *relay, uint64_t epoch, uint64_t revision);
/* How far an operation of this user is. */
MUST_CHECK int tell_operation(struct store_tx *tx, const struct ulid *id, struct span owner, struct span doc);

/* Tells of relays that no longer report, or do again.  In transactions of its own; of several
 * control planes one tells. */
MUST_CHECK int tell_absences(struct store *store);
