#pragma once
#include "lib/base/buf.h"
/*
 * ws.h - WebSocket, either end: opening handshake, frames out, frames in.
 *
 * Shape      pure: bytes in, bytes out.  Randomness (key, masks) and SHA-1 come from the
 *            caller; heads are parsed by the caller too (lib/http1) and judged here.  Bytes
 *            split anywhere give the same answer as all at once.
 * Units      bytes.
 * Ownership  nothing is allocated.  Payload is delivered as spans of the caller's input;
 *            only a control frame's (at most 125 bytes) is gathered in the parser.
 * Threads    no shared state.
 * Errors     > 0, one of enum ws_error; ws_error_close_code() says what to send.  After one
 *            the parser takes nothing more.
 * Source     RFC 6455.  No extension is offered or agreed on, so none is taken: RSV bits are
 *            refused.  A client masks what it sends, a server does not.
 */
#define WS_KEY_BYTES 24                 /* base 64 of 16 random bytes */
#define WS_HEADER_MAX 14                /* longest header of a frame, mask included */
#define WS_CONTROL_MAX 125              /* payload of a control frame */
#define WS_EMPTY_MAX 1024               /* data frames without payload in a row */

enum ws_opcode {
    WS_CONTINUATION = 0x0,
    WS_TEXT = 0x1,
    WS_BINARY = 0x2,
    WS_CLOSE = 0x8,
    WS_PING = 0x9,
    WS_PONG = 0xa,
};

enum {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_UNSUPPORTED = 1003,
    WS_CLOSE_NONE = 1005,               /* never on the wire: a Close without a code */
    WS_CLOSE_ABNORMAL = 1006,           /* never on the wire: no Close at all */
    WS_CLOSE_DATA = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009,
    WS_CLOSE_INTERNAL = 1011,
};

/* name, close code, text */
#define WS_ERRORS(X) \
    X(RSV, 1002, "a reserved bit is set and no extension was agreed") \
    X(OPCODE, 1002, "a reserved opcode") \
    X(MASKED, 1002, "a frame from the server is masked") \
    X(UNMASKED, 1002, "a frame from the client is not masked") \
    X(LENGTH, 1002, "a length is not written in its shortest form, or beyond 2^63") \
    X(CONTROL, 1002, "a control frame is fragmented or longer than 125 bytes") \
    X(CONTINUATION, 1002, "a continuation without a message, or a message inside another") \
    X(CLOSE_PAYLOAD, 1002, "a Close has one byte, or a code that may not be sent") \
    X(UTF8, 1007, "text that is not UTF-8") \
    X(TEXT, 1003, "a text message, and only binary ones are taken") \
    X(TOO_BIG, 1009, "a message larger than the limit") \
    X(FLOOD, 1008, "too many empty frames in a row") \
    X(CONTROL_FLOOD, 1008, "too many PINGs and PONGs in a short time") \
    X(STATUS, 1002, "the answer is not 101") \
    X(UPGRADE, 1002, "the answer lacks Upgrade: websocket or Connection: Upgrade") \
    X(ACCEPT, 1002, "Sec-WebSocket-Accept is missing, repeated or wrong") \
    X(PROTOCOL, 1002, "the subprotocol is not the one that was asked for") \
    X(EXTENSION, 1002, "the server uses an extension that was not offered") \
    X(METHOD, 1002, "the upgrade is not asked for by GET without content") \
    X(NO_UPGRADE, 1002, "the request lacks Upgrade: websocket or Connection: Upgrade") \
    X(VERSION, 1002, "Sec-WebSocket-Version is missing, repeated or not 13") \
    X(KEY, 1002, "Sec-WebSocket-Key is missing, repeated or not 16 bytes in base 64") \
    X(NO_PROTOCOL, 1002, "the subprotocol that is spoken here was not asked for")

enum ws_error {
    WS_E_OK,
#define WS_ERROR(name, code, text) WS_E_##name,
    WS_ERRORS(WS_ERROR)
#undef WS_ERROR
    WS_E_COUNT
};

uint16_t ws_error_close_code(int error);
const char *ws_error_text(int error);

/* ---- opening handshake ---- */

struct ws_request_field {
    struct span name, value;
};

struct ws_request {
    struct span authority;              /* Host: "relay.example:7443" */
    struct span path;                   /* "/tunnel" */
    struct span key;                    /* WS_KEY_BYTES characters */
    struct span protocol;               /* one subprotocol, or empty: none is asked for */
    const struct ws_request_field *fields;      /* further ones: User-Agent, … */
    size_t field_count;
};

/* The head of the request.  CR, LF, NUL or an empty required part: out->error = -EINVAL. */
void ws_request_write(struct buf *out, const struct ws_request *r);

/* What SHA-1 is taken over for Sec-WebSocket-Accept: the caller hashes it, writes the 20 bytes
 * as base 64 and gives that as `want_accept`. */
#define WS_ACCEPT_INPUT_BYTES (WS_KEY_BYTES + 36)
void ws_accept_input(struct span key, char dst[WS_ACCEPT_INPUT_BYTES]);

/* The answer's head, as its parser saw it. */
struct ws_answer {
    unsigned status;
    bool has_upgrade;                   /* the list Upgrade has "websocket" */
    bool has_connection;                /* the list Connection has "upgrade" */
    size_t accept_count;                /* fields Sec-WebSocket-Accept */
    struct span accept;
    size_t protocol_count;              /* fields Sec-WebSocket-Protocol */
    struct span protocol;
    size_t extension_count;             /* fields Sec-WebSocket-Extensions */
};

/* A subprotocol that was asked for must be chosen; none may be, when none was. */
MUST_CHECK int ws_answer_check(const struct ws_answer *a, struct span want_accept,
                               struct span want_protocol);

/* A request's head, as its parser saw it. */
struct ws_offer {
    bool is_plain_get;                  /* GET, HTTP/1.1, no content */
    bool has_upgrade, has_connection;   /* as in an answer */
    size_t version_count;               /* fields Sec-WebSocket-Version */
    struct span version;
    size_t key_count;                   /* fields Sec-WebSocket-Key */
    struct span key;
    bool has_protocol;                  /* the list Sec-WebSocket-Protocol has ours */
};

MUST_CHECK int ws_offer_check(const struct ws_offer *o);
/* What HTTP answers to an offer that was refused with `error`: 400, or 426 where nobody asked
 * for this protocol, or for another version of it. */
unsigned ws_offer_status(int error);
/* The head of the answer that agrees, `accept` being 28 characters. */
void ws_answer_write(struct buf *out, struct span accept, struct span protocol);

/* ---- frames out: `mask` NULL for a server ---- */

/* Writes the header of a frame; returns its length, 2..WS_HEADER_MAX. */
size_t ws_header_write(unsigned char dst[WS_HEADER_MAX], enum ws_opcode opcode, bool fin,
                       uint64_t payload_bytes, const unsigned char *mask);
/* dst = src XOR mask, one pass.  dst may be src; otherwise they do not overlap.  `offset`: of
 * src's first byte in its frame's payload, so that a frame may be masked in parts. */
void ws_mask_copy(void *dst, const void *src, size_t n, const unsigned char mask[4],
                  uint64_t offset);
/* A whole control frame; the payload is cut at WS_CONTROL_MAX. */
#define WS_CONTROL_FRAME_MAX (6 + WS_CONTROL_MAX)
size_t ws_control_write(unsigned char dst[WS_CONTROL_FRAME_MAX], enum ws_opcode opcode,
                        struct span payload, const unsigned char *mask);
/* A Close; WS_CLOSE_NONE writes none of code and reason.  The reason is cut between
 * characters. */
size_t ws_close_write(unsigned char dst[WS_CONTROL_FRAME_MAX], uint16_t code, struct span reason,
                      const unsigned char *mask);

/* ---- frames in ---- */

struct ws_options {
    uint64_t message_max;               /* bytes of a message, all fragments together */
    bool take_text;                     /* text messages, checked to be UTF-8 */
    bool is_server;                     /* frames in come from a client: masked */
};

enum ws_event_kind {
    WS_EVENT_NONE,                      /* all input is used up: read more */
    WS_EVENT_DATA,                      /* a part of a message */
    WS_EVENT_PING,                      /* answer it with the same payload */
    WS_EVENT_PONG,
    WS_EVENT_CLOSE,                     /* the last event */
};

struct ws_event {
    enum ws_event_kind kind;
    enum ws_opcode opcode;              /* DATA: WS_TEXT or WS_BINARY, in every part */
    bool is_first, is_last;             /* DATA: part of its message; an empty message is both */
    struct span data;                   /* DATA: of the input.  PING, PONG: payload.  CLOSE: reason.
                                         * The latter are the parser's, until the next call. */
    bool is_masked;                     /* DATA: `data` is what was sent under `mask` from its first
                                         * byte on: ws_mask_copy(dst, data, n, mask, 0) */
    unsigned char mask[4];
    uint16_t close_code;                /* CLOSE: WS_CLOSE_NONE when it carried none */
};

struct ws_parser {                      /* the parser's own; frames and empties may be read */
    struct ws_options options;
    int error;                          /* sticks */
    unsigned state;
    unsigned char header[WS_HEADER_MAX];
    unsigned header_have, header_want;
    enum ws_opcode opcode;              /* of the frame */
    enum ws_opcode message;             /* of the message under way; WS_CONTINUATION: none */
    bool fin, is_first;
    uint64_t left;                      /* payload bytes of the frame still to come */
    unsigned char mask[4];              /* from the next of them on */
    uint64_t message_bytes;
    unsigned utf8;                      /* state of the text decoder */
    unsigned empties;                   /* data frames without payload, in a row */
    uint64_t frames;                    /* all of them */
    unsigned char control[WS_CONTROL_MAX];
    unsigned control_have;
};

void ws_parser_init(struct ws_parser *p, const struct ws_options *options);
/*
 * Takes bytes off `in` until there is one event: 0 with *ret_bytes (how many were taken) and
 * *ret_event.  Call again with the rest until WS_EVENT_NONE.  The payload of a DATA event is as
 * long as the input allows: a frame may come in several parts.  After WS_EVENT_CLOSE
 * everything is taken and dropped.
 */
MUST_CHECK int ws_parser_take(struct ws_parser *p, struct span in, size_t *ret_bytes,
                              struct ws_event *ret_event);

/* Feeds bytes to a UTF-8 decoder; false: not UTF-8.  *state is 0 at first and between
 * characters.  Source: RFC 3629 (no surrogates, no overlong forms, up to U+10FFFF). */
bool ws_utf8_feed(unsigned *state, struct span bytes);
