#pragma once
#include "lib/base/addr.h"
#include "lib/base/buf.h"
/*
 * socks5.h - the server's half of SOCKS5: what a client says, what is answered.
 *
 * Shape      pure and incremental.  Three messages, one parser each; the caller keeps the
 *            bytes of the message under way and shows them from their first byte each
 *            time.  Bytes split anywhere give the same answer as all at once.
 * Units      bytes; ports in host order.
 * Ownership  nothing is allocated; spans point into the caller's bytes.
 * Threads    no shared state.
 * Errors     > 0, one of enum socks5_error.  SOCKS5_E_MORE: read more.  After any other the
 *            connection ends; socks5_error_reply() is said before, where there is one.
 * Source     RFC 1928, RFC 1929; datagrams: RFC 1928 section 7.
 */
#define SOCKS5_GREETING_MAX 257         /* longest of each message */
#define SOCKS5_PASSWORD_MAX 513
#define SOCKS5_REQUEST_MAX 262
#define SOCKS5_DATAGRAM_HEADER_MAX 262

enum socks5_method {
    SOCKS5_METHOD_NONE = 0x00,          /* no authentication */
    SOCKS5_METHOD_PASSWORD = 0x02,
    SOCKS5_METHOD_REFUSED = 0xff,       /* none of the client's is acceptable */
};

enum socks5_command {
    SOCKS5_CONNECT = 1,
    SOCKS5_BIND = 2,
    SOCKS5_UDP_ASSOCIATE = 3,
};

enum socks5_reply {
    SOCKS5_SUCCEEDED = 0,
    SOCKS5_FAILURE = 1,
    SOCKS5_NOT_ALLOWED = 2,
    SOCKS5_NETWORK_UNREACHABLE = 3,
    SOCKS5_HOST_UNREACHABLE = 4,
    SOCKS5_REFUSED = 5,
    SOCKS5_TTL_EXPIRED = 6,
    SOCKS5_COMMAND_UNKNOWN = 7,
    SOCKS5_ADDRESS_UNKNOWN = 8,
    SOCKS5_SILENT = 0xff,               /* no reply: just close */
};

/* name, reply, text */
#define SOCKS5_ERRORS(X) \
    X(VERSION, SOCKS5_SILENT, "the version is not 5") \
    X(METHODS, SOCKS5_SILENT, "the greeting offers no method") \
    X(PASSWORD_VERSION, SOCKS5_SILENT, "the version of the password message is not 1") \
    X(USER, SOCKS5_SILENT, "the user name is empty or has control characters") \
    X(SECRET, SOCKS5_SILENT, "the password is empty or has control characters") \
    X(COMMAND, SOCKS5_COMMAND_UNKNOWN, "the command is not CONNECT, BIND or UDP ASSOCIATE") \
    X(RESERVED, SOCKS5_FAILURE, "the reserved byte is not 0") \
    X(ADDRESS_TYPE, SOCKS5_ADDRESS_UNKNOWN, "the address is neither IPv4, name nor IPv6") \
    X(NAME, SOCKS5_FAILURE, "the name is empty or has characters that no name has") \
    X(PORT, SOCKS5_FAILURE, "the port to connect to is 0") \
    X(FRAGMENT, SOCKS5_SILENT, "the datagram is a part of one; parts are not put together")

enum socks5_error {
    SOCKS5_E_MORE = 1,
#define SOCKS5_ERROR(name, reply, text) SOCKS5_E_##name,
    SOCKS5_ERRORS(SOCKS5_ERROR)
#undef SOCKS5_ERROR
    SOCKS5_E_COUNT
};

enum socks5_reply socks5_error_reply(int error);
const char *socks5_error_text(int error);

struct socks5_greeting {
    size_t bytes;                       /* of the message */
    bool has_none, has_password;        /* methods on offer; others are not told */
};

struct socks5_password {
    size_t bytes;
    struct span user, secret;           /* 1..255 bytes each; the caller wipes the secret */
};

struct socks5_request {
    size_t bytes;
    enum socks5_command command;
    struct span name;                   /* visible ASCII, not yet canonical; empty: addr */
    struct addr addr;                   /* also when the name was the text of an address */
    uint16_t port;                      /* 0 with UDP ASSOCIATE and BIND only */
};

struct socks5_datagram {                /* what a client sends, and what it is sent */
    struct span name;                   /* as in a request; empty: addr */
    struct addr addr;
    uint16_t port;
    struct span bytes;                  /* what is carried; may be empty */
};

MUST_CHECK int socks5_greeting_parse(struct span in, struct socks5_greeting *ret_greeting);
MUST_CHECK int socks5_password_parse(struct span in, struct socks5_password *ret_password);
MUST_CHECK int socks5_request_parse(struct span in, struct socks5_request *ret_request);

/* A whole datagram: SOCKS5_E_MORE says that it ends too early. */
MUST_CHECK int socks5_datagram_parse(struct span in, struct socks5_datagram *ret_datagram);

void socks5_method_write(struct buf *out, enum socks5_method method);
void socks5_password_write(struct buf *out, bool is_accepted);
/* `bound`: an IP endpoint, or NULL for 0.0.0.0:0. */
/* The header and the bytes; a name of at most 255. */
void socks5_datagram_write(struct buf *out, const struct socks5_datagram *datagram);
void socks5_reply_write(struct buf *out, enum socks5_reply reply, const struct endpoint *bound);
