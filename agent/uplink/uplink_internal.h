#pragma once
#include "agent/uplink/uplink.h"
/*
 * uplink_internal.h - what the files of an uplink share; nobody else includes it.
 *
 * uplink.c        links: dialled, kept, renewed, brought back
 * uplink_drain.c  the end
 */
struct path {                       /* to one address */
    struct uplink *uplink;
    char host[RELAY_HOST_MAX];
    uint16_t port;
    const char *addr;
    struct tunnel *tunnel;          /* NULL: waiting for `retry` */
    struct tunnel *worn;            /* its ids are used up: it goes when `tunnel` is up */
    struct loop_timer retry;
    uint32_t failures;
    int64_t first_retry_ms;         /* the relay's window, as it said last */
    uint64_t up_at_ms;              /* 0: it is not */
    uint64_t proved_at_ms;
    uint32_t rtt_us;
    enum reason last_reason;
    char relay_id[ULID_LEN + 1];    /* who answered last, and which start of it */
    int64_t relay_starts;
    struct ulid left;               /* the session that was offered on the newest link; "": none was */
    bool is_moving;                 /* our address changed: not its failure */
};

struct uplink {
    struct uplink_config config;
    struct mux *mux;
    struct tls_ctx *tls;
    struct tunnel_self self;
    struct path paths[MEMBER_ADDRS_MAX];
    size_t path_count;
    struct loop_timer renew, drained, tick;
    struct key *renewing;           /* the key that a renewal under way is for */
    struct buf request;             /* and what was asked */
    uint64_t drain_until_ms;        /* 0: not draining */
    struct uplink_stats stats;
};
