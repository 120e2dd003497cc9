#pragma once
#include "controlplane/http/server.h"
#include "controlplane/oidc/oidc.h"
#include "controlplane/publish/keyring.h"
#include "controlplane/store/store.h"
#include "lib/crypto/key.h"
#include "lib/crypto/seal.h"
#include "lib/crypto/secret.h"
#include "lib/policy/policy.h"
/*
 * api.h - the REST API as a table of routes over a store.
 *
 * Ownership  the options are copied, what they point to outlives the api.
 * Threads    api_new, api_free: the owner's; hooks and handlers: any.
 */
#define API_JOIN_ADDRS_MAX 8

/* To be rung: when a relay reports what it applied; when an identity provider has answered. */
enum { API_TOPIC_APPLIED = 0, API_TOPIC_SIGN_IN = 1 };

struct api_options {
    struct store *store;
    const char *cluster;
    const struct keyring *keys;         /* NULL: no proxy credential can be made */
    struct kek kek;                     /* seals the secrets of join tokens and second factors */
    unsigned sessions_max;              /* log-in sessions of one user; 0: 20 */
    unsigned totp_roles;                /* a set of ROLE_BIT_…: of whom a second factor is required */
    char ca_pin[SHA256_HEX];            /* SHA-256 of the root certificate, hex */
    const char *agent_join_addrs[API_JOIN_ADDRS_MAX];   /* relays' tunnels; NULL ends */
    const char *relay_join_addrs[API_JOIN_ADDRS_MAX];   /* this API; NULL ends */
    /* The present policy with a reference for the caller, once it holds all up to `at`, or when
     * that takes too long; NULL: none yet. */
    struct policy *(*policy)(void *ctx, const struct store_position *at);
    /* The same, as far as it is, and where that is; NULL: none, and what needs it reads all. */
    struct policy *(*policy_now)(void *ctx, struct store_position *ret_at);
    void *policy_ctx;
    unsigned listeners_max, listeners_per_caller;       /* of GET /events; 0: 256, 16 */
    const char *pac_url;                /* before "/pac/…" in PAC links; NULL or empty: the path alone */
    const struct key *audit_key;        /* of the audit's checkpoints */
    const char *audit_file;             /* where they go outside; NULL or empty: nowhere */
    const char *public_url;             /* where browsers find this API: https://host[:port]; NULL: nobody logs in by a provider */
    struct oidc *oidc;                  /* NULL likewise */
    void (*on_order)(void *ctx);        /* a diagnosis waits for its relay; NULL: nobody is told */
    void *on_order_ctx;
    unsigned diagnostics_per_minute;    /* of one caller; 0: 20 */
    unsigned diagnostics_kept;          /* 0: 500 */
    const struct route *extra;          /* further rows, e.g. joining; copied */
    size_t extra_count;
};

struct api;
MUST_CHECK int api_new(const struct api_options *options, struct api **ret_api);
void api_free(struct api *api);
DEFINE_FREEP(api, api_free)
const struct route *api_routes(const struct api *api, size_t *ret_count);

struct hub_stats;
void api_get_listeners(const struct api *api, struct hub_stats *ret_stats);
/* Ends the streams of events: before the listener drains. */
void api_stop(struct api *api);

/* Gives up diagnoses whose time is over; to be called now and then.  Who waits for one: on API_TOPIC_APPLIED. */
MUST_CHECK int api_settle(struct api *api, bool *ret_is_news);

/* Keeps when API tokens were used last; to be called now and then, and at the end. */
MUST_CHECK int api_keep_uses(struct api *api);

/* For struct server_hooks, with the api as context. */
bool api_authenticate(void *api, struct request *req, struct response *res);
bool api_replay(void *api, struct request *req, struct response *res);
