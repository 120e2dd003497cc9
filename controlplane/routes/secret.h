#pragma once
#include "controlplane/routes/call.h"
/*
 * secret.h - secrets that we make: shown once, kept as a hash (or sealed).
 *
 * Ownership  issued_deinit() wipes, after the answer was written.
 */
struct issued {
    struct buf shown;           /* what the caller sees this one time */
    struct buf kept;            /* hash, or sealed bytes */
    char fingerprint[13];
    struct change_secret secret;        /* points into the above; purpose NULL: the kind has none */
};

void issued_init(struct issued *s);
/* For a new object of the call's kind with this document. */
MUST_CHECK int issued_make(struct call *c, const struct ulid *id, const struct json_value *doc,
                           struct issued *s);
/* An API token's text and hash, whatever the call is about. */
MUST_CHECK int issued_make_token(const char *purpose, struct issued *s);
/* What somebody gave us, to be shown to a third: sealed.  Empty: to be taken away. */
MUST_CHECK int issued_seal(struct call *c, struct span secret, struct issued *s);
MUST_CHECK int issued_unseal(struct api *api, const struct kind *kind, const struct store_secret *secret,
                             struct buf *out);
void issued_deinit(struct issued *s);
