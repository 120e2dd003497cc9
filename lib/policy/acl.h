#pragma once
#include "lib/base/addr.h"
/*
 * acl.h - patterns on hosts and ports: the words that profiles and access lists are made of.
 *
 * Shape      host pattern:  "db.example"       that name
 *                           "*.example"        any name below it, not itself
 *                           "db-*.example"     glob (access lists only): '*' any run, dots
 *                                              too; '?' one character
 *                           "10.0.0.0/8", "10.1.2.3", "2001:db8::/32"
 *                           "*"                any name and any address
 *                           "unix:/path"       that socket, byte for byte
 *            ports:         "80", "8000-8100"
 *            rule:          pattern, or pattern:ports with ports separated by ',', IPv6 in
 *                           brackets: "*.example:80,443", "[2001:db8::/32]:22"; no ports: all
 * Ownership  a pattern owns its text: host_pattern_deinit().
 * Errors     -EINVAL: not in the language; -ENOMEM.
 * Threads    pure; values are read by any number of threads.
 */
#define ACL_PORTS_MAX 16
#define ACL_RULES_MAX 256

enum host_pattern_kind { HOST_ANY, HOST_EXACT, HOST_SUFFIX, HOST_GLOB, HOST_CIDR, HOST_UNIX };

struct host_pattern {
    enum host_pattern_kind kind;
    char *text;                 /* canonical: name, suffix without "*.", glob, path; else NULL */
    struct cidr cidr;           /* HOST_CIDR */
};

struct port_range {
    uint16_t first, last;       /* 1..65535, first <= last */
};

struct acl_rule {
    struct host_pattern host;
    struct port_range ports[ACL_PORTS_MAX];
    size_t port_count;          /* 0: all */
};

struct acl {
    struct acl_rule *allow, *deny, *special;    /* special: forbidden addresses lifted */
    size_t allow_count, deny_count, special_count;
};

/* What somebody wants to reach: a name or a literal address, or a Unix socket.  The name stands
 * last: where streams are many, one is kept only as long as its name (target_keep()). */
#define TARGET_NAME_MAX 253
struct target {
    bool is_literal;            /* `addr` counts, `name` is its text */
    struct addr addr;
    uint16_t port;
    char name[TARGET_NAME_MAX + 1];     /* canonical */
};
/* A copy no longer than its name, to be read where it is and never as a value; free() it.
 * NULL: no memory. */
struct target *target_keep(const struct target *t);

/* A name or a literal (IPv6 without brackets), port 1..65535; false: malformed. */
bool target_parse(struct span host, uint16_t port, struct target *ret_target);

MUST_CHECK int host_pattern_parse(struct span text, struct host_pattern *ret_pattern);
void host_pattern_deinit(struct host_pattern *p);
/* The pattern's text (dst of at least 320 bytes). */
const char *host_pattern_format(const struct host_pattern *p, char *dst, size_t dst_size);
/* Whether the name, or the literal, is meant by the pattern.  A name is never meant by a
 * CIDR, a literal by a name pattern. */
bool host_pattern_matches(const struct host_pattern *p, const struct target *t);

bool port_range_parse(struct span text, struct port_range *ret_range);
bool ports_have(const struct port_range *ranges, size_t n, uint16_t port);   /* n = 0: all */

MUST_CHECK int acl_rule_parse(struct span text, struct acl_rule *ret_rule);
/* dst of at least 512 bytes. */
const char *acl_rule_format(const struct acl_rule *r, char *dst, size_t dst_size);
void acl_rule_deinit(struct acl_rule *r);

MUST_CHECK int acl_add_allow(struct acl *a, struct span rule);  /* -ENOSPC at ACL_RULES_MAX */
MUST_CHECK int acl_add_deny(struct acl *a, struct span rule);
MUST_CHECK int acl_add_special(struct acl *a, struct span rule);
void acl_deinit(struct acl *a);

/* The exact answer, for whoever dials: some allow rule means the name or the address, or a
 * special rule the address; and no deny rule means either.  For a literal, `addr` is the
 * literal.  No rules: nothing is allowed. */
bool acl_allows(const struct acl *a, const struct target *t, const struct addr *addr);
/* Before the name is resolved: false only when no address could be allowed. */
bool acl_may_allow(const struct acl *a, const struct target *t);
/* Whether `special` lists the address (never by a name) and port, or the socket's path. */
bool acl_lifts_special(const struct acl *a, const struct addr *addr, uint16_t port);
bool acl_allows_unix(const struct acl *a, struct span path);
