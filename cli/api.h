#pragma once
#include "lib/json/json.h"
/*
 * api.h - a small blocking client of the REST API; libcurl ends here.
 *
 * The server must show a certificate that the CA file vouches for.  A loopback server is
 * reached directly, whatever proxy variables the environment has.
 *
 * Ownership  an answer's body is the caller's: api_answer_deinit().
 * Limits     10 s for each call unless said otherwise, answers of at most 64 MiB.
 * Errors     -errno and a sentence in reterr when there was no answer; a status that is not
 *            2xx is an answer, api_problem() tells it.
 * Threads    one client belongs to one thread.
 */
struct api;

struct api_answer {
    long status;
    struct json_value *body;    /* NULL: empty or no JSON */
    char etag[80];              /* "": none */
    int64_t revision;           /* that a write took; 0: none */
};

struct api_request {
    const char *method, *path;  /* `path` begins with '/' */
    struct span body;           /* JSON (for PATCH a merge patch) or SPAN_NONE */
    const char *if_match;       /* NULL: none */
    unsigned timeout_ms;        /* for this call and those after it; 0: as it is */
};

/* `url` like https://127.0.0.1:8443 (or http: for the health pages); `ca_file` and `token`
 * may be NULL. */
MUST_CHECK int api_new(const char *url, const char *ca_file, const char *token, struct api **ret_api);
void api_free(struct api *a);
DEFINE_FREEP(api, api_free)
const char *api_url(const struct api *a);
/* Goes through an HTTP proxy: "http://127.0.0.1:8080", "user:secret". */
void api_set_proxy(struct api *a, const char *proxy, const char *credential);
void api_set_timeout(struct api *a, unsigned timeout_ms);
MUST_CHECK int api_send(struct api *a, const struct api_request *request,
                        struct api_answer *ret_answer, struct buf *reterr);
/* The same in short; If-Match: * goes with PATCH and DELETE. */
MUST_CHECK int api_call(struct api *a, const char *method, const char *path, struct span body,
                        struct api_answer *ret_answer, struct buf *reterr);
/* GET of server-sent events, until either side ends it or nothing comes for 45 s: each whole event
 * (name, id or "", data) is given to `fn`, which ends it with other than 0.  0: the server ended it,
 * or `fn` did; an answer that is not 2xx is told in ret_answer.  -EIO with reterr. */
typedef int (*api_event_fn)(void *ctx, struct span name, struct span id, struct span data);
MUST_CHECK int api_listen(struct api *a, const char *path, const char *last_id, api_event_fn fn, void *ctx,
                          struct api_answer *ret_answer, struct buf *reterr);
void api_answer_deinit(struct api_answer *answer);
/* "no-grant: what the server said" out of an answer that is not 2xx. */
void api_problem(const struct api_answer *answer, struct buf *out);
bool api_is_ok(const struct api_answer *answer);
/* Asks host:port over TLS for a WebSocket, as an agent does: 0 when everything on the way lets
 * it through (101), -EPROTO with the answer's first line in reterr. */
MUST_CHECK int api_probe_upgrade(const char *address, const char *ca_file, struct buf *reterr);
/* The API token in a file: the first word that begins with "adit_".  -ENOENT, -EBADMSG. */
MUST_CHECK int api_token_read(const char *path, struct buf *out);
/* Percent-encodes what stands in a query or path. */
void api_escape(struct span text, struct buf *out);
