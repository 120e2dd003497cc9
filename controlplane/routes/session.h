#pragma once
#include "controlplane/routes/call.h"
#include "controlplane/routes/secret.h"
/*
 * session.h - log-in sessions, however somebody has shown who he is.
 *
 * Errors     the store's; -ENOMEM.
 */
#define SESSION_MS (12 * 3600 * 1000LL)

/* Makes one for the user in the call's transaction; those of his that are over go.  `s`: its token. */
MUST_CHECK int session_make(struct call *c, const struct store_object *user, struct issued *s,
                            struct ulid *ret_id);
