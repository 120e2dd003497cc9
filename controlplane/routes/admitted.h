#pragma once
#include "controlplane/routes/api_internal.h"
/*
 * admitted.h - whether a lock keeps a user or service account from the API, as it does from the doors.
 *
 * By the policy in force, which is some 20 ms behind what is kept.  A lock of an address does not
 * count here: who has locked too much must be able to take it back.
 *
 * Threads    any.
 */
enum reason admitted_now(const struct api *api, const struct ulid *user);
