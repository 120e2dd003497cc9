#pragma once
#include "controlplane/oidc/oidc.h"
#include "controlplane/routes/call.h"
/*
 * sign_in.h - logging in by an identity provider: there, back, and who it is.
 *
 * What must be remembered meanwhile is in a signed cookie of ten minutes: whose provider, where to go
 * then, and a seed out of which state, nonce and verifier are worked out, so that the browser that
 * comes back is the one that went, and strangers who begin and never end leave nothing here.
 * That it was used stands in the store, with what it gave.
 *
 * Errors     CALL_E_ANSWERED (refused, or waiting for the provider); the store's; -ENOMEM.
 * Source     OpenID Connect Core 1.0 section 3.1; RFC 7636; RFC 8252 for terminals; RFC 9700.
 */
#define SIGN_IN_MS (10 * 60 * 1000LL)
#define SIGN_IN_CODE_MS (60 * 1000LL)           /* for a terminal to redeem its code */
#define SIGN_IN_RETURN_MAX 100
#define SIGN_IN_CHALLENGE_LEN 43
#define SIGN_IN_SEED_LEN 43

struct provider {                       /* loaded; provider_deinit() */
    struct store_object *object;
    struct json_value *doc;
    struct buf secret, redirect_uri, issuer, client_id, ca;     /* texts */
    unsigned algs;
};

void provider_init(struct provider *p);
void provider_deinit(struct provider *p);
/* By the path; not found when it is not active. */
MUST_CHECK int provider_load(struct call *c, struct provider *ret_provider);
/* For oidc_begin(); points into the provider. */
struct oidc_ask provider_ask(struct provider *p);
/* Begins the ask, or takes its answer when the call is run again: 0 when it is there and good. */
MUST_CHECK int provider_wait(struct call *c, const char *key, const struct oidc_ask *ask,
                             struct oidc_answer *ret_answer);

struct journey {                        /* from the door there and back */
    struct ulid provider;
    int64_t end_ms;
    char seed[SIGN_IN_SEED_LEN + 1];
    char return_to[SIGN_IN_RETURN_MAX + 1];
    unsigned port;                      /* of a terminal on the loopback address; 0: a browser */
    char challenge[SIGN_IN_CHALLENGE_LEN + 1];
};
MUST_CHECK int journey_write(struct call *c, const struct journey *j, struct buf *out);
/* -EBADMSG */
MUST_CHECK int journey_read(struct call *c, struct span ticket, struct journey *ret_journey);

/* The user of these claims: found, or made where the provider's settings say so; role, groups and
 * last_login_at as of now.  In the call's transaction, which writes. */
MUST_CHECK int sign_in_user(struct call *c, const struct provider *p, const struct json_value *claims,
                            struct store_object **ret_user);
/* Refuses a key that was used before. */
MUST_CHECK int sign_in_once(struct call *c, struct span key);
