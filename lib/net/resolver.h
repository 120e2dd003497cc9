#pragma once
#include "lib/base/addr.h"
#include "lib/net/loop.h"
/*
 * resolver.h - names to addresses, by c-ares on the loop (/etc/hosts, then DNS).
 *
 * Nothing is cached here; a literal address is answered as it stands.
 *
 * Units      seconds (TTL), milliseconds (deadline).
 * Ownership  resolver_free() answers nobody: running queries are dropped.
 * Threads    its loop's thread.  The answer never comes within resolver_query().
 */
#define RESOLVER_ADDRS_MAX 32
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
    struct addr addrs[RESOLVER_ADDRS_MAX];      /* in the order to be tried (RFC 6724) */
    size_t count;
    uint32_t ttl_s;                             /* the smallest; 0 for literals and hosts */
    const char *text;                           /* c-ares' words, static */
};

struct resolver;
struct resolver_query;

struct resolver_config {
    const char *servers;        /* "10.0.0.53,10.0.1.53:5353"; NULL: /etc/resolv.conf */
    bool is_search_off;         /* names are taken as absolute */
    uint32_t try_ms;            /* of one server; 0: 2,000 */
};

MUST_CHECK int resolver_new(struct loop *l, const struct resolver_config *config,
                            struct resolver **ret_resolver);
void resolver_free(struct resolver *r);
DEFINE_FREEP(resolver, resolver_free)
/* -EAGAIN: RESOLVER_QUERIES_MAX are running.  Both families. */
MUST_CHECK int resolver_query(struct resolver *r, const char *name, uint32_t deadline_ms,
                              void (*on_answer)(void *user, const struct resolver_answer *answer),
                              void *user, struct resolver_query **ret_query);
/* on_answer is not called any more; dead after it (and after on_answer). */
void resolver_cancel(struct resolver_query *q);
