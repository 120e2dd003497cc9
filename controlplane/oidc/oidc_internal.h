#pragma once
#include "controlplane/oidc/oidc.h"
#include "lib/base/list.h"
#include <curl/curl.h>
#include <pthread.h>
/*
 * oidc_internal.h - what this room's files share; with the lock of struct oidc held.
 */
struct metadata {                       /* what a provider publishes of itself */
    char authorization_endpoint[OIDC_URL_MAX], token_endpoint[OIDC_URL_MAX], jwks_uri[OIDC_URL_MAX];
    bool posts_secret;                  /* in the body; otherwise by HTTP Basic */
    bool names_itself;                  /* with each code, RFC 9207 */
};

enum fetch_kind { FETCH_METADATA, FETCH_KEYS, FETCH_TOKEN, FETCH_KIND_COUNT };

struct known {                          /* of one provider */
    struct list node;
    struct ulid id;
    int64_t version;
    char *issuer, *ca_pem;
    struct metadata metadata;
    struct jwks *keys;
    uint64_t metadata_ms, keys_ms;      /* when they came; 0: never */
    struct {
        uint64_t tried_ms;              /* ended; 0: never */
        bool runs, has_failed;
    } fetches[FETCH_TOKEN];             /* metadata, keys */
    char why[OIDC_WHY_MAX];             /* the last failure's */
    uint64_t used_ms;
    unsigned users;                     /* asks and fetches that point here */
};

enum step { STEP_METADATA, STEP_TOKEN, STEP_TOKEN_RUNS, STEP_VERIFY, STEP_KEYS, STEP_DONE };

struct asked {
    struct list node;
    char key[OIDC_KEY_MAX + 1];
    struct known *known;
    enum step step;
    bool has_new_keys;                  /* they were fetched for this ask, or not long ago */
    uint64_t end_ms;                    /* then it fails, or when done: is forgotten */
    char *client_id, *client_secret, *redirect_uri, *code, *verifier, *nonce, *code_issuer;
    char *id_token, *access_token;
    unsigned algs;
    struct fetch *fetch;                /* its own: the token's */
    struct oidc_answer answer;
};

struct fetch {
    struct list node;
    enum fetch_kind kind;
    struct known *known;
    struct asked *asked;                /* the token's; NULL: gone */
    CURL *easy;
    struct curl_slist *headers;
    struct buf body;
    bool is_started;
    char error[CURL_ERROR_SIZE];
};

struct oidc {
    struct oidc_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    CURLM *multi;
    struct list known, asks, fetches;
    size_t known_count, ask_count;
    struct oidc_stats stats;
    bool has_thread, is_stopping, has_answers;
};

uint64_t oidc_now_ms(void);

/* ---- metadata.c: pure ---- */
/* NULL: taken; otherwise what is wrong with it (static). */
const char *metadata_parse(struct span json, const char *issuer, struct metadata *ret);
bool oidc_url_is_good(struct span url);

/* ---- fetch.c ---- */
/* Queues it; the thread starts it.  `body` NONE: a GET. */
MUST_CHECK int fetch_new(struct oidc *o, struct known *known, enum fetch_kind kind, const char *url,
                         struct span body, struct fetch **ret_fetch);
MUST_CHECK int fetch_add_basic(struct fetch *f, const char *user, const char *secret);
void fetch_start_all(struct oidc *o);
void fetch_free(struct oidc *o, struct fetch *f);

/* ---- steps.c ---- */
/* Takes the ask as far as it comes without waiting. */
void asked_go_on(struct oidc *o, struct asked *a);
void asked_fail(struct oidc *o, struct asked *a, enum reason reason, const char *why);
/* `error` NULL: there is an answer with this status. */
void fetch_ended(struct oidc *o, struct fetch *f, const char *error, long status);
