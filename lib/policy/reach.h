#pragma once
#include "lib/base/reason.h"
#include "lib/policy/acl.h"
/*
 * reach.h - the agent's half of the decision: which addresses may be dialled.
 *
 * The agent resolves once and asks for each address; what is permitted is dialled exactly.
 * Four hands must agree: the permitted ranges of the request, the agent's own file, the
 * policy that the control plane signed for this agent, and the table of forbidden addresses.
 *
 * Forbidden  unspecified, loopback, link-local, multicast, broadcast, cloud metadata
 *            (169.254.169.254, 100.100.100.200, 168.63.129.16, 192.0.0.192, fd00:ec2::254)
 *            and the machine's own addresses, all after unwrapping IPv4-mapped, 6to4 and
 *            NAT64 forms.  Lifted only where the agent's own file lists address and port,
 *            and the grant's profile, by request and by signed policy, says allow_special.
 * Ownership  the reach owns its rules.
 * Threads    pure; a finished reach is read by any number of threads.
 */
#define FORBIDDEN_TABLE_VERSION 1
#define REACH_RULES_MAX 65536

/* The row's name ("loopback", "metadata", "own address"), or NULL when not special. */
const char *address_special_kind(const struct addr *a, const struct addr *own, size_t own_count);

/* What the signed policy permits.  Rules are added, then reach_finish() makes them
 * searchable; asking before that is refused. */
struct reach_rule {
    struct host_pattern host;           /* any, exact, suffix, CIDR, unix */
    struct port_range ports[ACL_PORTS_MAX];
    size_t port_count;                  /* 0: all */
    bool match_resolved;                /* CIDR: names that resolve into it, too */
    bool allow_special;
};
struct agent_reach;

struct agent_reach *agent_reach_new(void);              /* NULL: out of memory */
void agent_reach_free(struct agent_reach *r);
DEFINE_FREEP(agent_reach, agent_reach_free)
/* Takes the pattern's text over.  -ENOSPC, -ENOMEM: nothing taken. */
MUST_CHECK int agent_reach_add(struct agent_reach *r, struct reach_rule *rule);
void agent_reach_finish(struct agent_reach *r);
size_t agent_reach_count(const struct agent_reach *r);
/* Rule i in the order after agent_reach_finish(). */
const struct reach_rule *agent_reach_at(const struct agent_reach *r, size_t i);
/* `addr`: the address about to be dialled.  `ret_special`: some matching rule lifts the
 * forbidden table; may be NULL. */
bool agent_reach_allows(const struct agent_reach *r, const struct target *t,
                        const struct addr *addr, bool *ret_special);
bool agent_reach_allows_unix(const struct agent_reach *r, struct span path);

/* One address of one request. */
struct dial_question {
    const struct target *target;        /* as asked for: name or literal, and port */
    const struct addr *addr;            /* about to be dialled */
    const struct cidr *ranges;          /* permitted by the request; none: all */
    size_t range_count;
    bool allow_special;                 /* by the request */
    const struct acl *acl;              /* the agent's own file */
    const struct agent_reach *reach;    /* NULL: no signed policy yet, nothing is allowed */
    const struct addr *own;             /* the machine's addresses */
    size_t own_count;
};
/* REASON_NONE; ACL_DENIED: the agent's own file; TARGET_FORBIDDEN: anything else. */
enum reason agent_may_dial(const struct dial_question *q);
/* The socket at `path` for a request that brings allow_special. */
enum reason agent_may_dial_unix(const struct acl *acl, const struct agent_reach *reach,
                                bool allow_special, struct span path);
