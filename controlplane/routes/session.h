#pragma once
#include "controlplane/routes/call.h"
#include "controlplane/routes/secret.h"
/*
 * session.h - log-in sessions, however somebody has shown who he is.
 *
 * Bounds     of one user: the option `sessions_max`; when there would be more, the oldest ends.
 * Errors     the store's; -ENOMEM.
 */
#define SESSION_MS (12 * 3600 * 1000LL)
#define SESSIONS_MAX_DEFAULT 20

struct session_of {
    struct ulid user;
    struct span name;
    bool is_enrolling;      /* a short one, which may enrol in a second factor and nothing else */
};

/* In the call's transaction; those of his that are over go.  `s`: its token. */
MUST_CHECK int session_make(struct call *c, const struct session_of *of, struct issued *s, struct ulid *ret_id);
/* Makes one and answers with it: 201, committed. */
MUST_CHECK int session_give(struct call *c, const struct session_of *of);

/* All of the user's end, but the one with the id `kept` (empty: none is kept). */
MUST_CHECK int sessions_end(struct change *change, const struct ulid *user, struct span kept);
/* All of all users who log in by the provider. */
MUST_CHECK int sessions_end_of_provider(struct change *change, const struct ulid *provider);
