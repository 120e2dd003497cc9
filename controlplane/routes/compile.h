#pragma once
#include "controlplane/domain/kind.h"
#include "controlplane/store/store.h"
#include "lib/json/json.h"
/*
 * compile.h - objects into the records that relays decide from.
 *
 * Users carry their groups flattened, agent groups their members by name and by selector,
 * grants their windows with the offsets of their zone for the coming years.
 *
 * Errors     the store's; -ENOBUFS: a record too large; -errno.
 * Threads    the transaction's.
 */
/* Writes the object's record as it stands now, or removes it when the object is gone. */
MUST_CHECK int compile_object(struct store_tx *tx, enum kind_id kind, const struct ulid *id);
/* Every user below a group (or the user itself). */
MUST_CHECK int compile_users_below(struct store_tx *tx, const struct ulid *member);
/* The records of his proxy credentials. */
MUST_CHECK int compile_credentials_of(struct store_tx *tx, const struct ulid *user);
/* Whether the doors take a user's chosen password: he has no proxy credential, which is better, and no
 * second factor, which a door could not ask for. */
MUST_CHECK int compile_takes_password(struct store_tx *tx, const struct ulid *user, const struct json_value *doc,
                                      bool *ret_takes);
/* What relays know of that: after his credentials or his second factor changed. */
MUST_CHECK int compile_door_password(struct store_tx *tx, const struct ulid *user);
/* The agent groups whose selector an agent's document met before or meets now, but not both; an empty
 * one: the agent is new, or gone. */
MUST_CHECK int compile_selectors(struct store_tx *tx, struct span before, struct span after);
