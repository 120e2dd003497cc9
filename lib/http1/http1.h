#pragma once
#include "lib/base/buf.h"
/*
 * http1.h - one strict HTTP/1 parser and writer.
 *
 * Ambiguity is an error: whatever two implementations might read in two ways is
 * refused by name, never repaired.  So a head that was accepted may be forwarded,
 * and its body passes byte for byte.
 *
 * Shape      pure and incremental.  The caller keeps a growing buffer and shows it from
 *            the head's first byte each time; it may move between calls.  Bytes split
 *            anywhere give the same answer as all at once.
 * Units      bytes.  Limits: the head (scan.limit), HTTP1_HEADERS_MAX fields,
 *            HTTP1_TRAILERS_MAX bytes of trailers, HTTP1_EXTENSION_MAX of each chunk's.
 * Ownership  nothing is allocated.  The spans in a head point into the caller's buffer
 *            and live as long as those bytes stay where they are.
 * Threads    no shared state.
 *            *ret_head is scratch until 0 is returned.
 * Errors     > 0, one of enum http1_error.  HTTP1_E_MORE: not whole yet, read more.  After
 *            any other the connection cannot be trusted again: answer and close.
 * Source     RFC 9110, RFC 9112, RFC 7617 (Basic).
 */
#define HTTP1_HEAD_MAX ((size_t)32 * 1024)      /* when scan.limit is 0 */
#define HTTP1_HEADERS_MAX 100
#define HTTP1_TRAILERS_MAX 8192
#define HTTP1_EXTENSION_MAX 256

/* name, status that a server answers (a gateway answers 502 to what a response did), text */
#define HTTP1_ERRORS(X) \
    X(HEAD_TOO_LARGE, 431, "the head is larger than the limit") \
    X(TOO_MANY_FIELDS, 431, "too many header fields") \
    X(LINE_END, 400, "a bare CR or LF in the head") \
    X(CONTROL, 400, "a control character in the head") \
    X(REQUEST_LINE, 400, "the request line is not: method, space, target, space, version") \
    X(STATUS_LINE, 400, "the status line is not: version, space, three digits, space, reason") \
    X(VERSION, 505, "the version is neither HTTP/1.1 nor HTTP/1.0") \
    X(METHOD, 400, "the method is not a token") \
    X(TARGET, 400, "the request target is malformed or of the wrong form for the method") \
    X(SCHEME, 400, "an absolute request target must begin with http://") \
    X(USERINFO, 400, "the request target carries user information") \
    X(AUTHORITY, 400, "the host or port of the request target is malformed") \
    X(FIELD_NAME, 400, "a field name is empty, not a token, or followed by a space") \
    X(FIELD_FOLDED, 400, "a folded header line") \
    X(HOST_MISSING, 400, "no Host field") \
    X(HOST_REPEATED, 400, "more than one Host field") \
    X(HOST_INVALID, 400, "the Host field is malformed") \
    X(HOST_MISMATCH, 400, "the Host field names another host than the request target") \
    X(LENGTH_INVALID, 400, "Content-Length is not one plain decimal number") \
    X(LENGTH_REPEATED, 400, "more than one Content-Length") \
    X(LENGTH_AND_CODING, 400, "both Content-Length and Transfer-Encoding") \
    X(CODING_REPEATED, 400, "more than one Transfer-Encoding, or chunked twice") \
    X(CODING_NOT_LAST, 400, "chunked is not the last transfer coding") \
    X(CODING_UNKNOWN, 501, "a transfer coding other than chunked") \
    X(CODING_VERSION, 400, "Transfer-Encoding in an HTTP/1.0 message") \
    X(CONNECTION_NAMES, 400, "Connection names a field that frames or routes the message") \
    X(CONTENT, 400, "content where none may be") \
    X(CHUNK_SIZE, 400, "a chunk size is malformed or too large") \
    X(CHUNK_EXTENSION, 400, "a chunk extension is malformed or too long") \
    X(CHUNK_END, 400, "a chunk is not followed by CR LF") \
    X(TRAILER, 400, "a trailer field is malformed or may not be a trailer") \
    X(TRAILERS_TOO_LARGE, 431, "the trailers are larger than the limit") \
    X(TIMEOUT, 408, "the message did not arrive in time") /* for callers; no parser says it */

enum http1_error {
    HTTP1_E_MORE = 1,
#define HTTP1_ERROR(name, status, text) HTTP1_E_##name,
    HTTP1_ERRORS(HTTP1_ERROR)
#undef HTTP1_ERROR
    HTTP1_E_COUNT
};

unsigned http1_error_status(int error);         /* 400, 408, 431, 501, 505 */
const char *http1_error_text(int error);        /* one clause: what was wrong */

/* ---- heads ---- */

enum http1_form {
    HTTP1_FORM_NONE,            /* a response */
    HTTP1_FORM_ORIGIN,          /* /path?query */
    HTTP1_FORM_ABSOLUTE,        /* http://host:port/path?query */
    HTTP1_FORM_AUTHORITY,       /* host:port, with CONNECT only */
    HTTP1_FORM_ASTERISK,        /* *, with OPTIONS only */
};

enum http1_framing {
    HTTP1_BODY_NONE,
    HTTP1_BODY_LENGTH,          /* body_bytes of them */
    HTTP1_BODY_CHUNKED,
    HTTP1_BODY_CLOSE,           /* a response that ends with its connection */
    HTTP1_BODY_TUNNEL,          /* CONNECT, or a 2xx to it, or 101: bytes of another protocol */
};

struct http1_field {
    struct span name;
    struct span value;          /* trimmed; may be empty; may hold bytes >= 0x80 */
};

struct http1_head {
    size_t bytes;               /* length of the head with its blank line; the body follows */
    unsigned minor;             /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;            /* as far as this message says: version and Connection */
    enum http1_framing framing;
    uint64_t body_bytes;        /* HTTP1_BODY_LENGTH */

    /* request */
    struct span method;
    struct span target;         /* as it came */
    enum http1_form form;
    struct span authority;      /* "host", "host:port": from the target, else from Host; or empty */
    struct span host;           /* of it, without brackets; empty when HTTP/1.0 has no Host */
    uint16_t port;              /* of it; 80 when none is named; 0 without a host */
    struct span path;           /* what an origin server is sent: "/…" or "*"; empty: CONNECT */

    /* response */
    unsigned status;            /* 100..599 */
    struct span reason;

    size_t field_count;
    struct http1_field fields[HTTP1_HEADERS_MAX];
};

/* How far a head has been read.  Zeroed (but for limit) before each head. */
struct http1_scan {
    size_t limit;               /* bytes; 0: HTTP1_HEAD_MAX */
    size_t seen, line, lines;   /* the parser's own */
};

/* `in` starts at the head's first byte.  0: `*ret_head` is whole, the body starts at
 * in.p + ret_head->bytes.  One empty line before a request is skipped (counted in bytes).
 * CONNECT: Host must be there and well-formed (1.1), but may name another host than the
 * target, as some clients name the proxy: it is sent nowhere.  */
MUST_CHECK int http1_request_parse(struct http1_scan *scan, struct span in,
                                   struct http1_head *ret_head);
/* `method`: of the request that this answers; it decides about the body.  A 1xx is an answer
 * of its own (framing NONE; the final one follows), but 101 is a TUNNEL. */
MUST_CHECK int http1_response_parse(struct http1_scan *scan, struct span in, struct span method,
                                    struct http1_head *ret_head);

/* ---- fields (names compare without case) ---- */

/* The first field of that name; false, and the output left alone, when there is none. */
bool http1_find(const struct http1_head *h, struct span name, struct span *ret_value);
size_t http1_count(const struct http1_head *h, struct span name);
/* Whether a list-valued field ("Connection: close, Upgrade", over all its lines) has `token`. */
bool http1_has_token(const struct http1_head *h, struct span name, struct span token);
/* Not to be forwarded: Connection and what it names, Keep-Alive, TE, Transfer-Encoding,
 * Upgrade, Proxy and everything that begins with Proxy-. */
bool http1_is_hop_by_hop(const struct http1_head *h, struct span name);

/* ---- bodies ---- */

struct http1_body {             /* the reader's own; is_done is for all */
    enum http1_framing framing;
    uint64_t left;              /* of the body, or of the chunk */
    unsigned state;
    unsigned count;             /* digits, extension or trailer bytes */
    unsigned name_bytes;
    char name[64];
    bool is_done;
};

void http1_body_init(struct http1_body *b, const struct http1_head *h);
/*
 * Takes bytes of the body off `in`.  *ret_bytes: how many belong to this message, framing
 * included (forward exactly these); *ret_data: the content among them, one run.  Call again
 * with the rest until is_done or the input is used up; it always takes at least one byte
 * of a body that is not done.  What is left after is_done belongs to the next message.
 * CLOSE and TUNNEL take everything and are never done: the end of the connection ends them.
 * An end of input before is_done (LENGTH, CHUNKED) is a truncated message.
 */
MUST_CHECK int http1_body_take(struct http1_body *b, struct span in, size_t *ret_bytes,
                               struct span *ret_data);

/* ---- writing; errors stick to `out` (-ENOBUFS; -EINVAL: CR, LF, NUL in what was given) ---- */

/* How a head is sent on. */
struct http1_forward {
    /* Written after the fields that stay; a field of the same name does not stay.  Names of
     * `set` and `drop` match without case and with '_' for '-'. */
    const struct http1_field *set;
    size_t set_count;
    const struct span *drop;            /* further names that do not stay; "x-" and all that begin so */
    size_t drop_count;
    bool close;                         /* write Connection: close */
    bool upgrade;                       /* keep Upgrade, write Connection: Upgrade */
};

/* The request as an origin server is to see it: method, path, same minor version, Host from
 * the target's authority, the body's framing field as it came, no hop-by-hop fields.
 * Not for CONNECT, which has no path.  `f` may be NULL. */
void http1_write_request(struct buf *out, const struct http1_head *h,
                         const struct http1_forward *f);
/* The response as HTTP/1.1, likewise. */
void http1_write_response(struct buf *out, const struct http1_head *h,
                          const struct http1_forward *f);

/* A small answer of our own. */
struct http1_answer {
    unsigned status;
    const char *content_type;           /* NULL: text/plain; charset=utf-8 */
    struct span body;
    const struct http1_field *set;
    size_t set_count;
    bool close;                         /* Connection: close */
    bool head_only;                     /* to HEAD: the length, no body */
};

/* 1xx and 204 are written without length; a 2xx to CONNECT is http1_write_connected(). */
void http1_write_answer(struct buf *out, const struct http1_answer *a);
void http1_write_connected(struct buf *out);    /* HTTP/1.1 200 Connection established */
/* The answer to a head that was refused with `error`: its status, its text, close. */
void http1_write_refusal(struct buf *out, int error);
const char *http1_status_text(unsigned status); /* "Not Found"; "Status" when not known */

/* ---- Basic credentials ---- */

enum {
    HTTP1_BASIC_E_SCHEME = 1,   /* another scheme than Basic */
    HTTP1_BASIC_E_MALFORMED,    /* not strict base 64, no colon, a control character, too long */
};
/* `value` of Authorization or Proxy-Authorization.  The spans point into `mem`, which holds
 * the secret: the caller wipes it, after an error too.  The user ends at the first colon. */
MUST_CHECK int http1_basic_parse(struct span value, void *mem, size_t mem_bytes,
                                 struct span *ret_user, struct span *ret_secret);
