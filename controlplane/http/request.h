#pragma once
#include "controlplane/http/problem.h"
#include "lib/base/addr.h"
#include "lib/base/ulid.h"
/*
 * request.h - one request, whole, and the answer to it; no library's type shows.
 *
 * A handler runs on a pool thread with the body read, the caller authenticated, role and
 * scope checked, media type, Accept, query names and header conditions of its route row
 * settled.  It reads the request and fills the response.  A response nobody filled is 500.
 *
 * Shape      path parameters and query values are percent-decoded.
 * Ownership  all of it is the server's and lives until the handler returns.
 * Threads    the handler's.
 */
#define REQUEST_PARAMS_MAX 4
#define REQUEST_CHAIN_MAX 4
#define REQUEST_QUERIES_MAX 48
#define RESPONSE_HEADERS_MAX 16
#define RESPONSE_LOCATION_MAX 4096

/* Who may: a route names a set of these, a principal holds one or more. */
enum {
    ROLE_ADMIN = 1, ROLE_OPERATOR = 2, ROLE_AUDITOR = 4, ROLE_USER = 8, ROLE_RELAY = 16,
    ROLE_ANY = 15,              /* whoever has logged in */
};

struct principal {
    char kind[16];              /* "user", "service-account", "relay", "" (nobody) */
    char id[ULID_LEN + 1];
    char name[254];
    unsigned roles;
    char token_id[ULID_LEN + 1];        /* API token or log-in session; "" */
    char scopes[1024];          /* space-separated "users:read"; "*": all that the roles allow */
    bool is_session;            /* came by cookie */
};

struct route;
struct request {
    const struct route *route;
    const char *method;
    struct span path, params[REQUEST_PARAMS_MAX];       /* the {…} of the pattern, in order */
    size_t param_count;
    struct span body, content_type;
    char trace_id[33];          /* the client's, or ours: not to be trusted to be nobody else's */
    char id[33];                /* ours, random, of this request alone */
    struct addr peer;
    struct span peer_chain[REQUEST_CHAIN_MAX];  /* DER, leaf first; internal listener only */
    size_t peer_chain_count;
    struct principal principal;
    struct span idempotency_key;        /* empty: none */
    char body_hash[65];                 /* SHA-256 hex of the body, when there is a key */
    bool is_woken;              /* after response_park(): the topic was rung */
    bool is_expired;            /* after response_park(): its time is over */
    void *server_private;
};

/* Header by name, whatever its case; empty when absent. */
struct span request_header(const struct request *req, const char *name);
/* False when absent; a parameter that was given twice was refused before. */
bool request_query(const struct request *req, const char *name, struct span *ret_value);
size_t request_query_count(const struct request *req);
void request_query_at(const struct request *req, size_t i, struct span *ret_name,
                      struct span *ret_value);
bool principal_has_scope(const struct principal *principal, const char *scope);

/* What the audit is to say of a refusal, where the request itself does not say it. */
struct refusal_note {
    bool is_audited;            /* the handler has written an event of its own */
    const char *asker_kind;     /* static; who asks by a relay: "agent" (proven), "anonymous"; NULL: the caller */
    struct ulid asker;          /* an agent's id */
    struct addr asker_addr;     /* anonymous: where the relay sees him */
    const char *object_kind;    /* static; NULL: by the path */
    struct ulid object;
};

struct response {
    unsigned status;            /* 0: not answered yet */
    const char *content_type;   /* NULL: application/json */
    struct buf body;            /* heap, at most 64 MiB */
    struct buf extra;           /* heap, at most 64 KiB: where problem.extra may lie */
    struct {
        char name[32], value[512];
    } headers[RESPONSE_HEADERS_MAX];
    size_t header_count;
    struct buf location;        /* heap: with its NUL: response_redirect(); empty: none */
    struct problem problem;
    unsigned park_ms;           /* response_park() */
    struct refusal_note note;
};

/* Sets a header; the same name again replaces it (Set-Cookie: is added).  Line breaks in a value make it 500. */
void response_header(struct response *res, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);
/* Leads elsewhere; a URL may be longer than other headers.  Line breaks in it make it 500. */
void response_redirect(struct response *res, unsigned status, struct span url);
/* ETag of an object's version; on GET and HEAD, If-None-Match then answers 304 by itself. */
void response_etag(struct response *res, int64_t version);
/* Turns the response into a problem: what was written to the body is dropped. */
void response_problem(struct response *res, enum reason reason, const char *format, ...) PRINTF_LIKE(3, 4);
/* From the errors of a store or a library: -errno becomes `internal` without its text. */
void response_fail(struct response *res, int r);
/* If-Match against the version that the object has: true to go on; otherwise a problem is
 * set (428 without the header, 412 when stale).  "*" matches any version. */
bool request_matches(const struct request *req, int64_t version, struct response *res);
/* The version that If-Match names, for the store: 0 for "*".  428 or 400 as a problem. */
bool request_expected_version(const struct request *req, struct response *res, int64_t *ret_version);
/* Long poll: the handler runs again (is_woken) when its route's topic is rung, or
 * (is_expired) after timeout_ms.  A ring during the handler's own run is not lost. */
void response_park(struct response *res, unsigned timeout_ms);
