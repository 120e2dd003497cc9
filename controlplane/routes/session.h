#pragma once
#include "controlplane/routes/call.h"
#include "controlplane/routes/secret.h"
/*
 * session.h - log-in sessions, however somebody has shown who he is.
 *
 * Errors     the store's; -ENOMEM.
 */
#define SESSION_MS (12 * 3600 * 1000LL)

struct session_of {
    struct ulid user;
    struct span name;
    bool is_enrolling;      /* a short one, which may enrol in a second factor and nothing else */
};

/* Makes one in the call's transaction; those of the user that are over go.  `s`: its token. */
MUST_CHECK int session_make(struct call *c, const struct session_of *of, struct issued *s,
                            struct ulid *ret_id);
/* Makes one and answers with it: 201, committed. */
MUST_CHECK int session_give(struct call *c, const struct session_of *of);
