#pragma once
#include "lib/base/reason.h"
#include "lib/base/ulid.h"
#include "lib/jose/jwt.h"
/*
 * oidc.h - asking identity providers: discovery, keys, and an ID token for a code.
 *
 * One thread moves all requests to all providers, none of which waits for another; who asks is
 * told by a callback that there are answers, and takes his.  What a provider publishes of itself
 * is kept for fresh_ms; its keys are fetched again when a token names one that is not known,
 * but not twice within pause_ms.
 *
 * Trust      HTTPS only, the host's name checked; no redirect is followed, no proxy variable
 *            heeded.  What is published must name the issuer, letter for letter.
 * Limits     asks_max asks, a quarter of them for one provider; OIDC_PROVIDERS_MAX providers are
 *            remembered; the sizes below; timeout_ms a request, OIDC_ASK_MS an ask.
 * Ownership  an ask is copied.  The answer's claims are the caller's.
 * Threads    any; done() comes on the room's own.
 * Source     OpenID Connect Core 1.0, Discovery 1.0; RFC 6749, 7636, 9207, 9700.
 */
#define OIDC_URL_MAX 512
#define OIDC_WHY_MAX 160
#define OIDC_KEY_MAX 63
#define OIDC_PROVIDERS_MAX 32
#define OIDC_METADATA_MAX ((size_t)64 << 10)
#define OIDC_TOKEN_MAX ((size_t)64 << 10)
#define OIDC_ASK_MS 25000
#define OIDC_KEPT_MS 60000              /* an answer that nobody takes */

struct oidc_options {
    unsigned asks_max;                  /* 0: 64 */
    unsigned timeout_ms;                /* 0: 10,000 */
    unsigned pause_ms;                  /* after a failure, too; 0: 10,000 */
    unsigned fresh_ms;                  /* 0: 3,600,000 */
    void (*done)(void *ctx);            /* may be NULL */
    void *ctx;
};

struct oidc_ask {
    struct ulid provider;
    int64_t version;                    /* another one: what was known of it is forgotten */
    const char *issuer, *client_id, *client_secret;     /* "": a public client */
    const char *ca_pem;                 /* "": whom the machine trusts */
    const char *redirect_uri;
    unsigned algs;
    const char *code;                   /* NULL: only where to send people is asked */
    const char *verifier, *nonce;
    const char *code_issuer;            /* that came beside the code; NULL: none did */
};

struct oidc_answer {
    bool is_done;
    enum reason reason;                 /* NONE; IDENTITY_PROVIDER_REFUSED, _UNAVAILABLE; OVERLOAD */
    char why[OIDC_WHY_MAX];
    char authorization_endpoint[OIDC_URL_MAX];
    struct json_value *claims;          /* of the ID token, all checked; NULL without a code */
};

struct oidc_stats {
    uint64_t asks, refused, unavailable, fetches;       /* so far */
    uint64_t running;                                   /* now */
};

enum { OIDC_E_FULL = 1, OIDC_E_EXISTS };
struct oidc;
MUST_CHECK int oidc_new(const struct oidc_options *options, struct oidc **ret_oidc);
void oidc_free(struct oidc *o);         /* what runs is dropped */
DEFINE_FREEP(oidc, oidc_free)
/* `key`: what the answer is taken by, at most OIDC_KEY_MAX characters.  OIDC_E_FULL; OIDC_E_EXISTS; -ENOMEM. */
MUST_CHECK int oidc_begin(struct oidc *o, const char *key, const struct oidc_ask *ask);
/* False: there is no such ask.  An answer that is done is given once. */
bool oidc_take(struct oidc *o, const char *key, struct oidc_answer *ret_answer);
void oidc_cancel(struct oidc *o, const char *key);
/* In form fields, queries and before HTTP Basic. */
void oidc_escape(const char *text, struct buf *out);
void oidc_get_stats(struct oidc *o, struct oidc_stats *ret_stats);
