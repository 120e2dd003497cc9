#pragma once
#include "lib/base/span.h"
/*
 * addr.h - IP addresses, prefixes, and endpoints as values.
 *
 * Shape      an address is 16 bytes; IPv4 is kept as ::ffff:a.b.c.d, so one
 *            comparison serves both families.  A Unix path is an endpoint only.
 * Units      ports and prefix lengths are plain integers (IPv4 prefixes 0..32 in text,
 *            kept as 96..128).
 * Source     RFC 4291, RFC 5952 (text), RFC 6052 (NAT64), RFC 3056 (6to4).
 * Errors     parsers are strict (no octal, no short forms, no zone) and answer false.
 */
#define ADDR_TEXT_MAX 64        /* "[v6]:port" with its NUL */
#define ADDR_UNIX_MAX 108       /* sun_path */

struct addr {
    unsigned char ip[16];
};

struct cidr {
    struct addr base;           /* host bits are zero */
    uint8_t bits;               /* 0..128 over the 16-byte form */
};

enum endpoint_kind { ENDPOINT_NONE, ENDPOINT_IP, ENDPOINT_UNIX };

struct endpoint {
    enum endpoint_kind kind;
    struct addr addr;
    uint16_t port;
    char path[ADDR_UNIX_MAX];
};

bool addr_is_v4(const struct addr *a);
bool addr_eq(const struct addr *a, const struct addr *b);
/* "10.0.0.1", "2001:db8::1"; brackets are not taken off. */
bool addr_parse(struct span text, struct addr *ret_addr);
/* Writes the canonical text into dst (>= ADDR_TEXT_MAX bytes) and returns it. */
const char *addr_format(const struct addr *a, char *dst);
struct addr addr_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
/* Takes an embedded IPv4 out of IPv4-mapped, 6to4 (2002::/16) and NAT64 (64:ff9b::/96,
 * 64:ff9b:1::/48) forms, as the mapped form; anything else comes back as it was. */
struct addr addr_unwrap(const struct addr *a);
/* What limits for each source count by: IPv4 itself; of IPv6 the /64, for whoever has one
 * address of it has all. */
struct addr addr_source(const struct addr *a);

/* "10.0.0.0/8", "2001:db8::/32", or a bare address (its own full length).  Host bits that
 * are set are refused. */
bool cidr_parse(struct span text, struct cidr *ret_cidr);
const char *cidr_format(const struct cidr *c, char *dst);   /* dst >= ADDR_TEXT_MAX */
/* Families never match each other: ::/0 has no IPv4 address, 0.0.0.0/0 no IPv6 one. */
bool cidr_has(const struct cidr *c, const struct addr *a);

/* "1.2.3.4:80", "[::1]:80", "unix:/path".  Port 0 is taken: a listener's "any". */
bool endpoint_parse(struct span text, struct endpoint *ret_endpoint);
/* Use what is returned: it is "" when dst was too small. */
const char *endpoint_format(const struct endpoint *e, char *dst, size_t dst_size);

/* "host:port", "1.2.3.4:80", "[::1]:443": the authority of a CONNECT.  `ret_host` is without
 * brackets and points into `text`; port 0 is refused.  Without a port: false unless
 * `default_port` is not 0. */
bool authority_parse(struct span text, uint16_t default_port, struct span *ret_host,
                     uint16_t *ret_port);
/* Canonical name: lower case, no trailing dot, labels of [a-z0-9_-] 1..63, whole 1..253;
 * a name whose last label is all digits (or 0x…) is refused: it is a malformed address.
 * dst >= 254. */
bool host_canonical(struct span host, char *dst);
