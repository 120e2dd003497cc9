#pragma once
#include "lib/base/addr.h"
/*
 * proxy_protocol.h - the PROXY protocol's header, versions 1 and 2: who the client is, told by
 * a load balancer that is trusted to say so.
 *
 * Shape      pure and incremental: the caller shows the bytes from the connection's first
 *            one each time.  Split anywhere they give the same answer.
 * Units      bytes.
 * Ownership  the result holds no pointer into the input.
 * Threads    no shared state.
 * Errors     > 0, one of enum proxy_protocol_error.  After any but _E_MORE: close, say nothing.
 * Source     HAProxy, "The PROXY protocol, versions 1 & 2", 2020/03/05.  Checksum: CRC-32C,
 *            verified whenever it is there.  Other TLVs are skipped, but must fit.
 */
#define PROXY_PROTOCOL_V1_MAX 107       /* with its CR LF */
#define PROXY_PROTOCOL_V2_MAX 4096      /* ours: addresses and TLVs of the kinds in use */

/* name, text */
#define PROXY_PROTOCOL_ERRORS(X) \
    X(ABSENT, "the connection does not begin with a PROXY header") \
    X(TOO_LONG, "the PROXY header is longer than the limit") \
    X(LINE, "the line is malformed") \
    X(VERSION, "the version or command is not known") \
    X(FAMILY, "the addresses are not of TCP") \
    X(LENGTH, "the addresses or TLVs do not fit the length") \
    X(ADDRESS, "an address or port is malformed") \
    X(CHECKSUM, "the checksum is wrong, or there are two")

enum proxy_protocol_error {
    PROXY_PROTOCOL_E_MORE = 1,
#define PROXY_PROTOCOL_ERROR(name, text) PROXY_PROTOCOL_E_##name,
    PROXY_PROTOCOL_ERRORS(PROXY_PROTOCOL_ERROR)
#undef PROXY_PROTOCOL_ERROR
    PROXY_PROTOCOL_E_COUNT
};

const char *proxy_protocol_error_text(int error);

struct proxy_protocol {
    size_t bytes;                       /* of the header; the client's bytes follow */
    /* ENDPOINT_IP, or ENDPOINT_NONE: the balancer speaks for itself (LOCAL, a health check) or
     * does not know (UNKNOWN, UNSPEC, a Unix socket): the connection's own ends count. */
    struct endpoint source, destination;
    bool is_local;                      /* LOCAL: the balancer's own connection */
};

MUST_CHECK int proxy_protocol_parse(struct span in, struct proxy_protocol *ret_header);
