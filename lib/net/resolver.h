#pragma once
#include "lib/base/addr.h"
#include "lib/net/loop.h"
/*
 * resolver.h - names to addresses, by c-ares on the loop (/etc/hosts, then DNS).
 *
 * Nothing is cached here; a literal address is answered as it stands.  Both families are asked
 * for at once.  Where one has addresses and the other has not answered RESOLVER_DELAY_MS later,
 * what is there is the answer; or, with gives_parts, a part of it: that comes for IPv6 at once,
 * and the whole when both are in.
 *
 * Units      seconds (TTL), milliseconds (deadline).
 * Ownership  resolver_free() answers nobody: running queries are dropped.
 * Threads    its loop's thread.  The answer never comes within resolver_query().
 * Source     RFC 8305 section 3 (resolution delay), RFC 6724 rule 1.
 */
#define RESOLVER_ADDRS_MAX 32           /* half of them for each family */
#define RESOLVER_DELAY_MS 50
#define RESOLVER_QUERIES_MAX 1024

enum resolver_result {
    RESOLVER_OK,
    RESOLVER_NO_NAME,       /* NXDOMAIN */
    RESOLVER_NO_DATA,       /* the name has no address */
    RESOLVER_TIMEOUT,
    RESOLVER_REFUSED,       /* server said no, or none is reachable */
    RESOLVER_BAD_NAME,
    RESOLVER_FAILED,
};

struct resolver_answer {
    enum resolver_result result;
    bool is_part;           /* one more answer comes, with these and perhaps the other family */
    struct addr addrs[RESOLVER_ADDRS_MAX];      /* a family each, the one to be tried first first */
    size_t count;
    struct endpoint server;         /* who answered last; ENDPOINT_NONE: nobody, or /etc/hosts */
    uint32_t ttl_s;                             /* the smallest; 0 for literals and hosts */
    const char *text;                           /* c-ares' words, static */
};

struct resolver;
struct resolver_query;

struct resolver_config {
    const char *servers;        /* "10.0.0.53,10.0.1.53:5353"; NULL: /etc/resolv.conf */
    bool is_search_off;         /* names are taken as absolute */
    uint32_t try_ms;            /* of one server; 0: 2,000 */
    bool gives_parts;
};

MUST_CHECK int resolver_new(struct loop *l, const struct resolver_config *config,
                            struct resolver **ret_resolver);
void resolver_free(struct resolver *r);
DEFINE_FREEP(resolver, resolver_free)
/* The system's servers are read anew; queries that run fail.  -errno: all is as it was. */
MUST_CHECK int resolver_reload(struct resolver *r);
/* -EAGAIN: RESOLVER_QUERIES_MAX are running.  Both families. */
MUST_CHECK int resolver_query(struct resolver *r, const char *name, uint32_t deadline_ms,
                              void (*on_answer)(void *user, const struct resolver_answer *answer),
                              void *user, struct resolver_query **ret_query);
/* on_answer is not called any more; dead after it (and after the last on_answer). */
void resolver_cancel(struct resolver_query *q);
