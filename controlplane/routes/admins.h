#pragma once
#include "controlplane/routes/call.h"
/*
 * admins.h - never without somebody who may administer: a lock counts as much as being gone.
 *
 * Errors     CALL_E_ANSWERED with last-admin; the store's.
 */
/* Before a lock of a user or group begins to hold: some active admin must be left without one. */
MUST_CHECK int admins_check_lock(struct call *c, const struct json_value *lock);
